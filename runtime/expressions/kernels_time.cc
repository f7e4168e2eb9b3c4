// Fields of dates and timestamps, truncation, formatting and parsing by pattern.
#include <limits>
#include <memory>
#include <span>

#include "runtime/base/status_macros.h"
#include "runtime/expressions/text.h"
#include "runtime/expressions/text_values.h"
#include "runtime/expressions/time_pattern.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

// --- extract -----------------------------------------------------------------------------------

int64_t DayOf(int64_t us) { return FloorDiv(us, kDayUs); }
// 1 = Monday to 7 = Sunday; 1970-01-01 was a Thursday.
int64_t IsoWeekday(int64_t days) { return FloorMod(days + 3, 7) + 1; }
int64_t DayOfYear(int64_t days) { return days - DaysFromCivil(CivilFromDays(days).year, 1, 1) + 1; }
// The ISO week is that of the week's Thursday.
int64_t IsoWeek(int64_t days) {
  const int64_t thursday = days - IsoWeekday(days) + 4;
  return (DayOfYear(thursday) - 1) / 7 + 1;
}

// Fields of day `day` and `time` microseconds into it.
int64_t Year(int64_t day, int64_t) { return CivilFromDays(day).year; }
int64_t Decade(int64_t day, int64_t) { return FloorDiv(CivilFromDays(day).year, 10); }
int64_t Century(int64_t day, int64_t) { return FloorDiv(CivilFromDays(day).year - 1, 100) + 1; }
int64_t Millennium(int64_t day, int64_t) { return FloorDiv(CivilFromDays(day).year - 1, 1000) + 1; }
int64_t Isoyear(int64_t day, int64_t) { return CivilFromDays(day - IsoWeekday(day) + 4).year; }
int64_t Quarter(int64_t day, int64_t) { return (CivilFromDays(day).month + 2) / 3; }
int64_t Month(int64_t day, int64_t) { return CivilFromDays(day).month; }
int64_t Week(int64_t day, int64_t) { return IsoWeek(day); }
int64_t Day(int64_t day, int64_t) { return CivilFromDays(day).day; }
int64_t Doy(int64_t day, int64_t) { return DayOfYear(day); }
int64_t Dow(int64_t day, int64_t) { return IsoWeekday(day) % 7 + 1; }
int64_t Isodow(int64_t day, int64_t) { return IsoWeekday(day); }
int64_t Hour(int64_t, int64_t time) { return time / kHourUs; }
int64_t Minute(int64_t, int64_t time) { return time % kHourUs / kMinuteUs; }
int64_t Second(int64_t, int64_t time) { return time % kMinuteUs / kSecondUs; }
int64_t Millisecond(int64_t, int64_t time) { return time % kSecondUs / 1000; }
int64_t Epoch(int64_t day, int64_t time) { return day * (kDayUs / kSecondUs) + time / kSecondUs; }

// One loop per field: the field is no call per row.
template <int64_t (*Field)(int64_t, int64_t)>
Value RunExtract(const KernelInput& in) {
  const Value& from = in.arguments.back();
  if (from.IsNullScalar()) return NullScalar(TypeKind::kInt64);
  FixedWriter<int64_t> writer(in.rows);
  int64_t* out = writer.values();
  if (from.column.type() == TypeKind::kDate) {
    const auto* days = from.column.values<int32_t>();
    for (int64_t row = 0; row < in.rows; ++row) out[row] = Field(days[row], 0);
  } else {
    const auto* us = from.column.values<int64_t>();
    for (int64_t row = 0; row < in.rows; ++row) {
      out[row] = Field(DayOf(us[row]), FloorMod(us[row], kDayUs));
    }
  }
  return writer.Finish(TypeKind::kInt64, in.rows, IntersectValidity({&from, 1}, in.rows));
}

struct UnitEntry {
  std::string_view unit;
  Value (*run)(const KernelInput&);
};
constexpr UnitEntry kExtract[] = {
    {"century", RunExtract<Century>},
    {"day", RunExtract<Day>},
    {"decade", RunExtract<Decade>},
    {"dow", RunExtract<Dow>},
    {"doy", RunExtract<Doy>},
    {"epoch", RunExtract<Epoch>},
    {"hour", RunExtract<Hour>},
    {"isodow", RunExtract<Isodow>},
    {"isoyear", RunExtract<Isoyear>},
    {"millennium", RunExtract<Millennium>},
    {"millisecond", RunExtract<Millisecond>},
    {"minute", RunExtract<Minute>},
    {"month", RunExtract<Month>},
    {"quarter", RunExtract<Quarter>},
    {"second", RunExtract<Second>},
    {"week", RunExtract<Week>},
    {"year", RunExtract<Year>},
};

// --- date_trunc --------------------------------------------------------------------------------

template <int64_t kStepUs>
struct TruncateToStep {
  int64_t operator()(int64_t us) const { return us - FloorMod(us, kStepUs); }
};
struct TruncateToWeek {
  int64_t operator()(int64_t us) const {
    const int64_t day = DayOf(us);
    return (day - IsoWeekday(day) + 1) * kDayUs;
  }
};
template <int kMonths>
struct TruncateToMonths {
  int64_t operator()(int64_t us) const {
    const CivilDate date = CivilFromDays(DayOf(us));
    return DaysFromCivil(date.year, (date.month - 1) / kMonths * kMonths + 1, 1) * kDayUs;
  }
};

// Below this, the start of the unit may lie before the first timestamp.
constexpr int64_t kTruncatableMin = std::numeric_limits<int64_t>::min() + 367 * kDayUs;

template <typename Truncate>
Value RunTruncate(const KernelInput& in) {
  const Argument from(in.arguments[1]);
  return FixedLoop<int64_t>(in, TypeKind::kTimestamp,
                            [&](int64_t row, int64_t& out, std::string& error) {
                              const int64_t us = from.Int(row);
                              if (us < kTruncatableMin) {
                                error = "timestamp out of range";
                                return RowOutcome::kError;
                              }
                              out = Truncate()(us);
                              return RowOutcome::kValue;
                            });
}

constexpr UnitEntry kTruncate[] = {
    {"millisecond", RunTruncate<TruncateToStep<1000>>},
    {"second", RunTruncate<TruncateToStep<kSecondUs>>},
    {"minute", RunTruncate<TruncateToStep<kMinuteUs>>},
    {"hour", RunTruncate<TruncateToStep<kHourUs>>},
    {"day", RunTruncate<TruncateToStep<kDayUs>>},
    {"week", RunTruncate<TruncateToWeek>},
    {"month", RunTruncate<TruncateToMonths<1>>},
    {"quarter", RunTruncate<TruncateToMonths<3>>},
    {"year", RunTruncate<TruncateToMonths<12>>},
};

// --- timestampadd, timestampdiff ----------------------------------------------------------------

// Timestamps have no more months.
constexpr int64_t kMonthsMax = int64_t{12} * 600'000;

// The day so many months later; in a month that has no such day, its last one.
int64_t AddMonths(int64_t day, int64_t months) {
  const CivilDate date = CivilFromDays(day);
  const int64_t month = date.year * 12 + date.month - 1 + months;
  const int64_t year = FloorDiv(month, 12);
  const int month_of_year = static_cast<int>(FloorMod(month, 12)) + 1;
  int day_of_month = date.day;
  while (!IsCivilDate(year, month_of_year, day_of_month)) --day_of_month;
  return DaysFromCivil(year, month_of_year, day_of_month);
}

// Whole months from `from` to `to`, which is not before it.
int64_t MonthsBetween(int64_t from, int64_t to) {
  const CivilDate begin = CivilFromDays(DayOf(from)), end = CivilFromDays(DayOf(to));
  const int64_t months = (end.year - begin.year) * 12 + end.month - begin.month;
  const int64_t day = AddMonths(DayOf(from), months);
  const bool is_past =
      day > DayOf(to) || (day == DayOf(to) && FloorMod(from, kDayUs) > FloorMod(to, kDayUs));
  return is_past ? months - 1 : months;
}

template <int64_t kStepUs>
struct Steps {
  static bool Add(int64_t us, int64_t count, int64_t& out) {
    int64_t length;
    return !__builtin_mul_overflow(count, kStepUs, &length) &&
           !__builtin_add_overflow(us, length, &out);
  }
  static int64_t Between(int64_t from, int64_t to) {
    return static_cast<int64_t>((static_cast<Int128>(to) - from) / kStepUs);
  }
};

template <int kMonths>
struct Months {
  static bool Add(int64_t us, int64_t count, int64_t& out) {
    if (count > kMonthsMax || count < -kMonthsMax) return false;
    const int64_t day = AddMonths(DayOf(us), count * kMonths);
    // The first day that there are timestamps of begins before the first of them.
    const Int128 moment = Int128{day} * kDayUs + FloorMod(us, kDayUs);
    out = static_cast<int64_t>(moment);
    return moment == out;
  }
  static int64_t Between(int64_t from, int64_t to) {
    return (from <= to ? MonthsBetween(from, to) : -MonthsBetween(to, from)) / kMonths;
  }
};

template <typename Unit>
Value RunAdd(const KernelInput& in) {
  const Argument count(in.arguments[1]), time(in.arguments[2]);
  return FixedLoop<int64_t>(in, TypeKind::kTimestamp,
                            [&](int64_t row, int64_t& out, std::string& error) {
                              if (Unit::Add(time.Int(row), count.Int(row), out)) {
                                return RowOutcome::kValue;
                              }
                              out = 0;
                              error = "timestamp out of range";
                              return RowOutcome::kError;
                            });
}

template <typename Unit>
Value RunBetween(const KernelInput& in) {
  const Argument from(in.arguments[1]), to(in.arguments[2]);
  return FixedLoop<int64_t>(in, TypeKind::kInt64, [&](int64_t row, int64_t& out, std::string&) {
    out = Unit::Between(from.Int(row), to.Int(row));
    return RowOutcome::kValue;
  });
}

constexpr UnitEntry kAdd[] = {
    {"millisecond", RunAdd<Steps<1000>>}, {"second", RunAdd<Steps<kSecondUs>>},
    {"minute", RunAdd<Steps<kMinuteUs>>}, {"hour", RunAdd<Steps<kHourUs>>},
    {"day", RunAdd<Steps<kDayUs>>},       {"week", RunAdd<Steps<7 * kDayUs>>},
    {"month", RunAdd<Months<1>>},         {"quarter", RunAdd<Months<3>>},
    {"year", RunAdd<Months<12>>},
};
constexpr UnitEntry kBetween[] = {
    {"millisecond", RunBetween<Steps<1000>>}, {"second", RunBetween<Steps<kSecondUs>>},
    {"minute", RunBetween<Steps<kMinuteUs>>}, {"hour", RunBetween<Steps<kHourUs>>},
    {"day", RunBetween<Steps<kDayUs>>},       {"week", RunBetween<Steps<7 * kDayUs>>},
    {"month", RunBetween<Months<1>>},         {"quarter", RunBetween<Months<3>>},
    {"year", RunBetween<Months<12>>},
};

// The unit, the first argument, must be known when the expression is bound.
absl::StatusOr<BoundKernel> ByUnit(const KernelRequest& request, std::span<const UnitEntry> entries,
                                   bool can_fail) {
  const Value* literal = request.literals[0];
  if (literal == nullptr || literal->column.IsNull(0)) {
    return InvalidArgument("unit of ", request.name, " is not a literal");
  }
  const std::string unit = LowerAscii(literal->column.StringAt(0));
  std::string known;
  for (const UnitEntry& entry : entries) {
    if (entry.unit == unit) return BoundKernel{entry.run, can_fail};
    known += Text(known.empty() ? "" : ", ", entry.unit);
  }
  return absl::InvalidArgumentError(
      Text("unknown unit of ", request.name, ": '", unit, "'; known are ", known));
}

// --- Patterns ----------------------------------------------------------------------------------

// The compiled form of the last pattern seen: patterns are nearly always literals.
class PatternCache {
 public:
  const absl::StatusOr<TimePattern>& Get(std::string_view text) {
    if (!filled_ || text != text_) {
      text_ = text;
      pattern_ = TimePattern::Compile(text);
      filled_ = true;
    }
    return pattern_;
  }

 private:
  bool filled_ = false;
  std::string text_;
  absl::StatusOr<TimePattern> pattern_;
};

absl::Status CheckPatternLiteral(const KernelRequest& request) {
  const Value* literal = request.literals[1];
  if (literal == nullptr || literal->column.IsNull(0)) return absl::OkStatus();
  return TimePattern::Compile(literal->column.StringAt(0)).status();
}

RowOutcome Print(int64_t us, const absl::StatusOr<TimePattern>& pattern, StringWriter& writer,
                 std::string& error) {
  if (!pattern.ok()) {
    error = MessageOf(pattern.status());
    return RowOutcome::kError;
  }
  char* out = writer.Room(pattern->size_max());
  if (out != nullptr) writer.GiveBack(out + pattern->size_max(), pattern->Print(us, out));
  return RowOutcome::kValue;
}

BoundKernel MakeDateFormat() {
  return {[cache = std::make_shared<PatternCache>()](const KernelInput& in) {
            const Argument time(in.arguments[0]), pattern(in.arguments[1]);
            return StringLoop(
                in, TypeKind::kString, [&](int64_t row, StringWriter& writer, std::string& error) {
                  return Print(time.Int(row), cache->Get(pattern.Text(row)), writer, error);
                });
          },
          true};
}

BoundKernel MakeFromUnixtime() {
  return {[cache = std::make_shared<PatternCache>()](const KernelInput& in) {
            const Argument seconds(in.arguments[0]), pattern(in.arguments.back());
            const bool has_pattern = in.arguments.size() == 2;
            return StringLoop(
                in, TypeKind::kString, [&](int64_t row, StringWriter& writer, std::string& error) {
                  int64_t us = 0;
                  if (__builtin_mul_overflow(seconds.Int(row), kSecondUs, &us)) {
                    error = "timestamp out of range";
                    return RowOutcome::kError;
                  }
                  const auto& compiled =
                      cache->Get(has_pattern ? pattern.Text(row) : "yyyy-MM-dd HH:mm:ss");
                  return Print(us, compiled, writer, error);
                });
          },
          true};
}

// What becomes of a moment that text says.
struct AsMoment {
  using Type = int64_t;
  static constexpr TypeKind kKind = TypeKind::kTimestamp;
  static Type Of(int64_t us) { return us; }
};
struct AsDate {
  using Type = int32_t;
  static constexpr TypeKind kKind = TypeKind::kDate;
  static Type Of(int64_t us) { return static_cast<int32_t>(DayOf(us)); }
};
struct AsEpoch {
  using Type = int64_t;
  static constexpr TypeKind kKind = TypeKind::kInt64;
  static Type Of(int64_t us) { return FloorDiv(us, kSecondUs); }
};

// By the pattern of the second argument.
template <typename As>
BoundKernel MakeParse() {
  return {[cache = std::make_shared<PatternCache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]);
            return FixedLoop<typename As::Type>(
                in, As::kKind, [&](int64_t row, typename As::Type& out, std::string& error) {
                  const auto& compiled = cache->Get(pattern.Text(row));
                  if (!compiled.ok()) {
                    error = MessageOf(compiled.status());
                    return RowOutcome::kError;
                  }
                  int64_t us = 0;
                  if (!compiled->Parse(text.Text(row), us)) return RowOutcome::kNull;
                  out = As::Of(us);
                  return RowOutcome::kValue;
                });
          },
          true};
}

template <typename As>
Value RunParse(const KernelInput& in) {
  const Argument text(in.arguments[0]);
  return FixedLoop<typename As::Type>(in, As::kKind,
                                      [&](int64_t row, typename As::Type& out, std::string&) {
                                        int64_t us = 0;
                                        if (!ParseTimestamp(text.Text(row), us))
                                          return RowOutcome::kNull;
                                        out = As::Of(us);
                                        return RowOutcome::kValue;
                                      });
}

template <typename As>
absl::StatusOr<BoundKernel> MakeParse(const KernelRequest& request) {
  if (request.types.size() == 1) return BoundKernel{RunParse<As>};
  MILLRACE_RETURN_IF_ERROR(CheckPatternLiteral(request));
  return MakeParse<As>();
}

Value RunToTimestampLtz(const KernelInput& in) {
  const Argument epoch(in.arguments[0]), precision(in.arguments[1]);
  return FixedLoop<int64_t>(
      in, TypeKind::kTimestamp, [&](int64_t row, int64_t& out, std::string& error) {
        const int64_t digits = precision.Int(row);
        if (digits != 0 && digits != 3) {
          error = Text("precision of to_timestamp_ltz is neither 0 nor 3: ", digits);
          return RowOutcome::kError;
        }
        const int64_t unit = digits == 0 ? kSecondUs : 1000;
        if (!__builtin_mul_overflow(epoch.Int(row), unit, &out)) return RowOutcome::kValue;
        out = 0;
        error = "timestamp out of range";
        return RowOutcome::kError;
      });
}

}  // namespace

absl::StatusOr<BoundKernel> MakeTimeKernel(const KernelRequest& request) {
  std::string_view name = request.name;
  if (name == "extract") return ByUnit(request, kExtract, false);
  if (name == "date_trunc") return ByUnit(request, kTruncate, true);
  if (name == "timestampadd") return ByUnit(request, kAdd, true);
  if (name == "timestampdiff") return ByUnit(request, kBetween, false);
  if (TakePrefix(name, "extract_")) {
    for (const UnitEntry& entry : kExtract) {
      if (entry.unit == name) return BoundKernel{entry.run};
    }
    return BoundKernel{};
  }
  if (name == "date_format") {
    MILLRACE_RETURN_IF_ERROR(CheckPatternLiteral(request));
    return MakeDateFormat();
  }
  if (name == "from_unixtime") {
    if (request.types.size() == 2) MILLRACE_RETURN_IF_ERROR(CheckPatternLiteral(request));
    return MakeFromUnixtime();
  }
  if (name == "to_timestamp") return MakeParse<AsMoment>(request);
  if (name == "to_date") return MakeParse<AsDate>(request);
  if (name == "unix_timestamp") return MakeParse<AsEpoch>(request);
  if (name == "to_timestamp_ltz") return BoundKernel{RunToTimestampLtz, true};
  return BoundKernel{};
}

}  // namespace millrace::expressions
