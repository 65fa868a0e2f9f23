#include "build/stat_cache.h"

#include <gtest/gtest.h>

namespace kasane::build {
namespace {

StatCache::Identity file(uint64_t inode) {
  StatCache::Identity identity;
  identity.device = 1;
  identity.inode = inode;
  identity.size = 10;
  identity.mtime_ns = 1000;
  identity.ctime_ns = 1000;  // long ago
  return identity;
}

class StatCacheTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<TempDir> made = TempDir::make();
    ASSERT_TRUE(made.has_value());
    directory_.emplace(std::move(*made));
  }
  std::string path() const { return directory_->path() + "/cache"; }
  std::optional<TempDir> directory_;
};

TEST_F(StatCacheTest, RemembersAcrossProcessesAndKeepsWhatItDidNotSee) {
  {
    StatCache cache(path());
    cache.remember(file(1), {sha256("one"), false});
    cache.remember(file(2), {sha256("two"), true});
    cache.save();
  }
  {
    StatCache cache(path());
    cache.remember(file(3), {sha256("three"), false});
    cache.save();
  }
  StatCache cache(path());
  ASSERT_TRUE(cache.find(file(1)));
  EXPECT_EQ(cache.find(file(1))->content, sha256("one"));
  EXPECT_TRUE(cache.find(file(2))->has_xattrs);
  EXPECT_TRUE(cache.find(file(3)));
  EXPECT_FALSE(cache.find(file(4)));
}

TEST_F(StatCacheTest, AnyChangedFieldIsAMiss) {
  StatCache cache(path());
  cache.remember(file(1), {sha256("one"), false});
  for (int field = 0; field < 4; ++field) {
    StatCache::Identity changed = file(1);
    if (field == 0) changed.size = 11;
    if (field == 1) changed.mtime_ns = 1001;
    if (field == 2) changed.ctime_ns = 1001;
    if (field == 3) changed.device = 2;
    EXPECT_FALSE(cache.find(changed)) << field;
  }
}

TEST_F(StatCacheTest, AFileThatChangedJustNowIsNotTrusted) {
  StatCache cache(path());
  StatCache::Identity fresh = file(1);
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  fresh.ctime_ns = now.tv_sec * 1'000'000'000ll + now.tv_nsec;
  cache.remember(fresh, {sha256("one"), false});
  EXPECT_FALSE(cache.find(fresh));
}

TEST_F(StatCacheTest, ADamagedFileIsIgnored) {
  for (std::string text : {std::string("x"), std::string("kasane-stat-1\n\0\0abc", 19), std::string(200, 'k')}) {
    ASSERT_TRUE(replace_file(path(), text).has_value());
    StatCache cache(path());
    EXPECT_FALSE(cache.find(file(1)));
    cache.remember(file(1), {sha256("one"), false});
    cache.save();
    EXPECT_TRUE(StatCache(path()).find(file(1)));
  }
}

}  // namespace
}  // namespace kasane::build
