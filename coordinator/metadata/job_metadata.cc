#include "coordinator/metadata/job_metadata.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/checkpoint_decision.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"

namespace millrace {
namespace {

// Conflicts end control of the job; everything else may pass.
bool IsConflict(const absl::Status& status) {
  return absl::IsAborted(status) || absl::IsAlreadyExists(status) || absl::IsNotFound(status) ||
         absl::IsInvalidArgument(status);
}

absl::StatusOr<uint64_t> CreateEpochRecord(MetadataStore& store, const std::string& key,
                                           const std::string& value,
                                           const MetadataStore::Guards& guards) {
  MILLRACE_FAILPOINT("checkpoint.before_epoch_record");
  absl::StatusOr<uint64_t> version = CreateOrConfirm(store, key, value, guards);
  MILLRACE_FAILPOINT("checkpoint.after_epoch_record");
  return version;
}

absl::StatusOr<uint64_t> SwapStatus(MetadataStore& store, const std::string& key, uint64_t version,
                                    const std::string& value, const MetadataStore::Guards& guards) {
  MILLRACE_FAILPOINT("metadata.before_status");
  absl::StatusOr<uint64_t> written = SwapOrConfirm(store, key, version, value, guards);
  MILLRACE_FAILPOINT("metadata.after_status");
  return written;
}

absl::StatusOr<uint64_t> SwapGeneration(MetadataStore& store, const std::string& key,
                                        uint64_t version, const std::string& value) {
  MILLRACE_FAILPOINT("metadata.before_generation");
  absl::StatusOr<uint64_t> written = SwapOrConfirm(store, key, version, value, {});
  MILLRACE_FAILPOINT("metadata.after_generation");
  return written;
}

absl::StatusOr<uint64_t> ForgetEpoch(MetadataStore& store, const std::string& key,
                                     const MetadataStore::Guards& guards) {
  MILLRACE_FAILPOINT("metadata.before_forget");
  if (absl::Status status = store.Delete(key, guards); !status.ok()) return status;
  MILLRACE_FAILPOINT("metadata.after_forget");
  return 0;
}

}  // namespace

std::string JobKey(const std::string& job_id, const std::string& part) {
  return absl::StrCat("job/", job_id, "/", part);
}

std::string EpochKey(const std::string& job_id, uint64_t epoch) {
  return JobKey(job_id, absl::StrFormat("epoch/%020d", epoch));
}

JobMetadata::JobMetadata(Loop& loop, MetadataStore& store, std::string job_id, std::string writer,
                         Versions versions, std::function<void(absl::Status)> on_lost)
    : loop_(loop),
      store_(store),
      job_id_(std::move(job_id)),
      writer_(std::move(writer)),
      versions_(versions),
      on_lost_(std::move(on_lost)) {}

void JobMetadata::PutStatus(v1::JobStatus status, Done done) {
  status.set_revision(++revision_);
  status.set_writer(writer_);
  Enqueue({.kind = Kind::kStatus,
           .key = JobKey(job_id_, "state"),
           .value = status.SerializeAsString(),
           .done = std::move(done)});
}

void JobMetadata::RaiseGeneration(uint64_t generation, Done done) {
  Enqueue({.kind = Kind::kGeneration,
           .key = JobKey(job_id_, "generation"),
           // Two coordinators may try the same number; the rest tells their values apart.
           .value = absl::StrCat(generation, " ", writer_, " ", ++revision_),
           .done = std::move(done)});
}

void JobMetadata::CreateEpoch(const v1::EpochRecord& record, Done done) {
  Enqueue({.kind = Kind::kCreateEpoch,
           .key = EpochKey(job_id_, record.epoch()),
           .value = record.SerializeAsString(),
           .done = std::move(done)});
}

void JobMetadata::DeleteEpoch(uint64_t epoch, Done done) {
  Enqueue({.kind = Kind::kDeleteEpoch,
           .key = EpochKey(job_id_, epoch),
           .value = "",
           .done = std::move(done)});
}

void JobMetadata::Enqueue(Write write) {
  if (lost_) return;
  writes_.push_back(std::move(write));
  if (writes_.size() == 1) RunFirst();
}

void JobMetadata::RunFirst() {
  const Write& write = writes_.front();
  loop_.RunBlocking(
      [store = &store_, kind = write.kind, key = write.key, value = write.value,
       versions = versions_,
       generation_key = JobKey(job_id_, "generation")]() -> absl::StatusOr<uint64_t> {
        const MetadataStore::Guards guards = {
            {.key = generation_key, .version = versions.generation}};
        switch (kind) {
          case Kind::kStatus:
            return SwapStatus(*store, key, versions.status, value, guards);
          case Kind::kGeneration:
            return SwapGeneration(*store, key, versions.generation, value);
          case Kind::kCreateEpoch:
            return CreateEpochRecord(*store, key, value, guards);
          case Kind::kDeleteEpoch:
            return ForgetEpoch(*store, key, guards);
        }
        return absl::InternalError("unknown kind of write");
      },
      [this](absl::StatusOr<uint64_t> version) { OnResult(std::move(version)); });
}

void JobMetadata::OnResult(absl::StatusOr<uint64_t> version) {
  if (lost_) return;
  if (!version.ok() && IsConflict(version.status())) {
    lost_ = true;
    writes_.clear();
    on_lost_(version.status());
    return;
  }
  if (!version.ok()) {
    ++failures_;
    LogWarning(
        "cannot write metadata; will look and try again",
        {{"job", job_id_}, {"key", writes_.front().key}, {"error", version.status().ToString()}});
    loop_.After(RestartDelay(failures_, loop_.env().random.Next()), [this] { RunFirst(); });
    return;
  }
  failures_ = 0;
  Write write = std::move(writes_.front());
  writes_.pop_front();
  if (write.kind == Kind::kStatus) versions_.status = *version;
  if (write.kind == Kind::kGeneration) versions_.generation = *version;
  if (!writes_.empty()) RunFirst();
  std::move(write.done)();
}

}  // namespace millrace
