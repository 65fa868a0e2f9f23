#include "build/keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace kasane::build {
namespace {

using ::testing::ElementsAre;

StepKey key(std::vector<std::pair<std::string, std::string>> parts) {
  StepKey key;
  for (auto& [name, value] : parts) key.add(name, value);
  return key;
}

TEST(StepKey, EveryPartAndTheirBordersCount) {
  Sha256Digest base = key({{"a", "b"}}).digest();
  EXPECT_EQ(base, key({{"a", "b"}}).digest());
  EXPECT_NE(base, key({{"ab", ""}}).digest());
  EXPECT_NE(base, key({{"a", "b"}, {"", ""}}).digest());
  EXPECT_NE(key({{"a", "b"}, {"c", "d"}}).digest(), key({{"c", "d"}, {"a", "b"}}).digest());
}

TEST(StepKey, SurvivesJsonWithStrangeBytes) {
  StepKey before = key({{"command", "echo \"\xff\x01\" \n"}, {"env A", ""}});
  Result<StepKey> after = StepKey::from_json(before.to_json());
  ASSERT_TRUE(after.has_value());
  EXPECT_TRUE(describe_changes(*after, before).empty());
}

TEST(StepKey, DamagedJsonIsAnErrorNotACrash) {
  for (const char* text : {"", "{}", "[1]", "[[\"a\"]]", "[[\"a\",1]]", "[[\"a\",\"b\""})
    EXPECT_FALSE(StepKey::from_json(text).has_value()) << text;
}

TEST(DescribeChanges, NamesTheInputAndPutsTheParentLast) {
  StepKey before = key({{"parent", "1"}, {"env NODE_ENV", "dev"}, {"env OLD", "x"}, {"user", ""}});
  StepKey now = key({{"parent", "2"}, {"env NODE_ENV", "prod"}, {"env NEW", "y"}, {"user", "node"}});
  EXPECT_THAT(describe_changes(before, now),
              ElementsAre("variable NODE_ENV changed from dev to prod", "variable NEW is new: y",
                          "user changed from  to node", "variable OLD is gone (was x)",
                          "the files of the step before it changed"));
}

TEST(StepKey, ComparesStepsOfDifferentKinds) {
  StepKey before;
  before.add("kind", "WORKDIR");
  before.add("path", "/a");
  StepKey now;
  now.add("kind", "RUN");
  now.add("command", "true");
  std::vector<std::string> changes = describe_changes(before, now);
  EXPECT_EQ(changes.front(), "the step was WORKDIR and is RUN");
}

// RM1: notes name the files of a mount and are no part of the digest.
TEST(StepKey, NotesExplainAMount) {
  auto key = [](const char* content, std::vector<std::pair<std::string, std::string>> files) {
    StepKey key;
    key.add("content of mount 1 /m", content);
    for (auto& [path, digest] : files) key.note("file of mount 1 /m: " + path, digest);
    return key;
  };
  StepKey before = key("a", {{"same", "1"}, {"changed", "1"}, {"gone", "1"}});
  StepKey now = key("b", {{"same", "1"}, {"changed", "2"}, {"new", "1"}});
  EXPECT_EQ(before.digest(), key("a", {}).digest());
  Result<StepKey> read = StepKey::from_json(before.to_json());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->digest(), before.digest());
  EXPECT_EQ(describe_changes(*read, now),
            (std::vector<std::string>{"/changed changed (mount 1 /m)", "/new is new (mount 1 /m)",
                                      "/gone is gone (mount 1 /m)"}));
  EXPECT_EQ(describe_changes(key("a", {}), now), std::vector<std::string>{"the files of mount 1 /m changed"});
  EXPECT_EQ(describe_changes(before, before), std::vector<std::string>{});
}

}  // namespace
}  // namespace kasane::build
