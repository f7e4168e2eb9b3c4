#include "sql/time_literals.h"

#include <limits>
#include <string>

#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr int64_t kMicrosPerDay = 86'400'000'000;

// Reads from the front of a text.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}
  bool done() const { return at_ == text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }
  bool Take(char c) {
    if (peek() != c || done()) return false;
    ++at_;
    return true;
  }
  void SkipSpace() {
    while (Take(' ')) {
    }
  }
  // min to max digits.
  bool Digits(int min, int max, int64_t* value) {
    int count = 0;
    *value = 0;
    for (; count < max && peek() >= '0' && peek() <= '9'; ++count) {
      *value = *value * 10 + (text_[at_++] - '0');
    }
    return count >= min;
  }
  // ".123456" as microseconds; further digits are dropped. Zero when there is no point.
  bool Fraction(int64_t* us) {
    *us = 0;
    if (!Take('.')) return true;
    int64_t scale = 100'000;
    bool any = false;
    for (; peek() >= '0' && peek() <= '9'; ++at_, any = true) {
      *us += (text_[at_] - '0') * scale;
      scale /= 10;
    }
    return any;
  }
  std::string_view Letters() {
    const size_t begin = at_;
    while ((peek() >= 'a' && peek() <= 'z') || (peek() >= 'A' && peek() <= 'Z')) ++at_;
    return text_.substr(begin, at_ - begin);
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

std::string_view Trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

bool IsLeap(int64_t y) { return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0; }

// Days since 1970-01-01 of a proleptic Gregorian date (H. Hinnant's days_from_civil).
int64_t DaysFromCivil(int64_t y, int64_t m, int64_t d) {
  y -= m <= 2 ? 1 : 0;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t year_of_era = y - era * 400;
  const int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

bool ReadDate(Cursor& in, int64_t* days) {
  constexpr int kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  int64_t y = 0, m = 0, d = 0;
  if (!in.Digits(4, 4, &y) || !in.Take('-') || !in.Digits(1, 2, &m) || !in.Take('-') ||
      !in.Digits(1, 2, &d)) {
    return false;
  }
  if (m < 1 || m > 12 || d < 1 || d > kDays[m - 1] + (m == 2 && IsLeap(y) ? 1 : 0)) return false;
  *days = DaysFromCivil(y, m, d);
  return true;
}

// hh:mm[:ss[.f]]; the hours of an interval may have more digits and pass 23.
bool ReadClock(Cursor& in, int hour_digits, int64_t* us) {
  int64_t h = 0, m = 0, s = 0, fraction = 0;
  if (!in.Digits(1, hour_digits, &h) || !in.Take(':') || !in.Digits(2, 2, &m)) return false;
  if (in.Take(':') && (!in.Digits(2, 2, &s) || !in.Fraction(&fraction))) return false;
  if (m > 59 || s > 59 || (hour_digits == 2 && h > 23)) return false;
  *us = ((h * 60 + m) * 60 + s) * 1'000'000 + fraction;
  return true;
}

bool AddChecked(int64_t a, int64_t b, int64_t* out) { return !__builtin_add_overflow(a, b, out); }

// whole × unit + fraction of a unit.
bool Scaled(int64_t whole, int64_t fraction_millionths, int64_t unit_us, int64_t* us) {
  int64_t product = 0;
  if (__builtin_mul_overflow(whole, unit_us, &product)) return false;
  const __int128 rest = static_cast<__int128>(fraction_millionths) * unit_us / 1'000'000;
  return AddChecked(product, static_cast<int64_t>(rest), us);
}

int64_t UnitMicros(IntervalUnit unit) {
  switch (unit) {
    case IntervalUnit::kDay:
      return kMicrosPerDay;
    case IntervalUnit::kHour:
      return 3'600'000'000;
    case IntervalUnit::kMinute:
      return 60'000'000;
    case IntervalUnit::kSecond:
      return 1'000'000;
  }
  return 0;
}

int64_t UnitMicros(std::string_view name) {
  struct Unit {
    std::string_view name;
    int64_t us;
  };
  constexpr Unit kUnits[] = {{"us", 1},
                             {"microsecond", 1},
                             {"ms", 1000},
                             {"millisecond", 1000},
                             {"s", 1'000'000},
                             {"sec", 1'000'000},
                             {"second", 1'000'000},
                             {"m", 60'000'000},
                             {"min", 60'000'000},
                             {"minute", 60'000'000},
                             {"h", 3'600'000'000},
                             {"hour", 3'600'000'000},
                             {"d", kMicrosPerDay},
                             {"day", kMicrosPerDay},
                             {"w", 7 * kMicrosPerDay},
                             {"week", 7 * kMicrosPerDay}};
  std::string lower = LowerAscii(name);
  for (int pass = 0; pass < 2; ++pass) {
    for (const Unit& unit : kUnits) {
      if (unit.name == lower) return unit.us;
    }
    if (lower.size() < 3 || lower.back() != 's') break;
    lower.pop_back();
  }
  return 0;
}

}  // namespace

bool ParseTimestampLiteral(std::string_view text, int64_t* us) {
  Cursor in(Trimmed(text));
  int64_t days = 0, time = 0;
  if (!ReadDate(in, &days)) return false;
  if (!in.done() && ((!in.Take(' ') && !in.Take('T')) || !ReadClock(in, 2, &time))) return false;
  *us = days * kMicrosPerDay + time;
  return in.done();
}

bool ParseDateLiteral(std::string_view text, int64_t* days) {
  Cursor in(Trimmed(text));
  return ReadDate(in, days) && in.done();
}

bool ParseUnitInterval(std::string_view text, IntervalUnit first, IntervalUnit last, int64_t* us) {
  Cursor in(Trimmed(text));
  const bool negative = in.Take('-');
  if (!negative) in.Take('+');
  int64_t total = 0;
  for (int unit = static_cast<int>(first); unit <= static_cast<int>(last); ++unit) {
    if (unit > static_cast<int>(first)) {
      if (unit == static_cast<int>(IntervalUnit::kHour) ? !in.Take(' ') : !in.Take(':')) {
        return false;
      }
    }
    int64_t whole = 0, fraction = 0, part = 0;
    if (!in.Digits(1, 15, &whole)) return false;
    if (unit == static_cast<int>(last) && !in.Fraction(&fraction)) return false;
    if (!Scaled(whole, fraction, UnitMicros(static_cast<IntervalUnit>(unit)), &part) ||
        !AddChecked(total, part, &total)) {
      return false;
    }
  }
  *us = negative ? -total : total;
  return in.done();
}

bool ParseFreeInterval(std::string_view text, int64_t* us) {
  std::string_view rest = Trimmed(text);
  if (rest.empty()) return false;
  int64_t total = 0;
  Cursor in(rest);
  while (!in.done()) {
    const bool negative = in.Take('-');
    if (!negative) in.Take('+');
    int64_t part = 0;
    Cursor as_clock = in;
    if (ReadClock(as_clock, 9, &part)) {
      in = as_clock;
    } else {
      int64_t whole = 0, fraction = 0;
      if (!in.Digits(1, 15, &whole) || !in.Fraction(&fraction)) return false;
      in.SkipSpace();
      const int64_t unit = UnitMicros(in.Letters());
      if (unit == 0 || !Scaled(whole, fraction, unit, &part)) return false;
    }
    if (!AddChecked(total, negative ? -part : part, &total)) return false;
    in.SkipSpace();
  }
  *us = total;
  return true;
}

std::string DurationText(uint64_t ms) {
  struct Unit {
    uint64_t ms;
    const char* name;
  };
  constexpr Unit kUnits[] = {{86'400'000, " d"}, {3'600'000, " h"}, {60'000, " min"}, {1000, " s"}};
  for (const Unit& unit : kUnits) {
    if (ms >= unit.ms && ms % unit.ms == 0) return Concat(ms / unit.ms, unit.name);
  }
  return Concat(ms, " ms");
}

}  // namespace millrace
