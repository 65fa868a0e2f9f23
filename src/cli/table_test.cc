#include "cli/table.h"

#include <gtest/gtest.h>

namespace kasane::cli {
namespace {

TEST(Table, MinimumWidthAndPadding) {
  EXPECT_EQ(align_table("A\tBB\tC\n1\t2\t3\n"),
            "A         BB        C\n"
            "1         2         3\n");
  EXPECT_EQ(align_table("A\tB\nlonger than ten\tx\n"),
            "A                 B\n"
            "longer than ten   x\n");
}

TEST(Table, LastColumnIsNotPaddedButEmptyLastCellLeavesTheOneBefore) {
  EXPECT_EQ(align_table("A\tB\nxyz\t\n"), "A         B\nxyz       \n");
  EXPECT_EQ(align_table("alone\n"), "alone\n");
  EXPECT_EQ(align_table(""), "");
}

TEST(Table, ColumnsAreRunsOfLines) {
  // The third line has no second column, so the blocks around it are measured apart.
  EXPECT_EQ(align_table("a\tlonglonglong\tx\na\tb\tx\nshort\na\tb\tx\n"),
            "a         longlonglong   x\n"
            "a         b              x\n"
            "short\n"
            "a         b         x\n");
}

TEST(Table, WidthsCountColumns) {
  EXPECT_EQ(align_table("日本語日本語\tx\nabc\tx\n"), "日本語日本語   x\nabc            x\n");
  EXPECT_EQ(align_table("e\xcc\x81\tx\n"), "e\xcc\x81         x\n");
}

}  // namespace
}  // namespace kasane::cli
