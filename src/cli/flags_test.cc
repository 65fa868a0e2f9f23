#include "cli/flags.h"

#include <gtest/gtest.h>

namespace kasane::cli {
namespace {

constexpr FlagSpec kFlags[] = {
    {.name = "all", .shorthand = 'a', .help = "All"},
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .value_name = "filter",
     .help = "Filter",
     .check = check_filter},
    {.name = "format", .kind = FlagKind::kString, .value_name = "string", .help = "Format"},
    {.name = "human", .shorthand = 'H', .help = "Human", .default_text = "true"},
    {.name = "jobs", .shorthand = 'j', .kind = FlagKind::kInt, .value_name = "int", .help = "Jobs"},
    {.name = "quiet", .shorthand = 'q', .help = "Quiet"},
    {.name = "tag", .shorthand = 't', .kind = FlagKind::kList, .value_name = "list", .help = "Tag"},
};

Result<FlagParseResult> parse(std::vector<std::string> words, FlagParseOptions options = {}) {
  static std::vector<std::string> kept;
  kept = std::move(words);
  return parse_flags(kept, kFlags, {}, options);
}

using Strings = std::vector<std::string>;

TEST(Flags, AllWaysToGiveAValue) {
  for (const Strings& words : std::vector<Strings>{
           {"--tag", "x"}, {"--tag=x"}, {"-t", "x"}, {"-tx"}, {"-t=x"}, {"-aqt", "x"}, {"-aqtx"}}) {
    auto result = parse(words);
    ASSERT_TRUE(result) << words[0];
    EXPECT_EQ(result->arguments.list("tag"), Strings{"x"}) << words[0];
  }
}

TEST(Flags, SwitchesAndDefaults) {
  auto none = parse({});
  EXPECT_FALSE(none->arguments.on("all"));
  EXPECT_TRUE(none->arguments.on("human"));
  EXPECT_EQ(none->arguments.value("format"), "");
  EXPECT_TRUE(parse({"-aq"})->arguments.on("quiet"));
  EXPECT_FALSE(parse({"-H=false"})->arguments.on("human"));
  EXPECT_FALSE(parse({"--human=0"})->arguments.on("human"));
  EXPECT_FALSE(parse({"--all", "--all=false"})->arguments.on("all"));
  EXPECT_TRUE(parse({"--all=false"})->arguments.given("all"));
}

TEST(Flags, ArgumentsAndFlagsMix) {
  auto result = parse({"one", "-q", "two", "--", "-a", "--tag"});
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->arguments.on("quiet"));
  EXPECT_FALSE(result->arguments.on("all"));
  EXPECT_EQ(result->arguments.positional(), (Strings{"one", "two", "-a", "--tag"}));
  EXPECT_EQ(parse({"-"})->arguments.positional(), Strings{"-"});
  EXPECT_EQ(parse({""})->arguments.positional(), Strings{""});
}

TEST(Flags, FirstArgumentEndsGlobalFlags) {
  auto result = parse({"-q", "images", "-a"}, {.interspersed = false});
  ASSERT_TRUE(result);
  EXPECT_EQ(result->consumed, 1u);
  EXPECT_FALSE(result->arguments.on("all"));
}

TEST(Flags, ArgumentsOfAnotherProgram) {
  auto result = parse({"-q", "image", "-a", "--", "--format=x", "-q"}, {.stop_at_argument = true});
  ASSERT_TRUE(result);
  EXPECT_TRUE(result->arguments.on("quiet"));
  EXPECT_FALSE(result->arguments.on("all"));
  EXPECT_EQ(result->arguments.positional(), (Strings{"image", "-a", "--", "--format=x", "-q"}));
  EXPECT_EQ(parse({"--", "-a", "b"}, {.stop_at_argument = true})->arguments.positional(),
            (Strings{"-a", "b"}));
}

TEST(Flags, ListsKeepOrderAndStringsKeepTheLast) {
  auto result = parse({"-t", "a", "--format", "x", "-tb", "--format=y", "--format="});
  EXPECT_EQ(result->arguments.list("tag"), (Strings{"a", "b"}));
  EXPECT_EQ(result->arguments.value("format"), "");
}

TEST(Flags, HelpWins) {
  EXPECT_TRUE(parse({"-h"})->help);
  EXPECT_TRUE(parse({"--help"})->help);
  EXPECT_TRUE(parse({"x", "-qh"})->help);
}

struct Case {
  Strings words;
  const char* message;
};

TEST(Flags, ErrorsReadAsDockers) {
  const std::vector<Case> cases = {
      {{"--nope"}, "unknown flag: --nope"},
      {{"--nope=1"}, "unknown flag: --nope"},
      {{"-x"}, "unknown shorthand flag: 'x' in -x"},
      {{"-axq"}, "unknown shorthand flag: 'x' in -xq"},
      {{"--format"}, "flag needs an argument: --format"},
      {{"-t"}, "flag needs an argument: 't' in -t"},
      {{"-qt"}, "flag needs an argument: 't' in -qt"},
      {{"---x"}, "bad flag syntax: ---x"},
      {{"--=x"}, "bad flag syntax: --=x"},
      {{"-f", "foo"},
       "invalid argument \"foo\" for \"-f, --filter\" flag: bad format of filter (expected "
       "name=value)"},
      {{"--quiet=maybe"},
       "invalid argument \"maybe\" for \"-q, --quiet\" flag: strconv.ParseBool: parsing \"maybe\": "
       "invalid syntax"},
      {{"-j", "x1"},
       "invalid argument \"x1\" for \"-j, --jobs\" flag: strconv.ParseInt: parsing \"x1\": invalid "
       "syntax"},
      {{"--fi\tx"}, "unknown flag: --fi\tx"},
  };
  for (const Case& c : cases) {
    auto result = parse(c.words);
    ASSERT_FALSE(result) << c.message;
    EXPECT_EQ(result.error().message(), c.message);
    EXPECT_EQ(result.error().exit_status(), 125);
  }
}

TEST(Flags, NearestNameIsOffered) {
  auto result = parse({"--qiet"});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().hint_text(), "did you mean --quiet?");
}

TEST(Flags, UsagesAreAlignedAndWrapped) {
  constexpr FlagSpec kTwo[] = {
      {.name = "zeta", .help = "Last"},
      {.name = "alpha",
       .shorthand = 'a',
       .kind = FlagKind::kString,
       .value_name = "string",
       .help = "A sentence that is longer than the column",
       .default_text = "x"},
      {.name = "hidden", .help = "no", .hidden = true},
  };
  EXPECT_EQ(flag_usages(kTwo, 50),
            "  -a, --alpha string   A sentence that is longer\n"
            "                       than the column (default\n"
            "                       \"x\")\n"
            "      --zeta           Last\n");
}

}  // namespace
}  // namespace kasane::cli
