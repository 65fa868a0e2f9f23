#include "serve/storage.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "serve/gc.h"

namespace kasane::serve {
namespace {

namespace fs = std::filesystem;
const std::string kImage = "application/vnd.oci.image.manifest.v1+json";
bool always(const std::string&, const ContentDigest*) { return true; }

class StorageTest : public ::testing::Test {
 protected:
  void SetUp() override { open(); }
  void open() {
    storage_.reset();
    auto opened = Storage::open(root(), false);
    ASSERT_TRUE(opened) << opened.error().full_message();
    storage_ = std::move(*opened);
  }
  std::string root() const { return folder_->path() + "/r"; }

  ContentDigest push_blob(const std::string& name, const std::string& bytes) {
    auto upload = storage_->start_upload(name, Algorithm::kSha256);
    EXPECT_TRUE(upload);
    MemorySource source(bytes);
    EXPECT_TRUE(upload->append(source));
    ContentDigest digest = ContentDigest::of(bytes);
    EXPECT_TRUE(*upload->finish(digest));
    return digest;
  }

  std::string manifest(const std::string& config) {
    return R"({"schemaVersion":2,"config":{"mediaType":"c","digest":")" + ContentDigest::of(config).str() +
           R"(","size":)" + std::to_string(config.size()) + R"(},"layers":[]})";
  }

  Storage::PutResult put(const std::string& name, const std::string& bytes, const std::string& tag,
                         const Storage::TagRule& rule = always) {
    auto document = ManifestDocument::parse(bytes, kImage);
    EXPECT_TRUE(document);
    auto result = storage_->put_manifest(name, ContentDigest::of(bytes), bytes, *document, {tag}, rule);
    EXPECT_TRUE(result);
    return *result;
  }

  Result<TempDir> folder_ = TempDir::make("kasane-serve");
  std::unique_ptr<Storage> storage_;
};

TEST_F(StorageTest, BlobsBelongToRepositories) {
  ContentDigest digest = push_blob("a", "bytes");
  EXPECT_EQ((*storage_->find_blob("a", digest))->size, 5u);
  EXPECT_FALSE(*storage_->find_blob("b", digest));
  EXPECT_FALSE(*storage_->mount("b", "c", digest));
  EXPECT_TRUE(*storage_->mount("b", "a", digest));
  EXPECT_TRUE(*storage_->mount("c", "", digest));
  EXPECT_TRUE(*storage_->remove_blob("a", digest));
  EXPECT_FALSE(*storage_->remove_blob("a", digest));
  EXPECT_FALSE(*storage_->find_blob("a", digest));
  EXPECT_TRUE(*storage_->find_blob("b", digest));
}

TEST_F(StorageTest, UploadsSurviveARestart) {
  std::string id;
  {
    auto upload = storage_->start_upload("a", Algorithm::kSha512);
    MemorySource source("first ");
    ASSERT_TRUE(upload->append(source));
    id = upload->id();
  }
  open();
  auto upload = storage_->resume_upload("a", id);
  ASSERT_TRUE(upload);
  EXPECT_EQ(upload->size(), 6u);
  MemorySource source("second");
  ASSERT_TRUE(upload->append(source));
  ContentDigest digest = ContentDigest::of("first second", Algorithm::kSha512);
  EXPECT_TRUE(*upload->finish(digest));
  EXPECT_EQ(*read_file(Layout(root()).blob(digest)), "first second");
  EXPECT_EQ(storage_->resume_upload("b", id).error().kind(), ErrorKind::kNotFound);
}

TEST_F(StorageTest, ChangingTheAlgorithmReadsTheFileAgain) {
  auto upload = storage_->start_upload("a", Algorithm::kSha256);
  MemorySource source("x");
  ASSERT_TRUE(upload->append(source));
  EXPECT_TRUE(*upload->finish(ContentDigest::of("x", Algorithm::kSha512)));
}

TEST_F(StorageTest, AWrongDigestEndsTheUpload) {
  auto upload = storage_->start_upload("a", Algorithm::kSha256);
  MemorySource source("x");
  ASSERT_TRUE(upload->append(source));
  EXPECT_FALSE(*upload->finish(ContentDigest::of("y")));
  EXPECT_TRUE(fs::is_empty(root() + "/repos/a/_uploads"));
  EXPECT_TRUE(fs::is_empty(root() + "/blobs"));
}

TEST_F(StorageTest, OneRequestAtATimeWorksOnAnUpload) {
  auto upload = storage_->start_upload("a", Algorithm::kSha256);
  const std::string id = upload->id();
  auto second = storage_->resume_upload("a", id);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kConflict);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    Upload given_up = std::move(*upload);
  });
  EXPECT_TRUE(storage_->resume_upload("a", id));  // waits for it
  later.join();
}

TEST_F(StorageTest, ManifestsNeedWhatTheyName) {
  const std::string document = manifest("config");
  EXPECT_EQ(put("a", document, "t").missing, ContentDigest::of("config").str());
  push_blob("b", "config");
  EXPECT_FALSE(put("a", document, "t").missing.empty());
  EXPECT_FALSE(*storage_->find_tag("a", "t"));
  push_blob("a", "config");
  EXPECT_TRUE(put("a", document, "t").missing.empty());
  EXPECT_EQ(*storage_->find_tag("a", "t"), ContentDigest::of(document));
  EXPECT_EQ((*storage_->find_manifest("a", ContentDigest::of(document)))->media_type, kImage);
  EXPECT_EQ(*storage_->repositories(), std::vector<std::string>{"a"});
}

TEST_F(StorageTest, TagRulesComeBeforeAnyChange) {
  push_blob("a", "1");
  push_blob("a", "2");
  put("a", manifest("1"), "t");
  auto fixed = [](const std::string&, const ContentDigest* now) { return now == nullptr; };
  EXPECT_EQ(put("a", manifest("2"), "t", fixed).refused_tag, "t");
  EXPECT_FALSE(*storage_->find_manifest("a", ContentDigest::of(manifest("2"))));
  EXPECT_EQ(put("a", manifest("1"), "t", fixed).refused_tag, "");
  EXPECT_EQ(*storage_->remove_manifest("a", ContentDigest::of(manifest("1")), fixed), Storage::Removal::kRefused);
  EXPECT_EQ(*storage_->remove_manifest("a", ContentDigest::of(manifest("1")), always), Storage::Removal::kDone);
  EXPECT_FALSE(*storage_->find_tag("a", "t"));
  EXPECT_EQ(*storage_->remove_tag("a", "t", always), Storage::Removal::kNotFound);
}

TEST_F(StorageTest, LeftoversOfACrashAreSweptAtStart) {
  std::ofstream(root() + "/tmp/leftover") << "x";
  open();
  EXPECT_TRUE(fs::is_empty(root() + "/tmp"));
}

TEST_F(StorageTest, OneWriter) {
  auto second = Storage::open(root(), false);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind(), ErrorKind::kConflict);
  EXPECT_TRUE(Storage::open(root(), true));
  EXPECT_FALSE(Storage::open(root() + "/nothing", true));
}

TEST_F(StorageTest, GarbageBesideAServerIsOldGarbage) {
  push_blob("a", "used");
  put("a", manifest("used"), "t");
  ContentDigest unused = push_blob("a", "unused");
  auto young = collect_garbage({.root = root()});
  ASSERT_TRUE(young) << young.error().full_message();
  EXPECT_EQ(young->removed_blobs, 0u);
  EXPECT_TRUE(*storage_->find_blob("a", unused));
  storage_.reset();
  auto old = collect_garbage({.root = root()});
  ASSERT_TRUE(old);
  EXPECT_EQ(old->removed_blobs, 1u);
  EXPECT_EQ(old->freed_bytes, 6u);
  EXPECT_EQ(old->manifests, 1u);
}

}  // namespace
}  // namespace kasane::serve
