#include "operators/catalog/key_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace {
namespace {

using testing::HasSubstr;

// Columns in angle brackets; or what is wrong.
std::string Parsed(std::string_view text) {
  const auto parsed = KeyTemplate::Parse(text);
  if (!parsed.ok()) return std::string(parsed.status().message());
  std::string out;
  for (const KeyTemplate::Piece& piece : parsed->pieces) {
    out += piece.is_column ? "<" + piece.text + ">" : piece.text;
  }
  return out;
}

TEST(KeyTemplateTest, NamesColumnsInBraces) {
  EXPECT_EQ(Parsed("{id}"), "<id>");
  EXPECT_EQ(Parsed("shop:{region}:{number}:x"), "shop:<region>:<number>:x");
  EXPECT_EQ(Parsed("{{{id}}}:profile"), "{<id>}:profile");
  EXPECT_EQ(Parsed("{a}-{a}"), "<a>-<a>");
}

TEST(KeyTemplateTest, RefusesWhatNamesNothingOrIsAmbiguous) {
  EXPECT_THAT(Parsed(""), HasSubstr("it names no column"));
  EXPECT_THAT(Parsed("shop"), HasSubstr("it names no column"));
  EXPECT_THAT(Parsed("shop:{id"), HasSubstr("{ at character 6 is not closed"));
  EXPECT_THAT(Parsed("shop:}"), HasSubstr("} at character 6 closes nothing"));
  EXPECT_THAT(Parsed("{}"), HasSubstr("no name of a column at character 2"));
  EXPECT_THAT(Parsed("{a}{b}"), HasSubstr("nothing tells column 'b'"));
}

}  // namespace
}  // namespace millrace
