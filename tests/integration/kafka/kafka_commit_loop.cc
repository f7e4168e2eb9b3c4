// Commits epochs 1, 2, … of one sink slot until `last_epoch`, as a task and its coordinator would:
// the outbox and the token of an epoch are stored (one file, renamed into place: the commit point)
// before Commit is called. Started again, it goes on from that file. The rows of an epoch follow
// from its number. Killed at any moment, every epoch must be in the topic once.
//
//   kafka_commit_loop PRODUCER BROKERS TOPIC JOB STATE_FILE LAST_EPOCH [FAILPOINTS]
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "millrace/v1/graph.pb.h"
#include "operators/connectors/kafka/kafka_connector.h"
#include "operators/connectors/kafka/wire_bytes.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/real_env.h"
#include "runtime/columns/batch.h"
#include "runtime/task/counters.h"
#include "tests/integration/kafka/kafka_commit_loop.h"
#include "tests/unit/connectors/stored_outbox.h"

namespace millrace {
namespace {

struct Stored {
  uint64_t generation = 0;
  v1::CommitToken token;
};

void Store(const std::string& path, const Stored& stored, StoredOutbox& outbox) {
  std::string bytes;
  PutFixed(bytes, stored.generation);
  PutBytes(bytes, stored.token.SerializeAsString());
  for (const v1::Segment& segment : stored.token.outbox()) {
    const std::vector<std::string>& records = outbox.segments()[segment.name()];
    PutVarint(bytes, records.size());
    for (const std::string& record : records) PutBytes(bytes, record);
  }
  std::ofstream(path + ".new", std::ios::binary) << bytes;
  std::rename((path + ".new").c_str(), path.c_str());
}

bool Load(const std::string& path, Stored& stored, StoredOutbox& outbox) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  std::stringstream content;
  content << file.rdbuf();
  const std::string bytes = content.str();
  ByteReader reader(bytes);
  stored.generation = reader.Fixed<uint64_t>();
  const std::string_view token = reader.Bytes();
  stored.token.ParseFromArray(token.data(), static_cast<int>(token.size()));
  for (const v1::Segment& segment : stored.token.outbox()) {
    std::vector<std::string>& records = outbox.segments()[segment.name()];
    for (uint64_t n = reader.Varint(); n > 0; --n) records.emplace_back(reader.Bytes());
  }
  return reader.ok();
}

absl::Status Run(const std::string& producer, const std::string& brokers, const std::string& topic,
                 const std::string& job, const std::string& path, uint64_t last_epoch) {
  RealEnv real(RealEnvOptions{});
  Env env = real.env();
  v1::Node node;
  node.set_uid("snk");
  node.mutable_sink()->set_format("raw");
  (*node.mutable_sink()->mutable_options())["topic"] = topic;
  (*node.mutable_sink()->mutable_options())["properties.bootstrap.servers"] = brokers;
  (*node.mutable_sink()->mutable_options())["produce"] = producer;
  const SchemaPtr schema = Schema::Make({{.name = "line", .type = TypeKind::kString}});
  OperatorCounters counters;
  StoredOutbox outbox("snk", 0);
  Stored stored;
  const bool restored = Load(path, stored, outbox);
  ++stored.generation;
  SinkContext context{.node = node,
                      .schema = schema,
                      .counters = counters,
                      .env = env,
                      .job_id = job,
                      .job_name = "commit loop",
                      .generation = {stored.generation},
                      .slot = 0,
                      .parallelism = 1,
                      .outbox = outbox};
  auto sink = MakeKafkaSink(node);
  if (!sink.ok()) return sink.status();
  if (absl::Status status = (*sink)->Open(context); !status.ok()) return status;
  if (restored) {
    Store(path, stored, outbox);
    if (absl::Status status = (*sink)->Commit(stored.token); !status.ok()) return status;
  }
  for (uint64_t epoch = stored.token.epoch() + 1; epoch <= last_epoch; ++epoch) {
    outbox.segments().clear();
    BatchBuilder rows(schema);
    for (const std::string& row : RowsOfEpoch(epoch)) rows.column(0).AppendString(row);
    if (absl::Status status = (*sink)->Write(rows.Finish()); !status.ok()) return status;
    auto token = (*sink)->Prepare({epoch});
    if (!token.ok()) return token.status();
    stored.token = *token;
    Store(path, stored, outbox);
    if (absl::Status status = (*sink)->Commit(stored.token); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  if (argc < 7) return 2;
  if (argc > 7) {
    const absl::Status armed = millrace::Failpoints::Arm(argv[7]);
    if (!armed.ok()) {
      std::cerr << armed << "\n";
      return 2;
    }
  }
  const absl::Status status = millrace::Run(argv[1], argv[2], argv[3], argv[4], argv[5],
                                            std::strtoull(argv[6], nullptr, 10));
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
