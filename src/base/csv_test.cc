#include "base/csv.h"

#include <gtest/gtest.h>

namespace kasane {
namespace {

TEST(Csv, SplitsAsEncodingCsvDoes) {
  using Fields = std::vector<std::string>;
  EXPECT_EQ(*split_csv("a,b"), (Fields{"a", "b"}));
  EXPECT_EQ(*split_csv("a,"), (Fields{"a", ""}));
  EXPECT_EQ(*split_csv(""), (Fields{""}));
  EXPECT_EQ(*split_csv("\"a,b\",c"), (Fields{"a,b", "c"}));
  EXPECT_EQ(*split_csv("\"say \"\"hi\"\"\""), (Fields{"say \"hi\""}));
  EXPECT_FALSE(split_csv("\"a").has_value());
  EXPECT_FALSE(split_csv("\"a\"b").has_value());
  EXPECT_FALSE(split_csv("a\"b").has_value());
}

TEST(Csv, PairsKeepEverythingBehindTheFirstEquals) {
  auto pairs = split_csv_pairs("id=x,src=/a=b,required");
  ASSERT_TRUE(pairs.has_value());
  EXPECT_EQ((*pairs)[1].second, "/a=b");
  EXPECT_EQ((*pairs)[2].first, "required");
  EXPECT_EQ((*pairs)[2].second, "");
}

}  // namespace
}  // namespace kasane
