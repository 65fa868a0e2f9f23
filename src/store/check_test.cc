// `store check` finds every kind of damage (F14), and only damage.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "store/database.h"
#include "store/test_support.h"

namespace kasane::store {
namespace {

using namespace testing;

class CheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::unique_ptr<Store> store = open_store(root_);
    LayerPtr blob_only = make_layer(*store, std::string(5000, 'b'));
    LayerPtr both = make_layer(*store, std::string(5000, 't'), "dir");
    LayerPtr tree_only = make_layer(*store, std::string(5000, 'o'), "only");
    ASSERT_OK(both->ensure_tree(*store));
    ASSERT_OK(tree_only->ensure_tree(*store));
    ASSERT_EQ(::unlink(tree_only->blob_path().c_str()), 0);
    blob_only_ = blob_only->directory();
    both_ = both->directory();
    tree_only_ = tree_only->directory();
    image_ = value(store->put_image(image_of({blob_only, both, tree_only})));
    ASSERT_OK(store->tag(image_, "docker.io/library/a:1"));
    config_ = root_ + "/blobs/sha256/" + image_.hex();
    ASSERT_EQ(found(), "");
  }

  // "kind kind ...", sorted by appearance.
  std::string found(bool deep = true) {
    CheckReport report = value(open_store(root_)->check({.deep = deep}));
    EXPECT_EQ(report.leftovers, 0u);
    std::string kinds;
    for (const DamagedObject& object : report.damaged) {
      kinds += (kinds.empty() ? "" : " ") + object.kind;
      EXPECT_FALSE(object.name.empty());
      EXPECT_FALSE(object.reason.empty());
    }
    return kinds;
  }

  static void flip_byte(const std::string& path, size_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(offset));
    char c = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(c ^ 1));
    ASSERT_TRUE(file.good()) << path;
  }

  // Damages the file in three ways; each must be found as `kinds`.
  void expect_found(const std::string& path, const std::string& kinds) {
    const std::string saved = value(read_file(path));
    ASSERT_GT(saved.size(), 1u);
    for (size_t offset : {size_t{0}, saved.size() / 2, saved.size() - 1}) {
      flip_byte(path, offset);
      EXPECT_EQ(found(), kinds) << "flipped byte " << offset << " of " << path;
      ASSERT_OK(replace_file(path, saved));
    }
    for (size_t size : {size_t{0}, saved.size() - 1}) {
      ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(size)), 0);
      EXPECT_EQ(found(), kinds) << path << " truncated to " << size;
      EXPECT_EQ(found(false), kinds) << path << " truncated to " << size << ", sizes only";
      ASSERT_OK(replace_file(path, saved));
    }
    ASSERT_EQ(::unlink(path.c_str()), 0);
    EXPECT_EQ(found(), kinds) << "deleted " << path;
    EXPECT_EQ(found(false), kinds) << "deleted " << path << ", sizes only";
    ASSERT_OK(replace_file(path, saved));
    EXPECT_EQ(found(), "");
  }

  TempDir temp_ = TempDir::make().take();
  std::string root_ = temp_.path() + "/store";
  std::string blob_only_, both_, tree_only_, config_;
  Sha256Digest image_;
};

TEST_F(CheckTest, CountsWhatItRead) {
  CheckReport report = value(open_store(root_)->check({}));
  EXPECT_EQ(report.blobs, 1u);
  EXPECT_EQ(report.layers, 3u);
  EXPECT_EQ(report.images, 1u);
  EXPECT_GT(report.bytes_read, 20'000u);
  EXPECT_LT(value(open_store(root_)->check({.deep = false})).bytes_read, 1'000u);
}

TEST_F(CheckTest, Config) { expect_found(config_, "blob image"); }
TEST_F(CheckTest, LayerIndex) { expect_found(blob_only_ + "/index", "layer"); }
TEST_F(CheckTest, LayerBlob) { expect_found(blob_only_ + "/blob", "layer"); }
TEST_F(CheckTest, FileOfATree) { expect_found(tree_only_ + "/tree/only", "layer"); }
TEST_F(CheckTest, FileOfATreeBesideABlob) { expect_found(both_ + "/tree/dir", "layer"); }

TEST_F(CheckTest, BlobBesideATree) {
  flip_byte(both_ + "/blob", 600);
  EXPECT_EQ(found(), "layer");
}

TEST_F(CheckTest, OtherTypesInATree) {
  std::string file = both_ + "/tree/dir";
  ASSERT_EQ(::unlink(file.c_str()), 0);
  ASSERT_EQ(::symlink("x", file.c_str()), 0);
  EXPECT_EQ(found(false), "layer");
  ::unlink(file.c_str());
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);  // must not hang
  EXPECT_EQ(found(), "layer");
}

TEST_F(CheckTest, WholeLayer) {
  ASSERT_OK(remove_tree(both_));
  EXPECT_EQ(found(), "layer");
}

TEST_F(CheckTest, RecordsThatDisagree) {
  auto change = [&](const char* sql) {
    std::unique_ptr<Store> store = open_store(root_);
    EXPECT_OK(store->put_blob("x"));  // opens it for writing
    EXPECT_OK(store->database().query("PRAGMA foreign_keys = OFF")->run());
    EXPECT_OK(store->database().query(sql)->run());
    store.reset();
    EXPECT_OK(open_store(root_)->sweep());
  };
  change("UPDATE layers SET tar_size = tar_size + 1");
  EXPECT_EQ(found(), "layer layer layer");
  change("UPDATE layers SET tar_size = tar_size - 1");
  change("UPDATE image_blobs SET size = size + 1");
  EXPECT_EQ(found(), "blob");
  change("UPDATE image_blobs SET size = size - 1");
  change(
      "INSERT INTO tags VALUES('docker.io/library/lost:1', 'docker.io/library/lost', x'00', 0)");
  EXPECT_EQ(found(), "tag");
  change("DELETE FROM tags WHERE reference LIKE '%lost%'");
  EXPECT_EQ(found(), "");
  change("UPDATE image_layers SET diff_id = (SELECT max(diff_id) FROM image_layers)");
  EXPECT_EQ(found(), "image");
}

TEST_F(CheckTest, DatabasePages) {
  std::string path = root_ + "/kasane.db";
  const std::string saved = value(read_file(path));
  // Whatever is overwritten, the answer is an error or a report, never a crash or a hang.
  size_t noticed = 0;
  for (size_t page = 0; page * 4096 < saved.size(); ++page) {
    std::string text = saved;
    for (size_t i = 0; i < 64; ++i) text[page * 4096 + i] = static_cast<char>(i * 37);
    ASSERT_OK(replace_file(path, text));
    OpenOptions options;
    options.root = root_;
    Result<std::unique_ptr<Store>> store = Store::open(options);
    Result<CheckReport> report = store ? (*store)->check({}) : Result<CheckReport>(store.error());
    noticed += !report || !report->damaged.empty();
  }
  EXPECT_EQ(noticed, saved.size() / 4096);
}

}  // namespace
}  // namespace kasane::store
