// Reference meanings: times by Abseil's civil calendar, and casts.
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>

#include <re2/re2.h>

#include "absl/time/civil_time.h"
#include "runtime/expressions/interpreter.h"
#include "runtime/expressions/text.h"

namespace millrace::expressions::reference {
namespace {

using Result = absl::StatusOr<Datum>;
using In = CallInput;

constexpr absl::CivilDay kEpochDay(1970, 1, 1);
constexpr __int128 kSecondUs = 1'000'000;
constexpr __int128 kDayUs = 86'400 * kSecondUs;

// A moment, taken apart.
struct Parts {
  absl::CivilDay day;
  int64_t us_of_day = 0;
};

Parts PartsOf(const Datum& time) {
  if (time.type == TypeKind::kDate) return {kEpochDay + time.int_value, 0};
  __int128 day = time.int_value / kDayUs, rest = time.int_value % kDayUs;
  if (rest < 0) {
    rest += kDayUs;
    --day;
  }
  return {kEpochDay + static_cast<int64_t>(day), static_cast<int64_t>(rest)};
}

Result MomentOf(const Parts& parts) {
  return Checked(TypeKind::kTimestamp, __int128{parts.day - kEpochDay} * kDayUs + parts.us_of_day);
}

absl::CivilDay MondayOf(absl::CivilDay day) {
  return absl::PrevWeekday(day + 1, absl::Weekday::monday);
}

Result Extract(std::string_view unit, const Datum& time) {
  const auto [day, us] = PartsOf(time);
  const auto value = [](auto number) {
    return Int(TypeKind::kInt64, static_cast<int64_t>(number));
  };
  if (unit == "year") return value(day.year());
  if (unit == "decade") return value(std::floor(static_cast<double>(day.year()) / 10));
  if (unit == "century") return value(std::ceil(static_cast<double>(day.year()) / 100));
  if (unit == "millennium") return value(std::ceil(static_cast<double>(day.year()) / 1000));
  if (unit == "isoyear") return value((MondayOf(day) + 3).year());
  if (unit == "quarter") return value((day.month() - 1) / 3 + 1);
  if (unit == "month") return value(day.month());
  if (unit == "day") return value(day.day());
  if (unit == "doy") return value(absl::GetYearDay(day));
  if (unit == "isodow") return value(day - MondayOf(day) + 1);
  if (unit == "dow") return value(day - absl::PrevWeekday(day + 1, absl::Weekday::sunday) + 1);
  if (unit == "week") return value((absl::GetYearDay(MondayOf(day) + 3) - 1) / 7 + 1);
  if (unit == "hour") return value(us / 3'600'000'000);
  if (unit == "minute") return value(us / 60'000'000 % 60);
  if (unit == "second") return value(us / 1'000'000 % 60);
  if (unit == "millisecond") return value(us / 1'000 % 1'000);
  if (unit == "epoch") return value((day - kEpochDay) * 86'400 + us / 1'000'000);
  return absl::InvalidArgumentError("unknown unit");
}

Result DateTrunc(const In& in) {
  if (in[1].int_value < std::numeric_limits<int64_t>::min() + 367 * int64_t{86'400'000'000}) {
    return RowError("timestamp out of range");
  }
  auto [day, us] = PartsOf(in[1]);
  const std::string unit = LowerAscii(in[0].string_value);
  const std::map<std::string, int64_t> steps = {{"millisecond", 1'000},
                                                {"second", 1'000'000},
                                                {"minute", 60'000'000},
                                                {"hour", 3'600'000'000}};
  if (const auto step = steps.find(unit); step != steps.end()) {
    return MomentOf({day, us - us % step->second});
  }
  if (unit == "day") return MomentOf({day, 0});
  if (unit == "week") return MomentOf({MondayOf(day), 0});
  if (unit == "month") return MomentOf({absl::CivilDay(absl::CivilMonth(day)), 0});
  if (unit == "quarter") {
    return MomentOf({absl::CivilDay(day.year(), (day.month() - 1) / 3 * 3 + 1, 1), 0});
  }
  if (unit == "year") return MomentOf({absl::CivilDay(absl::CivilYear(day)), 0});
  return absl::InvalidArgumentError("unknown unit");
}

// Of a unit that has one length.
const std::map<std::string, __int128>& UnitLengths() {
  static const auto* lengths = new std::map<std::string, __int128>{
      {"millisecond", 1'000},      {"second", kSecondUs}, {"minute", 60 * kSecondUs},
      {"hour", 3'600 * kSecondUs}, {"day", kDayUs},       {"week", 7 * kDayUs}};
  return *lengths;
}

int64_t MonthsIn(const std::string& unit) {
  return unit == "year" ? 12 : unit == "quarter" ? 3 : unit == "month" ? 1 : 0;
}

// A day that its month lacks is the month's last.
Result AddMonths(const Datum& time, __int128 months) {
  if (months > 12 * 600'000 * 12 || months < -12 * 600'000 * 12) {
    return RowError("timestamp out of range");
  }
  const Parts parts = PartsOf(time);
  const absl::CivilMonth month = absl::CivilMonth(parts.day) + static_cast<int64_t>(months);
  const absl::CivilDay last = absl::CivilDay(month + 1) - 1;
  const absl::CivilDay day = absl::CivilDay(month) + (parts.day.day() - 1);
  return MomentOf({std::min(day, last), parts.us_of_day});
}

Result TimestampAdd(const In& in) {
  const std::string unit = LowerAscii(in[0].string_value);
  const auto length = UnitLengths().find(unit);
  if (length == UnitLengths().end()) {
    return AddMonths(in[2], __int128{in[1].int_value} * MonthsIn(unit));
  }
  return Checked(in.result, in[2].int_value + in[1].int_value * length->second);
}

// How many can be added to the earlier one without passing the later one.
Result TimestampDiff(const In& in) {
  const std::string unit = LowerAscii(in[0].string_value);
  const auto length = UnitLengths().find(unit);
  if (length != UnitLengths().end()) {
    return Checked(in.result, (__int128{in[2].int_value} - in[1].int_value) / length->second);
  }
  const bool forward = in[1].int_value <= in[2].int_value;
  const Datum &early = in[forward ? 1 : 2], &late = in[forward ? 2 : 1];
  const auto passes = [&](int64_t count) {
    const Result later = AddMonths(early, __int128{count} * MonthsIn(unit));
    return !later.ok() || later->int_value > late.int_value;
  };
  int64_t count = 0;
  for (int64_t step = int64_t{1} << 23; step > 0; step /= 2) {
    if (!passes(count + step)) count += step;
  }
  return Int(in.result, forward ? count : -count);
}

std::string Padded(int64_t value, int width) {
  std::string digits = std::to_string(value);
  while (static_cast<int>(digits.size()) < width) digits = "0" + digits;
  return digits;
}

std::string YearText(int64_t year, int width) {
  return year < 0 ? "-" + Padded(-year, width) : Padded(year, width);
}

// --- Patterns ----------------------------------------------------------------------------------

struct PatternItem {
  char letter = 0;  // 0 = literal.
  std::string text;
};

absl::StatusOr<std::vector<PatternItem>> ReadPattern(const std::string& pattern) {
  std::vector<PatternItem> items;
  bool quoted = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\'') {
      if (i + 1 < pattern.size() && pattern[i + 1] == '\'') {
        items.push_back({0, "'"});
        ++i;
      } else {
        quoted = !quoted;
        // Two fields that quotes separate are two fields.
        items.push_back({0, ""});
      }
    } else if (quoted || !IsLetter(c)) {
      items.push_back({0, std::string(1, c)});
    } else if (std::string("yMdHmsS").find(c) == std::string::npos) {
      return RowError("date pattern with an unknown letter");
    } else if (!items.empty() && items.back().letter == c) {
      items.back().text += c;
      if (items.back().text.size() > 9) return RowError("date pattern: field wider than 9");
    } else {
      items.push_back({c, std::string(1, c)});
    }
  }
  if (quoted) return RowError("date pattern: quote without an end");
  if (pattern.size() > 256) return RowError("date pattern longer than 256 bytes");
  return items;
}

Result DateFormat(const In& in) {
  const auto items = ReadPattern(in[1].string_value);
  if (!items.ok()) return items.status();
  const auto [day, us] = PartsOf(in[0]);
  std::string text;
  for (const PatternItem& item : *items) {
    const auto width = static_cast<int>(item.text.size());
    switch (item.letter) {
      case 0:
        text += item.text;
        break;
      case 'y':
        text +=
            width == 2 ? Padded((day.year() % 100 + 100) % 100, 2) : YearText(day.year(), width);
        break;
      case 'M':
        text += Padded(day.month(), width);
        break;
      case 'd':
        text += Padded(day.day(), width);
        break;
      case 'H':
        text += Padded(us / 3'600'000'000, width);
        break;
      case 'm':
        text += Padded(us / 60'000'000 % 60, width);
        break;
      case 's':
        text += Padded(us / 1'000'000 % 60, width);
        break;
      default:
        text += (Padded(us % 1'000'000, 6) + "000").substr(0, item.text.size());
    }
  }
  return Text(TypeKind::kString, text);
}

// The fields of a timestamp as a regular expression found them.
Datum MomentOfFields(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute,
                     int64_t second, const std::string& fraction) {
  const absl::CivilDay date(year, static_cast<int>(month), static_cast<int>(day));
  if (year < 1 || year > 9999 || date.year() != year || date.month() != month ||
      date.day() != day || hour > 23 || minute > 59 || second > 59) {
    return Null(TypeKind::kTimestamp);
  }
  const int64_t us = std::stoll((fraction + "000000").substr(0, 6));
  return *MomentOf({date, ((hour * 60 + minute) * 60 + second) * 1'000'000 + us});
}

int64_t NumberIn(const std::string& digits) { return digits.empty() ? 0 : std::stoll(digits); }

Result ToTimestampByPattern(const In& in) {
  const auto items = ReadPattern(in[1].string_value);
  if (!items.ok()) return items.status();
  std::map<char, std::string> fields = {{'y', "1970"}, {'M', "1"}, {'d', "1"}};
  std::string regex = "(?s)";
  std::vector<PatternItem> captured;
  for (const PatternItem& item : *items) {
    if (item.letter == 0) {
      regex += RE2::QuoteMeta(item.text);
    } else {
      // A field of one letter takes all digits that follow, up to nine.
      regex += item.text.size() == 1 ? "([0-9]{1,9})"
                                     : expressions::Text("([0-9]{", item.text.size(), "})");
      captured.push_back(item);
    }
  }
  const RE2 compiled("\\A" + regex + "\\z");
  std::vector<std::string> values(captured.size());
  std::vector<RE2::Arg> arguments;
  for (std::string& value : values) arguments.emplace_back(&value);
  std::vector<const RE2::Arg*> pointers;
  for (const RE2::Arg& argument : arguments) pointers.push_back(&argument);
  if (!RE2::FullMatchN(in[0].string_value, compiled, pointers.data(),
                       static_cast<int>(pointers.size()))) {
    return Null(in.result);
  }
  for (size_t i = 0; i < captured.size(); ++i) {
    fields[captured[i].letter] = values[i];
    if (captured[i].letter == 'y' && captured[i].text.size() == 2) {
      fields['y'] = Padded(2000 + NumberIn(values[i]), 4);
    }
  }
  return MomentOfFields(NumberIn(fields['y']), NumberIn(fields['M']), NumberIn(fields['d']),
                        NumberIn(fields['H']), NumberIn(fields['m']), NumberIn(fields['s']),
                        fields['S']);
}

Result ToTimestamp(const In& in) {
  return in.size() == 2 ? ToTimestampByPattern(in) : ParseTimestampText(in[0].string_value);
}

Result ToTimestampLtz(const In& in) {
  const int64_t precision = in[1].int_value;
  if (precision != 0 && precision != 3) return RowError("precision is neither 0 nor 3");
  return Checked(in.result, __int128{in[0].int_value} * (precision == 0 ? 1'000'000 : 1'000));
}

Result FromUnixtime(const In& in) {
  const Result moment = Checked(TypeKind::kTimestamp, in[0].int_value * kSecondUs);
  if (!moment.ok()) return moment;
  const Datum pattern = in.size() == 2 ? in[1] : Text(TypeKind::kString, "yyyy-MM-dd HH:mm:ss");
  const std::vector<Datum> arguments = {*moment, pattern};
  return DateFormat({arguments, in.result});
}

Result ToDate(const In& in) {
  const Result moment = ToTimestamp(in);
  if (!moment.ok()) return moment;
  return moment->is_null ? Null(in.result) : Int(in.result, PartsOf(*moment).day - kEpochDay);
}

Result UnixTimestamp(const In& in) {
  const Result moment = ToTimestamp(in);
  if (!moment.ok()) return moment;
  return moment->is_null ? Null(in.result) : Extract("epoch", *moment);
}

// --- Casts -------------------------------------------------------------------------------------

// HH:mm:ss.SSS or with six digits.
std::string ClockText(int64_t us) {
  std::string text = Padded(us / 3'600'000'000, 2) + ":" + Padded(us / 60'000'000 % 60, 2) + ":" +
                     Padded(us / 1'000'000 % 60, 2) + "." + Padded(us % 1'000'000, 6);
  return us % 1'000 == 0 ? text.substr(0, text.size() - 3) : text;
}

std::string DayText(absl::CivilDay day) {
  return YearText(day.year(), 4) + "-" + Padded(day.month(), 2) + "-" + Padded(day.day(), 2);
}

// Digits are tried until they read back as the same number.
std::string DoubleText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  char scientific[64];
  for (int precision = 0; precision <= 17; ++precision) {
    std::snprintf(scientific, sizeof(scientific), "%.*e", precision, value);
    if (std::strtod(scientific, nullptr) == value) break;
  }
  const std::string text = scientific;
  const size_t e = text.find('e');
  const int exponent = std::atoi(text.c_str() + e + 1);
  std::string sign, digits;
  for (const char c : text.substr(0, e)) {
    if (c == '-') sign = "-";
    if (IsDigit(c)) digits += c;
  }
  if (value != 0 && (exponent < -3 || exponent >= 7)) {
    const std::string fraction = digits.size() > 1 ? digits.substr(1) : "0";
    return sign + digits[0] + "." + fraction + "E" + std::to_string(exponent);
  }
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  }
  while (digits.size() < static_cast<size_t>(exponent) + 2) digits += '0';
  return sign + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

std::string TextOf(const Datum& from) {
  switch (from.type) {
    case TypeKind::kBool:
      return from.bool_value ? "TRUE" : "FALSE";
    case TypeKind::kFloat64:
      return DoubleText(from.float_value);
    case TypeKind::kString:
    case TypeKind::kBytes:
      return from.string_value;
    case TypeKind::kDate:
      return DayText(PartsOf(from).day);
    case TypeKind::kTimestamp:
      return DayText(PartsOf(from).day) + " " + ClockText(PartsOf(from).us_of_day);
    case TypeKind::kInterval: {
      const __int128 length = from.int_value < 0 ? -__int128{from.int_value} : from.int_value;
      return (from.int_value < 0 ? "-" : "+") +
             std::to_string(static_cast<int64_t>(length / kDayUs)) + " " +
             ClockText(static_cast<int64_t>(length % kDayUs));
    }
    default:
      return std::to_string(from.int_value);
  }
}

bool IsUtf8(const std::string& bytes) {
  // "." of RE2 in UTF-8 mode is one well-formed character.
  return RE2::FullMatch(bytes, "(?s).*") || bytes.empty();
}

std::optional<__int128> WholeNumber(std::string_view text) {
  std::string sign, digits;
  const std::string stripped(StripSpaces(text));
  if (!RE2::FullMatch(stripped, "([+-]?)([0-9]+)", &sign, &digits)) return std::nullopt;
  __int128 value = 0;
  for (const char c : digits) {
    value = value * 10 + (c - '0');
    if (value > (__int128{1} << 64)) return std::nullopt;
  }
  return sign == "-" ? -value : value;
}

std::optional<double> RealNumber(std::string_view text) {
  const std::string stripped(StripSpaces(text));
  if (!RE2::FullMatch(stripped,
                      "(?i)[+-]?(?:(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:e[+-]?[0-9]+)?|inf|infinity|"
                      "nan)")) {
    return std::nullopt;
  }
  errno = 0;
  const double value = std::strtod(stripped.c_str(), nullptr);
  if (errno == ERANGE && (value == 0 || std::isinf(value))) return std::nullopt;
  return value;
}

Result FromText(const Datum& from, DataType to) {
  const std::string& text = from.string_value;
  const absl::Status failed =
      RowError(expressions::Text("cannot cast '", text, "' to ", TypeName(to)));
  const std::string stripped(StripSpaces(text));
  switch (to) {
    case TypeKind::kBytes:
      return Text(to, text);
    case TypeKind::kBool: {
      if (RE2::FullMatch(stripped, "(?i)true|t|yes|y|1")) return Bool(true);
      if (RE2::FullMatch(stripped, "(?i)false|f|no|n|0")) return Bool(false);
      return failed;
    }
    case TypeKind::kInt32:
    case TypeKind::kInt64: {
      const auto number = WholeNumber(text);
      if (!number) return failed;
      return Checked(to, *number);
    }
    case TypeKind::kFloat64: {
      const auto number = RealNumber(text);
      if (!number) return failed;
      return Float(*number);
    }
    case TypeKind::kDate: {
      if (stripped.size() != 10) return failed;
      const Datum moment = ParseTimestampText(stripped);
      if (moment.is_null) return failed;
      return Int(to, PartsOf(moment).day - kEpochDay);
    }
    case TypeKind::kTimestamp: {
      const Datum moment = ParseTimestampText(text);
      if (moment.is_null) return failed;
      return moment;
    }
    default: {
      std::string sign, days, clock;
      if (!RE2::FullMatch(stripped, "([+-]?)([0-9]{1,9}) ([0-9:.]+)", &sign, &days, &clock)) {
        return failed;
      }
      const Datum time = ParseTimestampText("1970-01-01 " + clock);
      if (time.is_null) return failed;
      const __int128 length = NumberIn(days) * kDayUs + time.int_value;
      return Checked(to, sign == "-" ? -length : length);
    }
  }
}

const std::map<std::string_view, FunctionRow>& Functions() {
  static const auto* functions = new std::map<std::string_view, FunctionRow>{
      {"extract", {[](const In& in) { return Extract(LowerAscii(in[0].string_value), in[1]); }}},
      {"extract_year", {[](const In& in) { return Extract("year", in[0]); }}},
      {"extract_quarter", {[](const In& in) { return Extract("quarter", in[0]); }}},
      {"extract_month", {[](const In& in) { return Extract("month", in[0]); }}},
      {"extract_week", {[](const In& in) { return Extract("week", in[0]); }}},
      {"extract_day", {[](const In& in) { return Extract("day", in[0]); }}},
      {"extract_doy", {[](const In& in) { return Extract("doy", in[0]); }}},
      {"extract_dow", {[](const In& in) { return Extract("dow", in[0]); }}},
      {"extract_isodow", {[](const In& in) { return Extract("isodow", in[0]); }}},
      {"extract_hour", {[](const In& in) { return Extract("hour", in[0]); }}},
      {"extract_minute", {[](const In& in) { return Extract("minute", in[0]); }}},
      {"extract_second", {[](const In& in) { return Extract("second", in[0]); }}},
      {"extract_millisecond", {[](const In& in) { return Extract("millisecond", in[0]); }}},
      {"extract_epoch", {[](const In& in) { return Extract("epoch", in[0]); }}},
      {"extract_century", {[](const In& in) { return Extract("century", in[0]); }}},
      {"extract_decade", {[](const In& in) { return Extract("decade", in[0]); }}},
      {"extract_isoyear", {[](const In& in) { return Extract("isoyear", in[0]); }}},
      {"extract_millennium", {[](const In& in) { return Extract("millennium", in[0]); }}},
      {"timestampadd", {TimestampAdd}},
      {"timestampdiff", {TimestampDiff}},
      {"from_unixtime", {FromUnixtime}},
      {"to_date", {ToDate}},
      {"unix_timestamp", {UnixTimestamp}},
      {"date_trunc", {DateTrunc}},
      {"date_format", {DateFormat}},
      {"to_timestamp", {ToTimestamp}},
      {"to_timestamp_ltz", {ToTimestampLtz}},
  };
  return *functions;
}

}  // namespace

FunctionRow FindTimeFunction(std::string_view name) {
  const auto found = Functions().find(name);
  return found == Functions().end() ? FunctionRow{} : found->second;
}

Datum ParseTimestampText(std::string_view text) {
  std::string year, month, day, hour, minute, second, fraction;
  const std::string stripped(StripSpaces(text));
  static const RE2 form(
      "([0-9]{4})-([0-9]{2})-([0-9]{2})"
      "(?:[ T]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\\.([0-9]{1,9}))?)?Z?)?");
  if (!RE2::FullMatch(stripped, form, &year, &month, &day, &hour, &minute, &second, &fraction)) {
    return Null(TypeKind::kTimestamp);
  }
  return MomentOfFields(NumberIn(year), NumberIn(month), NumberIn(day), NumberIn(hour),
                        NumberIn(minute), NumberIn(second), fraction);
}

Result Convert(const Datum& from, DataType to) {
  if (from.type == TypeKind::kArray) return ArrayAsText(from);
  if (from.type == TypeKind::kDecimal || to == TypeKind::kDecimal) return ConvertDecimal(from, to);
  if (from.type == TypeKind::kString) return FromText(from, to);
  if (to == TypeKind::kString) {
    if (from.type == TypeKind::kBytes && !IsUtf8(from.string_value)) {
      return RowError("cannot cast bytes that are not UTF-8 to STRING");
    }
    return Text(to, TextOf(from));
  }
  if (from.type == TypeKind::kDate) return Checked(to, from.int_value * kDayUs);
  if (from.type == TypeKind::kTimestamp) return Int(to, PartsOf(from).day - kEpochDay);
  const bool is_float = from.type == TypeKind::kFloat64;
  const int64_t whole = from.type == TypeKind::kBool ? from.bool_value : from.int_value;
  if (to == TypeKind::kBool) return Bool(is_float ? from.float_value != 0 : whole != 0);
  if (to == TypeKind::kFloat64) return Float(static_cast<double>(whole));
  if (!is_float) return Checked(to, whole);
  const double cut = std::trunc(from.float_value);
  if (!(std::abs(cut) < 1e20)) return RowError("number out of range");
  return Checked(to, static_cast<__int128>(cut));
}

}  // namespace millrace::expressions::reference
