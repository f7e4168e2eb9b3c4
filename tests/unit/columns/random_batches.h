// Batches of every type with NULLs, extreme values and awkward strings, drawn from a seed.
#pragma once

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "runtime/columns/arrays.h"
#include "runtime/columns/batch.h"

namespace millrace {

inline const DataType kAllTypes[] = {
    TypeKind::kBool,
    TypeKind::kInt32,
    TypeKind::kInt64,
    TypeKind::kFloat64,
    TypeKind::kString,
    TypeKind::kBytes,
    TypeKind::kDate,
    TypeKind::kTimestamp,
    TypeKind::kInterval,
    DataType::Decimal(38, 4),
    DataType::Array(
        {.is_row = true, .fields = {{"s", TypeKind::kString}, {"x", TypeKind::kFloat64}}})};

inline SchemaPtr AllTypesSchema() {
  std::vector<Field> fields;
  for (const DataType type : kAllTypes) {
    fields.push_back({.id = static_cast<uint32_t>(type.kind()), .name = "c", .type = type});
  }
  return Schema::Make(fields);
}

class RandomValues {
 public:
  explicit RandomValues(uint64_t seed) : random_(seed) {}

  uint64_t Below(uint64_t bound) { return random_() % bound; }

  // Few distinct values: equal ones meet often.
  template <typename T>
  T Integer() {
    constexpr T kSome[] = {
        0, 1, -1, 255, 256, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
    return Below(2) == 0 ? kSome[Below(std::size(kSome))] : static_cast<T>(random_());
  }
  double Float() {
    constexpr double kSome[] = {0.0,
                                -0.0,
                                1.5,
                                -1.5,
                                std::numeric_limits<double>::denorm_min(),
                                std::numeric_limits<double>::infinity(),
                                -std::numeric_limits<double>::infinity(),
                                std::numeric_limits<double>::quiet_NaN()};
    return Below(2) == 0 ? kSome[Below(std::size(kSome))] : static_cast<double>(Integer<int64_t>());
  }
  // Zero bytes and 0xFF are what the encoding of keys must escape.
  std::string Text() {
    constexpr char kBytes[] = {'\0', '\1', 'a', 'b', '\xFE', '\xFF'};
    std::string text;
    for (uint64_t length = Below(6); length > 0; --length) text += kBytes[Below(sizeof(kBytes))];
    return text;
  }

  void Append(ColumnBuilder& column) {
    if (Below(5) == 0) return column.AppendNull();
    switch (column.type()) {
      case TypeKind::kBool:
        return column.AppendBool(Below(2) == 0);
      case TypeKind::kInt32:
      case TypeKind::kDate:
        return column.AppendInt32(Integer<int32_t>());
      case TypeKind::kFloat64:
        return column.AppendFloat64(Float());
      case TypeKind::kDecimal:
        return column.AppendDecimal(Int128{Integer<int64_t>()} *
                                    (Below(2) == 0 ? 1 : PowerOfTen(18)));
      case TypeKind::kString:
      case TypeKind::kBytes:
        return column.AppendString(Text());
      case TypeKind::kArray:
        return column.AppendString(Array(column.type().element()));
      default:
        return column.AppendInt64(Integer<int64_t>());
    }
  }

  std::string Array(const ArrayElement& element) {
    std::string bytes;
    for (uint64_t length = Below(4); length > 0; --length) {
      std::vector<Column> values;
      for (const ArrayElement::Field& field : element.fields) {
        ColumnBuilder value(field.type);
        Append(value);
        values.push_back(value.Finish());
      }
      if (Below(5) == 0) {
        AppendNullElement(bytes);
      } else {
        AppendElement(element, values, 0, bytes);
      }
    }
    return bytes;
  }

  Batch AllTypes(int64_t rows) {
    const bool changes = Below(2) == 0;
    BatchBuilder builder(AllTypesSchema());
    for (int64_t row = 0; row < rows; ++row) {
      for (int i = 0; i < static_cast<int>(std::size(kAllTypes)); ++i) Append(builder.column(i));
      if (changes) builder.SetKind(static_cast<RowKind>(Below(kRowKindMax + 1)));
    }
    return builder.Finish();
  }

 private:
  std::mt19937_64 random_;
};

}  // namespace millrace
