#include "runtime/checkpoint/segment_file.h"

#include <algorithm>
#include <utility>

#include "millrace/v1/checkpoint.pb.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/little_endian.h"

namespace millrace {
namespace {

// Header: magic, u32 version, u32 kind, u32 first and u32 last key group, u64 epoch, u32 length of
// uid, u32 length of name, uid, name. Records: u32 length, bytes. Footer: u64 records, u32 CRC32C
// of all bytes before the CRC, magic.
constexpr std::string_view kMagic = "MRSG";
constexpr std::string_view kFooterMagic = "MRSE";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 36;
constexpr size_t kFooterBytes = 16;
constexpr size_t kUidBytesMax = 4096;
constexpr size_t kBlockBytes = 1 << 20;   // Of a writer.
constexpr size_t kReadBytes = 128 << 10;  // A merge reads many segments side by side.

class FileSegmentWriter final : public SegmentWriter {
 public:
  FileSegmentWriter(v1::Segment segment, std::unique_ptr<CheckpointStorage::Writer> file)
      : segment_(std::move(segment)), file_(std::move(file)) {
    buffer_.append(kMagic);
    AppendLittleEndian(kVersion, buffer_);
    AppendLittleEndian(static_cast<uint32_t>(segment_.kind()), buffer_);
    AppendLittleEndian(uint32_t{segment_.key_group_first()}, buffer_);
    AppendLittleEndian(uint32_t{segment_.key_group_last()}, buffer_);
    AppendLittleEndian(uint64_t{segment_.epoch()}, buffer_);
    AppendLittleEndian(static_cast<uint32_t>(segment_.uid().size()), buffer_);
    AppendLittleEndian(static_cast<uint32_t>(segment_.name().size()), buffer_);
    buffer_.append(segment_.uid());
    buffer_.append(segment_.name());
  }

  absl::Status Append(std::string_view record) override {
    if (record.size() > kSegmentRecordBytesMax) {
      return absl::InvalidArgumentError(
          Concat("a record is too long for segment ", segment_.name(), ": bytes=", record.size()));
    }
    AppendLittleEndian(static_cast<uint32_t>(record.size()), buffer_);
    buffer_.append(record);
    ++records_;
    return buffer_.size() < kBlockBytes ? absl::OkStatus() : Flush();
  }

  uint64_t records() const override { return records_; }
  uint64_t bytes() const override { return flushed_ + buffer_.size(); }

  absl::StatusOr<v1::Segment> Finish() override {
    AppendLittleEndian(records_, buffer_);
    const uint32_t crc = Crc32c(buffer_, crc_);
    AppendLittleEndian(crc, buffer_);
    buffer_.append(kFooterMagic);
    MILLRACE_RETURN_IF_ERROR(Flush());
    segment_.set_bytes(flushed_);
    segment_.set_rows(records_);
    segment_.set_crc32c(crc);
    finished_ = true;
    return segment_;
  }

  absl::StatusOr<v1::Segment> Publish() override {
    if (!finished_) MILLRACE_RETURN_IF_ERROR(Finish().status());
    MILLRACE_RETURN_IF_ERROR(file_->Publish());
    return segment_;
  }

 private:
  absl::Status Flush() {
    crc_ = Crc32c(buffer_, crc_);
    MILLRACE_RETURN_IF_ERROR(file_->Append(buffer_));
    flushed_ += buffer_.size();
    buffer_.clear();
    return absl::OkStatus();
  }

  v1::Segment segment_;
  const std::unique_ptr<CheckpointStorage::Writer> file_;
  std::string buffer_;
  uint32_t crc_ = 0;  // Of the flushed bytes.
  uint64_t flushed_ = 0;
  uint64_t records_ = 0;
  bool finished_ = false;
};

absl::Status Damaged(const v1::Segment& segment, std::string_view fault) {
  return absl::DataLossError(
      Concat("segment ", segment.name(), " of ", segment.uid(), " is damaged: ", fault));
}

class FileSegmentReader final : public SegmentReader {
 public:
  FileSegmentReader(const v1::Segment& segment, std::unique_ptr<ReadableFile> file)
      : segment_(segment), file_(std::move(file)) {}

  absl::Status Verify() {
    const uint64_t size = file_->size();
    if (segment_.bytes() != 0 && size != segment_.bytes()) {
      return Damaged(segment_, Concat("it has ", size, " bytes instead of ", segment_.bytes()));
    }
    if (size < kHeaderBytes + kFooterBytes) {
      return Damaged(segment_, Concat("it is too short: bytes=", size));
    }
    MILLRACE_RETURN_IF_ERROR(VerifyHeader(size));
    return VerifyFooter(size);
  }

  absl::StatusOr<bool> Next(std::string_view* record) override {
    if (position_ == end_) {
      if (read_ != rows_) return Damaged(segment_, "its record count is wrong");
      return false;
    }
    if (end_ - position_ < 4) return Damaged(segment_, "a record is cut off");
    MILLRACE_ASSIGN_OR_RETURN(std::string_view head, Bytes(position_, 4));
    const auto length = ReadLittleEndian<uint32_t>(head.data());
    if (length > kSegmentRecordBytesMax || length > end_ - position_ - 4) {
      return Damaged(segment_, Concat("a record has ", length, " bytes at ", position_));
    }
    MILLRACE_ASSIGN_OR_RETURN(*record, Bytes(position_ + 4, length));
    position_ += 4 + length;
    ++read_;
    return true;
  }

 private:
  absl::Status VerifyHeader(uint64_t size) {
    MILLRACE_ASSIGN_OR_RETURN(const std::string_view bytes, Bytes(0, kHeaderBytes));
    const char* p = bytes.data();
    if (bytes.substr(0, 4) != kMagic) return Damaged(segment_, "it is not a segment");
    const auto version = ReadLittleEndian<uint32_t>(p + 4);
    if (version > kVersion) {
      return absl::FailedPreconditionError(
          Concat("segment ", segment_.name(), " has format ", version,
                 ", newer than what this build reads: ", kVersion));
    }
    if (version == 0) return Damaged(segment_, "its format is 0");
    const auto kind = ReadLittleEndian<uint32_t>(p + 8);
    const auto first = ReadLittleEndian<uint32_t>(p + 12);
    const auto last = ReadLittleEndian<uint32_t>(p + 16);
    const auto epoch = ReadLittleEndian<uint64_t>(p + 20);
    const auto uid_bytes = ReadLittleEndian<uint32_t>(p + 28);
    const auto name_bytes = ReadLittleEndian<uint32_t>(p + 32);
    if (uid_bytes > kUidBytesMax || name_bytes > kStorageNameBytesMax ||
        kHeaderBytes + uid_bytes + name_bytes + kFooterBytes > size) {
      return Damaged(segment_, "its header is out of bounds");
    }
    MILLRACE_ASSIGN_OR_RETURN(const std::string_view text,
                              Bytes(kHeaderBytes, uid_bytes + name_bytes));
    if (kind != static_cast<uint32_t>(segment_.kind()) || epoch != segment_.epoch() ||
        text.substr(0, uid_bytes) != segment_.uid() || text.substr(uid_bytes) != segment_.name()) {
      return Damaged(segment_,
                     Concat("it belongs to somebody else: kind=", kind, " epoch=", epoch,
                            " uid=", text.substr(0, uid_bytes), " name=", text.substr(uid_bytes)));
    }
    if (first > segment_.key_group_first() || last < segment_.key_group_last()) {
      return Damaged(segment_, Concat("it has key groups ", first, " to ", last));
    }
    position_ = kHeaderBytes + uid_bytes + name_bytes;
    end_ = size - kFooterBytes;
    return absl::OkStatus();
  }

  absl::Status VerifyFooter(uint64_t size) {
    const uint64_t crc_at = size - kFooterBytes + 8;
    uint32_t crc = 0;
    for (uint64_t at = 0; at < crc_at;) {
      const size_t length = std::min<uint64_t>(kReadBytes, crc_at - at);
      MILLRACE_ASSIGN_OR_RETURN(const std::string_view bytes, Bytes(at, length));
      crc = Crc32c(bytes, crc);
      at += length;
    }
    MILLRACE_ASSIGN_OR_RETURN(const std::string_view footer,
                              Bytes(size - kFooterBytes, kFooterBytes));
    rows_ = ReadLittleEndian<uint64_t>(footer.data());
    const auto stored = ReadLittleEndian<uint32_t>(footer.data() + 8);
    if (footer.substr(12) != kFooterMagic) return Damaged(segment_, "it has no footer");
    if (stored != crc) return Damaged(segment_, "its checksum is wrong");
    // A reference without bytes does not know the checksum either.
    if (segment_.bytes() != 0 && (segment_.crc32c() != crc || segment_.rows() != rows_)) {
      return Damaged(segment_, "it is not the one that was written: checksum or rows differ");
    }
    return absl::OkStatus();
  }

  // The bytes [at, at + length) of the file; valid until the next call.
  absl::StatusOr<std::string_view> Bytes(uint64_t at, size_t length) {
    if (at < block_at_ || at + length > block_at_ + block_.size()) {
      const uint64_t size = file_->size();
      if (at > size || length > size - at) return Damaged(segment_, "it is cut off");
      block_.resize(std::min<uint64_t>(std::max(length, kReadBytes), size - at));
      block_at_ = at;
      MILLRACE_RETURN_IF_ERROR(Annotate(file_->Read(at, block_.size(), block_.data()),
                                        Concat("cannot read segment ", segment_.name())));
    }
    return std::string_view(block_).substr(at - block_at_, length);
  }

  const v1::Segment segment_;
  const std::unique_ptr<ReadableFile> file_;
  std::string block_;
  uint64_t block_at_ = 0;
  uint64_t position_ = 0;
  uint64_t end_ = 0;
  uint64_t rows_ = 0;
  uint64_t read_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SegmentWriter>> SegmentWriter::Create(CheckpointStorage& storage,
                                                                     const v1::Segment& identity) {
  if (identity.uid().size() > kUidBytesMax) {
    return absl::InvalidArgumentError("the uid of a segment is too long");
  }
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<CheckpointStorage::Writer> file,
                            storage.Create(identity.name()));
  return std::make_unique<FileSegmentWriter>(identity, std::move(file));
}

absl::StatusOr<std::unique_ptr<SegmentReader>> SegmentReader::Open(CheckpointStorage& storage,
                                                                   const v1::Segment& segment) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = storage.Open(segment.name());
  if (absl::IsNotFound(file.status())) return Damaged(segment, "it is missing");
  if (!file.ok()) return file.status();
  auto reader = std::make_unique<FileSegmentReader>(segment, *std::move(file));
  MILLRACE_RETURN_IF_ERROR(reader->Verify());
  return reader;
}

absl::Status ReadSegment(CheckpointStorage& storage, const v1::Segment& segment,
                         const std::function<absl::Status(std::string_view)>& record) {
  MILLRACE_ASSIGN_OR_RETURN(std::unique_ptr<SegmentReader> reader,
                            SegmentReader::Open(storage, segment));
  std::string_view bytes;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const bool more, reader->Next(&bytes));
    if (!more) return absl::OkStatus();
    MILLRACE_RETURN_IF_ERROR(record(bytes));
  }
}

}  // namespace millrace
