#include "lint/check_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lint/testing.h"

namespace kasane::lint {
namespace {

using testing::check;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::on_amd64;
using testing::report_of;
using ::testing::SizeIs;

CheckConfig config(std::string_view text) {
  auto parsed = parse_check_config(text);
  EXPECT_TRUE(parsed) << text << ": " << parsed.error().message();
  return parsed ? *parsed : CheckConfig();
}

std::string error(std::string_view text) {
  auto parsed = parse_check_config(text);
  return parsed ? "" : parsed.error().message();
}

TEST(CheckConfig, Options) {
  EXPECT_TRUE(config("skip=all").skip_all);
  EXPECT_THAT(config("skip=A,B").skip, ElementsAre("A", "B"));
  EXPECT_THAT(config(" skip = A , B ; error = true ").skip, ElementsAre("A", "B"));
  EXPECT_TRUE(config("skip=A;error=true").error);
  EXPECT_FALSE(config("error=False").error);
  EXPECT_TRUE(config("experimental=all").experimental_all);
  EXPECT_THAT(config("experimental=X;skip=Y;error=1").experimental, ElementsAre("X"));
  EXPECT_THAT(config("").skip, IsEmpty());
}

TEST(CheckConfig, Errors) {
  EXPECT_EQ(error("nope"), "invalid check option \"nope\"");
  EXPECT_EQ(error("nope=1"), "invalid check option \"nope\"");
  EXPECT_EQ(error("error=maybe"),
            "failed to parse check option \"error=maybe\": strconv.ParseBool: parsing \"maybe\": "
            "invalid syntax");
  auto file = testing::parsed("# check=nope=1\nFROM scratch\n");
  auto report = check_dockerfile(file, on_amd64());
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().full_message(),
            "failed to parse check options: invalid check option \"nope\"");
  EXPECT_EQ(report.error().span().first_line(), 1);
}

constexpr const char* kTwoFindings = "FROM scratch as base\ncopy Dockerfile .\n";
constexpr const char* kAs = "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 2)";

TEST(CheckConfig, Directive) {
  auto with = [](std::string directive) { return check(directive + "\n" + kTwoFindings); };
  EXPECT_THAT(with("# nothing"), SizeIs(2));
  EXPECT_THAT(with("#check=skip=all"), IsEmpty());
  EXPECT_THAT(with("#check=skip=all;error=true"), IsEmpty());
  EXPECT_THAT(with("#check=skip=ConsistentInstructionCasing,FromAsCasing"), IsEmpty());
  EXPECT_THAT(with("#check=skip=ConsistentInstructionCasing"), ElementsAre(kAs));
}

TEST(CheckConfig, BuildArgumentReplacesTheDirective) {
  std::string file = std::string("#check=skip=all\n") + kTwoFindings;
  CheckInputs inputs = on_amd64();
  inputs.build_args["BUILDKIT_DOCKERFILE_CHECK"] = "skip=ConsistentInstructionCasing;error=true";
  EXPECT_THAT(check(file, inputs), ElementsAre(kAs));
  EXPECT_EQ(lint_violation(report_of(file, inputs))->message(),
            "lint violation found for rules: FromAsCasing");
  inputs.build_args["BUILDKIT_DOCKERFILE_CHECK"] = "skip=all";
  EXPECT_THAT(check(std::string("#check=error=true\n") + kTwoFindings, inputs), IsEmpty());
  inputs.build_args["BUILDKIT_DOCKERFILE_CHECK"] = "";
  EXPECT_THAT(check(file, inputs), SizeIs(2));
}

TEST(CheckConfig, Violation) {
  auto report = report_of(std::string("#check=error=true\n") + kTwoFindings);
  EXPECT_EQ(lint_violation(report)->message(),
            "lint violation found for rules: ConsistentInstructionCasing, FromAsCasing");
  EXPECT_FALSE(lint_violation(report_of(kTwoFindings)));
  EXPECT_FALSE(lint_violation(report_of("#check=error=true\nFROM scratch\n")));
}

TEST(CheckConfig, CommentAboveAnInstruction) {
  EXPECT_THAT(check("FROM scratch\n# check=skip=JSONArgsRecommended\nCMD a\n"), IsEmpty());
  EXPECT_THAT(check("FROM scratch\n# check=skip=MaintainerDeprecated\nMAINTAINER me\n"), IsEmpty());
  EXPECT_THAT(check("FROM scratch\n# check=skip=WorkdirRelativePath\nWORKDIR app\n"), IsEmpty());
  EXPECT_THAT(check("FROM scratch\n# Check = skip=all // only here\nENV password=bar\n"),
              IsEmpty());
  EXPECT_THAT(check("FROM scratch\n# why\n# check=skip=all\n# more\nENV password=bar\n"),
              IsEmpty());
  EXPECT_THAT(check("\n# check=skip=RedundantTargetPlatform\n"
                    "FROM --platform=$TARGETPLATFORM scratch\n"),
              IsEmpty());
  EXPECT_THAT(check("FROM scratch\n# check=skip=IgnoredFlag\nARG --x Y\n"), IsEmpty());
}

TEST(CheckConfig, CommentIsForOneInstructionOnly) {
  EXPECT_THAT(check("FROM scratch\n# check=skip=all\nENV password=1\nENV password=2\n"), SizeIs(1));
  // Broken by a blank line, of another name, or not understood.
  EXPECT_THAT(check("FROM scratch\n# check=skip=all\n\nENV password=1\n"), SizeIs(1));
  EXPECT_THAT(check("FROM scratch\n# checks=skip=all\nENV password=1\n"), SizeIs(1));
  EXPECT_THAT(check("FROM scratch\n# check=skipp=all\nENV password=1\n"), SizeIs(1));
  EXPECT_THAT(check("FROM scratch\n# check=skip=Other\nENV password=1\n"), SizeIs(1));
}

TEST(CheckConfig, CommentCanAskForAnExperimentalRule) {
  EXPECT_THAT(check("FROM scratch\n# check=experimental=all\n# nope\nARG foo\n"), SizeIs(1));
  EXPECT_THAT(check("FROM scratch\n# nope\nARG foo\n"), IsEmpty());
}

}  // namespace
}  // namespace kasane::lint
