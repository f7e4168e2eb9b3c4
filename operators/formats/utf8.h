// UTF-8 validation.
#pragma once

#include <string_view>

namespace millrace {

// Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsUtf8(std::string_view text);

}  // namespace millrace
