#include "lint/outline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lint/testing.h"
#include "oci/json.h"

namespace kasane::lint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::parsed;

using Values = std::map<std::string, std::string>;

Outline outline_of(std::string text, const std::string& target = "", const Values& given = {}) {
  auto result = outline(parsed(std::move(text)), target, given, {"linux", "amd64", "", ""});
  EXPECT_TRUE(result) << result.error().full_message();
  return result ? std::move(*result) : Outline();
}

// "name=value # description (line)".
std::vector<std::string> args_of(const Outline& outline) {
  std::vector<std::string> out;
  for (const OutlineArg& arg : outline.args)
    out.push_back(arg.name + (arg.value ? "=" + *arg.value : "") +
                  (arg.description.empty() ? "" : " # " + arg.description) + " (" +
                  std::to_string(arg.span.first_line()) + ")");
  return out;
}

std::vector<std::string> mounts_of(const std::vector<OutlineMount>& mounts) {
  std::vector<std::string> out;
  for (const OutlineMount& mount : mounts)
    out.push_back(mount.name + (mount.required ? "!" : "") + " " +
                  std::to_string(mount.span.first_line()));
  return out;
}

// The example of BuildKit's own outline test, in our words.
const char* kFile = R"(ARG inherited=box
ARG suffix=

# unused is used by no stage
ARG unused=ghi
# alias is the base image
FROM ${inherited:+scratch}${suffix} AS first
# ABC defines a letter
ARG ABC=a
ARG more
ARG inherited
RUN --mount=type=secret,id=key,required --mount=type=ssh true

FROM scratch AS second
RUN --mount=type=secret,target=/etc/token true

# target is what is built
FROM first AS target
COPY --from=second /foo /
ARG TARGETPLATFORM
RUN --mount=type=ssh,id=other,required --mount=type=secret,id=key true

FROM scratch AS unrelated
ARG nothing=1
)";

TEST(Outline, ArgumentsOfAllThatTheTargetNeeds) {
  Outline out = outline_of(kFile, "target");
  EXPECT_EQ(out.name, "target");
  EXPECT_EQ(out.description, "is what is built");
  EXPECT_THAT(args_of(out), ElementsAre("inherited=box (1)", "suffix= (2)",
                                        "ABC=a # defines a letter (9)", "more (10)"));
}

TEST(Outline, SecretsAndKeys) {
  Outline out = outline_of(kFile, "target");
  EXPECT_THAT(mounts_of(out.secrets), ElementsAre("key! 12", "token 15"));
  EXPECT_THAT(mounts_of(out.ssh), ElementsAre("default 12", "other! 21"));
}

TEST(Outline, TargetIsTheLastStageUnlessNamed) {
  EXPECT_THAT(args_of(outline_of(kFile)), ElementsAre("nothing=1 (24)"));
  EXPECT_EQ(outline_of(kFile).name, "unrelated");
  EXPECT_EQ(outline_of(kFile, "SECOND").name, "second");
  EXPECT_THAT(args_of(outline_of(kFile, "second")), IsEmpty());
}

TEST(Outline, ValuesOfBuildArguments) {
  EXPECT_THAT(
      args_of(outline_of(kFile, "first", {{"ABC", "z"}, {"inherited", "q"}, {"more", "m"}})),
      ElementsAre("suffix= (2)", "ABC=z # defines a letter (9)", "more=m (10)",
                  "inherited=q (11)"));
}

TEST(Outline, GlobalArgumentsThatOthersReadAreUsed) {
  EXPECT_THAT(args_of(outline_of("ARG a=1\nARG b=${a}2\nARG b=${b}3\nARG c=4\nFROM img:$b\n")),
              ElementsAre("a=1 (1)", "b=123 (3)"));
}

TEST(Outline, DefaultsSeeTheScope) {
  EXPECT_THAT(args_of(outline_of("ARG z=1 y=2\nFROM img:$z$y\nENV e=1\nARG b=x$e a=y$b\n")),
              ElementsAre("z=1 (1)", "y=2 (1)", "b=x1 (4)", "a=yx1 (4)"));
}

TEST(Outline, Errors) {
  auto result = outline(parsed("FROM scratch AS build\n"), "bulid", {}, {"linux", "amd64", "", ""});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(),
            "target stage \"bulid\" could not be found (did you mean build?)");
  EXPECT_FALSE(outline(parsed("FROM $X\n"), "", {}, {"linux", "amd64", "", ""}));
}

TEST(Outline, Text) {
  EXPECT_EQ(outline_text(outline_of(kFile, "target")),
            "TARGET:      target\n"
            "DESCRIPTION: is what is built\n"
            "\n"
            "BUILD ARG   VALUE   DESCRIPTION\n"
            "inherited   box     \n"
            "suffix              \n"
            "ABC         a       defines a letter\n"
            "more                \n"
            "\n"
            "SECRET   REQUIRED\n"
            "key      true\n"
            "token    \n"
            "\n"
            "SSH       REQUIRED\n"
            "default   \n"
            "other     true\n"
            "\n");
  EXPECT_EQ(outline_text(outline_of("FROM scratch\n")), "");
}

TEST(Outline, Json) {
  auto file = parsed(
      "# x is good\nFROM scratch AS x\n# v is a value\nARG v=1\n"
      "RUN --mount=type=secret,id=s,required true\n");
  auto out = outline(file, "", {}, {"linux", "amd64", "", ""});
  ASSERT_TRUE(out);
  auto json = oci::Json::parse(outline_json(*out, *file.source), "outline");
  ASSERT_TRUE(json);
  std::string compact;
  json->write(compact);
  EXPECT_THAT(
      compact,
      HasSubstr(
          R"({"name":"x","description":"is good","args":[{"name":"v","description":"is a value",)"
          R"("value":"1","location":{"ranges":[{"start":{"line":4},"end":{"line":4}}]}}],)"
          R"("secrets":[{"name":"s","required":true,"location":{"ranges":[{"start":{"line":5},)"
          R"("end":{"line":5}}]}}],"sources":["IyB4)"));
}

TEST(Targets, ListsAllStages) {
  auto list = targets(parsed(kFile));
  ASSERT_EQ(list.size(), 4u);
  EXPECT_EQ(list[0].base, "${inherited:+scratch}${suffix}");
  EXPECT_FALSE(list[2].is_default);
  EXPECT_TRUE(list[3].is_default);
  EXPECT_EQ(list[2].description, "is what is built");
  EXPECT_EQ(list[2].base, "first");
}

TEST(Targets, Text) {
  EXPECT_EQ(targets_text(targets(parsed("# a is small\nFROM scratch AS a\nFROM a AS second\n"))),
            "TARGET           DESCRIPTION\n"
            "a                is small\n"
            "second (default) \n");
  EXPECT_EQ(targets_text(targets(parsed("FROM scratch\nFROM scratch\n"))),
            "TARGET    DESCRIPTION\n"
            "          \n"
            "(default) \n");
}

TEST(Targets, Json) {
  auto file = parsed("FROM scratch AS a\n# b is big\nFROM --platform=$BUILDPLATFORM a AS b\n");
  EXPECT_EQ(targets_json(targets(file), *file.source), R"({
  "targets": [
    {
      "name": "a",
      "base": "scratch",
      "location": {
        "ranges": [
          {
            "start": {
              "line": 1
            },
            "end": {
              "line": 1
            }
          }
        ]
      }
    },
    {
      "name": "b",
      "default": true,
      "description": "is big",
      "base": "a",
      "platform": "$BUILDPLATFORM",
      "location": {
        "ranges": [
          {
            "start": {
              "line": 3
            },
            "end": {
              "line": 3
            }
          }
        ]
      }
    }
  ],
  "sources": [
    "RlJPTSBzY3JhdGNoIEFTIGEKIyBiIGlzIGJpZwpGUk9NIC0tcGxhdGZvcm09JEJVSUxEUExBVEZPUk0gYSBBUyBiCg=="
  ]
}
)");
}

}  // namespace
}  // namespace kasane::lint
