// Rows with the rows of a table outside. Batches wait, in order, until the table has answered for
// all of their keys: one question at a time, for all keys of a batch that no answer is known for.
// A table that is read whole answers at once; read again, it takes the place of the former one
// between two batches.
#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/catalog/catalog.h"
#include "operators/joins/joins.h"
#include "operators/joins/lookup_cache.h"
#include "operators/joins/pairs.h"
#include "runtime/base/log.h"
#include "runtime/base/mailbox.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "runtime/columns/keys.h"
#include "runtime/columns/row_codec.h"
#include "runtime/task/counters.h"

namespace millrace {
namespace {

constexpr int64_t kRowsWaitingMax = 20'000;
constexpr size_t kKeysPerQuestion = 5'000;
constexpr absl::Duration kFirstPause = absl::Milliseconds(100);
constexpr absl::Duration kLongestPause = absl::Seconds(5);

enum class CacheKind { kNone = 0, kPartial = 1, kFull = 2 };  // As in the catalog.

struct LookupOptionValues {
  std::optional<CacheKind> cache;
  LookupCache::Options kept;
  int64_t rows_max = 0;
  std::optional<absl::Duration> reload;
  int64_t retries = 0;
};

absl::StatusOr<LookupOptionValues> ReadOptions(const v1::Source& table) {
  OptionMap options;
  for (const auto& [name, value] : table.options()) {
    if (name.starts_with("lookup.")) options.emplace(name, value);
  }
  const OptionReader reader(LookupOptions(), options);
  LookupOptionValues out;
  MILLRACE_ASSIGN_OR_RETURN(const auto cache, reader.Enum("lookup.cache"));
  if (cache) out.cache = static_cast<CacheKind>(*cache);
  MILLRACE_ASSIGN_OR_RETURN(const auto kept, reader.Int("lookup.partial-cache.max-rows"));
  MILLRACE_ASSIGN_OR_RETURN(const auto lives,
                            reader.Duration("lookup.partial-cache.expire-after-write"));
  MILLRACE_ASSIGN_OR_RETURN(const auto missing,
                            reader.Bool("lookup.partial-cache.cache-missing-key"));
  MILLRACE_ASSIGN_OR_RETURN(const auto rows, reader.Int("lookup.full-cache.max-rows"));
  MILLRACE_ASSIGN_OR_RETURN(out.reload,
                            reader.Duration("lookup.full-cache.periodic-reload.interval"));
  MILLRACE_ASSIGN_OR_RETURN(const auto retries, reader.Int("lookup.max-retries"));
  out.kept = {.rows_max = out.cache == CacheKind::kPartial ? *kept : 0,
              .lives_us = absl::ToInt64Microseconds(*lives),
              .keeps_missing = *missing};
  out.rows_max = *rows;
  out.retries = *retries;
  return out;
}

// What calls of the table on io threads use; it outlives the operator when one is under way.
struct Outside {
  Outside(std::unique_ptr<LookupTable> asked, std::function<void()> wake, const Env& with)
      : table(std::move(asked)), mailbox(std::move(wake)), env(with) {}

  // Every row, by its key.
  absl::StatusOr<LookupAnswers> ReadAll() const {
    BatchBuilder rows(schema);
    MILLRACE_RETURN_IF_ERROR(table->ReadAll(rows_max, rows));
    return ByKey(rows.Finish());
  }

  LookupAnswers ByKey(const Batch& rows) const {
    EncodedKeys encoded;
    EncodeKeys(rows, keys, encoded);
    std::vector<int> columns;
    for (int i = 0; i < schema->size(); ++i) columns.push_back(i);
    const RowCodec codec(schema);
    std::unordered_map<std::string_view, std::shared_ptr<std::vector<std::string>>, KeyHash>
        grouped;
    for (int64_t row = 0; row < rows.rows(); ++row) {
      // NULL is equal to nothing.
      if (std::any_of(keys.begin(), keys.end(),
                      [&](int key) { return rows.column(key).IsNull(row); })) {
        continue;
      }
      auto& of_key = grouped[encoded.key(row)];
      if (of_key == nullptr) of_key = std::make_shared<std::vector<std::string>>();
      codec.Append(rows, columns, row, of_key->emplace_back());
    }
    LookupAnswers answers;
    answers.reserve(grouped.size());
    for (auto& [key, of_key] : grouped) answers.emplace(key, std::move(of_key));
    return answers;
  }

  const std::unique_ptr<LookupTable> table;
  Mailbox mailbox;
  Env env;
  SchemaPtr schema;
  std::vector<int> keys;
  int64_t rows_max = 0;
};

class LookupJoin : public Operator {
 public:
  explicit LookupJoin(std::unique_ptr<LookupTable> table) : table_(std::move(table)) {}

  absl::Status Open(OperatorContext& context) override {
    context_ = &context;
    const v1::LookupJoin& body = context.node.lookup_join();
    const Schema& input = *context.input_schemas[0];
    MILLRACE_ASSIGN_OR_RETURN(options_, ReadOptions(body.table()));
    cache_.emplace(options_.kept);
    keeps_all_ = body.kind() == v1::Join::KIND_LEFT;
    outside_ = std::make_shared<Outside>(std::move(table_), context.wake, *context.env);
    outside_->schema = Schema::FromProto(body.table_schema());
    outside_->rows_max = options_.rows_max;
    codec_.emplace(outside_->schema);
    for (const uint32_t id : body.left_keys().ids()) key_columns_.push_back(input.IndexOfId(id));
    for (const uint32_t id : body.right_keys().ids()) {
      outside_->keys.push_back(outside_->schema->IndexOfId(id));
    }
    pair_schema_ = PairSchema(input, *outside_->schema, body.right_id_offset());
    MILLRACE_ASSIGN_OR_RETURN(
        condition_, PairCondition::Make(body.has_condition() ? &body.condition() : nullptr,
                                        *pair_schema_, context));
    for (const Field& field : context.output_schema->fields()) {
      from_.push_back(pair_schema_->IndexOfId(field.id));
    }
    OpenMetrics();
    MILLRACE_RETURN_IF_ERROR(
        outside_->table->Open(outside_->schema, outside_->keys, outside_->env));
    is_whole_ = !outside_->table->finds_by_key() || options_.cache == CacheKind::kFull;
    if (!is_whole_) return absl::OkStatus();
    MILLRACE_ASSIGN_OR_RETURN(LookupAnswers all, outside_->ReadAll());
    Use(std::move(all));
    ReloadLater(outside_, options_.reload, this);
    return absl::OkStatus();
  }

  absl::Status Process(int, const Batch& batch, Emitter& out) override {
    waiting_.push_back({.batch = batch});
    rows_waiting_ += batch.rows();
    return Advance(out);
  }

  absl::StatusOr<Settled> Collect(bool, Emitter& out) override {
    // A table that is read again comes by a letter, which must not wait for rows.
    if (is_whole_ && !options_.reload) return Settled{.synchronous = true};
    MILLRACE_RETURN_IF_ERROR(Advance(out));
    return Settled{.rows = settled_, .full = rows_waiting_ > kRowsWaitingMax};
  }

 private:
  struct Waiting {
    Batch batch;
    bool is_encoded = false;
    EncodedKeys keys;
    std::vector<LookupRows> rows;  // Of each row of the batch; null: not known yet.
    std::vector<int32_t> unknown;  // Rows of the batch, ascending.
    RowErrors unreadable;          // Rows of the batch whose rows cannot be read, in any order.
  };

  void OpenMetrics() {
    OperatorMetrics& metrics = context_->counters.metrics;
    questions_ =
        &metrics.Counter("millrace_lookup_requests_total",
                         "Questions to the table of a lookup join, for many keys each.", {});
    failures_ = &metrics.Counter("millrace_lookup_failures_total",
                                 "Questions to the table, or readings of it, that failed.", {});
    cached_ = &metrics.Counter("millrace_lookup_keys_total",
                               "Keys of batches of a lookup join, by where the answer came from.",
                               {{"result", "cached"}});
    asked_ = &metrics.Counter("millrace_lookup_keys_total",
                              "Keys of batches of a lookup join, by where the answer came from.",
                              {{"result", "asked"}});
    rows_kept_ = &metrics.Gauge("millrace_lookup_rows",
                                "Rows of the table of a lookup join that the task has.", {});
  }

  // ---- a table that is read whole ----

  void Use(LookupAnswers all) {
    whole_ = std::move(all);
    size_t rows = 0;
    for (const auto& [key, of_key] : whole_) rows += of_key->size();
    rows_kept_->Set(static_cast<double>(rows));
  }

  // Holds no reference to what it reads for, so that it ends with the operator.
  static void ReloadLater(const std::shared_ptr<Outside>& outside,
                          std::optional<absl::Duration> interval, LookupJoin* self) {
    if (!interval) return;
    outside->env.executor.RunAfter(*interval, [weak = std::weak_ptr(outside), interval, self] {
      const auto held = weak.lock();
      if (held == nullptr) return;
      held->env.executor.RunBlocking([held, interval, self] {
        auto all = held->ReadAll();
        held->mailbox.Post([self, all = std::move(all)]() mutable {
          if (all.ok()) return self->Use(*std::move(all));
          self->failures_->Add(1);
          LogWarning("cannot read the table of a lookup again; goes on with the old one",
                     {{"uid", self->context_->node.uid()}, {"error", all.status().ToString()}});
        });
        ReloadLater(held, interval, self);
      });
    });
  }

  // ---- a table that is asked ----

  absl::Status Advance(Emitter& out) {
    outside_->mailbox.RunPosted();
    MILLRACE_RETURN_IF_ERROR(failure_);
    while (!waiting_.empty()) {
      Waiting& first = waiting_.front();
      Resolve(first);
      if (!first.unknown.empty()) {
        if (!is_asking_) Ask(first);
        break;
      }
      MILLRACE_RETURN_IF_ERROR(EmitJoined(first, out));
      settled_ += static_cast<uint64_t>(first.batch.rows());
      rows_waiting_ -= first.batch.rows();
      waiting_.pop_front();
    }
    return absl::OkStatus();
  }

  bool HasNullKey(const Batch& batch, int64_t row) const {
    return std::any_of(key_columns_.begin(), key_columns_.end(),
                       [&](int key) { return batch.column(key).IsNull(row); });
  }

  // Finds the rows of the table for those of the batch that are known.
  void Resolve(Waiting& one) {
    if (one.is_encoded) return;
    one.is_encoded = true;
    EncodeKeys(one.batch, key_columns_, one.keys);
    one.rows.resize(static_cast<size_t>(one.batch.rows()));
    const int64_t now_us = absl::ToUnixMicros(context_->clock.Now());
    for (int32_t row = 0; row < one.batch.rows(); ++row) {
      LookupRows& rows = one.rows[static_cast<size_t>(row)];
      if (HasNullKey(one.batch, row)) {
        rows = none_;
      } else if (is_whole_) {
        const auto found = whole_.find(one.keys.key(row));
        rows = found == whole_.end() ? none_ : found->second;
      } else {
        rows = cache_->Find(one.keys.key(row), now_us);
      }
      if (rows == nullptr) one.unknown.push_back(row);
    }
    cached_->Add(static_cast<double>(one.batch.rows()) - static_cast<double>(one.unknown.size()));
    asked_->Add(static_cast<double>(one.unknown.size()));
  }

  // Asks for the first keys of the batch that are not known.
  void Ask(const Waiting& one) {
    std::vector<int32_t> rows;
    std::unordered_set<std::string_view, KeyHash> seen;
    for (const int32_t row : one.unknown) {
      if (rows.size() == kKeysPerQuestion) break;
      if (seen.insert(one.keys.key(row)).second) rows.push_back(row);
    }
    std::vector<Column> columns;
    std::vector<Field> fields;
    for (size_t i = 0; i < key_columns_.size(); ++i) {
      columns.push_back(Take(one.batch.column(key_columns_[i]), rows));
      fields.push_back(outside_->schema->field(outside_->keys[i]));
    }
    question_.clear();
    for (const int32_t row : rows) question_.emplace_back(one.keys.key(row));
    wanted_ = Batch(Schema::Make(std::move(fields)), static_cast<int64_t>(rows.size()),
                    std::move(columns));
    attempts_ = 0;
    is_asking_ = true;
    Send();
  }

  void Send() {
    ++attempts_;
    questions_->Add(1);
    // `this` is for the letter alone.
    outside_->env.executor.RunBlocking([outside = outside_, wanted = wanted_, self = this] {
      BatchBuilder rows(outside->schema);
      RowErrors bad;
      const absl::Status status = outside->table->Find(wanted, rows, bad);
      LookupAnswers answers;
      if (status.ok()) answers = outside->ByKey(rows.Finish());
      outside->mailbox.Post(
          [self, status, answers = std::move(answers), bad = std::move(bad)]() mutable {
            self->OnAnswer(status, std::move(answers), bad);
          });
    });
  }

  void OnAnswer(const absl::Status& status, LookupAnswers answers, const RowErrors& bad) {
    if (!status.ok()) {
      failures_->Add(1);
      if (RemedyFor(status) != Remedy::kRestartJob || attempts_ > options_.retries) {
        failure_ = Annotate(status, "cannot look up");
        return;
      }
      const absl::Duration pause =
          std::min(kLongestPause, kFirstPause * static_cast<double>(1 << std::min(attempts_, 10)));
      outside_->env.executor.RunAfter(pause, [outside = outside_, self = this] {
        outside->mailbox.Post([self] { self->Send(); });
      });
      return;
    }
    is_asking_ = false;
    const int64_t now_us = absl::ToUnixMicros(context_->clock.Now());
    std::unordered_map<std::string_view, std::string_view, KeyHash> problems;
    for (const RowErrors::Entry& one : bad.entries) {
      problems.emplace(question_[static_cast<size_t>(one.row)], one.message);
    }
    std::unordered_map<std::string_view, LookupRows, KeyHash> known;
    for (const std::string& key : question_) {
      if (problems.contains(key)) continue;  // It may be repaired at once: not kept.
      const auto found = answers.find(key);
      const LookupRows rows = found == answers.end() ? none_ : found->second;
      cache_->Add(key, rows, now_us);
      known.emplace(key, rows);
    }
    rows_kept_->Set(static_cast<double>(cache_->rows()));
    Waiting& one = waiting_.front();
    std::erase_if(one.unknown, [&](int32_t row) {
      const std::string_view key = one.keys.key(row);
      LookupRows& rows = one.rows[static_cast<size_t>(row)];
      if (const auto found = known.find(key); found != known.end()) {
        rows = found->second;
        return true;
      }
      const auto problem = problems.find(key);
      if (problem == problems.end()) return false;
      rows = none_;
      one.unreadable.entries.push_back({row, std::string(problem->second)});
      return true;
    });
  }

  // ---- output ----

  // Rows whose partners nobody can read go to the dead letters, and are nowhere else.
  void EmitUnreadable(Waiting& one, std::vector<bool>& is_done, Emitter& out) {
    auto& entries = one.unreadable.entries;
    if (entries.empty()) return;
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.row < b.row; });
    for (const RowErrors::Entry& entry : entries) is_done[static_cast<size_t>(entry.row)] = true;
    (void)DeadLetterRows(context_->node.uid(), "MR4110", one.batch, one.unreadable,
                         context_->counters, context_->clock, out);
  }

  absl::Status EmitJoined(Waiting& one, Emitter& out) {
    std::vector<int32_t> lefts;
    BatchBuilder rights(outside_->schema);
    for (int32_t row = 0; row < one.batch.rows(); ++row) {
      for (const std::string& bytes : *one.rows[static_cast<size_t>(row)]) {
        lefts.push_back(row);
        MILLRACE_RETURN_IF_ERROR(codec_->Decode(bytes, rights));
      }
    }
    std::vector<bool> is_done(static_cast<size_t>(one.batch.rows()), false);
    EmitUnreadable(one, is_done, out);
    if (!lefts.empty()) {
      MILLRACE_ASSIGN_OR_RETURN(const Batch pairs, Fitting(one.batch, lefts, rights.Finish(), out));
      for (const int32_t row : lefts) is_done[static_cast<size_t>(row)] = true;
      out.Emit(ToOutput(pairs));
    }
    if (!keeps_all_) return absl::OkStatus();
    std::vector<int32_t> alone;
    for (int32_t row = 0; row < one.batch.rows(); ++row) {
      if (!is_done[static_cast<size_t>(row)]) alone.push_back(row);
    }
    if (alone.empty()) return absl::OkStatus();
    const Batch left = Take(one.batch, alone);
    out.Emit(ToOutput(left.WithColumns(pair_schema_, BesideNulls(left, *outside_->schema))));
    return absl::OkStatus();
  }

  // The pairs that fulfil the condition; `lefts` keeps their left rows.
  absl::StatusOr<Batch> Fitting(const Batch& batch, std::vector<int32_t>& lefts,
                                const Batch& rights, Emitter& out) {
    const Batch left = Take(batch, lefts);
    Batch pairs = left.WithColumns(pair_schema_, SideBySide(left, rights));
    std::vector<bool> fits(lefts.size(), true);
    MILLRACE_RETURN_IF_ERROR(condition_.Check(pairs, out, fits));
    if (std::all_of(fits.begin(), fits.end(), [](bool one) { return one; })) return pairs;
    std::vector<int32_t> kept, kept_lefts;
    for (size_t i = 0; i < fits.size(); ++i) {
      if (!fits[i]) continue;
      kept.push_back(static_cast<int32_t>(i));
      kept_lefts.push_back(lefts[i]);
    }
    lefts = std::move(kept_lefts);
    return Take(pairs, kept);
  }

  Batch ToOutput(const Batch& pairs) const {
    std::vector<Column> columns;
    columns.reserve(from_.size());
    for (const int from : from_) columns.push_back(pairs.column(from));
    return pairs.WithColumns(context_->output_schema, std::move(columns));
  }

  const LookupRows none_ = std::make_shared<const std::vector<std::string>>();
  std::unique_ptr<LookupTable> table_;  // Until Open.
  OperatorContext* context_ = nullptr;
  LookupOptionValues options_;
  std::shared_ptr<Outside> outside_;
  std::optional<RowCodec> codec_;
  std::vector<int> key_columns_;
  SchemaPtr pair_schema_;
  PairCondition condition_;
  std::vector<int> from_;  // Columns of pairs.
  bool keeps_all_ = false;
  bool is_whole_ = false;
  LookupAnswers whole_;
  std::optional<LookupCache> cache_;

  std::deque<Waiting> waiting_;
  int64_t rows_waiting_ = 0;
  uint64_t settled_ = 0;
  // The question that is under way, for the first of waiting_.
  bool is_asking_ = false;
  int attempts_ = 0;
  std::vector<std::string> question_;
  Batch wanted_;
  absl::Status failure_;

  OperatorMetrics::Number *questions_ = nullptr, *failures_ = nullptr, *cached_ = nullptr,
                          *asked_ = nullptr, *rows_kept_ = nullptr;
};

}  // namespace

std::unique_ptr<Operator> MakeLookupJoin(std::unique_ptr<LookupTable> table) {
  return std::make_unique<LookupJoin>(std::move(table));
}

}  // namespace millrace
