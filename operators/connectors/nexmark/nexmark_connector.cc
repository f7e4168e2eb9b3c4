#include "operators/connectors/nexmark/nexmark_connector.h"

#include <algorithm>

#include "millrace/v1/graph.pb.h"
#include "operators/catalog/catalog.h"
#include "operators/connectors/generated_source.h"
#include "operators/connectors/nexmark/generator.h"
#include "operators/connectors/node_options.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// Columns by their path, as in the JSON form of an event.
struct EventColumn {
  std::string_view path;
  TypeKind type;
  int kind;  // NexmarkKind, or -1: a column of every event.
  void (*append)(const NexmarkEvent& event, ColumnBuilder& out);
};

constexpr int kPerson = static_cast<int>(NexmarkKind::kPerson);
constexpr int kAuction = static_cast<int>(NexmarkKind::kAuction);
constexpr int kBid = static_cast<int>(NexmarkKind::kBid);

void AppendTime(const NexmarkEvent& e, ColumnBuilder& out) { out.AppendInt64(e.time_us); }
void AppendExtra(const NexmarkEvent& e, ColumnBuilder& out) { out.AppendString(e.extra); }

template <int64_t (*Get)(const NexmarkEvent&)>
void AppendInt(const NexmarkEvent& e, ColumnBuilder& out) {
  out.AppendInt64(Get(e));
}
template <const std::string& (*Get)(const NexmarkEvent&)>
void AppendText(const NexmarkEvent& e, ColumnBuilder& out) {
  out.AppendString(Get(e));
}

#define MILLRACE_INT(member) &AppendInt<+[](const NexmarkEvent& e) -> int64_t { return e.member; }>
#define MILLRACE_TEXT(member) \
  &AppendText<+[](const NexmarkEvent& e) -> const std::string& { return e.member; }>

constexpr EventColumn kColumns[] = {
    {"event_type", TypeKind::kInt32, -1,
     [](const NexmarkEvent& e, ColumnBuilder& out) {
       out.AppendInt32(static_cast<int32_t>(e.kind));
     }},
    {"dateTime", TypeKind::kTimestamp, -1, &AppendTime},
    {"extra", TypeKind::kString, -1, &AppendExtra},
    {"person.id", TypeKind::kInt64, kPerson, MILLRACE_INT(person.id)},
    {"person.name", TypeKind::kString, kPerson, MILLRACE_TEXT(person.name)},
    {"person.emailAddress", TypeKind::kString, kPerson, MILLRACE_TEXT(person.email_address)},
    {"person.creditCard", TypeKind::kString, kPerson, MILLRACE_TEXT(person.credit_card)},
    {"person.city", TypeKind::kString, kPerson, MILLRACE_TEXT(person.city)},
    {"person.state", TypeKind::kString, kPerson, MILLRACE_TEXT(person.state)},
    {"person.dateTime", TypeKind::kTimestamp, kPerson, &AppendTime},
    {"person.extra", TypeKind::kString, kPerson, &AppendExtra},
    {"auction.id", TypeKind::kInt64, kAuction, MILLRACE_INT(auction.id)},
    {"auction.itemName", TypeKind::kString, kAuction, MILLRACE_TEXT(auction.item_name)},
    {"auction.description", TypeKind::kString, kAuction, MILLRACE_TEXT(auction.description)},
    {"auction.initialBid", TypeKind::kInt64, kAuction, MILLRACE_INT(auction.initial_bid)},
    {"auction.reserve", TypeKind::kInt64, kAuction, MILLRACE_INT(auction.reserve)},
    {"auction.dateTime", TypeKind::kTimestamp, kAuction, &AppendTime},
    {"auction.expires", TypeKind::kTimestamp, kAuction, MILLRACE_INT(auction.expires_us)},
    {"auction.seller", TypeKind::kInt64, kAuction, MILLRACE_INT(auction.seller)},
    {"auction.category", TypeKind::kInt64, kAuction, MILLRACE_INT(auction.category)},
    {"auction.extra", TypeKind::kString, kAuction, &AppendExtra},
    {"bid.auction", TypeKind::kInt64, kBid, MILLRACE_INT(bid.auction)},
    {"bid.bidder", TypeKind::kInt64, kBid, MILLRACE_INT(bid.bidder)},
    {"bid.price", TypeKind::kInt64, kBid, MILLRACE_INT(bid.price)},
    {"bid.channel", TypeKind::kString, kBid, MILLRACE_TEXT(bid.channel)},
    {"bid.url", TypeKind::kString, kBid, MILLRACE_TEXT(bid.url)},
    {"bid.dateTime", TypeKind::kTimestamp, kBid, &AppendTime},
    {"bid.extra", TypeKind::kString, kBid, &AppendExtra},
};

#undef MILLRACE_INT
#undef MILLRACE_TEXT

class NexmarkRows : public RowGenerator {
 public:
  explicit NexmarkRows(NexmarkOptions options) : generator_(options) {}

  absl::Status Open(const SchemaPtr& schema) override {
    columns_.clear();
    std::vector<std::string_view> paths;
    for (const EventColumn& column : kColumns) paths.push_back(column.path);
    for (const Field& field : schema->fields()) {
      const std::string_view path = PathOfField(field);
      const auto* found = std::find_if(std::begin(kColumns), std::end(kColumns),
                                       [&](const auto& one) { return one.path == path; });
      if (found == std::end(kColumns)) {
        const std::string_view nearest = NearestName(path, paths);
        return absl::InvalidArgumentError(
            Concat("connector 'nexmark' has no column '", path, "'",
                   nearest.empty() ? std::string() : Concat("; did you mean '", nearest, "'?"),
                   " (columns: ", Join(paths, ", "), ")"));
      }
      if (found->type != field.type) {
        return absl::InvalidArgumentError(Concat("column '", path, "' of connector 'nexmark' is ",
                                                 TypeName(found->type), ", not ",
                                                 TypeName(field.type)));
      }
      columns_.push_back(found);
    }
    return absl::OkStatus();
  }

  void AppendRows(uint64_t first, uint64_t step, int64_t count, BatchBuilder& out) override {
    for (int64_t i = 0; i < count; ++i) {
      generator_.Make(first + static_cast<uint64_t>(i) * step, event_);
      for (size_t c = 0; c < columns_.size(); ++c) {
        const EventColumn& column = *columns_[c];
        ColumnBuilder& builder = out.column(static_cast<int>(c));
        if (column.kind < 0 || column.kind == static_cast<int>(event_.kind)) {
          column.append(event_, builder);
        } else {
          builder.AppendNull();
        }
      }
    }
  }

 private:
  NexmarkGenerator generator_;
  NexmarkEvent event_;
  std::vector<const EventColumn*> columns_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Source>> MakeNexmarkSource(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap options, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("nexmark"));
  const OptionReader reader(spec->source_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto seed, reader.Int("seed"));
  MILLRACE_ASSIGN_OR_RETURN(const auto rate, reader.Int("rate"));
  MILLRACE_ASSIGN_OR_RETURN(const auto first, reader.Int("first-event"));
  MILLRACE_ASSIGN_OR_RETURN(const auto total, reader.Int("number-of-events"));
  MILLRACE_ASSIGN_OR_RETURN(const auto splits, reader.Int("splits"));
  MILLRACE_ASSIGN_OR_RETURN(const auto pace, reader.Int("events-per-second"));
  return MakeGeneratedSource(
      {.first = static_cast<uint64_t>(*first),
       .total = total,
       .splits = static_cast<uint32_t>(*splits),
       .rows_per_second = pace},
      std::make_unique<NexmarkRows>(NexmarkOptions{.seed = static_cast<uint64_t>(*seed),
                                                   .rate = static_cast<uint64_t>(*rate)}));
}

absl::StatusOr<std::unique_ptr<SplitDiscovery>> MakeNexmarkDiscovery(const v1::Node& node, Env&) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap options, ReadNodeOptions(node));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("nexmark"));
  const OptionReader reader(spec->source_options, options);
  MILLRACE_ASSIGN_OR_RETURN(const auto splits, reader.Int("splits"));
  return MakeGeneratedDiscovery(static_cast<uint32_t>(*splits));
}

}  // namespace millrace
