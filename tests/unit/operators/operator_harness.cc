#include "tests/unit/operators/operator_harness.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "operators/all_operators.h"
#include "runtime/checkpoint/layout_comparison.h"
#include "runtime/columns/arrays.h"
#include "sql/changelog.h"
#include "sql/graph_compiler.h"
#include "sql/node_kinds.h"
#include "sql/state_layout.h"

namespace millrace {
namespace {

constexpr uint32_t kMaxParallelism = 16;
// In turn, one per restore.
constexpr uint32_t kParallelisms[] = {1, 3, 2, 5};

constexpr absl::Duration kThreadPatience = absl::Seconds(60);

std::string Value(const Column& column, int64_t row) {
  if (column.IsNull(row)) return "NULL";
  switch (column.type()) {
    case TypeKind::kBool:
      return column.BoolAt(row) ? "true" : "false";
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return std::to_string(column.values<int32_t>()[row]);
    case TypeKind::kInt64:
    case TypeKind::kInterval:
      return std::to_string(column.values<int64_t>()[row]);
    case TypeKind::kTimestamp:
      return std::to_string(column.values<int64_t>()[row] / 1000);
    case TypeKind::kFloat64:
      return absl::StrCat(column.values<double>()[row]);
    case TypeKind::kDecimal:
      return ValueText(column, row);
    case TypeKind::kString:
    case TypeKind::kBytes:
      return std::string(column.StringAt(row));
    case TypeKind::kArray:
      return ValueText(column, row);
  }
  return "?";
}

void Append(ColumnBuilder& column, const std::string& text);

// "a;b;NULL"; of rows "a,1;NULL".
std::string ArrayOf(const ArrayElement& element, const std::string& text) {
  std::string bytes;
  const std::vector<std::string> elements = absl::StrSplit(text, ';', absl::SkipEmpty());
  for (const std::string& element_text : elements) {
    std::vector<std::string> values = {element_text};
    if (element.is_row) {
      if (element_text == "NULL") {
        AppendNullElement(bytes);
        continue;
      }
      values = absl::StrSplit(element_text, ',');
    }
    std::vector<Column> columns;
    for (size_t i = 0; i < values.size(); ++i) {
      ColumnBuilder value(element.fields[i].type);
      Append(value, values[i]);
      columns.push_back(value.Finish());
    }
    AppendElement(element, columns, 0, bytes);
  }
  return bytes;
}

void Append(ColumnBuilder& column, const std::string& text) {
  if (text == "NULL") return column.AppendNull();
  switch (column.type()) {
    case TypeKind::kBool:
      return column.AppendBool(text == "true");
    case TypeKind::kInt32:
    case TypeKind::kDate:
      return column.AppendInt32(std::stoi(text));
    case TypeKind::kInt64:
    case TypeKind::kInterval:
      return column.AppendInt64(std::stoll(text));
    case TypeKind::kTimestamp:
      return column.AppendInt64(std::stoll(text) * 1000);
    case TypeKind::kFloat64:
      return column.AppendFloat64(std::stod(text));
    case TypeKind::kDecimal:
      return column.AppendDecimal(ParseDecimal(text, column.type()).value());
    case TypeKind::kString:
    case TypeKind::kBytes:
      return column.AppendString(text);
    case TypeKind::kArray:
      return column.AppendString(ArrayOf(column.type().element(), text));
  }
}

RowKind KindOf(const std::string& text) {
  for (uint8_t kind = 0; kind <= kRowKindMax; ++kind) {
    if (RowKindText(static_cast<RowKind>(kind)) == text) return static_cast<RowKind>(kind);
  }
  ADD_FAILURE() << "no kind of row: " << text;
  return RowKind::kInsert;
}

std::string Indented(const std::string& text) {
  return absl::StrCat("    ", absl::StrJoin(std::vector<std::string>{text}, ""), "\n");
}

// CSV, where it can hold the columns: nothing prunes them.
v1::JobGraph Compile(const OperatorHarness::Job& job, Disk& disk) {
  for (const auto& [path, bytes] : job.files) {
    EXPECT_TRUE(disk.WriteAtomically(path, bytes).ok()) << path;
  }
  std::string yaml = "name: harness\nmax_parallelism: 16\n";
  if (!job.models.empty()) yaml += "models:\n" + job.models;
  yaml += "nodes:\n  - uid: in\n    source:\n";
  const bool has_arrays = std::any_of(
      job.columns.begin(), job.columns.end(),
      [](const std::string& column) { return column.find("ARRAY") != std::string::npos; });
  yaml += absl::StrCat("      connector: kafka\n      format: ", has_arrays ? "json" : "csv", "\n");
  yaml += "      options: {topic: t, properties.bootstrap.servers: \"h:1\"}\n    schema:\n";
  for (const std::string& column : job.columns) yaml += "      - " + column + "\n";
  yaml += job.before;
  yaml += "  - uid: op\n    inputs: [" + job.input + (job.right.empty() ? "" : ", " + job.right) +
          "]\n" + Indented(job.node);
  yaml += "  - uid: out\n    inputs: [op]\n    sink: {connector: blackhole}\n";
  const CompiledGraph compiled = CompileYaml(yaml, {}, &disk);
  for (const v1::Diagnostic& d : compiled.diagnostics) ADD_FAILURE() << d.ShortDebugString();
  return compiled.graph;
}

const v1::Node* Find(const v1::JobGraph& graph, const std::string& uid) {
  for (const v1::Node& node : graph.nodes()) {
    if (node.uid() == uid) return &node;
  }
  return nullptr;
}

}  // namespace

std::string ModeName(HarnessMode mode) {
  constexpr const char* kNames[] = {"Straight", "Restored", "Rescaled", "SmallMemory",
                                    "FullOutput"};
  return kNames[static_cast<int>(mode)];
}

class OperatorHarness::Collector : public Emitter {
 public:
  Collector(OperatorHarness& harness, bool small) : harness_(harness), small_(small) {}
  using Emitter::Emit;
  void Emit(OutputPort port, Batch batch) override {
    for (int64_t row = 0; row < batch.rows(); ++row) {
      std::vector<std::string> values;
      if (batch.kinds() != nullptr) values.emplace_back(RowKindText(batch.kind(row)));
      for (const Column& column : batch.columns()) values.push_back(Value(column, row));
      harness_.out_[port].push_back(absl::StrJoin(values, " | "));
    }
    emitted_ = true;
  }
  bool full() const override { return small_ && emitted_; }
  void MakeRoom() { emitted_ = false; }

 private:
  OperatorHarness& harness_;
  const bool small_;
  bool emitted_ = false;
};

struct OperatorHarness::Instance {
  KeyGroupRange range;
  std::unique_ptr<StateStore> state;
  std::unique_ptr<OperatorContext> context;
  std::unique_ptr<Operator> op;
  uint64_t rows_given = 0;
};

uint64_t OperatorHarness::StateRows(const std::vector<std::string>& tables) const {
  uint64_t rows = 0;
  for (const auto& instance : instances_) {
    for (const std::string& name : tables) {
      const auto table = instance->state->OpenKeyedTable(name);
      EXPECT_TRUE(table.ok() &&
                  (*table)
                      ->ScanAll([&rows](uint32_t, std::string_view, std::string_view) {
                        ++rows;
                        return true;
                      })
                      .ok())
          << name;
    }
  }
  return rows;
}

OperatorHarness::OperatorHarness(const Job& job, HarnessMode mode, MakeIt make)
    : mode_(mode),
      make_(std::move(make)),
      storage_(OpenTestStorage(env_.disk)),
      budget_(mode == HarnessMode::kSmallMemory ? 2048 : uint64_t{64} << 20) {
  has_threads_ = job.has_threads;
  Load(job);
  if (node_ != nullptr) Open(1, {});
}

void OperatorHarness::Load(const Job& job) {
  graph_ = Compile(job, env_.disk);
  node_ = Find(graph_, job.input) == nullptr ? nullptr : Find(graph_, "op");
  if (node_ == nullptr) return;
  output_schema_ = Schema::FromProto(node_->schema());
  input_schemas_.clear();
  key_columns_.clear();
  AddInput(job.input, job.captured);
  if (!job.right.empty()) AddInput(job.right, false);
  for (const v1::StateLayout& layout : StateLayoutsOf(graph_)) {
    if (layout.uid() == "op") layout_ = layout;
  }
}

void OperatorHarness::Upgrade(const Job& job) {
  const std::vector<v1::Segment> segments = Snapshot();
  const auto parallelism = static_cast<uint32_t>(instances_.size());
  instances_.clear();
  former_layout_ = layout_;
  Load(job);
  ASSERT_NE(node_, nullptr);
  const LayoutComparison comparison = CompareLayouts(*former_layout_, layout_);
  ASSERT_NE(comparison.result, LayoutComparison::Result::kOther)
      << absl::StrJoin(comparison.differences, "; ");
  if (comparison.result == LayoutComparison::Result::kSame) former_layout_.reset();
  Open(parallelism, segments);
  former_layout_.reset();
}

void OperatorHarness::AddInput(const std::string& uid, bool captured) {
  v1::Schema schema = Find(graph_, uid)->schema();
  if (captured) AddCaptureColumns(schema);
  const auto input = static_cast<uint32_t>(input_schemas_.size());
  input_schemas_.push_back(Schema::FromProto(schema));
  key_columns_.emplace_back();
  if (const auto keys = KeysOf(*node_, input)) {
    for (uint32_t id : keys->ids()) {
      key_columns_.back().push_back(input_schemas_.back()->IndexOfId(id));
    }
  }
}

OperatorHarness::~OperatorHarness() = default;

void OperatorHarness::Open(uint32_t parallelism, const std::vector<v1::Segment>& restore) {
  instances_.clear();
  ++generation_;
  for (uint32_t i = 0; i < parallelism; ++i) {
    auto instance = std::make_unique<Instance>();
    instance->range = KeyGroupsOfTask(i, parallelism, kMaxParallelism);
    auto state = OpenStateStore({.uid = "op",
                                 .key_groups = instance->range,
                                 .max_parallelism = kMaxParallelism,
                                 .storage = *storage_,
                                 .env = env_.env,
                                 .budget = budget_,
                                 .name_prefix = absl::StrCat("g", generation_, ".t", i),
                                 .restore = restore});
    ASSERT_TRUE(state.ok()) << state.status();
    instance->state = *std::move(state);
    instance->context.reset(
        new OperatorContext{.node = *node_,
                            .input_schemas = input_schemas_,
                            .output_schema = output_schema_,
                            .key_groups = instance->range,
                            .max_parallelism = kMaxParallelism,
                            .restored_watermark = watermark_,
                            .state = instance->state.get(),
                            .layout = &layout_,
                            .former_layout = former_layout_ ? &*former_layout_ : nullptr,
                            .counters = counters_,
                            .clock = env_,
                            .graph = &graph_,
                            .disk = &env_.disk,
                            .env = &env_.env,
                            .wake = [this] {
                              is_woken_ = true;
                              waker_.Wake();
                            }});
    if (make_ != nullptr) {
      instance->op = make_();
    } else {
      auto op = AllNodes().MakeOperator(*node_);
      ASSERT_TRUE(op.ok()) << op.status();
      instance->op = *std::move(op);
    }
    const absl::Status opened = instance->op->Open(*instance->context);
    ASSERT_TRUE(opened.ok()) << opened;
    instances_.push_back(std::move(instance));
  }
}

Batch OperatorHarness::ToBatch(const std::vector<TextRow>& rows, const SchemaPtr& schema) const {
  BatchBuilder builder(schema);
  for (const TextRow& row : rows) {
    const auto width = static_cast<size_t>(schema->size());
    const bool has_kind = row.size() == width + 1;
    EXPECT_EQ(row.size(), width + (has_kind ? 1 : 0));
    for (size_t i = 0; i < width; ++i) {
      Append(builder.column(static_cast<int>(i)), row[i + (has_kind ? 1 : 0)]);
    }
    if (has_kind) builder.SetKind(KindOf(row[0]));
  }
  return builder.Finish();
}

void OperatorHarness::Push(const std::vector<TextRow>& rows, int input) {
  if (instances_.empty() || rows.empty()) return;
  const auto at = static_cast<size_t>(input);
  const Batch batch = ToBatch(rows, input_schemas_[at]);
  EncodedKeys keys;
  EncodeKeys(batch, key_columns_[at], keys);
  for (const auto& instance : instances_) {
    std::vector<int32_t> own;
    for (int32_t row = 0; row < batch.rows(); ++row) {
      const uint32_t group = KeyGroupOf(keys.hashes[static_cast<size_t>(row)], kMaxParallelism);
      if (instance->range.Contains(group) || batch.kind(row) == RowKind::kTruncate) {
        own.push_back(row);
      }
    }
    if (own.empty()) continue;
    Collector out(*this, mode_ == HarnessMode::kFullOutput);
    const absl::Status status = instance->op->Process(input, millrace::Take(batch, own), out);
    ASSERT_TRUE(status.ok()) << status;
    instance->rows_given += own.size();
  }
  AfterStep();
}

void OperatorHarness::BringOut(Instance& instance) {
  Collector out(*this, mode_ == HarnessMode::kFullOutput);
  for (int calls = 0;; ++calls) {
    is_woken_ = false;
    const absl::StatusOr<Settled> settled = instance.op->Collect(/*all=*/true, out);
    ASSERT_TRUE(settled.ok()) << settled.status();
    if (settled->synchronous || settled->rows == instance.rows_given) return;
    ASSERT_LT(calls, 100'000) << "rows do not come out";
    if (out.full()) {
      out.MakeRoom();
    } else if (!is_woken_ && has_threads_) {
      // Also by what was heard of already: then it is asked once more than needed.
      ASSERT_TRUE(waker_.Wait(kThreadPatience)) << "a thread of the operator does not answer";
    } else if (!is_woken_) {
      ASSERT_TRUE(env_.RunTimer()) << "rows are under way, but nothing is going to happen";
    }
  }
}

void OperatorHarness::Deliver(EventTime watermark) {
  for (const auto& instance : instances_) {
    BringOut(*instance);
    Collector out(*this, mode_ == HarnessMode::kFullOutput);
    while (true) {
      const absl::StatusOr<Progress> progress = instance->op->OnWatermark(watermark, out);
      ASSERT_TRUE(progress.ok()) << progress.status();
      if (*progress == Progress::kDone) break;
      ASSERT_TRUE(out.full()) << "asked to be called again although there was room";
      out.MakeRoom();
    }
  }
  watermark_ = watermark;
}

void OperatorHarness::Watermark(int64_t ms) {
  Deliver(EventTime{ms * 1000});
  AfterStep();
}

void OperatorHarness::End() { Deliver(EventTime::Max()); }

void OperatorHarness::AfterStep() {
  for (const auto& instance : instances_) evictions_ += instance->state->cold_bytes() > 0;
  if (mode_ != HarnessMode::kRestored && mode_ != HarnessMode::kRescaled) return;
  const std::vector<v1::Segment> segments = Snapshot();
  const uint32_t parallelism =
      mode_ == HarnessMode::kRestored ? 1 : kParallelisms[epoch_ % std::size(kParallelisms)];
  Open(parallelism, segments);
}

absl::Status OperatorHarness::TrySnapshot() {
  absl::Status status;
  for (const auto& instance : instances_) status.Update(instance->op->FlushState(Epoch{++epoch_}));
  return status;
}

std::vector<v1::Segment> OperatorHarness::Snapshot() {
  const Epoch epoch{++epoch_};
  std::vector<v1::Segment> segments;
  for (const auto& instance : instances_) {
    BringOut(*instance);
    EXPECT_TRUE(instance->op->FlushState(epoch).ok());
    for (v1::Segment& segment : Checkpoint(*instance->state, epoch_)) {
      segments.push_back(std::move(segment));
    }
  }
  return segments;
}

double OperatorHarness::metric(const std::string& name) const {
  double sum = 0;
  for (const auto& value : counters_.metrics.Read()) sum += value.name == name ? value.number : 0;
  return sum;
}

std::vector<std::string> OperatorHarness::Take(OutputPort port) {
  std::vector<std::string> lines = std::move(out_[port]);
  out_[port].clear();
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace millrace
