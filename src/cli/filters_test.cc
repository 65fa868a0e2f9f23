#include "cli/filters.h"

#include <gtest/gtest.h>

namespace kasane::cli {
namespace {

TEST(PathMatch, Table) {
  struct Case {
    const char* pattern;
    const char* name;
    int result;  // 2: error
  };
  const Case cases[] = {
      {"abc", "abc", 1},
      {"*", "abc", 1},
      {"*c", "abc", 1},
      {"a*", "a", 1},
      {"a*", "abc", 1},
      {"a*", "ab/c", 0},
      {"a*/b", "abc/b", 1},
      {"a*/b", "a/c/b", 0},
      {"a*b?c*x", "abxbbxdbxebxczzx", 1},
      {"a*b?c*x", "abxbbxdbxebxczzy", 0},
      {"ab[c]", "abc", 1},
      {"ab[b-d]", "abc", 1},
      {"ab[e-g]", "abc", 0},
      {"ab[^c]", "abc", 0},
      {"ab[^e-g]", "abc", 1},
      {"a\\*b", "a*b", 1},
      {"a\\*b", "ab", 0},
      {"a?b", "a☺b", 1},
      {"a[^a]b", "a☺b", 1},
      {"[a-ζ]*", "α", 1},
      {"a?b", "a/b", 0},
      {"a*b", "a/b", 0},
      {"[\\]a]", "]", 1},
      {"[\\-x]", "-", 1},
      {"[x\\-]", "x", 1},
      {"[]a]", "]", 2},
      {"[-]", "-", 2},
      {"[x-]", "x", 2},
      {"[a-b-c]", "a", 2},
      {"[", "a", 2},
      {"[^", "a", 2},
      {"[^bc", "a", 2},
      {"a[", "ab", 2},
      {"*x", "xxx", 1},
      {"", "", 1},
      {"", "x", 0},
      {"*", "a/b", 0},
      {"a\\", "a", 2},
  };
  for (const Case& c : cases) {
    auto result = path_match(c.pattern, c.name);
    if (c.result == 2)
      EXPECT_FALSE(result) << c.pattern;
    else
      EXPECT_TRUE(result && *result == (c.result == 1)) << c.pattern << " " << c.name;
  }
}

TEST(Filters, ReferencesMatchInFamiliarForm) {
  const std::string alpine = "docker.io/library/alpine:3.18";
  EXPECT_TRUE(*reference_matches("alpine", alpine));
  EXPECT_TRUE(*reference_matches("alpine:3.*", alpine));
  EXPECT_TRUE(*reference_matches("alp*", alpine));
  EXPECT_FALSE(*reference_matches("alpine:3", alpine));
  EXPECT_FALSE(*reference_matches("docker.io/library/alpine", alpine));
  const std::string other = "reg.example.com:5000/a/b:1";
  EXPECT_TRUE(*reference_matches("reg.example.com:5000/a/b", other));
  EXPECT_FALSE(*reference_matches("reg*", other));
  EXPECT_TRUE(*reference_matches("*/*/*", other));
}

TEST(Filters, Parsing) {
  auto filters = Filters::parse({"label=a=b", " Label = c ", "label!=x", "dangling=T"},
                                {"label", "label!", "dangling"});
  ASSERT_TRUE(filters);
  EXPECT_EQ(filters->values("label"), (std::vector<std::string>{"a=b", "c"}));
  EXPECT_EQ(filters->values("label!"), std::vector<std::string>{"x"});
  EXPECT_TRUE(*filters->boolean("dangling", false));
  auto bad = Filters::parse({"nope=1"}, {"label"});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message(), "invalid filter 'nope'");
  auto twice = Filters::parse({"dangling=true", "dangling=0"}, {"dangling"});
  EXPECT_FALSE(twice->boolean("dangling", false));
}

TEST(Filters, Labels) {
  const std::map<std::string, std::string> labels = {{"a", "1"}, {"b", ""}};
  auto match = [&](std::vector<std::string> words) {
    return labels_match(labels, *Filters::parse(words, {"label", "label!"}));
  };
  EXPECT_TRUE(match({}));
  EXPECT_TRUE(match({"label=a"}));
  EXPECT_TRUE(match({"label=a=1", "label=b"}));
  EXPECT_FALSE(match({"label=a=1", "label=c"}));
  EXPECT_FALSE(match({"label=a=2"}));
  EXPECT_FALSE(match({"label!=a"}));
  EXPECT_TRUE(match({"label!=a=2"}));
}

}  // namespace
}  // namespace kasane::cli
