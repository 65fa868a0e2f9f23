#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <thread>

#include "store/layer_testing.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> paths_of(const LayerIndex& index) {
  std::vector<std::string> paths;
  for (size_t i = 0; i < index.size(); ++i) paths.emplace_back(index.path_at(i));
  return paths;
}

class ReadUpperTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(make_directories(path("upper"))); }
  std::string path(const std::string& name) { return dir_.path() + "/" + name; }

  // The layer of the upper directory, on plain directories.
  Result<LayerPtr> read(const AdoptOptions& options = {}) {
    const std::string directory = path("layer" + std::to_string(count_++));
    TRY(make_directories(directory));
    TRY(read_upper(path("upper"), directory, options));
    shell("cp -a " + path("upper") + " " + directory + "/tree");
    return open_directory(directory);
  }
  TempDir dir_ = temp_dir();
  int count_ = 0;
};

TEST_F(ReadUpperTest, ListsEverythingAndMakesTheSameTarAgain) {
  NEEDS_ROOT();
  shell("cd " + path("upper") + R"( && mkdir -p d/sub e && echo hi > d/f && ln d/f d/sub/again &&
    ln -s f d/l && ln -P d/l e/lsame && mkfifo e/p && mknod e/gone c 0 0 && mknod e/tty c 5 0 &&
    chown 7:8 d/f && chmod 6711 d/f && setfattr -n user.a -v b d/f && setfattr -n user.d -v e d &&
    setfattr -n trusted.overlay.origin -v x d/f && setfattr -n trusted.overlay.impure -v y d &&
    setfattr -n trusted.overlay.opaque -v y e && head -c 3000000 /dev/urandom > big)");
  auto layer = read();
  ASSERT_OK(layer);
  EXPECT_THAT(paths_of((*layer)->index()),
              ElementsAre("big", "d", "d/f", "d/l", "d/sub", "d/sub/again", "e", "e/.wh.gone",
                          "e/lsame", "e/p", "e/tty"));
  const LayerIndex& index = (*layer)->index();
  EXPECT_EQ(index.at(2).xattrs, (std::vector<tar::Xattr>{{"user.a", "b"}}));
  EXPECT_EQ(index.at(1).xattrs, (std::vector<tar::Xattr>{{"user.d", "e"}}));
  EXPECT_EQ(index.at(2).mode, 06711u);
  EXPECT_EQ(index.at(5).type, tar::EntryType::kHardlink);
  EXPECT_EQ(index.at(5).link_target, "d/f");
  EXPECT_EQ(index.at(8).link_target, "d/l");
  auto tar = (*layer)->open_tar();
  ASSERT_OK(tar);
  auto bytes = read_all(**tar);
  ASSERT_OK(bytes);
  EXPECT_EQ(sha256(*bytes), index.summary().diff_id);
  // Unpacking that tar gives the upper directory.
  spew(path("t.tar"), *bytes);
  ASSERT_OK(import_file(path("t.tar"), path("again")));
  LayerPtr again = open_directory(path("again")).take();
  EXPECT_TRUE(again->index().summary().canonical);
  EXPECT_EQ(slurp(path("again/index")), slurp((*layer)->directory() + "/index"));
  ASSERT_OK(unpack_tree(again->index(), again->blob_path(), again->tree_path()));
  EXPECT_EQ(difference(dump_tree(path("upper")), dump_tree(again->tree_path())), "");
}

TEST_F(ReadUpperTest, LeavesOutWhatOverlayfsOnlyCopiedUp) {
  NEEDS_ROOT();
  ASSERT_OK(make_directories(path("base")));
  auto builder = CanonicalBuilder::create(path("base"), true).take();
  for (const char* name : {"a", "a/b", "a/b/c", "t", "u"}) ASSERT_OK(builder->add(dir(name)));
  ASSERT_OK(builder->finish(false));
  AdoptOptions options;
  options.below = {open_directory(path("base")).take()};
  shell("cd " + path("upper") +
        " && mkdir -p a/b/c t/new u && touch -d @1600000000 a/b/c a/b a t &&"
        " touch -d @1600000001 u && setfattr -n trusted.overlay.opaque -v y t/new");
  auto layer = read(options);
  ASSERT_OK(layer);
  EXPECT_THAT(paths_of((*layer)->index()), ElementsAre("t", "t/new", "u"));
  EXPECT_NE(::access(path("upper/a").c_str(), F_OK), 0);
  EXPECT_THAT(dump_tree(path("upper"), {.overlay_xattrs = true}).at("t/new"),
              Not(HasSubstr("opaque")));
}

TEST_F(ReadUpperTest, ClampsTimes) {
  shell("cd " + path("upper") +
        " && mkdir d && echo x > d/f && ln -s f d/l && touch -h -d @50 d/l");
  AdoptOptions options;
  options.epoch = 100;
  auto layer = read(options);
  ASSERT_OK(layer);
  const LayerIndex& index = (*layer)->index();
  EXPECT_EQ(index.at(0).mtime, (Timespec{100, 0}));
  EXPECT_EQ(index.at(1).mtime, (Timespec{100, 0}));
  EXPECT_EQ(index.at(2).mtime, (Timespec{50, 0}));
  EXPECT_EQ(shell("cd " + path("upper") + " && stat -c %Y d d/f d/l"), "100\n100\n50\n");
}

TEST_F(ReadUpperTest, SocketsAreLeftOutAndReservedNamesRefused) {
  shell("mkdir " + path("upper") + "/run && touch -d @5 " + path("upper/run"));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ::snprintf(address.sun_path, sizeof address.sun_path, "%s/upper/run/s", dir_.path().c_str());
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ::close(fd);
  shell("touch -d @5 " + path("upper/run"));
  auto layer = read();
  ASSERT_OK(layer);
  EXPECT_THAT(paths_of((*layer)->index()), ElementsAre("run"));
  EXPECT_EQ(shell("stat -c %Y " + path("upper/run")), "5\n");
  shell("touch " + path("upper/run/.wh.x"));
  auto refused = read();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kUnsupported);
}

TEST_F(ReadUpperTest, RefusesIncompleteUppers) {
  NEEDS_ROOT();
  shell("cd " + path("upper") + " && mkdir d && setfattr -n trusted.overlay.redirect -v /x d");
  auto refused = read();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kUnsupported);
}

// ---- With a store.

class LayerStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = Store::open({path("store"), false});
    ASSERT_TRUE(opened) << opened.error().full_message();
    store_ = std::move(*opened);
  }
  std::string path(const std::string& name) { return dir_.path() + "/" + name; }
  LayerPtr sample(int files = 20) {
    auto writer = new_layer(*store_);
    EXPECT_TRUE(writer) << writer.error().full_message();
    EXPECT_TRUE((*writer)->add(dir("etc")));
    std::vector<std::string> names;
    for (int i = 0; i < files; ++i) names.push_back("etc/f" + std::to_string(i));
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      MemorySource content(name);
      EXPECT_TRUE((*writer)->add_file(file(name, name.size()), content));
    }
    auto layer = (*writer)->commit();
    EXPECT_TRUE(layer) << layer.error().full_message();
    return layer.value_or(nullptr);
  }
  std::string ingests() { return shell("ls " + path("store/ingest") + " 2>/dev/null | wc -l"); }

  TempDir dir_ = temp_dir();
  std::unique_ptr<Store> store_;
};

TEST_F(LayerStoreTest, CommitsLayersAndFindsThemAgain) {
  LayerPtr layer = sample();
  ASSERT_TRUE(layer);
  EXPECT_TRUE(layer->has_blob());
  EXPECT_FALSE(layer->has_tree());
  EXPECT_EQ(sample()->directory(), layer->directory());
  auto again = open_layer(*store_, layer->diff_id());
  ASSERT_OK(again);
  EXPECT_EQ((*again)->index().size(), 21u);
  EXPECT_EQ(open_layer(*store_, sha256("x")).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(store_->layer_sizes({layer->diff_id()}).value()[0],
            layer->index().summary().content_size);
  const std::string leftovers = ingests();
  { auto writer = new_layer(*store_); }
  EXPECT_EQ(ingests(), leftovers);
}

TEST_F(LayerStoreTest, EitherBodyMakesTheOther) {
  LayerPtr layer = sample();
  ASSERT_OK(layer->ensure_tree(*store_));
  EXPECT_EQ(slurp(layer->tree_path() + "/etc/f7"), "etc/f7");
  const std::string blob = slurp(layer->blob_path());
  ASSERT_EQ(::unlink(layer->blob_path().c_str()), 0);
  auto made = layer->ensure_blob(*store_);
  ASSERT_OK(made);
  EXPECT_TRUE(slurp(*made) == blob);
  ASSERT_EQ(::unlink(layer->blob_path().c_str()), 0);
  spew(layer->tree_path() + "/etc/f7", "etc/f8");  // same size, other content
  auto damaged = layer->ensure_blob(*store_);
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().kind(), ErrorKind::kCorrupt);
  EXPECT_FALSE(layer->has_blob());
  ASSERT_OK(remove_tree(layer->tree_path()));
  EXPECT_EQ(layer->open_tar().error().kind(), ErrorKind::kCorrupt);
  EXPECT_EQ(layer->ensure_tree(*store_).error().kind(), ErrorKind::kCorrupt);
}

TEST_F(LayerStoreTest, AForeignTarSurvivesTheLossOfItsBlob) {
  shell("mkdir -p " + path("r") + "/d && cd " + path("r") +
        " && head -c 70000 /dev/urandom > d/x && echo y > b && tar -cf ../f.tar --format=gnu d b");
  UniqueFd fd = open_file(path("f.tar"), O_RDONLY).take();
  FdSource source(fd.get(), "f.tar");
  auto layer = import_layer(*store_, source, {});
  ASSERT_OK(layer);
  EXPECT_FALSE((*layer)->index().summary().canonical);
  ASSERT_OK((*layer)->ensure_tree(*store_));
  ASSERT_EQ(::unlink((*layer)->blob_path().c_str()), 0);
  auto blob = (*layer)->ensure_blob(*store_);
  ASSERT_OK(blob);
  EXPECT_TRUE(slurp(*blob) == slurp(path("f.tar")));
}

TEST_F(LayerStoreTest, NothingStaysOfARefusedLayer) {
  MemorySource garbage("this is not a tar, and it is longer than nothing");
  EXPECT_FALSE(import_layer(*store_, garbage, {}));
  EXPECT_EQ(shell("ls " + path("store/layers") + " 2>/dev/null | wc -l"), "0\n");
}

TEST_F(LayerStoreTest, ADamagedLayerIsReplacedByAFreshCopy) {
  LayerPtr layer = sample();
  ASSERT_EQ(::truncate((layer->directory() + "/index").c_str(), 100), 0);
  EXPECT_EQ(open_layer(*store_, layer->diff_id()).error().kind(), ErrorKind::kCorrupt);
  ASSERT_TRUE(sample());
  ASSERT_OK(open_layer(*store_, layer->diff_id()));
}

TEST_F(LayerStoreTest, AdoptedUppersBecomeTrees) {
  shell("mkdir -p " + path("upper") + "/d && echo x > " + path("upper/d/f"));
  auto layer = adopt_tree(*store_, path("upper"), {});
  ASSERT_OK(layer);
  EXPECT_FALSE((*layer)->has_blob());
  EXPECT_EQ(slurp((*layer)->tree_path() + "/d/f"), "x\n");
  EXPECT_NE(::access(path("upper").c_str(), F_OK), 0);
  EXPECT_EQ(read_all(*(*layer)->open_content(1).take()).value(), "x\n");
  ASSERT_OK((*layer)->ensure_blob(*store_));
  RootfsView view({*layer});
  EXPECT_EQ(view.read_file("d/f", 10).value(), "x\n");
}

TEST_F(LayerStoreTest, ProcessesAndThreadsUnpackOnce) {
  LayerPtr layer = sample(2000);
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      auto own = Store::open({path("store"), false});
      if (!own) ::_exit(2);
      auto mine = open_layer(**own, layer->diff_id());
      if (!mine) ::_exit(3);
      auto tree = (*mine)->ensure_tree(**own);
      ::_exit(tree && slurp(*tree + "/etc/f1999") == "etc/f1999" ? 0 : 4);
    }
    children.push_back(child);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] { EXPECT_TRUE(layer->ensure_tree(*store_).has_value()); });
  for (std::thread& thread : threads) thread.join();
  for (pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  }
  EXPECT_EQ(dump_tree(layer->tree_path()).size(), 2001u);
}

// A runner that forks, as a rootless caller's does.
TEST_F(LayerStoreTest, WorksThroughARunnerInAnotherProcess) {
  TreeRunner forks = [](const std::function<int()>& work) -> Result<int> {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  };
  store_->set_tree_runner(forks);
  LayerPtr layer = sample();
  ASSERT_OK(layer->ensure_tree(*store_));
  shell("mkdir -p " + path("upper") + " && echo x > " + path("upper/f"));
  auto adopted = adopt_tree(*store_, path("upper"), {});
  ASSERT_OK(adopted);
  Result<void> failed = run_with_report(forks, []() -> Result<void> {
    return Error(ErrorKind::kNoSpace, "full").context("write x").hint("make room");
  });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind(), ErrorKind::kNoSpace);
  EXPECT_EQ(failed.error().full_message(), "write x: full");
  EXPECT_EQ(failed.error().hint_text(), "make room");
  auto source = piped_source(forks, [](ByteSink& out) -> Result<void> {
    const std::string text(1 << 20, 'y');
    TRY(out.write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    return Error(ErrorKind::kCorrupt, "broken at the end");
  });
  ASSERT_OK(source);
  auto bytes = read_all(**source);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().message(), "broken at the end");
  // Dropped in the middle: the producer must not hang.
  auto dropped = piped_source(forks, [](ByteSink& out) -> Result<void> {
    const std::string text(1 << 20, 'y');
    for (;;) TRY(out.write({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  });
  ASSERT_OK(dropped);
  uint8_t byte;
  ASSERT_OK((*dropped)->read({&byte, 1}));
}

// The whole circle with the kernel: mount, change, adopt, look at the merged result.
TEST_F(LayerStoreTest, AdoptsWhatOverlayfsLeaves) {
  NEEDS_ROOT();
  if (::unshare(CLONE_NEWNS) != 0) GTEST_SKIP() << "no mount namespace";
  ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  shell("mkdir -p " + path("r") + " && cd " + path("r") +
        " && mkdir -p etc/keep usr/lib opt/gone tmp && echo a > etc/a && echo b > etc/b && "
        "echo l > usr/lib/l && echo o > opt/gone/o && ln -s etc link && touch -d @1000 usr/lib usr "
        "etc/keep etc . && "
        "tar --sort=name -cf ../base.tar *");
  UniqueFd fd = open_file(path("base.tar"), O_RDONLY).take();
  FdSource source(fd.get(), "base.tar");
  LayerPtr base = import_layer(*store_, source, {}).take();
  const std::string tree = base->ensure_tree(*store_).take();
  for (const char* name : {"store/u", "store/w", "m"}) ASSERT_OK(make_directories(path(name)));
  auto mount = [&](const std::string& data) {
    return ::mount("overlay", path("m").c_str(), "overlay", 0, data.c_str());
  };
  const std::string options = "lowerdir=" + tree + ",upperdir=" + path("store/u") +
                              ",workdir=" + path("store/w") +
                              ",redirect_dir=off,metacopy=off,index=off";
  if (mount(options) != 0) GTEST_SKIP() << "no overlayfs: " << ::strerror(errno);
  shell("cd " + path("m") +
        R"( && rm etc/a && echo b2 > etc/b && rm -r opt/gone && mkdir opt/gone &&
    echo n > opt/gone/n && rm link && mkdir link && echo i > link/i && mkdir -p new/deep && ln etc/b new/hard &&
    echo t > usr/lib/tmp && rm usr/lib/tmp && touch -d @1000 usr/lib && chmod 700 tmp && mv usr/lib/l usr/lib/moved &&
    mv usr/lib/moved usr/lib/l)");
  const auto seen = dump_tree(path("m"));
  ASSERT_EQ(::umount2(path("m").c_str(), 0), 0);
  AdoptOptions adopt;
  adopt.below = {base};
  auto layer = adopt_tree(*store_, path("store/u"), adopt);
  ASSERT_OK(layer);
  EXPECT_THAT(paths_of((*layer)->index()),
              ElementsAre("etc", "etc/.wh.a", "etc/b", "link", "link/i", "new", "new/deep",
                          "new/hard", "opt", "opt/gone", "opt/gone/.wh..wh..opq", "opt/gone/n",
                          "tmp", "usr", "usr/lib", "usr/lib/l"));
  const std::string second = (*layer)->tree_path();
  ASSERT_EQ(mount("lowerdir=" + second + ":" + tree), 0) << ::strerror(errno);
  const auto merged = dump_tree(path("m"));
  ASSERT_EQ(::umount2(path("m").c_str(), 0), 0);
  EXPECT_EQ(difference(seen, merged), "");
  // And through the tar: another store that only has the layers' tars gets the same.
  auto tar = (*layer)->open_tar();
  ASSERT_OK(tar);
  ASSERT_OK(make_directories(path("copy")));
  ASSERT_OK(import_tar(path("copy"), **tar, {}));
  LayerPtr copy = open_directory(path("copy")).take();
  ASSERT_OK(unpack_tree(copy->index(), copy->blob_path(), copy->tree_path()));
  ASSERT_EQ(mount("lowerdir=" + copy->tree_path() + ":" + tree), 0) << ::strerror(errno);
  EXPECT_EQ(difference(seen, dump_tree(path("m"))), "");
  ASSERT_EQ(::umount2(path("m").c_str(), 0), 0);
}

}  // namespace
}  // namespace kasane::store
