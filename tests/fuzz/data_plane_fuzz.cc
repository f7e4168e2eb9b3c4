// Any frames from a peer, and a sound conversation with some bytes changed: the connection is
// closed, or batches arrive that can be read. Never a crash, on either end.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/columns/batch.h"
#include "runtime/exchange/data_plane.h"

namespace {

using namespace millrace;  // NOLINT: a program of its own.

// Keeps what is sent.
class RecordingConnection : public Connection {
 public:
  void Send(std::string head, std::vector<BufferPtr> body) override {
    std::string& frame = frames.emplace_back(std::move(head));
    for (const BufferPtr& buffer : body) frame += buffer->view();
  }
  void Close() override { closed = true; }

  std::vector<std::string> frames;
  bool closed = false;
};

// Hands out both ends: frames go where the caller puts them.
class FuzzNetwork : public Network {
 public:
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address,
                                                   Accept accept) override {
    struct Silent : Listener {
      std::string address() const override { return "fuzz:1"; }
    };
    accept_ = std::move(accept);
    return std::make_unique<Silent>();
  }
  std::shared_ptr<Connection> Connect(const std::string&, ConnectionHandlers handlers) override {
    sender_handlers = std::move(handlers);
    sender = std::make_shared<RecordingConnection>();
    return sender;
  }
  void AcceptOne() {
    receiver = std::make_shared<RecordingConnection>();
    receiver_handlers = accept_(receiver);
  }

  ConnectionHandlers sender_handlers, receiver_handlers;
  std::shared_ptr<RecordingConnection> sender, receiver;

 private:
  Accept accept_;
};

SchemaPtr Columns() {
  return Schema::Make({{.id = 1, .name = "n", .type = TypeKind::kInt64},
                       {.id = 2, .name = "s", .type = TypeKind::kString}});
}

Batch TwoRows() {
  BatchBuilder builder(Columns());
  builder.column(0).AppendInt64(1);
  builder.column(0).AppendNull();
  builder.column(1).AppendString("one");
  builder.column(1).AppendString("");
  return builder.Finish();
}

class Conversation {
 public:
  Conversation() {
    plane_ = DataPlane::Start(network_, "fuzz:0").value();
    receiver_ = plane_->OpenReceiver(kAttempt, {1, 0, 0}, Columns(), {}, [] {});
    sender_ = plane_->OpenSender(kAttempt, {1, 0, 0}, "fuzz:1", {}, [] {});
    sender_->Send({.kind = ChannelItem::Kind::kBatch, .batch = TwoRows()});
    sender_->Send({.kind = ChannelItem::Kind::kWatermark, .watermark = EventTime{7}});
    sender_->Send({.kind = ChannelItem::Kind::kBarrier, .epoch = Epoch{3}});
    sender_->Send({.kind = ChannelItem::Kind::kIdle});
    network_.AcceptOne();
  }
  ~Conversation() {
    for (const auto* handlers : {&network_.receiver_handlers, &network_.sender_handlers}) {
      handlers->on_closed(absl::UnavailableError("the end"));
    }
    plane_->CloseAttempt(kAttempt);
  }

  const std::vector<std::string>& frames() const { return network_.sender->frames; }

  void ToReceiver(std::string_view frame) {
    if (!network_.receiver->closed) {
      network_.receiver_handlers.on_frame(Buffer::CopyOf(frame));
    }
    ChannelItem item;
    while (receiver_->Receive(item)) {
      if (item.kind != ChannelItem::Kind::kBatch) continue;
      for (const Column& column : item.batch.columns()) {
        for (int64_t row = 0; row < item.batch.rows(); ++row) (void)ValueText(column, row);
      }
      ++batches_;
    }
  }
  void ToSender(std::string_view frame) {
    network_.sender_handlers.on_frame(Buffer::CopyOf(frame));
    (void)sender_->HasCredit();
    (void)sender_->queued_bytes();
  }
  int batches() const { return batches_; }

 private:
  const AttemptKey kAttempt = {.job_id = "job", .generation = 1, .attempt = 2};

  FuzzNetwork network_;
  std::unique_ptr<DataPlane> plane_;
  std::unique_ptr<ChannelReceiver> receiver_;
  std::unique_ptr<ChannelSender> sender_;
  int batches_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  [[maybe_unused]] static const bool quiet = (InitLogging(LogLevel::kError, false), true);
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  {
    Conversation sound;
    for (const std::string& frame : sound.frames()) sound.ToReceiver(frame);
    MILLRACE_CHECK(sound.batches() == 1);
    sound.ToReceiver(bytes);
    sound.ToSender(bytes);
  }
  // Edits: number of the frame, offset in it, value.
  Conversation edited;
  std::vector<std::string> frames = edited.frames();
  for (size_t i = 0; i + 2 < size; i += 3) {
    std::string& frame = frames[data[i] % frames.size()];
    frame[data[i + 1] % frame.size()] = static_cast<char>(data[i + 2]);
  }
  for (const std::string& frame : frames) edited.ToReceiver(frame);
  return 0;
}
