#include "lint/check_report.h"

#include <gtest/gtest.h>

#include "base/base64.h"
#include "lint/json_text.h"
#include "lint/testing.h"
#include "oci/json.h"

namespace kasane::lint {
namespace {

using testing::report_of;

const char* kFile = "FROM scratch\nCMD mycommand\nENV a b\n";

std::string json_of(const std::string& text) {
  auto file = testing::parsed(text);
  auto report = check_dockerfile(file, testing::on_amd64());
  EXPECT_TRUE(report);
  return check_json(*report, *file.source);
}

TEST(CheckReport, SummaryAfterABuild) {
  EXPECT_EQ(build_summary({}), "");
  EXPECT_EQ(build_summary(report_of("FROM scratch\nMAINTAINER me\n").findings),
            "\n 1 warning found (use kasane --debug to expand):\n"
            " - MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label "
            "(line 2)\n");
  EXPECT_TRUE(build_summary(report_of(kFile).findings)
                  .starts_with("\n 2 warnings found (use kasane --debug to expand):\n - JSONArgs"));
}

TEST(CheckReport, ExpandedSummary) {
  EXPECT_EQ(build_summary(report_of("FROM scratch\nMAINTAINER me\n").findings, true),
            "\n 1 warning found:\n"
            " - MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label "
            "(line 2)\n"
            "The MAINTAINER instruction is deprecated, use a label instead to define an image "
            "author\n"
            "More info: https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/\n"
            "Dockerfile:2\n--------------------\n   1 |     FROM scratch\n"
            "   2 | >>> MAINTAINER me\n     |     ^~~~~~~~~~~~~\n"
            "--------------------\n\n");
}

TEST(CheckReport, TextIsSortedByLine) {
  std::string text = check_text(report_of("FROM scratch AS a\nCMD x\nMAINTAINER me\n"));
  EXPECT_TRUE(
      text.starts_with("Check complete, 2 warnings have been found!\n\n"
                       "WARNING: JSONArgsRecommended - https://docs.docker.com/go/"
                       "dockerfile/rule/json-args-recommended/\n"
                       "JSON arguments recommended for CMD to prevent unintended behavior "
                       "related to OS signals\nDockerfile:2\n--------------------\n"))
      << text;
  EXPECT_NE(text.find("   2 | >>> CMD x\n"), std::string::npos) << text;
  EXPECT_LT(text.find("JSONArgs"), text.find("MaintainerDeprecated"));
}

TEST(CheckReport, TextWithoutFindings) {
  EXPECT_EQ(check_text(report_of("FROM scratch\n")), "Check complete, no warnings found.\n");
  EXPECT_EQ(check_text(report_of("FROM $X\n# check=skip=all\nCMD a\n")).find("no warnings"),
            std::string::npos);
  EXPECT_TRUE(check_text(report_of("FROM scratch\nCMD a\n"))
                  .starts_with("Check complete, 1 warning has been found!\n"));
}

TEST(CheckReport, ControlBytesAreShown) {
  std::string text = check_text(report_of("FROM scratch\nENV KEY\x1b[31m=1\nWORKDIR \x1b[2J\n"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos) << text;
}

TEST(CheckReport, Json) {
  EXPECT_EQ(json_of("FROM scratch\nMAINTAINER me\n"), R"({
  "warnings": [
    {
      "ruleName": "MaintainerDeprecated",
      "description": "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
      "url": "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/",
      "detail": "Maintainer instruction is deprecated in favor of using label",
      "location": {
        "ranges": [
          {
            "start": {
              "line": 2
            },
            "end": {
              "line": 2
            }
          }
        ]
      }
    }
  ],
  "sources": [
    {
      "filename": "Dockerfile",
      "data": "RlJPTSBzY3JhdGNoCk1BSU5UQUlORVIgbWUK",
      "language": "Dockerfile"
    }
  ]
}
)");
}

TEST(CheckReport, JsonWithoutFindings) {
  std::string text = json_of("FROM scratch\n");
  EXPECT_TRUE(text.starts_with("{\n  \"warnings\": [],\n  \"sources\": [\n")) << text;
  EXPECT_EQ(text.find("buildError"), std::string::npos);
}

TEST(CheckReport, JsonRangesCoverTheInstruction) {
  std::string text = json_of("FROM scratch\nCMD a \\\n  b\n");
  auto json = oci::Json::parse(text, "report");
  ASSERT_TRUE(json);
  const oci::Json& range =
      json->find("warnings")->items[0].find("location")->find("ranges")->items[0];
  EXPECT_EQ(range.find("start")->find("line")->text, "2");
  EXPECT_EQ(range.find("end")->find("line")->text, "3");
}

TEST(CheckReport, JsonOfErrors) {
  auto json = oci::Json::parse(json_of("FROM $X\nMAINTAINER me\n"), "report");
  ASSERT_TRUE(json);
  const oci::Json* error = json->find("buildError");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->find("message")->text, "base name ($X) should not be blank");
  EXPECT_TRUE(error->find("location")->find("ranges"));
  EXPECT_EQ(json->find("warnings")->items.size(), 3u);

  json = oci::Json::parse(json_of("# check=error=true\nFROM scratch\nMAINTAINER me\n"), "report");
  ASSERT_TRUE(json);
  error = json->find("buildError");
  ASSERT_TRUE(error);
  EXPECT_EQ(error->find("message")->text, "lint violation found for rules: MaintainerDeprecated");
  EXPECT_TRUE(error->find("location")->members.empty());
}

TEST(JsonText, Base64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foob"), "Zm9vYg==");
  EXPECT_EQ(base64(std::string("\xff\xfe\xfd", 3)), "//79");
}

}  // namespace
}  // namespace kasane::lint
