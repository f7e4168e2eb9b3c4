#include "coordinator/metadata/etcd_metadata_store_rpc.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "etcd/etcd.grpc.pb.h"
#include "runtime/base/status_macros.h"
#include "runtime/security/channel_credentials_rpc.h"

namespace millrace {
namespace {

// A call that takes longer counts as lost: a leader must know before its lease runs out.
constexpr std::chrono::milliseconds kCallTimeout{2000};
constexpr int kMessageBytesMax = 64 << 20;
constexpr int64_t kPageEntries = 500;

using etcdserverpb::Compare;

// Another endpoint may do better.
bool IsOutage(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNKNOWN:
      return true;
    default:
      return false;
  }
}

absl::Status StatusOfCall(const grpc::Status& status, bool is_write) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat("etcd: ", status.error_message());
  if (IsOutage(status)) {
    return is_write ? absl::UnknownError(message) : absl::UnavailableError(message);
  }
  // Below or above its gRPC limit, etcd says the same by different codes.
  if (absl::StrContains(message, "larger than max")) return absl::InvalidArgumentError(message);
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), message);
}

class EtcdMetadataStore final : public MetadataStore {
 public:
  explicit EtcdMetadataStore(std::string prefix) : prefix_(std::move(prefix)) {}

  void AddEndpoint(std::shared_ptr<grpc::Channel> channel) {
    stubs_.push_back(etcdserverpb::KV::NewStub(std::move(channel)));
  }

  absl::StatusOr<uint64_t> CreateIfAbsent(const std::string& key, const std::string& value,
                                          const Guards& guards) override {
    MILLRACE_RETURN_IF_ERROR(CheckMetadataLimits(key, value));
    etcdserverpb::TxnRequest request;
    Compare& absent = *request.add_compare();
    absent.set_target(Compare::CREATE);
    absent.set_key(prefix_ + key);
    absent.set_create_revision(0);
    MILLRACE_ASSIGN_OR_RETURN(const auto response, Write(std::move(request), key, &value, guards));
    if (response.succeeded()) return static_cast<uint64_t>(response.header().revision());
    MILLRACE_RETURN_IF_ERROR(CheckGuards(response, guards));
    return absl::AlreadyExistsError(absl::StrCat("key exists: ", key));
  }

  absl::StatusOr<uint64_t> CompareAndSwap(const std::string& key, uint64_t version,
                                          const std::string& value, const Guards& guards) override {
    MILLRACE_RETURN_IF_ERROR(CheckMetadataLimits(key, value));
    etcdserverpb::TxnRequest request;
    AddVersion({.key = key, .version = version}, request);
    MILLRACE_ASSIGN_OR_RETURN(const auto response, Write(std::move(request), key, &value, guards));
    if (response.succeeded()) return static_cast<uint64_t>(response.header().revision());
    MILLRACE_RETURN_IF_ERROR(CheckGuards(response, guards));
    if (response.responses(0).response_range().kvs().empty()) {
      return absl::NotFoundError(absl::StrCat("no such key: ", key));
    }
    return absl::AbortedError(absl::StrCat("another version is there: key=", key));
  }

  absl::Status Delete(const std::string& key, const Guards& guards) override {
    MILLRACE_ASSIGN_OR_RETURN(const auto response, Write({}, key, nullptr, guards));
    return response.succeeded() ? absl::OkStatus() : CheckGuards(response, guards);
  }

  absl::StatusOr<MetadataEntry> Get(const std::string& key) override {
    etcdserverpb::RangeRequest request;
    request.set_key(prefix_ + key);
    MILLRACE_ASSIGN_OR_RETURN(const auto response, Range(request));
    if (response.kvs().empty()) return absl::NotFoundError(absl::StrCat("no such key: ", key));
    return EntryOf(response.kvs(0));
  }

  absl::StatusOr<std::vector<MetadataEntry>> List(const std::string& prefix) override {
    std::vector<MetadataEntry> found;
    etcdserverpb::RangeRequest request;
    request.set_key(prefix_ + prefix);
    request.set_range_end(EndOfPrefix(prefix_ + prefix));
    request.set_limit(kPageEntries);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const auto response, Range(request));
      for (const auto& pair : response.kvs()) found.push_back(EntryOf(pair));
      if (!response.more()) return found;
      // All pages as of one moment.
      request.set_revision(response.header().revision());
      request.set_key(response.kvs().rbegin()->key() + '\0');
    }
  }

  bool exclusive() const override { return false; }

 private:
  MetadataEntry EntryOf(const etcdserverpb::KeyValue& pair) const {
    return {.key = pair.key().substr(prefix_.size()),
            .value = pair.value(),
            .version = static_cast<uint64_t>(pair.mod_revision())};
  }

  void AddVersion(const MetadataGuard& guard, etcdserverpb::TxnRequest& request) const {
    Compare& same = *request.add_compare();
    same.set_target(Compare::MOD);
    same.set_key(prefix_ + guard.key);
    same.set_mod_revision(static_cast<int64_t>(guard.version));
  }

  // Deletes when there is no `value`. A transaction that is refused reads the key and the guards,
  // so that the reason is of the same moment.
  absl::StatusOr<etcdserverpb::TxnResponse> Write(etcdserverpb::TxnRequest request,
                                                  const std::string& key, const std::string* value,
                                                  const Guards& guards) {
    for (const MetadataGuard& guard : guards) AddVersion(guard, request);
    if (value == nullptr) {
      request.add_success()->mutable_request_delete_range()->set_key(prefix_ + key);
    } else {
      auto& put = *request.add_success()->mutable_request_put();
      put.set_key(prefix_ + key);
      put.set_value(*value);
    }
    request.add_failure()->mutable_request_range()->set_key(prefix_ + key);
    for (const MetadataGuard& guard : guards) {
      request.add_failure()->mutable_request_range()->set_key(prefix_ + guard.key);
    }
    etcdserverpb::TxnResponse response;
    const grpc::Status status = Call([&](etcdserverpb::KV::Stub& stub, grpc::ClientContext* call) {
      return stub.Txn(call, request, &response);
    });
    MILLRACE_RETURN_IF_ERROR(StatusOfCall(status, /*is_write=*/true));
    if (!response.succeeded() && response.responses_size() != request.failure_size()) {
      return absl::InternalError("etcd: a refused transaction without its reads");
    }
    return response;
  }

  // Of a refused transaction. kAborted: a guard does not hold.
  static absl::Status CheckGuards(const etcdserverpb::TxnResponse& response, const Guards& guards) {
    for (size_t i = 0; i < guards.size(); ++i) {
      const auto& read = response.responses(static_cast<int>(i) + 1).response_range();
      if (read.kvs().empty() ||
          read.kvs(0).mod_revision() != static_cast<int64_t>(guards[i].version)) {
        return absl::AbortedError(absl::StrCat("guard has another version: key=", guards[i].key));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<etcdserverpb::RangeResponse> Range(const etcdserverpb::RangeRequest& request) {
    grpc::Status status;
    for (size_t attempt = 0; attempt < stubs_.size(); ++attempt) {
      etcdserverpb::RangeResponse response;
      status = Call([&](etcdserverpb::KV::Stub& stub, grpc::ClientContext* call) {
        return stub.Range(call, request, &response);
      });
      if (status.ok()) return response;
      if (!IsOutage(status)) break;
    }
    return StatusOfCall(status, /*is_write=*/false);
  }

  // The next call goes to the next endpoint after an outage of this one.
  template <typename Run>
  grpc::Status Call(Run run) {
    const size_t at = endpoint_.load(std::memory_order_relaxed);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    const grpc::Status status = run(*stubs_[at % stubs_.size()], &context);
    if (IsOutage(status)) {
      size_t expected = at;
      endpoint_.compare_exchange_strong(expected, at + 1, std::memory_order_relaxed);
    }
    return status;
  }

  const std::string prefix_;
  std::vector<std::unique_ptr<etcdserverpb::KV::Stub>> stubs_;  // Constant once open.
  std::atomic<size_t> endpoint_{0};                             // Relaxed: any endpoint will do.
};

absl::Status NotAUri(const std::string& uri) {
  return absl::InvalidArgumentError(absl::StrCat("not the URI of an etcd: ", uri,
                                                 "; write etcd://HOST:PORT[,HOST:PORT...]/PREFIX"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenEtcdMetadataStore(
    const std::string& uri, const ClientSecurity& security) {
  std::string_view rest = uri;
  if (!rest.starts_with("etcd://")) return NotAUri(uri);
  rest.remove_prefix(7);
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos || slash + 1 == rest.size()) return NotAUri(uri);
  std::string prefix(rest.substr(slash + 1));
  if (prefix.back() != '/') prefix += '/';
  auto store = std::make_unique<EtcdMetadataStore>(std::move(prefix));
  const std::vector<std::string> endpoints =
      absl::StrSplit(std::string(rest.substr(0, slash)), ',');
  for (const std::string& endpoint : endpoints) {
    if (endpoint.find(':') == std::string::npos) return NotAUri(uri);
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMessageBytesMax);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
    MILLRACE_ASSIGN_OR_RETURN(const auto credentials, MakeChannelCredentials(security, arguments));
    store->AddEndpoint(grpc::CreateCustomChannel(endpoint, credentials, arguments));
  }
  return store;
}

}  // namespace millrace
