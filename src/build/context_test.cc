#include "build/context.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

namespace kasane::build {
namespace {

class ContextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<TempDir> made = TempDir::make();
    ASSERT_TRUE(made.has_value());
    directory_.emplace(std::move(*made));
  }
  void write(const std::string& path, std::string_view content) {
    std::string whole = directory_->path() + "/" + path;
    ASSERT_TRUE(make_directories(whole.substr(0, whole.rfind('/'))).has_value());
    ASSERT_TRUE(replace_file(whole, content).has_value());
  }
  void link(const std::string& target, const std::string& path) {
    ASSERT_EQ(::symlink(target.c_str(), (directory_->path() + "/" + path).c_str()), 0);
  }
  std::unique_ptr<ContextTree> open(const std::string& ignore = "") {
    auto matcher = dockerfile::IgnoreMatcher::parse(
        std::make_shared<SourceText>(".dockerignore", ignore));
    auto tree = ContextTree::open(directory_->path(), std::move(*matcher), ".dockerignore", "");
    return std::move(*tree);
  }
  static std::vector<std::string> names(ContextTree& tree, std::string_view directory) {
    std::vector<std::string> found;
    Result<std::vector<SourcePtr>> children = tree.children(directory);
    for (const SourcePtr& child : *children)
      found.emplace_back(base_name(child->entry.path));
    return found;
  }
  std::optional<TempDir> directory_;
};

using Names = std::vector<std::string>;

TEST_F(ContextTest, ListsSortedAndHidesWhatIsIgnored) {
  write("b", "1");
  write("a.txt", "2");
  write("node_modules/x/y", "3");
  write("keep/z", "4");
  auto tree = open("node_modules\n*.txt\n");
  EXPECT_EQ(names(*tree, ""), (Names{"b", "keep"}));
  EXPECT_EQ(*tree->lookup("node_modules/x/y"), nullptr);
  EXPECT_NE(tree->why_absent("a.txt").find("line 2 of .dockerignore"), std::string::npos);
  EXPECT_EQ(tree->why_absent("nothing"), "");
}

TEST_F(ContextTest, AnExcludedDirectoryShowsForWhatIsReincludedBelow) {
  write("src/a.c", "1");
  write("src/a.o", "2");
  write("doc/x", "3");
  auto tree = open("*\n!src/*.c\n");
  EXPECT_EQ(names(*tree, ""), (Names{"src"}));
  EXPECT_EQ(names(*tree, "src"), (Names{"a.c"}));
  EXPECT_EQ(*tree->lookup("doc"), nullptr);
}

TEST_F(ContextTest, SymlinksStayInside) {
  write("real/file", "x");
  link("/real", "absolute");
  link("../../../etc", "outside");
  link("loop", "loop");
  auto tree = open();
  EXPECT_EQ(**resolve_in(*tree, "absolute/file"), "real/file");
  EXPECT_FALSE(resolve_in(*tree, "outside/passwd")->has_value());
  EXPECT_FALSE(resolve_in(*tree, "loop").has_value());
}

TEST_F(ContextTest, DigestIsOfTheContentAndIsKept) {
  write("f", "hello");
  auto tree = open();
  SourcePtr entry = *tree->lookup("f");
  EXPECT_EQ(*tree->digest(*entry), sha256("hello"));
  EXPECT_TRUE((*tree->lookup("f"))->content.has_value());
}

TEST_F(ContextTest, AFileThatChangesAfterTheWalkIsRefused) {
  write("f", "hello");
  auto tree = open();
  SourcePtr entry = *tree->lookup("f");
  write("f", "other");
  Result<Sha256Digest> digest = tree->digest(*entry);
  ASSERT_FALSE(digest.has_value());
  EXPECT_EQ(digest.error().kind(), ErrorKind::kConflict);
}

TEST_F(ContextTest, OwnersAreRootWhoeverOwnsTheFiles) {
  write("f", "x");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown((directory_->path() + "/f").c_str(), 1234, 1234), 0);
  }
  auto tree = open();
  SourcePtr entry = *tree->lookup("f");
  EXPECT_EQ(entry->entry.uid, 0u);
  EXPECT_EQ(entry->entry.gid, 0u);
}

TEST_F(ContextTest, FingerprintSeesEveryChangeAndOnlyWhatIsNotIgnored) {
  write("src/a", "1");
  write("src/deep/b", "2");
  write("tmp/x", "3");
  auto print = [&](const std::string& path) {
    auto tree = open("tmp\n");
    auto fingerprint = tree->fingerprint(path);
    return fingerprint->has_value() ? (*fingerprint)->digest.hex() : "none";
  };
  const std::string before = print("src");
  EXPECT_EQ(print("src"), before);
  write("tmp/x", "changed");
  EXPECT_EQ(print("src"), before);
  std::set<std::string> seen{before};
  auto expect_new = [&](const char* what) { EXPECT_TRUE(seen.insert(print("src")).second) << what; };
  write("src/deep/b", "other");
  expect_new("content");
  ASSERT_EQ(::chmod((directory_->path() + "/src/a").c_str(), 0600), 0);
  expect_new("mode");
  write("src/deep/new", "");
  expect_new("new file");
  ASSERT_EQ(::unlink((directory_->path() + "/src/deep/new").c_str()), 0);
  expect_new("removed file");
  link("src", "alias");
  EXPECT_EQ(print("alias"), "none");
  EXPECT_EQ(print("alias/deep"), "none");
  EXPECT_EQ(print("absent"), "none");
}

TEST_F(ContextTest, AFingerprintOfAFreshChangeMayNotBeKept) {
  write("f", "x");
  auto tree = open();
  EXPECT_FALSE((*tree->fingerprint(""))->settled);
}

}  // namespace
}  // namespace kasane::build
