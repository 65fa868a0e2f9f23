#include "store/cache_mounts.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "store/store_internal.h"
#include "store/test_support.h"
#include "tar/writer.h"

namespace kasane::store {
namespace {

using testing::exists;
using testing::open_store;
using testing::value;
using Sharing = CacheMountRequest::Sharing;
using std::chrono::milliseconds;

class CacheMounts : public ::testing::Test {
 protected:
  static CacheMountRequest request(const std::string& id, Sharing sharing = Sharing::kShared) {
    CacheMountRequest out;
    out.id = id;
    out.sharing = sharing;
    return out;
  }
  CacheMountHandle open(const CacheMountRequest& what) {
    Result<CacheMountHandle> handle = open_cache_mount(*store_, what);
    EXPECT_TRUE(handle) << (handle ? "" : handle.error().full_message());
    return std::move(*handle);
  }
  // True when it cannot be had within a moment.
  bool waits(const CacheMountRequest& what) {
    std::stop_source stop;
    std::jthread timer([&] {
      std::this_thread::sleep_for(milliseconds(60));
      stop.request_stop();
    });
    Result<CacheMountHandle> handle = open_cache_mount(*store_, what, stop.get_token());
    if (!handle) {
      EXPECT_EQ(handle.error().kind(), ErrorKind::kCancelled);
    }
    return !handle;
  }
  void write(const std::string& path, const std::string& content) {
    EXPECT_OK(replace_file(path, content));
  }
  std::vector<CacheMountInfo> list(bool sizes = false) {
    return value(list_cache_mounts(*store_, sizes));
  }
  void set_last_use(const std::string& id, int64_t seconds) {
    for (const CacheMountInfo& info : list()) {
      if (info.id != id) continue;
      timespec time[2] = {{seconds, 0}, {seconds, 0}};
      ASSERT_EQ(
          ::utimensat(AT_FDCWD, store_->path("mounts/" + info.key + "/meta.json").c_str(), time, 0),
          0);
    }
  }
  std::string exported(const std::string& id) {
    StringSink sink;
    EXPECT_OK(export_cache_mount(*store_, *find_cache_mount(*store_, id), sink));
    return std::move(sink.text);
  }
  std::vector<std::string> pruned(const CacheMountPrune& options) {
    std::vector<std::string> out;
    PrunedCacheMounts done = value(prune_cache_mounts(*store_, options));
    for (const CacheMountInfo& info : done.removed) out.push_back(info.id);
    EXPECT_TRUE(value(list_directory(store_->path("trash"))).empty());
    return out;
  }

  TempDir directory_ = TempDir::make("kasane-mounts").take();
  std::unique_ptr<Store> store_ = open_store(directory_.path() + "/store");
};

TEST_F(CacheMounts, KeepsItsContent) {
  write(open(request("/root/.cache")).path() + "/file", "x");
  CacheMountHandle again = open(request("/root/.cache"));
  EXPECT_EQ(value(read_file(again.path() + "/file")), "x");
  EXPECT_FALSE(again.needs_seed());
  struct stat st;
  ASSERT_EQ(::stat(again.path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0755u);
}

TEST_F(CacheMounts, Identity) {
  CacheMountRequest plain = request("a"), other = plain;
  auto differs = [&] { return cache_mount_key(other) != cache_mount_key(plain); };
  EXPECT_FALSE(differs());
  other.sharing = Sharing::kLocked;
  EXPECT_FALSE(differs());
  other.uid = 1;
  EXPECT_TRUE(differs());
  other = plain;
  other.mode = 0700;
  EXPECT_TRUE(differs());
  other = plain;
  other.namespace_ = "n";
  EXPECT_TRUE(differs());
  plain.base_digest = other.base_digest = "sha256:1";
  other.namespace_ = "";
  other.mode = 0700;  // with a source these say nothing
  EXPECT_FALSE(differs());
  other.base_digest = "sha256:2";
  EXPECT_TRUE(differs());
  // Fields do not run into each other.
  plain = request("b"), plain.namespace_ = "a";
  other = request(" 1:b"), other.namespace_ = "";
  EXPECT_TRUE(differs());
}

TEST_F(CacheMounts, HostileIds) {
  for (const std::string& id : {std::string("../../etc"), std::string("a\0b", 3),
                                std::string(100'000, 'x'), std::string("\xff\n\"")}) {
    write(open(request(id)).path() + "/f", "x");
    EXPECT_EQ(value(read_file(open(request(id)).path() + "/f")), "x");
  }
  EXPECT_EQ(list().size(), 4u);
}

TEST_F(CacheMounts, OwnerAndMode) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  CacheMountRequest what = request("o");
  what.uid = 1234;
  what.gid = 5678;
  what.mode = 02770;
  CacheMountHandle handle = open(what);
  struct stat st;
  ASSERT_EQ(::stat(handle.path().c_str(), &st), 0);
  EXPECT_EQ(st.st_uid, 1234u);
  EXPECT_EQ(st.st_gid, 5678u);
  EXPECT_EQ(st.st_mode & 07777, 02770u);
}

TEST_F(CacheMounts, OwnersGoThroughTheRunner) {
  std::atomic<int> runs = 0;
  store_->set_tree_runner([&](const std::function<int()>& work) -> Result<int> {
    ++runs;
    return testing::wait_for(testing::spawn(work));
  });
  open(request("plain"));
  EXPECT_EQ(runs, 0);
  CacheMountRequest what = request("owned");
  what.uid = 1000;
  open(what);
  EXPECT_EQ(runs, 1);
  // No such process: the directory stays ours, and the step can run.
  store_->set_tree_runner([](const std::function<int()>&) -> Result<int> {
    return Error(ErrorKind::kUnsupported, "no user namespaces");
  });
  what.id = "other";
  EXPECT_OK(open_cache_mount(*store_, what));
}

TEST_F(CacheMounts, SharingModes) {
  {
    CacheMountHandle a = open(request("s")), b = open(request("s"));
    EXPECT_EQ(a.path(), b.path());
    EXPECT_TRUE(waits(request("s", Sharing::kLocked)));
    CacheMountHandle c = open(request("s", Sharing::kPrivate));
    EXPECT_NE(a.path(), c.path());
  }
  CacheMountHandle locked = open(request("s", Sharing::kLocked));
  EXPECT_TRUE(waits(request("s", Sharing::kLocked)));
  EXPECT_TRUE(waits(request("s")));
  EXPECT_FALSE(waits(request("t", Sharing::kLocked)));
}

TEST_F(CacheMounts, PrivateOnesComeFromAPool) {
  std::string first, second;
  {
    CacheMountHandle a = open(request("p", Sharing::kPrivate));
    CacheMountHandle b = open(request("p", Sharing::kPrivate));
    first = a.path();
    second = b.path();
    EXPECT_NE(first, second);
    EXPECT_TRUE(second.ends_with(".1/data"));
  }
  EXPECT_EQ(open(request("p", Sharing::kPrivate)).path(), first);
  EXPECT_EQ(list().size(), 2u);
  EXPECT_EQ(find_cache_mount(*store_, "p").error().kind(), ErrorKind::kConflict);
}

TEST_F(CacheMounts, ALockedOneIsHandedOn) {
  std::optional<CacheMountHandle> held(open(request("l", Sharing::kLocked)));
  std::atomic<bool> got = false;
  std::jthread other([&] {
    CacheMountHandle handle = open(request("l", Sharing::kLocked));
    got = true;
  });
  std::this_thread::sleep_for(milliseconds(30));
  EXPECT_FALSE(got);
  held.reset();
  other.join();
  EXPECT_TRUE(got);
}

TEST_F(CacheMounts, SeedingIsDoneOnceAndWhole) {
  CacheMountRequest what = request("seeded");
  what.base_digest = "sha256:abc";
  {
    CacheMountHandle handle = open(what);
    EXPECT_TRUE(handle.needs_seed());
    EXPECT_TRUE(waits(what));
    write(handle.path() + "/half", "x");
  }  // died before mark_seeded()
  {
    CacheMountHandle handle = open(what);
    EXPECT_TRUE(handle.needs_seed());
    EXPECT_FALSE(exists(handle.path() + "/half"));
    write(handle.path() + "/whole", "x");
    ASSERT_OK(handle.mark_seeded());
  }
  CacheMountHandle a = open(what), b = open(what);
  EXPECT_FALSE(a.needs_seed());
  EXPECT_TRUE(exists(b.path() + "/whole"));
}

TEST_F(CacheMounts, List) {
  EXPECT_TRUE(list().empty());
  CacheMountRequest what = request("one");
  what.uid = ::geteuid();
  what.gid = ::getegid();
  what.mode = 0700;
  what.namespace_ = "ns";
  {
    CacheMountHandle handle = open(what);
    write(handle.path() + "/a", std::string(100'000, 'x'));
    ASSERT_EQ(::link((handle.path() + "/a").c_str(), (handle.path() + "/b").c_str()), 0);
    EXPECT_TRUE(list().at(0).in_use);
  }
  ASSERT_OK(make_directories(store_->path("mounts/" + sha256("old").hex() + "/x")));
  ASSERT_OK(make_directories(store_->path("mounts/other")));
  std::vector<CacheMountInfo> all = list(true);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].sharing, "");  // of an older kasane
  EXPECT_EQ(all[1].id, "one");
  EXPECT_EQ(all[1].namespace_, "ns");
  EXPECT_EQ(all[1].mode, 0700u);
  EXPECT_EQ(all[1].sharing, "shared");
  EXPECT_FALSE(all[1].in_use);
  EXPECT_GT(all[1].size_bytes, 90'000u);
  EXPECT_LT(all[1].size_bytes, 180'000u);  // the link is no second file
  EXPECT_GT(all[1].last_used_ns, now_ns() - 60'000'000'000);
  EXPECT_EQ(value(find_cache_mount(*store_, all[1].key.substr(0, 12))).id, "one");
  EXPECT_EQ(find_cache_mount(*store_, "none").error().kind(), ErrorKind::kNotFound);
}

TEST_F(CacheMounts, DamagedMetaIsNoReasonToFail) {
  open(request("a"));
  std::string directory = store_->path("mounts/" + cache_mount_key(request("a")));
  for (const std::string& text : {std::string(), std::string("{"), std::string("[]"),
                                  std::string(R"({"mode":-1})"), std::string(300'000, ' ')}) {
    write(directory + "/meta.json", text);
    ASSERT_EQ(list(true).size(), 1u);
    EXPECT_EQ(list()[0].id, "");
    EXPECT_OK(open_cache_mount(*store_, request("a")));
    EXPECT_EQ(list()[0].id, "a");
  }
}

TEST_F(CacheMounts, PruneTakesTheLeastRecentlyUsedFirst) {
  for (const char* id : {"a", "b", "c"})
    write(open(request(id)).path() + "/f", std::string(100'000, 'x'));
  set_last_use("b", 1000);
  set_last_use("a", 2000);
  set_last_use("c", 3000);
  EXPECT_TRUE(pruned({.id = {}, .unused_since_ns = {}, .keep_bytes = 10'000'000}).empty());
  EXPECT_EQ(pruned({.id = {}, .unused_since_ns = {}, .keep_bytes = 250'000}),
            std::vector<std::string>{"b"});
  EXPECT_EQ(pruned({.id = {}, .unused_since_ns = 2500'000'000'000, .keep_bytes = {}}),
            std::vector<std::string>{"a"});
  EXPECT_TRUE(pruned({.id = "x", .unused_since_ns = {}, .keep_bytes = {}}).empty());
  EXPECT_EQ(pruned({.id = "c", .unused_since_ns = {}, .keep_bytes = {}}),
            std::vector<std::string>{"c"});
  EXPECT_TRUE(list().empty());
}

TEST_F(CacheMounts, PruneLeavesWhatIsInUse) {
  std::optional<CacheMountHandle> used(open(request("used")));
  open(request("free"));
  ASSERT_OK(make_directories(store_->path("mounts/" + sha256("old").hex() + "/x")));
  EXPECT_EQ(pruned({}), (std::vector<std::string>{"", "free"}));
  EXPECT_TRUE(exists(used->path()));
  used.reset();
  EXPECT_EQ(pruned({}), std::vector<std::string>{"used"});
}

TEST_F(CacheMounts, OldOnesStayWhileAnybodyHoldsTheStore) {
  ASSERT_OK(store_->ensure_writable());
  ASSERT_OK(make_directories(store_->path("mounts/" + sha256("old").hex() + "/x")));
  std::unique_ptr<Store> builder = open_store(store_->root());
  ASSERT_OK(builder->hold());
  EXPECT_TRUE(pruned({}).empty());
  builder->release();
  EXPECT_EQ(pruned({}).size(), 1u);
}

TEST_F(CacheMounts, OpenAndPruneAtOnce) {
  std::atomic<bool> done = false;
  ASSERT_OK(store_->hold());
  std::unique_ptr<Store> other = open_store(store_->root());
  std::jthread pruner([&] {
    while (!done) (void)prune_cache_mounts(*other, {}).has_value();
  });
  std::vector<std::jthread> users;
  for (int t = 0; t < 3; ++t)
    users.emplace_back([&, t] {
      for (int i = 0; i < 60; ++i) {
        Sharing sharing = i % 3 == 0   ? Sharing::kLocked
                          : i % 3 == 1 ? Sharing::kPrivate
                                       : Sharing::kShared;
        CacheMountHandle handle = open(request("x", sharing));
        std::string file = handle.path() + "/f" + std::to_string(t);
        write(file, "x");
        EXPECT_TRUE(exists(file));
      }
    });
  users.clear();
  done = true;
}

// ---- export and import

TEST_F(CacheMounts, ExportAndImport) {
  {
    CacheMountHandle handle = open(request("a"));
    ASSERT_OK(make_directories(handle.path() + "/d/e"));
    write(handle.path() + "/d/e/f", "content");
    write(handle.path() + "/.wh", "no whiteout");
    ASSERT_EQ(::chmod((handle.path() + "/d/e/f").c_str(), 04711), 0);
    ASSERT_EQ(::link((handle.path() + "/d/e/f").c_str(), (handle.path() + "/link").c_str()), 0);
    ASSERT_EQ(::symlink("../../etc", (handle.path() + "/sym").c_str()), 0);
    ASSERT_EQ(::mkfifo((handle.path() + "/fifo").c_str(), 0600), 0);
    ::setxattr((handle.path() + "/d/e/f").c_str(), "user.k", "v", 1, 0);
    if (::geteuid() == 0) {
      ASSERT_EQ(::lchown((handle.path() + "/sym").c_str(), 12, 34), 0);
    }
  }
  const std::string tar = exported("a");
  EXPECT_EQ(exported("a"), tar);
  MemorySource source(tar);
  ASSERT_OK(import_cache_mount(*store_, request("b"), source));
  EXPECT_EQ(exported("b"), tar);
  CacheMountHandle handle = open(request("b"));
  EXPECT_EQ(value(read_file(handle.path() + "/link")), "content");
  struct stat one, two;
  ASSERT_EQ(::lstat((handle.path() + "/link").c_str(), &one), 0);
  ASSERT_EQ(::lstat((handle.path() + "/d/e/f").c_str(), &two), 0);
  EXPECT_EQ(one.st_ino, two.st_ino);
  EXPECT_EQ(one.st_mode & 07777, 04711u);
}

TEST_F(CacheMounts, ExportThroughAForkingRunner) {
  write(open(request("a")).path() + "/f", std::string(1'000'000, 'x'));
  std::string direct = exported("a");
  store_->set_tree_runner([](const std::function<int()>& work) -> Result<int> {
    return testing::wait_for(testing::spawn(work));
  });
  EXPECT_EQ(exported("a"), direct);
  MemorySource source(direct);
  ASSERT_OK(import_cache_mount(*store_, request("b"), source));
  EXPECT_EQ(exported("b"), direct);
}

TEST_F(CacheMounts, ImportReplaces) {
  write(open(request("a")).path() + "/new", "x");
  write(open(request("b")).path() + "/old", "x");
  const std::string tar = exported("a");
  {
    CacheMountHandle used = open(request("b"));
    MemorySource source(tar);
    EXPECT_EQ(import_cache_mount(*store_, request("b"), source).error().kind(),
              ErrorKind::kConflict);
  }
  MemorySource source(tar);
  ASSERT_OK(import_cache_mount(*store_, request("b"), source));
  CacheMountHandle handle = open(request("b"));
  EXPECT_TRUE(exists(handle.path() + "/new"));
  EXPECT_FALSE(exists(handle.path() + "/old"));
  CacheMountRequest seeded = request("c");
  seeded.base_digest = "sha256:1";
  MemorySource again(tar);
  ASSERT_OK(import_cache_mount(*store_, seeded, again));
  EXPECT_FALSE(open(seeded).needs_seed());
}

TEST_F(CacheMounts, HostileArchivesChangeNothing) {
  write(open(request("a")).path() + "/kept", "x");
  auto archive = [](std::vector<tar::Entry> entries) {
    StringSink sink;
    tar::Writer writer(sink);
    for (const tar::Entry& entry : entries)
      EXPECT_TRUE(writer.begin(entry) && writer.finish_member());
    EXPECT_TRUE(writer.finish());
    return std::move(sink.text);
  };
  tar::Entry link, below, whiteout;
  link.type = tar::EntryType::kSymlink;
  link.path = "l";
  link.link_target = directory_.path();
  below.path = "l/escaped";
  whiteout.path = ".wh.kept";
  std::string whole = exported("a");
  for (const std::string& text :
       {archive({link, below}), archive({whiteout}), std::string("junk"), whole.substr(0, 700)}) {
    MemorySource source(text);
    EXPECT_FALSE(import_cache_mount(*store_, request("a"), source));
  }
  EXPECT_FALSE(exists(directory_.path() + "/escaped"));
  EXPECT_TRUE(exists(open(request("a")).path() + "/kept"));
  EXPECT_TRUE(value(list_directory(store_->path("ingest"))).empty());
}

}  // namespace
}  // namespace kasane::store
