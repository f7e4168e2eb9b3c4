#include "operators/formats/utf8.h"

#include <simdjson.h>

namespace millrace {

bool IsUtf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

}  // namespace millrace
