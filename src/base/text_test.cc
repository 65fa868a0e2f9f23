#include "base/text.h"

#include <gtest/gtest.h>

namespace kasane {
namespace {

TEST(Text, ParsesWholeNumbersOnly) {
  EXPECT_EQ(parse_uint("0"), 0u);
  EXPECT_EQ(parse_uint("18446744073709551615"), UINT64_MAX);
  for (const char* bad : {"", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616"}) EXPECT_FALSE(parse_uint(bad)) << bad;
}

TEST(Text, LowerIsAsciiOnly) {
  EXPECT_EQ(ascii_lower("AZaz09[@`\xc3\x84"), "azaz09[@`\xc3\x84");
  EXPECT_EQ(ascii_lower(""), "");
}

TEST(Text, HexDigits) {
  EXPECT_EQ(hex_value('0'), 0);
  EXPECT_EQ(hex_value('f'), 15);
  EXPECT_EQ(hex_value('A'), 10);
  for (char bad : {'g', 'G', '/', ':', '@', '`', '\0', '\xff'}) EXPECT_EQ(hex_value(bad), -1) << bad;
}

TEST(Text, PercentGoesThereAndBack) {
  std::string all;
  for (int c = 0; c < 256; ++c) all += static_cast<char>(c);
  EXPECT_EQ(percent_decode(percent_encode(all)), all);
  EXPECT_EQ(percent_encode("a b/:\xff~"), "a%20b%2F%3A%FF~");
  EXPECT_EQ(percent_encode("a b/:", "/:"), "a%20b/:");
  EXPECT_EQ(percent_decode("%41%6a+"), "Aj+");
  for (std::string_view bad : {"%", "%4", "%zz", "a%4", "%4%41"})
    EXPECT_EQ(percent_decode(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace kasane
