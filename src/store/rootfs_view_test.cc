#include "store/rootfs_view.h"

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "store/layer_testing.h"
#include "tar/path.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct PathLess {
  bool operator()(const std::string& a, const std::string& b) const {
    return tar::compare_paths(a, b) < 0;
  }
};
using EntryMap = std::map<std::string, tar::Entry, PathLess>;

class RootfsViewTest : public ::testing::Test {
 protected:
  // Content of a file is its path.
  LayerPtr layer_of(const EntryMap& entries) {
    const std::string directory = dir_.path() + "/" + std::to_string(count_++);
    EXPECT_TRUE(make_directories(directory));
    auto builder = CanonicalBuilder::create(directory, true).take();
    for (const auto& [path, e] : entries) {
      if (e.type == tar::EntryType::kFile && e.size > 0) {
        MemorySource content(path);
        auto added = builder->add_file(e, content, nullptr);
        EXPECT_TRUE(added) << added.error().full_message();
      } else {
        auto added = builder->add(e);
        EXPECT_TRUE(added) << added.error().full_message();
      }
    }
    auto summary = builder->finish(false);
    EXPECT_TRUE(summary) << summary.error().full_message();
    return open_directory(directory).take();
  }
  LayerPtr layer(std::vector<tar::Entry> entries) {
    EntryMap map;
    for (tar::Entry& e : entries) {
      if (e.type == tar::EntryType::kFile && e.path.find(".wh.") == std::string::npos)
        e.size = e.path.size();
      map[e.path] = e;
    }
    return layer_of(map);
  }
  static std::vector<std::string> walk(const RootfsView& view, std::string_view directory = "") {
    std::vector<std::string> paths;
    EXPECT_TRUE(view.walk(directory, [&](const Found& found) -> Result<void> {
      paths.push_back(found.path);
      return {};
    }));
    return paths;
  }

  TempDir dir_ = temp_dir();
  int count_ = 0;
};

TEST_F(RootfsViewTest, MergesWhiteoutsOpaqueDirectoriesAndTypeChanges) {
  LayerPtr base =
      layer({dir("etc"), file("etc/passwd"), file("etc/gone"), dir("opt"), file("opt/old"),
             dir("opt/sub"), file("opt/sub/x"), dir("was"), file("was/in"), file("f")});
  LayerPtr top = layer({dir("etc"), whiteout("etc/.wh.gone"), file("etc/new"), dir("opt"),
                        whiteout("opt/.wh..wh..opq"), file("opt/fresh"), file("was"), dir("f"),
                        file("f/now")});
  RootfsView view({base, top});
  EXPECT_THAT(walk(view),
              ElementsAre("etc", "etc/new", "etc/passwd", "f", "f/now", "opt", "opt/fresh", "was"));
  EXPECT_THAT(view.list("etc"), ElementsAre("new", "passwd"));
  EXPECT_THAT(view.list("was"), ElementsAre());
  EXPECT_FALSE(view.lookup("opt/sub/x"));
  EXPECT_FALSE(view.lookup("opt/.wh..wh..opq"));
  EXPECT_FALSE(view.lookup("was/in"));
  EXPECT_EQ(view.lookup("etc/passwd")->layer, base.get());
  EXPECT_EQ(view.lookup("etc")->layer, top.get());
  EXPECT_EQ(view.read_file("/etc/../etc/passwd", 100).value(), "etc/passwd");
  EXPECT_EQ(view.read_file("etc/passwd", 3).error().kind(), ErrorKind::kLimit);
  EXPECT_EQ(view.read_file("etc", 3).error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(view.read_file("nothing", 3).error().kind(), ErrorKind::kNotFound);
}

TEST_F(RootfsViewTest, AWhiteoutHidesLowerLayersOnly) {
  LayerPtr base = layer({dir("d"), file("d/a"), file("d/b")});
  LayerPtr top = layer({whiteout(".wh.d"), dir("d"), file("d/a")});
  EXPECT_THAT(walk(RootfsView({base, top})), ElementsAre("d", "d/a"));
  LayerPtr third = layer({dir("d"), file("d/c")});
  EXPECT_THAT(walk(RootfsView({base, top, third})), ElementsAre("d", "d/a", "d/c"));
}

TEST_F(RootfsViewTest, ShowsDirectoriesThatNoLayerLists) {
  LayerPtr base = layer({file("a/b/c"), file("x/y")});
  tar::Entry listed = dir("x");
  listed.mode = 0700;
  LayerPtr lower = layer({listed});
  RootfsView view({lower, base});
  EXPECT_THAT(walk(view), ElementsAre("a", "a/b", "a/b/c", "x", "x/y"));
  EXPECT_TRUE(view.lookup("a/b")->implicit);
  EXPECT_EQ(view.lookup("a/b")->type(), tar::EntryType::kDirectory);
  EXPECT_FALSE(view.lookup("x")->implicit);
  EXPECT_EQ(view.lookup("x")->view().mode, 0700u);
  EXPECT_TRUE(view.lookup("")->implicit);
  EXPECT_TRUE(RootfsView({}).lookup("")->implicit);
  EXPECT_FALSE(RootfsView({}).lookup("a"));
  EXPECT_THAT(walk(RootfsView({})), ElementsAre());
}

TEST_F(RootfsViewTest, AnOpaqueRootHidesEverythingBelow) {
  std::vector<LayerPtr> layers = {layer({dir("a"), file("a/x")}),
                                  layer({whiteout(".wh..wh..opq"), file("b")}), layer({file("c")})};
  EXPECT_THAT(walk(RootfsView(layers)), ElementsAre("b", "c"));
  EXPECT_FALSE(RootfsView(layers).lookup("a/x"));
  EXPECT_EQ(mounted_layers(layers).size(), 2u);
  EXPECT_EQ(mounted_layers({layers[0], layers[2]}).size(), 2u);
  EXPECT_TRUE(mounted_layers({}).empty());
}

TEST_F(RootfsViewTest, ReportsHardLinksAsTheirFile) {
  LayerPtr base = layer({file("a"), entry(tar::EntryType::kHardlink, "b", "a")});
  RootfsView view({base, layer({whiteout(".wh.a")})});
  const std::optional<Found> found = view.lookup("b");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, "b");
  EXPECT_EQ(found->type(), tar::EntryType::kFile);
  EXPECT_EQ(found->view().path, "a");
  EXPECT_EQ(view.read_file("b", 10).value(), "a");
}

TEST_F(RootfsViewTest, ResolvesAsAChrootWould) {
  auto link = [](std::string from, std::string to) {
    return entry(tar::EntryType::kSymlink, std::move(from), std::move(to));
  };
  RootfsView view({layer({dir("usr"), dir("usr/bin"), file("usr/bin/sh"), link("bin", "usr/bin"),
                          link("up", "../../../usr"), link("abs", "/usr/bin/sh"),
                          link("loop", "loop"), link("usr/back", "..")})});
  EXPECT_EQ(view.resolve("/bin/sh", true, false).value(), "usr/bin/sh");
  EXPECT_EQ(view.resolve("up/bin/../back/abs", true, false).value(), "usr/bin/sh");
  EXPECT_EQ(view.resolve("abs", false, false).value(), "abs");
  EXPECT_EQ(view.resolve("bin/../..", true, false).value(), "");
  EXPECT_EQ(view.resolve("bin/new/./x/../y", true, true).value(), "usr/bin/new/y");
  EXPECT_EQ(view.resolve("bin/new", true, false).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(view.resolve("bin/sh/x", true, true).error().kind(), ErrorKind::kInvalid);
  auto loop = view.resolve("loop/x", true, true);
  ASSERT_FALSE(loop);
  EXPECT_EQ(loop.error().kind(), ErrorKind::kInvalid);
  EXPECT_THAT(loop.error().message(), HasSubstr("ELOOP"));
}

// Random layers, unpacked and mounted: the kernel's overlayfs is the judge.
class OverlayOracle : public RootfsViewTest {
 protected:
  static EntryMap random_layer(std::mt19937& random) {
    EntryMap map;
    auto pick = [&](size_t n) { return random() % n; };
    const char* names[] = {"a", "b", "c", "d.e"};
    for (size_t n = 3 + pick(18); n > 0; --n) {
      std::string path;
      bool blocked = false;
      for (size_t depth = 1 + pick(3); depth > 0; --depth) {
        if (!path.empty()) {
          auto known = map.find(path);
          if (blocked) {
            // below something that is no directory: given up further down
          } else if (known == map.end()) {
            if (blocked) break;
            map[path] = decorate(dir(path), random);
          } else {
            blocked = known->second.type != tar::EntryType::kDirectory;
          }
          path += '/';
        }
        path += names[pick(4)];
      }
      auto next = map.lower_bound(path);
      if (blocked) continue;
      if (next != map.end() && (next->first == path || next->first.starts_with(path + "/")))
        continue;
      const std::string parent(tar::parent_path(path));
      switch (pick(10)) {
        case 0:
          map[path] = decorate(dir(path), random);
          break;
        case 1:
          map[path] =
              entry(tar::EntryType::kSymlink, path,
                    std::vector<std::string>{"/a", "../b", "c", "/", "a/b/c", "../.."}[pick(6)]);
          break;
        case 2:
        case 3:
          map[tar::whiteout_path(path).take()] =
              tar::whiteout_entry(tar::whiteout_path(path).take());
          break;
        case 4:
          if (!parent.empty())
            map[tar::opaque_path(parent)] = tar::whiteout_entry(tar::opaque_path(parent));
          break;
        case 5:
          for (const auto& [other, e] : map)
            if (e.type == tar::EntryType::kFile && e.size > 0 &&
                tar::compare_paths(other, path) < 0) {
              map[path] = entry(tar::EntryType::kHardlink, path, other);
              break;
            }
          break;
        default:
          map[path] = decorate(file(path, path.size()), random);
      }
    }
    return map;
  }
  static tar::Entry decorate(tar::Entry e, std::mt19937& random) {
    e.mode = static_cast<uint32_t>(random() % 01000) | 0500;
    e.uid = static_cast<uint32_t>(random() % 3);
    e.mtime = {static_cast<int64_t>(random() % 1000), static_cast<uint32_t>(random() % 1000)};
    if (random() % 8 == 0) e.xattrs = {{"user.test", std::to_string(random() % 5)}};
    return e;
  }
  static std::string describe(const Found& found, const std::string& path) {
    const EntryView view = found.view();
    char text[100];
    const uint32_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, 0, S_IFCHR, S_IFBLK, S_IFIFO};
    const uint32_t mode = view.type == tar::EntryType::kSymlink ? 0777 : view.mode;
    ::snprintf(text, sizeof text, "%06o %u:%u", types[static_cast<int>(view.type)] | mode, view.uid,
               view.gid);
    std::string line = text;
    line += " " + std::to_string(view.mtime.sec) + "." + std::to_string(view.mtime.nsec);
    if (view.type == tar::EntryType::kFile)
      line += " " + std::to_string(view.size) + " " +
              sha256(std::string(view.path)).hex().substr(0, 12);
    if (view.type == tar::EntryType::kSymlink) line += " -> " + std::string(view.link_target);
    for (const tar::Xattr& x : view.xattrs)
      line += " " + x.name + "=" + sha256(x.value).hex().substr(0, 8);
    EXPECT_EQ(found.path, path);
    return line;
  }
};

TEST_F(OverlayOracle, AgreesWithTheKernel) {
  NEEDS_ROOT();
  if (::unshare(CLONE_NEWNS) != 0) GTEST_SKIP() << "no mount namespace";
  ASSERT_EQ(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  const std::string mount_point = dir_.path() + "/merged";
  const std::string empty = dir_.path() + "/empty";
  ASSERT_OK(make_directories(mount_point));
  ASSERT_OK(make_directories(empty));
  for (unsigned seed = 1; seed <= 150; ++seed) {
    std::mt19937 random(seed);
    std::vector<LayerPtr> layers;
    std::string lower;
    for (size_t n = 1 + random() % 4; n > 0; --n) {
      layers.push_back(layer_of(random_layer(random)));
      auto unpacked = unpack_tree(layers.back()->index(), layers.back()->blob_path(),
                                  layers.back()->tree_path());
      ASSERT_TRUE(unpacked) << seed << ": " << unpacked.error().full_message();
      lower = layers.back()->tree_path() + (lower.empty() ? "" : ":") + lower;
    }
    const std::string data = "lowerdir=" + lower + ":" + empty;
    if (::mount("overlay", mount_point.c_str(), "overlay", 0, data.c_str()) != 0)
      GTEST_SKIP() << "no overlayfs: " << ::strerror(errno);
    RootfsView view(layers);
    std::map<std::string, std::string> ours;
    std::vector<std::string> order;
    ASSERT_OK(view.walk("", [&](const Found& found) -> Result<void> {
      ours[found.path] = describe(found, found.path);
      order.push_back(found.path);
      const std::optional<Found> again = view.lookup(found.path);
      EXPECT_TRUE(again && again->layer == found.layer && again->position == found.position)
          << seed << " lookup of " << found.path;
      return {};
    }));
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end(), PathLess()));
    auto theirs = dump_tree(mount_point, {.links = false});
    // overlayfs lists whiteouts of directories that exist in one layer only.
    std::erase_if(theirs, [](const auto& line) { return line.second == "no stat"; });
    EXPECT_EQ(difference(ours, theirs), "") << "seed " << seed;
    UniqueFd root = open_file(mount_point, O_RDONLY | O_DIRECTORY).take();
    const std::string prefix =
        std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(root.get())).string();
    const char* names[] = {"a", "b", "c", "d.e", ".."};
    for (int n = 0; n < 60; ++n) {
      std::string path;
      for (size_t depth = 1 + random() % 4; depth > 0; --depth)
        path += (path.empty() ? "" : "/") + std::string(names[random() % 5]);
      const bool follow = random() % 2;
      auto mine = view.resolve(path, follow, false);
      auto fd = open_in_root(root.get(), path, O_PATH | (follow ? 0 : O_NOFOLLOW));
      ASSERT_EQ(mine.has_value(), fd.has_value()) << seed << " " << path;
      if (!fd) {
        EXPECT_FALSE(follow && view.lookup(path) &&
                     view.lookup(path)->type() != tar::EntryType::kSymlink);
        continue;
      }
      std::string real =
          std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd->get())).string();
      real = real.size() > prefix.size() ? real.substr(prefix.size() + 1) : "";
      EXPECT_EQ(*mine, real) << seed << " " << path;
    }
    root.reset();
    ASSERT_EQ(::umount2(mount_point.c_str(), MNT_DETACH), 0);
    if (HasFailure()) break;
  }
}

TEST_F(RootfsViewTest, WalksFiftyThousandEntriesInTenLayersQuickly) {
  std::vector<LayerPtr> layers;
  for (int l = 0; l < 10; ++l) {
    EntryMap map;
    for (int i = 0; i < 500; ++i) {
      const std::string directory = "usr/lib/d" + std::to_string((i * 7 + l * 131) % 900);
      for (std::string_view up = directory; !up.empty(); up = tar::parent_path(up))
        map[std::string(up)] = dir(std::string(up));
      for (int f = 0; f < 10; ++f) {
        const std::string path = directory + "/file" + std::to_string(l) + "." + std::to_string(f);
        map[path] = file(path);
      }
    }
    layers.push_back(layer_of(map));
  }
  RootfsView view(layers);
  const auto start = std::chrono::steady_clock::now();
  const size_t count = walk(view).size();
  const auto spent = std::chrono::steady_clock::now() - start;
  EXPECT_GT(count, 50'000u);
  // 100 ms is the aim; tests run unoptimised, under sanitizers and beside others.
  EXPECT_LT(spent, std::chrono::seconds(2));
  RecordProperty(
      "milliseconds",
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(spent).count()));
}

}  // namespace
}  // namespace kasane::store
