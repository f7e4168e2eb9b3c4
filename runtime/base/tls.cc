#include "runtime/base/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <tuple>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// One TLS record.
constexpr size_t kWriteBytesMax = 16 << 10;

using ContextPtr = std::shared_ptr<SSL_CTX>;

// What OpenSSL says about the last failure of this thread.
std::string LastError() {
  char text[256] = "unknown";
  const unsigned long code = ERR_get_error();
  if (code != 0) ERR_error_string_n(code, text, sizeof(text));
  ERR_clear_error();
  return text;
}

absl::Status CannotUse(std::string_view what, const std::string& file) {
  return absl::InvalidArgumentError(Concat("cannot use the ", what, " ", file, ": ", LastError()));
}

std::string CommonName(const X509* certificate) {
  char name[256] = "";
  if (certificate == nullptr) return name;
  (void)X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name,
                                  sizeof(name));  // Stays empty.
  return name;
}

// OpenSSL writes to sockets without MSG_NOSIGNAL.
void IgnoreBrokenPipes() { (void)std::signal(SIGPIPE, SIG_IGN); }

absl::StatusOr<ContextPtr> MakeContext(bool has_certificate, bool has_key) {
  if (has_certificate != has_key) {
    return absl::InvalidArgumentError("a TLS certificate needs its key, and a key its certificate");
  }
  ContextPtr context(SSL_CTX_new(TLS_method()), &SSL_CTX_free);
  MILLRACE_CHECK(context != nullptr);
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ERR_clear_error();
  return context;
}

absl::StatusOr<ContextPtr> Load(const TlsFiles& files) {
  MILLRACE_ASSIGN_OR_RETURN(ContextPtr context,
                            MakeContext(!files.certificate.empty(), !files.key.empty()));
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (!files.ca.empty() &&
      SSL_CTX_load_verify_locations(context.get(), files.ca.c_str(), nullptr) != 1) {
    return CannotUse("TLS CA", files.ca);
  }
  if (files.certificate.empty()) return context;
  if (SSL_CTX_use_certificate_chain_file(context.get(), files.certificate.c_str()) != 1) {
    return CannotUse("TLS certificate", files.certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return CannotUse("TLS key", files.key);
  }
  return context;
}

absl::Status CannotUseText(std::string_view what) {
  return absl::InvalidArgumentError(Concat("cannot use the ", what, ": ", LastError()));
}

// Calls take(certificate) for each one of a text; `take` does not keep it. False: there was none,
// or one that cannot be used.
template <typename Take>
bool ForEachCertificate(const std::string& pem, Take&& take) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  int count = 0;
  while (true) {
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr), &X509_free);
    if (certificate == nullptr) break;
    if (take(certificate.get(), count++) != 1) return false;
  }
  // How its end shows.
  if (count > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) ERR_clear_error();
  return count > 0 && ERR_peek_error() == 0;
}

absl::StatusOr<ContextPtr> LoadClient(const TlsClientOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(ContextPtr context,
                            MakeContext(!options.certificate.empty(), !options.key.empty()));
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_verify(raw, options.verify_peer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (options.ca.empty()) {
    if (SSL_CTX_set_default_verify_paths(raw) != 1) return CannotUseText("TLS CAs of the system");
  } else if (!ForEachCertificate(options.ca, [&](X509* certificate, int) {
               return X509_STORE_add_cert(SSL_CTX_get_cert_store(raw), certificate);
             })) {
    return CannotUseText("TLS CA");
  }
  if (options.certificate.empty()) return context;
  if (!ForEachCertificate(options.certificate, [&](X509* certificate, int number) {
        return number == 0 ? SSL_CTX_use_certificate(raw, certificate)
                           : static_cast<int>(SSL_CTX_add1_chain_cert(raw, certificate));
      })) {
    return CannotUseText("TLS certificate");
  }
  const std::string& key = options.key.Reveal();
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(
      BIO_new_mem_buf(key.data(), static_cast<int>(key.size())), &BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> parsed(
      PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr,
                              const_cast<char*>(options.key_password.Reveal().c_str())),
      &EVP_PKEY_free);
  if (parsed == nullptr || SSL_CTX_use_PrivateKey(raw, parsed.get()) != 1) {
    return CannotUseText("TLS key");
  }
  return context;
}

ByteStream::Outcome Closed() {
  return {ByteStream::Result::kFailed, 0,
          absl::UnavailableError("the other side closed the connection")};
}

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(int fd) : fd_(fd) {}

  Outcome Read(char* to, size_t size) override {
    while (true) {
      const ssize_t got = recv(fd_, to, size, 0);
      if (got > 0) return {Result::kSome, static_cast<size_t>(got), {}};
      if (got == 0) return Closed();
      if (errno == EAGAIN) return {Result::kWouldBlock, 0, {}};
      if (errno != EINTR) return {Result::kFailed, 0, StatusFromErrno(errno, "cannot receive")};
    }
  }
  Outcome Write(const iovec* parts, int count) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts);
    message.msg_iovlen = static_cast<size_t>(count);
    while (true) {
      const ssize_t sent = sendmsg(fd_, &message, MSG_NOSIGNAL);
      if (sent >= 0) return {Result::kSome, static_cast<size_t>(sent), {}};
      if (errno == EAGAIN) return {Result::kWouldBlock, 0, {}};
      if (errno != EINTR) return {Result::kFailed, 0, StatusFromErrno(errno, "cannot send")};
    }
  }

 private:
  const int fd_;
};

class TlsStream final : public ByteStream {
 public:
  // Among processes of our kind.
  TlsStream(ContextPtr context, int fd, TlsContext::Side side)
      : TlsStream(std::move(context), fd, /*peer_is_ours=*/true) {
    if (side == TlsContext::Side::kConnecting) {
      SSL_set_connect_state(ssl_.get());
    } else {
      SSL_set_accept_state(ssl_.get());
    }
  }
  // To another server.
  TlsStream(ContextPtr context, int fd, const std::string& host, bool verify_name)
      : TlsStream(std::move(context), fd, /*peer_is_ours=*/false) {
    SSL_set_connect_state(ssl_.get());
    in6_addr ignored;
    const bool is_address = inet_pton(AF_INET, host.c_str(), &ignored) == 1 ||
                            inet_pton(AF_INET6, host.c_str(), &ignored) == 1;
    // Servers with several names are told which one is meant; addresses are not names.
    if (!is_address) SSL_set_tlsext_host_name(ssl_.get(), host.c_str());
    if (!verify_name) return;
    if (is_address) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str());
    } else {
      SSL_set1_host(ssl_.get(), host.c_str());
    }
  }

  Outcome Read(char* to, size_t size) override {
    if (Outcome outcome = Shake(); outcome.result != Result::kSome) return outcome;
    size_t got = 0;
    ERR_clear_error();
    const int done = SSL_read_ex(ssl_.get(), to, size, &got);
    return done == 1 ? Outcome{Result::kSome, got, {}} : Failed(done, "cannot receive");
  }
  Outcome Write(const iovec* parts, int count) override {
    if (Outcome outcome = Shake(); outcome.result != Result::kSome) return outcome;
    // Small parts share a record. Each record begins where the last one ended, so one that did not
    // go out is made of the same bytes again.
    char record[kWriteBytesMax];
    size_t size = 0;
    for (int i = 0; i < count && size < kWriteBytesMax; ++i) {
      const size_t more = std::min(parts[i].iov_len, kWriteBytesMax - size);
      std::memcpy(record + size, parts[i].iov_base, more);
      size += more;
    }
    size_t sent = 0;
    ERR_clear_error();
    const int done = SSL_write_ex(ssl_.get(), record, size, &sent);
    return done == 1 ? Outcome{Result::kSome, sent, {}} : Failed(done, "cannot send");
  }

 private:
  TlsStream(ContextPtr context, int fd, bool peer_is_ours)
      : context_(std::move(context)),
        ssl_(SSL_new(context_.get()), &SSL_free),
        peer_is_ours_(peer_is_ours) {
    MILLRACE_CHECK(ssl_ != nullptr);
    SSL_set_fd(ssl_.get(), fd);
  }

  // kSome: the handshake is done, with a peer that may be there.
  Outcome Shake() {
    if (shaken_) return {Result::kSome, 0, {}};
    ERR_clear_error();
    const int done = SSL_do_handshake(ssl_.get());
    if (done != 1) return Failed(done, "TLS handshake failed");
    if (!peer_is_ours_) {  // The handshake has verified all there is.
      shaken_ = true;
      return {Result::kSome, 0, {}};
    }
    const std::string own = CommonName(SSL_get_certificate(ssl_.get()));
    const std::unique_ptr<X509, decltype(&X509_free)> certificate(
        SSL_get1_peer_certificate(ssl_.get()), &X509_free);
    const std::string peer = CommonName(certificate.get());
    if (own.empty() || peer != own) {
      return {Result::kFailed, 0,
              absl::PermissionDeniedError(Concat("the other side has a certificate for '", peer,
                                                 "', expected '", own, "'"))};
    }
    shaken_ = true;
    return {Result::kSome, 0, {}};
  }

  Outcome Failed(int done, std::string_view what) {
    switch (SSL_get_error(ssl_.get(), done)) {
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        return {Result::kWouldBlock, 0, {}};
      case SSL_ERROR_ZERO_RETURN:
        return Closed();
      case SSL_ERROR_SYSCALL:
        if (errno == 0) return Closed();
        return {Result::kFailed, 0, StatusFromErrno(errno, std::string(what))};
      default: {
        const long verified = SSL_get_verify_result(ssl_.get());
        const std::string reason = verified == X509_V_OK
                                       ? LastError()
                                       : std::string(X509_verify_cert_error_string(verified));
        ERR_clear_error();
        return {Result::kFailed, 0, absl::UnavailableError(Concat(what, ": ", reason))};
      }
    }
  }

  const ContextPtr context_;
  const std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  const bool peer_is_ours_;
  bool shaken_ = false;
};

// Changes when one of the files does.
using Stamp = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t>;
Stamp StampOf(const TlsFiles& files) {
  int64_t times[6] = {};
  int next = 0;
  for (const std::string* file : {&files.certificate, &files.key, &files.ca}) {
    struct stat about {};
    if (!file->empty() && stat(file->c_str(), &about) == 0) {
      times[next] = about.st_mtim.tv_sec * 1'000'000'000 + about.st_mtim.tv_nsec;
      times[next + 1] = static_cast<int64_t>(about.st_ino);
    }
    next += 2;
  }
  return {times[0], times[1], times[2], times[3], times[4], times[5]};
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) { return Load(files).status(); }

std::unique_ptr<ByteStream> MakePlainStream(int fd) { return std::make_unique<PlainStream>(fd); }

struct TlsContext::Parts {
  TlsFiles files;
  absl::Mutex mutex;
  Stamp stamp ABSL_GUARDED_BY(mutex);
  ContextPtr context ABSL_GUARDED_BY(mutex);
};

TlsContext::TlsContext(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TlsContext::~TlsContext() = default;

absl::StatusOr<std::unique_ptr<TlsContext>> TlsContext::Make(TlsFiles files) {
  if (files.certificate.empty() || files.ca.empty()) {
    return absl::InvalidArgumentError(
        "TLS between workers needs a certificate, its key, and the CA of the others");
  }
  auto parts = std::make_unique<Parts>();
  const Stamp stamp = StampOf(files);
  MILLRACE_ASSIGN_OR_RETURN(ContextPtr context, Load(files));
  {
    absl::MutexLock lock(&parts->mutex);
    parts->stamp = stamp;
    parts->context = std::move(context);
  }
  parts->files = std::move(files);
  IgnoreBrokenPipes();
  return std::unique_ptr<TlsContext>(new TlsContext(std::move(parts)));
}

std::unique_ptr<ByteStream> TlsContext::MakeStream(int fd, Side side) {
  absl::MutexLock lock(&parts_->mutex);
  const Stamp stamp = StampOf(parts_->files);
  if (stamp != parts_->stamp) {
    absl::StatusOr<ContextPtr> fresh = Load(parts_->files);
    if (fresh.ok()) {
      parts_->context = *std::move(fresh);
      LogInfo("read the TLS certificate again", {{"file", parts_->files.certificate}});
    } else {
      LogWarning("keeps its former TLS certificate", {{"error", fresh.status().ToString()}});
    }
    parts_->stamp = stamp;  // Perhaps half written: then it changes once more.
  }
  return std::make_unique<TlsStream>(parts_->context, fd, side);
}

struct TlsClient::Parts {
  ContextPtr context;
  bool verify_name;
};

TlsClient::TlsClient(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
TlsClient::~TlsClient() = default;

absl::StatusOr<std::unique_ptr<TlsClient>> TlsClient::Make(const TlsClientOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(ContextPtr context, LoadClient(options));
  IgnoreBrokenPipes();
  return std::unique_ptr<TlsClient>(new TlsClient(std::make_unique<Parts>(
      Parts{std::move(context), options.verify_peer && options.verify_name})));
}

std::unique_ptr<ByteStream> TlsClient::MakeStream(int fd, const std::string& host) {
  return std::make_unique<TlsStream>(parts_->context, fd, host, parts_->verify_name);
}

}  // namespace millrace
