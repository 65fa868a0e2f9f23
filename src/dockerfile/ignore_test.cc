#include "dockerfile/ignore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace kasane::dockerfile {
namespace {

using ::testing::HasSubstr;

IgnoreMatcher matcher(const std::string& text) {
  auto parsed = IgnoreMatcher::parse(std::make_shared<const SourceText>(".dockerignore", text));
  if (!parsed) {
    ADD_FAILURE() << text << ": " << parsed.error().full_message();
    return {};
  }
  return std::move(*parsed);
}

TEST(Ignore, Matching) {
  struct Case {
    const char* patterns;
    const char* path;
    bool excluded;
  };
  const Case kCases[] = {
      {"foo", "foo", true},
      {"foo", "x/foo", false},
      {"foo", "foo/a/b", true},
      {"*.go", "a.go", true},
      {"*.go", "x/a.go", false},
      {"**/*.go", "a.go", true},
      {"**/*.go", "x/y/a.go", true},
      {"**/*.go", "a.gox", false},
      {"a/**", "a", false},
      {"a/**", "a/b", true},
      {"a/**", "ab", false},
      {"a/**/b", "a/b", true},
      {"a/**/b", "a/x/y/b", true},
      {"a/**/b", "a/xb", false},
      {"**/foo", "foo", true},
      {"**/foo", "x/foo/y", true},
      {"**/foo", "xfoo", false},
      {"**foo", "xfoo", true},
      {"**", "a/b", true},
      {"a**", "abc/d", true},
      {"a**b", "a/x/b", true},
      {"a**b", "axb", false},
      {"*", "a/b", true},
      {"*/b", "a/b", true},
      {"*/b", "a/c/b", false},
      {"?", "a", true},
      {"?", "ab", false},
      {"[a-c]", "b", true},
      {"[^a-c]", "b", false},
      {"/foo", "foo", true},
      {"foo/", "foo/x", true},
      {"./foo/../bar", "bar", true},
      {"  foo  ", "foo", true},
      {"#foo", "#foo", false},
      {"\\#foo", "#foo", true},
      {" #foo", "#foo", true},
      {"a.b", "axb", false},
      {"a+b(c)", "a+b(c)", true},
      {"node_modules/", "x/node_modules", false},
      {"**/node_modules", "x/node_modules/y", true},
      {".", "a", false},
      {"/", "a", false},
      {"..", "a", false},
      {"foo\\*", "foo*", true},
      {"foo\\*", "foox", false},
      {"dir/*\n", "dir", false},
      {"dir/*\n", "dir/a/b", true},
      {"*\n!src/*.c", "src/a.c", false},
      {"*\n!src/*.c", "src/a.h", true},
      {"*\n!src/*.c", "src", true},
      {"*\n!a\na/b", "a/b", true},
      {"*\n!a\na/b", "a/c", false},
      {"**\n!**/*.md", "x/y/a.md", false},
      {"**\n!**/*.md", "x/y/a.mx", true},
      {"*.md\n!README*.md\nREADME-secret.md", "README-x.md", false},
      {"*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true},
      {"a\n! a/b", "a/b", false},
      {"\xef\xbb\xbf"
       "foo",
       "foo", true},
      {"foo\r\nbar\r\n", "foo", true},
      {"foo\r\nbar\r\n", "bar", true},
      // BuildKit's walker: `logs` was not excluded, so `!logs` was not tried on it.
      {"**/*.log\n!logs", "logs/a.log", true}};
  for (const Case& one : kCases)
    EXPECT_EQ(matcher(one.patterns).excluded(one.path), one.excluded)
        << one.patterns << " on " << one.path;
}

TEST(Ignore, ErrorsNameTheLine) {
  auto fail = [](const std::string& text) {
    auto parsed = IgnoreMatcher::parse(std::make_shared<const SourceText>("ig", text));
    return parsed ? std::string() : parsed.error().full_message();
  };
  EXPECT_EQ(fail("a\n!\n"), "ig: line 2: illegal exclusion pattern: \"!\"");
  EXPECT_EQ(fail("a\n\n[a-\n"), "ig: line 3: syntax error in pattern: \"[a-\"");
  EXPECT_THAT(fail(std::string(5000, 'a')), HasSubstr("longer than"));
  EXPECT_FALSE(IgnoreMatcher::from_patterns({"a", "!"}));
}

TEST(Ignore, DecidingLine) {
  IgnoreMatcher ignore = matcher("# x\n\n*\n!src\nsrc/tmp\n");
  EXPECT_EQ(ignore.deciding("src/tmp/a")->line, 5);
  EXPECT_EQ(ignore.deciding("src/a")->line, 4);
  EXPECT_TRUE(ignore.deciding("src/a")->negated);
  EXPECT_EQ(ignore.deciding("b")->text, "*");
  EXPECT_EQ(matcher("a").deciding("b"), nullptr);
  EXPECT_TRUE(IgnoreMatcher().empty());
  EXPECT_FALSE(IgnoreMatcher().excluded("a"));
}

TEST(Ignore, WalkerAgreesWithSingleQuestions) {
  IgnoreMatcher ignore = matcher("*\n!a\na/*/c\n!a/b/c/keep\n**/x\n!**/x/y\n");
  for (const char* dir : {"a", "b", "a/b", "a/b/c", "a/x", "x"}) {
    IgnoreVerdict parent = ignore.verdict(dir);
    for (const char* name : {"c", "keep", "x", "y", "z"}) {
      std::string path = std::string(dir) + "/" + name;
      EXPECT_EQ(ignore.child(parent, path).excluded, ignore.excluded(path)) << path;
      if (parent.excluded && !ignore.excluded(path)) {
        EXPECT_TRUE(ignore.may_include_below(parent, dir)) << path;
      }
    }
  }
}

TEST(Ignore, PrunesWhatCannotComeBack) {
  IgnoreMatcher ignore = matcher("*\n!src/app/*.c\n!doc\nnode_modules\n");
  auto below = [&](const char* dir) { return ignore.may_include_below(ignore.verdict(dir), dir); };
  EXPECT_TRUE(below("src"));
  EXPECT_TRUE(below("src/app"));
  EXPECT_FALSE(below("src/other"));
  EXPECT_FALSE(below("srcx"));
  EXPECT_FALSE(below("node_modules"));
  IgnoreMatcher any_depth = matcher("node_modules\n!**/*.md\n");
  EXPECT_TRUE(any_depth.may_include_below(any_depth.verdict("node_modules"), "node_modules"));
  IgnoreMatcher earlier = matcher("!**/*.md\nnode_modules\n");
  EXPECT_FALSE(earlier.may_include_below(earlier.verdict("node_modules"), "node_modules"));
}

TEST(Ignore, MoreThanOneWordOfPatterns) {
  std::string text = "*\n";
  for (int i = 0; i < 200; ++i) text += "!d" + std::to_string(i) + "\n";
  text += "d150/x\n";
  IgnoreMatcher ignore = matcher(text);
  EXPECT_FALSE(ignore.excluded("d199/a/b"));
  EXPECT_TRUE(ignore.excluded("d150/x/y"));
  EXPECT_TRUE(ignore.excluded("e/a"));
}

TEST(Ignore, ExcludePatterns) {
  auto ignore = IgnoreMatcher::from_patterns({"*.txt", "!keep.txt", "#x"});
  ASSERT_TRUE(ignore);
  EXPECT_TRUE(ignore->excluded("a.txt"));
  EXPECT_FALSE(ignore->excluded("e/b.txt"));
  EXPECT_FALSE(ignore->excluded("keep.txt"));
  EXPECT_TRUE(ignore->excluded("#x"));
}

TEST(Ignore, HostilePatternsStayQuick) {
  auto start = std::chrono::steady_clock::now();
  std::string stars;
  for (int i = 0; i < 500; ++i) stars += "**/a*/";
  IgnoreMatcher ignore = matcher(stars + "b\n" + std::string(2000, '*') + "x");
  std::string path;
  for (int i = 0; i < 1000; ++i) path += "aa/";
  EXPECT_FALSE(ignore.excluded(path + "c"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace kasane::dockerfile
