// Which earlier run a step is compared with, and what goes when the cache is too large.
#include <gtest/gtest.h>

#include "store/database.h"
#include "store/test_support.h"

namespace kasane::store {
namespace {

using testing::exists;
using testing::image_of;
using testing::make_layer;
using testing::open_store;
using testing::step_of;
using testing::value;

class StepsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = directory_.path() + "/store";
    store_ = open_store(root_);
    layer_ = make_layer(*store_, "x");
  }
  void put(const std::string& key, const std::string& scope) {
    EXPECT_OK(store_->put_step(step_of(key, layer_, scope)));
  }
  void reopen() {
    store_.reset();
    store_ = open_store(root_);
  }
  void hit(const std::string& key, const std::string& scope = "") {
    EXPECT_TRUE(value(store_->find_step(sha256(key), scope)).has_value());
  }
  std::optional<Sha256Digest> last(const std::string& scope) {
    std::optional<StepRow> row = value(store_->last_step_of(scope));
    return row ? std::optional(row->key) : std::nullopt;
  }

  std::string root_;
  TempDir directory_ = TempDir::make("kasane-steps").take();
  std::unique_ptr<Store> store_;
  LayerPtr layer_;
  const std::string kHere = "/here|Dockerfile|stage=0|step=1";
  const std::string kThere = "/there|Dockerfile|stage=0|step=1";
};

TEST_F(StepsTest, TheLastUseCountsAndNotTheLastMiss) {
  put("one", kHere);
  put("two", kHere);  // the same created_ns
  EXPECT_EQ(last(kHere), sha256("two"));
  hit("one");
  EXPECT_EQ(last(kHere), sha256("one"));
  hit("two");
  reopen();
  EXPECT_EQ(last(kHere), sha256("two"));
  EXPECT_TRUE(value(store_->check({})).damaged.empty());
}

TEST_F(StepsTest, AHitOfAnotherScopeIsRemembered) {
  put("one", kHere);
  put("two", kHere);
  hit("one", "/x|Other|stage=1|step=2");
  EXPECT_EQ(last("/x|Other|stage=1|step=2"), sha256("one"));
  EXPECT_EQ(last(kHere), sha256("two"));
}

TEST_F(StepsTest, AnotherCheckoutIsNearEnough) {
  put("one", kHere);
  EXPECT_EQ(last(kThere), sha256("one"));
  put("two", kThere);
  EXPECT_EQ(last(kThere), sha256("two"));
  EXPECT_EQ(last("/new|Dockerfile|stage=0|step=1"), sha256("two"));
  hit("one", kHere);
  EXPECT_EQ(last("/new|Dockerfile|stage=0|step=1"), sha256("one"));
  EXPECT_EQ(last(kThere), sha256("two"));
  EXPECT_EQ(last("/new|Dockerfile|stage=0|step=2"), std::nullopt);
  EXPECT_EQ(last(""), std::nullopt);
}

TEST_F(StepsTest, RepeatedHitsWriteNothing) {
  put("one", kHere);
  reopen();
  auto changes = [&] {
    Result<Database::Query> row = store_->database().query("PRAGMA data_version");
    EXPECT_TRUE(row && value(row->next()));
    return row->integer(0);
  };
  (void)value(store_->list_images());
  int64_t before = changes();
  {
    std::unique_ptr<Store> other = open_store(root_);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(value(other->find_step(sha256("one"), kHere)));
  }
  EXPECT_EQ(changes(), before);
}

TEST_F(StepsTest, PruningForgetsTheUses) {
  put("one", kHere);
  put("two", kThere);
  ASSERT_OK(store_->database()
                .query("UPDATE steps SET last_used_ns = 1000 WHERE scope LIKE '/here%'")
                ->run());
  value(store_->prune_steps({.unused_since_ns = 2000, .keep_bytes = {}}));
  EXPECT_EQ(last(kHere), sha256("two"));  // by its suffix
  EXPECT_TRUE(value(store_->check({})).damaged.empty());
  value(store_->prune_steps({}));
  EXPECT_EQ(last(kHere), std::nullopt);
  EXPECT_TRUE(value(store_->check({})).damaged.empty());
}

TEST_F(StepsTest, TheLeastRecentlyUsedGoFirst) {
  LayerPtr a = make_layer(*store_, std::string(1000, 'a')),
           b = make_layer(*store_, std::string(1000, 'b')),
           c = make_layer(*store_, std::string(1000, 'c')),
           in_image = make_layer(*store_, std::string(5000, 'i'));
  value(store_->put_image(image_of({in_image})));
  int64_t used = 1000;
  for (const auto& [key, layer] :
       {std::pair{"i", in_image}, {"a", a}, {"b", b}, {"c", c}, {"a shortcut", a}}) {
    ASSERT_OK(store_->put_step(step_of(key, layer)));
    Result<Database::Query> update =
        store_->database().query("UPDATE steps SET last_used_ns = ? WHERE key = ?");
    ASSERT_TRUE(update);
    ASSERT_OK(update->bind(used++).bind(sha256(key)).run());
  }
  EXPECT_EQ(value(store_->prune_steps({.unused_since_ns = {}, .keep_bytes = 3000})), 1u);  // "x"
  EXPECT_EQ(value(store_->prune_steps({.unused_since_ns = {}, .keep_bytes = 2500})), 1000u);
  EXPECT_FALSE(exists(b->directory()));  // a was used later, through its shortcut
  EXPECT_TRUE(value(store_->find_step(sha256("a"))).has_value());
  EXPECT_TRUE(value(store_->find_step(sha256("i"))).has_value());
  EXPECT_EQ(value(store_->prune_steps({.unused_since_ns = 1, .keep_bytes = 0})), 0u);
  EXPECT_EQ(value(store_->prune_steps({.unused_since_ns = {}, .keep_bytes = 0})), 2000u);
  EXPECT_FALSE(value(store_->find_step(sha256("a shortcut"))).has_value());
  EXPECT_TRUE(value(store_->find_step(sha256("i"))).has_value());
  EXPECT_TRUE(exists(in_image->directory()));
}

TEST_F(StepsTest, CheckFindsUsesOfNothing) {
  put("one", kHere);
  ASSERT_OK(store_->database().query("PRAGMA foreign_keys = OFF")->run());
  ASSERT_OK(store_->database().query("DELETE FROM steps")->run());
  CheckReport report = value(store_->check({}));
  ASSERT_EQ(report.damaged.size(), 1u);
  EXPECT_EQ(report.damaged[0].kind, "database");
}

}  // namespace
}  // namespace kasane::store
