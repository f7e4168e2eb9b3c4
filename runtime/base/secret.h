// Text that must not be seen: a password, a key. It cannot be printed or logged by accident; who
// needs it says so by Reveal.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace millrace {

class Disk;

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  const std::string& Reveal() const { return text_; }
  bool empty() const { return text_.empty(); }
  bool operator==(const Secret&) const = default;

 private:
  std::string text_;
};
std::ostream& operator<<(std::ostream&, const Secret&) = delete;

// Where the text of `${secret:NAME}` comes from.
//
// Threading: any thread. May block.
class SecretStore {
 public:
  virtual ~SecretStore() = default;
  // kFailedPrecondition says what is missing.
  virtual absl::StatusOr<Secret> Get(std::string_view name) const = 0;
};

// One file per secret, as Kubernetes mounts them; a line end at the end of the file is not part of
// it. An empty `folder` holds nothing. `disk` outlives the store.
std::unique_ptr<SecretStore> OpenSecretFolder(std::string folder, Disk& disk);

// 1 to 128 of a-z A-Z 0-9 . _ -, not beginning with a dot.
bool IsSecretName(std::string_view name);

}  // namespace millrace
