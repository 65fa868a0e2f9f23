#include "tar/writer.h"

#include <gtest/gtest.h>

#include <limits>

#include "tar/testing.h"

namespace kasane::tar {
namespace {

using namespace testing;

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

Entry entry_of(std::string path, EntryType type = EntryType::kFile) {
  Entry entry;
  entry.path = std::move(path);
  entry.type = type;
  return entry;
}

Result<std::string> write_all(const std::vector<std::pair<Entry, std::string>>& entries) {
  StringSink sink;
  Writer writer(sink);
  for (const auto& [entry, content] : entries) {
    Placement placement = TRY(writer.begin(entry));
    EXPECT_EQ(placement.data_offset, sink.text.size());
    EXPECT_EQ(placement.data_offset, writer.offset());
    TRY(writer.write(bytes_of(content)));
    TRY(writer.finish_member());
  }
  TRY(writer.finish());
  EXPECT_EQ(writer.offset(), sink.text.size());
  return sink.text;
}

void expect_same(const Entry& a, const Entry& b) {
  EXPECT_EQ(a.type, b.type) << a.path;
  EXPECT_EQ(a.path, b.path);
  EXPECT_EQ(a.link_target, b.link_target) << a.path;
  EXPECT_EQ(a.mode, b.mode) << a.path;
  EXPECT_EQ(a.uid, b.uid) << a.path;
  EXPECT_EQ(a.gid, b.gid) << a.path;
  EXPECT_EQ(a.size, b.size) << a.path;
  EXPECT_EQ(a.mtime, b.mtime) << a.path;
  EXPECT_EQ(a.dev_major, b.dev_major) << a.path;
  EXPECT_EQ(a.dev_minor, b.dev_minor) << a.path;
  EXPECT_EQ(a.xattrs, b.xattrs) << a.path;
}

// X16, X19: everything that Entry can say comes back.
std::vector<std::pair<Entry, std::string>> all_kinds() {
  std::vector<std::pair<Entry, std::string>> entries;
  auto add = [&](Entry entry, std::string content = "") {
    entry.size = content.size();
    entries.emplace_back(std::move(entry), std::move(content));
  };
  Entry root = entry_of("", EntryType::kDirectory);
  root.mode = 01777;
  add(root);
  Entry attributes = entry_of("attributes");
  attributes.mode = 06755;
  attributes.uid = 4294967294u;
  attributes.gid = 2097152;
  attributes.mtime = {-1, 500'000'000};
  attributes.xattrs = {{"security.capability", std::string("\1\0\0\2\n=", 6)},
                       {"user.", "x"},
                       {"user.100%25", "p"},
                       {"user.a=b", ""},
                       {"user.empty", ""}};
  add(attributes, "content");
  Entry device = entry_of("device", EntryType::kBlockDevice);
  device.dev_major = 4095;
  device.dev_minor = 1048575;
  add(device);
  add(entry_of("dir", EntryType::kDirectory));
  add(entry_of("dir/" + std::string(255, 'n')), std::string(512, 'x'));
  add(entry_of("dir/\xff\n"), std::string(513, 'y'));
  add(entry_of("fifo", EntryType::kFifo));
  Entry hard = entry_of("hard", EntryType::kHardlink);
  hard.link_target = "attributes";
  add(hard);
  std::string deep = "long";
  while (deep.size() < 4000) deep += "/" + std::string(50, 'd');
  Entry long_time = entry_of(deep);
  long_time.mtime = {274877906944, 1};
  add(long_time);
  add(entry_of("prefix", EntryType::kDirectory));
  add(entry_of("prefix/" + std::string(120, 'p') + "/" + std::string(100, 'f')));
  Entry link = entry_of("symlink", EntryType::kSymlink);
  link.link_target = "../" + std::string(200, 't') + "/\xfe";
  link.xattrs = {{"security.selinux", "x"}};
  add(link);
  return entries;
}

TEST(Writer, ReadGivesWhatWasWritten) {
  const auto entries = all_kinds();
  Result<std::string> archive = write_all(entries);
  ASSERT_TRUE(archive) << archive.error().full_message();
  Result<std::vector<ReadMember>> members = read_all(*archive);
  ASSERT_TRUE(members) << members.error().full_message();
  ASSERT_EQ(members->size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    expect_same((*members)[i].member.entry, entries[i].first);
    EXPECT_EQ((*members)[i].content, entries[i].second);
  }
  EXPECT_EQ(*write_all(entries), *archive);
}

TEST(Writer, OffsetsAreThoseOfTheReader) {
  StringSink sink;
  Writer writer(sink);
  std::vector<Placement> placements;
  for (const auto& [entry, content] : all_kinds()) {
    placements.push_back(*writer.begin(entry));
    ASSERT_TRUE(writer.write(bytes_of(content)));
    ASSERT_TRUE(writer.finish_member());
  }
  ASSERT_TRUE(writer.finish());
  const auto members = read_all(sink.text).take();
  ASSERT_EQ(members.size(), placements.size());
  for (size_t i = 0; i < members.size(); ++i) {
    EXPECT_EQ(members[i].member.header_offset, placements[i].header_offset);
    EXPECT_EQ(members[i].member.data_offset, placements[i].data_offset);
  }
}

// What ustar can say takes one block: no PAX, and the end is two blocks, not a record.
TEST(Writer, Minimal) {
  Entry plain = entry_of("a/b");
  plain.mtime = {8589934591, 0};
  plain.uid = 2097151;
  plain.size = 3;
  EXPECT_EQ(write_all({{plain, "abc"}})->size(), 512u + 512 + 1024);
  EXPECT_EQ(write_all({})->size(), 1024u);
  Entry split = entry_of(std::string(150, 'p') + "/" + std::string(100, 'n'));
  EXPECT_EQ(write_all({{split, ""}})->size(), 512u + 1024);
  plain.mtime.nsec = 1;
  EXPECT_EQ(write_all({{plain, "abc"}})->size(), 1024u + 512 + 512 + 1024);
}

// The exact bytes are the layer's name; they may change only on purpose.
TEST(Writer, BytesArePinned) {
  const std::string archive = *write_all(all_kinds());
  EXPECT_EQ(sha256(std::string_view(archive)).hex(),
            "fba75faf442c129f05ea4939eaefcd72bb3cb1fed945ea14c192fcb8d61d0978");
}

TEST(Writer, RefusesDisorderAndDuplicates) {
  auto kind_of = [](const Entry& first, const Entry& second) {
    Result<std::string> archive = write_all({{first, ""}, {second, ""}});
    return archive ? ErrorKind::kInvalid : archive.error().kind();
  };
  EXPECT_EQ(kind_of(entry_of("b"), entry_of("a")), ErrorKind::kInternal);
  EXPECT_EQ(kind_of(entry_of("a"), entry_of("a")), ErrorKind::kInternal);
  EXPECT_EQ(kind_of(entry_of("a-b"), entry_of("a/b")), ErrorKind::kInternal);
  EXPECT_EQ(kind_of(entry_of("a"), entry_of("", EntryType::kDirectory)), ErrorKind::kInternal);
  EXPECT_EQ(kind_of(entry_of("a/b"), entry_of("a-b")), ErrorKind::kInvalid);  // accepted
}

TEST(Writer, RefusesBrokenEntries) {
  auto error_of = [](auto change) {
    Entry entry = entry_of("a");
    change(entry);
    Result<std::string> archive = write_all({{entry, ""}});
    return archive ? std::string("accepted") : archive.error().full_message();
  };
  EXPECT_NE(error_of([](Entry& e) { e.path = "/a"; }).find("not normalised"), std::string::npos);
  EXPECT_NE(error_of([](Entry& e) { e.path = "../a"; }).find("not normalised"), std::string::npos);
  EXPECT_NE(error_of([](Entry& e) { e.path = ""; }).find("root"), std::string::npos);
  EXPECT_NE(error_of([](Entry& e) { e.mode = 0100644; }).find("bad mode"), std::string::npos);
  EXPECT_NE(error_of([](Entry& e) {
              e.xattrs = {{"b", ""}, {"a", ""}};
            }).find("unsorted"),
            std::string::npos);
  EXPECT_NE(error_of([](Entry& e) {
              e.xattrs = {{"user.overlay.opaque", "y"}};
            }).find("overlayfs"),
            std::string::npos);
  EXPECT_NE(error_of([](Entry& e) { e.type = EntryType::kSymlink; }).find("link target"),
            std::string::npos);
  EXPECT_NE(error_of([](Entry& e) {
              e.type = EntryType::kHardlink;
              e.link_target = "../x";
            }).find("hard link"),
            std::string::npos);
  EXPECT_NE(error_of([](Entry& e) {
              e.type = EntryType::kCharDevice;
              e.dev_minor = 1u << 21;
            }).find("too large for tar"),
            std::string::npos);
  EXPECT_NE(error_of([](Entry& e) {
              e.mtime.sec = std::numeric_limits<int64_t>::min();
            }).find("too early"),
            std::string::npos);
  EXPECT_NE(error_of([](Entry& e) {
              e.xattrs = {{"user.a", std::string(70'000, 'x')}};
            }).find("too large"),
            std::string::npos);
}

TEST(Writer, ContentMustBeAsLongAsPromised) {
  Entry entry = entry_of("a");
  entry.size = 2;
  StringSink sink;
  {
    Writer writer(sink);
    ASSERT_TRUE(writer.begin(entry));
    EXPECT_EQ(writer.write(bytes_of("abc")).error().kind(), ErrorKind::kInternal);
    EXPECT_FALSE(writer.finish_member());
  }
  Writer writer(sink);
  ASSERT_TRUE(writer.begin(entry));
  ASSERT_TRUE(writer.write(bytes_of("a")));
  EXPECT_EQ(writer.finish_member().error().kind(), ErrorKind::kInternal);
  EXPECT_FALSE(writer.finish());
}

TEST(Writer, LargeSizesGoToPax) {
  Entry entry = entry_of("big");
  entry.size = 8ull << 30;
  StringSink sink;
  Writer writer(sink);
  ASSERT_TRUE(writer.begin(entry));
  MemorySource source(sink.text);
  Reader reader(source);
  Result<std::optional<Member>> member = reader.next();
  ASSERT_TRUE(member) << member.error().full_message();
  EXPECT_EQ((*member)->entry.size, 8ull << 30);
}

}  // namespace
}  // namespace kasane::tar
