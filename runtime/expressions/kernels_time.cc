// Fields of dates and timestamps, truncation, formatting and parsing by pattern.
#include <limits>
#include <memory>

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

struct ExtractEntry {
  std::string_view unit;
  Value (*run)(const KernelInput&);
};
constexpr ExtractEntry kExtract[] = {
    {"day", RunExtract<Day>},
    {"dow", RunExtract<Dow>},
    {"doy", RunExtract<Doy>},
    {"epoch", RunExtract<Epoch>},
    {"hour", RunExtract<Hour>},
    {"isodow", RunExtract<Isodow>},
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

struct TruncateEntry {
  std::string_view unit;
  Value (*run)(const KernelInput&);
};
constexpr TruncateEntry kTruncate[] = {
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

// The unit of extract and date_trunc must be known when the expression is bound.
template <typename Entries>
absl::StatusOr<BoundKernel> ByUnit(const KernelRequest& request, const Entries& entries,
                                   bool can_fail) {
  const Value* literal = request.literals[0];
  if (literal == nullptr || literal->column.IsNull(0)) {
    return InvalidArgument("unit of ", request.name, " is not a literal");
  }
  const std::string unit = LowerAscii(literal->column.StringAt(0));
  std::string known;
  for (const auto& entry : entries) {
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

BoundKernel MakeDateFormat() {
  return {[cache = std::make_shared<PatternCache>()](const KernelInput& in) {
            const Argument time(in.arguments[0]), pattern(in.arguments[1]);
            return StringLoop(
                in, TypeKind::kString, [&](int64_t row, StringWriter& writer, std::string& error) {
                  const auto& compiled = cache->Get(pattern.Text(row));
                  if (!compiled.ok()) {
                    error = MessageOf(compiled.status());
                    return RowOutcome::kError;
                  }
                  char* out = writer.Room(compiled->size_max());
                  if (out == nullptr) return RowOutcome::kValue;
                  writer.GiveBack(out + compiled->size_max(), compiled->Print(time.Int(row), out));
                  return RowOutcome::kValue;
                });
          },
          true};
}

BoundKernel MakeToTimestamp() {
  return {[cache = std::make_shared<PatternCache>()](const KernelInput& in) {
            const Argument text(in.arguments[0]), pattern(in.arguments[1]);
            return FixedLoop<int64_t>(
                in, TypeKind::kTimestamp, [&](int64_t row, int64_t& out, std::string& error) {
                  const auto& compiled = cache->Get(pattern.Text(row));
                  if (!compiled.ok()) {
                    error = MessageOf(compiled.status());
                    return RowOutcome::kError;
                  }
                  return compiled->Parse(text.Text(row), out) ? RowOutcome::kValue
                                                              : RowOutcome::kNull;
                });
          },
          true};
}

Value RunToTimestamp(const KernelInput& in) {
  const Argument text(in.arguments[0]);
  return FixedLoop<int64_t>(in, TypeKind::kTimestamp, [&](int64_t row, int64_t& out, std::string&) {
    if (ParseTimestamp(text.Text(row), out)) return RowOutcome::kValue;
    out = 0;
    return RowOutcome::kNull;
  });
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
  if (TakePrefix(name, "extract_")) {
    for (const ExtractEntry& entry : kExtract) {
      if (entry.unit == name) return BoundKernel{entry.run};
    }
    return BoundKernel{};
  }
  if (name == "date_format") {
    MILLRACE_RETURN_IF_ERROR(CheckPatternLiteral(request));
    return MakeDateFormat();
  }
  if (name == "to_timestamp" && request.types.size() == 2) {
    MILLRACE_RETURN_IF_ERROR(CheckPatternLiteral(request));
    return MakeToTimestamp();
  }
  if (name == "to_timestamp") return BoundKernel{RunToTimestamp};
  if (name == "to_timestamp_ltz") return BoundKernel{RunToTimestampLtz, true};
  return BoundKernel{};
}

}  // namespace millrace::expressions
