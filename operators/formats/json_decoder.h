// JSON objects to columns, by simdjson's On-Demand parser: only the columns of the schema are
// converted; everything else is passed over (its UTF-8, quotes and brackets are checked, its values
// are not). Of equal keys the last one wins, as in JavaScript and Jackson. Private to this folder:
// formats whose messages hold such objects use it too.
#pragma once

#include <simdjson.h>

#include <array>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "operators/formats/format.h"
#include "operators/formats/format_errors.h"
#include "operators/formats/time_text.h"
#include "runtime/base/text.h"

namespace millrace {

namespace ondemand = simdjson::ondemand;

enum class TimestampForm { kSql, kIso8601, kEpochMillis };

struct JsonDecoderOptions {
  bool fail_on_missing_field = false;
  bool ignore_parse_errors = false;
  bool ignore_unknown_fields = true;
  TimestampForm timestamps = TimestampForm::kSql;
  int64_t depth_max = 64;
  int64_t message_bytes_max = int64_t{16} << 20;
};

// Short of the padding: a key may be compared past the end of the message.
constexpr size_t kSlotWords = 4;
static_assert(8 * kSlotWords <= kMessagePadding);

// One JSON object that columns are taken from; the root, or the value of a key of another one.
struct ObjectNode {
  struct Child {
    std::string key;               // Unescaped.
    int column = -1;               // A column of the schema; or
    ObjectNode* object = nullptr;  // an object with columns in it.
  };
  // The key that stood at this place of the last object, with its closing quote: most messages of
  // a stream have the same keys in the same order. Compared in words, without a call.
  struct Slot {
    std::array<uint64_t, kSlotWords> words{};
    std::array<uint64_t, kSlotWords> masks{};
    uint32_t word_count = 0;  // 0: nothing yet, or a key that is too long.
    int child = -1;           // -1: a key that is not wanted.

    void Set(const char* key, size_t bytes) {
      word_count = static_cast<uint32_t>((bytes + 7) / 8);
      words.fill(0);
      masks.fill(0);
      std::memcpy(words.data(), key, bytes);
      std::memset(masks.data(), 0xff, bytes);
    }
    // Reads whole words, perhaps behind the end of the message.
    bool Matches(const char* key) const {
      uint64_t difference = 0;
      for (uint32_t i = 0; i < word_count; ++i) {
        uint64_t word;
        std::memcpy(&word, key + 8 * i, 8);
        difference |= (word & masks[i]) ^ words[i];
      }
      return word_count != 0 && difference == 0;
    }
  };
  std::vector<Child> children;
  std::vector<Slot> slots;
  std::vector<int> columns;  // All below this object.
  bool seen = false;         // In the current message.
};

// For values that another program writes in forms of its own.
class JsonValueForms {
 public:
  enum class Result { kNotMine, kAppended, kBad };
  virtual ~JsonValueForms() = default;
  // Appends the value of `column` to its builder, if it has such a form; else leaves it untouched.
  virtual Result Append(int column, const Field& field, ondemand::value& value,
                        ColumnBuilder& builder) = 0;
};

class JsonDecoder : public Decoder {
 public:
  JsonDecoder(SchemaPtr schema, const JsonDecoderOptions& options)
      : schema_(std::move(schema)),
        options_(options),
        timestamp_parser_(options.timestamps == TimestampForm::kIso8601 ? TimestampText::kIso8601
                                                                        : TimestampText::kSql) {}

  // Builds the tree of paths. kInvalidArgument: two columns that exclude each other. With
  // `only_columns`, the others are NULL, whatever they are declared as.
  absl::Status Init(const std::vector<int>* only_columns = nullptr);
  // Outlives the decoder.
  void set_forms(JsonValueForms* forms) { forms_ = forms; }
  void Decode(std::span<const Message> messages, BatchBuilder& out,
              std::vector<NoRow>& none) override;
  // One message. False: nothing is appended, and `none` (whose index stays as it is) says why.
  bool DecodeRow(const Message& message, BatchBuilder& out, NoRow& none);

 private:
  bool DecodeOne(const Message& message, BatchBuilder& out);
  bool WalkObject(ObjectNode& node, ondemand::object object, BatchBuilder& out);
  bool TakeValue(ObjectNode::Child& child, ondemand::value& value, BatchBuilder& out);
  bool TakeObject(ObjectNode::Child& child, ondemand::value& value, BatchBuilder& out);
  bool AppendValue(const Field& field, ondemand::value& value, ColumnBuilder& column);
  bool AppendText(const Field& field, ondemand::value& value, ColumnBuilder& column);
  bool AppendNumber(const Field& field, ondemand::value& value, ColumnBuilder& column);
  bool FillMissing(BatchBuilder& out);
  // The child that `key` names; null when it is not wanted.
  ObjectNode::Child* FindChild(ObjectNode& node, size_t position, ondemand::field& field);
  ObjectNode::Child* LookUpChild(ObjectNode& node, size_t position, ondemand::field& field);

  bool Fail(std::string_view code, std::string error) {
    code_ = code;
    error_ = std::move(error);
    return false;
  }
  bool FailSyntax(simdjson::error_code error) {
    return Fail(kBadSyntax, Concat("not a JSON object: ", simdjson::error_message(error)));
  }
  bool FailValue(const Field& field, ondemand::value& value, std::string_view expected);
  size_t ByteOf(const char* place) const { return static_cast<size_t>(place - text_.data()); }

  const SchemaPtr schema_;
  const JsonDecoderOptions options_;
  std::deque<ObjectNode> nodes_;  // The first is the root.
  std::vector<bool> left_null_;   // By column; empty: none.
  JsonValueForms* forms_ = nullptr;
  ondemand::parser parser_;
  TimestampParser timestamp_parser_;
  std::string scratch_;
  // Of the current message.
  std::string_view text_;
  int64_t row_ = 0;
  int filled_ = 0;
  bool passed_over_container_ = false;
  std::string_view code_;
  std::string error_;
};

}  // namespace millrace
