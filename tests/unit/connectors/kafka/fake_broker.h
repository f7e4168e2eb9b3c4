// A broker for one producer that fails by script: transactions, sequences and epochs as the real
// one has them, in the oldest versions of the requests. It leads every partition and coordinates.
//
// Threading: its own thread; Script, log and counts from the test's, at any time.
#pragma once

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "operators/connectors/kafka/native/produce_messages.h"
#include "operators/connectors/kafka/native/record_set.h"
#include "operators/connectors/kafka/native/wire.h"

namespace millrace {

class FakeBroker {
 public:
  // What happens to the next request of an API instead.
  struct Fault {
    int16_t error = 0;          // Answered, with nothing done.
    bool request_lost = false;  // The connection breaks before it is done …
    bool answer_lost = false;   // … or after.
    bool done_anyway = false;   // The error is answered although it was done.
  };

  FakeBroker() {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 16) != 0 || pipe(stop_) != 0) {
      std::abort();
    }
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~FakeBroker() {
    close(stop_[1]);
    thread_.join();
    close(stop_[0]);
    close(listener_);
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void Script(KafkaApi api, Fault fault) {
    const std::lock_guard lock(mutex_);
    script_[api].push_back(fault);
  }
  // Values of committed transactions: "topic/partition value", in order of commits.
  std::vector<std::string> Committed() {
    const std::lock_guard lock(mutex_);
    return committed_;
  }
  int Requests(KafkaApi api) {
    const std::lock_guard lock(mutex_);
    return requests_[api];
  }
  // All that was scripted has happened.
  bool ScriptDone() {
    const std::lock_guard lock(mutex_);
    for (const auto& [api, faults] : script_) {
      if (!faults.empty()) return false;
    }
    return true;
  }
  // Somebody else takes the transactional id.
  void FenceByAnother() {
    const std::lock_guard lock(mutex_);
    NextEpoch();
  }

 private:
  static constexpr int16_t kOutOfOrder = 45;
  static constexpr int16_t kFenced = 47;
  static constexpr int16_t kNoTransaction = 48;
  static constexpr int kPartitions = 3;

  struct Client {
    int fd;
    std::string in;
  };
  struct Log {
    int16_t epoch = -1;
    int32_t next_sequence = 0;
    std::vector<int32_t> firsts;      // Of the batches that it has.
    std::vector<std::string> values;  // Of the open transaction.
  };
  using Place = std::pair<std::string, int32_t>;

  void Serve() {
    std::vector<Client> clients;
    while (true) {
      std::vector<pollfd> fds = {{stop_[0], POLLIN, 0}, {listener_, POLLIN, 0}};
      for (const Client& client : clients) fds.push_back({client.fd, POLLIN, 0});
      poll(fds.data(), fds.size(), -1);
      if (fds[0].revents != 0) break;
      for (size_t i = clients.size(); i-- > 0;) {
        if (fds[i + 2].revents == 0 || Receive(clients[i])) continue;
        close(clients[i].fd);
        clients.erase(clients.begin() + static_cast<int64_t>(i));
      }
      if (fds[1].revents != 0) {
        const int fd = accept(listener_, nullptr, nullptr);
        if (fd >= 0) clients.push_back({fd, {}});
      }
    }
    for (const Client& client : clients) close(client.fd);
  }

  // False: the connection is over.
  bool Receive(Client& client) {
    char bytes[65536];
    const ssize_t got = recv(client.fd, bytes, sizeof(bytes), 0);
    if (got <= 0) return false;
    client.in.append(bytes, static_cast<size_t>(got));
    while (client.in.size() >= 4) {
      const auto length = static_cast<size_t>(LoadBigEndian<int32_t>(client.in.data()));
      if (client.in.size() < 4 + length) break;
      const std::string request = client.in.substr(4, length);
      client.in.erase(0, 4 + length);
      if (!Handle(client.fd, request)) return false;
    }
    return true;
  }

  bool Handle(int fd, const std::string& request) {
    const std::lock_guard lock(mutex_);
    WireReader in(request, /*flexible=*/false);
    const auto api = static_cast<KafkaApi>(in.Number<int16_t>());
    in.Number<int16_t>();
    const auto correlation = in.Number<int32_t>();
    in.Text();
    ++requests_[api];
    Fault fault;
    if (std::deque<Fault>& faults = script_[api]; !faults.empty()) {
      fault = faults.front();
      faults.pop_front();
    }
    if (fault.request_lost) return false;
    WireWriter out(/*flexible=*/false);
    out.Number(correlation);
    Answer(api, in, fault, out);
    if (fault.answer_lost) return false;
    const std::string body = out.Take();
    std::string frame;
    PutBigEndian(frame, static_cast<int32_t>(body.size()));
    frame += body;
    return send(fd, frame.data(), frame.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(frame.size());
  }

  void Answer(KafkaApi api, WireReader& in, const Fault& fault, WireWriter& out) {
    // What the error of an answer is, and whether it is done.
    const auto outcome = [&](int16_t error) { return fault.error != 0 ? fault.error : error; };
    const bool does = fault.error == 0 || fault.done_anyway;
    switch (api) {
      case KafkaApi::kApiVersions: {
        const std::pair<KafkaApi, int16_t> known[] = {{KafkaApi::kProduce, 3},
                                                      {KafkaApi::kMetadata, 5},
                                                      {KafkaApi::kFindCoordinator, 1},
                                                      {KafkaApi::kInitProducerId, 1},
                                                      {KafkaApi::kAddPartitionsToTxn, 0},
                                                      {KafkaApi::kEndTxn, 0}};
        out.Number(fault.error);
        out.Elements(std::size(known));
        for (const auto& [one, version] : known) {
          out.Number(static_cast<int16_t>(one));
          out.Number<int16_t>(0);
          out.Number(version);
        }
        return;
      }
      case KafkaApi::kMetadata: {
        out.Number<int32_t>(0);
        out.Elements(1);
        PutSelf(out);
        out.NullText();
        out.NullText();
        out.Number<int32_t>(1);
        const size_t topics = in.Elements(2);
        out.Elements(topics);
        for (size_t i = 0; i < topics; ++i) {
          out.Number(fault.error);
          out.Text(in.Text());
          out.Number<int8_t>(0);
          out.Elements(fault.error == 0 ? kPartitions : 0);
          for (int32_t p = 0; fault.error == 0 && p < kPartitions; ++p) {
            out.Number<int16_t>(0);
            out.Number(p);
            out.Number<int32_t>(1);
            for (int list = 0; list < 3; ++list) out.Elements(0);
          }
        }
        return;
      }
      case KafkaApi::kFindCoordinator:
        out.Number<int32_t>(0);
        out.Number(fault.error);
        out.NullText();
        PutSelf(out);
        return;
      case KafkaApi::kInitProducerId:
        if (does) NextEpoch();
        out.Number<int32_t>(0);
        out.Number(fault.error);
        out.Number<int64_t>(7);
        out.Number(epoch_);
        return;
      case KafkaApi::kAddPartitionsToTxn: {
        in.Text();
        in.Number<int64_t>();
        const bool fenced = in.Number<int16_t>() != epoch_;
        out.Number<int32_t>(0);
        const size_t topics = in.Elements(2);
        out.Elements(topics);
        for (size_t i = 0; i < topics; ++i) {
          const std::string topic(in.Text());
          out.Text(topic);
          const size_t partitions = in.Elements(4);
          out.Elements(partitions);
          for (size_t p = 0; p < partitions; ++p) {
            const auto partition = in.Number<int32_t>();
            if (does && !fenced) open_.insert({topic, partition});
            out.Number(partition);
            out.Number(outcome(fenced ? kFenced : int16_t{0}));
          }
        }
        return;
      }
      case KafkaApi::kProduce: {
        in.Text();
        in.Number<int16_t>();
        in.Number<int32_t>();
        const size_t topics = in.Elements(2);
        out.Elements(topics);
        for (size_t i = 0; i < topics; ++i) {
          const std::string topic(in.Text());
          out.Text(topic);
          const size_t partitions = in.Elements(8);
          out.Elements(partitions);
          for (size_t p = 0; p < partitions; ++p) {
            const auto partition = in.Number<int32_t>();
            const std::string_view batch = in.Bytes();
            out.Number(partition);
            out.Number(outcome(does ? Append({topic, partition}, batch) : int16_t{0}));
            out.Number<int64_t>(0);
            out.Number<int64_t>(-1);
          }
        }
        out.Number<int32_t>(0);
        return;
      }
      case KafkaApi::kEndTxn: {
        in.Text();
        in.Number<int64_t>();
        const bool fenced = in.Number<int16_t>() != epoch_;
        int16_t error = fenced ? kFenced : open_.empty() && !just_committed_ ? kNoTransaction : 0;
        if (does && error == 0) {
          for (const Place& place : open_) {
            for (const std::string& value : std::exchange(logs_[place].values, {})) {
              committed_.push_back(place.first + "/" + std::to_string(place.second) + " " + value);
            }
          }
          open_.clear();
          just_committed_ = true;
        }
        out.Number<int32_t>(0);
        out.Number(outcome(error));
        return;
      }
      default:
        std::abort();
    }
  }

  // As leaders judge batches: by epoch, sequence, and whether the partition is in the transaction.
  int16_t Append(const Place& place, std::string_view batch) {
    Log& log = logs_[place];
    const auto epoch = LoadBigEndian<int16_t>(batch.data() + 51);
    const auto first = LoadBigEndian<int32_t>(batch.data() + 53);
    const auto records = LoadBigEndian<int32_t>(batch.data() + 57);
    if (epoch != epoch_) return kFenced;
    if (!open_.contains(place)) return kNoTransaction;
    if (log.epoch != epoch) {
      // A leader that does not know this epoch of the producer takes any sequence.
      log.epoch = epoch;
      log.next_sequence = first;
      log.firsts.clear();
    }
    if (std::find(log.firsts.begin(), log.firsts.end(), first) != log.firsts.end()) return 0;
    if (first != log.next_sequence) return kOutOfOrder;
    log.next_sequence += records;
    log.firsts.push_back(first);
    just_committed_ = false;
    std::string padded(batch);
    padded.append(kMessagePadding, '\0');
    RecordSetReader reader;
    reader.Reset(std::string_view(padded).substr(0, batch.size()), 0, {});
    std::vector<KafkaRecord> all;
    if (!reader.Read(static_cast<size_t>(records), all).ok()) return 2;
    for (const KafkaRecord& record : all) log.values.emplace_back(record.value);
    return 0;
  }

  void PutSelf(WireWriter& out) const {
    out.Number<int32_t>(1);
    out.Text("127.0.0.1");
    out.Number(port_);
  }
  void NextEpoch() {
    ++epoch_;
    open_.clear();
    just_committed_ = false;
    for (auto& [place, log] : logs_) log.values.clear();
  }

  int listener_ = -1;
  int stop_[2];
  int32_t port_ = 0;
  std::thread thread_;

  std::mutex mutex_;
  std::map<KafkaApi, std::deque<Fault>> script_;
  std::map<KafkaApi, int> requests_;
  int16_t epoch_ = -1;
  std::set<Place> open_;  // The partitions of the open transaction.
  bool just_committed_ = false;
  std::map<Place, Log> logs_;
  std::vector<std::string> committed_;
};

}  // namespace millrace
