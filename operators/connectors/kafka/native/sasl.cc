#include "operators/connectors/kafka/native/sasl.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "operators/connectors/kafka/text.h"
#include "runtime/base/digests.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr std::string_view kPlain = "PLAIN";
constexpr std::string_view kSha256 = "SCRAM-SHA-256";
constexpr std::string_view kSha512 = "SCRAM-SHA-512";
// More is a server that wants to keep us busy: Kafka's default is 4096.
constexpr int kIterationsMax = 1'000'000;

class PlainClient final : public SaslClient {
 public:
  PlainClient(std::string user, Secret password)
      : user_(std::move(user)), password_(std::move(password)) {}

  absl::StatusOr<std::string> Next(std::string_view) override {
    ++step_;
    const std::string zero(1, '\0');
    return zero + user_ + zero + password_.Reveal();
  }
  bool done() const override { return step_ > 1; }

 private:
  const std::string user_;
  const Secret password_;
  int step_ = 0;
};

std::string Base64(std::string_view bytes) { return absl::Base64Escape(ToAbsl(bytes)); }

// RFC 5802, without channel binding.
class ScramClient final : public SaslClient {
 public:
  ScramClient(ShaKind kind, std::string_view user, Secret password, Random& random)
      : kind_(kind), password_(std::move(password)) {
    for (int i = 0; i < 3; ++i) {
      const uint64_t bits = random.Next();
      nonce_.append(reinterpret_cast<const char*>(&bits), sizeof(bits));
    }
    nonce_ = Base64(nonce_);
    std::string name;
    for (const char c : user) name += c == '=' ? "=3D" : c == ',' ? "=2C" : std::string(1, c);
    first_bare_ = Text("n=", name, ",r=", nonce_);
  }

  absl::StatusOr<std::string> Next(std::string_view answer) override {
    switch (step_++) {
      case 0:
        return Text("n,,", first_bare_);
      case 1:
        return Prove(answer);
      default:
        return Verify(answer);
    }
  }
  bool done() const override { return step_ > 2; }

 private:
  static absl::Status NotScram() {
    return absl::PermissionDeniedError("the broker's answer is not of SCRAM");
  }
  // The value of "x=value" at the beginning of `rest`, and moves behind it.
  static std::string_view Attribute(char name, std::string_view& rest) {
    const std::string_view item = rest.substr(0, rest.find(','));
    if (item.size() < 2 || item[0] != name || item[1] != '=') return {};
    rest.remove_prefix(std::min(rest.size(), item.size() + 1));
    return item.substr(2);
  }

  absl::StatusOr<std::string> Prove(std::string_view answer) {
    std::string_view rest = answer;
    const std::string_view nonce = Attribute('r', rest);
    const std::string_view salt_text = Attribute('s', rest);
    const std::string_view iterations_text = Attribute('i', rest);
    std::string salt;
    int iterations = 0;
    if (!nonce.starts_with(nonce_) || nonce.size() == nonce_.size() ||
        !absl::Base64Unescape(ToAbsl(salt_text), &salt) ||
        !absl::SimpleAtoi(ToAbsl(iterations_text), &iterations) || iterations < 1 ||
        iterations > kIterationsMax) {
      return NotScram();
    }
    const std::string without_proof = Text("c=biws,r=", nonce);
    const std::string signed_text = Text(first_bare_, ",", answer, ",", without_proof);
    const std::string salted = Pbkdf2(kind_, password_.Reveal(), salt, iterations);
    const std::string client_key = Hmac(kind_, salted, "Client Key");
    std::string proof = Hmac(kind_, Sha(kind_, client_key), signed_text);
    for (size_t i = 0; i < proof.size(); ++i)
      proof[i] = static_cast<char>(proof[i] ^ client_key[i]);
    server_signature_ = Base64(Hmac(kind_, Hmac(kind_, salted, "Server Key"), signed_text));
    return Text(without_proof, ",p=", Base64(proof));
  }

  absl::StatusOr<std::string> Verify(std::string_view answer) {
    if (Attribute('v', answer) != server_signature_) {
      return absl::PermissionDeniedError("the broker does not know the password of SCRAM");
    }
    return std::string();
  }

  const ShaKind kind_;
  const Secret password_;
  std::string nonce_;
  std::string first_bare_;
  std::string server_signature_;
  int step_ = 0;
};

}  // namespace

absl::Status CheckSaslMechanism(std::string_view mechanism) {
  if (mechanism == kPlain || mechanism == kSha256 || mechanism == kSha512) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Text("option 'properties.sasl.mechanism': expected PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, "
           "found '",
           mechanism, "'; others need option 'fetch', of a sink 'produce', = 'librdkafka'"));
}

absl::StatusOr<std::unique_ptr<SaslClient>> MakeSaslClient(std::string_view mechanism,
                                                           std::string user, Secret password,
                                                           Random& random) {
  MILLRACE_RETURN_IF_ERROR(CheckSaslMechanism(mechanism));
  if (mechanism == kPlain) {
    return std::make_unique<PlainClient>(std::move(user), std::move(password));
  }
  return std::make_unique<ScramClient>(mechanism == kSha256 ? ShaKind::kSha256 : ShaKind::kSha512,
                                       user, std::move(password), random);
}

}  // namespace millrace
