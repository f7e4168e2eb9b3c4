#include "operators/node_secrets.h"

#include <gmock/gmock.h>

#include <type_traits>

#include "operators/all_operators.h"
#include "runtime/base/log.h"
#include "tests/unit/checkpoint/memory_disk.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// It cannot be printed or logged.
template <typename T>
concept Printable = requires(std::ostream& out, const T& value) {
  out << value;
};
static_assert(!Printable<Secret>);
static_assert(!std::is_convertible_v<Secret, std::string>);
static_assert(!std::is_constructible_v<LogField, std::string_view, Secret>);

class NodeSecretsTest : public ::testing::Test {
 protected:
  NodeSecretsTest() {
    Write("/secrets/password", "geheim\n");
    Write("/secrets/user", "me\r\n");
    Write("/secrets/empty", "");
    Write("/secrets/long", std::string(100 << 10, 'x'));
    Write("/outside", "never");
  }
  void Write(const std::string& path, const std::string& text) {
    auto file = disk_.Create(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Append(text).ok());
    ASSERT_TRUE((*file)->Close().ok());
  }
  static v1::Node Source(const std::string& value) {
    v1::Node node;
    node.set_uid("in");
    node.mutable_source()->set_connector("kafka");
    (*node.mutable_source()->mutable_options())["properties.sasl.password"] = value;
    return node;
  }
  std::string Problem(const std::string& value) {
    const v1::Node node = Source(value);
    const auto made = NodeWithSecrets::Make(node, *secrets_);
    EXPECT_EQ(made.status().code(), absl::StatusCode::kFailedPrecondition);
    return std::string(made.status().message());
  }

  MemoryDisk disk_;
  const std::unique_ptr<SecretStore> secrets_ = OpenSecretFolder("/secrets", disk_);
};

TEST_F(NodeSecretsTest, PlacesInStoresKeepTheirReferences) {
  const std::string place = "s3://bucket/x?access-key-id=${secret:user}";
  const v1::Node node = Source(place);
  const auto made = NodeWithSecrets::Make(node, *secrets_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->node().source().options().at("properties.sasl.password"), place);
}

TEST_F(NodeSecretsTest, PutsTheTextInWhereTheConnectorIsMade) {
  const v1::Node node = Source("${secret:user}:${secret:password}${secret:empty}!");
  const auto made = NodeWithSecrets::Make(node, *secrets_);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->node().source().options().at("properties.sasl.password"), "me:geheim!");
  EXPECT_EQ(made->node().uid(), "in");
  const absl::Status redacted =
      made->Redact(absl::InvalidArgumentError("geheim: 'me' cannot have geheim"));
  EXPECT_EQ(redacted.message(), "***: '***' cannot have ***");
}

TEST_F(NodeSecretsTest, LeavesOtherNodesAlone) {
  const v1::Node node = Source("plain");
  const auto made = NodeWithSecrets::Make(node, *secrets_);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(&made->node(), &node);
}

TEST_F(NodeSecretsTest, SaysWhatIsMissing) {
  EXPECT_THAT(Problem("${secret:other}"),
              HasSubstr("option 'properties.sasl.password': secret 'other' is not there: no such "
                        "file in /secrets"));
  EXPECT_THAT(Problem("${secret:../outside}"), HasSubstr("no name of a secret"));
  EXPECT_THAT(Problem("${secret:..}"), HasSubstr("no name of a secret"));
  EXPECT_THAT(Problem("${secret:}"), HasSubstr("no name of a secret"));
  EXPECT_THAT(Problem("${secret:long}"), HasSubstr("larger than 64 KiB"));
  const v1::Node node = Source("${secret:password}");
  EXPECT_THAT(std::string(AllNodes().MakeSource(node).status().message()),
              HasSubstr("this process has none"));
}

TEST_F(NodeSecretsTest, FailuresOfConnectorsDoNotTellSecrets) {
  v1::Node node = Source("x");
  auto& options = *node.mutable_source()->mutable_options();
  options["properties.bootstrap.servers"] = "b:9092";
  options["topic"] = "t";
  options["scan.startup.mode"] = "${secret:password}";
  const auto nodes = AllNodesWith(*secrets_);
  const auto source = nodes->MakeSource(node);
  ASSERT_FALSE(source.ok());
  EXPECT_THAT(std::string(source.status().message()), HasSubstr("***"));
  EXPECT_THAT(std::string(source.status().message()), Not(HasSubstr("geheim")));
}

}  // namespace
}  // namespace millrace
