#include "runtime/checkpoint/s3/s3_storage.h"

#include <atomic>
#include <map>

#include "coordinator/checkpoint_files.h"
#include "runtime/checkpoint/manifest.h"
#include "tests/integration/s3/fault_proxy.h"
#include "tests/integration/s3/s3_fixture.h"
#include "tests/unit/checkpoint/storage_conformance.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct MadeInS3 {
  explicit MadeInS3(const std::string& url) : fixture(OptionsFor(url), TestEnv()) {}
  Fixture fixture;
  std::unique_ptr<CheckpointStorage> storage = fixture.Open(NewPrefix());
};

StorageMaker On(const char* name, const char* variable) {
  return {name, [variable] {
            const std::string url = ServerUrl(variable);
            static std::map<std::string, bool>* const kMade = new std::map<std::string, bool>;
            if (!(*kMade)[url]) MakeBucket(url);
            (*kMade)[url] = true;
            auto made = std::make_shared<MadeInS3>(url);
            return std::shared_ptr<CheckpointStorage>(made, made->storage.get());
          }};
}

INSTANTIATE_TEST_SUITE_P(S3, StorageConformance,
                         ::testing::Values(On("SeaweedFS", "MILLRACE_TEST_S3"),
                                           On("moto", "MILLRACE_TEST_MOTO")),
                         [](const auto& info) { return info.param.name; });

// Behind a proxy that fails.
class S3StorageTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { MakeBucket(ServerUrl("MILLRACE_TEST_S3")); }

  static int ServerPort() {
    const std::string url = ServerUrl("MILLRACE_TEST_S3");
    return std::stoi(url.substr(url.rfind(':') + 1));
  }

  // The first `times` requests that begin with `method` and contain `part` have `fault`.
  void Fail(Fault fault, const std::string& method, const std::string& part, int times = 1) {
    auto left = std::make_shared<std::atomic<int>>(times);
    proxy_.SetPlan([=](const std::string& line) {
      if (!line.starts_with(method + " ") || line.find(part) == std::string::npos) {
        return Fault::kNone;
      }
      return left->fetch_sub(1) > 0 ? fault : Fault::kNone;
    });
  }

  absl::Status Write(const std::string& name, std::string_view bytes) {
    auto writer = storage_->Create(name).value();
    if (absl::Status status = writer->Append(bytes); !status.ok()) return status;
    return writer->Publish();
  }
  std::string Read(const std::string& name) {
    const auto file = storage_->Open(name);
    if (!file.ok()) return file.status().ToString();
    std::string bytes((*file)->size(), '\0');
    EXPECT_TRUE((*file)->Read(0, bytes.size(), bytes.data()).ok());
    return bytes;
  }
  uint64_t Retries(S3Operation operation) { return fixture_.access().counters(operation).retries; }

  FaultProxy proxy_{ServerPort()};
  Fixture fixture_{OptionsFor(proxy_.url()), TestEnv()};
  const std::unique_ptr<CheckpointStorage> storage_ = fixture_.Open(NewPrefix());
  const std::string large_ = std::string(11 << 20, 'x') + "end";
};

TEST_F(S3StorageTest, EveryFaultOfAWriteIsOvercome) {
  ASSERT_TRUE(Write("warm", "up").ok());  // From here on the condition is known to be obeyed.
  int number = 0;
  for (const Fault fault : {Fault::kServerError, Fault::kSlowDown, Fault::kDropRequest,
                            Fault::kLoseReply, Fault::kCutReply, Fault::kStall}) {
    const std::string name = "f" + std::to_string(++number);
    SCOPED_TRACE(name);
    Fail(fault, "PUT", name);
    const absl::Status written = Write(name, "content of " + name);
    EXPECT_TRUE(written.ok()) << written;
    EXPECT_EQ(Read(name), "content of " + name);
    // It was done, and the reply lost: still taken.
    EXPECT_EQ(Write(name, "content of " + name).code(), absl::StatusCode::kAlreadyExists);
  }
  EXPECT_GE(Retries(S3Operation::kPut), 6u);
  EXPECT_EQ(fixture_.scratch_files(), 0u);
}

TEST_F(S3StorageTest, EveryFaultOfAnUploadInPartsIsOvercome) {
  ASSERT_TRUE(Write("warm", "up").ok());
  int number = 0;
  const std::pair<const char*, const char*> steps[] = {
      {"POST", "uploads="}, {"PUT", "partNumber=2"}, {"POST", "uploadId="}};
  for (const auto& [method, part] : steps) {
    for (const Fault fault : {Fault::kServerError, Fault::kDropRequest, Fault::kLoseReply,
                              Fault::kCutReply, Fault::kErrorInSuccess}) {
      if (fault == Fault::kErrorInSuccess && std::string_view(part) != "uploadId=") continue;
      const std::string name = "m" + std::to_string(++number);
      SCOPED_TRACE(std::string(part) + " " + std::to_string(static_cast<int>(fault)));
      Fail(fault, method, part);
      const absl::Status written = Write(name, large_);
      EXPECT_TRUE(written.ok()) << written;
      EXPECT_EQ(Read(name) == large_, true);
    }
  }
}

TEST_F(S3StorageTest, BrokenReadsGoOnWhereTheyEnded) {
  ASSERT_TRUE(Write("a", large_).ok());
  // An answer of which not even the headers are whole must not be taken for an empty file.
  ASSERT_TRUE(Write("small", "x").ok());
  Fail(Fault::kCutReply, "GET", "/small");
  EXPECT_EQ(Read("small"), "x");
  for (const Fault fault : {Fault::kServerError, Fault::kDropRequest, Fault::kCutReply}) {
    const uint64_t before = fixture_.access().counters(S3Operation::kGet).bytes_received;
    Fail(fault, "GET", "/a");
    EXPECT_EQ(Read("a") == large_, true);
    const uint64_t received = fixture_.access().counters(S3Operation::kGet).bytes_received - before;
    EXPECT_GE(received, large_.size());
    EXPECT_LT(received, large_.size() + 1000);  // With the body of an error.
  }
}

TEST_F(S3StorageTest, DamageOnTheWayIsNoticed) {
  ASSERT_TRUE(Write("a", "some content").ok());
  Fail(Fault::kDamageReply, "GET", "/a");
  EXPECT_EQ(Read("a"), "some content");  // Read again.
  Fail(Fault::kDamageReply, "GET", "/a", /*times=*/1000);
  const absl::Status status = storage_->Open("a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.ToString(), HasSubstr("/a is damaged"));
}

TEST_F(S3StorageTest, AStoreThatStaysAwayIsUnavailable) {
  Fail(Fault::kSlowDown, "PUT", "", /*times=*/1'000'000);
  const absl::Status status = Write("a", "x");
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), HasSubstr("tried 10 times"));
  EXPECT_THAT(status.ToString(), HasSubstr("SlowDown"));
  EXPECT_THAT(*storage_->List(), IsEmpty());
  EXPECT_EQ(fixture_.access().counters(S3Operation::kPut).failures, 1u);
}

// The store has it, and every answer was lost: what is there decides.
TEST_F(S3StorageTest, AWriteThatWasDoneWithoutAnAnswerIsFound) {
  ASSERT_TRUE(Write("warm", "up").ok());
  Fail(Fault::kLoseReply, "PUT", "/a", /*times=*/1000);
  EXPECT_TRUE(Write("a", "x").ok());
  Fail(Fault::kLoseReply, "POST", "uploadId=", /*times=*/1000);
  EXPECT_TRUE(Write("b", large_).ok());
  EXPECT_EQ(Read("a"), "x");
  EXPECT_EQ(Read("b") == large_, true);
}

TEST_F(S3StorageTest, AFailedUploadLeavesNothing) {
  Fail(Fault::kServerError, "PUT", "partNumber=2", /*times=*/1000);
  EXPECT_EQ(Write("a", large_).code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(*storage_->List(), IsEmpty());
  EXPECT_THAT(*storage_->ListUnfinished(), IsEmpty());
}

// A process that died between parts: what it left is found and removed.
TEST_F(S3StorageTest, ADeadUploadIsListedAndRemoved) {
  proxy_.SetPlan([](const std::string& line) {
    if (line.starts_with("DELETE ")) return Fault::kDropRequest;
    return line.find("partNumber=2") != std::string::npos ? Fault::kServerError : Fault::kNone;
  });
  EXPECT_FALSE(Write("g1-a1.window.delta.e3.n0", large_).ok());
  proxy_.SetPlan(nullptr);
  const auto unfinished = storage_->ListUnfinished().value();
  ASSERT_EQ(unfinished.size(), 1u);
  EXPECT_EQ(unfinished[0].name, "g1-a1.window.delta.e3.n0");
  ASSERT_TRUE(storage_->RemoveUnfinished(unfinished[0]).ok());
  ASSERT_TRUE(storage_->RemoveUnfinished(unfinished[0]).ok());  // May be said twice.
  EXPECT_THAT(*storage_->ListUnfinished(), IsEmpty());
}

TEST_F(S3StorageTest, TheSweepLeavesNoOrphans) {
  const StoragePlaces places{&fixture_.env().disk, fixture_.shared_access()};
  const std::string uri = std::string("s3://") + kBucket + "/" + NewPrefix();
  auto storage = OpenCheckpointStorage(uri, places).value();
  const auto write = [&](const std::string& name, std::string_view bytes) {
    auto writer = storage->Create(name).value();
    return writer->Append(bytes).ok() && writer->Publish().ok();
  };
  ASSERT_TRUE(write("g1-a1.w.delta.e1.n0", "old"));
  ASSERT_TRUE(write("g1-a1.w.delta.e9.n0", "of a later epoch"));
  proxy_.SetPlan([](const std::string& line) {
    if (line.starts_with("DELETE ")) return Fault::kDropRequest;
    return line.find("partNumber=2") != std::string::npos ? Fault::kServerError : Fault::kNone;
  });
  EXPECT_FALSE(write("g1-a1.w.base.e2.n0", large_));
  proxy_.SetPlan(nullptr);
  v1::Manifest manifest;
  manifest.set_format(kManifestFormat);
  manifest.set_generation(1);
  manifest.set_epoch(3);
  const v1::EpochRecord record = StoreManifest(uri, places, manifest, 1).value();
  const absl::Time now = absl::UnixEpoch();
  SweepResult sweep = SweepFiles(uri, places, {record}, now, absl::Minutes(1), {});
  ASSERT_TRUE(sweep.status.ok()) << sweep.status;
  EXPECT_EQ(sweep.removed, 0u);  // Not yet.
  sweep = SweepFiles(uri, places, {record}, now + absl::Minutes(2), absl::Minutes(1),
                     std::move(sweep.unreferenced));
  ASSERT_TRUE(sweep.status.ok()) << sweep.status;
  EXPECT_EQ(sweep.removed, 2u);
  EXPECT_THAT(*storage->List(), ::testing::ElementsAre("g1-a1.manifest.e3", "g1-a1.w.delta.e9.n0"));
  EXPECT_THAT(*storage->ListUnfinished(), IsEmpty());
}

TEST_F(S3StorageTest, SavepointsGoToTheStoreAndBack) {
  const StoragePlaces places{&fixture_.env().disk, fixture_.shared_access()};
  const std::string base = std::string("s3://") + kBucket + "/" + NewPrefix();
  const std::string uri = StorageUriBelow(base, "job-1");
  v1::Manifest manifest;
  manifest.set_job_id("job-1");
  manifest.set_format(kManifestFormat);
  manifest.set_generation(1);
  manifest.set_epoch(3);
  v1::Segment segment;
  segment.set_name("g1-a1.w.delta.e3.n0");
  segment.set_uid("w");
  segment.set_kind(v1::Segment::KIND_STATE_DELTA);
  segment.set_epoch(3);
  {
    auto storage = OpenCheckpointStorage(uri, places).value();
    auto writer = SegmentWriter::Create(*storage, segment).value();
    ASSERT_TRUE(writer->Append("a record").ok());
    segment = writer->Publish().value();
  }
  *manifest.add_tasks()->add_nodes()->add_state() = segment;
  const v1::EpochRecord record = StoreManifest(uri, places, manifest, 1).value();
  const std::string options = "?endpoint=" + proxy_.url();
  const std::string savepoint =
      ExportSavepoint(uri, places, record, base + "/savepoints" + options).value();
  EXPECT_EQ(savepoint, base + "/savepoints/job-1-e3" + options);
  EXPECT_EQ(ReadSavepoint(base + "/nothing", places).status().code(), absl::StatusCode::kNotFound);
  const std::string other = StorageUriBelow(base, "job-2");
  const auto imported = ImportSavepoint(savepoint, places, other, "job-2", 2, 0);
  ASSERT_TRUE(imported.ok()) << imported.status();
  const v1::Manifest read = LoadManifest(other, places, *imported).value();
  auto storage = OpenCheckpointStorage(other, places).value();
  int records = 0;
  ASSERT_TRUE(ReadSegment(*storage, read.tasks(0).nodes(0).state(0), [&](std::string_view bytes) {
                records += bytes == "a record";
                return absl::OkStatus();
              }).ok());
  EXPECT_EQ(records, 1);
}

TEST_F(S3StorageTest, ListsGoOverPages) {
  std::vector<std::string> names;
  for (int i = 0; i < 1100; ++i) names.push_back("n" + std::to_string(10'000 + i));
  for (const std::string& name : names) ASSERT_TRUE(Write(name, "x").ok());
  EXPECT_EQ(*storage_->List(), names);
  ASSERT_TRUE(storage_->Remove(names).ok());
  EXPECT_THAT(*storage_->List(), IsEmpty());
}

TEST_F(S3StorageTest, SaysWhatAPersonMustChange) {
  const std::string url = ServerUrl("MILLRACE_TEST_S3");
  const auto error = [](S3Options options, const std::string& uri) {
    options.retry_time = absl::Milliseconds(200);
    Fixture fixture(std::move(options), TestEnv());
    return TryStorage(*fixture.access().Open(uri).value(), 1).ToString();
  };
  const std::string place = std::string("s3://") + kBucket + "/x";
  EXPECT_THAT(error(OptionsFor(ServerUrl("MILLRACE_TEST_MOTO")), "s3://no-such-bucket/x"),
              HasSubstr("make the bucket no-such-bucket"));
  S3Options options = OptionsFor(url);
  options.environment.secret_access_key = Secret("wrong");
  EXPECT_THAT(error(options, place), HasSubstr("check AWS_ACCESS_KEY_ID"));
  options.environment = {
      .access_key_id = "reader-key", .secret_access_key = Secret("reader-secret"), .endpoint = url};
  EXPECT_THAT(error(options, place), HasSubstr("the key needs s3:GetObject"));
  options.environment.access_key_id = "";
  EXPECT_THAT(error(options, place), HasSubstr("set AWS_ACCESS_KEY_ID"));
  EXPECT_THAT(error(OptionsFor(url), place + "?access-key-id=${secret:a}"
                                             "&secret-access-key=${secret:b}"),
              HasSubstr("no folder of secrets"));
  EXPECT_THAT(error(OptionsFor("http://127.0.0.1:9"), place), HasSubstr("onnect"));
}

TEST_F(S3StorageTest, KeysComeFromSecrets) {
  char folder[] = "/tmp/millrace-secrets-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  Disk& disk = fixture_.env().disk;
  ASSERT_TRUE(disk.WriteAtomically(std::string(folder) + "/id", "test-key").ok());
  ASSERT_TRUE(disk.WriteAtomically(std::string(folder) + "/key", "test-secret\n").ok());
  const auto secrets = OpenSecretFolder(folder, disk);
  S3Options options = OptionsFor(ServerUrl("MILLRACE_TEST_S3"));
  options.environment.access_key_id = "";
  options.secrets = secrets.get();
  Fixture fixture(options, TestEnv());
  const auto storage =
      fixture.Open(NewPrefix() + "?access-key-id=${secret:id}&secret-access-key=${secret:key}");
  const absl::Status tried = TryStorage(*storage, 1);
  EXPECT_TRUE(tried.ok()) << tried;
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace millrace
