// Encrypted connections of the real network, and those that must not come about.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "absl/synchronization/notification.h"
#include "runtime/base/real_env.h"
#include "tests/unit/base/test_certificates.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);

std::unique_ptr<RealEnv> Process(const TlsFiles& files) {
  auto tls = TlsContext::Make(files);
  EXPECT_TRUE(tls.ok()) << tls.status();
  return std::make_unique<RealEnv>(RealEnvOptions{.io_threads = 1, .tls = *std::move(tls)});
}

// What one try to talk came to: an answer, or why there was none.
struct Talk {
  std::string answer;
  absl::Status closed;
};

// `client` sends a frame of `bytes`, `server` answers with its size and last byte.
Talk TryToTalk(RealEnv& server, RealEnv& client, size_t bytes) {
  Talk talk;
  absl::Notification done;
  auto listener = server.env().network.Listen("127.0.0.1:0", [](auto connection) {
    std::weak_ptr<Connection> weak = connection;
    return ConnectionHandlers{.on_frame = [weak](BufferPtr frame) {
      const std::string_view text = frame->view();
      if (auto open = weak.lock()) open->Send(std::to_string(text.size()) + text.back(), {});
    }};
  });
  EXPECT_TRUE(listener.ok()) << listener.status();
  auto connection =
      client.env().network.Connect((*listener)->address(), {.on_frame =
                                                                [&](BufferPtr frame) {
                                                                  talk.answer = frame->view();
                                                                  if (!done.HasBeenNotified())
                                                                    done.Notify();
                                                                },
                                                            .on_closed =
                                                                [&](absl::Status reason) {
                                                                  talk.closed = reason;
                                                                  if (!done.HasBeenNotified())
                                                                    done.Notify();
                                                                }});
  std::string body(bytes, 'x');
  body.back() = 'z';
  connection->Send("", {Buffer::CopyOf(body)});
  EXPECT_TRUE(done.WaitForNotificationWithTimeout(kPatience));
  absl::Notification closed;
  connection->Close();
  // The handlers are gone when the network thread has come to this.
  client.env().network.Connect("127.0.0.1:1",
                               {.on_closed = [&](absl::Status) { closed.Notify(); }});
  EXPECT_TRUE(closed.WaitForNotificationWithTimeout(kPatience));
  return talk;
}

TEST(TlsNetworkTest, CarriesFramesOfAnySize) {
  TestCa ca;
  auto server = Process(ca.Make("a", "worker"));
  auto client = Process(ca.Make("b", "worker"));
  for (const size_t bytes : {size_t{1}, size_t{100}, size_t{16} << 10, size_t{20} << 20}) {
    EXPECT_EQ(TryToTalk(*server, *client, bytes).answer, std::to_string(bytes) + "z");
  }
}

TEST(TlsNetworkTest, RefusesStrangers) {
  TestCa ca, other_ca;
  auto server = Process(ca.Make("a", "worker"));
  {
    auto client = Process(other_ca.Make("b", "worker"));
    const Talk talk = TryToTalk(*server, *client, 10);
    EXPECT_THAT(talk.closed.message(), HasSubstr("TLS handshake failed: "));
  }
  {
    auto client = Process(ca.Make("c", "viewer"));
    const Talk talk = TryToTalk(*server, *client, 10);
    EXPECT_THAT(talk.closed.message(),
                HasSubstr("has a certificate for 'worker', expected 'viewer'"));
  }
  {
    // One that trusts the server, and is not trusted by it.
    TlsFiles files = other_ca.Make("d", "worker");
    files.ca = ca.ca_file();
    auto client = Process(files);
    const Talk talk = TryToTalk(*server, *client, 10);
    EXPECT_EQ(talk.answer, "");
    EXPECT_FALSE(talk.closed.ok());
  }
  {
    RealEnv plain({.io_threads = 1});
    const Talk talk = TryToTalk(*server, plain, 10);
    EXPECT_EQ(talk.answer, "");
    EXPECT_FALSE(talk.closed.ok());
  }
}

TEST(TlsNetworkTest, RefusesAServerThatIsNotEncrypted) {
  TestCa ca;
  RealEnv server({.io_threads = 1});
  auto client = Process(ca.Make("a", "worker"));
  const Talk talk = TryToTalk(server, *client, 10);
  EXPECT_EQ(talk.answer, "");
  EXPECT_FALSE(talk.closed.ok());
}

TEST(TlsNetworkTest, ReadsRenewedCertificates) {
  TestCa ca;
  const TlsFiles files = ca.Make("a", "worker");
  auto server = Process(files);
  auto client = Process(ca.Make("b", "renamed"));
  EXPECT_EQ(TryToTalk(*server, *client, 10).answer, "");
  ca.Make("a", "renamed");
  EXPECT_EQ(TryToTalk(*server, *client, 10).answer, "10z");
  // One that cannot be read does not take the place of one that can.
  std::ofstream(files.certificate) << "nonsense";
  EXPECT_EQ(TryToTalk(*server, *client, 10).answer, "10z");
}

TEST(TlsNetworkTest, ExplainsFilesThatCannotBeUsed) {
  TestCa ca;
  const TlsFiles good = ca.Make("a", "worker");
  const TlsFiles other = ca.Make("b", "worker");
  const auto message = [](const TlsFiles& files) {
    return std::string(TlsContext::Make(files).status().message());
  };
  EXPECT_THAT(message({.certificate = good.certificate, .key = good.key, .ca = ""}),
              HasSubstr("and the CA of the others"));
  EXPECT_THAT(message({.certificate = good.certificate, .key = "", .ca = good.ca}),
              HasSubstr("needs its key"));
  EXPECT_THAT(message({.certificate = good.certificate, .key = other.key, .ca = good.ca}),
              HasSubstr("cannot use the TLS key " + other.key));
  EXPECT_THAT(message({.certificate = "/nowhere", .key = good.key, .ca = good.ca}),
              HasSubstr("cannot use the TLS certificate /nowhere"));
  EXPECT_THAT(message({.certificate = good.certificate, .key = good.key, .ca = good.key}),
              HasSubstr("cannot use the TLS CA"));
}

}  // namespace
}  // namespace millrace
