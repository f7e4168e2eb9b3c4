// The real transport against a server that never answers: a socket that only listens.
#include "operators/inference/remote/open_inference_rpc.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"

namespace millrace {
namespace {

class SilentServer {
 public:
  SilentServer() : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(socket_, 16), 0);
    socklen_t size = sizeof(address);
    EXPECT_EQ(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    endpoint_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
  }
  ~SilentServer() { close(socket_); }
  const std::string& endpoint() const { return endpoint_; }

 private:
  const int socket_;
  std::string endpoint_;
};

// The last channel of the process goes each time, and gRPC's callback threads with it.
TEST(OpenInferenceTransportTest, AnswersWhatIsUnderWayBeforeItIsGone) {
  SilentServer server;
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> cancelled = 0;
    {
      auto transport = MakeOpenInferenceTransport(server.endpoint());
      for (int call = 0; call < 3; ++call) {
        transport->Infer({}, absl::Minutes(1),
                         [&](absl::StatusOr<inference::ModelInferResponse> answer) {
                           cancelled += absl::IsCancelled(answer.status()) ? 1 : 0;
                         });
      }
    }
    ASSERT_EQ(cancelled, 3);
  }
}

TEST(OpenInferenceTransportTest, GivesUpAtTheTimeout) {
  SilentServer server;
  auto transport = MakeOpenInferenceTransport(server.endpoint());
  absl::Notification answered;
  transport->Infer({}, absl::Milliseconds(50),
                   [&](absl::StatusOr<inference::ModelInferResponse> answer) {
                     EXPECT_TRUE(absl::IsDeadlineExceeded(answer.status())) << answer.status();
                     answered.Notify();
                   });
  EXPECT_TRUE(answered.WaitForNotificationWithTimeout(absl::Seconds(30)));
}

}  // namespace
}  // namespace millrace
