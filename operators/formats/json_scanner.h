// The fast way of a JSON message to its columns. Most messages of a stream have the same keys in
// the same order, so the scanner expects each key where it stood in earlier messages, and reads the
// bytes once, without an index of them.
//
// It takes a message only when all that it has seen is what RFC 8259 allows in its plain form:
// whole numbers of at most 19 digits, keys once, and so on. Of all else it says no, and the parser
// (json_decoder.cc) decides. What the scanner takes, the parser would have turned into the same
// row: tests/unit/formats/json_scanner_test.cc, tests/fuzz/json_fuzz.cc.
// Private to this folder.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "operators/formats/json_decoder.h"
#include "operators/formats/json_tree.h"
#include "operators/formats/text_values.h"

namespace millrace {

// Threading: one thread; it remembers keys.
class JsonScanner {
 public:
  JsonScanner(SchemaPtr schema, const JsonDecoderOptions& options, const JsonTree& tree);
  // Appends `text` as row `row`, the next of `out`. False: it is not for the scanner; columns may
  // have a value of that row, which the caller takes back. Reads up to kMessagePadding bytes behind
  // the text.
  bool Append(std::string_view text, int64_t row, BatchBuilder& out);

 private:
  struct Node;
  struct Key {
    // As it stood in the last message, from the end of what is before it (',' or '{') to its value.
    ExpectedText text;
    Key* next = nullptr;     // The key that followed it.
    int column = -1;         // As in JsonTreeNode; neither:
    Node* object = nullptr;  // it is passed over.
  };
  struct Node {
    std::deque<Key> keys;  // Wanted ones and, up to a limit, others that were seen.
    std::map<std::string, Key*, std::less<>> by_name;
    Key* first = nullptr;
    Key other;             // Stands for all that are not remembered.
    uint64_t seen_in = 0;  // The last message that had such an object.
  };

  Node* AddNode(const JsonTreeNode& from);
  bool ScanObject(Node& node, int64_t depth);
  bool IsEmptyObject();
  Key* LookUpKey(Node& node, Key*& expected);
  bool ScanInner(Node& node, int64_t depth);
  bool ScanValue(int index);
  bool AppendValue(const Field& field, ColumnBuilder& column);
  bool AppendText(ColumnBuilder& column);
  bool FillMissing();
  bool PassOver(int64_t depth);
  bool PassOverContainer(int64_t depth);
  bool PassOverString();
  void PassOverSpaces();
  // The first byte from `at` on that may not stand in a string as it is.
  const char* FindSpecial(const char* at);
  // Without its quotes and escapes; valid until the next call.
  bool TakeString(std::string_view& text);
  bool TakeInteger(int64_t& number);
  bool TakeDouble(double& number);
  bool TakeWord(std::string_view word);
  std::string_view TakeNumberText();

  const SchemaPtr schema_;
  const JsonDecoderOptions options_;
  const int64_t depth_max_;
  std::deque<Node> nodes_;  // The first is the root.
  TextValues text_values_;
  simdjson::ondemand::parser unescaper_;
  std::vector<uint8_t> unescaped_;
  uint64_t message_number_ = 0;
  // Of the current message. Every step begins before its end, and may lead up to a block behind it;
  // a message is only taken when the last step ends at its end.
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  BatchBuilder* out_ = nullptr;
  int64_t row_ = 0;
  int filled_ = 0;
  bool ascii_ = true;
};

}  // namespace millrace
