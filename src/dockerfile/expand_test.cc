#include "dockerfile/expand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace kasane::dockerfile {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Case {
  std::string word;
  std::string expected;  // "!text": an error whose message holds the text
};

void check(const EnvironmentList& env, const std::vector<Case>& cases) {
  for (const Case& one : cases) {
    auto expanded = expand_word(one.word, env);
    if (one.expected.starts_with('!')) {
      ASSERT_FALSE(expanded) << one.word << " gives " << expanded->value;
      EXPECT_THAT(expanded.error().full_message(), HasSubstr(one.expected.substr(1))) << one.word;
    } else {
      ASSERT_TRUE(expanded) << one.word << ": " << expanded.error().full_message();
      EXPECT_EQ(expanded->value, one.expected) << one.word;
    }
  }
}

TEST(Expand, NamesAndDefaults) {
  EnvironmentList env({"a=1", "e=", "_x9=u", "\xc3\xa4=uml"});
  check(env, {{"$a", "1"},
              {"${a}b", "1b"},
              {"$_x9-", "u-"},
              {"$\xc3\xa4", "uml"},
              {"${u:-d}", "d"},
              {"${e:-d}", "d"},
              {"${e-d}", ""},
              {"${u-d}", "d"},
              {"${a:+y}", "y"},
              {"${e:+y}", ""},
              {"${e+y}", "y"},
              {"${u+y}", ""},
              {"${a:?m}", "1"},
              {"${e?m}", ""},
              {"$", "$"},
              {"a$", "a$"},
              {"${u:-${v:-\"x y\"}}", "x y"},
              {"${u:-'$a'}", "$a"},
              {"${u:?need $a}", "!u: need 1"},
              {"${u?}", "!u: is not allowed to be unset"},
              {"${e:?}", "!e: is not allowed to be empty"}});
}

TEST(Expand, Errors) {
  EnvironmentList env({"v=foo"});
  check(env, {{"${}", "!syntax error: bad substitution"},
              {"${:-x}", "!syntax error: bad substitution"},
              {"${v", "!syntax error: missing '}'"},
              {"${v:-x", "!syntax error: missing '}'"},
              {"${v:=x}", "!unsupported modifier (:=) in substitution"},
              {"${v:0:3}", "!unsupported modifier (:0) in substitution"},
              {"${v^^}", "!unsupported modifier (^) in substitution"},
              {"${#v}", "!unsupported modifier (v) in substitution"},
              {"${!v}", "!unsupported modifier (v) in substitution"},
              {"${v:#x}", "!unsupported modifier (:#) in substitution"},
              {"${v/o}", "!syntax error: missing '/' in ${}"},
              {"${v#\\x}", "!invalid pattern (\\x) in substitution: invalid escape '\\x'"},
              {"'x", "!looking for matching single-quote"},
              {"\"x", "!looking for matching double-quote"},
              {"${}", "!failed to process \"${}\": "}});
}

TEST(Expand, PatternsAndReplacement) {
  EnvironmentList env({"v=a.b.c", "s=xxyy", "q=()[]{}^$.*?|\\x", "p=/foo*/*/*.txt", "n=\\*/",
                       "u=\xe5\xae\x89\xe5\x85\xa8"});
  check(env, {{"${v#*.}", "b.c"},
              {"${v##*.}", "c"},
              {"${v%.*}", "a.b"},
              {"${v%%.*}", "a"},
              {"${s#x}", "xyy"},
              {"${s#*x*y}", "y"},
              {"${s##*x}", "yy"},
              {"${s#}", "xxyy"},
              {"${s#*}", "xxyy"},
              {"${s##*}", ""},
              {"${s%y}", "xxy"},
              {"${s%?}", "xxy"},
              {"${s%%x*}", ""},
              {"${s#[a-x]}", "xxyy"},
              {"${s/x/-}", "-xyy"},
              {"${s//x/-}", "--yy"},
              {"${s//x*y/-}", "-"},
              {"${s//?/-}", "----"},
              {"${s///w}", "wxwxwywyw"},
              {"${s//*/w}", "w"},
              {"${v//./\\/}", "a\\/b\\/c"},
              {"${q#()[]{\\}^$.\\*\\?|\\\\}", "x"},
              {"${p/$n/.} - ${p//$n/.}", "/foo.*/*.txt - /foo..*.txt"},
              {"${u%?}", "\xe5\xae\x89"},
              {"${u#?}", "\xe5\x85\xa8"},
              {"${nope/a/b}", ""},
              {"${s//x/\\$1}", "\\$1\\$1yy"}});
}

TEST(Expand, QuotesAndEscapes) {
  EnvironmentList env({"a=1"});
  check(env, {{"'$a\\n'", "$a\\n"},
              {"\"$a\\n\\$a\\\\\"", "1\\n$a\\"},
              {"\\n\\$a", "n$a"},
              {"x\\", "x"},
              {"\"it's\"", "it's"},
              {"<<x", "<<x"}});
  EXPECT_EQ(expand_word("`$a \\n", env, '`')->value, "$a \\n");
  EXPECT_EQ(expand_word("\"`\" \\\"", env, '`')->value, "\" \\");
}

TEST(Expand, MatchedAndUnmatched) {
  EnvironmentList env({"A=1", "E="});
  Expansion one = *expand_word("$A ${E:-x} ${B} ${C:-y} \"$D\"", env);
  EXPECT_THAT(one.matched, ElementsAre("A", "E"));
  EXPECT_THAT(one.unmatched, ElementsAre("B", "C", "D"));
  EXPECT_THAT(one.defaulted, ElementsAre("C"));
}

TEST(Expand, WordsSplitOnlyWhereBare) {
  EnvironmentList env({"P=3000 4000/udp"});
  EXPECT_THAT(expand_words("$P 80 \"$P\"", env)->words,
              ElementsAre("3000", "4000/udp", "80", "3000 4000/udp"));
  EXPECT_THAT(expand_words("a${X:-b}c", env)->words, ElementsAre("abc"));
  EXPECT_THAT(expand_words("", env)->words, IsEmpty());
}

TEST(Expand, HeredocBodies) {
  EnvironmentList env({"a=1"});
  auto body = [&](const std::string& text) { return expand_heredoc(text, env)->value; };
  EXPECT_EQ(body("\"$a\" 'it' it's\n"), "\"1\" 'it' it's\n");
  EXPECT_EQ(body("\\$a \\\\ \\n\n"), "$a \\ n\n");
  EXPECT_EQ(body("x\\\ny\n"), "x\ny\n");
  EXPECT_EQ(body("a$$b\n"), "ab\n");
}

TEST(Expand, EnvironmentListKeepsOrder) {
  EnvironmentList env({"A=1", "B=2", "A=3", "C"});
  EXPECT_THAT(env.entries(), ElementsAre("A=3", "B=2", "C="));
  env.unset("A");
  env.set("B", "4");
  EXPECT_THAT(env.entries(), ElementsAre("B=4", "C="));
  EXPECT_EQ(env.get("C"), "");
  EXPECT_EQ(env.get("A"), std::nullopt);
}

TEST(Expand, UndefinedVariableMessage) {
  EnvironmentList env({"DIR_ASSETS=1"});
  EXPECT_EQ(undefined_variable_message("DIR_ASSET", env),
            "Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?)");
  EXPECT_EQ(undefined_variable_message("q", env), "Usage of undefined variable '$q'");
}

TEST(Expand, HostileInput) {
  auto start = std::chrono::steady_clock::now();
  EnvironmentList env({"big=" + std::string(1 << 20, 'a'), "a=aaaaaaaaaaaaaaaaaaaaaaaaa"});
  auto kind = [&](const std::string& word) {
    auto expanded = expand_word(word, env);
    return expanded ? ErrorKind::kInternal : expanded.error().kind();
  };
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += "${a:-";
  EXPECT_EQ(kind(nested), ErrorKind::kLimit);
  std::string quoted;
  for (int i = 0; i < 100'000; ++i) quoted += "\"${a:-";
  EXPECT_EQ(kind(quoted), ErrorKind::kLimit);
  std::string grown;
  for (int i = 0; i < 100; ++i) grown += "$big";
  EXPECT_EQ(kind(grown), ErrorKind::kLimit);
  EXPECT_EQ(kind("${big//a/$big}"), ErrorKind::kLimit);
  EXPECT_EQ(kind("${big//" + std::string(4096, '?') + "b/x}"), ErrorKind::kLimit);
  std::string stars;
  for (int i = 0; i < 10'000; ++i) stars += "*a";
  EXPECT_EQ(kind("${big##" + stars + "b}"), ErrorKind::kInternal);  // no match, quickly
  EXPECT_EQ(kind("${big%%" + stars + "b}"), ErrorKind::kInternal);
  EXPECT_EQ(kind("${big//" + std::string(500'000, 'a') + "b/x}"), ErrorKind::kInternal);
  EXPECT_TRUE(expand_word("\xff$\xff${a}\xc3", env));
  EXPECT_TRUE(expand_word(std::string_view("\0$a\0", 4), env));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace kasane::dockerfile
