// A server of dev/services, and a process's way to it.
//
// Threading: as what it makes. Ownership: a fixture owns its access and its scratch files.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "runtime/base/check.h"
#include "runtime/base/real_env.h"
#include "runtime/checkpoint/s3/s3_storage.h"

namespace millrace {

inline constexpr char kBucket[] = "millrace-test";

// "http://127.0.0.1:PORT" of the server that `variable` names (dev/services).
inline std::string ServerUrl(const char* variable) {
  const char* url = std::getenv(variable);
  MILLRACE_CHECK(url != nullptr && "MILLRACE_TEST_S3 and MILLRACE_TEST_MOTO: see dev/services");
  return url;
}

inline S3Options OptionsFor(const std::string& endpoint) {
  S3Options options;
  options.environment = {.access_key_id = "test-key",
                         .secret_access_key = Secret("test-secret"),
                         .endpoint = endpoint};
  options.part_bytes = 5 << 20;
  options.http.stall_timeout = absl::Seconds(1);
  options.pause_min = absl::Milliseconds(1);
  options.pause_max = absl::Milliseconds(20);
  options.retry_time = absl::Seconds(20);
  options.tries_max = 10;
  return options;
}

// One process's way to a server, over a scratch folder of its own.
class Fixture {
 public:
  explicit Fixture(S3Options options, RealEnv& real_env) : env_(real_env.env()) {
    char folder[] = "/tmp/millrace-s3-XXXXXX";
    MILLRACE_CHECK(mkdtemp(folder) != nullptr);
    folder_ = folder;
    access_ = S3Access::Make(std::move(options), folder_ + "/scratch", env_).value();
  }
  ~Fixture() { std::filesystem::remove_all(folder_); }

  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  std::unique_ptr<CheckpointStorage> Open(const std::string& prefix) {
    return access_->Open(std::string("s3://") + kBucket + "/" + prefix).value();
  }
  S3Access& access() { return *access_; }
  std::shared_ptr<S3Access> shared_access() { return access_; }
  Env& env() { return env_; }
  size_t scratch_files() const {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(folder_ + "/scratch"), {}));
  }

 private:
  Env env_;
  std::string folder_;
  std::shared_ptr<S3Access> access_;
};

// Static: its threads end with the process.
inline RealEnv& TestEnv() {
  static RealEnv* const kEnv = new RealEnv({.io_threads = 2});
  return *kEnv;
}

inline void MakeBucket(const std::string& url) {
  S3Client client(OptionsFor(url), TestEnv().env().clock, TestEnv().env().random);
  const absl::Status made = client
                                .Call(ParseS3Uri(std::string("s3://") + kBucket).value(),
                                      {.operation = S3Operation::kPut, .method = "PUT"})
                                .status();
  // 409 is tried again in vain: it is there.
  MILLRACE_CHECK(made.ok() || made.ToString().find("BucketAlready") != std::string::npos);
}

inline std::string NewPrefix() {
  static std::atomic<int> next{0};
  return "p" + std::to_string(getpid()) + "-" + std::to_string(next++);
}

}  // namespace millrace
