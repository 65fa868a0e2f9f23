#include <fcntl.h>
#include <gmock/gmock.h>

#include <chrono>
#include <random>

#include "store/layer_testing.h"

namespace kasane::store {
namespace {

using namespace testing;

class CanonicalBuilderTest : public ::testing::Test {
 protected:
  std::unique_ptr<CanonicalBuilder> builder(const std::string& name, bool blob = true) {
    EXPECT_TRUE(make_directories(dir_.path() + "/" + name));
    return CanonicalBuilder::create(dir_.path() + "/" + name, blob).take();
  }
  std::string path(const std::string& name) { return dir_.path() + "/" + name; }
  TempDir dir_ = temp_dir();
};

TEST_F(CanonicalBuilderTest, WritesWhatGnuTarReads) {
  auto b = builder("l");
  ASSERT_OK(b->add(dir("bin")));
  MemorySource content("#!/bin/sh\n");
  tar::Entry script = file("bin/run", 10);
  script.mode = 04755;
  script.uid = 12;
  auto digest = b->add_file(script, content, nullptr);
  ASSERT_OK(digest);
  EXPECT_EQ(*digest, sha256("#!/bin/sh\n"));
  ASSERT_OK(b->add(file("bin/zero")));
  MemorySource nothing("");
  EXPECT_EQ(b->add_file(file("bin/zero2"), nothing, nullptr).value(), sha256(""));
  ASSERT_OK(b->add(entry(tar::EntryType::kHardlink, "hard", "bin/run")));
  ASSERT_OK(b->add(entry(tar::EntryType::kHardlink, "harder", "hard")));
  ASSERT_OK(b->add(entry(tar::EntryType::kSymlink, "link", "bin/run")));
  auto summary = b->finish(true);
  ASSERT_OK(summary);
  EXPECT_TRUE(summary->canonical);
  EXPECT_EQ(summary->content_size, 10u);
  EXPECT_EQ(summary->entry_count, 7u);
  EXPECT_EQ(summary->diff_id, sha256(slurp(path("l/blob"))));
  EXPECT_EQ(shell("TZ=UTC tar --numeric-owner -tvf " + path("l/blob")),
            "drwxr-xr-x 0/0               0 2020-09-13 12:26 bin/\n"
            "-rwsr-xr-x 12/0             10 2020-09-13 12:26 bin/run\n"
            "-rw-r--r-- 0/0               0 2020-09-13 12:26 bin/zero\n"
            "-rw-r--r-- 0/0               0 2020-09-13 12:26 bin/zero2\n"
            "hrw-r--r-- 0/0               0 2020-09-13 12:26 hard link to bin/run\n"
            "hrw-r--r-- 0/0               0 2020-09-13 12:26 harder link to bin/run\n"
            "lrw-r--r-- 0/0               0 2020-09-13 12:26 link -> bin/run\n");
}

TEST_F(CanonicalBuilderTest, HashingAloneGivesTheSameLayer) {
  std::mt19937 random(3);
  std::vector<std::string> contents;
  for (size_t size : {1ul, 511ul, 512ul, 513ul, 1048575ul, 1048576ul, 5'000'001ul}) {
    std::string text(size, '\0');
    for (char& c : text) c = static_cast<char>(random());
    contents.push_back(std::move(text));
  }
  LayerSummary summaries[2];
  for (bool blob : {false, true}) {
    auto b = builder(blob ? "with" : "without", blob);
    for (size_t i = 0; i < contents.size(); ++i) {
      MemorySource source(contents[i]);
      const Sha256Digest known = sha256(contents[i]);
      auto added = b->add_file(file("f" + std::to_string(i), contents[i].size()), source,
                               blob ? &known : nullptr);
      ASSERT_OK(added);
      EXPECT_EQ(*added, known);
    }
    auto summary = b->finish(false);
    ASSERT_OK(summary);
    summaries[blob] = *summary;
  }
  EXPECT_EQ(summaries[0].diff_id, summaries[1].diff_id);
  EXPECT_EQ(summaries[1].diff_id, sha256(slurp(path("with/blob"))));
  EXPECT_EQ(slurp(path("with/index")), slurp(path("without/index")));
  LayerPtr layer = open_directory(path("with")).take();
  for (size_t i = 0; i < contents.size(); ++i)
    EXPECT_TRUE(read_all(*layer->open_content(i).take()).value() == contents[i]);
}

TEST_F(CanonicalBuilderTest, NoticesFilesThatChange) {
  for (const char* text : {"four", "sixsix"}) {
    auto b = builder(text);
    MemorySource content(text);
    auto added = b->add_file(file("f", 5), content, nullptr);
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().kind(), ErrorKind::kConflict);
  }
}

TEST_F(CanonicalBuilderTest, RefusesWhatIsNotALayer) {
  EXPECT_FALSE(builder("a")->add(file("f", 5)));  // without content
  auto b = builder("b");
  ASSERT_OK(b->add(file("x")));
  EXPECT_FALSE(b->add(file("a")));  // order
  auto c = builder("c");
  ASSERT_OK(c->add(entry(tar::EntryType::kHardlink, "x", "missing")));
  EXPECT_FALSE(c->finish(false));
}

TEST_F(CanonicalBuilderTest, ReportsWriteErrors) {
  UniqueFd full = open_file("/dev/full", O_WRONLY).take();
  BlockSink sink(full.get(), "/dev/full");
  const std::string block(1 << 20, 'x');
  Result<void> written;
  for (int i = 0; i < 10 && written; ++i)
    written = sink.write({reinterpret_cast<const uint8_t*>(block.data()), block.size()});
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().kind(), ErrorKind::kNoSpace);
  EXPECT_FALSE(sink.finish());
}

// Prints what a layer of many files costs here; KASANE_BENCH=1 takes 10,000 of them.
TEST_F(CanonicalBuilderTest, ManyFiles) {
  const int count = ::getenv("KASANE_BENCH") ? 10'000 : 1'000;
  std::mt19937 random(1);
  std::string text(20'800, '\0');
  for (char& c : text) c = static_cast<char>(random());
  ASSERT_OK(make_directories(path("src")));
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    names.push_back(std::to_string(i));
    text[0] = static_cast<char>(i);
    spew(path("src/" + names.back()), text);
  }
  std::sort(names.begin(), names.end());
  const auto start = std::chrono::steady_clock::now();
  auto b = builder("l");
  for (const std::string& name : names) {
    UniqueFd fd = open_file(path("src/" + name), O_RDONLY).take();
    FdSource source(fd.get(), name);
    ASSERT_OK(b->add_file(file(name, text.size()), source, nullptr));
  }
  ASSERT_OK(b->finish(true));
  const auto written = std::chrono::steady_clock::now();
  LayerPtr layer = open_directory(path("l")).take();
  ASSERT_OK(unpack_tree(layer->index(), layer->blob_path(), layer->tree_path()));
  const auto unpacked = std::chrono::steady_clock::now();
  auto ms = [](auto d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); };
  std::cout << "write " << ms(written - start) << " ms, unpack " << ms(unpacked - written)
            << " ms\n";
}

}  // namespace
}  // namespace kasane::store
