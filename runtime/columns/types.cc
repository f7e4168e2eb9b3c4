#include "runtime/columns/types.h"

#include "millrace/v1/graph.pb.h"

namespace millrace {

std::string_view TypeName(TypeKind kind) {
  switch (kind) {
    case TypeKind::kBool:
      return "BOOLEAN";
    case TypeKind::kInt32:
      return "INT";
    case TypeKind::kInt64:
      return "BIGINT";
    case TypeKind::kFloat64:
      return "DOUBLE";
    case TypeKind::kString:
      return "STRING";
    case TypeKind::kBytes:
      return "BYTES";
    case TypeKind::kDate:
      return "DATE";
    case TypeKind::kTimestamp:
      return "TIMESTAMP";
    case TypeKind::kInterval:
      return "INTERVAL";
    case TypeKind::kDecimal:
      return "DECIMAL";
  }
  return "UNKNOWN";
}

DataType DataType::FromProto(const v1::Type& proto) {
  const auto kind = static_cast<TypeKind>(proto.kind());
  if (kind != TypeKind::kDecimal) return kind;
  return Decimal(static_cast<int>(proto.precision()), static_cast<int>(proto.scale()));
}

bool DataType::IsValid(const v1::Type& proto) {
  if (proto.kind() == v1::Type::KIND_DECIMAL) {
    return proto.precision() >= 1 && proto.precision() <= kPrecisionMax &&
           proto.scale() <= proto.precision();
  }
  return proto.kind() != v1::Type::KIND_UNSPECIFIED && v1::Type::Kind_IsValid(proto.kind());
}

void DataType::ToProto(v1::Type* proto) const {
  proto->Clear();
  proto->set_kind(static_cast<v1::Type::Kind>(kind_));
  if (kind_ != TypeKind::kDecimal) return;
  proto->set_precision(precision_);
  proto->set_scale(scale_);
}

std::string TypeText(DataType type) {
  std::string text(TypeName(type));
  if (type == TypeKind::kDecimal) {
    text += "(" + std::to_string(type.precision()) + ", " + std::to_string(type.scale()) + ")";
  }
  return text;
}

SchemaPtr Schema::FromProto(const v1::Schema& proto) {
  std::vector<Field> fields;
  fields.reserve(static_cast<size_t>(proto.fields_size()));
  for (const v1::Field& field : proto.fields()) {
    fields.push_back({.id = field.id(),
                      .name = field.name(),
                      .type = DataType::FromProto(field.type()),
                      .nullable = !field.not_null(),
                      .path = field.path()});
  }
  return Make(std::move(fields));
}

int Schema::IndexOfId(uint32_t id) const {
  for (int i = 0; i < size(); ++i) {
    if (field(i).id == id) return i;
  }
  return -1;
}

int Schema::IndexOfName(std::string_view name) const {
  for (int i = 0; i < size(); ++i) {
    if (field(i).name == name) return i;
  }
  return -1;
}

SchemaPtr DeadLetterSchema() {
  static const SchemaPtr* const schema = new SchemaPtr(Schema::Make({
      {.id = 1, .name = "uid", .type = TypeKind::kString, .nullable = false},
      {.id = 2, .name = "source", .type = TypeKind::kString},
      {.id = 3, .name = "partition", .type = TypeKind::kInt32},
      {.id = 4, .name = "offset", .type = TypeKind::kInt64},
      {.id = 5, .name = "time", .type = TypeKind::kTimestamp, .nullable = false},
      {.id = 6, .name = "code", .type = TypeKind::kString, .nullable = false},
      {.id = 7, .name = "error", .type = TypeKind::kString, .nullable = false},
      {.id = 8, .name = "key", .type = TypeKind::kBytes},
      {.id = 9, .name = "raw", .type = TypeKind::kBytes},
      {.id = 10, .name = "columns", .type = TypeKind::kString},
  }));
  return *schema;
}

}  // namespace millrace
