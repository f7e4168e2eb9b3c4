#include "runtime/checkpoint/s3/s3_storage.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/synchronization/mutex.h"
#include "runtime/base/digests.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/checkpoint/segment_file.h"

namespace millrace {
namespace {

constexpr char kCrcHeader[] = "x-amz-meta-millrace-crc32c";
constexpr char kWriterHeader[] = "x-amz-meta-millrace-writer";
constexpr uint64_t kPartsMax = 10'000;      // S3's.
constexpr size_t kDeletedAtOnceMax = 1000;  // S3's.

std::string Base64(std::string_view bytes) {
  return absl::Base64Escape(absl::string_view(bytes.data(), bytes.size()));
}

std::string CrcText(uint32_t crc) {
  const char bytes[] = {static_cast<char>(crc >> 24), static_cast<char>(crc >> 16),
                        static_cast<char>(crc >> 8), static_cast<char>(crc)};
  return Base64({bytes, sizeof(bytes)});
}

// Whether a store refuses a write on condition that the name is free.
enum class Conditional { kUnknown, kObeyed, kIgnored };

class Access;

struct Place {
  Access& access;
  S3Location location;
  std::string Key(std::string_view name) const {
    return location.prefix.empty() ? std::string(name) : Concat(location.prefix, "/", name);
  }
  std::string Shown(std::string_view name) const {
    return Concat("s3://", location.bucket, "/", Key(name));
  }
  std::string store() const { return Concat(location.endpoint, " ", location.bucket); }
};

class Access final : public S3Access {
 public:
  Access(S3Options options, std::string scratch_folder, Env env)
      : env_(env),
        scratch_folder_(std::move(scratch_folder)),
        client_(std::move(options), env.clock, env.random) {}

  absl::Status Start() {
    MILLRACE_RETURN_IF_ERROR(env_.disk.RemoveFolder(scratch_folder_));
    return env_.disk.MakeFolders(scratch_folder_);
  }

  absl::StatusOr<std::unique_ptr<CheckpointStorage>> Open(std::string_view uri) override;
  void Stop() override { client_.Stop(); }
  const S3Counters& counters(S3Operation operation) const override {
    return client_.counters(operation);
  }

  S3Client& client() { return client_; }
  Env& env() { return env_; }
  std::string ScratchPath() {
    // Relaxed: only uniqueness matters.
    return Concat(scratch_folder_, "/", next_.fetch_add(1, std::memory_order_relaxed));
  }

  Conditional conditional(const std::string& store) {
    absl::MutexLock lock(&mutex_);
    return conditional_[store];
  }
  void set_conditional(const std::string& store, Conditional value) {
    absl::MutexLock lock(&mutex_);
    Conditional& known = conditional_[store];
    if (known == value) return;
    known = value;
    if (value == Conditional::kIgnored) {
      LogWarning("the store ignores If-None-Match: names are looked up before they are written",
                 {{"store", store}});
    }
  }

 private:
  Env env_;
  const std::string scratch_folder_;
  S3Client client_;
  std::atomic<uint64_t> next_{0};
  absl::Mutex mutex_;
  std::map<std::string, Conditional> conditional_ ABSL_GUARDED_BY(mutex_);  // By Place::store.
};

// A scratch file that is removed with its owner.
class Scratch {
 public:
  explicit Scratch(Access& access) : access_(access), path_(access.ScratchPath()) {}
  ~Scratch() { (void)access_.env().disk.Remove(path_); }  // Else the next start does.
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  absl::StatusOr<std::unique_ptr<WritableFile>> Create() {
    return access_.env().disk.Create(path_);
  }
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open() {
    auto file = access_.env().disk.Open(path_);
    // Not to be taken for an object that is missing.
    if (absl::IsNotFound(file.status())) {
      return absl::UnavailableError(Concat("the scratch file ", path_, " is gone"));
    }
    return file;
  }

 private:
  Access& access_;
  const std::string path_;
};

class S3Writer final : public CheckpointStorage::Writer {
 public:
  S3Writer(Place place, std::string name)
      : place_(std::move(place)), name_(std::move(name)), scratch_(place_.access) {}

  absl::Status Start() {
    Random& random = place_.access.env().random;
    writer_ = Concat(random.Next(), "-", random.Next());
    MILLRACE_ASSIGN_OR_RETURN(file_, scratch_.Create());
    return absl::OkStatus();
  }

  absl::Status Append(std::string_view bytes) override {
    crc_ = Crc32c(bytes, crc_);
    bytes_ += bytes.size();
    return Annotate(file_->Append(bytes), Concat("cannot write segment ", name_));
  }

  absl::Status Publish() override {
    absl::Status published = Upload();
    // An upload that was taken from under us is a reason to begin anew, not a missing file.
    if (absl::IsNotFound(published)) {
      published = absl::UnavailableError(published.message());
    }
    return Annotate(published, Concat("cannot publish ", name_));
  }

 private:
  using Headers = std::map<std::string, std::string>;

  absl::Status Upload() {
    MILLRACE_FAILPOINT("segment.before_sync");
    MILLRACE_RETURN_IF_ERROR(file_->Close());
    MILLRACE_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file, scratch_.Open());
    if (file->size() != bytes_) return Damaged();
    const uint64_t part_bytes = place_.access.client().options().part_bytes;
    absl::Status done = bytes_ <= part_bytes ? PutWhole(*file) : PutParts(*file, part_bytes);
    MILLRACE_RETURN_IF_ERROR(done);
    MILLRACE_FAILPOINT("segment.after_sync");
    return absl::OkStatus();
  }

  absl::Status PutWhole(const ReadableFile& file) {
    std::string body(bytes_, '\0');
    MILLRACE_RETURN_IF_ERROR(file.Read(0, body.size(), body.data()));
    if (Crc32c(body) != crc_) return Damaged();
    const Conditional conditional = place_.access.conditional(place_.store());
    if (conditional == Conditional::kIgnored) MILLRACE_RETURN_IF_ERROR(RequireFreeName());
    absl::Status put = PutOnce(body, conditional != Conditional::kIgnored);
    if (absl::IsUnimplemented(put) && conditional == Conditional::kUnknown) {
      place_.access.set_conditional(place_.store(), Conditional::kIgnored);
      MILLRACE_RETURN_IF_ERROR(RequireFreeName());
      put = PutOnce(body, /*conditional=*/false);
    }
    if (!put.ok()) return WasItMine(put);
    MILLRACE_FAILPOINT("segment.after_link");
    // The same bytes again harm nobody, and show what the store makes of the condition.
    if (place_.access.conditional(place_.store()) == Conditional::kUnknown) {
      const absl::Status again = PutOnce(body, /*conditional=*/true);
      if (absl::IsAlreadyExists(again)) {
        place_.access.set_conditional(place_.store(), Conditional::kObeyed);
      } else if (again.ok()) {
        place_.access.set_conditional(place_.store(), Conditional::kIgnored);
      }
    }
    return absl::OkStatus();
  }

  absl::Status PutOnce(const std::string& body, bool conditional) {
    Headers headers = Metadata();
    headers["x-amz-checksum-crc32c"] = CrcText(crc_);
    if (conditional) headers["if-none-match"] = "*";
    return Call({.operation = S3Operation::kPut,
                 .method = "PUT",
                 .headers = std::move(headers),
                 .body = body})
        .status();
  }

  absl::Status PutParts(const ReadableFile& file, uint64_t part_bytes) {
    if (place_.access.conditional(place_.store()) != Conditional::kObeyed) {
      MILLRACE_RETURN_IF_ERROR(RequireFreeName());
    }
    Headers headers = Metadata();
    headers["x-amz-checksum-algorithm"] = "CRC32C";
    MILLRACE_ASSIGN_OR_RETURN(const HttpResponse begun, Call({.operation = S3Operation::kBegin,
                                                              .method = "POST",
                                                              .query = {{"uploads", ""}},
                                                              .headers = std::move(headers)}));
    MILLRACE_ASSIGN_OR_RETURN(const std::string upload, ParseS3UploadId(begun.body));
    const absl::Status done = PutPartsOf(upload, file, part_bytes);
    if (!done.ok()) {
      // At best; the sweep finds what stays.
      (void)Call(
          {.operation = S3Operation::kAbort, .method = "DELETE", .query = {{"uploadId", upload}}});
    }
    return done;
  }

  absl::Status PutPartsOf(const std::string& upload, const ReadableFile& file,
                          uint64_t part_bytes) {
    part_bytes = std::max(part_bytes, (bytes_ + kPartsMax - 1) / kPartsMax);
    std::string parts;
    std::string body;
    uint32_t crc = 0;
    int number = 0;
    for (uint64_t at = 0; at < bytes_; at += body.size()) {
      body.resize(std::min(part_bytes, bytes_ - at));
      MILLRACE_RETURN_IF_ERROR(file.Read(at, body.size(), body.data()));
      crc = Crc32c(body, crc);
      const std::string part_crc = CrcText(Crc32c(body));
      MILLRACE_ASSIGN_OR_RETURN(
          const HttpResponse put,
          Call({.operation = S3Operation::kPart,
                .method = "PUT",
                .query = {{"partNumber", Concat(++number)}, {"uploadId", upload}},
                .headers = {{"x-amz-checksum-crc32c", part_crc}},
                .body = body}));
      parts += Concat("<Part><PartNumber>", number, "</PartNumber><ETag>", put.Header("etag"),
                      "</ETag><ChecksumCRC32C>", part_crc, "</ChecksumCRC32C></Part>");
    }
    if (crc != crc_) return Damaged();
    MILLRACE_FAILPOINT("s3.before_complete");
    const absl::Status completed = Complete(upload, parts);
    // Looked at also when all is well: the length of the whole has been compared by nobody yet.
    MILLRACE_RETURN_IF_ERROR(WasItMine(completed));
    MILLRACE_FAILPOINT("segment.after_link");
    return absl::OkStatus();
  }

  absl::Status Complete(const std::string& upload, const std::string& parts) {
    const std::string body =
        Concat("<CompleteMultipartUpload>", parts, "</CompleteMultipartUpload>");
    const auto complete = [&](bool conditional) {
      S3Request request{.operation = S3Operation::kComplete,
                        .method = "POST",
                        .query = {{"uploadId", upload}},
                        .body = body};
      if (conditional) request.headers["if-none-match"] = "*";
      return Call(std::move(request)).status();
    };
    const bool conditional = place_.access.conditional(place_.store()) != Conditional::kIgnored;
    const absl::Status completed = complete(conditional);
    return absl::IsUnimplemented(completed) && conditional ? complete(false) : completed;
  }

  // What became of a write that ended with `outcome`: an earlier try of it may have been done,
  // though its answer was lost. OK when the object is there, whole, and of this writer.
  absl::Status WasItMine(const absl::Status& outcome) {
    if (!outcome.ok() && !absl::IsAlreadyExists(outcome) && !absl::IsNotFound(outcome) &&
        !absl::IsUnavailable(outcome) && !absl::IsDeadlineExceeded(outcome)) {
      return outcome;  // Refused: not done.
    }
    const absl::StatusOr<HttpResponse> head = Head();
    if (!head.ok()) return outcome.ok() ? head.status() : outcome;
    if (head->Header(kWriterHeader) != writer_) {
      return absl::IsNotFound(outcome) ? outcome : absl::AlreadyExistsError("the name is taken");
    }
    if (head->Header("content-length") != Concat(bytes_)) {
      return absl::DataLossError(Concat(place_.Shown(name_), " has ",
                                        head->Header("content-length"), " bytes instead of ",
                                        bytes_));
    }
    return absl::OkStatus();
  }

  // For stores without conditions: two who look at the same time may still both write.
  absl::Status RequireFreeName() {
    const absl::Status head = Head().status();
    if (head.ok()) return absl::AlreadyExistsError("the name is taken");
    return absl::IsNotFound(head) ? absl::OkStatus() : head;
  }

  absl::StatusOr<HttpResponse> Head() {
    return Call({.operation = S3Operation::kHead, .method = "HEAD"});
  }

  absl::StatusOr<HttpResponse> Call(S3Request request) {
    request.key = place_.Key(name_);
    return place_.access.client().Call(place_.location, request);
  }

  Headers Metadata() const { return {{kCrcHeader, Concat(crc_)}, {kWriterHeader, writer_}}; }

  absl::Status Damaged() const {
    return absl::DataLossError("its scratch file is not what was written to it: the disk is bad");
  }

  const Place place_;
  const std::string name_;
  Scratch scratch_;
  std::string writer_;  // Unique: whose object it is.
  std::unique_ptr<WritableFile> file_;
  uint32_t crc_ = 0;
  uint64_t bytes_ = 0;
};

// Fetches one object into a scratch file, going on where a broken transfer ended.
class Fetch {
 public:
  Fetch(const Place& place, const std::string& name)
      : place_(place), name_(name), scratch_(place.access) {}

  absl::StatusOr<std::unique_ptr<ReadableFile>> Run() {
    MILLRACE_RETURN_IF_ERROR(Restart());
    const absl::StatusOr<HttpResponse> response = place_.access.client().Call(
        place_.location, {.operation = S3Operation::kGet,
                          .method = "GET",
                          .key = place_.Key(name_),
                          .sink = [this](const HttpResponse& head,
                                         std::string_view piece) { return Take(head, piece); },
                          .before_try =
                              [this](std::map<std::string, std::string>& headers) {
                                begins_ = true;
                                if (got_ == 0) return;
                                headers["range"] = Concat("bytes=", got_, "-");
                                if (!etag_.empty()) headers["if-match"] = etag_;
                              }});
    if (absl::IsAlreadyExists(response.status())) {
      return absl::DataLossError(Concat(place_.Shown(name_), " changed while it was read"));
    }
    if (!response.ok()) return response.status();
    const std::string crc = response->Header(kCrcHeader);
    if (total_.empty()) total_ = response->Header("content-length");  // There was no piece.
    if ((total_.empty() && crc.empty()) || (!total_.empty() && total_ != Concat(got_)) ||
        (!crc.empty() && crc != Concat(crc_))) {
      return absl::DataLossError(Concat(place_.Shown(name_), " is damaged: bytes=", got_, " of ",
                                        total_, ", checksum=", crc_, ", written as ", crc));
    }
    MILLRACE_RETURN_IF_ERROR(file_->Close());
    // The open file stays readable without its name.
    return scratch_.Open();
  }

 private:
  absl::Status Restart() {
    got_ = 0;
    crc_ = 0;
    MILLRACE_ASSIGN_OR_RETURN(file_, scratch_.Create());
    return absl::OkStatus();
  }

  absl::Status Take(const HttpResponse& head, std::string_view piece) {
    if (begins_) {
      begins_ = false;
      if (head.status == 206) {
        const std::string range = head.Header("content-range");
        if (!range.starts_with(Concat("bytes ", got_, "-"))) {
          return absl::InternalError(Concat("the store sent another range: ", range));
        }
      } else {
        // Whole, whatever was asked for.
        MILLRACE_RETURN_IF_ERROR(Restart());
        total_ = head.Header("content-length");
        etag_ = head.Header("etag");
      }
    }
    crc_ = Crc32c(piece, crc_);
    got_ += piece.size();
    return file_->Append(piece);
  }

  const Place& place_;
  const std::string& name_;
  Scratch scratch_;
  std::unique_ptr<WritableFile> file_;
  bool begins_ = true;  // Of a try: its first piece is still to come.
  uint64_t got_ = 0;
  uint32_t crc_ = 0;
  std::string total_;
  std::string etag_;
};

class S3Storage final : public CheckpointStorage {
 public:
  explicit S3Storage(Place place) : place_(std::move(place)) {}

  absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& name) override {
    MILLRACE_FAILPOINT("segment.before_create");
    MILLRACE_RETURN_IF_ERROR(CheckStorageName(name));
    auto writer = std::make_unique<S3Writer>(place_, name);
    MILLRACE_RETURN_IF_ERROR(
        Annotate(writer->Start(), Concat("cannot create a scratch file for ", name)));
    return writer;
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& name) override {
    MILLRACE_FAILPOINT("segment.before_read");
    MILLRACE_RETURN_IF_ERROR(CheckStorageName(name));
    absl::StatusOr<std::unique_ptr<ReadableFile>> file = Fetch(place_, name).Run();
    // Bits may have turned on the way: once more.
    if (absl::IsDataLoss(file.status())) file = Fetch(place_, name).Run();
    if (!file.ok()) return Annotate(file.status(), Concat("cannot open ", name));
    return file;
  }

  absl::StatusOr<std::vector<std::string>> List() override {
    std::vector<std::string> names;
    std::string next;
    do {
      S3Request request{
          .operation = S3Operation::kList,
          .method = "GET",
          .query = {{"list-type", "2"}, {"prefix", place_.Key("")}, {"delimiter", "/"}}};
      if (!next.empty()) request.query["continuation-token"] = next;
      MILLRACE_ASSIGN_OR_RETURN(const HttpResponse response, Call(request));
      MILLRACE_ASSIGN_OR_RETURN(S3Listing page, ParseS3Listing(response.body));
      if (!page.next.empty() && page.next == next) return Stuck();
      for (const std::string& key : page.keys) AddName(key, names);
      next = std::move(page.next);
    } while (!next.empty());
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::Status Remove(absl::Span<const std::string> names) override {
    for (const std::string& name : names) MILLRACE_RETURN_IF_ERROR(CheckStorageName(name));
    for (size_t at = 0; at < names.size(); at += kDeletedAtOnceMax) {
      MILLRACE_RETURN_IF_ERROR(RemoveBatch(names.subspan(at, kDeletedAtOnceMax)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<UnfinishedFile>> ListUnfinished() override {
    std::vector<UnfinishedFile> files;
    S3Upload next;
    do {
      S3Request request{.operation = S3Operation::kList,
                        .method = "GET",
                        .query = {{"uploads", ""}, {"prefix", place_.Key("")}, {"delimiter", "/"}}};
      if (!next.key.empty()) request.query["key-marker"] = next.key;
      if (!next.id.empty()) request.query["upload-id-marker"] = next.id;
      MILLRACE_ASSIGN_OR_RETURN(const HttpResponse response, Call(request));
      MILLRACE_ASSIGN_OR_RETURN(S3UploadListing page, ParseS3UploadListing(response.body));
      if (!page.next.key.empty() && page.next.key == next.key && page.next.id == next.id) {
        return Stuck();
      }
      for (const S3Upload& upload : page.uploads) {
        std::vector<std::string> names;
        AddName(upload.key, names);
        if (!names.empty()) files.push_back({.name = names.front(), .id = upload.id});
      }
      next = std::move(page.next);
    } while (!next.key.empty());
    return files;
  }

  absl::Status RemoveUnfinished(const UnfinishedFile& file) override {
    MILLRACE_RETURN_IF_ERROR(CheckStorageName(file.name));
    const absl::Status aborted = Call({.operation = S3Operation::kAbort,
                                       .method = "DELETE",
                                       .key = place_.Key(file.name),
                                       .query = {{"uploadId", file.id}}})
                                     .status();
    return absl::IsNotFound(aborted) ? absl::OkStatus() : aborted;
  }

 private:
  absl::StatusOr<HttpResponse> Call(const S3Request& request) {
    return place_.access.client().Call(place_.location, request);
  }

  absl::Status RemoveBatch(absl::Span<const std::string> names) {
    std::string body = "<Delete><Quiet>true</Quiet>";
    // Names have no character that XML would read otherwise.
    for (const std::string& name : names) {
      body += Concat("<Object><Key>", place_.Key(name), "</Key></Object>");
    }
    body += "</Delete>";
    MILLRACE_ASSIGN_OR_RETURN(const HttpResponse response,
                              Call({.operation = S3Operation::kDelete,
                                    .method = "POST",
                                    .query = {{"delete", ""}},
                                    .headers = {{"content-md5", Base64(Md5(body))}},
                                    .body = body}));
    return ParseS3Deletion(response.body);
  }

  // The name of a key of this folder; other keys are not ours.
  void AddName(std::string_view key, std::vector<std::string>& names) const {
    const std::string folder = place_.Key("");
    if (!key.starts_with(folder)) return;
    key.remove_prefix(folder.size());
    if (CheckStorageName(key).ok()) names.emplace_back(key);
  }

  absl::Status Stuck() const {
    return absl::InternalError(
        Concat("the list of s3://", place_.location.bucket, " does not go on"));
  }

  const Place place_;
};

absl::StatusOr<std::unique_ptr<CheckpointStorage>> Access::Open(std::string_view uri) {
  MILLRACE_ASSIGN_OR_RETURN(S3Location location, ParseS3Uri(uri));
  return std::make_unique<S3Storage>(Place{.access = *this, .location = std::move(location)});
}

}  // namespace

absl::StatusOr<std::shared_ptr<S3Access>> S3Access::Make(S3Options options,
                                                         std::string scratch_folder, Env env) {
  if (!options.environment.endpoint.empty() && !IsS3Endpoint(options.environment.endpoint)) {
    return absl::InvalidArgumentError(
        Concat("AWS_ENDPOINT_URL must be http[s]://HOST[:PORT]: ", options.environment.endpoint));
  }
  auto access = std::make_shared<Access>(std::move(options), std::move(scratch_folder), env);
  MILLRACE_RETURN_IF_ERROR(access->Start());
  return access;
}

void ExportS3Metrics(const S3Access& access, MetricsRegistry& registry) {
  registry.Add([&access](MetricsSink& sink) {
    for (size_t i = 0; i < kS3Operations; ++i) {
      const auto operation = static_cast<S3Operation>(i);
      const S3Counters& counters = access.counters(operation);
      if (counters.requests == 0) continue;
      const MetricLabels labels = {{"operation", std::string(NameOf(operation))}};
      const auto count = [&](std::string_view name, std::string_view help,
                             const std::atomic<uint64_t>& value) {
        sink.Counter(name, help, labels,
                     static_cast<double>(value.load(std::memory_order_relaxed)));
      };
      count("millrace_s3_requests_total", "Requests to S3, with those tried again.",
            counters.requests);
      count("millrace_s3_retries_total", "Requests to S3 that were tried again.", counters.retries);
      count("millrace_s3_failures_total", "Calls of S3 that failed in the end.", counters.failures);
      count("millrace_s3_sent_bytes_total", "Bytes that S3 has taken.", counters.bytes_sent);
      count("millrace_s3_received_bytes_total", "Bytes that came from S3.",
            counters.bytes_received);
      sink.Histogram("millrace_s3_request_duration_seconds", "Time of each request to S3.", labels,
                     counters.seconds);
    }
  });
}

}  // namespace millrace
