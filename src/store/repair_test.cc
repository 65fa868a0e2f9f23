// The part of `store repair` that needs no registry. What is fetched: tests/e2e/repair_test.py.
#include "store/repair.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "store/database.h"
#include "store/test_support.h"

namespace kasane::store {
namespace {

using namespace testing;

class RepairTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::unique_ptr<Store> store = open_store(root_);
    LayerPtr first = make_layer(*store, std::string(5000, 'a'));
    LayerPtr second = make_layer(*store, std::string(5000, 'b'), "other");
    ASSERT_OK(first->ensure_tree(*store));
    first_ = first->directory();
    second_ = second->directory();
    one_ = value(store->put_image(image_of({first}, "one")));
    two_ = value(store->put_image(image_of({first, second}, "two")));
    ASSERT_OK(store->tag(one_, "docker.io/library/one:1"));
    ASSERT_OK(store->tag(two_, "docker.io/library/two:1"));
    ASSERT_OK(store->put_step(step_of("step", second)));
  }

  static void damage(const std::string& path) {
    std::string text = value(read_file(path));
    ASSERT_GT(text.size(), 0u) << path;
    text[text.size() / 2] = static_cast<char>(text[text.size() / 2] ^ 1);
    ASSERT_OK(replace_file(path, text));
  }

  // "action kind" of everything that was done; the store is sound afterwards.
  std::string repair() {
    OpenOptions options;
    options.root = root_;
    std::vector<RepairAction> actions = value(rebuild_database(options));
    {
      std::unique_ptr<Store> store = open_store(root_);
      std::unique_ptr<Repair> repair = value(Repair::begin(*store));
      for (const LostObject& object : repair->lost())
        EXPECT_TRUE(value(repair->sources(object)).empty());
      EXPECT_OK(repair->finish());
      actions.insert(actions.end(), repair->actions().begin(), repair->actions().end());
    }
    CheckReport report = value(open_store(root_)->check({}));
    EXPECT_TRUE(report.damaged.empty()) << report.damaged[0].name << report.damaged[0].reason;
    std::string out;
    for (const RepairAction& action : actions) {
      EXPECT_FALSE(action.reason.empty());
      out += (out.empty() ? "" : ", ") + action.action + " " + action.kind;
    }
    return out;
  }
  size_t images() { return value(open_store(root_)->list_images()).size(); }

  TempDir temp_ = TempDir::make().take();
  std::string root_ = temp_.path() + "/store", first_, second_;
  Sha256Digest one_, two_;
};

TEST_F(RepairTest, SoundStoresStayAsTheyAre) {
  EXPECT_EQ(repair(), "");
  EXPECT_EQ(images(), 2u);
}

TEST_F(RepairTest, OneOfTwoBodies) {
  damage(first_ + "/blob");
  EXPECT_EQ(repair(), "rebuilt layer");
  EXPECT_FALSE(exists(first_ + "/blob"));
  std::unique_ptr<Store> store = open_store(root_);
  ASSERT_OK(value(open_layer(*store, *Sha256Digest::from_hex(first_.substr(first_.size() - 64))))
                ->ensure_blob(*store));
  damage(first_ + "/tree/file");
  store.reset();
  EXPECT_EQ(repair(), "rebuilt layer");
  EXPECT_FALSE(exists(first_ + "/tree"));
  EXPECT_EQ(images(), 2u);
}

TEST_F(RepairTest, IndexIsMadeFromTheTar) {
  damage(second_ + "/index");
  EXPECT_EQ(repair(), "rebuilt layer");
  EXPECT_EQ(images(), 2u);
}

TEST_F(RepairTest, LostLayerTakesItsImagesAndStepsAndNoOthers) {
  damage(second_ + "/blob");
  EXPECT_EQ(repair(), "dropped image, dropped layer");
  std::unique_ptr<Store> store = open_store(root_);
  EXPECT_EQ(value(store->find_tag("docker.io/library/one:1")), one_);
  EXPECT_FALSE(value(store->find_tag("docker.io/library/two:1")).has_value());
  EXPECT_FALSE(value(store->find_step(sha256("step"))).has_value());
}

TEST_F(RepairTest, LostConfig) {
  damage(root_ + "/blobs/sha256/" + two_.hex());
  EXPECT_EQ(repair(), "dropped image");
  EXPECT_EQ(images(), 1u);
  // The step still has its layer.
  EXPECT_TRUE(value(open_store(root_)->find_step(sha256("step"))).has_value());
}

TEST_F(RepairTest, LostDatabase) {
  for (bool garbage : {false, true}) {
    ::unlink((root_ + "/kasane.db").c_str());
    if (garbage) ASSERT_OK(replace_file(root_ + "/kasane.db", std::string(20000, 'g')));
    EXPECT_EQ(repair(), "rebuilt database");
    EXPECT_EQ(images(), 2u);
    EXPECT_OK(open_store(root_)->image_config(two_));
  }
}

// A rebuild that was killed after it moved the damaged database away.
TEST_F(RepairTest, RebuildGoesOnAfterACrash) {
  ASSERT_EQ(::rename((root_ + "/kasane.db").c_str(), (root_ + "/kasane.db.damaged").c_str()), 0);
  EXPECT_EQ(repair(), "rebuilt database");
  EXPECT_EQ(value(open_store(root_)->find_tag("docker.io/library/one:1")), one_);
}

// What a process leaves that died between the directory and its record.
TEST_F(RepairTest, LayersWithoutRecordAreAdopted) {
  Sha256Digest diff_id = *Sha256Digest::from_hex(second_.substr(second_.size() - 64));
  std::unique_ptr<Store> store = open_store(root_);
  ASSERT_OK(store->hold());
  ASSERT_OK(store->ensure_writable());
  for (const char* sql : {"PRAGMA foreign_keys = OFF", "DELETE FROM layers"})
    ASSERT_OK(store->database().query(sql)->run());
  EXPECT_FALSE(value(adopt_layer(*store, sha256("no such layer"))));
  EXPECT_TRUE(value(adopt_layer(*store, diff_id)));
  EXPECT_EQ(value(store->layer_sizes({diff_id})).size(), 1u);
  damage(first_ + "/index");
  EXPECT_FALSE(
      value(adopt_layer(*store, *Sha256Digest::from_hex(first_.substr(first_.size() - 64)))));
}

}  // namespace
}  // namespace kasane::store
