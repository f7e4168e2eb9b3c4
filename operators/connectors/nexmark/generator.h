// The events of the Nexmark benchmark (persons, auctions, bids of an online auction) as a pure
// function of (seed, rate, event number): any part of the stream can be made again anywhere, with
// the same bytes on every machine. No floating point and no library random generator is involved.
//
// Per 50 events: 1 person, 3 auctions, 46 bids. Event time begins at 2026-01-01 00:00:00 and
// advances by 1/rate per event. Ids begin at 1000.
//
// Threading: one thread per generator; generators are cheap.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace {

struct NexmarkOptions {
  uint64_t seed = 1;
  // Events per second of event time; 1 to 10 000 000.
  uint64_t rate = 100'000;
};

enum class NexmarkKind : uint8_t { kPerson = 0, kAuction = 1, kBid = 2 };

// One event. Fields of the other kinds are unspecified. Meant to be reused: strings keep their
// memory.
struct NexmarkEvent {
  NexmarkKind kind = NexmarkKind::kBid;
  int64_t time_us = 0;  // dateTime; a whole millisecond.
  std::string extra;

  struct {
    int64_t id = 0;
    std::string name, email_address, credit_card, city, state;
  } person;
  struct {
    int64_t id = 0;
    std::string item_name, description;
    int64_t initial_bid = 0, reserve = 0, expires_us = 0, seller = 0, category = 0;
  } auction;
  struct {
    int64_t auction = 0, bidder = 0, price = 0;
    std::string channel, url;
  } bid;
};

class NexmarkGenerator {
 public:
  explicit NexmarkGenerator(NexmarkOptions options) : options_(options) {}

  static NexmarkKind KindOf(uint64_t event);
  int64_t TimeUs(uint64_t event) const;
  void Make(uint64_t event, NexmarkEvent& out) const;
  // The event as one JSON object without a line break:
  // {"event_type":2,"person":null,"auction":null,"bid":{"auction":1000,...}}
  void AppendEventJson(uint64_t event, std::string& out);

 private:
  const NexmarkOptions options_;
  NexmarkEvent scratch_;  // Its strings keep their memory.
};

}  // namespace millrace
