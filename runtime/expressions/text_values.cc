#include "runtime/expressions/text_values.h"
#include "runtime/expressions/text.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace millrace::expressions {
namespace {

// Takes `digits` decimal digits off the front.
bool TakeDigits(std::string_view& text, size_t digits, int64_t& out) {
  if (text.size() < digits) return false;
  out = 0;
  for (size_t i = 0; i < digits; ++i) {
    if (!IsDigit(text[i])) return false;
    out = out * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool TakeDate(std::string_view& text, int64_t& days) {
  int64_t year = 0, month = 0, day = 0;
  if (!TakeDigits(text, 4, year) || !TakePrefix(text, "-") || !TakeDigits(text, 2, month) ||
      !TakePrefix(text, "-") || !TakeDigits(text, 2, day) || year < 1 ||
      !IsCivilDate(year, static_cast<int>(month), static_cast<int>(day))) {
    return false;
  }
  days = DaysFromCivil(year, static_cast<int>(month), static_cast<int>(day));
  return true;
}

// ".123456789" -> 123456.
bool TakeFraction(std::string_view& text, int64_t& us) {
  us = 0;
  if (!TakePrefix(text, ".")) return true;
  size_t digits = 0;
  while (digits < text.size() && IsDigit(text[digits])) {
    if (digits < 6) us = us * 10 + (text[digits] - '0');
    ++digits;
  }
  for (size_t i = digits; i < 6; ++i) us *= 10;
  text.remove_prefix(digits);
  return digits >= 1 && digits <= 9;
}

// HH:mm[:ss[.fraction]] of a day.
bool TakeTimeOfDay(std::string_view& text, int64_t& us) {
  int64_t hour = 0, minute = 0, second = 0, fraction = 0;
  if (!TakeDigits(text, 2, hour) || !TakePrefix(text, ":") || !TakeDigits(text, 2, minute) ||
      hour > 23 || minute > 59) {
    return false;
  }
  if (TakePrefix(text, ":")) {
    if (!TakeDigits(text, 2, second) || second > 59 || !TakeFraction(text, fraction)) return false;
  }
  us = hour * kHourUs + minute * kMinuteUs + second * kSecondUs + fraction;
  return true;
}

char* Copy(std::string_view text, char* out) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

// HH:mm:ss.SSS[SSS].
char* PrintTimeOfDay(int64_t us, char* out) {
  out = PrintPadded(us / kHourUs, 2, out);
  *out++ = ':';
  out = PrintPadded(us / kMinuteUs % 60, 2, out);
  *out++ = ':';
  out = PrintPadded(us / kSecondUs % 60, 2, out);
  *out++ = '.';
  const int64_t fraction = us % kSecondUs;
  return fraction % 1000 == 0 ? PrintPadded(fraction / 1000, 3, out)
                              : PrintPadded(fraction, 6, out);
}

}  // namespace

bool ParseInt64(std::string_view text, int64_t& out) {
  text = StripSpaces(text);
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseDouble(std::string_view text, double& out) {
  text = StripSpaces(text);
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool ParseBool(std::string_view text, bool& out) {
  text = StripSpaces(text);
  for (const std::string_view yes : {"true", "t", "yes", "y", "1"}) {
    if (LowerAscii(text) == yes) return out = true;
  }
  out = false;
  for (const std::string_view no : {"false", "f", "no", "n", "0"}) {
    if (LowerAscii(text) == no) return true;
  }
  return false;
}

bool ParseDate(std::string_view text, int32_t& days) {
  text = StripSpaces(text);
  int64_t wide = 0;
  if (!TakeDate(text, wide) || !text.empty()) return false;
  days = static_cast<int32_t>(wide);
  return true;
}

bool ParseTimestamp(std::string_view text, int64_t& us) {
  text = StripSpaces(text);
  int64_t days = 0, time = 0;
  if (!TakeDate(text, days)) return false;
  if (!text.empty()) {
    if (text[0] != ' ' && text[0] != 'T') return false;
    text.remove_prefix(1);
    if (!TakeTimeOfDay(text, time)) return false;
    (void)TakePrefix(text, "Z");  // Optional.
  }
  us = days * kDayUs + time;
  return text.empty();
}

bool ParseInterval(std::string_view text, int64_t& us) {
  text = StripSpaces(text);
  const bool negative = TakePrefix(text, "-");
  if (!negative) (void)TakePrefix(text, "+");  // Optional.
  size_t digits = 0;
  while (digits < text.size() && IsDigit(text[digits])) {
    ++digits;
  }
  int64_t days = 0, time = 0;
  if (digits < 1 || digits > 9 || !TakeDigits(text, digits, days) || !TakePrefix(text, " ") ||
      !TakeTimeOfDay(text, time) || !text.empty()) {
    return false;
  }
  // Negated first: the least interval has no positive counterpart.
  const __int128 wide = (__int128{days} * kDayUs + time) * (negative ? -1 : 1);
  us = static_cast<int64_t>(wide);
  return us == wide;
}

char* PrintInt64(int64_t value, char* out) {
  return std::to_chars(out, out + kValueTextMax, value).ptr;
}

char* PrintPadded(int64_t value, int width, char* out) {
  char digits[24];
  char* end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  for (auto size = static_cast<int>(end - digits); size < width; ++size) *out++ = '0';
  return Copy({digits, static_cast<size_t>(end - digits)}, out);
}

char* PrintDouble(double value, char* out) {
  if (std::isnan(value)) return Copy("NaN", out);
  if (std::isinf(value)) return Copy(value > 0 ? "Infinity" : "-Infinity", out);
  // Shortest digits, as d.ddde±xx; the point is then put where it belongs.
  char text[32];
  const char* end =
      std::to_chars(text, text + sizeof(text), value, std::chars_format::scientific).ptr;
  const char* from = text;
  if (*from == '-') *out++ = *from++;
  char digits[24];
  int count = 0;
  for (; *from != 'e'; ++from) {
    if (*from != '.') digits[count++] = *from;
  }
  ++from;
  if (*from == '+') ++from;
  int exponent = 0;
  std::from_chars(from, end, exponent);
  const bool plain = value == 0 || (exponent >= -3 && exponent < 7);
  const int point = plain ? exponent + 1 : 1;  // Digits before the point.
  if (point <= 0) {
    *out++ = '0';
  } else {
    for (int i = 0; i < point; ++i) *out++ = i < count ? digits[i] : '0';
  }
  *out++ = '.';
  for (int i = point; i < 0; ++i) *out++ = '0';
  if (count <= point) *out++ = '0';
  for (int i = point < 0 ? 0 : point; i < count; ++i) *out++ = digits[i];
  if (plain) return out;
  *out++ = 'E';
  return PrintInt64(exponent, out);
}

char* PrintDate(int64_t days, char* out) {
  const CivilDate date = CivilFromDays(days);
  if (date.year < 0) *out++ = '-';
  out = PrintPadded(date.year < 0 ? -date.year : date.year, 4, out);
  *out++ = '-';
  out = PrintPadded(date.month, 2, out);
  *out++ = '-';
  return PrintPadded(date.day, 2, out);
}

char* PrintTimestamp(int64_t us, char* out) {
  out = PrintDate(FloorDiv(us, kDayUs), out);
  *out++ = ' ';
  return PrintTimeOfDay(FloorMod(us, kDayUs), out);
}

char* PrintInterval(int64_t us, char* out) {
  *out++ = us < 0 ? '-' : '+';
  // Divided first: the least interval has no positive counterpart.
  const int64_t days = us / kDayUs, time = us % kDayUs;
  out = PrintInt64(days < 0 ? -days : days, out);
  *out++ = ' ';
  return PrintTimeOfDay(time < 0 ? -time : time, out);
}

// Both count in eras of 400 years and in years that begin in March, so that the leap day is last.
CivilDate CivilFromDays(int64_t days) {
  const int64_t shifted = days + 719468;  // From 0000-03-01.
  const int64_t era = FloorDiv(shifted, 146097);
  const int64_t day_of_era = shifted - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t march_month = (5 * day_of_year + 2) / 153;
  const auto month = static_cast<int>(march_month < 10 ? march_month + 3 : march_month - 9);
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month,
          static_cast<int>(day_of_year - (153 * march_month + 2) / 5 + 1)};
}

int64_t DaysFromCivil(int64_t year, int month, int day) {
  if (month <= 2) --year;
  const int64_t era = FloorDiv(year, 400);
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

bool IsCivilDate(int64_t year, int month, int day) {
  if (month < 1 || month > 12 || day < 1 || day > 31) return false;
  const CivilDate back = CivilFromDays(DaysFromCivil(year, month, day));
  return back.month == month && back.day == day;
}

}  // namespace millrace::expressions
