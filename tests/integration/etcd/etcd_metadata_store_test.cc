#include "coordinator/metadata/etcd_metadata_store_rpc.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>

#include "tests/unit/coordinator/metadata_store_suite.h"

namespace millrace {
namespace {

using testing::HasSubstr;

std::string Endpoint() {
  const char* endpoint = std::getenv("MILLRACE_TEST_ETCD");
  return endpoint == nullptr ? "" : endpoint;
}

// A prefix of its own for each store.
absl::StatusOr<std::unique_ptr<MetadataStore>> OpenEtcd(const std::string&) {
  static std::atomic<int> next{0};
  if (Endpoint().empty()) {
    return absl::FailedPreconditionError("MILLRACE_TEST_ETCD is not set; see dev/services");
  }
  return OpenEtcdMetadataStore(
      "etcd://" + Endpoint() + "/test-" + std::to_string(getpid()) + "-" + std::to_string(next++),
      {});
}

INSTANTIATE_TEST_SUITE_P(Etcd, MetadataStoreTest,
                         testing::Values(Implementation{"Etcd", &OpenEtcd}),
                         [](const auto& info) { return info.param.name; });

TEST(EtcdMetadataStoreTest, KeepsToItsPrefix) {
  const std::string prefix = "etcd://" + Endpoint() + "/prefix-" + std::to_string(getpid());
  auto a = OpenEtcdMetadataStore(prefix + "/a", {}).value();
  auto ab = OpenEtcdMetadataStore(prefix + "/ab", {}).value();
  ASSERT_TRUE(a->CreateIfAbsent("k", "1", {}).ok());
  EXPECT_TRUE(absl::IsNotFound(ab->Get("k").status()));
  ASSERT_TRUE(ab->CreateIfAbsent("k", "2", {}).ok());
  EXPECT_EQ(a->List("")->size(), 1u);
  EXPECT_EQ(a->List("k")->at(0).key, "k");
}

TEST(EtcdMetadataStoreTest, AValueThatEtcdRefusesIsAnArgumentErrorNotAnOutage) {
  auto store = OpenEtcd("").value();
  for (const size_t bytes : {size_t{7} << 18, size_t{3} << 20}) {  // Two limits of etcd.
    const auto created = store->CreateIfAbsent("k", std::string(bytes, 'v'), {});
    EXPECT_TRUE(absl::IsInvalidArgument(created.status())) << created.status();
    EXPECT_THAT(std::string(created.status().message()), HasSubstr("large"));
  }
}

TEST(EtcdMetadataStoreTest, AnEndpointThatIsAwayIsLeftForTheNext) {
  auto store = OpenEtcdMetadataStore(
                   "etcd://127.0.0.1:1," + Endpoint() + "/away-" + std::to_string(getpid()), {})
                   .value();
  EXPECT_TRUE(absl::IsNotFound(store->Get("k").status()));
  EXPECT_TRUE(store->CreateIfAbsent("k", "1", {}).ok());
}

TEST(EtcdMetadataStoreTest, WithoutAnyEndpointReadsAreUnavailableAndWritesUnknown) {
  auto store = OpenEtcdMetadataStore("etcd://127.0.0.1:1/p", {}).value();
  EXPECT_TRUE(absl::IsUnavailable(store->Get("k").status()));
  EXPECT_TRUE(absl::IsUnavailable(store->List("").status()));
  EXPECT_TRUE(absl::IsUnknown(store->CreateIfAbsent("k", "1", {}).status()));
  EXPECT_TRUE(absl::IsUnknown(store->Delete("k", {})));
}

TEST(EtcdMetadataStoreTest, UrisAreChecked) {
  for (const char* uri : {"", "http://h:1/p", "etcd://h:1", "etcd://h:1/", "etcd:///p",
                          "etcd://h/p", "etcd://h:1,/p"}) {
    const auto store = OpenEtcdMetadataStore(uri, {});
    ASSERT_TRUE(absl::IsInvalidArgument(store.status())) << uri;
    EXPECT_THAT(std::string(store.status().message()), HasSubstr("etcd://HOST:PORT"));
  }
}

}  // namespace
}  // namespace millrace
