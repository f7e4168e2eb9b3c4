// The rows of the function registry. Private to runtime/expressions, its tests and the table of
// docs/functions.md, which a test compares with these rows.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::expressions {

// A signature is the letters of its arguments, '>', the letter of its result. b BOOL, i INT32,
// l INT64, d FLOAT64, s STRING, y BYTES, D DATE, T TIMESTAMP, I INTERVAL; N = any number, A = any
// type: all arguments with one of these letters become their common type. R = an array, E = what it
// holds: the same in the whole signature; S = an array of strings. '*' after the last
// argument: one or more of it.
struct FunctionEntry {
  std::string_view name;
  std::string_view alias_of;    // Empty, or the name that calls are resolved to.
  std::string_view signatures;  // Separated by spaces; empty for an alias.
  std::string_view note;        // For docs/functions.md.
};

// Sorted by name.
std::span<const FunctionEntry> AllFunctions();
// One entry's signatures, one by one.
std::vector<std::string_view> SplitSignatures(std::string_view signatures);
// "(number, number) → number" of one signature.
std::string SignatureText(std::string_view signature);

}  // namespace millrace::expressions
