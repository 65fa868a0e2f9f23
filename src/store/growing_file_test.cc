#include "store/growing_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <thread>

namespace kasane::store {
namespace {

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

void attach(GrowingFile& file) { file.attach(UniqueFd(::memfd_create("growing", MFD_CLOEXEC)), "growing", 0); }

TEST(GrowingFile, ReadersFollowFromAnyPlace) {
  GrowingFile file;
  attach(file);
  std::string whole, tail;
  const auto follow = [](std::unique_ptr<ByteSource> source, std::string& out) {
    StringSink sink;
    if (copy_stream(*source, sink)) out = sink.text;
  };
  std::thread first([&] { follow(file.reader(), whole); });
  std::thread second([&] { follow(file.reader(5), tail); });
  for (const char* part : {"abc", "defg", "h"}) ASSERT_TRUE(file.append(bytes_of(part)));
  file.set_size(8);
  first.join();
  second.join();
  EXPECT_EQ(whole, "abcdefgh");
  EXPECT_EQ(tail, "fgh");
}

TEST(GrowingFile, TellsOfRestartAndFailure) {
  GrowingFile file;
  attach(file);
  std::unique_ptr<ByteSource> before = file.reader();
  ASSERT_TRUE(file.append(bytes_of("wrong")));
  ASSERT_TRUE(file.restart());
  std::array<uint8_t, 8> buffer;
  Result<size_t> got = before->read(buffer);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind(), ErrorKind::kConflict);
  std::unique_ptr<ByteSource> after = file.reader();
  ASSERT_TRUE(file.append(bytes_of("ok")));
  file.fail(Error(ErrorKind::kNetwork, "gone"));
  EXPECT_EQ(after->read(buffer).value_or(0), 2u);  // what is there is given first
  got = after->read(buffer);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().message(), "gone");
}

}  // namespace
}  // namespace kasane::store
