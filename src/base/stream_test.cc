#include "base/stream.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace kasane {
namespace {

TEST(Stream, CopyHashesAndCounts) {
  MemorySource memory("abc");
  HashingSource source(memory);
  StringSink text;
  HashingSink sink(&text);
  EXPECT_EQ(copy_stream(source, sink).value(), 3u);
  EXPECT_EQ(text.text, "abc");
  EXPECT_EQ(source.size(), 3u);
  EXPECT_EQ(sink.size(), 3u);
  EXPECT_EQ(source.finish(), sha256(std::string_view("abc")));
  EXPECT_EQ(sink.finish(), sha256(std::string_view("abc")));
}

TEST(Stream, CopyStopsAtTheLimit) {
  MemorySource source("abcd");
  StringSink sink;
  EXPECT_EQ(copy_stream(source, sink, 3).error().kind(), ErrorKind::kLimit);
  EXPECT_EQ(sink.text, "");
}

TEST(Stream, ReadFullCrossesShortReads) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  UniqueFd read_end(fds[0]), write_end(fds[1]);
  FdSink sink(write_end.get(), "pipe");
  FdSource source(read_end.get(), "pipe");
  ASSERT_TRUE(sink.write(std::span(reinterpret_cast<const uint8_t*>("ab"), 2)));
  ASSERT_TRUE(sink.write(std::span(reinterpret_cast<const uint8_t*>("c"), 1)));
  write_end.reset();
  uint8_t buffer[8];
  EXPECT_EQ(read_full(source, buffer).value(), 3u);
  EXPECT_EQ(read_full(source, buffer).value(), 0u);
}

TEST(Stream, ErrorsNameTheFile) {
  FdSource source(-1, "some file");
  uint8_t byte[1];
  EXPECT_NE(source.read(byte).error().message().find("some file"), std::string::npos);
}

}  // namespace
}  // namespace kasane
