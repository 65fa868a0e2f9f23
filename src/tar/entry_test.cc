#include "tar/entry.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace kasane::tar {
namespace {

TEST(ComparePaths, DirectoryComesRightBeforeWhatIsBelow) {
  std::vector<std::string> paths = {"a.b",   "a",  "a/b",    "",  "a-b",
                                    "a/b/c", "ab", "a/\x80", "B", "a b"};
  std::sort(paths.begin(), paths.end(),
            [](const std::string& a, const std::string& b) { return compare_paths(a, b) < 0; });
  EXPECT_EQ(paths, (std::vector<std::string>{"", "B", "a", "a/b", "a/b/c", "a/\x80", "a b", "a-b",
                                             "a.b", "ab"}));
}

TEST(ComparePaths, EqualAndBytewiseUnsigned) {
  EXPECT_EQ(compare_paths("a/b", "a/b"), 0);
  EXPECT_LT(compare_paths("a", "\xff"), 0);
  EXPECT_GT(compare_paths("\xff", "z"), 0);
}

}  // namespace
}  // namespace kasane::tar
