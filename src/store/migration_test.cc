// A store of an older kasane: everything is still there, and the first write brings the
// database up to date.
#include <gtest/gtest.h>
#include <sqlite3.h>

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

// Version 1, word for word as it was released. Never to be changed.
constexpr char kVersion1[] = R"sql(
CREATE TABLE layers(
  diff_id BLOB PRIMARY KEY, content_id BLOB NOT NULL, tar_size INTEGER NOT NULL,
  content_size INTEGER NOT NULL, entry_count INTEGER NOT NULL, canonical INTEGER NOT NULL,
  created_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE images(
  id BLOB PRIMARY KEY, created_ns INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
  architecture TEXT NOT NULL, os TEXT NOT NULL, variant TEXT NOT NULL, labels BLOB NOT NULL,
  last_tagged_ns INTEGER NOT NULL, manifest_media_type TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE image_layers(
  image_id BLOB NOT NULL REFERENCES images(id), position INTEGER NOT NULL,
  diff_id BLOB NOT NULL REFERENCES layers(diff_id),
  PRIMARY KEY(image_id, position)) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers(diff_id);
CREATE TABLE image_blobs(
  image_id BLOB NOT NULL REFERENCES images(id), digest BLOB NOT NULL, role INTEGER NOT NULL,
  size INTEGER NOT NULL, PRIMARY KEY(image_id, digest)) WITHOUT ROWID;
CREATE INDEX image_blobs_by_digest ON image_blobs(digest);
CREATE TABLE tags(
  reference TEXT PRIMARY KEY, repository TEXT NOT NULL,
  image_id BLOB NOT NULL REFERENCES images(id), tagged_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags(image_id);
CREATE TABLE digests(
  reference TEXT PRIMARY KEY, repository TEXT NOT NULL,
  image_id BLOB NOT NULL REFERENCES images(id), tagged_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX digests_by_image ON digests(image_id);
CREATE TABLE steps(
  key BLOB PRIMARY KEY, diff_id BLOB NOT NULL REFERENCES layers(diff_id),
  created_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL, scope TEXT NOT NULL,
  explanation TEXT NOT NULL, last_used_ns INTEGER NOT NULL);
CREATE INDEX steps_by_scope ON steps(scope, created_ns);
CREATE INDEX steps_by_layer ON steps(diff_id);
)sql";

class Migration : public ::testing::Test {
 protected:
  void SetUp() override { root_ = directory_.path() + "/store"; }

  std::string root_;
  TempDir directory_ = TempDir::make("kasane-migration").take();
  Sha256Digest image_;

  static constexpr char kTag[] = "docker.io/library/app:1";
  static constexpr char kScope[] = "/ctx|Dockerfile|stage=0|step=1";

  static void execute(sqlite3* database, const std::string& sql) {
    char* message = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK)
        << sql << ": " << (message ? message : "");
    sqlite3_free(message);
  }

  int64_t number(const std::string& sql) {
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open((root_ + "/kasane.db").c_str(), &database), SQLITE_OK);
    sqlite3_stmt* statement = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(database, sql.c_str(), -1, &statement, nullptr), SQLITE_OK) << sql;
    EXPECT_EQ(sqlite3_step(statement), SQLITE_ROW);
    int64_t out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return out;
  }

  // A store with an image, a tag and three steps, whose database is of version 1.
  void make_version_1() {
    {
      std::unique_ptr<Store> store = open_store(root_);
      LayerPtr layer = make_layer(*store, "x");
      ImageRecord record = image_of({layer});
      record.tags = {kTag};
      image_ = value(store->put_image(record));
      for (const char* key : {"old", "new"})
        ASSERT_OK(store->put_step(step_of(key, layer, kScope)));
      ASSERT_OK(store->put_step(step_of("shortcut", layer, "")));
    }
    sqlite3* database = nullptr;
    const std::string fresh = root_ + "/old.db", file = root_ + "/kasane.db";
    ASSERT_EQ(sqlite3_open(fresh.c_str(), &database), SQLITE_OK);
    execute(database, "PRAGMA journal_mode = WAL");
    execute(database, kVersion1);
    execute(database, "ATTACH '" + file + "' AS now");
    for (const std::string table :
         {"layers", "images", "image_layers", "image_blobs", "tags", "digests", "steps"})
      execute(database, "INSERT INTO main." + table + " SELECT * FROM now." + table);
    execute(database, "PRAGMA user_version = 1");
    sqlite3_close(database);
    ASSERT_EQ(::rename(fresh.c_str(), file.c_str()), 0);
  }
};

TEST_F(Migration, ReadingChangesNothing) {
  make_version_1();
  std::unique_ptr<Store> store = open_store(root_, true);
  EXPECT_EQ(value(store->find_tag(kTag)), image_);
  ASSERT_EQ(value(store->list_images()).size(), 1u);
  EXPECT_EQ(value(store->image_row(image_)).tags, std::vector<std::string>{kTag});
  EXPECT_TRUE(value(store->platforms_of(kTag)).empty());
  EXPECT_TRUE(value(store->find_step(sha256("old"))).has_value());
  EXPECT_OK(store->last_step_of(kScope));
  EXPECT_TRUE(value(store->check({})).damaged.empty());
  EXPECT_EQ(number("PRAGMA user_version"), 1);
  EXPECT_EQ(number("SELECT count(*) FROM sqlite_master WHERE name = 'step_scopes'"), 0);
}

TEST_F(Migration, TheFirstWriteBringsItUpToDate) {
  make_version_1();
  std::unique_ptr<Store> store = open_store(root_);
  EXPECT_EQ(value(store->list_images()).size(), 1u);
  EXPECT_EQ(number("PRAGMA user_version"), 1);
  ASSERT_OK(store->tag(image_, "docker.io/library/other:1"));
  EXPECT_EQ(number("PRAGMA user_version"), Database::kSchemaVersion);
  EXPECT_EQ(value(store->find_tag(kTag)), image_);
  EXPECT_EQ(value(store->image_row(image_)).tags.size(), 2u);
  EXPECT_EQ(value(store->last_step_of(kScope))->key, sha256("new"));
  EXPECT_EQ(number("SELECT count(*) FROM step_scopes"), 1);
  EXPECT_EQ(number("SELECT suffix = 'Dockerfile|stage=0|step=1' FROM step_scopes"), 1);
  EXPECT_TRUE(value(store->check({})).damaged.empty());
  EXPECT_EQ(value(open_store(root_)->list_images()).size(), 1u);
}

TEST_F(Migration, LookingForAnEarlierRunMigrates) {
  make_version_1();
  std::unique_ptr<Store> store = open_store(root_);
  EXPECT_EQ(value(store->last_step_of(kScope))->key, sha256("new"));
}

TEST_F(Migration, UsesAloneMigrate) {
  make_version_1();
  {
    std::unique_ptr<Store> store = open_store(root_);
    EXPECT_TRUE(value(store->find_step(sha256("old"))).has_value());
  }
  EXPECT_EQ(number("PRAGMA user_version"), Database::kSchemaVersion);
  EXPECT_EQ(value(open_store(root_)->last_step_of(kScope))->key, sha256("old"));
}

// Both opened the old one; the first to write changes it under the other's eyes.
TEST_F(Migration, TwoStoresAtOnce) {
  make_version_1();
  std::unique_ptr<Store> a = open_store(root_), b = open_store(root_);
  EXPECT_EQ(value(a->list_images()).size(), 1u);
  EXPECT_EQ(value(b->list_images()).size(), 1u);
  ASSERT_OK(a->tag_platforms(kTag, {{"linux/amd64", image_}}));
  EXPECT_EQ(value(b->list_images()).size(), 1u);
  ASSERT_OK(b->tag(image_, "docker.io/library/b:1"));
  EXPECT_EQ(value(b->platforms_of(kTag)).size(), 1u);
  EXPECT_TRUE(value(b->check({})).damaged.empty());
}

TEST_F(Migration, ManyProcessesAtOnce) {
  make_version_1();
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i)
    children.push_back(testing::spawn([&] {
      std::unique_ptr<Store> store = open_store(root_);
      std::string tag = "docker.io/library/p:" + std::to_string(i);
      return store->tag(image_, tag) ? 0 : 1;
    }));
  for (pid_t child : children) EXPECT_EQ(testing::wait_for(child), 0);
  std::unique_ptr<Store> store = open_store(root_);
  EXPECT_EQ(value(store->image_row(image_)).tags.size(), 7u);
  EXPECT_TRUE(value(store->check({})).damaged.empty());
}

TEST_F(Migration, ANewerOneIsRefused) {
  make_version_1();
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open((root_ + "/kasane.db").c_str(), &database), SQLITE_OK);
  execute(database, "PRAGMA user_version = " + std::to_string(Database::kSchemaVersion + 1));
  sqlite3_close(database);
  OpenOptions options;
  options.root = root_;
  EXPECT_EQ(Store::open(options).error().kind(), ErrorKind::kUnsupported);
}

}  // namespace
}  // namespace kasane::store
