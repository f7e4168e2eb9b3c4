#include "operators/connectors/datagen/datagen_connector.h"

#include <algorithm>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/generated_source.h"
#include "operators/connectors/node_options.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr uint64_t kGamma = 0x9E3779B97F4A7C15u;
constexpr int64_t kBaseTimeUs = 1'767'225'600'000'000;  // 2026-01-01 00:00:00.

constexpr uint64_t Mix(uint64_t x) {  // The finaliser of SplitMix64.
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// How one column is made. A value depends on the seed, the column's name and the row's number only,
// so that it does not change when other columns are left out.
struct DatagenColumn {
  DataType type;
  bool sequence = false;
  int64_t start = 0;
  int64_t min = 0;
  int64_t max = 0;
  double float_min = 0;
  double float_max = 1;
  size_t length = 100;
  uint64_t null_below = 0;  // NULL where the random number is less.
  uint64_t seed = 0;
};

uint64_t HashOf(std::string_view text) {  // FNV-1a.
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

int64_t Between(uint64_t random, int64_t min, int64_t max) {
  const auto range =
      static_cast<unsigned __int128>(static_cast<uint64_t>(max) - static_cast<uint64_t>(min)) + 1;
  return static_cast<int64_t>(static_cast<uint64_t>(min) +
                              static_cast<uint64_t>(range * random >> 64));
}

class DatagenRows : public RowGenerator {
 public:
  DatagenRows(OptionMap options, int64_t seed) : options_(std::move(options)), seed_(seed) {}

  absl::Status Open(const SchemaPtr& schema) override {
    columns_.clear();
    for (const Field& field : schema->fields()) {
      MILLRACE_ASSIGN_OR_RETURN(DatagenColumn column, MakeColumn(field));
      columns_.push_back(column);
    }
    return absl::OkStatus();
  }

  void AppendRows(uint64_t first, uint64_t step, int64_t count, BatchBuilder& out) override {
    for (size_t c = 0; c < columns_.size(); ++c) {
      for (int64_t i = 0; i < count; ++i) {
        AppendValue(columns_[c], first + static_cast<uint64_t>(i) * step,
                    out.column(static_cast<int>(c)));
      }
    }
  }

 private:
  absl::StatusOr<DatagenColumn> MakeColumn(const Field& field) const {
    MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("datagen"));
    const OptionReader reader(spec->source_options, options_);
    const auto option = [&](std::string_view last) {
      return Concat("fields.", field.name, ".", last);
    };
    DatagenColumn column{.type = field.type};
    column.seed = Mix(static_cast<uint64_t>(seed_) * kGamma ^ HashOf(field.name));
    MILLRACE_ASSIGN_OR_RETURN(const auto kind, reader.Enum(option("kind")));
    MILLRACE_ASSIGN_OR_RETURN(const auto start, reader.Int(option("start")));
    MILLRACE_ASSIGN_OR_RETURN(const auto length, reader.Int(option("length")));
    MILLRACE_ASSIGN_OR_RETURN(const auto min, reader.String(option("min")));
    MILLRACE_ASSIGN_OR_RETURN(const auto max, reader.String(option("max")));
    MILLRACE_ASSIGN_OR_RETURN(const auto nulls, reader.String(option("null-rate")));
    column.sequence = *kind == 1;
    column.length = static_cast<size_t>(*length);
    if (column.sequence) {
      if (!start)
        return absl::InvalidArgumentError(Concat("option '", option("start"), "' is missing"));
      if (field.type == TypeKind::kBool) {
        return absl::InvalidArgumentError(
            Concat("column '", field.name, "': a sequence cannot be BOOLEAN"));
      }
      if (field.type == TypeKind::kDecimal) {
        return absl::InvalidArgumentError(
            Concat("column '", field.name, "': a sequence cannot be DECIMAL; CAST a BIGINT"));
      }
      column.start = *start;
      return column;
    }
    const auto limit = [&](std::string_view name, const std::optional<std::string>& text,
                           DataType type, auto& value) -> absl::Status {
      if (!text || ReadLimit(*text, type, value)) return absl::OkStatus();
      return absl::InvalidArgumentError(
          Concat("option '", option(name), "': expected a number, found '", *text, "'"));
    };
    if (field.type == TypeKind::kFloat64) {
      MILLRACE_RETURN_IF_ERROR(limit("min", min, field.type, column.float_min));
      MILLRACE_RETURN_IF_ERROR(limit("max", max, field.type, column.float_max));
    } else {
      SetDefaultLimits(column);
      MILLRACE_RETURN_IF_ERROR(limit("min", min, field.type, column.min));
      MILLRACE_RETURN_IF_ERROR(limit("max", max, field.type, column.max));
    }
    if (column.min > column.max || !(column.float_min <= column.float_max)) {
      return absl::InvalidArgumentError(
          Concat("option '", option("min"), "' is larger than '", option("max"), "'"));
    }
    double rate = 0;
    MILLRACE_RETURN_IF_ERROR(limit("null-rate", nulls, TypeKind::kFloat64, rate));
    if (!(rate >= 0 && rate <= 1) || (rate > 0 && !field.nullable)) {
      return absl::InvalidArgumentError(
          Concat("option '", option("null-rate"),
                 "': expected a share from 0 to 1, and 0 for a column that is NOT NULL"));
    }
    column.null_below = static_cast<uint64_t>(rate * 4294967296.0);
    return column;
  }

  // Limits of decimals are their unscaled values.
  static bool ReadLimit(const std::string& text, DataType type, auto& value) {
    if (type != TypeKind::kDecimal) return ParseNumber(text, value);
    const auto number = ParseDecimal(text, type);
    if (!number || *number > INT64_MAX || *number < INT64_MIN) return false;
    value = static_cast<std::remove_reference_t<decltype(value)>>(*number);
    return true;
  }

  static void SetDefaultLimits(DatagenColumn& column) {
    column.min = 0;
    if (column.type == TypeKind::kDecimal) {
      column.max = static_cast<int64_t>(PowerOfTen(std::min(column.type.precision(), 18)) - 1);
      return;
    }
    column.max = column.type == TypeKind::kInt32  ? INT32_MAX
                 : column.type == TypeKind::kDate ? 36'500
                                                  : INT64_MAX;
    if (column.type == TypeKind::kTimestamp) {  // Within a day of 2026-01-01, in milliseconds.
      column.min = kBaseTimeUs / 1000;
      column.max = column.min + 86'399'999;
    }
  }

  void AppendValue(const DatagenColumn& column, uint64_t row, ColumnBuilder& out) {
    const uint64_t random = Mix(column.seed + (row + 1) * kGamma);
    if (!column.sequence && (Mix(random) >> 32) < column.null_below) return out.AppendNull();
    const int64_t whole = column.sequence
                              ? static_cast<int64_t>(static_cast<uint64_t>(column.start) + row)
                              : Between(random, column.min, column.max);
    switch (column.type) {
      case TypeKind::kBool:
        return out.AppendBool((random & 1) != 0);
      case TypeKind::kInt32:
      case TypeKind::kDate:
        return out.AppendInt32(static_cast<int32_t>(whole));
      case TypeKind::kInt64:
      case TypeKind::kInterval:
        return out.AppendInt64(whole);
      case TypeKind::kTimestamp:  // Limits and sequences are in milliseconds.
        return out.AppendInt64(static_cast<int64_t>(static_cast<uint64_t>(whole) * uint64_t{1000}));
      case TypeKind::kDecimal:
        return out.AppendDecimal(whole);
      case TypeKind::kFloat64: {
        if (column.sequence) return out.AppendFloat64(static_cast<double>(whole));
        const double share = static_cast<double>(random >> 11) * 0x1.0p-53;
        return out.AppendFloat64(column.float_min + share * (column.float_max - column.float_min));
      }
      case TypeKind::kString:
      case TypeKind::kBytes:
        if (column.sequence) return out.AppendString(std::to_string(whole));
        return AppendHex(random, column.length, out);
      case TypeKind::kArray:
        return out.AppendNull();  // Refused at submit.
    }
  }

  void AppendHex(uint64_t random, size_t length, ColumnBuilder& out) {
    text_.resize(length);
    for (size_t i = 0; i < length; ++i) {
      if (i % 16 == 0) random = Mix(random + kGamma);
      text_[i] = "0123456789abcdef"[random >> (i % 16 * 4) & 15];
    }
    out.AppendString(text_);
  }

  const OptionMap options_;
  const int64_t seed_;
  std::vector<DatagenColumn> columns_;
  std::string text_;
};

// The number of rows: as given, or until the shortest sequence ends.
absl::StatusOr<std::optional<uint64_t>> TotalRows(const OptionReader& reader,
                                                  const OptionMap& options) {
  MILLRACE_ASSIGN_OR_RETURN(auto total, reader.Int("number-of-rows"));
  for (const auto& [name, value] : options) {
    if (!name.starts_with("fields.") || !name.ends_with(".end")) continue;
    MILLRACE_ASSIGN_OR_RETURN(const auto end, reader.Int(name));
    MILLRACE_ASSIGN_OR_RETURN(const auto start,
                              reader.Int(name.substr(0, name.size() - 3) + "start"));
    int64_t rows = 0;
    if (!start || *end < *start || __builtin_sub_overflow(*end, *start, &rows) ||
        rows == INT64_MAX) {
      return absl::InvalidArgumentError(
          Concat("option '", name, "': needs a 'start' that is not larger"));
    }
    total = std::min(total.value_or(INT64_MAX), rows + 1);
  }
  if (!total) return std::optional<uint64_t>();
  return std::optional<uint64_t>(static_cast<uint64_t>(*total));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> MakeDatagenSource(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(OptionMap options, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("datagen"));
  const OptionReader reader(spec->source_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto seed, reader.Int("seed"));
  MILLRACE_ASSIGN_OR_RETURN(const auto splits, reader.Int("splits"));
  MILLRACE_ASSIGN_OR_RETURN(const auto pace, reader.Int("rows-per-second"));
  MILLRACE_ASSIGN_OR_RETURN(const auto total, TotalRows(reader, options));
  return MakeGeneratedSource({.first = 0,
                              .total = total,
                              .splits = static_cast<uint32_t>(*splits),
                              .rows_per_second = pace},
                             std::make_unique<DatagenRows>(options, *seed));
}

absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeDatagenDiscovery(const v1::Node& node, Env&) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap options, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("datagen"));
  const OptionReader reader(spec->source_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto splits, reader.Int("splits"));
  return MakeGeneratedDiscovery(static_cast<uint32_t>(*splits));
}

}  // namespace millrace
