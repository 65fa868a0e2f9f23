#include "store/layer_index.h"

#include <gmock/gmock.h>
#include <sys/mman.h>

#include <chrono>
#include <random>

#include "store/layer_testing.h"

namespace kasane::store {
namespace {

using namespace testing;
using ::testing::HasSubstr;

const Sha256Digest kId = sha256("diff id");

IndexedEntry indexed(tar::Entry e, uint64_t offset) {
  IndexedEntry i;
  i.entry = std::move(e);
  i.header_offset = offset;
  i.data_offset = offset + 512;
  i.raw_size = i.entry.size;
  if (i.entry.size > 0) i.content = sha256(i.entry.path);
  return i;
}

class LayerIndexTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name = "index") { return dir_.path() + "/" + name; }
  Result<LayerSummary> write(std::vector<tar::Entry> entries, bool canonical = true) {
    LayerIndexBuilder builder;
    uint64_t offset = 0;
    for (tar::Entry& e : entries) {
      builder.add(indexed(std::move(e), offset));
      offset += 1024;
    }
    return builder.write(path(), kId, offset, canonical, false);
  }
  TempDir dir_ = temp_dir();
};

TEST_F(LayerIndexTest, KeepsEveryField) {
  tar::Entry device = entry(tar::EntryType::kCharDevice, "dev/tty");
  device.dev_major = 5;
  device.dev_minor = 1'000'000;
  device.mode = 06777;
  device.uid = 4'294'967'294;
  device.gid = 12;
  device.mtime = {-1, 999'999'999};
  device.xattrs = {{"security.capability", std::string("\0\1\2", 3)}, {"user.empty", ""}};
  tar::Entry text = file("dev/zz", 1ull << 40);
  ASSERT_OK(write({dir("dev"), device, text, entry(tar::EntryType::kSymlink, "link", "/a/../b")}));
  auto index = LayerIndex::open(path(), true);
  ASSERT_OK(index);
  const LayerIndex& i = **index;
  ASSERT_EQ(i.size(), 4u);
  EXPECT_EQ(i.summary().diff_id, kId);
  EXPECT_EQ(i.summary().content_size, 1ull << 40);
  EXPECT_TRUE(i.summary().canonical);
  const EntryView view = i.at(*i.find("dev/tty"));
  EXPECT_EQ(view.type, device.type);
  EXPECT_EQ(view.mode, device.mode);
  EXPECT_EQ(view.uid, device.uid);
  EXPECT_EQ(view.gid, device.gid);
  EXPECT_EQ(view.mtime, device.mtime);
  EXPECT_EQ(view.dev_major, 5u);
  EXPECT_EQ(view.dev_minor, 1'000'000u);
  EXPECT_EQ(view.xattrs, device.xattrs);
  EXPECT_EQ(view.header_offset, 1024u);
  EXPECT_EQ(view.data_offset, 1536u);
  EXPECT_EQ(i.at(2).content, sha256("dev/zz"));
  EXPECT_EQ(i.at(3).link_target, "/a/../b");
  EXPECT_EQ(i.type_at(3), tar::EntryType::kSymlink);
  EXPECT_FALSE(i.has_whiteouts());
  EXPECT_FALSE(i.has_implicit_parents());
  for (size_t n = 0; n < 4; ++n) EXPECT_EQ(i.tar_order(n), n);
}

TEST_F(LayerIndexTest, FindsAndListsSubtrees) {
  ASSERT_OK(write({dir(""), dir("a"), dir("a/b"), file("a/b/c"), file("a/d"), file("a.b"),
                   file("a0"), file("b/c/.wh.x")}));
  auto index = LayerIndex::open(path(), true);
  ASSERT_OK(index);
  auto range = [&](std::string_view d) {
    auto [begin, end] = (*index)->subtree(d);
    std::string text;
    for (size_t n = begin; n < end; ++n) text += std::string((*index)->path_at(n)) + " ";
    return text;
  };
  EXPECT_EQ(range(""), "a a/b a/b/c a/d a.b a0 b/c/.wh.x ");
  EXPECT_EQ(range("a"), "a/b a/b/c a/d ");
  EXPECT_EQ(range("a/b"), "a/b/c ");
  EXPECT_EQ(range("a/b/c"), "");
  EXPECT_EQ(range("b"), "b/c/.wh.x ");
  EXPECT_EQ(range("zzz"), "");
  EXPECT_FALSE((*index)->find("b"));
  EXPECT_FALSE((*index)->find("a/"));
  EXPECT_EQ((*index)->find(""), 0u);
  EXPECT_TRUE((*index)->has_whiteouts());
  EXPECT_TRUE((*index)->has_implicit_parents());
}

TEST_F(LayerIndexTest, LastDuplicateWinsAndTarOrderIsKept) {
  tar::Entry second = file("x/b", 7);
  second.uid = 9;
  auto summary = write({dir("x"), file("x/b", 3), file("x/a", 1), second});
  ASSERT_OK(summary);
  EXPECT_FALSE(summary->canonical);
  auto index = LayerIndex::open(path(), true);
  ASSERT_OK(index);
  ASSERT_EQ((*index)->size(), 3u);
  EXPECT_EQ((*index)->at(2).uid, 9u);
  EXPECT_EQ((*index)->summary().content_size, 8u);
  EXPECT_EQ((*index)->tar_order(1), 1u);
  EXPECT_EQ((*index)->tar_order(2), 2u);
  ASSERT_OK(write({file("b"), file("a")}));
  index = LayerIndex::open(path(), true);
  EXPECT_EQ((*index)->tar_order(0), 1u);
  EXPECT_EQ((*index)->tar_order(1), 0u);
}

TEST_F(LayerIndexTest, RefusesEntriesBelowOtherThings) {
  auto below = write({entry(tar::EntryType::kSymlink, "d", "/etc"), file("d/x")});
  ASSERT_FALSE(below);
  EXPECT_EQ(below.error().kind(), ErrorKind::kInvalid);
  EXPECT_THAT(below.error().message(), HasSubstr("'d/x' lies below 'd'"));
  EXPECT_FALSE(write({file("d"), dir("d/x"), file("d/x/y")}));
  EXPECT_FALSE(write({entry(tar::EntryType::kSymlink, "", "/")}));
  // X3: a directory that becomes a symlink while entries below it stay.
  EXPECT_FALSE(write({dir("d"), file("d/x"), entry(tar::EntryType::kSymlink, "d", "/")}));
}

TEST_F(LayerIndexTest, ChecksHardLinks) {
  auto link = [](std::string from, std::string to) {
    return entry(tar::EntryType::kHardlink, std::move(from), std::move(to));
  };
  EXPECT_FALSE(write({link("a", "b")}));                        // missing
  EXPECT_FALSE(write({link("a", "b"), file("b")}));             // later
  EXPECT_FALSE(write({link("a", "a")}));                        // itself
  EXPECT_FALSE(write({dir("a"), link("b", "a")}));              // a directory
  EXPECT_FALSE(write({file("a"), link("b", "a"), file("a")}));  // replaced afterwards
  EXPECT_FALSE(write({file("a"), link("b", "c"), link("c", "b")}));
  ASSERT_OK(write({file("z"), link("a", "z")}));
  auto summary = write({file("z", 4), link("m", "z"), link("k", "m"), link("a", "k")});
  ASSERT_OK(summary);
  EXPECT_FALSE(summary->canonical);  // chains were shortened
  auto index = LayerIndex::open(path(), true);
  EXPECT_EQ((*index)->at(0).link_target, "z");
  EXPECT_EQ((*index)->at(1).link_target, "z");
}

TEST_F(LayerIndexTest, LongLinkChainsTakeLinearTime) {
  std::vector<tar::Entry> entries{file("f")};
  std::string previous = "f";
  for (int i = 0; i < 100'000; ++i) {
    std::string name = "l" + std::to_string(i);
    entries.push_back(entry(tar::EntryType::kHardlink, name, previous));
    previous = name;
  }
  ASSERT_OK(write(std::move(entries)));
  auto index = LayerIndex::open(path(), true);
  EXPECT_EQ((*index)->at(*(*index)->find("l99999")).link_target, "f");
}

TEST_F(LayerIndexTest, ContentIdIgnoresTimesOnly) {
  auto id = [&](tar::Entry e) { return write({std::move(e)})->content_id; };
  tar::Entry base = file("a", 3);
  const Sha256Digest same = id(base);
  tar::Entry other = base;
  other.mtime = {5, 5};
  EXPECT_EQ(id(other), same);
  other = base;
  other.mode = 0600;
  EXPECT_NE(id(other), same);
  other = base;
  other.uid = 1;
  EXPECT_NE(id(other), same);
  other = base;
  other.path = "b";
  EXPECT_NE(id(other), same);
  other = base;
  other.xattrs = {{"user.a", "b"}};
  EXPECT_NE(id(other), same);
  tar::Entry split = base;
  split.xattrs = {{"user.ab", ""}};
  EXPECT_NE(id(split), id(other));
}

TEST_F(LayerIndexTest, EveryDamagedByteIsHarmlessAndFound) {
  std::vector<tar::Entry> entries;
  for (int i = 0; i < 20; ++i) {
    tar::Entry e = file("d" + std::to_string(i), static_cast<uint64_t>(i));
    e.xattrs = {{"user.x", "value"}};
    entries.push_back(std::move(e));
  }
  entries.push_back(entry(tar::EntryType::kHardlink, "a", "d3"));
  ASSERT_OK(write(std::move(entries)));
  const std::string good = slurp(path());
  std::mt19937 random(7);
  UniqueFd memory(::memfd_create("index", MFD_CLOEXEC));
  const std::string in_memory = "/proc/self/fd/" + std::to_string(memory.get());
  auto put = [&](const std::string& text) {
    ASSERT_EQ(::ftruncate(memory.get(), 0), 0);
    ASSERT_EQ(::pwrite(memory.get(), text.data(), text.size(), 0),
              static_cast<ssize_t>(text.size()));
  };
  auto use = [](const LayerIndex& index) {
    size_t sum = 0;
    for (size_t n = 0; n < index.size() + 2; ++n) {
      const EntryView view = index.at(n);
      sum += view.path.size() + view.link_target.size() + index.tar_order(n);
      for (const tar::Xattr& x : view.xattrs) sum += x.value.size();
      sum += index.find(view.path).value_or(0);
      auto [begin, end] = index.subtree(view.path);
      EXPECT_LE(begin, end);
      EXPECT_LE(end, index.size());
    }
    return sum;
  };
  for (size_t at = 0; at < good.size(); ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << random() % 8));
    put(bad);
    EXPECT_FALSE(LayerIndex::open(in_memory, true)) << "byte " << at;
    if (auto index = LayerIndex::open(in_memory)) use(**index);
  }
  for (int round = 0; round < 3000; ++round) {  // many bytes at once, header left alone
    std::string bad = good;
    for (int n = 0; n < 1 + round % 40; ++n)
      bad[200 + random() % (bad.size() - 200)] = static_cast<char>(random());
    put(bad);
    auto index = LayerIndex::open(in_memory);
    ASSERT_OK(index);
    use(**index);
  }
  for (size_t size = 0; size < good.size(); size += 37) {
    put(good.substr(0, size));
    EXPECT_FALSE(LayerIndex::open(in_memory));
  }
}

TEST_F(LayerIndexTest, OpensFiftyThousandEntriesAtOnce) {
  std::vector<tar::Entry> entries;
  for (int i = 0; i < 50'000; ++i)
    entries.push_back(file("usr/share/doc/package" + std::to_string(i) + "/copyright", 100));
  ASSERT_OK(write(std::move(entries)));
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) ASSERT_OK(LayerIndex::open(path()));
  const auto spent = std::chrono::steady_clock::now() - start;
  EXPECT_LT(spent, std::chrono::milliseconds(200));  // 10 opens, generous for a loaded machine
}

}  // namespace
}  // namespace kasane::store
