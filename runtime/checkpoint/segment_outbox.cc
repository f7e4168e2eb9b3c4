#include "runtime/checkpoint/segment_outbox.h"

#include <utility>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/status_macros.h"

namespace millrace {

// `writer` is used by the task thread until TakeWork, by the work's thread after. It is null once
// the segment is durable.
struct SegmentOutbox::Sealed {
  v1::Segment segment;
  std::unique_ptr<SegmentWriter> writer;
};

SegmentOutbox::SegmentOutbox(SegmentOutboxOptions options)
    : storage_(options.storage),
      owner_{.uid = std::move(options.uid), .prefix = std::move(options.name_prefix)},
      slot_(options.slot) {}
SegmentOutbox::~SegmentOutbox() = default;

absl::Status SegmentOutbox::Append(std::string_view record) {
  if (open_ == nullptr) {
    // Epochs are usually consecutive; when they are not, the name is still unique.
    v1::Segment identity;
    identity.set_name(
        SegmentName(owner_, v1::Segment::KIND_OUTBOX, Epoch{last_sealed_.number + 1}, sequence_++));
    identity.set_kind(v1::Segment::KIND_OUTBOX);
    identity.set_uid(owner_.uid);
    identity.set_key_group_first(slot_);
    identity.set_key_group_last(slot_);
    identity.set_epoch(last_sealed_.number + 1);
    MILLRACE_ASSIGN_OR_RETURN(open_, SegmentWriter::Create(storage_, identity));
  }
  return open_->Append(record);
}

absl::StatusOr<v1::CommitToken> SegmentOutbox::Seal(Epoch epoch) {
  v1::CommitToken token;
  token.set_uid(owner_.uid);
  token.set_slot(slot_);
  token.set_epoch(epoch.number);
  std::erase_if(sealed_, [](const auto& sealed) { return sealed->writer == nullptr; });
  if (open_ != nullptr) {
    auto sealed = std::make_shared<Sealed>();
    MILLRACE_ASSIGN_OR_RETURN(sealed->segment, open_->Finish());
    sealed->writer = std::move(open_);
    *token.add_outbox() = sealed->segment;
    sealed_.push_back(std::move(sealed));
  }
  last_sealed_ = epoch;
  return token;
}

absl::Status SegmentOutbox::Read(const v1::CommitToken& token,
                                 const std::function<absl::Status(std::string_view)>& record) {
  // All are verified before the first record is used.
  std::vector<std::unique_ptr<SegmentReader>> readers;
  for (const v1::Segment& segment : token.outbox()) {
    MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<SegmentReader> reader,
                              SegmentReader::Open(storage_, segment));
    readers.push_back(std::move(reader));
  }
  for (const std::unique_ptr<SegmentReader>& reader : readers) {
    std::string_view bytes;
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, reader->Next(&bytes));
      if (!more) break;
      MILLRACE_RETURN_IF_ERROR(record(bytes));
    }
  }
  return absl::OkStatus();
}

SegmentWork SegmentOutbox::TakeWork() {
  return [sealed = sealed_]() mutable -> absl::StatusOr<std::vector<v1::Segment>> {
    std::vector<v1::Segment> durable;
    for (const std::shared_ptr<Sealed>& one : sealed) {
      if (one->writer == nullptr) continue;
      MILLRACE_RETURN_IF_ERROR(one->writer->Publish().status());
      one->writer.reset();
      durable.push_back(one->segment);
    }
    return durable;
  };
}

}  // namespace millrace
