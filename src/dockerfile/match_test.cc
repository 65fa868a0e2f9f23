#include "dockerfile/match.h"

#include <gtest/gtest.h>

#include <chrono>

namespace kasane::dockerfile {
namespace {

TEST(Match, GoSemantics) {
  struct Case {
    const char* pattern;
    const char* name;
    bool expected;
  };
  const Case kCases[] = {{"abc", "abc", true},
                         {"*", "abc", true},
                         {"*c", "abc", true},
                         {"a*", "a", true},
                         {"a*", "ab/c", false},
                         {"a*/b", "abc/b", true},
                         {"a*/b", "a/c/b", false},
                         {"a*b*c*d*e*/f", "axbxcxdxe/f", true},
                         {"a*b*c*d*e*/f", "axbxcxdxe/xxx/f", false},
                         {"a*b?c*x", "abxbbxdbxebxczzx", true},
                         {"a*b?c*x", "abxbbxdbxebxczzy", false},
                         {"ab[c]", "abc", true},
                         {"ab[b-d]", "abc", true},
                         {"ab[e-g]", "abc", false},
                         {"ab[^c]", "abc", false},
                         {"ab[^e-g]", "abc", true},
                         {"a\\*b", "a*b", true},
                         {"a\\*b", "ab", false},
                         {"a?b",
                          "a\xe2\x98\xba"
                          "b",
                          true},
                         {"a[^a]b",
                          "a\xe2\x98\xba"
                          "b",
                          true},
                         {"a???b",
                          "a\xe2\x98\xba"
                          "b",
                          false},
                         {"[a-\xce\xb6]*", "\xce\xb1", true},
                         {"a?b", "a/b", false},
                         {"[\\]a]", "]", true},
                         {"[\\-]", "-", true},
                         {"[x\\-]", "-", true},
                         {"[!a]", "!", true},
                         {"[!a]", "b", false},
                         {"*", ".hidden", true},
                         {"**/*.txt", "a/x.txt", true},
                         {"**/*.txt", "r.txt", false},
                         {"**/*.txt", "a/b/y.txt", false},
                         {"{a,b}", "a", false},
                         {"", "", true},
                         {"*", "", true},
                         {"", "a", false}};
  for (const Case& one : kCases) {
    auto result = match_path(one.pattern, one.name);
    ASSERT_TRUE(result) << one.pattern;
    EXPECT_EQ(*result, one.expected) << one.pattern << " on " << one.name;
  }
}

TEST(Match, BadPatterns) {
  for (const char* pattern :
       {"[", "[^", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "a[", "\\", "[a", "a*[", "[\\"}) {
    auto result = match_path(pattern, "zzz");
    ASSERT_FALSE(result) << pattern;
    EXPECT_EQ(result.error().message(), "syntax error in pattern");
  }
}

TEST(Match, WildcardsAndEscapes) {
  EXPECT_TRUE(has_wildcards("a*"));
  EXPECT_TRUE(has_wildcards("[a]"));
  EXPECT_FALSE(has_wildcards("a\\*b\\"));
  EXPECT_EQ(unescape_pattern("a\\*b\\\\"), "a*b\\");
}

TEST(Match, HostilePatternsStayQuick) {
  auto start = std::chrono::steady_clock::now();
  std::string pattern;
  for (int i = 0; i < 2000; ++i) pattern += "*a";
  EXPECT_FALSE(*match_path(pattern + "b", std::string(4000, 'a')));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
}

}  // namespace
}  // namespace kasane::dockerfile
