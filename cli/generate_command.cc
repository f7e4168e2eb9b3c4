#include "cli/generate_command.h"

#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "operators/connectors/kafka/bulk_producer.h"
#include "operators/connectors/nexmark/generator.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

constexpr size_t kBlockBytes = 1 << 20;

void Report(const GenerateOptions& options, uint64_t done) {
  if (options.progress && done % 1'000'000 == 0) {
    std::fprintf(stderr, "%llu of %llu events\n", static_cast<unsigned long long>(done),
                 static_cast<unsigned long long>(options.events));
  }
}

absl::Status ToFile(const GenerateOptions& options, const std::string& path, Disk& disk) {
  NexmarkGenerator generator({.seed = options.seed, .rate = options.rate});
  std::unique_ptr<WritableFile> file;
  if (path != "-") {
    MILLRACE_ASSIGN_OR_RETURN(file, disk.Create(path));
  }
  const auto write = [&](const std::string& block) -> absl::Status {
    if (file != nullptr) return file->Append(block);
    return std::fwrite(block.data(), 1, block.size(), stdout) == block.size()
               ? absl::OkStatus()
               : absl::UnavailableError("cannot write to standard output");
  };
  std::string block;
  for (uint64_t i = 0; i < options.events; ++i) {
    generator.AppendEventJson(options.first + i, block);
    block += '\n';
    if (block.size() >= kBlockBytes) {
      MILLRACE_RETURN_IF_ERROR(write(block));
      block.clear();
    }
    Report(options, i + 1);
  }
  MILLRACE_RETURN_IF_ERROR(write(block));
  return file == nullptr ? absl::OkStatus() : file->Sync();
}

absl::Status ToKafka(const GenerateOptions& options, const std::string& target, Clock& clock) {
  const size_t slash = target.rfind('/');
  if (slash == std::string::npos || slash + 1 == target.size()) {
    return absl::InvalidArgumentError("--to kafka: wants kafka:BROKERS/TOPIC");
  }
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<BulkProducer> producer,
                            BulkProducer::Open(target.substr(0, slash), target.substr(slash + 1),
                                               options.partitions, clock));
  NexmarkGenerator generator({.seed = options.seed, .rate = options.rate});
  std::string event;
  for (uint64_t i = 0; i < options.events; ++i) {
    const uint64_t number = options.first + i;
    event.clear();
    generator.AppendEventJson(number, event);
    // Round robin: the same event is in the same partition for any number of events.
    MILLRACE_RETURN_IF_ERROR(
        producer->Send(static_cast<int32_t>(number % static_cast<uint64_t>(options.partitions)),
                       event, generator.TimeUs(number) / 1000));
    Report(options, i + 1);
  }
  return producer->Finish();
}

}  // namespace

absl::Status GenerateNexmark(const GenerateOptions& options, Env env) {
  if (options.rate < 1 || options.rate > 10'000'000) {
    return absl::InvalidArgumentError("--rate must be from 1 to 10000000 events per second");
  }
  if (options.partitions < 1 || options.partitions > 10'000) {
    return absl::InvalidArgumentError("--partitions must be from 1 to 10000");
  }
  if (options.to == "-") return ToFile(options, "-", env.disk);
  if (options.to.rfind("file:", 0) == 0) return ToFile(options, options.to.substr(5), env.disk);
  if (options.to.rfind("kafka:", 0) == 0) return ToKafka(options, options.to.substr(6), env.clock);
  return absl::InvalidArgumentError(
      absl::StrCat("--to must be file:PATH, kafka:BROKERS/TOPIC or -, not ", options.to));
}

}  // namespace millrace
