// Formats and honest input; hostile input is in reader_hostile_test.cc, other tools as
// oracles in interop_test.cc.
#include "tar/reader.h"

#include <gtest/gtest.h>

#include "tar/pax.h"
#include "tar/testing.h"

namespace kasane::tar {
namespace {

using namespace testing;

std::vector<ReadMember> read_ok(std::string_view archive) {
  Result<std::vector<ReadMember>> members = read_all(archive);
  EXPECT_TRUE(members) << members.error().full_message();
  return members ? std::move(*members) : std::vector<ReadMember>();
}

// Gives a few bytes at a time, as sockets do.
class SlowSource : public ByteSource {
 public:
  SlowSource(std::string_view bytes, size_t piece) : inner_(bytes), piece_(piece) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    return inner_.read(buffer.first(std::min(buffer.size(), piece_)));
  }

 private:
  MemorySource inner_;
  size_t piece_;
};

TEST(Reader, EmptyArchives) {
  for (size_t zeros : {0, 512, 1024, 10240, 1024 + 77})
    EXPECT_TRUE(read_ok(std::string(zeros, '\0')).empty()) << zeros;
}

TEST(Reader, OffsetsAreExact) {
  const std::string archive = file("a", "hello") + pax(record("path", "long")) + file("x", "12") +
                              raw({.name = "d/", .type = '5'}) + end_mark();
  const auto members = read_ok(archive);
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].member.header_offset, 0u);
  EXPECT_EQ(members[0].member.data_offset, 512u);
  EXPECT_EQ(members[0].member.raw_size, 5u);
  EXPECT_EQ(members[0].content, "hello");
  EXPECT_EQ(members[1].member.entry.path, "long");
  EXPECT_EQ(members[1].member.header_offset, 1024u);
  EXPECT_EQ(members[1].member.data_offset, 1024u + 3 * 512);
  EXPECT_EQ(members[2].member.entry.path, "d");
  EXPECT_EQ(members[2].member.entry.type, EntryType::kDirectory);
  EXPECT_EQ(members[2].member.raw_size, 0u);
}

TEST(Reader, OffsetEndsAtTheSizeOfTheStream) {
  const std::string archive = file("a", "hello") + end_mark() + std::string(8192, '\0');
  MemorySource source(archive);
  Reader reader(source);
  ASSERT_TRUE(reader.next().value());
  EXPECT_EQ(reader.offset(), 512u);
  ASSERT_FALSE(reader.next().value());
  EXPECT_EQ(reader.offset(), archive.size());
  ASSERT_FALSE(reader.next().value());
}

TEST(Reader, ContentThatIsNotReadIsSkipped) {
  const std::string archive = file("a", std::string(200'000, 'x')) + file("b", "tail") + end_mark();
  MemorySource source(archive);
  Reader reader(source);
  ASSERT_TRUE(reader.next().value());
  uint8_t few[10];
  EXPECT_EQ(*reader.read(few), 10u);
  std::optional<Member> second = reader.next().value();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->entry.path, "b");
}

// The skeleton and the contents together are the stream, whatever the pieces are.
TEST(Reader, SkeletonHoldsAllThatIsNotContent) {
  std::string archive = file("a", std::string(70'000, 'x')) +
                        raw({.name = "b", .type = '1', .data = "junk", .link = "a"}) +
                        pax(record("comment", "c"), 'g') + pax(record("mtime", "1.5")) +
                        file("c", "12") + end_mark() + std::string(512, '\0');
  for (size_t piece : {1, 7, 512, 4096, 100'000}) {
    SlowSource source(archive, piece);
    StringSink skeleton;
    Result<std::vector<ReadMember>> members = read_all(source, {}, &skeleton, piece);
    ASSERT_TRUE(members) << members.error().full_message();
    ASSERT_EQ(members->size(), 3u);
    std::string rebuilt = skeleton.text;
    for (const ReadMember& m : *members) rebuilt.insert(m.member.data_offset, m.content);
    EXPECT_EQ(rebuilt, archive);
  }
}

TEST(Reader, UstarPrefixAndFullFields) {
  const std::string name(100, 'n');
  const std::string prefix(155, 'p');
  const auto members = read_ok(raw({.name = name, .prefix = prefix}) + end_mark());
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0].member.entry.path, prefix + "/" + name);
}

// In GNU headers other things lie where ustar has the prefix.
TEST(Reader, GnuHeadersHaveNoPrefix) {
  const auto members = read_ok(raw({.name = "n", .prefix = "p", .gnu = true}) +
                               raw({.name = "m", .prefix = "p", .v7 = true}));
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].member.entry.path, "n");
  EXPECT_EQ(members[1].member.entry.path, "m");
}

TEST(Reader, V7DirectoryBySlash) {
  const auto members = read_ok(raw({.name = "d/", .type = '\0', .v7 = true}) +
                               raw({.name = "f", .type = '\0', .v7 = true}));
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].member.entry.type, EntryType::kDirectory);
  EXPECT_EQ(members[1].member.entry.type, EntryType::kFile);
}

TEST(Reader, RootEntry) {
  for (const char* name : {".", "./", "/", "//"}) {
    const auto members = read_ok(raw({.name = name, .type = '5'}));
    ASSERT_EQ(members.size(), 1u);
    EXPECT_EQ(members[0].member.entry.path, "");
  }
}

TEST(Reader, TypesAndLinks) {
  RawHeader device = raw_header({.name = "null", .type = '3'});
  put_octal(device.dev_major, 1);
  put_octal(device.dev_minor, 3);
  put_checksum(device);
  const auto members =
      read_ok(file("f") + raw({.name = "l", .type = '2', .link = "../../etc/passwd"}) +
              raw({.name = "h", .type = '1', .link = "/./f"}) + block_text(device) +
              raw({.name = "p", .type = '6'}) + raw({.name = "c", .type = '7', .data = "abc"}));
  ASSERT_EQ(members.size(), 6u);
  EXPECT_EQ(members[1].member.entry.link_target, "../../etc/passwd");  // text, as written
  EXPECT_EQ(members[2].member.entry.link_target, "f");
  EXPECT_EQ(members[3].member.entry.dev_major, 1u);
  EXPECT_EQ(members[3].member.entry.dev_minor, 3u);
  EXPECT_EQ(members[4].member.entry.type, EntryType::kFifo);
  EXPECT_EQ(members[5].member.entry.type, EntryType::kFile);
  EXPECT_EQ(members[5].content, "abc");
}

TEST(Reader, PaxValues) {
  const std::string cap("\x01\0\0\x02", 4);
  const auto members = read_ok(
      pax(record("path", "p/\xff") + record("uid", "4294967294") + record("gid", "3000000") +
          record("mtime", "-1.25") + record("SCHILY.xattr.security.capability", cap) +
          record("SCHILY.xattr.user.empty", "") +
          record("LIBARCHIVE.xattr.security.capability", "AQAAAg") + record("VENDOR.unknown", "x") +
          record("SCHILY.xattr.user.a%3Db", "v")) +
      file("short") + file("next"));
  ASSERT_EQ(members.size(), 2u);
  const Entry& entry = members[0].member.entry;
  EXPECT_EQ(entry.path, "p/\xff");
  EXPECT_EQ(entry.uid, 4294967294u);
  EXPECT_EQ(entry.gid, 3000000u);
  EXPECT_EQ(entry.mtime, (Timespec{-2, 750'000'000}));
  EXPECT_EQ(
      entry.xattrs,
      (std::vector<Xattr>{{"security.capability", cap}, {"user.a=b", "v"}, {"user.empty", ""}}));
  EXPECT_EQ(members[1].member.entry.uid, 0u);
  EXPECT_TRUE(members[1].member.entry.xattrs.empty());
}

TEST(Reader, GlobalTimeAppliesUntilReplaced) {
  const auto members = read_ok(pax(record("mtime", "7") + record("comment", "git"), 'g') +
                               file("a") + pax(record("mtime", "9")) + file("b") + file("c"));
  ASSERT_EQ(members.size(), 3u);
  EXPECT_EQ(members[0].member.entry.mtime.sec, 7);
  EXPECT_EQ(members[1].member.entry.mtime.sec, 9);
  EXPECT_EQ(members[2].member.entry.mtime.sec, 7);
}

TEST(Reader, GnuLongNames) {
  const std::string name(300, 'n');
  std::string link = "t/";
  link += std::string(250, 'l');
  const auto members =
      read_ok(raw({.name = "././@LongLink", .type = 'K', .data = link + '\0', .gnu = true}) +
              raw({.name = "././@LongLink",
                   .type = 'L',
                   .data = "d/" + name.substr(0, 200) + '\0',
                   .gnu = true}) +
              raw({.name = "x", .type = '2', .link = "y", .gnu = true}));
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0].member.entry.path, "d/" + name.substr(0, 200));
  EXPECT_EQ(members[0].member.entry.link_target, link);
  EXPECT_EQ(members[0].member.header_offset, 0u);
}

TEST(Reader, Base256Numbers) {
  RawHeader header = raw_header({.name = "a"});
  std::memset(header.mtime, 0xff, sizeof header.mtime);  // -1
  std::memset(header.uid, 0, sizeof header.uid);
  header.uid[0] = static_cast<char>(0x80);
  for (size_t i = 4; i < 7; ++i) header.uid[i] = static_cast<char>(0xff);
  header.uid[7] = static_cast<char>(0xfe);
  put_checksum(header);
  const auto members = read_ok(block_text(header));
  ASSERT_EQ(members.size(), 1u);
  EXPECT_EQ(members[0].member.entry.mtime, (Timespec{-1, 0}));
  EXPECT_EQ(members[0].member.entry.uid, 4294967294u);
}

TEST(Reader, SignedChecksumOfOldTars) {
  RawHeader header = raw_header({.name = "\xff\xfe"});
  int64_t sum = 0;
  std::memset(header.checksum, ' ', 8);
  for (char byte : block_text(header)) sum += static_cast<signed char>(byte);
  put_octal(std::span(header.checksum).first(7), static_cast<uint64_t>(sum));
  EXPECT_EQ(read_ok(block_text(header)).size(), 1u);
}

// X12: the reader passes duplicates on, under one name.
TEST(Reader, DuplicatesComeInOrder) {
  const auto members = read_ok(file("a", "1") + file("./a", "2") +
                               raw({.name = "a/", .type = '5'}) + raw({.name = "b//c"}));
  ASSERT_EQ(members.size(), 4u);
  for (int i : {0, 1, 2}) EXPECT_EQ(members[i].member.entry.path, "a");
  EXPECT_EQ(members[3].member.entry.path, "b/c");
}

TEST(Reader, PaxSparseInData) {
  std::string map = "2\n4\n3\n10\n2\n";
  map.resize(512);
  const auto members =
      read_ok(pax(record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
                  record("GNU.sparse.name", "real") + record("GNU.sparse.realsize", "14")) +
              file("GNUSparseFile.1/real", map + "abcde") + file("next", "n"));
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].member.entry.path, "real");
  EXPECT_EQ(members[0].member.entry.size, 14u);
  EXPECT_TRUE(members[0].member.sparse);
  EXPECT_EQ(members[0].member.raw_size, 5u);
  EXPECT_EQ(members[0].member.data_offset, 2048u);
  EXPECT_EQ(members[0].member.regions, (std::vector<SparseRegion>{{4, 3}, {10, 2}}));
  EXPECT_EQ(members[0].content, std::string("\0\0\0\0abc\0\0\0de\0\0", 14));
  EXPECT_EQ(members[1].content, "n");
}

TEST(PaxTime, RoundTrip) {
  const std::pair<const char*, Timespec> cases[] = {{"0", {0, 0}},
                                                    {"1.5", {1, 500'000'000}},
                                                    {"-0.5", {-1, 500'000'000}},
                                                    {"-1", {-1, 0}},
                                                    {"-1.25", {-2, 750'000'000}},
                                                    {"274877906944", {274877906944, 0}},
                                                    {"0.000000001", {0, 1}},
                                                    {"-0.000000001", {-1, 999'999'999}}};
  for (const auto& [text, time] : cases) {
    EXPECT_EQ(format_pax_time(time), text);
    EXPECT_EQ(parse_pax_time(text), time) << text;
  }
  EXPECT_EQ(parse_pax_time("1.0000000019"), (Timespec{1, 1}));
  EXPECT_EQ(parse_pax_time("-0.0000000001"), (Timespec{-1, 999'999'999}));
  for (const char* bad : {"", "-", "x", "1.x", "1e3", "--1", "99999999999999999999", ".5"})
    EXPECT_FALSE(parse_pax_time(bad)) << bad;
}

}  // namespace
}  // namespace kasane::tar
