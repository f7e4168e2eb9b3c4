#include "runtime/columns/time_text.h"

#include <algorithm>
#include <cstring>

namespace millrace {
namespace {

constexpr int64_t kSecondUs = 1'000'000;
constexpr int64_t kMinuteUs = 60 * kSecondUs;
constexpr int64_t kHourUs = 60 * kMinuteUs;
constexpr int64_t kDayUs = 24 * kHourUs;
constexpr int64_t kFirstUs = -62'135'596'800 * kSecondUs;     // 0001-01-01 00:00:00.
constexpr int64_t kLastUs = 253'402'300'800 * kSecondUs - 1;  // 9999-12-31 23:59:59.999999.
constexpr int kDaysOfMonth[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

bool IsLeap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

// Two digits; a value above 99 when they are none.
unsigned Two(const char* p) {
  const unsigned a = static_cast<unsigned char>(p[0]) - unsigned{'0'};
  const unsigned b = static_cast<unsigned char>(p[1]) - unsigned{'0'};
  return a > 9 || b > 9 ? 1000 : a * 10 + b;
}

void PutTwo(int value, char* out) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
}

void PutDate(int32_t days, char* out) {
  int year = 0, month = 0, day = 0;
  DateFromDays(days, year, month, day);
  PutTwo(year / 100, out);
  PutTwo(year % 100, out + 2);
  out[4] = '-';
  PutTwo(month, out + 5);
  out[7] = '-';
  PutTwo(day, out + 8);
}

// ".123" -> microseconds; consumes it. -1 when it is malformed.
int64_t TakeFraction(std::string_view& rest) {
  if (rest.empty() || rest[0] != '.') return 0;
  int64_t us = 0;
  size_t i = 1;
  for (; i < rest.size() && rest[i] >= '0' && rest[i] <= '9'; ++i) {
    if (i > 9) return -1;
    if (i <= 6) us = us * 10 + (rest[i] - '0');
  }
  if (i == 1) return -1;
  for (size_t digits = i - 1; digits < 6; ++digits) us *= 10;
  rest.remove_prefix(i);
  return us;
}

// "Z", "+01:00", "-0530" or nothing; in microseconds.
std::optional<int64_t> ParseOffset(std::string_view text) {
  if (text.empty() || text == "Z") return 0;
  if (text[0] != '+' && text[0] != '-') return std::nullopt;
  const bool colon = text.size() == 6 && text[3] == ':';
  if (!colon && text.size() != 5) return std::nullopt;
  const unsigned hours = Two(text.data() + 1);
  const unsigned minutes = Two(text.data() + (colon ? 4 : 3));
  if (hours > 18 || minutes > 59) return std::nullopt;
  const int64_t offset = hours * kHourUs + minutes * kMinuteUs;
  return text[0] == '+' ? offset : -offset;
}

}  // namespace

// Both by Howard Hinnant's method: eras of 400 years, years that begin in March.
int32_t DaysFromDate(int year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const int era = (year >= 0 ? year : year - 399) / 400;
  const int year_of_era = year - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

void DateFromDays(int32_t days, int& year, int& month, int& day) {
  const int64_t shifted = int64_t{days} + 719468;
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const int64_t day_of_era = shifted - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  day = static_cast<int>(day_of_year - (153 * month_from_march + 2) / 5 + 1);
  month = static_cast<int>(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
  year = static_cast<int>(year_of_era + era * 400 + (month <= 2 ? 1 : 0));
}

std::optional<int32_t> ParseDate(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const unsigned century = Two(text.data());
  const unsigned year_of_century = Two(text.data() + 2);
  const unsigned month = Two(text.data() + 5);
  const unsigned day = Two(text.data() + 8);
  if (century > 99 || year_of_century > 99 || month < 1 || month > 12 || day < 1 || day > 31) {
    return std::nullopt;
  }
  const int year = static_cast<int>(century * 100 + year_of_century);
  if (year == 0) return std::nullopt;
  const int last = kDaysOfMonth[month - 1] + (month == 2 && IsLeap(year) ? 1 : 0);
  if (static_cast<int>(day) > last) return std::nullopt;
  return DaysFromDate(year, static_cast<int>(month), static_cast<int>(day));
}

std::optional<int64_t> TimestampParser::Parse(std::string_view text) {
  const char separator = form_ == TimestampText::kSql ? ' ' : 'T';
  if (text.size() < 19 || text[10] != separator || text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  if (std::memcmp(text.data(), day_text_, sizeof(day_text_)) != 0) {
    const std::optional<int32_t> days = ParseDate(text.substr(0, 10));
    if (!days) return std::nullopt;
    std::memcpy(day_text_, text.data(), sizeof(day_text_));
    day_us_ = *days * kDayUs;
  }
  const unsigned hour = Two(text.data() + 11);
  const unsigned minute = Two(text.data() + 14);
  const unsigned second = Two(text.data() + 17);
  if (hour > 23 || minute > 59 || second > 59) return std::nullopt;
  const int64_t second_us = day_us_ + int64_t{hour * 3600 + minute * 60 + second} * kSecondUs;
  // Mostly there are milliseconds and nothing else.
  if (text.size() == 23 && text[19] == '.') {
    const unsigned hundredth = Two(text.data() + 20);
    const unsigned thousandth = static_cast<unsigned char>(text[22]) - unsigned{'0'};
    if (hundredth <= 99 && thousandth <= 9) return second_us + (hundredth * 10 + thousandth) * 1000;
  }
  std::string_view rest = text.substr(19);
  const int64_t fraction_us = TakeFraction(rest);
  if (fraction_us < 0) return std::nullopt;
  const int64_t us = second_us + fraction_us;
  if (rest.empty()) return us;
  if (form_ == TimestampText::kSql) return std::nullopt;
  const std::optional<int64_t> offset = ParseOffset(rest);
  if (!offset) return std::nullopt;
  return us - *offset;
}

void TimestampPrinter::Append(int64_t us, std::string& out) {
  us = std::clamp(us, kFirstUs, kLastUs);
  int64_t day = us / kDayUs;
  int64_t rest = us % kDayUs;
  if (rest < 0) {
    rest += kDayUs;
    --day;
  }
  if (day != day_) {
    PutDate(static_cast<int32_t>(day), day_text_);
    day_ = day;
  }
  char text[26];
  std::memcpy(text, day_text_, sizeof(day_text_));
  text[10] = form_ == TimestampText::kSql ? ' ' : 'T';
  PutTwo(static_cast<int>(rest / kHourUs), text + 11);
  text[13] = ':';
  PutTwo(static_cast<int>(rest / kMinuteUs % 60), text + 14);
  text[16] = ':';
  PutTwo(static_cast<int>(rest / kSecondUs % 60), text + 17);
  text[19] = '.';
  const int fraction = static_cast<int>(rest % kSecondUs);
  text[20] = static_cast<char>('0' + fraction / 100'000);
  PutTwo(fraction / 1000 % 100, text + 21);
  size_t length = 23;
  if (const int micros = fraction % 1000; micros != 0) {
    text[23] = static_cast<char>('0' + micros / 100);
    PutTwo(micros % 100, text + 24);
    length = 26;
  }
  out.append(text, length);
}

void AppendDate(int32_t days, std::string& out) {
  char text[10];
  PutDate(std::clamp(days, static_cast<int32_t>(kFirstUs / kDayUs),
                     static_cast<int32_t>(kLastUs / kDayUs)),
          text);
  out.append(text, sizeof(text));
}

}  // namespace millrace
