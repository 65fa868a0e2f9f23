// Every rule with files that break it and files that do not. The cases follow those of
// BuildKit's own checks where it has any.
#include "lint/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lint/outline.h"
#include "lint/testing.h"

namespace kasane::lint {
namespace {

using testing::check;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::on_amd64;
using testing::report_of;

using Lines = std::vector<std::string>;

struct Case {
  const char* name;
  const char* file;
  Lines expected;
};

void PrintTo(const Case& one, std::ostream* out) { *out << one.name; }

class Rules : public ::testing::TestWithParam<Case> {};

TEST_P(Rules, FindsExactly) {
  CheckReport report = report_of(GetParam().file);
  EXPECT_FALSE(report.error) << report.error->full_message();
  Lines found;
  for (const Finding& finding : report.findings) found.push_back(short_text(finding));
  EXPECT_EQ(found, GetParam().expected) << GetParam().file;
}

const Case kNames[] = {
    {"stage_name_casing",
     "FROM scratch AS BadName\n",
     {"StageNameCasing: Stage name 'BadName' should be lowercase (line 1)"}},
    {"stage_name_lower", "FROM scratch AS good-name\n", {}},
    {"from_as_upper",
     "FROM scratch as base\n",
     {"FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"}},
    {"from_as_lower",
     "from scratch AS base\n",
     {"FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 1)"}},
    {"from_as_mixed",
     "FROM scratch As base\n",
     {"FromAsCasing: 'As' and 'FROM' keywords' casing do not match (line 1)"}},
    {"from_as_matches", "from scratch as a\nfrom scratch as b\n", {}},
    {"from_as_of_mixed_from",
     "From scratch as base\nFROM scratch AS base2\n",
     {"ConsistentInstructionCasing: Command 'From' should match the case of the command majority "
      "(uppercase) (line 1)"}},
    {"casing_minority",
     "FROM scratch\ncopy a /foo\nCOPY b /bar\n",
     {"ConsistentInstructionCasing: Command 'copy' should match the case of the command majority "
      "(uppercase) (line 2)"}},
    {"casing_majority_lower",
     "FROM scratch\ncopy a /foo\ncopy b /bar\ncopy c /baz\n",
     {"ConsistentInstructionCasing: Command 'FROM' should match the case of the command majority "
      "(lowercase) (line 1)"}},
    {"casing_mixed_word",
     "frOM scratch as base\nfrom scratch as base2\n",
     {"ConsistentInstructionCasing: Command 'frOM' should match the case of the command majority "
      "(lowercase) (line 1)"}},
    {"casing_tie_is_upper",
     "from scratch\nCOPY a /a\n",
     {"ConsistentInstructionCasing: Command 'from' should match the case of the command majority "
      "(uppercase) (line 1)"}},
    {"casing_lower", "from scratch\ncopy a /foo\n", {}},
    {"casing_global_arg_is_not_counted", "arg A=1\nFROM scratch\n", {}},
    {"casing_in_heredoc", "FROM scratch\nRUN <<'EOT'\nenv\nEOT\n", {}},
    {"duplicate_stage",
     "FROM scratch AS b\nFROM scratch AS b\n",
     {"DuplicateStageName: Duplicate stage name \"b\", stage names should be unique (line 2)"}},
    {"duplicate_stage_other_case",
     "FROM scratch AS b\nFROM scratch AS B\n",
     {"StageNameCasing: Stage name 'B' should be lowercase (line 2)",
      "DuplicateStageName: Duplicate stage name \"b\", stage names should be unique (line 2)"}},
    {"unique_stages", "FROM scratch AS b1\nFROM scratch AS b2\n", {}},
    {"reserved_names",
     "FROM scratch AS scratch\nFROM scratch AS context\n",
     {"ReservedStageName: Stage name should not use the same name as reserved stage \"scratch\" "
      "(line 1)",
      "ReservedStageName: Stage name should not use the same name as reserved stage \"context\" "
      "(line 2)"}},
    {"reserved_as_base", "FROM scratch\nFROM scratch AS a\n", {}},
    {"maintainer",
     "FROM scratch\nMAINTAINER me@example.org\n",
     {"MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label (line "
      "2)"}},
    {"author_label", "FROM scratch\nLABEL org.opencontainers.image.authors=\"me\"\n", {}},
    {"empty_continuation",
     "FROM scratch\nCOPY Dockerfile \\\n\n.\n",
     {"NoEmptyContinuation: Empty continuation line (line 4)"}},
    {"comment_in_continuation", "FROM scratch\nCOPY Dockerfile \\\n# why\n.\n", {}},
    {"ignored_flag",
     "FROM scratch\nARG --nope X\n",
     {"IgnoredFlag: ARG takes no flags; --nope is ignored (line 2)"}},
    {"broken_exec_form",
     "FROM scratch\nSHELL [\"sh\"]\nCMD ['a', 'b']\n",
     {"InvalidExecForm: '['a', 'b']' of CMD is not a JSON array of double-quoted strings and is "
      "read as plain text (line 3)"}},
    {"broken_volume",
     "FROM scratch\nVOLUME [/a, /b]\n",
     {"InvalidExecForm: '[/a, ... /b]' of VOLUME is not a JSON array of double-quoted strings and "
      "is read as plain text (line 2)"}},
    {"shell_test", "FROM scratch\nRUN [ -f /x ]\nRUN [[ -f /x ]]\nRUN [ \"$A\" = \"b\" ]\n", {}},
    {"wildcard_class", "FROM scratch\nCOPY [a-z]*.txt /x/\n", {}},
};
INSTANTIATE_TEST_SUITE_P(Names, Rules, ::testing::ValuesIn(kNames),
                         [](const auto& test) { return test.param.name; });

const Case kVariables[] = {
    {"undefined",
     "FROM scratch\nCOPY $foo .\nARG foo=bar\nRUN echo $foo\n",
     {"UndefinedVar: Usage of undefined variable '$foo' (line 2)"}},
    {"declared_without_value", "FROM scratch\nARG foo\nCOPY Dockerfile${foo} .\n", {}},
    {"inherited_arg", "FROM scratch AS base\nARG foo=Dockerfile\nFROM base\nCOPY $foo .\n", {}},
    {"inherited_arg_without_value", "FROM scratch AS a\nARG foo\nFROM a\nCOPY x$foo .\n", {}},
    {"not_inherited_by_copy",
     "FROM scratch AS a\nARG foo=1\nFROM scratch\nCOPY --from=a /x$foo .\n",
     {"UndefinedVar: Usage of undefined variable '$foo' (line 4)"}},
    {"global_arg_is_not_visible",
     "ARG foo=1\nFROM scratch\nCOPY $foo .\n",
     {"UndefinedVar: Usage of undefined variable '$foo' (line 3)"}},
    {"run_text_is_not_expanded", "FROM scratch\nRUN echo $FOO\nCMD [\"$FOO\"]\n", {}},
    {"suggestion",
     "FROM scratch\nARG DIR_BINARIES=b/\nARG DIR_ASSETS=a/\nARG DIR_CONFIG=c/\nCOPY $DIR_ASSET .\n",
     {"UndefinedVar: Usage of undefined variable '$DIR_ASSET' (did you mean $DIR_ASSETS?) (line "
      "5)"}},
    {"path_is_always_set",
     "FROM scratch\nENV PATH=$PAHT:/tmp/bin\n",
     {"UndefinedVar: Usage of undefined variable '$PAHT' (did you mean $PATH?) (line 2)"}},
    {"path", "FROM scratch\nENV PATH=$PATH:/tmp/bin\n", {}},
    {"default_does_not_define",
     "FROM scratch\nENV A=${B:-x}\n",
     {"UndefinedVar: Usage of undefined variable '$B' (line 2)"}},
    {"pairs_do_not_see_each_other",
     "FROM scratch\nENV A=1 B=$A\n",
     {"UndefinedVar: Usage of undefined variable '$A' (line 2)"}},
    {"args_see_each_other", "FROM scratch\nARG A=1 B=$A\n", {}},
    {"label_user_workdir_volume_stopsignal",
     "FROM scratch\nLABEL a=$x1\nUSER $x2\nWORKDIR /$x3\nVOLUME /$x4\nSTOPSIGNAL $x5\n",
     {"UndefinedVar: Usage of undefined variable '$x1' (line 2)",
      "UndefinedVar: Usage of undefined variable '$x2' (line 3)",
      "UndefinedVar: Usage of undefined variable '$x3' (line 4)",
      "UndefinedVar: Usage of undefined variable '$x4' (line 5)",
      "UndefinedVar: Usage of undefined variable '$x5' (line 6)"}},
    {"copy_flags",
     "FROM scratch\nCOPY --chown=$u --chmod=$m a /a\n",
     {"UndefinedVar: Usage of undefined variable '$u' (line 2)",
      "UndefinedVar: Usage of undefined variable '$m' (line 2)"}},
    {"heredoc_body",
     "FROM scratch\nCOPY <<E /a\n$x\nE\nCOPY <<'E' /b\n$y\nE\n",
     {"UndefinedVar: Usage of undefined variable '$x' (line 2)"}},
    {"mount_values",
     "FROM scratch\nRUN --mount=type=cache,target=/c$x ls\n",
     {"UndefinedVar: Usage of undefined variable '$x' (line 2)"}},
    {"expose_is_silent_as_in_buildkit", "FROM scratch\nEXPOSE 80$x\n", {}},
    {"once_per_instruction",
     "FROM scratch\nCOPY $x $x /a/\n",
     {"UndefinedVar: Usage of undefined variable '$x' (line 2)"}},
    {"overridden_arg_default",
     "FROM scratch\nARG HTTP=$NONE\n",
     {"UndefinedVar: Usage of undefined variable '$NONE' (line 2)"}},
    {"trigger_fires_in_the_child",
     "FROM scratch AS base\nONBUILD ENV A=$nope\nFROM base\nUSER me\n",
     {"UndefinedVar: Usage of undefined variable '$nope' (line 3)"}},
    {"trigger_alone_is_silent", "FROM scratch\nONBUILD ENV A=$nope\n", {}},
    {"undefined_arg_in_from",
     "FROM --platform=$BUILDPLATFORM scratch${nope}\n",
     {"UndefinedArgInFrom: FROM argument 'nope' is not declared (line 1)"}},
    {"arg_in_from", "ARG base=scratch\nFROM $base\nCOPY a .\n", {}},
    {"unset_arg_in_from", "ARG DEBUG\nFROM scra${DEBUG:-tch}\n", {}},
    {"redundant_platform",
     "FROM --platform=$TARGETPLATFORM scratch\n",
     {"RedundantTargetPlatform: Setting platform to predefined $TARGETPLATFORM in FROM is "
      "redundant as this is the default behavior (line 1)"}},
    {"redundant_platform_braces",
     "FROM --platform=${TARGETPLATFORM} scratch\n",
     {"RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM is "
      "redundant as this is the default behavior (line 1)"}},
    {"build_platform", "FROM --platform=$BUILDPLATFORM scratch\n", {}},
    {"constant_platform",
     "FROM --platform=linux/amd64 scratch\n",
     {"FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "
      "\"linux/amd64\" (line 1)"}},
    {"platform_in_stage_name", "FROM --platform=linux/arm64 scratch AS my_arm64_stage\n", {}},
    {"os_in_stage_name", "FROM --platform=linux/amd64 scratch AS linux\n", {}},
    {"platform_from_arg", "ARG P=linux/arm64\nFROM --platform=$P scratch\n", {}},
    {"valid_default_base", "ARG VERSION=\"latest\"\nFROM busybox:${VERSION}\n", {}},
    {"empty_suffix", "ARG V\nFROM busybox:stable${V}\n", {}},
};
INSTANTIATE_TEST_SUITE_P(Variables, Rules, ::testing::ValuesIn(kVariables),
                         [](const auto& test) { return test.param.name; });

const Case kInstructions[] = {
    {"shell_cmd",
     "FROM scratch\nCMD mycommand\n",
     {"JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior "
      "related to OS signals (line 2)"}},
    {"shell_entrypoint",
     "FROM scratch\nENTRYPOINT mycommand\n",
     {"JSONArgsRecommended: JSON arguments recommended for ENTRYPOINT to prevent unintended "
      "behavior related to OS signals (line 2)"}},
    {"shell_form_after_shell", "FROM scratch\nSHELL [\"/s\"]\nCMD a\nENTRYPOINT b\n", {}},
    {"shell_form_after_inherited_shell",
     "FROM scratch AS base\nSHELL [\"/s\"]\nFROM base\nCMD a\nENTRYPOINT b\n",
     {}},
    {"exec_form", "FROM scratch\nCMD [\"a\"]\n", {}},
    {"healthcheck_shell_form", "FROM scratch\nHEALTHCHECK CMD a\n", {}},
    {"relative_workdir",
     "FROM scratch\nWORKDIR app/\nWORKDIR more\n",
     {"WorkdirRelativePath: Relative workdir \"app/\" can have unexpected results if the base "
      "image changes (line 2)"}},
    {"relative_after_absolute", "FROM scratch AS a\nWORKDIR /app\nFROM a AS b\nWORKDIR sub/\n", {}},
    {"windows_workdir", "FROM scratch\nWORKDIR c:/app\n", {}},
    {"expanded_workdir", "FROM scratch\nENV D=/x\nWORKDIR $D/y\n", {}},
    {"several_commands",
     "FROM scratch\nENTRYPOINT [\"a\"]\nENTRYPOINT [\"b\"]\nCMD [\"a\"]\nCMD [\"b\"]\n"
     "HEALTHCHECK CMD [\"a\"]\nHEALTHCHECK NONE\n",
     {"MultipleInstructionsDisallowed: Multiple ENTRYPOINT instructions should not be used in the "
      "same stage because only the last one will be used (line 2)",
      "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in the same "
      "stage because only the last one will be used (line 4)",
      "MultipleInstructionsDisallowed: Multiple HEALTHCHECK instructions should not be used in the "
      "same stage because only the last one will be used (line 6)"}},
    {"several_commands_in_stages",
     "FROM scratch AS a\nENTRYPOINT [\"a\"]\nCMD [\"a\"]\nFROM a\nENTRYPOINT [\"b\"]\nCMD "
     "[\"b\"]\n",
     {}},
    {"legacy_pairs",
     "FROM scratch\nENV testkey value\nLABEL key value\n",
     {"LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" "
      "format (line 2)",
      "LegacyKeyValueFormat: \"LABEL key=value\" should be used instead of legacy \"LABEL key "
      "value\" format (line 3)"}},
    {"pairs", "FROM scratch\nENV testkey=value\nLABEL key=value\n", {}},
    {"legacy_pair_of_unused_stage",
     "FROM scratch AS a\nFROM a AS b\nENV testkey value\nFROM a AS c\n",
     {"LegacyKeyValueFormat: \"ENV key=value\" should be used instead of legacy \"ENV key value\" "
      "format (line 3)"}},
    {"secrets",
     "FROM scratch\nARG SECRET_PASSPHRASE\nENV SUPER_Secret=foo\nENV password=bar secret=baz\n"
     "ARG super_duper_secret_token=foo auth=bar\nENV apikey=bar sunflower=foo\nENV git_key=\n",
     {"SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "
      "\"SECRET_PASSPHRASE\") (line 2)",
      "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "
      "\"SUPER_Secret\") (line 3)",
      "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "
      "\"password\") (line 4)",
      "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "
      "\"secret\") (line 4)",
      "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG "
      "\"super_duper_secret_token\") (line 5)",
      "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ARG \"auth\") "
      "(line 5)",
      "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "
      "\"apikey\") (line 6)",
      "SecretsUsedInArgOrEnv: Do not use ARG or ENV instructions for sensitive data (ENV "
      "\"git_key\") (line 7)"}},
    {"no_secrets",
     "FROM scratch\nENV PUBLIC_KEY=\nARG public_token\nARG SECRET_PASSPHRASE_FILE\n"
     "ENV password_file=bar secret_File=baz\nARG AUTH_MODULE_VERSION\nENV KEYBOARD=de TOKENS=1\n",
     {}},
    {"global_secret_is_not_judged", "ARG TOKEN=a\nFROM scratch\n", {}},
    {"expose_casing",
     "FROM scratch\nEXPOSE 80/TcP 8080/TCP 8080/udp\n",
     {"ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be lowercase "
      "(line 2)",
      "ExposeProtoCasing: Defined protocol '8080/TCP' in EXPOSE instruction should be lowercase "
      "(line 2)"}},
    {"expose_format",
     "FROM scratch\nEXPOSE 127.0.0.1:80:80 5000:5000 8000\n",
     {"ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port "
      "mapping, found '127.0.0.1:80:80' (line 2)",
      "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port "
      "mapping, found '5000:5000' (line 2)"}},
    {"expose_format_ipv6",
     "FROM scratch\nEXPOSE [::1]:8080:8080\n",
     {"ExposeInvalidFormat: EXPOSE instruction should not define an IP address or host-port "
      "mapping, found '[::1]:8080:8080' (line 2)"}},
    {"expose_expanded",
     "FROM scratch\nENV P=\"80/TCP 90-95\"\nEXPOSE $P\n",
     {"ExposeProtoCasing: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase "
      "(line 3)"}},
    {"expose", "FROM scratch\nEXPOSE 80/tcp 9000-9010/udp\n", {}},
    {"several_sources_one_file",
     "FROM scratch\nCOPY a b /x\n",
     {"SeveralSourcesOneFile: Several sources are copied to '/x'; end it with a slash, or they "
      "overwrite each other where it is not a directory yet (line 2)"}},
    {"several_sources", "FROM scratch\nCOPY a b /x/\nCOPY a b .\nADD a b ./\nCOPY a /x\n", {}},
    {"same_names_are_experimental", "FROM scratch\nCOPY a/x b/x /d/\n", {}},
    {"same_names",
     "# check=experimental=all\nFROM scratch\nCOPY a/x b/x /d/\n",
     {"CopiedOverwritesCopied: More than one source is named 'x'; of files the last one remains "
      "(line 3)"}},
};
INSTANTIATE_TEST_SUITE_P(Instructions, Rules, ::testing::ValuesIn(kInstructions),
                         [](const auto& test) { return test.param.name; });

TEST(Check, DescriptionsAreExperimental) {
  EXPECT_THAT(check("# bar is wrong\nARG foo=bar\nFROM scratch\n"), IsEmpty());
  EXPECT_THAT(check("# check=experimental=InvalidDefinitionDescription\n"
                    "# foo this is the foo\nARG foo=bar\n\n"
                    "# base this is the base image\nFROM scratch AS base\n\n"
                    "# baz this is the baz\nARG foo=baz bar=qux baz=quux\n#\nARG bit=bat\n"
                    "# about something else\nCOPY Dockerfile .\n"),
              IsEmpty());
  EXPECT_THAT(
      check("# check=experimental=InvalidDefinitionDescription\n# bar this is the bar\n"
            "ARG foo=bar\n# BasE this is the BasE image\nFROM scratch AS base\n"
            "# definitely a bad comment\nARG version=latest\n# definitely a bad comment\n"
            "ARG foo=baz bar=qux baz=quux\n"),
      ElementsAre("InvalidDefinitionDescription: Comment for ARG should follow the format: `# foo "
                  "<description>` (line 3)",
                  "InvalidDefinitionDescription: Comment for FROM should follow the format: `# "
                  "base <description>` (line 5)",
                  "InvalidDefinitionDescription: Comment for ARG should follow the format: `# "
                  "version <description>` (line 7)",
                  "InvalidDefinitionDescription: Comment for ARG should follow the format: `# "
                  "<arg_key> <description>` (line 9)"));
}

TEST(Check, DefaultBaseNamesThatOnlyBuildArgumentsMakeValid) {
  struct {
    const char *file, *name, *value, *written;
  } cases[] = {{"ARG VERSION\nFROM busybox:$VERSION\n", "VERSION", "latest", "busybox:$VERSION"},
               {"ARG IMAGE\nFROM $IMAGE\n", "IMAGE", "busybox:latest", "$IMAGE"},
               {"ARG SFX=\"box:\"\nFROM busy${SFX}\n", "SFX", "box:latest", "busy${SFX}"}};
  for (const auto& one : cases) {
    CheckInputs inputs = on_amd64();
    inputs.build_args[one.name] = one.value;
    EXPECT_THAT(check(one.file, inputs),
                ElementsAre(std::string("InvalidDefaultArgInFrom: Default value for ARG ") +
                            one.written + " results in empty or invalid base image name (line 2)"));
  }
}

TEST(Check, BasePlatformNeedsTheConfiguration) {
  CheckInputs inputs = on_amd64();
  oci::ImageConfig config;
  config.os = "linux";
  config.architecture = "arm64";
  config.config.env = {"KNOWN=1"};
  config.config.on_build = {"ENV X=$ELSEWHERE"};
  inputs.base_config = [&](const std::string& image) {
    return image == "base:1" ? std::optional(config) : std::nullopt;
  };
  EXPECT_THAT(check("FROM base:1\nUSER $KNOWN\n", inputs),
              ElementsAre("InvalidBaseImagePlatform: Base image base:1 was pulled with platform "
                          "\"linux/arm64\", expected \"linux/amd64\" for current build (line 1)",
                          "UndefinedVar: Usage of undefined variable '$ELSEWHERE' (line 1)"));
  config.config.on_build.clear();
  EXPECT_THAT(check("ARG P=linux/arm64\nFROM --platform=$P base:1\n", inputs), IsEmpty());
}

TEST(Check, VariablesOfAnUnknownImage) {
  EXPECT_THAT(check("FROM other\nUSER $NB_UID\nWORKDIR $HOME\nEXPOSE $A-$B\n"), IsEmpty());
  EXPECT_THAT(check("FROM other AS a\nFROM a\nUSER $NB_UID\n"), IsEmpty());
  EXPECT_THAT(check("FROM other\nENV LD_PATH=$LD_PATH:/x\n"), IsEmpty());
  // Declared elsewhere in the file, nearly declared, and never an image's.
  EXPECT_THAT(check("ARG VERSION=1\nFROM other\nENV V=$VERSION\n"), ::testing::SizeIs(1));
  EXPECT_THAT(check("FROM other\nARG VERSION=1\nENV V=$VERSIONS\n"), ::testing::SizeIs(1));
  EXPECT_THAT(check("FROM other\nWORKDIR dir\n"), ::testing::SizeIs(1));
  auto findings = report_of("FROM other\nUSER $foo\n").findings;
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].note, "the variables of other are not known here");
}

std::vector<std::string> ignoring(const std::string& patterns, std::string file) {
  auto ignore = dockerfile::IgnoreMatcher::parse(
      std::make_shared<const SourceText>(".dockerignore", patterns));
  EXPECT_TRUE(ignore);
  CheckInputs inputs = on_amd64();
  inputs.ignore = &*ignore;
  return check(std::move(file), inputs);
}

TEST(Check, CopiesOfIgnoredFiles) {
  EXPECT_THAT(ignoring("\nDockerfile\n", "FROM scratch\nCOPY Dockerfile .\nADD Dockerfile /w\n"),
              ElementsAre("CopyIgnoredFile: Attempting to Copy file \"Dockerfile\" that is "
                          "excluded by .dockerignore (line 2)",
                          "CopyIgnoredFile: Attempting to Add file \"Dockerfile\" that is excluded "
                          "by .dockerignore (line 3)"));
  EXPECT_THAT(ignoring("d\n", "FROM scratch\nCOPY ./d/e/../f /x\n"),
              ElementsAre("CopyIgnoredFile: Attempting to Copy file \"d/f\" that is excluded by "
                          ".dockerignore (line 2)"));
  EXPECT_THAT(ignoring("foobar\n",
                       "FROM scratch AS base\nCOPY a /foobar\nFROM base\n"
                       "COPY --from=base /foobar /b\nADD https://x/foobar /y\n"),
              IsEmpty());
  // Exceptions make it undecidable.
  EXPECT_THAT(ignoring("**\n!Dockerfile\n", "FROM scratch\nCOPY ./Dockerfile .\nCOPY x .\n"),
              IsEmpty());
  EXPECT_THAT(ignoring("", "FROM scratch\nCOPY a .\n"), IsEmpty());
}

TEST(Check, TheContextRootIsOnlyIgnoredAsAWhole) {
  EXPECT_THAT(ignoring(".*\n", "FROM scratch\nCOPY . .\n"), IsEmpty());
  for (const char* all : {"*\n", "**\n", "**/*\n"})
    for (const char* root : {".", "./", "/"})
      EXPECT_THAT(ignoring(all, std::string("FROM scratch\nCOPY ") + root + " /x\n"),
                  ElementsAre("CopyIgnoredFile: Attempting to Copy file \".\" that is excluded by "
                              ".dockerignore (line 2)"));
}

TEST(Check, StagesInABuildAndInACheck) {
  const char* file = "FROM scratch AS first\nCOPY $foo .\nFROM scratch AS second\nCOPY $bar .\n";
  EXPECT_THAT(check(file),
              ElementsAre("UndefinedVar: Usage of undefined variable '$foo' (line 2)",
                          "UndefinedVar: Usage of undefined variable '$bar' (line 4)"));
  CheckInputs inputs = on_amd64();
  inputs.all_stages = false;
  EXPECT_THAT(check(file, inputs),
              ElementsAre("UndefinedVar: Usage of undefined variable '$bar' (line 4)"));
  inputs.all_stages = true;
  inputs.target = "first";
  EXPECT_THAT(check(file, inputs),
              ElementsAre("UndefinedVar: Usage of undefined variable '$foo' (line 2)"));
}

TEST(Check, StagesThatTheTargetNeeds) {
  CheckInputs inputs = on_amd64();
  inputs.all_stages = false;
  EXPECT_EQ(check("FROM scratch AS a\nUSER $a\nFROM scratch AS b\nUSER $b\nFROM scratch AS c\n"
                  "USER $c\nFROM scratch AS d\nUSER $d\nFROM a\nCOPY --from=b / /\n"
                  "RUN --mount=from=c,target=/m ls\n",
                  inputs)
                .size(),
            3u);
  // By number, and through a trigger.
  EXPECT_EQ(
      check("FROM scratch\nUSER $a\nFROM scratch AS b\nONBUILD COPY --from=0 / /\nFROM b\n", inputs)
          .size(),
      1u);
}

TEST(Check, WhatABuildWouldStopAt) {
  EXPECT_EQ(error_of("ARG X\nFROM $X\n"), "base name ($X) should not be blank");
  EXPECT_EQ(error_of("FROM --platform=$BULIDPLATFORM scratch\n"),
            "empty platform value from expression $BULIDPLATFORM");
  EXPECT_THAT(error_of("FROM --platform=linux/${MYARCH} busybox\n"),
              HasSubstr("failed to parse platform linux/${MYARCH}"));
  EXPECT_THAT(error_of("FROM scratch\nENV A=\"${B:?give B}\"\n"), HasSubstr("give B"));
  EXPECT_EQ(error_of("FROM scratch\nEXPOSE nope\n"), "invalid containerPort: nope");
  EXPECT_EQ(error_of("FROM scratch\nEXPOSE 80/xyz\n"),
            "invalid port: \"80/xyz\": invalid proto: xyz");
  EXPECT_THAT(error_of("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\n"),
              HasSubstr("needs to be defined before current stage \"a\""));
  CheckInputs inputs = on_amd64();
  inputs.target = "bulid";
  EXPECT_EQ(error_of("FROM scratch AS build\n", inputs),
            "target stage \"bulid\" could not be found (did you mean build?)");
  EXPECT_EQ(error_of("FROM scratch\n"), "");
}

TEST(Check, FindingsBeforeTheErrorAreKept) {
  CheckReport report =
      report_of("FROM --platform=$BULIDPLATFORM scratch AS Bad\nMAINTAINER me\nUSER $x\n");
  Lines found;
  for (const Finding& finding : report.findings) found.push_back(short_text(finding));
  EXPECT_THAT(found,
              ElementsAre("StageNameCasing: Stage name 'Bad' should be lowercase (line 1)",
                          "MaintainerDeprecated: Maintainer instruction is deprecated in favor of "
                          "using label (line 2)",
                          "UndefinedArgInFrom: FROM argument 'BULIDPLATFORM' is not declared (did "
                          "you mean BUILDPLATFORM?) (line 1)"));
  EXPECT_TRUE(report.error);
}

TEST(Check, DescriptionAndAddress) {
  auto findings = report_of("FROM scratch\nCMD a\n").findings;
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].rule, "JSONArgsRecommended");
  EXPECT_EQ(findings[0].url, "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/");
  EXPECT_EQ(findings[0].description,
            "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related "
            "to OS signals");
}

TEST(Check, HostileFilesEndSoon) {
  // Every variable is new and nearly like all the others.
  std::string text = "FROM scratch\n";
  for (int i = 0; i < 5'000; ++i) {
    std::string name = "name_" + std::to_string(1'000'000 + i);
    text += "ENV " + name + "=$x" + name + "\n";
  }
  EXPECT_EQ(report_of(text).findings.size(), 5'000u);
  // Values that double, and stages that copy them.
  text = "FROM scratch AS a\nENV A=0123456789abcdef\n";
  for (int i = 0; i < 40; ++i) text += "ENV A=$A$A\n";
  EXPECT_TRUE(report_of(text).error);
  text = "FROM scratch AS a\nENV A=0123456789abcdef\n";
  for (int i = 0; i < 14; ++i) text += "ENV A=$A$A\n";
  for (int i = 0; i < 2'000; ++i) text += "FROM a AS a\n";
  EXPECT_THAT(error_of(text), HasSubstr("MiB"));
  // Triggers times stages.
  text = "FROM scratch AS a\n";
  for (int i = 0; i < 5'000; ++i) text += "ONBUILD USER x\n";
  for (int i = 0; i < 5'000; ++i) text += "FROM a AS b\n";
  EXPECT_THAT(error_of(text), HasSubstr("triggers"));
}

TEST(Check, MutilatedFilesNeverCrash) {
  const std::string whole =
      "# check=skip=UndefinedVar;experimental=all\nARG a=1 b=${a:-2}\n# base is\n"
      "FROM --platform=$TARGETPLATFORM img:${b} AS Base\nONBUILD COPY --from=0 [\"x\", \"/y\"]\n"
      "RUN --mount=type=secret,id=k --mount=type=cache,target=/c$a <<E\nls\nE\n"
      "EXPOSE [::1]:80-90:1/Tcp $a\nWORKDIR ${b%/*}\nfrom base\nENV PASSWORD=$p\nENV k $v\n"
      "COPY --chmod=$m a/b ../b . /\nHEALTHCHECK NONE\nCMD ['a']\n";
  uint32_t state = 1;
  auto next = [&](size_t limit) {
    state = state * 1664525u + 1013904223u;
    return static_cast<size_t>(state >> 8) % limit;
  };
  EXPECT_GT(check(whole).size(), 5u);
  int parsed = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = whole;
    for (size_t edits = next(4) + 1; edits > 0; --edits) {
      const size_t at = next(text.size());
      if (next(2) == 0)
        text.erase(at, next(8));
      else
        text.insert(at, 1, "$[]{}'\"\\\n=:/-,#\x01\xff"[next(17)]);
    }
    auto file = dockerfile::parse("Dockerfile", text);
    if (!file) continue;
    ++parsed;
    auto report = check_dockerfile(*file, on_amd64());
    if (report) {
      EXPECT_FALSE(check_json(*report, *file->source).empty());
      EXPECT_TRUE(report->error || !check_text(*report).empty());
    }
    auto shape = outline(*file, "", {}, on_amd64().platform);
    if (shape) {
      EXPECT_FALSE(outline_json(*shape, *file->source).empty());
    }
  }
  EXPECT_GT(parsed, 500);
}

}  // namespace
}  // namespace kasane::lint
