#include "runtime/base/secret.h"

#include <algorithm>
#include <memory>

#include "runtime/base/env.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr uint64_t kSecretBytesMax = 64 << 10;
constexpr size_t kNameBytesMax = 128;

class SecretFolder final : public SecretStore {
 public:
  SecretFolder(std::string folder, Disk& disk) : folder_(std::move(folder)), disk_(disk) {}

  absl::StatusOr<Secret> Get(std::string_view name) const override {
    const auto missing = [name](std::string_view why) {
      return absl::FailedPreconditionError(Concat("secret '", name, "' is not there: ", why));
    };
    if (!IsSecretName(name)) return missing("that is no name of a secret");
    if (folder_.empty()) {
      return missing("this process has no folder of secrets; give --secrets-dir");
    }
    const absl::StatusOr<std::unique_ptr<ReadableFile>> file =
        disk_.Open(Concat(folder_, "/", name));
    if (!file.ok()) return missing(Concat("no such file in ", folder_));
    if ((*file)->size() > kSecretBytesMax) return missing("its file is larger than 64 KiB");
    std::string text((*file)->size(), '\0');
    if (absl::Status status = (*file)->Read(0, text.size(), text.data()); !status.ok()) {
      return missing(MessageOf(status));
    }
    if (text.ends_with('\n')) text.pop_back();
    if (text.ends_with('\r')) text.pop_back();
    return Secret(std::move(text));
  }

 private:
  const std::string folder_;
  Disk& disk_;
};

}  // namespace

std::unique_ptr<SecretStore> OpenSecretFolder(std::string folder, Disk& disk) {
  return std::make_unique<SecretFolder>(std::move(folder), disk);
}

bool IsSecretName(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && name.front() != '.' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

}  // namespace millrace
