#include <algorithm>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/relational/relational.h"
#include "runtime/columns/arrays.h"

namespace millrace {
namespace {

constexpr size_t kOutputRowsMax = 4096;
constexpr int32_t kNoElement = -1;

// A row that is taken back has its elements taken back: how many there are may change, so an update
// becomes deletes and inserts.
RowKind KindOfElement(RowKind kind) {
  if (IsRetraction(kind)) return RowKind::kDelete;
  return RowKind::kInsert;
}

class Unnest : public Operator {
 public:
  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::Unnest& body = context.node.unnest();
    const Schema& input = *context.input_schemas[0];
    array_ = input.IndexOfId(body.array().ids(0));
    outer_ = body.outer();
    const auto added = static_cast<size_t>(body.ids_size());
    for (const Field& field : context.output_schema->fields()) {
      const auto id = std::find(body.ids().begin(), body.ids().end(), field.id);
      const auto place = static_cast<size_t>(id - body.ids().begin());
      if (place == added) {
        from_.push_back({.kind = From::kInput, .column = input.IndexOfId(field.id)});
      } else if (!body.ordinality_name().empty() && place + 1 == added) {
        from_.push_back({.kind = From::kOrdinality});
      } else {
        from_.push_back({.kind = From::kElement, .column = static_cast<int>(place)});
      }
    }
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& input, Emitter& out) override {
    const FlatArrays flat(input.column(array_));
    for (int32_t row = 0; row < input.rows(); ++row) {
      const int32_t begin = flat.begin(row), end = flat.end(row);
      if (begin == end && outer_) Add(input, flat, row, kNoElement, 0, out);
      for (int32_t i = begin; i < end; ++i) Add(input, flat, row, i, i - begin + 1, out);
    }
    EmitRows(input, flat, out);
    return absl::OkStatus();
  }

 private:
  struct From {
    enum Kind { kInput, kElement, kOrdinality } kind;
    int column = -1;
  };

  void Add(const Batch& input, const FlatArrays& flat, int32_t row, int32_t element, int32_t place,
           Emitter& out) {
    rows_.push_back(row);
    elements_.push_back(element);
    places_.push_back(place);
    if (rows_.size() == kOutputRowsMax) EmitRows(input, flat, out);
  }

  void EmitRows(const Batch& input, const FlatArrays& flat, Emitter& out) {
    if (rows_.empty()) return;
    const Batch taken = Take(input, rows_);
    std::vector<Column> columns;
    for (int i = 0; i < static_cast<int>(from_.size()); ++i) {
      const From& from = from_[static_cast<size_t>(i)];
      const DataType type = context_->output_schema->field(i).type;
      columns.push_back(from.kind == From::kInput ? taken.column(from.column)
                        : from.kind == From::kElement
                            ? Elements(flat.columns[static_cast<size_t>(from.column)])
                            : Ordinality(type));
    }
    Batch emitted = taken.WithColumns(context_->output_schema, std::move(columns));
    if (taken.kinds() != nullptr) {
      const std::shared_ptr<Buffer> kinds = Buffer::Allocate(rows_.size());
      for (int64_t row = 0; row < taken.rows(); ++row) {
        kinds->mutable_data()[row] = static_cast<uint8_t>(KindOfElement(taken.kind(row)));
      }
      emitted.set_kinds(kinds);
    }
    out.Emit(std::move(emitted));
    rows_.clear();
    elements_.clear();
    places_.clear();
  }

  Column Elements(const Column& flat) const {
    if (!outer_) return Take(flat, elements_);
    ColumnBuilder builder(flat.type(), static_cast<int64_t>(elements_.size()));
    for (const int32_t element : elements_) {
      if (element == kNoElement) {
        builder.AppendNull();
      } else {
        builder.AppendFrom(flat, element);
      }
    }
    return builder.Finish();
  }

  Column Ordinality(DataType type) const {
    ColumnBuilder builder(type, static_cast<int64_t>(places_.size()));
    for (const int32_t place : places_) {
      if (place == 0) {
        builder.AppendNull();
      } else {
        builder.AppendInt64(place);
      }
    }
    return builder.Finish();
  }

  OperatorContext* context_ = nullptr;
  int array_ = -1;
  bool outer_ = false;
  std::vector<From> from_;  // By column of the output.
  // To be emitted: rows of the input, each with an element, by its index in the flat columns and in
  // its array.
  std::vector<int32_t> rows_, elements_, places_;
};

}  // namespace

std::unique_ptr<Operator> MakeUnnest() { return std::make_unique<Unnest>(); }

}  // namespace millrace
