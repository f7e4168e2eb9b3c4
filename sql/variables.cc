#include "sql/variables.h"

#include "runtime/base/secret.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

bool IsName(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  for (char c : name) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-' || c == '.';
    if (!ok) return false;
  }
  return true;
}

}  // namespace

bool ReplaceVariables(std::string_view text, const Variables& variables, std::string* out,
                      SqlProblem* problem) {
  out->clear();
  for (size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with("$${")) {
      *out += "${";
      at += 3;
    } else if (text.substr(at).starts_with("${")) {
      const size_t end = text.find('}', at);
      const std::string_view body =
          end == std::string_view::npos ? "" : text.substr(at + 2, end - at - 2);
      if (body.starts_with("secret:")) {
        if (!IsSecretName(body.substr(7))) {
          *problem = {"MR1005", "'${secret:' does not name a secret",
                      "write ${secret:NAME}, the name of a file in the workers' --secrets-dir",
                      static_cast<int64_t>(at)};
          return false;
        }
        *out += text.substr(at, end + 1 - at);  // The worker puts it in.
        at = end + 1;
        continue;
      }
      const size_t split = body.find(":-");
      const std::string_view name = body.substr(0, split);
      if (!IsName(name)) {
        *problem = {"MR1005", "'${' does not begin a variable",
                    "write ${name} or ${name:-default}; $${ for the characters themselves",
                    static_cast<int64_t>(at)};
        return false;
      }
      const auto found = variables.find(name);
      if (found == variables.end() && split == std::string_view::npos) {
        *problem = {"MR1005", Concat("variable '", name, "' is not set"),
                    Concat("give --set ", name, "=VALUE, or write ${", name, ":-default}"),
                    static_cast<int64_t>(at)};
        return false;
      }
      *out += found != variables.end() ? std::string_view(found->second) : body.substr(split + 2);
      at = end + 1;
    } else {
      *out += text[at++];
    }
  }
  return true;
}

}  // namespace millrace
