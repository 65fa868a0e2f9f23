#include "serve/range.h"

#include <gtest/gtest.h>

namespace kasane::serve {
namespace {

using Kind = RangeAnswer::Kind;

TEST(Range, OfUploads) {
  EXPECT_EQ(parse_upload_range("0-0"), (ByteRange{0, 0}));
  EXPECT_EQ(parse_upload_range(" 5-9 ")->length(), 5u);
  for (const char* text : {"", "-", "5", "5-", "-5", "9-5", "a-b", "0x1-2", "1-2-3", "bytes 0-1/*",
                           "0-18446744073709551615", "0-99999999999999999999", "+1-2", "1- 2"})
    EXPECT_FALSE(parse_upload_range(text)) << text;
}

TEST(Range, OfDownloads) {
  struct Case {
    const char* header;
    Kind kind;
    uint64_t first, last;
  };
  for (const Case& c : {
           Case{"bytes=0-0", Kind::kPart, 0, 0},
           Case{"bytes=10-", Kind::kPart, 10, 99},
           Case{"bytes=-10", Kind::kPart, 90, 99},
           Case{"bytes=-1000", Kind::kPart, 0, 99},
           Case{"bytes=50-1000", Kind::kPart, 50, 99},
           Case{"bytes=99-99", Kind::kPart, 99, 99},
           Case{"bytes=100-", Kind::kUnsatisfiable, 0, 0},
           Case{"bytes=-0", Kind::kUnsatisfiable, 0, 0},
           Case{"bytes=50-0", Kind::kUnsatisfiable, 0, 0},
           Case{"bytes=0-1,3-4", Kind::kWhole, 0, 0},
           Case{"bytes=", Kind::kWhole, 0, 0},
           Case{"bytes=-", Kind::kWhole, 0, 0},
           Case{"bytes=x-y", Kind::kWhole, 0, 0},
           Case{"lines=0-1", Kind::kWhole, 0, 0},
           Case{"bytes=99999999999999999999-", Kind::kWhole, 0, 0},
           Case{"bytes=0-18446744073709551615", Kind::kPart, 0, 99},
       }) {
    RangeAnswer answer = choose_range(c.header, 100);
    EXPECT_EQ(answer.kind, c.kind) << c.header;
    if (c.kind == Kind::kPart) {
      EXPECT_EQ(answer.part, (ByteRange{c.first, c.last})) << c.header;
    }
  }
  EXPECT_EQ(choose_range("bytes=0-", 0).kind, Kind::kUnsatisfiable);
  EXPECT_EQ(choose_range("bytes=-1", 0).kind, Kind::kUnsatisfiable);
}

TEST(Range, EntityTags) {
  EXPECT_TRUE(etag_matches("\"a\"", "\"a\""));
  EXPECT_TRUE(etag_matches("\"b\" , W/\"a\"", "\"a\""));
  EXPECT_TRUE(etag_matches("*", "\"a\""));
  EXPECT_FALSE(etag_matches("", "\"a\""));
  EXPECT_FALSE(etag_matches("a", "\"a\""));
  EXPECT_FALSE(etag_matches(",,", "\"a\""));
}

}  // namespace
}  // namespace kasane::serve
