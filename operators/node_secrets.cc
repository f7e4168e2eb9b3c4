#include "operators/node_secrets.h"

#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr std::string_view kBegin = "${secret:";

// Puts the text of every reference into `value`.
absl::Status Reveal(const SecretStore& store, std::string& value, std::vector<Secret>& used) {
  for (size_t at = value.find(kBegin); at != value.npos; at = value.find(kBegin, at)) {
    const size_t end = value.find('}', at);
    if (end == value.npos) return absl::InvalidArgumentError("'${secret:' is not closed");
    const std::string name = value.substr(at + kBegin.size(), end - at - kBegin.size());
    MILLRACE_ASSIGN_OR_RETURN(Secret secret, store.Get(name));
    value.replace(at, end + 1 - at, secret.Reveal());
    at += secret.Reveal().size();
    used.push_back(std::move(secret));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NodeWithSecrets> NodeWithSecrets::Make(const v1::Node& node,
                                                      const SecretStore& secrets) {
  NodeWithSecrets made(node);
  const auto& options = node.has_source() ? node.source().options() : node.sink().options();
  for (const auto& [name, value] : options) {
    if (value.find(kBegin) == value.npos) continue;
    // Whoever opens a place in a store puts them in; a URI is logged and kept.
    if (value.starts_with("s3://")) continue;
    if (made.secrets_.empty()) made.revealed_ = node;
    auto& revealed = node.has_source() ? *made.revealed_.mutable_source()->mutable_options()
                                       : *made.revealed_.mutable_sink()->mutable_options();
    if (absl::Status status = Reveal(secrets, revealed[name], made.secrets_); !status.ok()) {
      return absl::Status(status.code(), Concat("option '", name, "': ", MessageOf(status)));
    }
  }
  return made;
}

absl::Status NodeWithSecrets::Redact(const absl::Status& status) const {
  std::string message(MessageOf(status));
  for (const Secret& secret : secrets_) {
    if (secret.empty()) continue;
    for (size_t at = message.find(secret.Reveal()); at != message.npos;
         at = message.find(secret.Reveal(), at)) {
      message.replace(at, secret.Reveal().size(), "***");
      at += 3;
    }
  }
  return {status.code(), message};
}

}  // namespace millrace
