// Column types and schemas of batches: the in-memory form of proto Type, Field and Schema.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

namespace v1 {
class Schema;
class Type;
}  // namespace v1

// Numbers are those of proto Type.Kind.
enum class TypeKind : uint8_t {
  kBool = 1,  // Bitmap.
  kInt32 = 2,
  kInt64 = 3,
  kFloat64 = 4,
  kString = 5,     // UTF-8; 32-bit offsets.
  kBytes = 6,      // 32-bit offsets.
  kDate = 7,       // int32, days since 1970-01-01.
  kTimestamp = 8,  // int64, microseconds since 1970-01-01 00:00:00.
  kInterval = 9,   // int64, microseconds.
  kDecimal = 10,   // Decimal: 128 bits, unscaled; precision and scale are in DataType.
  kArray = 11,     // The bytes of arrays.h; 32-bit offsets. What it holds is in DataType.
};

// Bytes of one value; 0 for strings, bytes and arrays (offsets + data) and bool (bits).
constexpr int FixedWidth(TypeKind kind) {
  switch (kind) {
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return 4;
    case TypeKind::kInt64:
    case TypeKind::kFloat64:
    case TypeKind::kTimestamp:
    case TypeKind::kInterval:
      return 8;
    case TypeKind::kDecimal:
      return 16;
    default:
      return 0;
  }
}
constexpr bool IsVariableWidth(TypeKind kind) {
  return kind == TypeKind::kString || kind == TypeKind::kBytes || kind == TypeKind::kArray;
}

// SQL name without precision: "BIGINT", "TIMESTAMP", "DECIMAL", ...
std::string_view TypeName(TypeKind kind);

struct ArrayElement;

// The type of a column: its kind and, for DECIMAL, how many digits its values have (`precision`, 1
// to 38) and how many of them stand behind the point (`scale`, 0 to precision); for ARRAY, what it
// holds. Another kind is a whole type and converts implicitly; where only the kind matters, a
// DataType is one.
class DataType {
 public:
  static constexpr int kPrecisionMax = 38;
  static constexpr int kRowFieldsMax = 256;

  constexpr DataType() = default;
  constexpr DataType(TypeKind kind) : kind_(kind) {}
  static constexpr DataType Decimal(int precision, int scale) {
    DataType type(TypeKind::kDecimal);
    type.precision_ = static_cast<uint8_t>(precision);
    type.scale_ = static_cast<uint8_t>(scale);
    return type;
  }
  // Equal elements give equal types. They are kept until the process ends. Any thread.
  static DataType Array(ArrayElement element);
  static DataType FromProto(const v1::Type& proto);
  // False: no kind that is known here, a DECIMAL with impossible digits, or an array of what arrays
  // cannot hold.
  static bool IsValid(const v1::Type& proto);
  void ToProto(v1::Type* proto) const;

  constexpr operator TypeKind() const { return kind_; }
  constexpr TypeKind kind() const { return kind_; }
  constexpr int precision() const { return precision_; }  // DECIMAL only, else 0.
  constexpr int scale() const { return scale_; }
  const ArrayElement& element() const { return *element_; }  // ARRAY only.

  friend constexpr bool operator==(const DataType&, const DataType&) = default;
  friend constexpr bool operator==(const DataType& a, TypeKind b) { return a.kind_ == b; }

 private:
  TypeKind kind_ = TypeKind::kInt64;
  uint8_t precision_ = 0;
  uint8_t scale_ = 0;
  const ArrayElement* element_ = nullptr;
};

// What an array holds: values of one type, or rows of named ones; never arrays.
struct ArrayElement {
  struct Field {
    std::string name;  // Empty: not of a row.
    DataType type;
    bool operator==(const Field&) const = default;
  };
  static ArrayElement Of(DataType type) { return {.is_row = false, .fields = {{"", type}}}; }

  bool is_row = false;
  std::vector<Field> fields;  // One where it is no row.
  bool operator==(const ArrayElement&) const = default;
};

// SQL name: "BIGINT", "DECIMAL(10, 2)", "ARRAY<ROW<sku STRING, n INT>>".
std::string TypeText(DataType type);

struct Field {
  uint32_t id = 0;  // Stable identity; 0 only in tests.
  std::string name;
  DataType type = TypeKind::kInt64;
  bool nullable = true;
  std::string path = {};  // Place within a record of a source; empty = `name`.
  bool operator==(const Field&) const = default;
};

class Schema;
using SchemaPtr = std::shared_ptr<const Schema>;

// Immutable; shared by all batches of an edge.
class Schema {
 public:
  explicit Schema(std::vector<Field> fields) : fields_(std::move(fields)) {}
  static SchemaPtr Make(std::vector<Field> fields) {
    return std::make_shared<const Schema>(std::move(fields));
  }
  static SchemaPtr FromProto(const v1::Schema& proto);

  const std::vector<Field>& fields() const { return fields_; }
  int size() const { return static_cast<int>(fields_.size()); }
  const Field& field(int i) const { return fields_[static_cast<size_t>(i)]; }
  // Position of the column, or -1.
  int IndexOfId(uint32_t id) const;
  int IndexOfName(std::string_view name) const;
  bool operator==(const Schema&) const = default;

 private:
  std::vector<Field> fields_;
};

// Columns of the dead-letter output of every node, in this order: uid STRING, source STRING (topic
// or file), partition INT, offset BIGINT, time TIMESTAMP (of the failure), code STRING ("MR…"),
// error STRING, key BYTES, raw BYTES, columns STRING. Source, partition, offset and key are those
// of the record that the row was made of, and `raw` its bytes, where that is known: columns is NULL
// then. Elsewhere `raw` has the row as a JSON object and `columns` the names in it ("id, price").
SchemaPtr DeadLetterSchema();

}  // namespace millrace
