// Lines of files: every line once, whatever the size of splits, batches and blocks, and wherever
// reading stopped.
#include <gmock/gmock.h>

#include <random>

#include "tests/unit/connectors/connector_harness.h"

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

const std::vector<Field> kLine = {{.name = "line", .type = TypeKind::kString}};

class FileSourceTest : public ConnectorTest {
 protected:
  v1::Node Lines(const std::string& path, Options options = {}) {
    options["path"] = path;
    return SourceNode("file", "raw", kLine, options);
  }
  std::string DiscoverError(const std::string& path) {
    return std::string(Discover(Lines(path)).status().message());
  }
};

TEST_F(FileSourceTest, TheLastLineNeedsNoLineBreakAndEmptyLinesDoNotCount) {
  const auto reader = MustOpen(Lines(WriteFile("a", "one\n\ntwo\nthree")));
  EXPECT_EQ(*reader->Poll(), PollResult::kEnd);
  EXPECT_THAT(reader->out.Texts(), ElementsAre("one", "two", "three"));
  EXPECT_EQ(reader->counters.rows_in.value(), 3u);
}

TEST_F(FileSourceTest, AFolderIsReadInTheOrderOfNamesWithoutHiddenFilesAndFolders) {
  WriteFile("in/b.txt", "b\n");
  WriteFile("in/a.txt", "a\n");
  WriteFile("in/.hidden", "hidden\n");
  WriteFile("in/_temporary", "temporary\n");
  WriteFile("in/c.csv", "c\n");
  WriteFile("in/deeper/d.txt", "d\n");
  const std::string in = (folder() / "in").string();
  auto all = MustOpen(Lines(in));
  EXPECT_EQ(*all->Poll(), PollResult::kEnd);
  EXPECT_THAT(all->out.Texts(), ElementsAre("a", "b", "c"));
  auto some = MustOpen(Lines(in + "/?.t*t"));
  EXPECT_EQ(*some->Poll(), PollResult::kEnd);
  EXPECT_THAT(some->out.Texts(), ElementsAre("a", "b"));
}

TEST_F(FileSourceTest, WhatCannotBeReadIsNamed) {
  const std::string in = folder().string();
  EXPECT_THAT(DiscoverError(in + "/none"), HasSubstr("no file or folder '" + in + "/none'"));
  EXPECT_THAT(DiscoverError(in + "/*.csv"), HasSubstr("no file matches '" + in + "/*.csv'"));
  EXPECT_THAT(DiscoverError(in + "/*/x"), HasSubstr("in the last part only"));
  WriteFile("one", "1\n");
  auto splits = Discover(Lines(in + "/one"));
  ASSERT_TRUE(splits.ok());
  std::filesystem::remove(folder() / "one");
  const auto reader = OpenAt(Lines(in + "/one"), *splits);
  EXPECT_THAT(std::string((*reader)->Poll().status().message()),
              HasSubstr("cannot read file '" + in + "/one'"));
}

TEST_F(FileSourceTest, AFileThatBecameShorterIsRefused) {
  const std::string path = WriteFile("a", "one\ntwo\n");
  const auto reader = OpenAt(Lines(path), {{.id = path, .position = "100"}});
  EXPECT_THAT(std::string((*reader)->Poll().status().message()),
              HasSubstr("is shorter than before: 8 bytes, read up to 100"));
  EXPECT_THAT(std::string(OpenAt(Lines(path), {{.id = path, .position = "x"}}).status().message()),
              HasSubstr("is not a number"));
}

TEST_F(FileSourceTest, TheHeaderOfACsvFileIsPassedOverOnceAndOfEveryFile) {
  const std::vector<Field> fields = {{.name = "id", .type = TypeKind::kInt64},
                                     {.name = "name", .type = TypeKind::kString}};
  WriteFile("in/a.csv", "id,name\n1,a\n2,\"b,c\"\n");
  WriteFile("in/b.csv", "id,name\n3,\n");
  const v1::Node node = SourceNode(
      "file", "csv", fields,
      {{"path", (folder() / "in").string()}, {"csv.header", "true"}, {"split-size", "8"}});
  const auto reader = MustOpen(node, 1);
  EXPECT_EQ(*reader->Poll(), PollResult::kEnd);
  EXPECT_THAT(reader->out.Rows(), ElementsAre("1, 'a'", "2, 'b,c'", "3, NULL"));
}

TEST_F(FileSourceTest, BadLinesGoToTheDeadLettersWithTheirPlace) {
  const std::vector<Field> fields = {{.name = "n", .type = TypeKind::kInt64}};
  const std::string path = WriteFile("a", "{\"n\":1}\n{\"n\":\"x\"}\n{\"n\":3}\n");
  const auto reader = MustOpen(SourceNode("file", "json", fields, {{"path", path}}));
  EXPECT_EQ(*reader->Poll(), PollResult::kEnd);
  EXPECT_THAT(reader->out.Rows(), ElementsAre("1", "3"));
  const Batch& letters = reader->out.batches[OutputPort::kDeadLetter].at(0);
  ASSERT_EQ(letters.rows(), 1);
  EXPECT_EQ(letters.column(1).StringAt(0), path);
  EXPECT_EQ(letters.column(3).values<int64_t>()[0], 8) << "where the line begins";
  EXPECT_EQ(letters.column(8).StringAt(0), "{\"n\":\"x\"}");
  EXPECT_EQ(reader->counters.rows_in.value(), 3u);
  EXPECT_EQ(reader->counters.rows_dead_lettered.value(), 1u);
}

TEST_F(FileSourceTest, ALineThatIsTooLongIsADeadLetterAndTheNextIsRead) {
  const std::string longest(1024, 'l');
  const std::string path =
      WriteFile("a", "first\n" + std::string(3'000'000, 'x') + "\n" + longest + "\nlast\n");
  const auto reader = MustOpen(Lines(path, {{"max-line-size", "1kb"}}));
  EXPECT_EQ(*reader->Poll(), PollResult::kEnd);
  EXPECT_THAT(reader->out.Texts(), ElementsAre("first", longest, "last"));
  const Batch& letters = reader->out.batches[OutputPort::kDeadLetter].at(0);
  ASSERT_EQ(letters.rows(), 1);
  EXPECT_EQ(letters.column(3).values<int64_t>()[0], 6);
  EXPECT_EQ(letters.column(6).StringAt(0), "line is longer than 1024 bytes");
  EXPECT_EQ(letters.column(8).StringAt(0), std::string(1000, 'x'));
}

// Any split size and batch size, stopping after any poll and going on in another reader.
TEST_F(FileSourceTest, EveryLineComesOnceWhereverReadingStops) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    std::string content;
    std::vector<std::string> expected;
    for (uint64_t lines = random() % 40; lines > 0; --lines) {
      const std::string line(random() % 12, static_cast<char>('a' + random() % 26));
      content += line;
      content += '\n';
      if (!line.empty()) expected.push_back(line);
    }
    if (!content.empty() && random() % 2 == 0) content.pop_back();
    const std::string path = WriteFile("a", content);
    const v1::Node node = Lines(path, {{"split-size", std::to_string(1 + random() % 50)}});
    const auto batch_rows = static_cast<int64_t>(1 + random() % 5);

    std::vector<std::string> got;
    auto splits = Discover(node);
    ASSERT_TRUE(splits.ok());
    absl::StatusOr<PollResult> result = PollResult::kEmitted;
    while (*result != PollResult::kEnd) {
      auto reader = OpenAt(node, *splits, batch_rows);
      ASSERT_TRUE(reader.ok()) << reader.status();
      result = (*reader)->Poll(static_cast<int>(1 + random() % 4));
      ASSERT_TRUE(result.ok()) << result.status();
      for (const std::string& text : (*reader)->out.Texts()) got.push_back(text);
      splits = (*reader)->source->Positions();
    }
    EXPECT_EQ(got, expected);
    for (const Split& split : *splits) EXPECT_TRUE(split.finished) << split.id;
  }
}

}  // namespace
}  // namespace millrace
