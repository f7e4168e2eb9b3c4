// Sources and sinks as a task would drive them, on the real disk and clock.
//
// Threading: one thread. Ownership: a reader owns its source and all that the source refers to.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/connector.h"
#include "runtime/base/real_env.h"
#include "runtime/columns/batch.h"
#include "runtime/task/counters.h"
#include "runtime/task/emitter.h"

namespace millrace {

class CollectingEmitter : public Emitter {
 public:
  void Emit(OutputPort port, Batch batch) override { batches[port].push_back(std::move(batch)); }
  using Emitter::Emit;
  bool full() const override { return false; }

  // The first column of all rows, as text.
  std::vector<std::string> Texts(OutputPort port = OutputPort::kMain, int column = 0) {
    std::vector<std::string> out;
    for (const Batch& batch : batches[port]) {
      for (int64_t i = 0; i < batch.rows(); ++i) {
        out.emplace_back(batch.column(column).StringAt(i));
      }
    }
    return out;
  }
  // "1, 'a', NULL" per row.
  std::vector<std::string> Rows(OutputPort port = OutputPort::kMain) {
    std::vector<std::string> out;
    for (const Batch& batch : batches[port]) {
      for (int64_t row = 0; row < batch.rows(); ++row) {
        std::string& text = out.emplace_back();
        for (const Column& column : batch.columns()) {
          if (!text.empty()) text += ", ";
          text += ValueText(column, row);
        }
      }
    }
    return out;
  }

  std::map<OutputPort, std::vector<Batch>> batches;
};

// A source and all that it needs.
struct SourceReader {
  v1::Node node;
  OperatorCounters counters;
  std::unique_ptr<SourceContext> context;
  std::unique_ptr<Source> source;
  CollectingEmitter out;

  // Polls until the end, or `polls` times.
  absl::StatusOr<PollResult> Poll(int polls = 1'000'000) {
    absl::StatusOr<PollResult> result = PollResult::kEmitted;
    while (polls-- > 0 && result.ok() && *result == PollResult::kEmitted) {
      result = source->Poll(out);
    }
    return result;
  }
};

class ConnectorTest : public testing::Test {
 protected:
  using Reader = SourceReader;
  using Options = std::map<std::string, std::string>;

  static v1::Node SourceNode(const std::string& connector, const std::string& format,
                             const std::vector<Field>& fields, const Options& options) {
    v1::Node node;
    node.set_uid("in");
    node.mutable_source()->set_connector(connector);
    node.mutable_source()->set_format(format);
    for (const Field& field : fields) {
      v1::Field& proto = *node.mutable_schema()->add_fields();
      proto.set_name(field.name);
      field.type.ToProto(proto.mutable_type());
      proto.set_path(field.path);
    }
    for (const auto& [name, value] : options)
      (*node.mutable_source()->mutable_options())[name] = value;
    return node;
  }

  absl::StatusOr<std::vector<Split>> Discover(const v1::Node& node) {
    const auto connector = FindConnector(node.source().connector());
    if (!connector.ok()) return connector.status();
    auto discovery = (*connector)->make_discovery(node, env_);
    if (!discovery.ok()) return discovery.status();
    return (*discovery)->Discover(/*first=*/true);
  }

  absl::StatusOr<std::unique_ptr<Reader>> OpenAt(const v1::Node& node, std::vector<Split> splits,
                                                 int64_t batch_rows_max = 4096) {
    auto reader = std::make_unique<Reader>();
    reader->node = node;
    std::vector<Field> fields;
    for (const v1::Field& field : node.schema().fields()) {
      fields.push_back(
          {.name = field.name(), .type = DataType::FromProto(field.type()), .path = field.path()});
    }
    reader->context =
        std::make_unique<SourceContext>(SourceContext{.node = reader->node,
                                                      .schema = Schema::Make(fields),
                                                      .counters = reader->counters,
                                                      .env = env_,
                                                      .batch_rows_max = batch_rows_max,
                                                      .wake = [] {}});
    auto source = (*FindConnector(node.source().connector()))->make_source(node);
    if (!source.ok()) return source.status();
    reader->source = *std::move(source);
    if (absl::Status status = reader->source->Open(*reader->context, std::move(splits));
        !status.ok()) {
      return status;
    }
    return reader;
  }

  // Discovers and opens all splits.
  std::unique_ptr<Reader> MustOpen(const v1::Node& node, int64_t batch_rows_max = 4096) {
    auto splits = Discover(node);
    EXPECT_TRUE(splits.ok()) << splits.status();
    auto reader = OpenAt(node, *splits, batch_rows_max);
    EXPECT_TRUE(reader.ok()) << reader.status();
    return *std::move(reader);
  }

  // A folder of this test alone, removed at its end.
  const std::filesystem::path& folder() {
    if (folder_.empty()) {
      std::string name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
      folder_ = mkdtemp(name.data());
    }
    return folder_;
  }
  std::string WriteFile(const std::string& name, std::string_view content) {
    const std::filesystem::path path = folder() / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }
  static std::string ReadFile(const std::filesystem::path& path) {
    std::stringstream content;
    content << std::ifstream(path, std::ios::binary).rdbuf();
    return content.str();
  }

  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  RealEnv real_env_{RealEnvOptions{.io_threads = 1}};
  Env env_ = real_env_.env();

 private:
  std::filesystem::path folder_;
};

}  // namespace millrace
