// Dates and timestamps as text: yyyy-MM-dd and yyyy-MM-dd HH:mm:ss[.fraction], years 0001 to 9999
// of the proleptic Gregorian calendar.
//
// Threading: parser and printer remember the last day, one thread each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

// Days since 1970-01-01. Pure.
int32_t DaysFromDate(int year, int month, int day);
void DateFromDays(int32_t days, int& year, int& month, int& day);

// Exactly yyyy-MM-dd of a day that exists.
std::optional<int32_t> ParseDate(std::string_view text);

enum class TimestampText : uint8_t { kSql, kIso8601 };

// Most timestamps of a stream are of the same day: its number is kept.
class TimestampParser {
 public:
  explicit TimestampParser(TimestampText form) : form_(form) {}
  // Microseconds since 1970-01-01 00:00:00. The fraction has up to nine digits; what is finer than
  // a microsecond is cut off. ISO-8601 has T instead of the space and may end with Z or an offset
  // ("+01:00"), which is subtracted.
  std::optional<int64_t> Parse(std::string_view text);

 private:
  const TimestampText form_;
  char day_text_[10] = {};
  int64_t day_us_ = 0;
};

class TimestampPrinter {
 public:
  explicit TimestampPrinter(TimestampText form) : form_(form) {}
  // Three digits of fraction, six where three would lose something. A timestamp outside the years
  // 0001 to 9999 is clamped to them.
  void Append(int64_t us, std::string& out);

 private:
  const TimestampText form_;
  int64_t day_ = INT64_MIN;
  char day_text_[10] = {};
};

void AppendDate(int32_t days, std::string& out);

}  // namespace millrace
