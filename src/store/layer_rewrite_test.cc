#include "store/layer_rewrite.h"

#include <random>
#include <set>

#include "store/layer_contents.h"
#include "store/layer_testing.h"
#include "store/test_support.h"
#include "tar/writer.h"

namespace kasane::store {
namespace {

using testing::dir;
using testing::entry;
using testing::open_store;
using testing::temp_dir;
using testing::value;
using tar::EntryType;

struct Item {
  tar::Entry entry;
  std::string content = {};
};

Item text(std::string path, std::string content) {
  return {testing::file(std::move(path), content.size()), std::move(content)};
}
Item link_to(std::string path, std::string target) {
  return {entry(EntryType::kHardlink, std::move(path), std::move(target))};
}
Item gone(const std::string& path) { return {tar::whiteout_entry(*tar::whiteout_path(path))}; }
Item opaque(const std::string& path) { return {tar::whiteout_entry(tar::opaque_path(path))}; }

LayerPtr layer_of(Store& store, std::vector<Item> items) {
  std::sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
    return tar::compare_paths(a.entry.path, b.entry.path) < 0;
  });
  std::unique_ptr<LayerWriter> writer = value(new_layer(store));
  for (const Item& item : items) {
    if (item.entry.type == EntryType::kFile && item.entry.size > 0) {
      MemorySource source(item.content);
      EXPECT_OK(writer->add_file(item.entry, source));
    } else {
      EXPECT_OK(writer->add(item.entry));
    }
  }
  return value(writer->commit());
}

std::vector<std::string> paths_of(const LayerPtr& layer) {
  std::vector<std::string> out;
  for (size_t i = 0; i < layer->index().size(); ++i)
    out.emplace_back(layer->index().path_at(i));
  return out;
}

// Everything that can be seen of the merged root, one line per path; `links` names the
// first path of the same file.
std::map<std::string, std::string> dump(const std::vector<LayerPtr>& layers) {
  std::map<std::string, std::string> out;
  std::map<std::pair<const Layer*, size_t>, std::string> first;
  const RootfsView view(layers);
  EXPECT_OK(view.walk("", [&](const Found& found) -> Result<void> {
    std::string line = std::to_string(static_cast<int>(found.type()));
    if (!found.implicit) {
      const EntryView e = found.view();
      line += " " + std::to_string(e.mode) + " " + std::to_string(e.uid) + " " +
              std::to_string(e.mtime.sec) + " " + std::string(e.link_target) + " " +
              e.content.hex().substr(0, 8);
      if (found.type() != EntryType::kDirectory)
        line += " =" + first.try_emplace({found.layer, found.position}, found.path).first->second;
    } else {
      line += " 493 0 0  00000000";
    }
    out[found.path] = line;
    return {};
  }));
  return out;
}

TEST(LayerContents, ReadsInAnyOrderFromBothBodies) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  LayerPtr layer = layer_of(*store, {text("a", "aaa"), text("b", ""), text("c", "ccc"), link_to("d", "a")});
  for (int round = 0; round < 2; ++round) {
    LayerContents contents(*layer);
    for (const auto& [path, wanted] : std::vector<std::pair<std::string, std::string>>{
             {"c", "ccc"}, {"d", "aaa"}, {"b", ""}, {"a", "aaa"}, {"c", "ccc"}}) {
      ByteSource* source = value(contents.open(*layer->index().find(path)));
      EXPECT_EQ(value(testing::read_all(*source)), wanted) << path;
    }
    if (round == 0) {
      NEEDS_ROOT();
      value(layer->ensure_tree(*store));
      ASSERT_EQ(::unlink(layer->blob_path().c_str()), 0);
    }
  }
}

TEST(LayerContents, DamageIsAnError) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  LayerPtr layer = layer_of(*store, {text("a", "hello")});
  std::string blob = testing::slurp(layer->blob_path());
  blob[layer->index().at(0).data_offset] = 'J';
  ::chmod(layer->blob_path().c_str(), 0644);
  testing::spew(layer->blob_path(), blob);
  LayerContents contents(*layer);
  ByteSource* source = value(contents.open(0));
  Result<std::string> read = testing::read_all(*source);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind(), ErrorKind::kCorrupt);
}

TEST(ClampLayerTimes, OnlyLaterTimesChange) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  Item old = text("old", "1");
  old.entry.mtime = {5, 7};
  Item edge = text("edge", "2");
  edge.entry.mtime = {1000, 1};
  LayerPtr layer = layer_of(*store, {{dir("d")}, old, edge, link_to("f", "edge"), gone("d/x")});
  LayerPtr clamped = value(clamp_layer_times(*store, layer, 1000));
  EXPECT_EQ(paths_of(clamped), paths_of(layer));
  EXPECT_EQ(clamped->index().summary().content_id, layer->index().summary().content_id);
  EXPECT_EQ(clamped->index().at(*clamped->index().find("old")).mtime, (Timespec{5, 7}));
  EXPECT_EQ(clamped->index().at(*clamped->index().find("edge")).mtime, (Timespec{1000, 0}));
  EXPECT_EQ(clamped->index().at(*clamped->index().find("d")).mtime, (Timespec{1000, 0}));
  // Nothing later: the same layer.
  EXPECT_EQ(value(clamp_layer_times(*store, clamped, 1000)), clamped);
}

TEST(ClampLayerTimes, ForeignTarWithLinkBeforeItsTarget) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  testing::shell("cd " + root.path() + " && mkdir t && echo hi >t/z && ln t/z t/a && tar -cf l.tar -C t z a");
  UniqueFd fd = value(open_file(root.path() + "/l.tar", O_RDONLY));
  FdSource source(fd.get(), "l.tar");
  LayerPtr layer = value(import_layer(*store, source, {}));
  LayerPtr clamped = value(clamp_layer_times(*store, layer, 1));
  EXPECT_EQ(paths_of(clamped), (std::vector<std::string>{"a", "z"}));
  EXPECT_EQ(clamped->index().type_at(0), EntryType::kFile);
  EXPECT_EQ(clamped->index().at(1).link_target, "a");
  EXPECT_TRUE(clamped->index().summary().canonical);
}

TEST(MergeLayers, WhiteoutsOnlyWhereTheBaseHasSomething) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  LayerPtr base = layer_of(*store, {{dir("etc")}, text("etc/a", "1"), text("etc/b", "2"), {dir("lib")}, text("lib/x", "3")});
  LayerPtr one = layer_of(*store, {{dir("etc")}, gone("etc/a"), text("etc/tmp", "t"), {dir("new")}, text("new/f", "f"), link_to("new/g", "new/f")});
  LayerPtr two = layer_of(*store, {gone("etc/tmp"), gone("lib"), gone("never"), gone("new/f")});
  LayerPtr merged = value(merge_layers(*store, {base}, {one, two}));
  EXPECT_EQ(paths_of(merged), (std::vector<std::string>{".wh.lib", "etc", "etc/.wh.a", "new", "new/g"}));
  EXPECT_EQ(dump({base, merged}), dump({base, one, two}));
  EXPECT_EQ(value(merge_layers(*store, {base}, {one, two}))->diff_id(), merged->diff_id());
}

TEST(MergeLayers, ReplacedDirectoriesBecomeOpaque) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  LayerPtr base = layer_of(*store, {{dir("d")}, text("d/old", "1"), {dir("e")}, text("e/old", "1"), {dir("f")}, text("f/old", "1")});
  LayerPtr one = layer_of(*store, {gone("d"), text("e", "now a file"), {dir("f")}, opaque("f"), text("f/x", "x")});
  LayerPtr two = layer_of(*store, {text("d/new", "implicit"), {dir("e")}, text("e/new", "2")});
  LayerPtr merged = value(merge_layers(*store, {base}, {one, two}));
  EXPECT_EQ(paths_of(merged), (std::vector<std::string>{"d", "d/.wh..wh..opq", "d/new", "e", "e/.wh..wh..opq", "e/new", "f", "f/.wh..wh..opq", "f/x"}));
  EXPECT_EQ(dump({base, merged}), dump({base, one, two}));
}

TEST(MergeLayers, WithoutABaseThereIsNothingToHide) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  LayerPtr one = layer_of(*store, {{dir("")}, opaque(""), text("a", "1"), text("b", "2")});
  LayerPtr two = layer_of(*store, {gone("a"), gone("c")});
  EXPECT_EQ(paths_of(value(merge_layers(*store, {}, {one, two}))), (std::vector<std::string>{"", "b"}));
}

// Random stacks: what is seen through base and merged layer is what is seen through all.
class Stack {
 public:
  explicit Stack(unsigned seed) : random_(seed) {}
  std::vector<Item> layer(bool base) {
    std::map<std::string, Item> items;
    std::vector<std::string> files;
    const int count = 1 + pick(10);
    for (int i = 0; i < count; ++i) {
      const std::string path = random_path();
      if (below_no_directory(items, path)) continue;
      const int what = pick(base ? 6 : 10);
      Item item;
      if (what < 2) {
        item = {dir(path)};
      } else if (what < 4) {
        item = text(path, std::string(1 + static_cast<size_t>(pick(3)), 'x'));
        files.push_back(path);
      } else if (what == 4) {
        item = {entry(EntryType::kSymlink, path, "t" + std::to_string(pick(2)))};
      } else if (what == 5) {
        if (files.empty() || items.contains(path)) continue;
        const std::string target = files[static_cast<size_t>(pick(static_cast<int>(files.size())))];
        if (tar::compare_paths(target, path) >= 0) continue;
        item = link_to(path, target);
      } else if (what < 9) {
        Item white = gone(path);
        items[white.entry.path] = white;
        continue;
      } else {
        Item mark = opaque(path);
        auto own = items.find(path);
        if (own != items.end() && own->second.entry.type != EntryType::kDirectory) continue;
        items[mark.entry.path] = mark;
        continue;
      }
      if (items.contains(path)) continue;
      if (item.entry.type != EntryType::kDirectory && has_below(items, path)) continue;
      item.entry.mode = 0600 + static_cast<uint32_t>(pick(8));
      item.entry.uid = static_cast<uint32_t>(pick(3));
      items[path] = item;
    }
    std::vector<Item> out;
    for (auto& [path, item] : items) {
      if (item.entry.type == EntryType::kHardlink) {
        auto target = items.find(item.entry.link_target);
        if (target == items.end() || target->second.entry.type != EntryType::kFile) continue;
      }
      out.push_back(item);
    }
    return out;
  }
  int pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

 private:
  std::string random_path() {
    std::string path;
    const int depth = 1 + pick(3);
    for (int i = 0; i < depth; ++i) path += (i ? "/" : "") + std::string(1, static_cast<char>('a' + pick(3)));
    return path;
  }
  static bool below_no_directory(const std::map<std::string, Item>& items, const std::string& path) {
    for (size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1)) {
      auto found = items.find(path.substr(0, at));
      if (found != items.end() && found->second.entry.type != EntryType::kDirectory) return true;
    }
    return false;
  }
  static bool has_below(const std::map<std::string, Item>& items, const std::string& path) {
    for (const auto& [other, item] : items)
      if (other.starts_with(path + "/")) return true;
    return false;
  }
  std::mt19937 random_;
};

TEST(MergeLayers, RandomStacksLookTheSame) {
  TempDir root = temp_dir();
  std::unique_ptr<Store> store = open_store(root.path() + "/s");
  const char* wish = std::getenv("KASANE_LONG");
  const unsigned rounds = wish ? 1000 : 50;
  for (unsigned seed = 0; seed < rounds; ++seed) {
    Stack stack(seed);
    std::vector<LayerPtr> base, above;
    for (int i = stack.pick(3); i > 0; --i) base.push_back(layer_of(*store, stack.layer(base.empty())));
    for (int i = 1 + stack.pick(4); i > 0; --i) above.push_back(layer_of(*store, stack.layer(false)));
    LayerPtr merged = value(merge_layers(*store, base, above));
    ASSERT_TRUE(merged);
    std::vector<LayerPtr> all = base;
    all.insert(all.end(), above.begin(), above.end());
    std::vector<LayerPtr> squashed = base;
    squashed.push_back(merged);
    ASSERT_EQ(testing::difference(dump(all), dump(squashed)), "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace kasane::store
