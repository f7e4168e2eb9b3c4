// Any bytes as values of rows on a terminal: nothing that it would obey may come out, every row is
// a line, and whatever is taken back is gone.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cli/result_view.h"
#include "runtime/base/check.h"

namespace millrace {
namespace {

v1::TailNodeResponse Columns(v1::ChangelogMode mode) {
  v1::TailNodeResponse response;
  response.set_changelog_mode(mode);
  for (const auto& [name, kind] :
       {std::pair("s", v1::Type::KIND_STRING), std::pair("b", v1::Type::KIND_BYTES)}) {
    v1::Field& field = *response.mutable_schema()->add_fields();
    field.set_name(name);
    field.mutable_type()->set_kind(kind);
  }
  return response;
}

v1::TailNodeResponse Rows(std::string_view bytes, const char* op) {
  v1::TailNodeResponse response;
  while (!bytes.empty()) {
    const std::string_view value = bytes.substr(0, bytes.find('|'));
    bytes.remove_prefix(std::min(bytes.size(), value.size() + 1));
    v1::TailedRow& row = *response.mutable_rows()->add_rows();
    row.set_op(op);
    row.add_values(std::string(value));
    row.add_values(std::string(value));
  }
  return response;
}

void Show(std::string_view bytes, OutputFormat format, bool changes) {
  char* text = nullptr;
  size_t size = 0;
  std::FILE* const out = open_memstream(&text, &size);
  ResultView view({.format = format, .rows_max = 1'000'000, .out = out});
  view.Add(Columns(changes ? v1::CHANGELOG_MODE_RETRACT : v1::CHANGELOG_MODE_APPEND));
  const v1::TailNodeResponse rows = Rows(bytes, "+I");
  view.Add(rows);
  view.Finish();
  std::fflush(out);
  const std::string_view shown(text, size);
  size_t lines = 0;
  for (const char c : shown) {
    lines += c == '\n' ? 1 : 0;
    MILLRACE_CHECK(c == '\n' || (static_cast<uint8_t>(c) >= 0x20 && c != 0x7F));
  }
  const bool has_head = changes || rows.rows().rows_size() > 0;
  MILLRACE_CHECK(lines == static_cast<size_t>(rows.rows().rows_size()) + (has_head ? 1 : 0));
  if (changes) {
    const long before = std::ftell(out);
    view.Add(Rows(bytes, "-D"));
    view.Finish();
    std::fflush(out);
    const std::string_view rest = std::string_view(text, size).substr(static_cast<size_t>(before));
    MILLRACE_CHECK(std::count(rest.begin(), rest.end(), '\n') == 1);  // The head.
  }
  std::fclose(out);
  std::free(text);
}

}  // namespace
}  // namespace millrace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  for (const bool changes : {false, true}) {
    millrace::Show(bytes, millrace::OutputFormat::kTable, changes);
    millrace::Show(bytes, millrace::OutputFormat::kWide, changes);
  }
  return 0;
}
