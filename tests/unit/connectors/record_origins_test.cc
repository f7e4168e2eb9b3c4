#include "operators/connectors/record_origins.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

class Words : public RecordOrigins {
 public:
  void Begin(std::vector<std::string>* words, const std::vector<NoRow>& none) {
    words_ = words;
    RecordOrigins::Begin(words->size(), none);
  }

 private:
  RowOrigin Record(size_t index) const override {
    return {.source = "words", .offset = static_cast<int64_t>(index), .value = (*words_)[index]};
  }
  std::vector<std::string>* words_ = nullptr;
};

TEST(RecordOriginsTest, ABatchThatIsStillUnderWayKeepsWhatTheSourceForgets) {
  std::vector<std::string> words = {"a", "bad", "c", "d"};
  OriginLender<Words> lender;
  std::shared_ptr<const RowOrigins> under_way;
  {
    const auto origins = lender.Lend();
    origins->Begin(&words, {{.index = 1, .code = "MR3101"}});
    EXPECT_EQ(origins->Find(0).value, "a");
    EXPECT_EQ(origins->Find(1).value, "c") << "a record without a row has no number";
    under_way = origins;
  }
  lender.Reclaim();
  words = {"other", "other", "other", "other"};
  EXPECT_EQ(under_way->Find(1).value, "c");
  EXPECT_EQ(under_way->Find(2).offset, 3);
  EXPECT_EQ(under_way->Find(2).source, "words");
  EXPECT_EQ(under_way->Find(2).key, std::nullopt);
  // The next batch has origins of its own, which are used again once nobody asks them any more.
  const Words* first = nullptr;
  {
    const auto origins = lender.Lend();
    first = origins.get();
    EXPECT_NE(first, under_way.get());
    origins->Begin(&words, {});
    EXPECT_EQ(origins->Find(3).value, "other");
  }
  lender.Reclaim();
  EXPECT_EQ(lender.Lend().get(), first);
}

}  // namespace
}  // namespace millrace
