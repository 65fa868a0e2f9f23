// Archive recipes of reference X1-X19: each must end in a documented error, fast, and with
// memory bounded by the limits.
#include <gtest/gtest.h>

#include "tar/testing.h"

namespace kasane::tar {
namespace {

using namespace testing;

void expect_error(const std::string& archive, ErrorKind kind, const char* part,
                  const ReaderLimits& limits = {}) {
  Result<std::vector<ReadMember>> members = read_all(archive, limits);
  ASSERT_FALSE(members) << "accepted; wanted: " << part;
  EXPECT_EQ(static_cast<int>(members.error().kind()), static_cast<int>(kind))
      << members.error().full_message();
  EXPECT_NE(members.error().full_message().find(part), std::string::npos)
      << members.error().full_message();
}
void expect_corrupt(const std::string& archive, const char* part) {
  expect_error(archive, ErrorKind::kCorrupt, part);
}

TEST(Hostile, X1NamesThatLeaveTheRoot) {
  for (const char* name : {"../x", "a/../../x", "./../x", "a/./../../x", ".."}) {
    expect_error(file(name), ErrorKind::kInvalid, "leaves the root");
    expect_error(pax(record("path", name)) + file("x"), ErrorKind::kInvalid, "leaves the root");
    expect_error(raw({.name = "h", .type = '1', .link = name}), ErrorKind::kInvalid,
                 "leaves the root");
  }
  expect_error(file(""), ErrorKind::kInvalid, "no name");
  expect_error(file("/"), ErrorKind::kCorrupt, "ends with '/'");
  expect_error(file("."), ErrorKind::kInvalid, "root is not a directory");
}

TEST(Hostile, X2RootIsNoLink) {
  expect_error(raw({.name = "/.", .type = '2', .link = "/host"}), ErrorKind::kInvalid,
               "root is not a directory");
}

TEST(Hostile, X5HardLinks) {
  expect_error(raw({.name = "a", .type = '1', .link = "./a"}), ErrorKind::kInvalid, "hard link");
  expect_error(raw({.name = "a", .type = '1', .link = "/"}), ErrorKind::kInvalid, "hard link");
  expect_corrupt(raw({.name = "a", .type = '1'}), "no target");
}

// X6: the payload is skipped; where it could be members for another reader, refused.
TEST(Hostile, X6HardLinkWithPayload) {
  const RawMember link{.name = "l", .type = '1', .data = std::string(700, 'z'), .link = "a"};
  Result<std::vector<ReadMember>> members = read_all(file("a", "1") + raw(link) + file("b", "2"));
  ASSERT_TRUE(members) << members.error().full_message();
  ASSERT_EQ(members->size(), 3u);
  EXPECT_EQ((*members)[1].content, "");
  EXPECT_EQ((*members)[1].member.entry.size, 0u);
  EXPECT_EQ((*members)[2].content, "2");
  expect_corrupt(file("a") + raw({.name = "l",
                                  .type = '1',
                                  .data = std::string(512, 'z') + file("evil"),
                                  .link = "a"}),
                 "looks like a member");
  // A size without data, as old tars write it: the header that follows is a member.
  members =
      read_all(file("a") + raw({.name = "l", .type = '1', .link = "a", .size = 512}) + file("b"));
  ASSERT_TRUE(members);
  EXPECT_EQ(members->size(), 3u);
  expect_corrupt(raw({.name = "l", .type = '1', .data = "z", .link = "a", .size = 5000}),
                 "cut off");
}

TEST(Hostile, X6OtherTypesWithSize) {
  for (char type : {'2', '3', '4', '6'})
    expect_corrupt(raw({.name = "m", .type = type, .link = "t", .size = 512}) + file("b"),
                   "has content");
  // All readers agree that a directory has no data.
  Result<std::vector<ReadMember>> members =
      read_all(raw({.name = "d", .type = '5', .size = 512}) + file("b"));
  ASSERT_TRUE(members);
  EXPECT_EQ(members->size(), 2u);
  expect_corrupt(raw({.name = "d/", .type = '\0', .data = "abc", .v7 = true}), "has content");
}

TEST(Hostile, X9SizesThatDisagree) {
  const std::string inner = file("smuggled");
  expect_corrupt(pax(record("size", "512")) + raw({.name = "a", .data = inner, .size = 0}),
                 "PAX header 512");
  expect_corrupt(pax(record("size", "0")) + raw({.name = "a", .data = inner}), "PAX header 0");
  EXPECT_TRUE(read_all(pax(record("size", "2")) + file("a", "ab")));
}

TEST(Hostile, X9ExtendedHeadersInAllOrders) {
  const std::string x = pax(record("path", "p"));
  const std::string g = pax(record("comment", "c"), 'g');
  const std::string l =
      raw({.name = "L", .type = 'L', .data = std::string("long\0", 5), .gnu = true});
  const std::string k =
      raw({.name = "K", .type = 'K', .data = std::string("link\0", 5), .gnu = true});
  for (const std::string& pair : {x + x, x + l, l + x, x + k, k + x, l + l, k + k, x + g, l + g})
    expect_corrupt(pair + file("a"), "contradict");
  for (const std::string& good : {l + k, k + l, g + x, g + g, g + l})
    EXPECT_TRUE(read_all(good + file("a")));
  for (const std::string& alone : {x, l, k}) {
    expect_corrupt(alone, "has no member");
    expect_corrupt(alone + end_mark(), "has no member");
  }
}

TEST(Hostile, X9GlobalHeaderMaySetTimesOnly) {
  for (const char* key :
       {"size", "path", "linkpath", "uid", "GNU.sparse.map", "SCHILY.xattr.user.a"})
    expect_corrupt(pax(record(key, "1"), 'g') + file("a"), "may not set");
}

TEST(Hostile, X9MalformedPax) {
  const char* bad[] = {"12 path=a\n",
                       "11 path=a\n",
                       "8 path=a\n",
                       "path=a\n",
                       "10path=a\n",
                       " 10 path=a\n",
                       "10 path=a ",
                       "6 pat\n",
                       "5 =a\n",
                       "0 path=a\n",
                       "010 path=a\n",
                       "-10 path=a\n",
                       "99999999999 path=a\n",
                       "4 \n",
                       "10 path=a\n\n"};
  for (const char* records : bad) expect_corrupt(pax(records) + file("x"), "malformed PAX");
  expect_corrupt(pax(record("path", std::string_view("a\0b", 3))) + file("x"), "bad value");
  expect_corrupt(pax(record(std::string_view("pa\0th", 5), "a")) + file("x"), "NUL");
  expect_corrupt(pax(record("path", "a") + record("path", "b")) + file("x"), "twice");
  for (const char* key : {"path", "size", "uid", "mtime"})
    expect_corrupt(pax(record(key, "")) + file("x"), "bad value");
  for (const char* size : {"-1", "1x", "0x10", " 1", "9223372036854775808"})
    expect_corrupt(pax(record("size", size)) + file("x"), "bad value");
  expect_corrupt(pax(record("uid", "4294967296")) + file("x"), "bad value");
  expect_corrupt(pax(record("hdrcharset", "EBCDIC")) + file("x"), "bad value");
  expect_corrupt(
      pax(record("SCHILY.xattr.user.a", "1") + record("LIBARCHIVE.xattr.user.a", "Mg")) + file("x"),
      "two values");
}

TEST(Hostile, X9BadNumbersAndChecksum) {
  auto with = [](auto change) {
    RawHeader header = raw_header({.name = "a"});
    change(header);
    put_checksum(header);
    return block_text(header);
  };
  expect_corrupt(with([](RawHeader& h) { std::memset(h.size, 0xff, 12); }), "negative");
  expect_corrupt(with([](RawHeader& h) {
                   std::memset(h.size + 1, 0xff, 11);
                   h.size[0] = '\x80';
                 }),
                 "'size'");
  expect_corrupt(with([](RawHeader& h) { std::memcpy(h.size, "0000000009\0", 12); }), "'size'");
  expect_corrupt(with([](RawHeader& h) { std::memset(h.size, ' ', 12); }), "no size");
  expect_corrupt(with([](RawHeader& h) { std::memcpy(h.mode, "0x44\0\0\0", 8); }), "'mode'");
  expect_corrupt(with([](RawHeader& h) { std::memset(h.uid, 0xff, 8); }), "negative");
  std::string broken = file("a");
  broken[0] = 'b';
  expect_corrupt(broken, "wrong checksum");
  broken = file("a");
  std::memset(broken.data() + 148, 0, 8);
  expect_corrupt(broken, "wrong checksum");
}

TEST(Hostile, X9NamesThatReadersSplitDifferently) {
  expect_corrupt(file("a/"), "ends with '/'");
  RawHeader header = raw_header({.name = "a", .prefix = "p"});
  std::memcpy(header.version, " \0", 2);
  put_checksum(header);
  expect_corrupt(block_text(header), "unknown format");
}

TEST(Hostile, X10HugeClaims) {
  for (char type : {'x', 'g', 'L', 'K'})
    expect_error(raw({.name = "e", .type = type, .size = 7ll << 30}), ErrorKind::kLimit,
                 "extended header");
  std::string many;
  for (int i = 0; i < 1001; ++i) many += record("k" + std::to_string(i), "v");
  expect_error(pax(many) + file("x"), ErrorKind::kLimit, "1000 records");
  expect_error(pax(record("SCHILY.xattr.user.a", std::string(65537, 'v'))) + file("x"),
               ErrorKind::kLimit, "65536");
  expect_error(pax(record("path", std::string(300, 'v'))) + file("x"), ErrorKind::kLimit, "255");
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += "d/";
  deep += "d";
  expect_error(pax(record("path", deep)) + file("x"), ErrorKind::kLimit, "4095");
  expect_error(pax(record("linkpath", deep)) + raw({.name = "x", .type = '2', .link = "y"}),
               ErrorKind::kLimit, "4095");
}

TEST(Hostile, LimitsOfTheWholeArchive) {
  ReaderLimits limits;
  limits.max_entries = 2;
  expect_error(file("a") + file("b") + file("c"), ErrorKind::kLimit, "2 members", limits);
  limits = {};
  limits.max_expanded_bytes = 5;
  EXPECT_TRUE(read_all(file("a", "123") + file("b", "45"), limits));
  expect_error(file("a", "123") + file("b", "456"), ErrorKind::kLimit, "5 bytes", limits);
}

std::string sparse_pax(const std::string& records, const std::string& data) {
  return pax(records) + file("s", data);
}

TEST(Hostile, X11SparseMaps) {
  const std::string size = record("GNU.sparse.size", "100");
  expect_corrupt(sparse_pax(size + record("GNU.sparse.map", "10,5,5,5"), "0123456789"), "overlap");
  expect_corrupt(sparse_pax(size + record("GNU.sparse.map", "0,6,5,4"), "0123456789"), "overlap");
  expect_corrupt(sparse_pax(size + record("GNU.sparse.map", "95,10"), "0123456789"),
                 "behind the end");
  expect_corrupt(
      sparse_pax(size + record("GNU.sparse.map", "9223372036854775807,10"), "0123456789"),
      "behind the end");
  expect_corrupt(sparse_pax(size + record("GNU.sparse.map", "0,9"), "0123456789"),
                 "not what is stored");
  expect_corrupt(sparse_pax(size + record("GNU.sparse.map", "0,"), "0"), "bad value");
  expect_corrupt(
      sparse_pax(size + record("GNU.sparse.numblocks", "2") + record("GNU.sparse.map", "0,1"), "0"),
      "number of regions");
  expect_corrupt(sparse_pax(size + record("GNU.sparse.numbytes", "1"), "0"), "no offset");
  expect_corrupt(sparse_pax(size + record("GNU.sparse.offset", "1"), "0"), "no size");
  expect_corrupt(sparse_pax(record("GNU.sparse.map", "0,1"), "0"), "size is missing");
  expect_error(sparse_pax(record("GNU.sparse.realsize", "9223372036854775807") +
                              record("GNU.sparse.map", "0,1"),
                          "0"),
               ErrorKind::kLimit, "bytes of files");
  expect_error(sparse_pax(record("GNU.sparse.size", std::to_string(100ull << 30)) +
                              record("GNU.sparse.map", "0,1"),
                          "0"),
               ErrorKind::kLimit, "holes");
  expect_corrupt(pax(size + record("GNU.sparse.map", "")) + raw({.name = "d", .type = '5'}),
                 "not a file");
}

TEST(Hostile, X11SparseMapInData) {
  const std::string keys = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") +
                           record("GNU.sparse.realsize", "100");
  expect_error(sparse_pax(keys, padded("10000000\n")), ErrorKind::kLimit, "65536 regions");
  expect_corrupt(sparse_pax(keys, padded("2\n0\n1\n")), "number of its map");
  expect_corrupt(sparse_pax(keys, "1\n0\n"), "cut off");
  expect_corrupt(sparse_pax(keys, std::string(512, '1')), "too long");
  expect_corrupt(sparse_pax(keys, padded("1\n-1\n5\n")), "wrong");
  expect_error(sparse_pax(record("GNU.sparse.major", "2") + record("GNU.sparse.realsize", "1"),
                          padded("0\n")),
               ErrorKind::kUnsupported, "2.0");
}

std::string gnu_sparse(const std::vector<std::pair<uint64_t, uint64_t>>& regions,
                       uint64_t real_size, uint64_t stored, bool extended) {
  RawHeader header =
      raw_header({.name = "s", .type = 'S', .size = static_cast<int64_t>(stored), .gnu = true});
  char* bytes = reinterpret_cast<char*>(&header);
  for (size_t i = 0; i < regions.size(); ++i) {
    put_octal(std::span(bytes + 386 + 24 * i, 12), regions[i].first);
    put_octal(std::span(bytes + 398 + 24 * i, 12), regions[i].second);
  }
  bytes[482] = extended ? 1 : 0;
  put_octal(std::span(bytes + 483, 12), real_size);
  put_checksum(header);
  return block_text(header);
}

TEST(Hostile, X11OldGnuSparse) {
  Result<std::vector<ReadMember>> members =
      read_all(gnu_sparse({{2, 3}, {8, 0}}, 8, 3, false) + padded("abc"));
  ASSERT_TRUE(members) << members.error().full_message();
  EXPECT_EQ((*members)[0].content, std::string("\0\0abc\0\0\0", 8));
  expect_corrupt(gnu_sparse({{5, 3}, {2, 1}}, 9, 4, false) + padded("abcd"), "overlap");
  expect_corrupt(gnu_sparse({{5, 3}}, 6, 3, false) + padded("abc"), "behind the end");
  expect_corrupt(gnu_sparse({{0, 1}}, 6, 1, true) + padded("abc"), "after its end");
  // A chain of extension blocks without end.
  std::string block;
  for (int i = 0; i < 21; ++i)
    block += std::string("00000000000\0", 12) + std::string("00000000000\0", 12);
  block += '\x01';
  block.resize(512);
  std::string chain = gnu_sparse({{0, 0}, {0, 0}, {0, 0}, {0, 0}}, 6, 0, true);
  for (int i = 0; i < 4000; ++i) chain += block;
  expect_error(chain, ErrorKind::kLimit, "65536 regions");
  expect_corrupt(gnu_sparse({{0, 0}, {0, 0}, {0, 0}, {0, 0}}, 6, 0, true) + block, "cut off");
  expect_corrupt(pax(record("GNU.sparse.size", "6") + record("GNU.sparse.map", "0,1")) +
                     gnu_sparse({{0, 1}}, 6, 1, false) + padded("a"),
                 "two maps");
}

TEST(Hostile, X14UnknownTypes) {
  for (char type : {'Z', 'X', 'A', 'D', 'M', 'N', 'V', 's', '8', '\x01', '\xff'})
    expect_error(raw({.name = "u", .type = type}), ErrorKind::kInvalid,
                 "not one that a layer can hold");
}

TEST(Hostile, TruncationIsAnErrorAtEveryByte) {
  const std::string archive =
      pax(record("path", "p")) + file("a", std::string(600, 'x')) + file("b", "y");
  for (size_t size = 1; size < archive.size(); ++size) {
    Result<std::vector<ReadMember>> members = read_all(archive.substr(0, size));
    // Between two members an archive may end without a mark.
    if (size == 3 * 512 + 1024) {
      EXPECT_TRUE(members);
    } else {
      ASSERT_FALSE(members) << size;
      EXPECT_EQ(members.error().kind(), ErrorKind::kCorrupt) << size;
    }
  }
}

TEST(Hostile, DataAfterTheEnd) {
  expect_corrupt(file("a") + end_mark() + file("b"), "follows the end");
  expect_corrupt(file("a") + std::string(512, '\0') + file("b"), "follows the end");
  expect_corrupt(file("a") + end_mark() + std::string(100'000, '\0') + "x", "follows the end");
  EXPECT_TRUE(read_all(file("a") + end_mark() + std::string(100'000, '\0')));
}

TEST(Hostile, ErrorsNameTheMemberAndStay) {
  const std::string archive = file("fine") + raw({.name = "x/\x1b[31m", .type = 'Z'}) + file("b");
  MemorySource source(archive);
  Reader reader(source);
  ASSERT_TRUE(reader.next());
  Result<std::optional<Member>> failed = reader.next();
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().full_message().find("archive member at byte 512: 'x/"),
            std::string::npos)
      << failed.error().full_message();
  EXPECT_FALSE(reader.next());
  uint8_t byte[1];
  EXPECT_FALSE(reader.read(byte));
}

// X19: bytes of names are kept.
TEST(Hostile, X19Names) {
  for (const std::string& name :
       {std::string("\xff\xfe"), std::string("a\nb"), std::string("\\"), std::string("e\xcc\x81"),
        std::string("con. "), std::string("\x1b]0;x\x07")}) {
    Result<std::vector<ReadMember>> members =
        read_all(file(name) + pax(record("path", name)) + file("x"));
    ASSERT_TRUE(members);
    EXPECT_EQ((*members)[0].member.entry.path, name);
    EXPECT_EQ((*members)[1].member.entry.path, name);
  }
}

}  // namespace
}  // namespace kasane::tar
