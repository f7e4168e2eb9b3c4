#include "operators/connectors/nexmark/generator.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace millrace {
namespace {

constexpr uint64_t kEventsPerEpoch = 50;
constexpr uint64_t kPersonsPerEpoch = 1;
constexpr uint64_t kAuctionsPerEpoch = 3;
constexpr int64_t kFirstId = 1000;
constexpr int64_t kFirstCategory = 10;
constexpr uint64_t kCategories = 5;
constexpr int64_t kBaseTimeUs = 1'767'225'600'000'000;  // 2026-01-01 00:00:00.
constexpr uint64_t kHotBatch = 100;                     // Every 100th id is a hot one.
constexpr uint64_t kActivePersons = 1000;
constexpr uint64_t kPersonLead = 10;
constexpr uint64_t kInFlightAuctions = 100;
constexpr uint64_t kAuctionLead = 10;
// Events that pass while the in-flight auctions are made: the horizon of an auction's life.
constexpr uint64_t kHorizonEvents = kInFlightAuctions * kEventsPerEpoch / kAuctionsPerEpoch;
constexpr uint64_t kChannels = 10'000;
constexpr size_t kPersonBytes = 200;
constexpr size_t kAuctionBytes = 500;
constexpr size_t kBidBytes = 100;

constexpr std::string_view kStates[] = {"AZ", "CA", "ID", "OR", "WA", "WY"};
constexpr std::string_view kCities[] = {"Phoenix",  "Los Angeles", "San Francisco", "Boise",
                                        "Portland", "Bend",        "Redmond",       "Seattle",
                                        "Kent",     "Cheyenne"};
constexpr std::string_view kFirstNames[] = {"Peter", "Paul",  "Luke",  "John",   "Saul",  "Vicky",
                                            "Kate",  "Julie", "Sarah", "Deiter", "Walter"};
constexpr std::string_view kLastNames[] = {"Shultz", "Abrams", "Spencer", "White", "Bartels",
                                           "Walton", "Smith",  "Jones",   "Noris"};
constexpr std::string_view kHotChannels[] = {"Google", "Facebook", "Baidu", "Apple"};
constexpr std::string_view kUrlStart = "https://www.nexmark.com/";
constexpr std::string_view kUrlEnd = "/item.htm?query=1";

constexpr uint64_t Mix(uint64_t x) {  // The finaliser of SplitMix64.
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// SplitMix64.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : state_(Mix(seed + kGamma) ^ Mix(stream * kGamma + 1)) {}
  uint64_t Next() { return Mix(state_ += kGamma); }
  // Uniform in [0, n), n < 2^32: the high half of a product, which divides nothing.
  uint64_t Below(uint64_t n) { return (Next() >> 32) * n >> 32; }

 private:
  static constexpr uint64_t kGamma = 0x9E3779B97F4A7C15u;
  uint64_t state_;
};

// 2^32 * 10^(6 * i / 1024), rounded down, for i = 0..1024, by whole-number square roots only: a
// table that is the same everywhere, which pow() is not.
using Wide = unsigned __int128;

constexpr uint64_t RootOf(Wide square) {
  Wide low = 0, high = Wide{1} << 64;
  while (high - low > 1) {
    const Wide middle = low + (high - low) / 2;
    if (middle * middle <= square && middle < (Wide{1} << 63)) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return static_cast<uint64_t>(low);
}

constexpr size_t kPriceSteps = 1024;

constexpr std::array<uint64_t, kPriceSteps + 1> MakePowers() {
  std::array<uint64_t, kPriceSteps + 1> powers{};
  powers[0] = uint64_t{1} << 32;
  powers[kPriceSteps] = (uint64_t{1} << 32) * 1'000'000;
  // Geometric means: the power half way between two powers is the root of their product.
  for (size_t step = kPriceSteps; step > 1; step /= 2) {
    for (size_t i = 0; i < kPriceSteps; i += step) {
      powers[i + step / 2] = RootOf(Wide{powers[i]} * powers[i + step]);
    }
  }
  return powers;
}
constexpr std::array<uint64_t, kPriceSteps + 1> kPowers = MakePowers();

// round(10^(6u) * 100) for u uniform in [0, 1): straight lines between 1025 exact points.
int64_t PriceOf(uint64_t random) {
  const size_t step = random >> 54;                         // 10 bits.
  const uint64_t fraction = (random >> 22) & 0xFFFF'FFFFu;  // 32 bits.
  const uint64_t low = kPowers[step];
  const uint64_t slope = kPowers[step + 1] - low;
  const uint64_t power =
      low + static_cast<uint64_t>(Wide{slope} * fraction >> 32);  // 10^(6u) * 2^32.
  return static_cast<int64_t>((Wide{power} * 100 + (Wide{1} << 31)) >> 32);
}

// Lower-case letters, five bits of a random number each.
void AppendLetters(Random& random, size_t count, std::string& out) {
  const size_t begin = out.size();
  out.resize(begin + count);
  char* to = out.data() + begin;
  while (count > 0) {
    uint64_t bits = random.Next();
    const size_t now = std::min<size_t>(count, 12);
    for (size_t i = 0; i < now; ++i, bits >>= 5) {
      *to++ = static_cast<char>('a' + ((bits & 31) * 26 >> 5));
    }
    count -= now;
  }
}

void SetLetters(Random& random, size_t length_max, std::string& out) {
  out.clear();
  AppendLetters(random, 3 + random.Below(length_max - 3), out);
}

// Fills an event up to about `wanted` bytes: a fifth more or less.
void SetExtra(Random& random, size_t current, size_t wanted, std::string& out) {
  out.clear();
  if (current >= wanted) return;
  const size_t missing = wanted - current;
  const size_t spread = missing / 5;
  AppendLetters(random, missing - spread + random.Below(2 * spread + 1), out);
}

void AppendNumber(int64_t number, std::string& out) {
  char text[24];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), number);
  out.append(text, static_cast<size_t>(end - text));
}

// Number of persons and auctions before the epoch of `event` and up to it, as indexes of the last
// one.
uint64_t LastPerson(uint64_t event) { return event / kEventsPerEpoch * kPersonsPerEpoch; }
uint64_t LastAuction(uint64_t event) {
  const uint64_t epoch = event / kEventsPerEpoch;
  const uint64_t offset = event % kEventsPerEpoch;
  if (offset < kPersonsPerEpoch) return epoch == 0 ? 0 : epoch * kAuctionsPerEpoch - 1;
  return epoch * kAuctionsPerEpoch + std::min(offset - kPersonsPerEpoch, kAuctionsPerEpoch - 1);
}

// One of the last active persons, or one of a few to come.
uint64_t AnyPerson(Random& random, uint64_t event) {
  const uint64_t persons = LastPerson(event) + 1;
  const uint64_t active = std::min(persons, kActivePersons);
  return persons - active + random.Below(active + kPersonLead);
}

uint64_t AnyAuction(Random& random, uint64_t event) {
  const uint64_t last = LastAuction(event);
  const uint64_t first = last > kInFlightAuctions ? last - kInFlightAuctions : 0;
  return first + random.Below(last - first + 1 + kAuctionLead);
}

void AppendChannelName(uint64_t channel, std::string& out) {
  out.append("channel-");
  AppendNumber(static_cast<int64_t>(channel), out);
}

// The url of a channel is the same in all of its bids.
void MakeUrl(uint64_t seed, uint64_t channel, bool with_id, std::string& out) {
  Random random(seed ^ 0xC4A77E15u, channel);
  out.assign(kUrlStart);
  for (int part = 0; part < 3; ++part) {
    if (part > 0) out.push_back('/');
    AppendLetters(random, 3 + random.Below(3), out);
  }
  out.append(kUrlEnd);
  if (with_id && random.Below(10) > 0) {
    out.append("&channel_id=");
    AppendNumber(static_cast<int64_t>(Mix(channel) & 0x7FFF'FFFF), out);
  }
}

void MakePerson(Random& random, uint64_t event, NexmarkEvent& out) {
  auto& person = out.person;
  person.id = kFirstId + static_cast<int64_t>(LastPerson(event));
  person.name.assign(kFirstNames[random.Below(std::size(kFirstNames))]);
  person.name.push_back(' ');
  person.name.append(kLastNames[random.Below(std::size(kLastNames))]);
  SetLetters(random, 7, person.email_address);
  person.email_address.push_back('@');
  AppendLetters(random, 3 + random.Below(2), person.email_address);
  person.email_address.append(".com");
  person.credit_card.clear();
  for (int group = 0; group < 4; ++group) {
    if (group > 0) person.credit_card.push_back(' ');
    uint64_t digits = random.Below(10'000);
    char text[4];
    for (int i = 3; i >= 0; --i, digits /= 10) text[i] = static_cast<char>('0' + digits % 10);
    person.credit_card.append(text, sizeof(text));
  }
  person.city.assign(kCities[random.Below(std::size(kCities))]);
  person.state.assign(kStates[random.Below(std::size(kStates))]);
  const size_t current = 8 + person.name.size() + person.email_address.size() +
                         person.credit_card.size() + person.city.size() + person.state.size();
  SetExtra(random, current, kPersonBytes, out.extra);
}

void MakeAuction(Random& random, uint64_t event, uint64_t rate, NexmarkEvent& out) {
  auto& auction = out.auction;
  auction.id = kFirstId + static_cast<int64_t>(LastAuction(event));
  // Three of four are sold by the first person of the last hundred.
  const uint64_t seller =
      random.Below(4) > 0 ? LastPerson(event) / kHotBatch * kHotBatch : AnyPerson(random, event);
  auction.seller = kFirstId + static_cast<int64_t>(seller);
  auction.category = kFirstCategory + static_cast<int64_t>(random.Below(kCategories));
  auction.initial_bid = PriceOf(random.Next());
  auction.reserve = auction.initial_bid + PriceOf(random.Next());
  const uint64_t horizon_ms = std::max<uint64_t>(kHorizonEvents * 1000 / rate, 1);
  auction.expires_us =
      out.time_us + static_cast<int64_t>((1 + random.Below(2 * horizon_ms)) * 1000);
  SetLetters(random, 20, auction.item_name);
  SetLetters(random, 100, auction.description);
  const size_t current = 8 * 7 + auction.item_name.size() + auction.description.size();
  SetExtra(random, current, kAuctionBytes, out.extra);
}

void MakeBid(Random& random, uint64_t event, uint64_t seed, NexmarkEvent& out) {
  auto& bid = out.bid;
  const uint64_t auction =
      random.Below(2) > 0 ? LastAuction(event) / kHotBatch * kHotBatch : AnyAuction(random, event);
  bid.auction = kFirstId + static_cast<int64_t>(auction);
  const uint64_t bidder = random.Below(4) > 0 ? LastPerson(event) / kHotBatch * kHotBatch + 1
                                              : AnyPerson(random, event);
  bid.bidder = kFirstId + static_cast<int64_t>(bidder);
  bid.price = PriceOf(random.Next());
  if (random.Below(2) > 0) {
    const uint64_t hot = random.Below(std::size(kHotChannels));
    bid.channel.assign(kHotChannels[hot]);
    MakeUrl(seed, kChannels + hot, /*with_id=*/false, bid.url);
  } else {
    const uint64_t channel = random.Below(kChannels);
    bid.channel.clear();
    AppendChannelName(channel, bid.channel);
    MakeUrl(seed, channel, /*with_id=*/true, bid.url);
  }
  SetExtra(random, 32, kBidBytes, out.extra);
}

// ---- JSON ---------------------------------------------------------------------------------------

// Strings of events need no escapes: letters, digits and a few signs.
void AppendText(std::string_view key, std::string_view text, std::string& out) {
  out.append(key);
  out.append(text);
  out.push_back('"');
}

void AppendInt(std::string_view key, int64_t number, std::string& out) {
  out.append(key);
  AppendNumber(number, out);
}

void PutTwo(int64_t value, char* out) {
  out[0] = static_cast<char>('0' + value / 10);
  out[1] = static_cast<char>('0' + value % 10);
}

// Event time has a length of years at most; the calendar by Howard Hinnant's method.
void AppendTime(std::string_view key, int64_t us, std::string& out) {
  const int64_t ms = us / 1000;
  const int64_t day = ms / 86'400'000;
  const int64_t in_day = ms % 86'400'000;
  const int64_t shifted = day + 719468;
  const int64_t era = shifted / 146097;
  const int64_t day_of_era = shifted % 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t march = (5 * day_of_year + 2) / 153;
  const int64_t month = march < 10 ? march + 3 : march - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
  char text[] = "0000-00-00 00:00:00.000\"";
  PutTwo(year / 100, text);
  PutTwo(year % 100, text + 2);
  PutTwo(month, text + 5);
  PutTwo(day_of_year - (153 * march + 2) / 5 + 1, text + 8);
  PutTwo(in_day / 3'600'000, text + 11);
  PutTwo(in_day / 60'000 % 60, text + 14);
  PutTwo(in_day / 1000 % 60, text + 17);
  text[20] = static_cast<char>('0' + in_day % 1000 / 100);
  PutTwo(in_day % 100, text + 21);
  out.append(key);
  out.append(text, 24);
}

void AppendPerson(const NexmarkEvent& event, std::string& out) {
  const auto& person = event.person;
  AppendInt("{\"event_type\":0,\"person\":{\"id\":", person.id, out);
  AppendText(",\"name\":\"", person.name, out);
  AppendText(",\"emailAddress\":\"", person.email_address, out);
  AppendText(",\"creditCard\":\"", person.credit_card, out);
  AppendText(",\"city\":\"", person.city, out);
  AppendText(",\"state\":\"", person.state, out);
  AppendTime(",\"dateTime\":\"", event.time_us, out);
  AppendText(",\"extra\":\"", event.extra, out);
  out.append("},\"auction\":null,\"bid\":null}");
}

void AppendAuction(const NexmarkEvent& event, std::string& out) {
  const auto& auction = event.auction;
  AppendInt("{\"event_type\":1,\"person\":null,\"auction\":{\"id\":", auction.id, out);
  AppendText(",\"itemName\":\"", auction.item_name, out);
  AppendText(",\"description\":\"", auction.description, out);
  AppendInt(",\"initialBid\":", auction.initial_bid, out);
  AppendInt(",\"reserve\":", auction.reserve, out);
  AppendTime(",\"dateTime\":\"", event.time_us, out);
  AppendTime(",\"expires\":\"", auction.expires_us, out);
  AppendInt(",\"seller\":", auction.seller, out);
  AppendInt(",\"category\":", auction.category, out);
  AppendText(",\"extra\":\"", event.extra, out);
  out.append("},\"bid\":null}");
}

void AppendBid(const NexmarkEvent& event, std::string& out) {
  const auto& bid = event.bid;
  AppendInt("{\"event_type\":2,\"person\":null,\"auction\":null,\"bid\":{\"auction\":", bid.auction,
            out);
  AppendInt(",\"bidder\":", bid.bidder, out);
  AppendInt(",\"price\":", bid.price, out);
  AppendText(",\"channel\":\"", bid.channel, out);
  AppendText(",\"url\":\"", bid.url, out);
  AppendTime(",\"dateTime\":\"", event.time_us, out);
  AppendText(",\"extra\":\"", event.extra, out);
  out.append("}}");
}

}  // namespace

NexmarkKind NexmarkGenerator::KindOf(uint64_t event) {
  const uint64_t offset = event % kEventsPerEpoch;
  if (offset < kPersonsPerEpoch) return NexmarkKind::kPerson;
  if (offset < kPersonsPerEpoch + kAuctionsPerEpoch) return NexmarkKind::kAuction;
  return NexmarkKind::kBid;
}

int64_t NexmarkGenerator::TimeUs(uint64_t event) const {
  const auto us = static_cast<int64_t>(Wide{event} * 1'000'000 / options_.rate);
  return kBaseTimeUs + us / 1000 * 1000;
}

void NexmarkGenerator::Make(uint64_t event, NexmarkEvent& out) const {
  Random random(options_.seed, event);
  out.kind = KindOf(event);
  out.time_us = TimeUs(event);
  switch (out.kind) {
    case NexmarkKind::kPerson:
      return MakePerson(random, event, out);
    case NexmarkKind::kAuction:
      return MakeAuction(random, event, options_.rate, out);
    case NexmarkKind::kBid:
      return MakeBid(random, event, options_.seed, out);
  }
}

void NexmarkGenerator::AppendEventJson(uint64_t event, std::string& out) {
  Make(event, scratch_);
  switch (scratch_.kind) {
    case NexmarkKind::kPerson:
      return AppendPerson(scratch_, out);
    case NexmarkKind::kAuction:
      return AppendAuction(scratch_, out);
    case NexmarkKind::kBid:
      return AppendBid(scratch_, out);
  }
}

}  // namespace millrace
