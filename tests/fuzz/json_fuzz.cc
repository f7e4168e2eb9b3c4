// Any bytes as JSON messages, one per line: the scanner and the parser must make the same of them,
// rows and errors. The lines come twice, so that the scanner has seen the keys, and once more
// behind one another, so that the bytes after a message could be its own.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "runtime/base/check.h"
#include "tests/unit/formats/json_paths.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string bytes(reinterpret_cast<const char*>(data), size);
  bytes.append(millrace::kMessagePadding, '}');
  std::vector<millrace::Message> messages;
  const std::string_view text = std::string_view(bytes).substr(0, size);
  for (size_t begin = 0; begin < size;) {
    const size_t end = std::min(text.find('\n', begin), size);
    messages.push_back({.value = text.substr(begin, end - begin)});
    messages.push_back(messages.back());
    // Cut off in its middle, where the rest follows.
    messages.push_back({.value = text.substr(begin, (end - begin) * 3 / 4)});
    begin = end + 1;
  }
  millrace::JsonPaths paths;
  const std::string difference = paths.Difference(messages);
  if (!difference.empty()) std::fprintf(stderr, "%s\n", difference.c_str());
  MILLRACE_CHECK(difference.empty());
  return 0;
}
