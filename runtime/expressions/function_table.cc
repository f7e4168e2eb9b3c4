#include "runtime/expressions/function_table.h"
#include "runtime/expressions/text.h"

namespace millrace::expressions {
namespace {

constexpr std::string_view kCompare = "AA>b";
constexpr std::string_view kField = "T>l D>l";

// clang-format off
constexpr FunctionEntry kFunctions[] = {
    {"abs", "", "N>N I>I", "The least integer is an error (overflow)."},
    {"acos", "", "d>d", "NaN outside -1 to 1."},
    {"add", "", "NN>N TI>T IT>T II>I DI>T ID>T Dl>D lD>D", "`+`. Overflow of integers and times is an error. DATE + integer adds days."},
    {"and", "", "b*>b", "Three-valued. Operands from left to right; a later one is evaluated only for rows that are not false yet."},
    {"array", "", "E*>R", "`ARRAY[a, b, …]`. NULLs are elements."},
    {"array_append", "", "RE>R", "With one more element, which may be NULL."},
    {"array_concat", "", "R*>R", "One behind the other."},
    {"array_contains", "", "RE>b", "True if the array has the element; NULL is found as NULL."},
    {"array_distinct", "", "R>R", "Each element once, where it came first."},
    {"array_join", "", "Rs>s Rss>s", "The elements as by `CAST(… AS STRING)`, joined by the second; NULLs as the third, or left out. Not of rows."},
    {"array_length", "cardinality", "", ""},
    {"array_max", "", "R>E", "Greatest element that is not NULL; NULL if there is none. Not of rows."},
    {"array_min", "", "R>E", "Least element that is not NULL; NULL if there is none. Not of rows."},
    {"array_position", "", "RE>i", "1-based place where the element comes first, 0 if it does not; NULL is found as NULL."},
    {"array_remove", "", "RE>R", "Without the elements that equal the second; NULL removes NULLs."},
    {"array_reverse", "", "R>R", ""},
    {"array_sort", "", "R>R", "In ascending order, NULLs first. Not of rows."},
    {"array_to_string", "array_join", "", ""},
    {"ascii", "", "s>i", "Code point of the first character; 0 of the empty string."},
    {"asin", "", "d>d", "NaN outside -1 to 1."},
    {"atan", "", "d>d", ""},
    {"atan2", "", "dd>d", "(y, x)."},
    {"bin", "", "l>s", "Binary digits, of two's complement, without leading zeros."},
    {"bitand", "", "ll>l", "`&`."},
    {"bitnot", "", "l>l", "Unary `~`."},
    {"bitor", "", "ll>l", "`|`."},
    {"bitxor", "", "ll>l", "`#`."},
    {"btrim", "", "s>s ss>s", "Same as `trim`."},
    {"cardinality", "", "R>i", "The number of elements."},
    {"ceil", "", "N>N", "Least whole number that is not smaller."},
    {"ceiling", "ceil", "", ""},
    {"char_length", "", "s>i", "Code points."},
    {"character_length", "char_length", "", ""},
    {"chr", "", "l>s", "Character of a code 0 to 255 (larger: modulo 256); empty for negative codes."},
    {"coalesce", "", "A*>A", "First that is not NULL; a later one is evaluated only for rows that need it."},
    {"concat", "", "s*>s y*>y", "`||`. NULL if any argument is NULL (as in Flink)."},
    {"concat_ws", "", "ss*>s", "Joins the others by the first; leaves NULLs out. NULL if the first is NULL."},
    {"cos", "", "d>d", "Radians, as all of its kind."},
    {"cosh", "", "d>d", ""},
    {"cot", "", "d>d", ""},
    {"date_format", "", "Ts>s", "Pattern letters `y M d H m s S`; text in single quotes is copied."},
    {"date_trunc", "", "sT>T", "Unit (a literal): millisecond, second, minute, hour, day, week (Monday), month, quarter, year."},
    {"dayofmonth", "extract_day", "", ""},
    {"dayofweek", "extract_dow", "", ""},
    {"dayofyear", "extract_doy", "", ""},
    {"degrees", "", "d>d", "Of radians."},
    {"divide", "", "NN>N Il>I Id>I", "`/`. Integers truncate towards zero; integer division by zero is an error, of doubles it is infinite or NaN."},
    {"element_at", "", "Rl>E", "`a[n]`: element n, from 1; NULL outside. Not of rows."},
    {"elt", "", "ls*>s", "The n-th (from 1) of the others; NULL outside."},
    {"ends_with", "", "ss>b yy>b", ""},
    {"endswith", "ends_with", "", ""},
    {"eq", "", kCompare, "`=`. Strings by bytes; doubles as in IEEE 754 (NaN equals nothing)."},
    {"exp", "", "d>d", ""},
    {"extract", "", "sT>l sD>l", "Unit is a literal: the name of an `extract_` function without the prefix."},
    {"extract_century", "", kField, "2001 to 2100 are 21."},
    {"extract_day", "", kField, "1 to 31."},
    {"extract_decade", "", kField, "The year divided by 10."},
    {"extract_dow", "", kField, "1 = Sunday to 7 = Saturday (as in Flink)."},
    {"extract_doy", "", kField, "1 to 366."},
    {"extract_epoch", "", kField, "Whole seconds since 1970-01-01 00:00:00, rounded down."},
    {"extract_hour", "", kField, "0 to 23."},
    {"extract_isodow", "", kField, "1 = Monday to 7 = Sunday."},
    {"extract_isoyear", "", kField, "The year of the ISO week."},
    {"extract_millennium", "", kField, "2001 to 3000 are 3."},
    {"extract_millisecond", "", kField, "0 to 999."},
    {"extract_minute", "", kField, "0 to 59."},
    {"extract_month", "", kField, "1 to 12."},
    {"extract_quarter", "", kField, "1 to 4."},
    {"extract_second", "", kField, "0 to 59, without the fraction."},
    {"extract_week", "", kField, "ISO week, 1 to 53."},
    {"extract_year", "", kField, ""},
    {"floor", "", "N>N", "Greatest whole number that is not larger."},
    {"from_base64", "", "s>s", "NULL of what is not Base64 (RFC 4648, padded), or not of UTF-8."},
    {"from_unixtime", "", "l>s ls>s", "Seconds since 1970 as text of the pattern (default `yyyy-MM-dd HH:mm:ss`), in UTC."},
    {"ge", "", kCompare, "`>=`."},
    {"greatest", "", "A*>A", "NULL if any argument is NULL (as in Flink)."},
    {"gt", "", kCompare, "`>`."},
    {"hex", "", "l>s s>s y>s", "Upper-case hexadecimal; a number (two's complement) without leading zeros."},
    {"hour", "extract_hour", "", ""},
    {"if", "", "bAA>A", "Second if the first is true, else the third; only the chosen one is evaluated."},
    {"in", "", "AA*>b", "True if the first equals one of the others; NULL if none equals and one is NULL."},
    {"initcap", "", "s>s", "First letter of each word (letters and digits) in upper case, the rest in lower case; ASCII letters only."},
    {"instr", "", "ss>i", "(haystack, needle): as `position`."},
    {"is_distinct_from", "", kCompare, "Never NULL."},
    {"is_false", "", "b>b", "Never NULL."},
    {"is_json", "", "s>b", "True if the text is one JSON value (RFC 8259)."},
    {"is_not_distinct_from", "", kCompare, "Never NULL."},
    {"is_not_false", "", "b>b", "Never NULL."},
    {"is_not_null", "", "A>b", "Never NULL."},
    {"is_not_true", "", "b>b", "Never NULL."},
    {"is_null", "", "A>b", "Never NULL."},
    {"is_true", "", "b>b", "Never NULL."},
    {"json_exists", "", "ss>b", "(document, path): something is there, be it null; false where the document is no JSON."},
    {"json_query", "", "ss>s", "The object or array at the path, as it stands; NULL for what else is there, or of what is no JSON."},
    {"json_value", "", "ss>s", "The text, number or boolean at the path as text; NULL for null, objects, arrays, nothing, or of what is no JSON. Paths: `$`, then `.name`, `.\"any name\"`, `['any name']`, `[0]`."},
    {"le", "", kCompare, "`<=`."},
    {"least", "", "A*>A", "NULL if any argument is NULL (as in Flink)."},
    {"left", "", "sl>s", "The first n characters; empty for n < 1."},
    {"length", "char_length", "", ""},
    {"like", "", "ss>b sss>b", "`%` any text, `_` one character; the third argument is the escape character (none by default)."},
    {"ln", "", "d>d", "-Infinity of 0, NaN below."},
    {"locate", "", "ss>i ssl>i", "(needle, haystack, start): 1-based position of the first occurrence at or behind the start, 0 if there is none."},
    {"log", "", "dd>d", "(base, x). Of one argument: `ln`, `log2`, `log10`, because systems differ."},
    {"log10", "", "d>d", ""},
    {"log2", "", "d>d", ""},
    {"lower", "", "s>s", "One code point to one code point."},
    {"lpad", "", "sl>s sls>s", "To n characters, with spaces or the third argument; longer text is cut. NULL for n < 0 or an empty filler that is needed."},
    {"lt", "", kCompare, "`<`."},
    {"ltrim", "", "s>s ss>s", "Characters of the second argument (default: space) off the left."},
    {"md5", "", "s>s y>s", "Lower-case hexadecimal."},
    {"minute", "extract_minute", "", ""},
    {"mod", "modulo", "", ""},
    {"modulo", "", "NN>N", "`%`. Sign of the dividend; integer modulo zero is an error."},
    {"month", "extract_month", "", ""},
    {"multiply", "", "NN>N Il>I lI>I Id>I dI>I", "`*`."},
    {"ne", "", kCompare, "`<>`."},
    {"negate", "", "N>N I>I", "Unary `-`."},
    {"not", "", "b>b", ""},
    {"not_like", "", "ss>b sss>b", "Not `like`."},
    {"nullif", "", "AA>A", "NULL if both are equal, else the first."},
    {"octet_length", "", "s>i y>i", "Bytes."},
    {"or", "", "b*>b", "Three-valued. A later operand is evaluated only for rows that are not true yet."},
    {"overlay", "", "ssl>s ssll>s", "`OVERLAY(text PLACING new FROM start FOR length)`: the new text for `length` characters (default: as many as it has). Unchanged where the text has no such start."},
    {"position", "", "ss>i", "(needle, haystack): 1-based character position of the first occurrence, 0 if there is none."},
    {"pow", "power", "", ""},
    {"power", "", "dd>d", ""},
    {"quarter", "extract_quarter", "", ""},
    {"radians", "", "d>d", "Of degrees."},
    {"regexp", "", "ss>b", "True if the RE2 pattern (second) matches somewhere in the first."},
    {"regexp_count", "", "ss>i", "Matches that do not overlap, empty ones too."},
    {"regexp_extract", "", "ss>s ssl>s", "Text of group n (default 0: the whole match); NULL without a match."},
    {"regexp_instr", "", "ss>i", "1-based position of the first match, 0 without one."},
    {"regexp_like", "regexp", "", ""},
    {"regexp_replace", "", "sss>s", "All matches; `\\1` in the third argument is group 1."},
    {"regexp_substr", "regexp_extract", "", ""},
    {"repeat", "", "sl>s", "Empty for n < 1."},
    {"replace", "", "sss>s", "All occurrences; an empty second argument changes nothing."},
    {"reverse", "", "s>s", "By characters."},
    {"right", "", "sl>s", "The last n characters; empty for n < 1."},
    {"round", "", "N>N Nl>N", "Half away from zero, to n digits after the point (default 0; negative: before it)."},
    {"rpad", "", "sl>s sls>s", "As `lpad`, on the right."},
    {"rtrim", "", "s>s ss>s", "Off the right."},
    {"second", "extract_second", "", ""},
    {"sha1", "", "s>s y>s", "Lower-case hexadecimal, as all of its kind."},
    {"sha2", "", "sl>s", "(text, bits): `sha224` to `sha512`; another number of bits is an error."},
    {"sha224", "", "s>s y>s", ""},
    {"sha256", "", "s>s y>s", ""},
    {"sha384", "", "s>s y>s", ""},
    {"sha512", "", "s>s y>s", ""},
    {"shift_left", "", "ll>l", "`<<`. Of the distance, the last six bits count."},
    {"shift_right", "", "ll>l", "`>>`, keeps the sign. Of the distance, the last six bits count."},
    {"sign", "", "N>N", "-1, 0 or 1."},
    {"similar", "", "ss>b", "`SIMILAR TO`: SQL regular expression that must match the whole text."},
    {"sin", "", "d>d", ""},
    {"sinh", "", "d>d", ""},
    {"split", "", "ss>S", "The text between the separators (second): at least one; of an empty separator, the characters."},
    {"split_index", "", "ssl>s", "Part n (from 0) of the first, split at the second; NULL outside, and of the empty string."},
    {"sqrt", "", "d>d", "NaN of negative numbers."},
    {"starts_with", "", "ss>b yy>b", ""},
    {"startswith", "starts_with", "", ""},
    {"strpos", "instr", "", ""},
    {"substr", "substring", "", ""},
    {"substring", "", "sl>s sll>s", "1-based start in characters (negative: from the end), length; as in Flink."},
    {"subtract", "", "NN>N TT>I TI>T II>I DI>T DD>l Dl>D", "`-`. DATE - DATE is days."},
    {"tan", "", "d>d", ""},
    {"tanh", "", "d>d", ""},
    {"timestampadd", "", "slT>T", "`TIMESTAMPADD(unit, n, time)`: units millisecond to year; a day that the month lacks is its last."},
    {"timestampdiff", "", "sTT>l", "`TIMESTAMPDIFF(unit, a, b)`: whole units from a to b, negative where b is before a."},
    {"to_base64", "", "s>s y>s", "RFC 4648, padded."},
    {"to_date", "", "s>D ss>D", "NULL if the text is not a date or timestamp of the pattern (default `yyyy-MM-dd`)."},
    {"to_timestamp", "", "s>T ss>T", "NULL if the text is not a timestamp of the pattern (default `yyyy-MM-dd HH:mm:ss`)."},
    {"to_timestamp_ltz", "", "ll>T", "From an epoch in seconds (precision 0) or milliseconds (3)."},
    {"translate", "", "sss>s", "Each character of the second argument becomes that at the same place of the third, or nothing."},
    {"trim", "", "s>s ss>s", "Characters of the second argument (default: space) off both ends."},
    {"truncate", "", "N>N Nl>N", "Towards zero, to n digits after the point (default 0)."},
    {"unhex", "", "s>y", "NULL of an odd number of digits, and of what is none."},
    {"unix_timestamp", "", "s>l ss>l", "Seconds since 1970 of text in UTC, rounded down; NULL as of `to_timestamp`."},
    {"upper", "", "s>s", "One code point to one code point."},
    {"url_decode", "", "s>s", "Of a form (`+` is a space); NULL where `%` lacks two digits, or it is not UTF-8."},
    {"url_encode", "", "s>s", "For a form: all but letters, digits and `.-*_` as `%XX`, a space as `+`."},
    {"week", "extract_week", "", ""},
    {"year", "extract_year", "", ""},
};
// clang-format on

std::string_view LetterText(char letter) {
  switch (letter) {
    case 'b':
      return "BOOLEAN";
    case 'i':
      return "INT";
    case 'l':
      return "BIGINT";
    case 'd':
      return "DOUBLE";
    case 's':
      return "STRING";
    case 'y':
      return "BYTES";
    case 'D':
      return "DATE";
    case 'T':
      return "TIMESTAMP";
    case 'I':
      return "INTERVAL";
    case 'N':
      return "number";
    case 'R':
      return "ARRAY";
    case 'E':
      return "element";
    case 'S':
      return "ARRAY<STRING>";
    default:
      return "any";
  }
}

}  // namespace

std::span<const FunctionEntry> AllFunctions() { return kFunctions; }

std::vector<std::string_view> SplitSignatures(std::string_view signatures) {
  std::vector<std::string_view> split;
  while (!signatures.empty()) {
    const size_t end = signatures.find(' ');
    split.push_back(signatures.substr(0, end));
    signatures.remove_prefix(end == std::string_view::npos ? signatures.size() : end + 1);
  }
  return split;
}

std::string SignatureText(std::string_view signature) {
  const size_t arrow = signature.find('>');
  std::string text = "(";
  for (size_t i = 0; i < arrow; ++i) {
    if (signature[i] == '*') {
      text += ", …";
    } else {
      if (i > 0) text += ", ";
      text += LetterText(signature[i]);
    }
  }
  return Text(text, ") → ", LetterText(signature[arrow + 1]));
}

}  // namespace millrace::expressions
