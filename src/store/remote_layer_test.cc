#include "store/remote_layer.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include "store/layer_testing.h"
#include "store/store.h"

namespace kasane::store {
namespace {

using namespace testing;
using ::testing::HasSubstr;

class RemoteLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    here_ = Store::open({path("here"), false}).take();
    there_ = Store::open({path("there"), false}).take();
  }
  std::string path(const std::string& name) { return dir_.path() + "/" + name; }

  // As a builder's RUN leaves it.
  LayerPtr made(const std::string& script) {
    auto ingest = there_->new_ingest();
    const std::string upper = ingest->path() + "/upper";
    shell("mkdir " + upper + " && cd " + upper + " && " + script);
    Result<LayerPtr> layer = adopt_tree(*there_, upper, {});
    EXPECT_TRUE(layer) << layer.error().full_message();
    return layer ? *layer : nullptr;
  }
  Result<LayerPtr> carried(const Layer& layer) {
    std::unique_ptr<ByteSource> tar = TRY(layer.open_tar());
    ImportOptions options;
    options.expected_diff_id = layer.diff_id();
    return import_layer(*here_, *tar, options);
  }
  Result<std::shared_ptr<const LayerIndex>> claim(std::string_view bytes, const Sha256Digest& diff_id) {
    return claimed_index(*here_, bytes, diff_id);
  }
  // An index in perfect form that says something else of the entries; "" where it would have none.
  std::string lie(const LayerIndex& index, const std::function<void(IndexedEntry&)>& change) {
    LayerIndexBuilder builder;
    for (size_t i = 0; i < index.size(); ++i) {
      const EntryView view = index.at(i);
      IndexedEntry entry{view.to_entry(), view.content, view.header_offset, view.data_offset, view.raw_size, view.sparse};
      change(entry);
      builder.add(std::move(entry));
    }
    const LayerSummary& summary = index.summary();
    if (!builder.write(path("lie"), summary.diff_id, summary.tar_size, summary.canonical, false)) return "";
    return slurp(path("lie"));
  }

  TempDir dir_ = temp_dir();
  std::unique_ptr<Store> here_, there_;
};

constexpr const char* kScript =
    "mkdir -p d/e empty && echo hi > d/f && ln d/f d/e/again && ln -s ../f d/e/link && mkfifo p && "
    "setfattr -n user.a -v b d/f && : > nothing && head -c 200000 /dev/zero > zeros && chmod 4711 d/f && "
    "touch -d '2001-02-03 04:05:06.5' zeros";

TEST_F(RemoteLayerTest, TheIndexOfALayerIsThatOfItsTarElsewhere) {
  LayerPtr layer = made(kScript);
  auto index = claim(index_bytes(*layer).take(), layer->diff_id());
  ASSERT_OK(index);
  ASSERT_OK(check_same_entries(**index, layer->index()));
  auto copy = carried(*layer);
  ASSERT_OK(copy);
  ASSERT_OK(check_same_entries(**index, (*copy)->index()));
  EXPECT_EQ((*index)->size(), layer->index().size());
}

TEST_F(RemoteLayerTest, IsBroughtWhenItsBytesAreNeededAndNotBefore) {
  LayerPtr layer = made(kScript);
  int asked = 0;
  bool here = false;
  LayerPtr remote = remote_layer(*here_, claim(index_bytes(*layer).take(), layer->diff_id()).take(), [&]() -> Result<void> {
    ++asked;
    if (here) return {};
    TRY(carried(*layer));
    here = true;
    return {};
  });
  EXPECT_TRUE(remote->is_claimed());
  EXPECT_FALSE(layer->is_claimed());
  EXPECT_EQ(chain_content_id({remote}), chain_content_id({layer}));
  EXPECT_FALSE(remote->has_blob());
  EXPECT_EQ(asked, 0);
  auto content = remote->open_content(*remote->index().find("d/f"));
  ASSERT_OK(content);
  StringSink text;
  ASSERT_OK(copy_stream(**content, text));
  EXPECT_EQ(text.text, "hi\n");
  EXPECT_EQ(asked, 1);
  ASSERT_OK(remote->open_tar());
  ASSERT_OK(bring_layers({remote, remote, layer}));
}

TEST_F(RemoteLayerTest, TheFirstErrorOfSeveralIsTold) {
  LayerPtr layer = made("echo 1 > a");
  auto index = claim(index_bytes(*layer).take(), layer->diff_id());
  ASSERT_OK(index);
  const auto fails = []() -> Result<void> { return Error(ErrorKind::kNotFound, "it is gone"); };
  LayerPtr gone = remote_layer(*here_, *index, fails), fine = remote_layer(*here_, *index, [] { return Result<void>(); });
  EXPECT_THAT(bring_layers({fine, gone, fine}).error().full_message(), HasSubstr("it is gone"));
  EXPECT_FALSE(gone->open_tar());
  EXPECT_FALSE(gone->ensure_tree(*here_));
  EXPECT_FALSE(gone->open_content(0));
}

TEST_F(RemoteLayerTest, LiesAreSeenWhenTheLayerComes) {
  LayerPtr layer = made(kScript);
  auto copy = carried(*layer);
  ASSERT_OK(copy);
  const std::function<void(IndexedEntry&)> lies[] = {
      [](IndexedEntry& e) { if (e.entry.path == "d/f") e.entry.mode = 0777; },
      [](IndexedEntry& e) { if (e.entry.path == "d/f") e.entry.uid = 7; },
      [](IndexedEntry& e) { if (e.entry.path == "zeros") e.entry.mtime.sec = 1; },
      [](IndexedEntry& e) { if (e.entry.path == "zeros") e.content = sha256("other"); },
      [](IndexedEntry& e) { if (e.entry.path == "zeros") e.data_offset += 512; },
      [](IndexedEntry& e) { if (e.entry.path == "d/e/link") e.entry.link_target = "/etc"; },
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.path = "q"; },
      [](IndexedEntry& e) { e.entry.xattrs.clear(); },
  };
  for (const auto& change : lies) {
    auto index = claim(lie(layer->index(), change), layer->diff_id());
    ASSERT_OK(index);
    Result<void> same = check_same_entries(**index, (*copy)->index());
    ASSERT_FALSE(same) << &change - lies;
    EXPECT_EQ(same.error().kind(), ErrorKind::kCorrupt);
  }
}

TEST_F(RemoteLayerTest, EntriesThatNoLayerMayHaveAreRefusedAtOnce) {
  LayerPtr layer = made(kScript);
  const std::function<void(IndexedEntry&)> lies[] = {
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.path = "../p"; },
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.path = "/p"; },
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.path = "x/../../p"; },
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.path = std::string("p\0q", 3); },
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.path = std::string(5000, 'p'); },
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.path = "v//w"; },
      [](IndexedEntry& e) { if (e.entry.path == "zeros") e.entry.xattrs.push_back({"trusted.overlay.opaque", "y"}); },
      [](IndexedEntry& e) { if (e.entry.path == "d/e/link") e.entry.link_target = std::string(5000, 'l'); },
      [](IndexedEntry& e) { if (e.entry.path == "p") e.entry.size = 5; },
  };
  for (const auto& change : lies)
    EXPECT_FALSE(claim(lie(layer->index(), change), layer->diff_id())) << &change - lies;
  EXPECT_FALSE(claim(index_bytes(*layer).take(), sha256("another layer")));
}

TEST_F(RemoteLayerTest, NoByteOfAnIndexMayBeAnother) {
  LayerPtr layer = made("mkdir d && echo 1 > d/a && ln -s a d/b");
  const std::string bytes = index_bytes(*layer).take();
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string other = bytes;
    other[i] = static_cast<char>(other[i] ^ 0x41);
    EXPECT_FALSE(claim(other, layer->diff_id())) << i;
  }
  for (size_t size = 0; size < bytes.size(); size += 37) EXPECT_FALSE(claim(bytes.substr(0, size), layer->diff_id()));
  EXPECT_FALSE(claim(bytes + "x", layer->diff_id()));
}

}  // namespace
}  // namespace kasane::store
