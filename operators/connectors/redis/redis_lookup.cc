// Keys of Redis as a table that is asked by key: a hash whose fields are columns, or a text in one
// of our formats. The columns of the key's name come from the question.
#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "millrace/v1/graph.pb.h"
#include "operators/catalog/key_template.h"
#include "operators/connectors/node_options.h"
#include "operators/connectors/redis/redis_connection.h"
#include "operators/connectors/redis/redis_connector.h"
#include "operators/connectors/redis/redis_values.h"
#include "operators/formats/format.h"
#include "operators/formats/format_errors.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

// One round trip each; what Redis keeps for a client that reads slowly stays small.
constexpr int64_t kKeysAtOnce = 500;

struct RedisLookupOptions {
  RedisServer server;
  std::optional<KeyTemplate> key;
  std::string format;  // Empty: hashes.
  FormatOptions format_options;
};

absl::StatusOr<std::shared_ptr<TlsClient>> ReadTls(const OptionReader& reader) {
  MILLRACE_ASSIGN_OR_RETURN(const auto on, reader.Bool("tls"));
  MILLRACE_ASSIGN_OR_RETURN(const auto ca, reader.String("tls.ca.pem"));
  MILLRACE_ASSIGN_OR_RETURN(const auto certificate, reader.String("tls.certificate.pem"));
  MILLRACE_ASSIGN_OR_RETURN(auto key, reader.String("tls.key.pem"));
  if (!*on) {
    if (!ca && !certificate && !key) return nullptr;
    return absl::InvalidArgumentError("options 'tls.…' are given without 'tls' = 'true'");
  }
  return TlsClient::Make({.ca = ca.value_or(""),
                          .certificate = certificate.value_or(""),
                          .key = Secret(std::move(key).value_or(""))});
}

absl::StatusOr<RedisLookupOptions> ReadOptions(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(const OptionMap all, ReadNodeOptions(node, TableUse::kLookup));
  MILLRACE_ASSIGN_OR_RETURN(const ConnectorSpec* spec, FindConnectorSpec("redis"));
  const OptionReader reader(spec->lookup_options, all);
  RedisLookupOptions out;
  MILLRACE_ASSIGN_OR_RETURN(const auto host, reader.String("hostname"));
  out.server.host = host.value_or("");
  MILLRACE_ASSIGN_OR_RETURN(const auto port, reader.Int("port"));
  out.server.port = std::to_string(*port);
  MILLRACE_ASSIGN_OR_RETURN(const auto user, reader.String("username"));
  out.server.user = user.value_or("");
  MILLRACE_ASSIGN_OR_RETURN(auto password, reader.String("password"));
  out.server.password = Secret(std::move(password).value_or(""));
  if (!out.server.user.empty() && out.server.password.empty()) {
    return absl::InvalidArgumentError("option 'username' needs option 'password'");
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto database, reader.Int("database"));
  out.server.database = *database;
  MILLRACE_ASSIGN_OR_RETURN(const auto timeout, reader.Duration("lookup.timeout"));
  out.server.timeout = *timeout;
  MILLRACE_ASSIGN_OR_RETURN(out.server.tls, ReadTls(reader));
  MILLRACE_ASSIGN_OR_RETURN(const auto key, reader.String("key"));
  if (key) {
    MILLRACE_ASSIGN_OR_RETURN(out.key, KeyTemplate::Parse(*key));
  }
  out.format = node.source().format();
  for (const auto& [name, value] : all) {
    if (name.starts_with(out.format + ".")) out.format_options.emplace(name, value);
  }
  return out;
}

class RedisLookup : public LookupTable {
 public:
  explicit RedisLookup(RedisLookupOptions options) : options_(std::move(options)) {}

  absl::Status Open(SchemaPtr schema, std::vector<int> keys, const Env& env) override {
    env_.emplace(env);
    schema_ = std::move(schema);
    keys_ = std::move(keys);
    if (!options_.key && keys_.size() == 1) {
      options_.key = KeyTemplate::OfColumn(schema_->field(keys_[0]).name);
    }
    if (!options_.key) return absl::InvalidArgumentError("option 'key' is missing");
    for (const KeyTemplate::Piece& piece : options_.key->pieces) {
      if (!piece.is_column) {
        name_columns_.push_back(-1);
        continue;
      }
      const auto at = std::find_if(keys_.begin(), keys_.end(),
                                   [&](int key) { return schema_->field(key).name == piece.text; });
      if (at == keys_.end()) {
        return absl::InvalidArgumentError(
            Concat("option 'key' names column '", piece.text, "', by which nothing is asked"));
      }
      name_columns_.push_back(static_cast<int>(at - keys_.begin()));
    }
    MILLRACE_RETURN_IF_ERROR(OpenValues());
    // Wrong addresses and passwords are told at once.
    return Connect();
  }

  bool finds_by_key() const override { return true; }

  absl::Status Find(const Batch& wanted, BatchBuilder& out, RowErrors& bad) override {
    std::vector<int32_t> rows;  // Of `wanted`, of each row of values_.
    for (int64_t begin = 0; begin < wanted.rows(); begin += kKeysAtOnce) {
      const int64_t end = std::min(begin + kKeysAtOnce, wanted.rows());
      const absl::Status status = FindSome(wanted, begin, end, rows, bad);
      if (status.ok()) continue;
      connection_ = nullptr;
      values_->Finish();
      return status;
    }
    Append(wanted, rows, out);
    return absl::OkStatus();
  }

  absl::Status ReadAll(int64_t, BatchBuilder&) override {
    return absl::UnimplementedError(
        "a table in Redis cannot be read whole: 'lookup.cache' is 'NONE' or 'PARTIAL'");
  }

 private:
  // What a column of the table is made of.
  struct From {
    int key = -1;    // Column of the question.
    int value = -1;  // Column of values_.
  };

  absl::Status OpenValues() {
    std::vector<Field> fields;
    command_ = {options_.format.empty() ? "HMGET" : "GET", ""};
    for (int i = 0; i < schema_->size(); ++i) {
      const auto asked = std::find(keys_.begin(), keys_.end(), i);
      From from;
      if (asked != keys_.end()) from.key = static_cast<int>(asked - keys_.begin());
      if (std::find(name_columns_.begin(), name_columns_.end(), from.key) == name_columns_.end() ||
          from.key < 0) {
        from.value = static_cast<int>(fields.size());
        fields.push_back(schema_->field(i));
        if (options_.format.empty()) command_.push_back(schema_->field(i).name);
      }
      from_.push_back(from);
    }
    if (fields.empty()) {
      return absl::InvalidArgumentError("the table has no column beside those of the key's name");
    }
    value_schema_ = Schema::Make(std::move(fields));
    values_.emplace(value_schema_);
    if (options_.format.empty()) return absl::OkStatus();
    MILLRACE_ASSIGN_OR_RETURN(const Format* format, FindFormat(options_.format));
    MILLRACE_ASSIGN_OR_RETURN(
        decoder_, format->make_decoder({.schema = value_schema_}, options_.format_options));
    return absl::OkStatus();
  }

  absl::Status Connect() {
    if (connection_ != nullptr) return absl::OkStatus();
    MILLRACE_ASSIGN_OR_RETURN(connection_, RedisConnection::Open(options_.server, *env_));
    return absl::OkStatus();
  }

  std::string NameOf(const Batch& wanted, int64_t row) const {
    std::string name;
    for (size_t i = 0; i < name_columns_.size(); ++i) {
      if (name_columns_[i] < 0) {
        name += options_.key->pieces[i].text;
      } else {
        AppendRedisKeyText(wanted.column(name_columns_[i]), row, name);
      }
    }
    return name;
  }

  absl::Status FindSome(const Batch& wanted, int64_t begin, int64_t end, std::vector<int32_t>& rows,
                        RowErrors& bad) {
    MILLRACE_RETURN_IF_ERROR(Connect());
    std::string commands;
    std::vector<std::string> names;
    for (int64_t row = begin; row < end; ++row) {
      std::vector<std::string_view> words(command_.begin(), command_.end());
      words[1] = names.emplace_back(NameOf(wanted, row));
      AppendRespCommand(words, commands);
    }
    return connection_->Ask(commands, names.size(), [&](size_t i, const RespReply& reply) {
      const auto row = static_cast<int32_t>(begin + static_cast<int64_t>(i));
      std::string problem;
      if (reply.kind == RespReply::Kind::kError) {
        if (!reply.text.starts_with("WRONGTYPE")) {
          return StatusOfRedisError(reply.text, options_.server);
        }
        problem = options_.format.empty() ? "it is no hash; a table of texts has a 'format'"
                                          : "it is no text; a table of hashes has no 'format'";
      } else if (options_.format.empty()) {
        MILLRACE_ASSIGN_OR_RETURN(const bool found, AppendHash(reply, problem));
        if (found) rows.push_back(row);
      } else {
        MILLRACE_ASSIGN_OR_RETURN(const bool found, AppendPayload(reply, problem));
        if (found) rows.push_back(row);
      }
      if (!problem.empty()) {
        bad.entries.push_back({row, Concat("key '", Excerpt(names[i]), "' of ",
                                           options_.server.Text(), ": ", problem)});
      }
      return absl::OkStatus();
    });
  }

  // True: a row was appended to values_. `problem` says why one that is there was not.
  absl::StatusOr<bool> AppendHash(const RespReply& reply, std::string& problem) {
    if (reply.kind != RespReply::Kind::kArray ||
        reply.elements.size() != static_cast<size_t>(value_schema_->size())) {
      return absl::DataLossError("an answer of Redis has other fields than were asked for");
    }
    // Redis has no empty hashes: a key without any of the fields is as good as none.
    if (std::none_of(reply.elements.begin(), reply.elements.end(),
                     [](const auto& element) { return element.has_value(); })) {
      return false;
    }
    const int64_t before = values_->rows();
    for (int i = 0; i < value_schema_->size(); ++i) {
      const Field& field = value_schema_->field(i);
      const auto& text = reply.elements[static_cast<size_t>(i)];
      if (text && !reader_.Append(*text, values_->column(i))) {
        problem = Concat("field '", field.name, "': expected ", TypeText(field.type), ", found \"",
                         Excerpt(*text), "\"");
      } else if (!text && !field.nullable) {
        problem = Concat("field '", field.name, "' is missing, and NOT NULL");
      } else if (!text) {
        values_->column(i).AppendNull();
      }
      if (problem.empty()) continue;
      for (int j = 0; j < i; ++j) values_->column(j).Truncate(before);
      return false;
    }
    return true;
  }

  absl::StatusOr<bool> AppendPayload(const RespReply& reply, std::string& problem) {
    if (reply.kind == RespReply::Kind::kNull) return false;
    if (reply.kind != RespReply::Kind::kText) {
      return absl::DataLossError("an answer of Redis is no text");
    }
    padded_.assign(reply.text);
    padded_.append(kMessagePadding, '\0');
    const Message message{.value = std::string_view(padded_).substr(0, reply.text.size())};
    std::vector<NoRow> none;
    decoder_->Decode({&message, 1}, *values_, none);
    if (none.empty()) return true;
    if (none[0].is_bad()) problem = std::move(none[0].error);
    return false;
  }

  // The rows of values_ with the columns of the question, where both have a column and agree.
  void Append(const Batch& wanted, const std::vector<int32_t>& rows, BatchBuilder& out) {
    const Batch values = values_->Finish();
    for (int64_t row = 0; row < values.rows(); ++row) {
      const int32_t asked = rows[static_cast<size_t>(row)];
      const bool agrees = std::all_of(from_.begin(), from_.end(), [&](const From& from) {
        return from.key < 0 || from.value < 0 ||
               ValueText(values.column(from.value), row) ==
                   ValueText(wanted.column(from.key), asked);
      });
      if (!agrees) continue;
      for (size_t i = 0; i < from_.size(); ++i) {
        ColumnBuilder& column = out.column(static_cast<int>(i));
        if (from_[i].value < 0) {
          column.AppendFrom(wanted.column(from_[i].key), asked);
        } else {
          column.AppendFrom(values.column(from_[i].value), row);
        }
      }
    }
  }

  RedisLookupOptions options_;
  std::optional<Env> env_;
  SchemaPtr schema_, value_schema_;
  std::vector<int> keys_;
  std::vector<int> name_columns_;     // Of a question, per piece of the template; -1: plain text.
  std::vector<std::string> command_;  // Its second word is the key.
  std::vector<From> from_;            // Per column of the table.
  std::unique_ptr<Decoder> decoder_;
  RedisValueReader reader_;
  std::optional<BatchBuilder> values_;
  std::string padded_;
  std::unique_ptr<RedisConnection> connection_;  // Null: to be made.
};

}  // namespace

absl::StatusOr<std::unique_ptr<LookupTable>> MakeRedisLookup(const v1::Node& node) {
  MILLRACE_ASSIGN_OR_RETURN(RedisLookupOptions options, ReadOptions(node));
  return std::make_unique<RedisLookup>(std::move(options));
}

}  // namespace millrace
