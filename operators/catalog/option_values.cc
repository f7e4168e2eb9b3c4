#include <algorithm>
#include <numeric>

#include "operators/catalog/catalog.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

struct NumberAndUnit {
  int64_t number = 0;
  std::string unit;  // Lower case.
};

std::optional<NumberAndUnit> SplitUnit(std::string_view text) {
  text = StripSpaces(text);
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  NumberAndUnit out;
  if (digits == 0 || !ParseNumber(text.substr(0, digits), out.number)) return std::nullopt;
  out.unit = LowerAscii(StripSpaces(text.substr(digits)));
  return out;
}

struct Unit {
  std::string_view name;
  int64_t factor;
};

constexpr int64_t kMicros = 1;
constexpr int64_t kMillis = 1000 * kMicros;
constexpr int64_t kSeconds = 1000 * kMillis;
constexpr int64_t kMinutes = 60 * kSeconds;
constexpr int64_t kHours = 60 * kMinutes;
constexpr int64_t kDays = 24 * kHours;
constexpr Unit kTimeUnits[] = {
    {"", kMillis},         {"us", kMicros},    {"micro", kMicros},        {"micros", kMicros},
    {"ms", kMillis},       {"milli", kMillis}, {"millis", kMillis},       {"millisecond", kMillis},
    {"s", kSeconds},       {"sec", kSeconds},  {"secs", kSeconds},        {"second", kSeconds},
    {"m", kMinutes},       {"min", kMinutes},  {"mins", kMinutes},        {"minute", kMinutes},
    {"h", kHours},         {"hour", kHours},   {"hours", kHours},         {"d", kDays},
    {"day", kDays},        {"days", kDays},    {"milliseconds", kMillis}, {"seconds", kSeconds},
    {"minutes", kMinutes},
};
constexpr Unit kSizeUnits[] = {
    {"", 1},        {"b", 1},        {"bytes", 1},   {"k", 1 << 10},  {"kb", 1 << 10},
    {"m", 1 << 20}, {"mb", 1 << 20}, {"g", 1 << 30}, {"gb", 1 << 30},
};

std::optional<int64_t> Scaled(const NumberAndUnit& value, std::span<const Unit> units) {
  for (const Unit& unit : units) {
    int64_t result = 0;
    if (unit.name == value.unit) {
      if (__builtin_mul_overflow(value.number, unit.factor, &result)) return std::nullopt;
      return result;
    }
  }
  return std::nullopt;
}

// Levenshtein distance with exchanged neighbours counted once.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  std::iota(previous.begin(), previous.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(std::string_view text) {
  if (const auto value = SplitUnit(text)) {
    if (const auto micros = Scaled(*value, kTimeUnits)) return absl::Microseconds(*micros);
  }
  return absl::InvalidArgumentError(
      Concat("expected a duration such as '500 ms' or '5 min', found '", text, "'"));
}

absl::StatusOr<int64_t> ParseByteSize(std::string_view text) {
  if (const auto value = SplitUnit(text)) {
    if (const auto bytes = Scaled(*value, kSizeUnits)) return *bytes;
  }
  return absl::InvalidArgumentError(
      Concat("expected a number of bytes such as '64kb' or '16 mb', found '", text, "'"));
}

std::string_view NearestName(std::string_view name, std::span<const std::string_view> names) {
  constexpr size_t kNameBytesMax = 200;  // Keeps hostile names cheap.
  if (name.size() > kNameBytesMax) return {};
  const std::string wanted = LowerAscii(name);
  std::string_view best;
  size_t best_distance = std::max<size_t>(2, name.size() / 3) + 1;
  for (const std::string_view candidate : names) {
    const size_t distance = EditDistance(wanted, LowerAscii(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace millrace
