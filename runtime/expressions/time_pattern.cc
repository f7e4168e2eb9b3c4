#include "runtime/expressions/time_pattern.h"

#include <algorithm>
#include <cstring>

#include "runtime/expressions/text.h"
#include "runtime/expressions/text_values.h"

namespace millrace::expressions {
namespace {

constexpr size_t kPatternBytesMax = 256;
constexpr int kWidthMax = 9;
constexpr size_t kNumberBytesMax = 20;

// Exactly `width` digits; a width of one takes as many as there are, up to nine.
bool TakeNumber(std::string_view& text, int width, int64_t& out) {
  size_t digits = 0;
  const auto digits_max = static_cast<size_t>(width == 1 ? kWidthMax : width);
  out = 0;
  while (digits < digits_max && digits < text.size() && IsDigit(text[digits])) {
    out = out * 10 + (text[digits++] - '0');
  }
  text.remove_prefix(digits);
  return width == 1 ? digits > 0 : digits == digits_max;
}

}  // namespace

absl::StatusOr<TimePattern> TimePattern::Compile(std::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return absl::InvalidArgumentError("date pattern longer than 256 bytes");
  }
  TimePattern compiled;
  const auto literal = [&](char c) {
    if (compiled.items_.empty() || compiled.items_.back().letter != 0) {
      compiled.items_.push_back({0, 0, ""});
    }
    compiled.items_.back().text.push_back(c);
  };
  for (size_t i = 0; i < pattern.size();) {
    const char c = pattern[i];
    if (IsLetter(c)) {
      if (!(std::string_view("yMdHmsS").find(c) != std::string_view::npos)) {
        return InvalidArgument("date pattern '", pattern, "': unknown letter '",
                               std::string_view(&c, 1), "'");
      }
      size_t end = i;
      while (end < pattern.size() && pattern[end] == c) ++end;
      if (end - i > kWidthMax) {
        return absl::InvalidArgumentError(Text("date pattern '", pattern, "': field wider than 9"));
      }
      compiled.items_.push_back({c, static_cast<int>(end - i), ""});
      i = end;
    } else if (c != '\'') {
      literal(c);
      ++i;
    } else if (i + 1 < pattern.size() && pattern[i + 1] == '\'') {
      literal('\'');
      i += 2;
    } else {
      for (++i; i < pattern.size(); ++i) {
        if (pattern[i] != '\'') {
          literal(pattern[i]);
        } else if (i + 1 < pattern.size() && pattern[i + 1] == '\'') {
          literal('\'');
          ++i;
        } else {
          break;
        }
      }
      if (i == pattern.size()) {
        return absl::InvalidArgumentError(
            Text("date pattern '", pattern, "': quote without an end"));
      }
      ++i;
    }
  }
  for (const Item& item : compiled.items_) {
    compiled.size_max_ += item.letter == 0 ? item.text.size() : kNumberBytesMax;
  }
  return compiled;
}

char* TimePattern::Print(int64_t us, char* out) const {
  const CivilDate date = CivilFromDays(FloorDiv(us, kDayUs));
  const int64_t time = FloorMod(us, kDayUs);
  for (const Item& item : items_) {
    switch (item.letter) {
      case 0:
        std::memcpy(out, item.text.data(), item.text.size());
        out += item.text.size();
        break;
      case 'y':
        if (item.width == 2) {
          out = PrintPadded(FloorMod(date.year, 100), 2, out);
        } else {
          if (date.year < 0) *out++ = '-';
          out = PrintPadded(date.year < 0 ? -date.year : date.year, item.width, out);
        }
        break;
      case 'M':
        out = PrintPadded(date.month, item.width, out);
        break;
      case 'd':
        out = PrintPadded(date.day, item.width, out);
        break;
      case 'H':
        out = PrintPadded(time / kHourUs, item.width, out);
        break;
      case 'm':
        out = PrintPadded(time / kMinuteUs % 60, item.width, out);
        break;
      case 's':
        out = PrintPadded(time / kSecondUs % 60, item.width, out);
        break;
      case 'S': {
        // The first `width` digits of nine.
        int64_t fraction = time % kSecondUs * 1000;
        for (int i = item.width; i < kWidthMax; ++i) fraction /= 10;
        out = PrintPadded(fraction, item.width, out);
        break;
      }
    }
  }
  return out;
}

bool TimePattern::Parse(std::string_view text, int64_t& us) const {
  int64_t year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0, fraction = 0;
  for (const Item& item : items_) {
    bool fits = true;
    switch (item.letter) {
      case 0:
        fits = TakePrefix(text, item.text);
        break;
      case 'y':
        fits = TakeNumber(text, item.width, year);
        if (item.width == 2) year += 2000;
        break;
      case 'M':
        fits = TakeNumber(text, item.width, month);
        break;
      case 'd':
        fits = TakeNumber(text, item.width, day);
        break;
      case 'H':
        fits = TakeNumber(text, item.width, hour);
        break;
      case 'm':
        fits = TakeNumber(text, item.width, minute);
        break;
      case 's':
        fits = TakeNumber(text, item.width, second);
        break;
      case 'S': {
        const size_t before = text.size();
        fits = TakeNumber(text, item.width, fraction);
        for (auto digits = before - text.size(); digits < kWidthMax; ++digits) fraction *= 10;
        break;
      }
    }
    if (!fits) return false;
  }
  if (!text.empty() || year < 1 || year > 9999 || month > 12 || day > 31 || hour > 23 ||
      minute > 59 || second > 59 ||
      !IsCivilDate(year, static_cast<int>(month), static_cast<int>(day))) {
    return false;
  }
  us = DaysFromCivil(year, static_cast<int>(month), static_cast<int>(day)) * kDayUs +
       hour * kHourUs + minute * kMinuteUs + second * kSecondUs + fraction / 1000;
  return true;
}

}  // namespace millrace::expressions
