// One tag for the images of several platforms.
#include <gtest/gtest.h>

#include "oci/platform.h"
#include "store/database.h"
#include "store/test_support.h"

namespace kasane::store {
namespace {

using testing::image_of;
using testing::make_layer;
using testing::open_store;
using testing::value;

class PlatformTags : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = open_store(directory_.path() + "/store");
    host_ = oci::Platform::host().normalized().str();
    mine_ = value(store_->put_image(image_of({make_layer(*store_, "x")}, "mine")));
    other_ = value(store_->put_image(image_of({make_layer(*store_, "y")}, "other")));
    third_ = value(store_->put_image(image_of({}, "third")));
  }
  void TearDown() override {
    if (store_) {
      EXPECT_TRUE(value(store_->check({})).damaged.empty());
    }
  }
  std::vector<std::string> tags(const Sha256Digest& image) {
    return value(store_->image_row(image)).tags;
  }

  TempDir directory_ = TempDir::make("kasane-tags").take();
  std::unique_ptr<Store> store_;
  std::string host_;
  Sha256Digest mine_, other_, third_;
  const std::string kTag = "docker.io/library/app:1";
  const std::vector<std::string> kTagged = {kTag};
};

TEST_F(PlatformTags, NamesEachImage) {
  ASSERT_OK(store_->tag_platforms(kTag, {{"linux/s390x", other_}, {host_, mine_}}));
  EXPECT_EQ(value(store_->find_tag(kTag)), mine_);
  EXPECT_EQ(value(store_->find_tag_platform(kTag, "linux/s390x")), other_);
  EXPECT_EQ(value(store_->find_tag_platform(kTag, host_)), mine_);
  EXPECT_EQ(value(store_->find_tag_platform(kTag, "linux/riscv64")), std::nullopt);
  EXPECT_EQ(value(store_->find_tag_platform("docker.io/library/b:1", host_)), std::nullopt);
  EXPECT_EQ(tags(mine_), kTagged);
  EXPECT_EQ(tags(other_), kTagged);
  for (const ImageRow& row : value(store_->list_images()))
    EXPECT_EQ(row.tags, row.id == third_ ? std::vector<std::string>() : kTagged);
  EXPECT_FALSE(value(store_->remove_image(other_, true)).deleted);
  EXPECT_TRUE(value(store_->remove_image(third_, true)).deleted);
}

TEST_F(PlatformTags, WithoutTheHostsTheFirst) {
  ASSERT_OK(store_->tag_platforms(kTag, {{"linux/s390x", other_}, {"linux/riscv64", third_}}));
  EXPECT_EQ(value(store_->find_tag(kTag)), other_);
}

TEST_F(PlatformTags, SpellingsOfOnePlatform) {
  ASSERT_OK(store_->tag_platforms(kTag, {{"linux/x86_64", mine_}, {"linux/aarch64", other_}}));
  EXPECT_EQ(value(store_->find_tag_platform(kTag, "linux/amd64")), mine_);
  EXPECT_EQ(value(store_->platforms_of(kTag))[1].first, "linux/arm64");
  EXPECT_EQ(store_->tag_platforms(kTag, {{"linux/x86_64", mine_}, {"linux/amd64", other_}})
                .error()
                .kind(),
            ErrorKind::kInvalid);
}

TEST_F(PlatformTags, IsReplacedAsAWhole) {
  ASSERT_OK(store_->tag_platforms(kTag, {{"linux/amd64", mine_}, {"linux/arm64", other_}}));
  ASSERT_OK(store_->tag_platforms(kTag, {{"linux/arm64", third_}}));
  EXPECT_EQ(value(store_->platforms_of(kTag)).size(), 1u);
  EXPECT_TRUE(tags(mine_).empty());
  EXPECT_TRUE(tags(other_).empty());
}

TEST_F(PlatformTags, ASingleImageClearsThem) {
  const std::vector<PlatformImage> both = {{"linux/amd64", mine_}, {"linux/arm64", other_}};
  ASSERT_OK(store_->tag_platforms(kTag, both));
  ASSERT_OK(store_->tag(*value(store_->find_tag(kTag)), kTag));  // the image it means already
  EXPECT_TRUE(value(store_->platforms_of(kTag)).empty());
  ASSERT_OK(store_->tag_platforms(kTag, both));
  ImageRecord record = image_of({}, "third");
  record.tags = {kTag};
  ASSERT_OK(store_->put_image(record));
  EXPECT_TRUE(value(store_->platforms_of(kTag)).empty());
  EXPECT_EQ(value(store_->find_tag(kTag)), third_);
}

TEST_F(PlatformTags, UntagRemovesThemAll) {
  ASSERT_OK(store_->tag_platforms(kTag, {{host_, mine_}, {"linux/s390x", other_}}));
  ASSERT_OK(store_->tag(other_, "docker.io/library/b:1"));
  EXPECT_TRUE(value(store_->untag(kTag)));
  EXPECT_TRUE(tags(mine_).empty());
  EXPECT_EQ(tags(other_).size(), 1u);
  EXPECT_TRUE(value(store_->remove_image(mine_, true)).deleted);
}

TEST_F(PlatformTags, RemovingOneImageLeavesTheTagToTheOthers) {
  ASSERT_OK(store_->tag_platforms(kTag, {{host_, mine_}, {"linux/s390x", other_}}));
  RemovedImage removed = value(store_->remove_image(mine_));
  EXPECT_TRUE(removed.deleted);
  EXPECT_EQ(removed.untagged, kTagged);
  EXPECT_EQ(value(store_->find_tag(kTag)), other_);
  EXPECT_EQ(value(store_->sweep()), 0u);
  EXPECT_EQ(value(store_->image_layers(other_)).size(), 1u);
  value(store_->remove_image(other_));
  EXPECT_EQ(value(store_->find_tag(kTag)), std::nullopt);
}

TEST_F(PlatformTags, RefusesNonsense) {
  EXPECT_EQ(store_->tag_platforms(kTag, {}).error().kind(), ErrorKind::kInvalid);
  EXPECT_EQ(store_->tag_platforms("app:1", {{host_, mine_}}).error().kind(), ErrorKind::kInternal);
  EXPECT_EQ(
      store_->tag_platforms("docker.io/library/a@" + mine_.str(), {{host_, mine_}}).error().kind(),
      ErrorKind::kInvalid);
  EXPECT_FALSE(store_->tag_platforms(kTag, {{"a/b/c/d/e", mine_}}));
  EXPECT_EQ(
      store_->tag_platforms(kTag, {{host_, mine_}, {"linux/s390x", sha256("no")}}).error().kind(),
      ErrorKind::kNotFound);
  EXPECT_EQ(value(store_->find_tag(kTag)), std::nullopt);
}

TEST_F(PlatformTags, CheckFindsMissingImages) {
  ASSERT_OK(store_->tag_platforms(kTag, {{host_, mine_}, {"linux/s390x", other_}}));
  Database& database = store_->database();
  ASSERT_OK(database.query("PRAGMA foreign_keys = OFF")->run());
  ASSERT_OK(database
                .query("UPDATE tag_platforms SET image_id = x'00' WHERE "
                       "platform = 'linux/s390x'")
                ->run());
  CheckReport report = value(store_->check({.deep = false}));
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].kind, "tag");
  EXPECT_EQ(report.damaged[0].name, kTag + " (linux/s390x)");
  ASSERT_OK(database.query("DELETE FROM tags")->run());
  EXPECT_EQ(value(store_->check({.deep = false})).damaged.size(), 2u);
  store_.reset();
}

}  // namespace
}  // namespace kasane::store
