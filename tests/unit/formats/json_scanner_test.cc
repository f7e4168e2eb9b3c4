// The scanner takes plain messages and refuses the others; with it, the decoder makes of every
// document what the parser makes of it alone.
#include "operators/formats/json_scanner.h"

#include <random>

#include "gtest/gtest.h"
#include "tests/unit/formats/json_paths.h"

namespace millrace {
namespace {

class ScannerTest : public ::testing::Test {
 protected:
  bool Takes(const std::string& text) {
    const std::string padded = text + std::string(kMessagePadding, '}');
    BatchBuilder row(schema_);
    return scanner_.Append(std::string_view(padded).substr(0, text.size()), 0, row);
  }
  const SchemaPtr schema_ = JsonPathsSchema();
  const JsonTree tree_ = MakeJsonTree(*schema_, {}, 64).value();
  JsonScanner scanner_{schema_, {}, tree_};
};

TEST_F(ScannerTest, TakesPlainMessages) {
  for (const char* text :
       {R"({"key":1})", R"({"key":-9223372036854775807,"a":9223372036854775807})",
        R"({"key":1,"a":null,"b":"text","c":-1.5e3,"d":"2026-01-31 12:00:00.123","e":true})",
        R"({"key":1,"o":{"f":7,"g":"2026-01-31","h":"AAEC","p":{"i":"12.34","j":"é"}}})",
        R"({"key":1,"o":{"f":7,"p":null}})", R"({"o":null,"key":1})", R"({"o":{},"key":1})",
        R"({ "key" : 1 , "o" : { "p" : { "j" : "" } } } )", "{\n\t\"key\": 1\r\n}\n",
        R"({"key":1,"unknown":[{"a":"}"},[],"\"]"],"other":{"deep":[[1]]},"last":-0.5e1})",
        R"({"key":1,"b":"\u00e9\n\"\ud83d\ude00","unknown":"\\"})", R"({"\u006bey":1})"}) {
    EXPECT_TRUE(Takes(text)) << text;
    EXPECT_TRUE(Takes(text)) << "again: " << text;
  }
}

TEST_F(ScannerTest, RefusesTheOthers) {
  ASSERT_TRUE(Takes(R"({"key":1,"a":2,"b":"x"})"));
  for (const char* text : {"",
                           " ",
                           "{",
                           "7",
                           "[]",
                           R"({"key":1)",
                           R"({"key":1,})",
                           R"({,"key":1})",
                           R"({"key":1}})",
                           R"({"key":1} x)",
                           R"({"key":1,"a":2,"a":3})",
                           R"({"key":1,"a":01})",
                           R"({"key":1,"a":-0})",
                           R"({"key":1,"a":9223372036854775808})",
                           R"({"key":1,"a":12345678901234567890})",
                           R"({"key":1,"a":1.5})",
                           R"({"key":1,"a":"1"})",
                           R"({"key":1,"a":})",
                           R"({"key":1,"a":-})",
                           R"({"key":1,"b":"x)",
                           R"({"key":1,"b":"\x"})",
                           "{\"key\":1,\"b\":\"\xff\"}",
                           "{\"key\":1,\"b\":\"\n\"}",
                           "{\"key\":1,\"y\":\"\\\xff\"}",
                           R"({"key":1,"e":truth})",
                           R"({"key":1,"e":nulL})",
                           R"({"key":1,"y":nulL})",
                           R"({"key":null})",
                           R"({"a":1})",
                           R"({"key":1,"c":1e400})",
                           R"({"key":1,"c":.5})",
                           R"({"key":1,"c":01.5})",
                           R"({"key":1,"f":{"x":[})",
                           R"({"key":1,"x":{\"}})",
                           R"({"key":1,"o":{},"o":{}})",
                           R"({"key":1,"o":{},"o":null})",
                           R"({"key":1,"o":{"f"}})",
                           R"({"key":1,"o":{"f":}})",
                           R"({"key":1,"o":7})",
                           R"({"key":1,"d":"2026-02-30 00:00:00"})",
                           R"({"key":1 "a":2})"}) {
    EXPECT_FALSE(Takes(text)) << text;
  }
  const std::string deep = R"({"key":1,"x":)" + std::string(64, '[') + std::string(64, ']') + "}";
  EXPECT_FALSE(Takes(deep));
}

// Wherever it stands in a block of bytes.
TEST_F(ScannerTest, AnEscapeHidesNoBadByte) {
  for (size_t length = 0; length < 70; ++length) {
    const std::string before = R"({"key":1,"y":")" + std::string(length, 'y') + "\\";
    EXPECT_TRUE(Takes(before + "n\"}")) << length;
    EXPECT_FALSE(Takes(before + "\xff\"}")) << length;
    EXPECT_FALSE(Takes(before + "\n\"}")) << length;
  }
}

// At every end of a message, bytes follow that could be its own.
TEST_F(ScannerTest, ReadsNothingBehindTheEnd) {
  const std::string text = R"({"key":1234567890123,"b":"some text","o":{"p":{"j":"x"}},"z":[1,2]})";
  ASSERT_TRUE(Takes(text));
  const std::string padded = text + std::string(kMessagePadding, ' ');
  for (size_t size = 0; size < text.size(); ++size) {
    BatchBuilder row(schema_);
    EXPECT_FALSE(scanner_.Append(std::string_view(padded).substr(0, size), 0, row)) << size;
  }
}

class RandomDocuments {
 public:
  RandomDocuments(uint64_t seed, TimestampForm timestamps)
      : timestamps_(timestamps), random_(seed) {}
  uint64_t Below(uint64_t n) { return random_() % n; }

  // Mostly keys in one order, now and then others; one in three is damaged.
  std::string Next() {
    std::string text = Object(kRoot, 0);
    if (Below(3) != 0) return text;
    for (uint64_t step = 1 + Below(2); step > 0; --step) Damage(text);
    return text;
  }

 private:
  struct Key {
    const char* name;
    char kind;
  };
  static constexpr Key kRoot[] = {{"key", 'n'}, {"a", 'n'}, {"b", 's'}, {"c", 'x'},
                                  {"d", 't'},   {"e", 'b'}, {"o", 'o'}, {"more", '*'}};
  static constexpr Key kInner[] = {{"f", 'i'}, {"g", 'd'}, {"h", '6'}, {"p", 'p'}, {"z", '*'}};
  static constexpr Key kInmost[] = {{"i", 'm'}, {"j", 's'}};

  std::string Pick(std::initializer_list<const char*> of) {
    return std::data(of)[Below(of.size())];
  }
  bool Rarely() { return Below(300) == 0; }
  bool Sometimes() { return Below(60) == 0; }

  std::string Text() {
    std::string text;
    for (uint64_t i = Below(Rarely() ? 100 : 12); i > 0; --i) {
      text += Rarely() ? Pick({"\\\x01", "\\\xff", "\\n", "\\\"", "\\u00e9", "\\ud83d\\ude00",
                               "\\ud83d", "é", "😀", "\\/", "\\q", "\xff", "\x01", "{", "]"})
                       : std::string(1, static_cast<char>('a' + Below(26)));
    }
    return "\"" + text + "\"";
  }

  std::string Timestamp() {
    if (Rarely()) {
      return Pick({"\"2026-02-29 00:00:00\"", "\"2026-01-31T12:00:00Z\"", "17000000",
                   "\"2026-01-31 12:00:00.1234567\"", "\"2026-01-31 12:00:00.1:3\"",
                   "\"2026-01-31 24:00:00.000\"", "9223372036854775807"});
    }
    if (timestamps_ == TimestampForm::kEpochMillis) return std::to_string(random_() >> 24);
    const auto digits = [&](uint64_t from, uint64_t below) {
      return std::to_string(from + Below(below - from));
    };
    return "\"20" + digits(10, 90) + (Below(2) == 0 ? "-01-31" : "-12-01") +
           (timestamps_ == TimestampForm::kSql ? " " : "T") + digits(10, 24) +
           ":30:" + digits(10, 60) + "." + digits(100, 1000) + "\"";
  }

  std::string Value(char kind, int depth) {
    if (Rarely()) return Value(Pick({"n", "s", "x", "t", "b", "o", "*"})[0], depth + 1);
    if (Below(40) == 0) return "null";
    switch (kind) {
      case 'n':
        return Sometimes() ? Pick({"9223372036854775807", "9999999999999999999",
                                   "-9223372036854775808", "9223372036854775808", "-0", "00", "1e2",
                                   "12.0", "18446744073709551615"})
                           : std::to_string(static_cast<int64_t>(random_()) >> Below(64));
      case 'i':
        return std::to_string(static_cast<int64_t>(random_()) >>
                              ((Rarely() ? 28 : 33) + Below(28)));
      case 's':
        return Text();
      case 'x':
        return Rarely() ? Pick({"1e308", "1e309", "-0.0", "5e-324", "1e-400", "0.1e-5",
                                "123456789012345678901", "9007199254740993",
                                "2.2250738585072011e-308", "1.", ".5", "1E+2", "-"})
                        : std::to_string(static_cast<double>(random_() >> 11) / 7.0) +
                              Pick({"", "", "e3", "E-20"});
      case 't':
        return Timestamp();
      case 'b':
        return Rarely() ? Pick({"truE", "\"true\"", "t"}) : Pick({"true", "false"});
      case 'd':
        return Rarely() ? "\"2026-1-31\"" : Pick({"\"2026-01-31\"", "\"2024-02-29\""});
      case '6':
        return Rarely() ? "\"A\"" : Pick({"\"AAEC\"", "\"\"", "\"AA\\/C\""});
      case 'm':
        return Rarely() ? Pick({"123456789012345678901", "\"x\"", "1.e1", ".1"})
                        : Pick({"12.34", "\"7.5\"", "1e3", "-0.005"});
      case 'o':
        return depth > 3 ? "{}" : Object(kInner, depth + 1);
      case 'p':
        return depth > 3 ? "{}" : Object(kInmost, depth + 1);
      default:
        return depth > 3 ? Pick({"[]", "{}", "7", "tru", "\"\\\\\""})
                         : "[" + Value('s', depth + 1) + Space() + "," + Value('*', depth + 1) +
                               Pick({"", ",{\"a\":{}}"}) + "]";
    }
  }

  std::string Space() { return Rarely() ? Pick({" ", "\n  ", "\t", "\x0b"}) : ""; }

  std::string Object(std::span<const Key> keys, int depth) {
    std::string text = "{";
    bool first = true;
    const uint64_t kept_out = Below(20) == 0 ? 4 : 400;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (Below(kept_out) == 0) continue;
      const Key& key = Sometimes() ? keys[Below(keys.size())] : keys[i];
      if (!first) text += ",";
      first = false;
      text += Space() + "\"" + (Rarely() ? Pick({"\\u0061", "b", "o", "x\xff", "né"}) : key.name) +
              "\"" + Space() + ":" + spaces_ + Value(key.kind, depth) + Space();
    }
    if (Rarely()) text += ",";
    if (Rarely()) spaces_ = spaces_.empty() ? " " : "";
    return text + "}" + (depth == 0 && Rarely() ? Pick({" ", "\n", "x", "}", "\xc3"}) : "");
  }

  void Damage(std::string& text) {
    const size_t at = Below(text.size() + 1);
    switch (Below(5)) {
      case 0:
        text.erase(at, 1 + Below(4));
        break;
      case 1:
        text.insert(at, Pick({"\"", "{", "}", "[", "]", ",", ":", "\\", " ", "\x01", "\x80", "é",
                              "0", "-", "null", "\\u0022", "\0"}));
        break;
      case 2:
        if (at < text.size()) text[at] = static_cast<char>(random_());
        break;
      case 3:
        text.resize(at);
        break;
      default:
        text.insert(at, text.substr(Below(text.size() + 1), 1 + Below(24)));
    }
  }

  const TimestampForm timestamps_;
  std::mt19937_64 random_;
  std::string spaces_;
};

struct Configuration {
  const char* name;
  FormatOptions options;
  JsonDecoderOptions parsed;
};

// 8 * 30'000 documents, one behind the other as in a fetched batch: what follows a message is the
// next one.
TEST(JsonPathsTest, RandomAndDamagedDocumentsBecomeTheSame) {
  const Configuration configurations[] = {
      {"default", {}, {}},
      {"no missing field",
       {{"json.fail-on-missing-field", "true"}},
       {.fail_on_missing_field = true}},
      {"bad values are NULL",
       {{"json.ignore-parse-errors", "true"}},
       {.ignore_parse_errors = true}},
      {"known fields", {{"json.ignore-unknown-fields", "false"}}, {.ignore_unknown_fields = false}},
      {"ISO-8601",
       {{"json.timestamp-format.standard", "ISO-8601"}},
       {.timestamps = TimestampForm::kIso8601}},
      {"epoch",
       {{"json.timestamp-format.standard", "EPOCH-MILLIS"}},
       {.timestamps = TimestampForm::kEpochMillis}},
      {"shallow", {{"json.max-depth", "3"}}, {.depth_max = 3}},
      {"short", {{"json.max-message-size", "100b"}}, {.message_bytes_max = 100}},
  };
  uint64_t seed = 0;
  for (const Configuration& configuration : configurations) {
    SCOPED_TRACE(configuration.name);
    JsonPaths paths(configuration.options, configuration.parsed);
    RandomDocuments documents(++seed, configuration.parsed.timestamps);
    for (int batch = 0; batch < 600; ++batch) {
      std::string bytes;
      std::vector<size_t> ends = {0};
      for (int i = 0; i < 50; ++i) {
        bytes += documents.Next();
        ends.push_back(bytes.size());
      }
      bytes.append(kMessagePadding, '"');
      std::vector<Message> messages;
      for (size_t i = 1; i < ends.size(); ++i) {
        messages.push_back(
            {.value = std::string_view(bytes).substr(ends[i - 1], ends[i] - ends[i - 1])});
      }
      messages.push_back({.is_null = true});
      const std::string difference = paths.Difference(messages);
      ASSERT_EQ(difference, "") << "batch " << batch << ": " << bytes;
    }
  }
}

}  // namespace
}  // namespace millrace
