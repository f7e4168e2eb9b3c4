#include "runtime/columns/types.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "millrace/v1/graph.pb.h"
#include "runtime/base/check.h"

namespace millrace {
namespace {

bool IsScalar(const v1::Type& proto) {
  return proto.kind() != v1::Type::KIND_ARRAY && proto.kind() != v1::Type::KIND_ROW &&
         DataType::IsValid(proto);
}

bool IsValidElement(const v1::Type& proto) {
  if (proto.kind() != v1::Type::KIND_ROW) return IsScalar(proto);
  std::set<std::string> names;
  return proto.fields_size() > 0 && proto.fields_size() <= DataType::kRowFieldsMax &&
         std::all_of(proto.fields().begin(), proto.fields().end(), [&](const v1::TypeField& field) {
           return !field.name().empty() && IsScalar(field.type()) &&
                  names.insert(field.name()).second;
         });
}

}  // namespace

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
    case TypeKind::kArray:
      return "ARRAY";
  }
  return "UNKNOWN";
}

DataType DataType::Array(ArrayElement element) {
  MILLRACE_CHECK(element.is_row ? !element.fields.empty() : element.fields.size() == 1);
  std::string text(1, element.is_row ? 'r' : 'v');  // Names everything that the element is.
  for (const ArrayElement::Field& field : element.fields) {
    text += std::to_string(field.name.size()) + ":" + field.name + TypeText(field.type) + ",";
  }
  static std::mutex* const mutex = new std::mutex;
  static auto* const elements = new std::map<std::string, ArrayElement>;
  const std::lock_guard<std::mutex> lock(*mutex);
  DataType type(TypeKind::kArray);
  type.element_ = &elements->try_emplace(std::move(text), std::move(element)).first->second;
  return type;
}

DataType DataType::FromProto(const v1::Type& proto) {
  const auto kind = static_cast<TypeKind>(proto.kind());
  if (kind == TypeKind::kArray) {
    const v1::Type& held = proto.element();
    if (held.kind() != v1::Type::KIND_ROW) return Array(ArrayElement::Of(FromProto(held)));
    ArrayElement element{.is_row = true, .fields = {}};
    for (const v1::TypeField& field : held.fields()) {
      element.fields.push_back({field.name(), FromProto(field.type())});
    }
    return Array(std::move(element));
  }
  if (kind != TypeKind::kDecimal) return kind;
  return Decimal(static_cast<int>(proto.precision()), static_cast<int>(proto.scale()));
}

bool DataType::IsValid(const v1::Type& proto) {
  if (proto.kind() == v1::Type::KIND_DECIMAL) {
    return proto.precision() >= 1 && proto.precision() <= kPrecisionMax &&
           proto.scale() <= proto.precision();
  }
  if (proto.kind() == v1::Type::KIND_ARRAY) return IsValidElement(proto.element());
  return proto.kind() != v1::Type::KIND_UNSPECIFIED && proto.kind() != v1::Type::KIND_ROW &&
         v1::Type::Kind_IsValid(proto.kind());
}

void DataType::ToProto(v1::Type* proto) const {
  proto->Clear();
  proto->set_kind(static_cast<v1::Type::Kind>(kind_));
  if (kind_ == TypeKind::kArray) {
    v1::Type* const held = proto->mutable_element();
    if (!element_->is_row) return element_->fields[0].type.ToProto(held);
    held->set_kind(v1::Type::KIND_ROW);
    for (const ArrayElement::Field& field : element_->fields) {
      v1::TypeField* const added = held->add_fields();
      added->set_name(field.name);
      field.type.ToProto(added->mutable_type());
    }
  }
  if (kind_ != TypeKind::kDecimal) return;
  proto->set_precision(precision_);
  proto->set_scale(scale_);
}

std::string TypeText(DataType type) {
  std::string text(TypeName(type));
  if (type == TypeKind::kArray) {
    text += type.element().is_row ? "<ROW<" : "<";
    const char* separator = "";
    for (const ArrayElement::Field& field : type.element().fields) {
      text += separator + field.name + (field.name.empty() ? "" : " ") + TypeText(field.type);
      separator = ", ";
    }
    return text + (type.element().is_row ? ">>" : ">");
  }
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
