// Several processes on one store, processes that die, locks, full disks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "store/locks.h"
#include "store/test_support.h"

namespace kasane::store {
namespace {

using namespace testing;

class StoreProcessTest : public ::testing::Test {
 protected:
  TempDir temp_ = TempDir::make().take();
  std::string root_ = temp_.path() + "/store";
};

// Ends the process when something fails, so that the parent sees it.
template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "child: %s\n", result.error().full_message().c_str());
    ::_exit(1);
  }
  return std::move(result).take();
}

TEST_F(StoreProcessTest, ManyProcessesCreateAndFillOneStore) {
  constexpr int kProcesses = 8, kImages = 6;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p)
    children.push_back(spawn([&, p] {
      OpenOptions options;
      options.root = root_;
      std::unique_ptr<Store> store = must(Store::open(options));
      for (int i = 0; i < kImages; ++i) {
        // Every process makes the same layer and one of its own.
        LayerPtr shared = make_layer(*store, "shared " + std::to_string(i));
        LayerPtr own = make_layer(*store, std::to_string(p) + " " + std::to_string(i));
        Sha256Digest image =
            must(store->put_image(image_of({shared, own}, std::to_string(p) + std::to_string(i))));
        must(store->tag(image, "docker.io/library/own:" + std::to_string(p)));
        must(store->tag(image, "docker.io/library/last:1"));
        must(store->put_step(step_of(std::to_string(i), shared)));
        if (!must(store->find_step(sha256(std::to_string(i))))) return 2;
        must(store->list_images());
      }
      return 0;
    }));
  for (pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  std::unique_ptr<Store> store = open_store(root_);
  EXPECT_EQ(value(store->list_images()).size(), size_t{kProcesses * kImages});
  EXPECT_TRUE(value(store->find_tag("docker.io/library/last:1")).has_value());
  CheckReport report = value(store->check({}));
  EXPECT_TRUE(report.damaged.empty());
  EXPECT_EQ(report.leftovers, 0u);
  EXPECT_EQ(report.layers, size_t{kImages + kProcesses * kImages});
}

// F7: builders that reuse layers race with one who deletes everything all the time.
TEST_F(StoreProcessTest, DeletionNeverTakesWhatABuilderUses) {
  constexpr int kBuilders = 4;
  std::vector<pid_t> children;
  for (int p = 0; p < kBuilders; ++p)
    children.push_back(spawn([&] {
      for (int i = 0; i < 15; ++i) {
        OpenOptions options;
        options.root = root_;
        std::unique_ptr<Store> store = must(Store::open(options));
        must(store->hold());
        std::string key = std::to_string(i % 3);
        std::optional<StepRow> step = must(store->find_step(sha256(key)));
        LayerPtr layer = step ? must(open_layer(*store, step->diff_id)) : make_layer(*store, key);
        if (!step) must(store->put_step(step_of(key, layer)));
        Sha256Digest image = must(store->put_image(image_of({layer}, key)));
        must(layer->open_tar());
        must(store->image_config(image));
        for (const Sha256Digest& diff_id : must(store->image_layers(image)))
          must(open_layer(*store, diff_id));
      }
      return 0;
    }));
  pid_t pruner = spawn([&] {
    OpenOptions options;
    options.root = root_;
    for (;;) {
      std::unique_ptr<Store> store = must(Store::open(options));
      must(store->prune_steps({}));
      must(store->sweep());
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return 0;
  });
  for (pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  ::kill(pruner, SIGKILL);
  EXPECT_EQ(wait_for(pruner), 128 + SIGKILL);
  std::unique_ptr<Store> store = open_store(root_);
  for (const ImageRow& image : value(store->list_images()))
    EXPECT_OK(store->remove_image(image.id));
  EXPECT_OK(store->prune_steps({}));
  EXPECT_OK(store->sweep());
  CheckReport report = value(store->check({}));
  EXPECT_TRUE(report.damaged.empty());
  EXPECT_EQ(report.leftovers, 0u);
  EXPECT_EQ(report.layers, 0u);
}

TEST_F(StoreProcessTest, SweepTakesTheDeadAndLeavesTheLiving) {
  pid_t child = spawn([&] {
    std::unique_ptr<Store> store = open_store(root_);
    Store::Ingest ingest = std::move(*store->new_ingest());
    must(make_directories(ingest.path() + "/a/b"));
    must(replace_file(ingest.path() + "/a/b/c", "x"));
    ::chmod((ingest.path() + "/a").c_str(), 0);
    ::raise(SIGKILL);
    return 0;
  });
  EXPECT_EQ(wait_for(child), 128 + SIGKILL);
  std::unique_ptr<Store> living = open_store(root_);
  EXPECT_EQ(value(living->check({})).leftovers, 1u);
  // The first write of the next process sweeps.
  Result<Store::Ingest> mine = living->new_ingest();
  ASSERT_OK(mine);
  EXPECT_EQ(value(living->check({})).leftovers, 0u);
  std::unique_ptr<Store> next = open_store(root_);
  ASSERT_OK(next->put_blob("x"));
  EXPECT_EQ(value(next->sweep()), 0u);
  EXPECT_TRUE(exists(mine->path()));
}

// F1: killed at any time, the store is clean and usable.
TEST_F(StoreProcessTest, KilledWritersLeaveACleanStore) {
  auto work = [&](int seed) {
    std::unique_ptr<Store> store = open_store(root_);
    for (int i = 0;; ++i) {
      std::string note = std::to_string(seed) + "." + std::to_string(i);
      LayerPtr layer = make_layer(*store, note);
      must(store->put_step(step_of(note, layer)));
      Sha256Digest image = must(store->put_image(image_of({layer}, note)));
      must(store->tag(image, "docker.io/library/k:1"));
      if (i % 2 == 1) must(store->remove_image(image));
    }
    return 0;
  };
  for (int seed = 0; seed < 20; ++seed) {
    pid_t child = spawn([&] { return work(seed); });
    std::this_thread::sleep_for(std::chrono::milliseconds(5 + seed * 13 % 150));
    ::kill(child, SIGKILL);
    wait_for(child);
    std::unique_ptr<Store> store = open_store(root_);
    ASSERT_TRUE(store);
    CheckReport report = value(store->check({}));
    for (const DamagedObject& object : report.damaged)
      ADD_FAILURE() << seed << ": " << object.kind << " " << object.name << ": " << object.reason;
    EXPECT_OK(store->sweep());
    EXPECT_EQ(value(store->check({})).leftovers, 0u) << seed;
  }
}

TEST_F(StoreProcessTest, WaitsForADeleterAndGivesUpWithAMessage) {
  { ASSERT_OK(open_store(root_)->put_blob("x")); }
  std::optional<FileLock> deleter =
      value(FileLock::try_lock(root_ + "/locks/store", FileLock::Mode::kExclusive));
  ASSERT_TRUE(deleter);
  OpenOptions options;
  options.root = root_;
  options.lock_timeout_ms = 50;
  std::unique_ptr<Store> store = value(Store::open(options));
  Result<void> held = store->hold();
  ASSERT_FALSE(held);
  EXPECT_EQ(held.error().kind(), ErrorKind::kConflict);
  EXPECT_NE(held.error().full_message().find("another kasane process has held"), std::string::npos);
  deleter.reset();
  EXPECT_OK(store->hold());
}

// F8: the kernel frees the lock of a dead process.
TEST_F(StoreProcessTest, WaiterGoesOnWhenTheHolderDies) {
  { ASSERT_OK(open_store(root_)->put_blob("x")); }
  pid_t holder = spawn([&] {
    auto lock = must(FileLock::try_lock(root_ + "/locks/store", FileLock::Mode::kExclusive));
    ::kill(::getpid(), SIGSTOP);
    return 0;
  });
  int status;
  ASSERT_EQ(::waitpid(holder, &status, WUNTRACED), holder);
  std::unique_ptr<Store> store = open_store(root_);
  std::thread killer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    ::kill(holder, SIGKILL);
  });
  auto start = std::chrono::steady_clock::now();
  EXPECT_OK(store->hold());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1500));
  killer.join();
  wait_for(holder);
}

TEST_F(StoreProcessTest, HostileLockFilesAreRefused) {
  { ASSERT_OK(open_store(root_)->put_blob("x")); }
  std::string lock = root_ + "/locks/store";
  ::unlink(lock.c_str());
  ASSERT_EQ(::symlink("/etc/passwd", lock.c_str()), 0);
  EXPECT_FALSE(open_store(root_)->hold());
  ::unlink(lock.c_str());
  ASSERT_EQ(::mkdir(lock.c_str(), 0700), 0);
  EXPECT_FALSE(open_store(root_)->hold());
  ::rmdir(lock.c_str());
  ASSERT_EQ(::mkfifo(lock.c_str(), 0600), 0);
  EXPECT_EQ(open_store(root_)->hold().error().kind(), ErrorKind::kPermission);
}

// F4: a full disk is an ordinary error, and nothing stays behind.
TEST_F(StoreProcessTest, FullDisk) {
  ASSERT_OK(make_directories(root_, 0700));
  pid_t child = spawn([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return 77;
    if (::mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=12m,mode=0700") != 0) return 77;
    std::unique_ptr<Store> store = open_store(root_);
    must(store->put_blob("x"));
    Result<Sha256Digest> blob = store->put_blob(std::string(20u << 20, 'b'));
    if (blob || blob.error().kind() != ErrorKind::kNoSpace || blob.error().hint_text().empty())
      return 1;
    Sha256Digest image = must(store->put_image(image_of({})));  // the space is back
    std::string big(100'000, 'l');
    ErrorKind kind = ErrorKind::kInternal;
    for (int i = 0; i < 200; ++i) {
      ImageRecord record = image_of({}, big + std::to_string(i));
      if (Result<Sha256Digest> put = store->put_image(record); !put) {
        kind = put.error().kind();
        if (put.error().hint_text().find("prune") == std::string::npos) return 2;
        break;
      }
    }
    if (kind != ErrorKind::kNoSpace) return 3;
    if (!value(store->check({})).damaged.empty()) return 4;
    for (const ImageRow& row : must(store->list_images()))
      if (row.id != image && !store->remove_image(row.id)) return 5;
    store.reset();
    store = open_store(root_);
    must(store->put_image(image_of({}, "after")));
    return value(store->check({})).damaged.empty() ? 0 : 6;
  });
  int status = wait_for(child);
  if (status == 77) GTEST_SKIP() << "cannot mount here";
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace kasane::store
