#include "store/store.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "oci/manifest.h"
#include "store/database.h"
#include "store/test_support.h"

namespace kasane::store {
namespace {

using namespace testing;

class StoreTest : public ::testing::Test {
 protected:
  TempDir temp_ = TempDir::make().take();
  std::string root_ = temp_.path() + "/store";
};

// ---- opening

TEST_F(StoreTest, MissingStoreIsEmptyAndIsNotCreatedByReads) {
  std::unique_ptr<Store> store = open_store(root_);
  EXPECT_TRUE(value(store->list_images()).empty());
  EXPECT_EQ(value(store->find_tag("docker.io/library/a:1")), std::nullopt);
  EXPECT_TRUE(value(store->find_by_prefix("ab")).empty());
  EXPECT_FALSE(value(store->find_step(sha256("x"))).has_value());
  EXPECT_EQ(store->image_row(sha256("x")).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(store->remove_image(sha256("x")).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(store->untag("docker.io/library/a:1").error().full_message(), "No such image: a:1");
  EXPECT_EQ(value(store->sweep()), 0u);
  EXPECT_EQ(value(store->prune_steps({})), 0u);
  EXPECT_TRUE(value(store->check({})).damaged.empty());
  EXPECT_OK(store->hold());
  EXPECT_FALSE(exists(root_));
}

TEST_F(StoreTest, CreatesPrivateDirectories) {
  std::unique_ptr<Store> store = open_store(root_ + "/deep/er");
  ASSERT_OK(store->put_blob("x"));
  struct stat st;
  ASSERT_EQ(::stat((root_ + "/deep/er").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0700u);
}

TEST_F(StoreTest, SeesAStoreThatAnotherCreatesLater) {
  std::unique_ptr<Store> early = open_store(root_);
  EXPECT_TRUE(value(early->list_images()).empty());
  std::unique_ptr<Store> writer = open_store(root_);
  ASSERT_OK(writer->put_image(image_of({})));
  EXPECT_EQ(value(early->list_images()).size(), 1u);
}

TEST_F(StoreTest, RefusesForeignDirectories) {
  auto refusal = [&] {
    OpenOptions options;
    options.root = root_;
    Result<std::unique_ptr<Store>> store = Store::open(options);
    return store ? std::string("opened") : store.error().full_message();
  };
  ASSERT_OK(make_directories(root_, 0755));
  EXPECT_EQ(refusal(), "opened");  // empty
  ASSERT_OK(replace_file(root_ + "/precious", "data"));
  EXPECT_NE(refusal().find("is not a kasane store: it holds \"precious\""), std::string::npos);
  ::unlink((root_ + "/precious").c_str());
  ASSERT_OK(open_store(root_)->put_blob("x"));
  ::chmod(root_.c_str(), 0770);
  EXPECT_NE(refusal().find("may be written by other users"), std::string::npos);
  ::chmod(root_.c_str(), 0700);
  EXPECT_EQ(refusal(), "opened");
  std::string real = root_ + ".real";
  ASSERT_EQ(::rename(root_.c_str(), real.c_str()), 0);
  ASSERT_EQ(::symlink(real.c_str(), root_.c_str()), 0);
  EXPECT_NE(refusal().find("is a symbolic link"), std::string::npos);
  ::unlink(root_.c_str());
  ASSERT_OK(replace_file(root_, "a file"));
  EXPECT_NE(refusal().find("is not a directory"), std::string::npos);
}

TEST_F(StoreTest, RefusesAStoreOfSomebodyElse) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give a directory away";
  ASSERT_OK(open_store(root_)->put_blob("x"));
  ASSERT_EQ(::chown(root_.c_str(), 12345, 12345), 0);
  OpenOptions options;
  options.root = root_;
  Result<std::unique_ptr<Store>> store = Store::open(options);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().kind(), ErrorKind::kPermission);
  EXPECT_NE(store.error().full_message().find("belongs to uid 12345, but kasane runs as"),
            std::string::npos)
      << store.error().full_message();
  EXPECT_NE(store.error().hint_text().find("--root"), std::string::npos);
}

TEST_F(StoreTest, RefusesANewerSchema) {
  ASSERT_OK(open_store(root_)->put_blob("x"));
  {
    std::unique_ptr<Database> database = value(Database::open(root_ + "/kasane.db", false));
    ASSERT_OK(database->query("PRAGMA user_version = 99")->run());
  }
  OpenOptions options;
  options.root = root_;
  Result<std::unique_ptr<Store>> store = Store::open(options);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().kind(), ErrorKind::kUnsupported);
  EXPECT_NE(store.error().full_message().find("newer kasane"), std::string::npos);
}

TEST_F(StoreTest, DamagedOrLostDatabaseIsReported) {
  ASSERT_OK(open_store(root_)->put_blob("x"));
  OpenOptions options;
  options.root = root_;
  ASSERT_OK(replace_file(root_ + "/kasane.db", std::string(8192, 'x')));
  Result<std::unique_ptr<Store>> store = Store::open(options);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().kind(), ErrorKind::kCorrupt);
  EXPECT_FALSE(store.error().hint_text().empty());
  // Content without a database is never taken for a new store.
  for (bool empty : {true, false}) {
    ::unlink((root_ + "/kasane.db").c_str());
    if (empty) ASSERT_OK(replace_file(root_ + "/kasane.db", ""));
    store = Store::open(options);
    ASSERT_FALSE(store);
    EXPECT_EQ(store.error().kind(), ErrorKind::kCorrupt);
    EXPECT_NE(store.error().hint_text().find("store repair"), std::string::npos);
  }
}

TEST_F(StoreTest, ReadOnly) {
  Sha256Digest image;
  {
    std::unique_ptr<Store> store = open_store(root_);
    image = value(store->put_image(image_of({make_layer(*store, "x")})));
  }
  std::unique_ptr<Store> store = open_store(root_, true);
  EXPECT_EQ(value(store->list_images()).size(), 1u);
  EXPECT_EQ(store->put_blob("y").error().kind(), ErrorKind::kPermission);
  EXPECT_EQ(store->tag(image, "docker.io/library/a:1").error().kind(), ErrorKind::kPermission);
  EXPECT_EQ(store->remove_image(image).error().kind(), ErrorKind::kPermission);
}

TEST_F(StoreTest, ReadOnlyFileSystem) {
  {
    std::unique_ptr<Store> store = open_store(root_);
    value(store->put_image(image_of({make_layer(*store, "x")})));
  }
  pid_t child = spawn([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
      return 77;
    if (::mount(root_.c_str(), root_.c_str(), nullptr, MS_BIND, nullptr) != 0) return 77;
    if (::mount("", root_.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) != 0)
      return 77;
    for (bool read_only : {true, false}) {
      std::unique_ptr<Store> store = open_store(root_, read_only);
      if (!store || value(store->list_images()).size() != 1) return 1;
      if (!store->hold()) return 2;
      if (!value(store->check({})).damaged.empty()) return 3;
      Result<Sha256Digest> blob = store->put_blob("y");
      if (blob || blob.error().kind() != ErrorKind::kPermission) return 4;
    }
    return 0;
  });
  int status = wait_for(child);
  if (status == 77) GTEST_SKIP() << "cannot mount here";
  EXPECT_EQ(status, 0);
}

TEST_F(StoreTest, DefaultRoot) {
  EXPECT_EQ(default_root("/x"), "/x");
  ::setenv("KASANE_ROOT", "/y", 1);
  EXPECT_EQ(default_root(""), "/y");
  ::unsetenv("KASANE_ROOT");
  if (::geteuid() == 0) {
    EXPECT_EQ(default_root(""), "/var/lib/kasane");
  }
}

// ---- blobs

TEST_F(StoreTest, Blobs) {
  std::unique_ptr<Store> store = open_store(root_);
  Sha256Digest digest = value(store->put_blob("hello"));
  EXPECT_EQ(digest, sha256("hello"));
  EXPECT_EQ(value(store->read_blob(digest)), "hello");
  EXPECT_TRUE(store->has_blob(digest));
  EXPECT_FALSE(store->has_blob(sha256("other")));
  EXPECT_EQ(store->read_blob(sha256("other")).error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(store->read_blob(digest, 4).error().kind(), ErrorKind::kLimit);
  EXPECT_OK(store->put_blob(""));
  std::string file = root_ + "/blobs/sha256/" + digest.hex();
  for (const char* damage : {"", "jello"}) {
    ASSERT_OK(replace_file(file, damage));
    EXPECT_EQ(store->read_blob(digest).error().kind(), ErrorKind::kCorrupt);
    ASSERT_OK(store->put_blob("hello"));  // repaired by the next write (R7)
    EXPECT_EQ(value(store->read_blob(digest)), "hello");
  }
}

// ---- images and tags

TEST_F(StoreTest, ImagesAndTags) {
  std::unique_ptr<Store> store = open_store(root_);
  LayerPtr a = make_layer(*store, "aaa"), b = make_layer(*store, "bbbb");
  Sha256Digest old_image = value(store->put_image(image_of({a}, "old", "2020-01-01T00:00:00Z")));
  Sha256Digest image = value(store->put_image(image_of({a, b, a}, "new")));
  EXPECT_EQ(value(store->put_image(image_of({a, b, a}, "new"))), image);
  ASSERT_OK(store->tag(image, "docker.io/library/z:2"));
  ASSERT_OK(store->tag(image, "docker.io/library/a:1"));
  std::string by_digest = "docker.io/library/a@" + sha256("m").str();
  ASSERT_OK(store->tag(image, by_digest));
  ASSERT_OK(store->tag(old_image, "docker.io/library/old:1"));

  std::vector<ImageRow> rows = value(store->list_images());
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].id, image);
  EXPECT_EQ(rows[0].size_bytes, 10u);
  EXPECT_EQ(rows[0].created_ns, 1'704'164'645'000'000'000);
  EXPECT_EQ(rows[0].architecture, "amd64");
  EXPECT_EQ(rows[0].os, "linux");
  EXPECT_EQ(rows[0].labels, (std::map<std::string, std::string>{{"note", "new"}, {"empty", ""}}));
  EXPECT_EQ(rows[0].tags,
            (std::vector<std::string>{"docker.io/library/a:1", "docker.io/library/z:2"}));
  EXPECT_EQ(rows[0].digests, std::vector<std::string>{by_digest});
  EXPECT_GT(rows[0].last_tagged_ns, 0);
  EXPECT_EQ(value(store->image_row(image)).tags, rows[0].tags);
  EXPECT_EQ(value(store->image_layers(image)),
            (std::vector{a->diff_id(), b->diff_id(), a->diff_id()}));
  EXPECT_EQ(value(store->image_config(image)), image_of({a, b, a}, "new").config_json);
  EXPECT_EQ(value(store->image_manifest(image)), std::nullopt);
  EXPECT_EQ(value(store->layer_sizes({b->diff_id(), a->diff_id()})), (std::vector<uint64_t>{4, 3}));
  EXPECT_EQ(store->layer_sizes({sha256("x")}).error().kind(), ErrorKind::kNotFound);

  EXPECT_EQ(value(store->find_tag("docker.io/library/a:1")), image);
  EXPECT_EQ(value(store->find_tag(by_digest)), image);
  ASSERT_OK(store->tag(old_image, "docker.io/library/a:1"));  // moves
  EXPECT_EQ(value(store->find_tag("docker.io/library/a:1")), old_image);
  EXPECT_TRUE(value(store->untag("docker.io/library/z:2")));
  EXPECT_TRUE(value(store->untag(by_digest)));
  EXPECT_FALSE(value(store->untag("docker.io/library/a:1")));
  EXPECT_EQ(store->untag("docker.io/library/a:1").error().kind(), ErrorKind::kNotFound);
  EXPECT_EQ(store->tag(sha256("no"), "docker.io/library/a:1").error().kind(), ErrorKind::kNotFound);
  for (const char* bad : {"a:1", "docker.io/library/a", "docker.io/library/A:1", ""})
    EXPECT_FALSE(store->tag(image, bad)) << bad;
}

TEST_F(StoreTest, PrefixLookup) {
  std::unique_ptr<Store> store = open_store(root_);
  std::vector<Sha256Digest> ids;
  for (int i = 0; i < 40; ++i)
    ids.push_back(value(store->put_image(image_of({}, std::to_string(i)))));
  for (size_t length : {1, 2, 3, 12, 63, 64}) {
    std::string prefix = ids[0].hex().substr(0, length);
    size_t expected = 0;
    for (const Sha256Digest& id : ids) expected += id.hex().starts_with(prefix);
    EXPECT_EQ(value(store->find_by_prefix(prefix, 100)).size(), expected) << prefix;
  }
  EXPECT_EQ(value(store->find_by_prefix("", 7)).size(), 7u);
  EXPECT_TRUE(value(store->find_by_prefix("xyz")).empty());
  EXPECT_TRUE(value(store->find_by_prefix(std::string(65, '0'))).empty());
}

TEST_F(StoreTest, PutImageRefusesWhatDoesNotFit) {
  std::unique_ptr<Store> store = open_store(root_);
  LayerPtr layer = make_layer(*store, "x");
  ImageRecord image = image_of({layer});
  image.diff_ids.clear();
  EXPECT_EQ(store->put_image(image).error().kind(), ErrorKind::kInvalid);
  image = image_of({layer});
  image.config_json = "{}";
  EXPECT_EQ(store->put_image(image).error().kind(), ErrorKind::kInvalid);
  image = image_of({layer});
  image.manifest_json = "{}";
  EXPECT_EQ(store->put_image(image).error().kind(), ErrorKind::kInvalid);
  oci::ImageConfig config;
  config.diff_ids = {sha256("absent")};
  EXPECT_EQ(store->put_image({config.serialize(), config.diff_ids, "", "", {}}).error().kind(),
            ErrorKind::kNotFound);
  EXPECT_TRUE(value(store->list_images()).empty());
}

TEST_F(StoreTest, ManifestsAreKept) {
  std::unique_ptr<Store> store = open_store(root_);
  ImageRecord image = image_of({make_layer(*store, "x")});
  Sha256Digest id = value(store->put_image(image));
  oci::Manifest manifest;
  manifest.media_type = oci::kMediaTypeManifest;
  manifest.config = {std::string(oci::kMediaTypeConfig), id.str(), 1, {}, {}, {}};
  manifest.layers = {{std::string(oci::kMediaTypeLayerGzip), sha256("z").str(), 3, {}, {}, {}}};
  image.manifest_json = manifest.serialize();
  image.manifest_media_type = oci::kMediaTypeManifest;
  EXPECT_EQ(value(store->put_image(image)), id);  // adds the manifest to the known image
  EXPECT_EQ(value(store->image_manifest(id)), image.manifest_json);
  EXPECT_TRUE(value(store->check({})).damaged.empty());
  manifest.config.digest = sha256("other").str();
  image.manifest_json = manifest.serialize();
  EXPECT_EQ(store->put_image(image).error().kind(), ErrorKind::kInvalid);
}

TEST_F(StoreTest, ImageAndTagsInOneStep) {
  std::unique_ptr<Store> store = open_store(root_);
  ImageRecord image = image_of({make_layer(*store, "x")});
  image.tags = {"docker.io/library/a:1", "docker.io/library/a:2"};
  Sha256Digest id = value(store->put_image(image));
  EXPECT_EQ(value(store->image_row(id)).tags, image.tags);
  image.tags = {"docker.io/library/a:3"};
  ASSERT_OK(store->put_image(image));
  EXPECT_EQ(value(store->image_row(id)).tags.size(), 3u);
  EXPECT_FALSE(value(store->remove_image(id, true)).deleted);
  EXPECT_EQ(value(store->image_row(id)).tags.size(), 3u);
  image = image_of({}, "other");
  image.tags = {"a"};
  EXPECT_FALSE(store->put_image(image));
  EXPECT_EQ(value(store->list_images()).size(), 1u);
  Sha256Digest dangling = value(store->put_image(image_of({})));
  EXPECT_TRUE(value(store->remove_image(dangling, true)).deleted);
}

// ---- removal

TEST_F(StoreTest, RemoveImageDeletesWhatNothingElseUses) {
  std::unique_ptr<Store> store = open_store(root_);
  LayerPtr shared = make_layer(*store, "shared"), cached = make_layer(*store, "cached"),
           own = make_layer(*store, "own"), top = make_layer(*store, "top");
  Sha256Digest keep = value(store->put_image(image_of({shared}, "keep")));
  Sha256Digest image = value(store->put_image(image_of({shared, own, cached, top, own}, "go")));
  ASSERT_OK(store->put_step(step_of("k", cached)));
  ASSERT_OK(store->tag(image, "docker.io/library/b:1"));
  ASSERT_OK(store->tag(image, "docker.io/library/a:1"));
  RemovedImage removed = value(store->remove_image(image));
  EXPECT_TRUE(removed.deleted);
  EXPECT_EQ(removed.id, image);
  EXPECT_EQ(removed.untagged,
            (std::vector<std::string>{"docker.io/library/a:1", "docker.io/library/b:1"}));
  EXPECT_EQ(removed.deleted_layers, (std::vector{own->diff_id(), top->diff_id()}));
  EXPECT_EQ(removed.freed_bytes, 6u);
  EXPECT_FALSE(exists(own->directory()));
  EXPECT_TRUE(exists(shared->directory()));
  EXPECT_TRUE(exists(cached->directory()));
  EXPECT_FALSE(store->has_blob(image));
  EXPECT_TRUE(store->has_blob(keep));
  EXPECT_EQ(value(store->find_tag("docker.io/library/a:1")), std::nullopt);
  EXPECT_EQ(store->remove_image(image).error().kind(), ErrorKind::kNotFound);
  CheckReport report = value(store->check({}));
  EXPECT_TRUE(report.damaged.empty());
  EXPECT_EQ(report.leftovers, 0u);

  EXPECT_EQ(value(store->prune_steps({})), 6u);  // "cached"
  EXPECT_FALSE(exists(cached->directory()));
  EXPECT_FALSE(value(store->find_step(sha256("k"))).has_value());
  value(store->remove_image(keep));
  EXPECT_FALSE(exists(shared->directory()));
}

TEST_F(StoreTest, LayersStayWhileAnotherHoldsTheStore) {
  std::unique_ptr<Store> store = open_store(root_), builder = open_store(root_);
  LayerPtr layer = make_layer(*store, "x");
  Sha256Digest image = value(store->put_image(image_of({layer})));
  ASSERT_OK(builder->hold());
  RemovedImage removed = value(store->remove_image(image));
  EXPECT_TRUE(removed.deleted);
  EXPECT_TRUE(removed.deleted_layers.empty());
  EXPECT_TRUE(value(store->list_images()).empty());
  EXPECT_TRUE(exists(layer->directory()));
  // What the builder found can still become an image.
  ASSERT_OK(builder->put_image(image_of({layer})));
  value(store->remove_image(image));
  EXPECT_EQ(value(store->sweep()), 0u);
  builder->release();
  EXPECT_EQ(value(store->sweep()), 2u);  // layer and config
  EXPECT_FALSE(exists(layer->directory()));
}

// ---- steps

TEST_F(StoreTest, Steps) {
  std::unique_ptr<Store> store = open_store(root_);
  LayerPtr a = make_layer(*store, "a"), b = make_layer(*store, "b");
  StepRow step = step_of("k1", a, "s");
  ASSERT_OK(store->put_step(step));
  std::optional<StepRow> found = value(store->find_step(step.key));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->diff_id, a->diff_id());
  EXPECT_EQ(found->created_ns, 5);
  EXPECT_EQ(found->duration_ns, 7u);
  EXPECT_EQ(found->scope, "s");
  EXPECT_EQ(found->explanation, step.explanation);
  StepRow later = step_of("k2", b, "s");
  later.created_ns = 6;
  ASSERT_OK(store->put_step(later));
  EXPECT_EQ(value(store->last_step_of("s"))->key, later.key);
  EXPECT_FALSE(value(store->last_step_of("t")).has_value());
  step.diff_id = b->diff_id();  // the same key again
  ASSERT_OK(store->put_step(step));
  EXPECT_EQ(value(store->find_step(step.key))->diff_id, b->diff_id());
  StepRow lost = step_of("k3", a);
  lost.diff_id = sha256("absent");
  EXPECT_EQ(store->put_step(lost).error().kind(), ErrorKind::kNotFound);
}

TEST_F(StoreTest, PruneStepsByLastUse) {
  LayerPtr a, b;
  {
    std::unique_ptr<Store> store = open_store(root_);
    a = make_layer(*store, "a");
    b = make_layer(*store, "b");
    ASSERT_OK(store->put_step(step_of("old", a)));
    ASSERT_OK(store->put_step(step_of("used", b)));
    ASSERT_OK(store->database().query("UPDATE steps SET last_used_ns = 1000")->run());
    EXPECT_TRUE(value(store->find_step(sha256("used"))).has_value());
  }  // the use is written at the end
  std::unique_ptr<Store> store = open_store(root_);
  EXPECT_EQ(value(store->prune_steps({.unused_since_ns = 2000, .keep_bytes = {}})), 1u);
  EXPECT_FALSE(exists(a->directory()));
  EXPECT_TRUE(value(store->find_step(sha256("used"))).has_value());
}

// ---- ingest and sweep

TEST_F(StoreTest, IngestIsPrivateAndRemoved) {
  std::unique_ptr<Store> store = open_store(root_);
  std::string path;
  {
    Result<Store::Ingest> made = store->new_ingest();
    ASSERT_OK(made);
    Store::Ingest ingest = std::move(*made);
    path = ingest.path();
    ASSERT_OK(make_directories(path + "/a/b"));
    ASSERT_EQ(::chmod((path + "/a").c_str(), 0), 0);
    Store::Ingest moved = std::move(ingest);
    EXPECT_EQ(moved.path(), path);
    EXPECT_TRUE(ingest.path().empty());  // NOLINT(bugprone-use-after-move): on purpose
    EXPECT_EQ(value(open_store(root_)->sweep()), 0u);
    EXPECT_TRUE(exists(path));
  }
  EXPECT_FALSE(exists(path));
  EXPECT_TRUE(value(store->check({})).leftovers == 0);
}

TEST_F(StoreTest, SweepRemovesOrphansOnlyWhenAlone) {
  std::unique_ptr<Store> store = open_store(root_);
  ASSERT_OK(store->put_blob("unreferenced"));
  std::string orphan = root_ + "/layers/" + std::string(64, 'a');
  ASSERT_OK(make_directories(orphan + "/tree/x"));
  ASSERT_EQ(::chmod((orphan + "/tree/x").c_str(), 0), 0);
  ASSERT_OK(replace_file(root_ + "/trash/old", ""));
  ASSERT_OK(make_directories(root_ + "/ingest/stray"));
  EXPECT_EQ(value(store->check({})).leftovers, 4u);
  EXPECT_EQ(value(store->sweep()), 4u);
  EXPECT_FALSE(exists(orphan));
  EXPECT_EQ(value(store->check({})).leftovers, 0u);
  EXPECT_EQ(value(store->sweep()), 0u);
}

TEST_F(StoreTest, ListingFiveHundredImagesIsFast) {
  {
    std::unique_ptr<Store> store = open_store(root_);
    Database* database = nullptr;
    ASSERT_OK(store->put_blob("x"));
    database = &store->database();
    Database::Transaction transaction = std::move(*database->begin(Database::Access::kWrite));
    for (int i = 0; i < 500; ++i) {
      Sha256Digest id = sha256(std::to_string(i));
      ASSERT_OK(database->query("INSERT INTO images VALUES(?,1,2,'amd64','linux','',?,0,'')")
                    ->bind(id)
                    .bind_blob(std::string("k\0v\0l\0w\0", 8))
                    .run());
      ASSERT_OK(database->query("INSERT INTO tags VALUES(?,'r',?,0)")
                    ->bind("docker.io/library/r:" + std::to_string(i))
                    .bind(id)
                    .run());
    }
    ASSERT_OK(transaction.commit());
  }
  double best_ms = 1e9;
  for (int i = 0; i < 5; ++i) {
    auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(value(open_store(root_)->list_images()).size(), 500u);
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    best_ms = std::min(best_ms, took.count());
  }
  RecordProperty("best_ms", std::to_string(best_ms));
  std::printf("open + list of 500 images: %.2f ms\n", best_ms);
  EXPECT_LT(best_ms, 100);  // the target is 5 ms; sanitizers and a loaded machine are slower
}

TEST_F(StoreTest, ThreadsShareOneStore) {
  std::unique_ptr<Store> store = open_store(root_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        std::string name = std::to_string(t) + "-" + std::to_string(i);
        LayerPtr layer = make_layer(*store, name);
        EXPECT_OK(store->put_step(step_of(name, layer)));
        EXPECT_TRUE(value(store->find_step(sha256(name))).has_value());
        Sha256Digest image = value(store->put_image(image_of({layer}, name)));
        EXPECT_OK(store->tag(image, "docker.io/library/x:" + name));
        value(store->list_images());
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(value(store->list_images()).size(), 40u);
  EXPECT_TRUE(value(store->check({})).damaged.empty());
}

}  // namespace
}  // namespace kasane::store
