#include "runtime/security/channel_credentials_rpc.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr unsigned kReadFilesAgainS = 2;

std::string ReadToken(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  return std::string(StripSpaces(text));
}

class BearerToken final : public grpc::MetadataCredentialsPlugin {
 public:
  BearerToken(std::string token, std::string file)
      : token_(std::move(token)), file_(std::move(file)) {}

  bool IsBlocking() const override { return !file_.empty(); }
  grpc::Status GetMetadata(grpc::string_ref, grpc::string_ref, const grpc::AuthContext&,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    const std::string token = file_.empty() ? token_ : ReadToken(file_);
    if (token.empty()) {
      return {grpc::StatusCode::UNAUTHENTICATED, "cannot read the token file " + file_};
    }
    metadata->emplace("authorization", "Bearer " + token);
    return grpc::Status::OK;
  }

 private:
  const std::string token_, file_;
};

std::shared_ptr<grpc::experimental::CertificateProviderInterface> FilesOf(const TlsFiles& files) {
  using Watcher = grpc::experimental::FileWatcherCertificateProvider;
  if (files.certificate.empty()) return std::make_shared<Watcher>(files.ca, kReadFilesAgainS);
  if (files.ca.empty()) {
    return std::make_shared<Watcher>(files.key, files.certificate, kReadFilesAgainS);
  }
  return std::make_shared<Watcher>(files.key, files.certificate, files.ca, kReadFilesAgainS);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientSecurity& security, grpc::ChannelArguments& arguments) {
  const bool has_token = !security.token.empty() || !security.token_file.empty();
  if (!security.is_encrypted()) {
    if (has_token) {
      return absl::InvalidArgumentError(
          "a token is only sent over TLS: name the CA of the coordinator (--tls-ca), or use --tls "
          "for the CAs of the system");
    }
    return grpc::InsecureChannelCredentials();
  }
  MILLRACE_RETURN_IF_ERROR(CheckTlsFiles(security.files));
  if (!security.token_file.empty() && ReadToken(security.token_file).empty()) {
    return absl::InvalidArgumentError(
        Concat("cannot read a token from the file ", security.token_file));
  }
  grpc::experimental::TlsChannelCredentialsOptions options;
  if (!security.files.ca.empty() || security.files.has_certificate()) {
    options.set_certificate_provider(FilesOf(security.files));
    if (!security.files.ca.empty()) options.watch_root_certs();
    if (security.files.has_certificate()) options.watch_identity_key_cert_pairs();
  }
  std::shared_ptr<grpc::ChannelCredentials> credentials =
      grpc::experimental::TlsCredentials(options);
  if (!security.server_name.empty()) arguments.SetSslTargetNameOverride(security.server_name);
  if (!has_token) return credentials;
  return grpc::CompositeChannelCredentials(
      credentials, grpc::MetadataCredentialsFromPlugin(
                       std::make_unique<BearerToken>(security.token, security.token_file)));
}

}  // namespace millrace
