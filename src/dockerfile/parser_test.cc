#include "dockerfile/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "dockerfile/dump.h"

namespace kasane::dockerfile {
namespace {

using RunInstruction = Run;  // inside a TEST, Run is testing::Test::Run

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Dockerfile must_parse(const std::string& text) {
  auto file = parse("Dockerfile", text);
  if (!file) {
    ADD_FAILURE() << text << "\n" << file.error().full_message();
    return {};
  }
  return std::move(*file);
}

// Instructions of the only stage of "FROM scratch" + text.
std::vector<Instruction> instructions_of(const std::string& text) {
  Dockerfile file = must_parse("FROM scratch\n" + text);
  return file.stages.empty() ? std::vector<Instruction>() : file.stages[0].instructions;
}

template <class T>
T only(const std::string& text) {
  std::vector<Instruction> all = instructions_of(text);
  if (all.size() != 1 || !std::holds_alternative<T>(all[0].value)) {
    ADD_FAILURE() << text << " gives " << all.size() << " instructions";
    return {};
  }
  return std::get<T>(all[0].value);
}

struct Failure {
  std::string message;
  std::string blamed;  // text under the caret
  int line = 0;
};

Failure fail(const std::string& text) {
  auto file = parse("Dockerfile", text);
  if (file) {
    ADD_FAILURE() << text << " parses";
    return {};
  }
  const Error& error = file.error();
  Failure out{error.full_message(), "", error.span().first_line()};
  if (error.span())
    out.blamed = error.span().source->text().substr(error.span().begin,
                                                    error.span().end - error.span().begin);
  return out;
}

std::string run_text(const std::string& text) { return only<RunInstruction>(text).command.text; }

std::vector<std::string> texts(const std::vector<Word>& words) {
  std::vector<std::string> out;
  for (const Word& word : words) out.push_back(word.text);
  return out;
}

std::vector<std::string> pairs(const std::vector<KeyValue>& values) {
  std::vector<std::string> out;
  for (const KeyValue& pair : values) out.push_back(pair.key.text + "|" + pair.value.text);
  return out;
}

TEST(Lexical, ByteOrderMarkAndLineEndings) {
  Dockerfile file = must_parse("\xef\xbb\xbf# escape=`\r\nFROM scratch\r\nRUN a `\r\n  b\r\n");
  EXPECT_EQ(file.directives.escape, '`');
  EXPECT_EQ(file.stages[0].from.image.text, "scratch");
  EXPECT_EQ(std::get<RunInstruction>(file.stages[0].instructions[0].value).command.text, "a   b");
}

TEST(Lexical, EmptyInputs) {
  EXPECT_EQ(fail("").message, "the Dockerfile cannot be empty");
  EXPECT_EQ(fail("# only\n\n").message, "file with no instructions");
  EXPECT_EQ(fail("\n").message, "file with no instructions");
  EXPECT_EQ(fail("ARG a=1\n").message, "dockerfile contains no stages to build");
  EXPECT_EQ(fail("RUN x\nFROM a\n").message,
            "dockerfile parse error on line 1: no build stage in current context");
}

TEST(Lexical, CommentsAndContinuations) {
  EXPECT_EQ(run_text("RUN a \\\n# no \\\n  # no\n b\n"), "a  b");
  EXPECT_EQ(run_text("  RUN a # b"), "a # b");
  EXPECT_EQ(run_text("# x \\\nRUN a"), "a");
  EXPECT_EQ(run_text("RUN a \\ \t\nb"), "a b");
  EXPECT_EQ(run_text("RUN a\\\nb\\\n\\\nc"), "abc");
  EXPECT_EQ(run_text("RUN a \\"), "a");
  EXPECT_EQ(run_text("RUN a \\\n"), "a");
  // An escaped escape does not continue, nor does a third one.
  EXPECT_THAT(fail("FROM scratch\nRUN a\\\\\nb\n").message, HasSubstr("line 3: unknown"));
  EXPECT_THAT(fail("FROM scratch\nRUN a\\\\\\\nb\n").message, HasSubstr("line 3: unknown"));
}

TEST(Lexical, EmptyContinuationWarnsAtTheLastLine) {
  Dockerfile file = must_parse("FROM scratch\nRUN a \\\n\n  b \\\n\n c\nRUN d \\\n# fine\n e\n");
  ASSERT_EQ(file.warnings.size(), 1u);
  EXPECT_EQ(file.warnings[0].rule, "NoEmptyContinuation");
  EXPECT_EQ(file.warnings[0].span.first_line(), 6);
}

TEST(Lexical, Keywords) {
  EXPECT_EQ(run_text("rUn\ta"), "a");
  EXPECT_EQ(run_text("RUN\va"), "a");
  Failure unknown = fail("FROM scratch\n\n  RUM x\n");
  EXPECT_EQ(unknown.message,
            "dockerfile parse error on line 3: unknown instruction: RUM (did you mean RUN?)");
  EXPECT_EQ(unknown.blamed, "RUM");
  EXPECT_THAT(fail("FROM scratch\ncopi a b\n").message, HasSubstr("copi (did you mean copy?)"));
  EXPECT_THAT(fail("FROM scratch\nFOOBARBAZ x\n").message,
              ::testing::EndsWith("unknown instruction: FOOBARBAZ"));
  // A no-break space does not separate.
  EXPECT_THAT(fail("FROM scratch\nRUN\xc2\xa0x\n").message, HasSubstr("unknown instruction"));
}

TEST(Lexical, SpansCoverWhatTheySay) {
  Dockerfile file =
      must_parse("FROM scratch\n\n  ENV a=1 \\\n   b=\"x y\"\nRUN <<E\n1\nE\nUSER u\n");
  const auto& all = file.stages[0].instructions;
  EXPECT_EQ(all[0].span.first_line(), 3);
  EXPECT_EQ(all[0].span.last_line(), 4);
  EXPECT_EQ(all[1].span.first_line(), 5);
  EXPECT_EQ(all[1].span.last_line(), 7);
  EXPECT_EQ(file.stages[0].span.last_line(), 8);
  const Env& env = std::get<Env>(all[0].value);
  auto text = [&](const SourceSpan& span) {
    return std::string(span.source->text().substr(span.begin, span.end - span.begin));
  };
  EXPECT_EQ(text(env.pairs[1].key.span), "b");
  EXPECT_EQ(text(env.pairs[1].value.span), "\"x y\"");
}

TEST(Directives, PositionAndSpelling) {
  EXPECT_EQ(must_parse("#Escape = `\nFROM a").directives.escape, '`');
  EXPECT_EQ(must_parse("\n# escape=`\nFROM a").directives.escape, '\\');
  EXPECT_EQ(must_parse("# hello\n# escape=`\nFROM a").directives.escape, '\\');
  EXPECT_EQ(must_parse("# other=1\n# escape=`\nFROM a").directives.escape, '\\');
  EXPECT_EQ(must_parse("#!/usr/bin/x\n# escape=`\nFROM a").directives.escape, '\\');
  Dockerfile file = must_parse("# syntax=docker/dockerfile:1 x\n# check=skip=all\nFROM a");
  EXPECT_EQ(file.directives.syntax->text, "docker/dockerfile:1 x");
  EXPECT_EQ(file.directives.check->text, "skip=all");
  EXPECT_THAT(file.stages[0].from.comments, IsEmpty());
}

TEST(Directives, Errors) {
  Failure twice = fail("# escape=`\n# escape=`\nFROM a");
  EXPECT_EQ(twice.message,
            "dockerfile parse error on line 2: only one escape parser directive can be used");
  Failure bad = fail("# escape=x\nFROM a");
  EXPECT_THAT(bad.message, HasSubstr("invalid escape token 'x'"));
  EXPECT_EQ(bad.blamed, "x");
}

TEST(Flags, Parsing) {
  Copy copy = only<Copy>(
      "COPY --chown=a:b --link --parents=FALSE --from=x --exclude=*.a "
      "--exclude=\"b c\" --chmod=644 s d");
  EXPECT_EQ(copy.chown->text, "a:b");
  EXPECT_EQ(copy.chmod->text, "644");
  EXPECT_EQ(copy.from->text, "x");
  EXPECT_TRUE(copy.link);
  EXPECT_FALSE(copy.parents);
  EXPECT_THAT(texts(copy.excludes), ElementsAre("*.a", "b c"));
  EXPECT_THAT(texts(only<Copy>("COPY -- --a b").sources), ElementsAre("--a"));
  Add add = only<Add>("ADD --unpack=true --checksum=sha256:1 a b");
  EXPECT_EQ(add.unpack, true);
  EXPECT_EQ(add.keep_git_dir, std::nullopt);
}

TEST(Flags, Errors) {
  auto check = [](const std::string& line, const std::string& message, const std::string& blamed) {
    Failure failure = fail("FROM scratch\n" + line);
    EXPECT_EQ(failure.message, "dockerfile parse error on line 2: " + message);
    EXPECT_EQ(failure.blamed, blamed);
  };
  check("COPY --chwon=a s d", "unknown flag: --chwon (did you mean chown?)", "--chwon=a");
  check("COPY --link= s d", "missing a value on flag: --link", "--link=");
  check("COPY --link=maybe s d", "expecting boolean value for flag --link, not: maybe",
        "--link=maybe");
  check("COPY --chown s d", "missing a value on flag: --chown", "--chown");
  check("COPY --chown=a --chown=b s d", "duplicate flag specified: --chown", "--chown=b");
  check("USER --x=1 me", "unknown flag: --x", "--x=1");
}

TEST(Flags, IgnoredOnesWarn) {
  Dockerfile file = must_parse("FROM scratch\nSTOPSIGNAL --x 9\nARG --y a\nHEALTHCHECK --z NONE\n");
  EXPECT_EQ(file.warnings.size(), 3u);
}

TEST(ExecForm, Detection) {
  EXPECT_THAT(only<Cmd>("CMD [ \"a\",\t\"b\\n\\u00e9\" ]  ").command.argv,
              ElementsAre("a", "b\n\xc3\xa9"));
  EXPECT_TRUE(only<Cmd>("CMD []").command.is_exec);
  for (const char* shell : {"['a']", "[\"a\",]", "[\"a\"] x", "[\"\\x\"]", "[\"a\"", "[ -f x ]"}) {
    CommandLine command = only<Cmd>(std::string("CMD ") + shell).command;
    EXPECT_FALSE(command.is_exec) << shell;
    EXPECT_EQ(command.text, shell);
  }
  EXPECT_THAT(texts(only<Volume>("VOLUME [/a, /b]").paths), ElementsAre("[/a,", "/b]"));
  for (const char* mixed : {"[\"a\",1]", "[[\"a\"]]", "[null]", "[{\"a\":[1.5e3,true]}]"})
    EXPECT_THAT(fail(std::string("FROM scratch\nRUN ") + mixed).message,
                HasSubstr("arrays must be comprised of strings only"));
}

TEST(Variables, EnvAndLabel) {
  EXPECT_THAT(pairs(only<Env>("ENV a=1 b='x y' c=d\\ e").pairs),
              ElementsAre("a|1", "b|'x y'", "c|d\\ e"));
  Env legacy = only<Env>("ENV a  b   c=d ");
  EXPECT_TRUE(legacy.legacy_form);
  EXPECT_THAT(pairs(legacy.pairs), ElementsAre("a|b   c=d"));
  EXPECT_THAT(pairs(only<Label>("LABEL \"a b\"=c").pairs), ElementsAre("\"a b\"|c"));
  Failure later = fail("FROM scratch\nENV a=1 b");
  EXPECT_THAT(later.message, HasSubstr("Syntax error - can't find = in \"b\". Must be of the form: "
                                       "name=value"));
  EXPECT_EQ(later.blamed, "b");
  EXPECT_THAT(fail("FROM scratch\nENV =x").message, HasSubstr("ENV names can not be blank"));
  EXPECT_THAT(fail("FROM scratch\nLABEL").message,
              HasSubstr("LABEL requires at least one argument"));
  EXPECT_THAT(fail("FROM scratch\nENV a").message, HasSubstr("ENV must have two arguments"));
}

TEST(Variables, Arg) {
  Arg arg = only<Arg>("# b the second\nARG a b=1 c= d=\"x y\"");
  ASSERT_EQ(arg.args.size(), 4u);
  EXPECT_FALSE(arg.args[0].value);
  EXPECT_EQ(arg.args[1].value->text, "1");
  EXPECT_EQ(arg.args[1].description, "the second");
  EXPECT_EQ(arg.args[2].value->text, "");
  EXPECT_EQ(arg.args[3].value->text, "\"x y\"");
  EXPECT_THAT(fail("FROM scratch\nARG =x").message, HasSubstr("ARG names can not be blank"));
}

TEST(From, FormsAndNames) {
  Dockerfile file = must_parse(
      "ARG V=1\nFROM --platform=$BUILDPLATFORM a:$V as Base-1.x\nFROM base-1.x\nUSER u\n"
      "FROM a AS base-1.x\n");
  EXPECT_EQ(file.meta_args.size(), 1u);
  ASSERT_EQ(file.stages.size(), 3u);
  EXPECT_EQ(file.stages[0].name, "base-1.x");
  EXPECT_EQ(file.stages[0].from.as_keyword->text, "as");
  EXPECT_EQ(file.stages[0].from.platform->text, "$BUILDPLATFORM");
  EXPECT_EQ(file.stages[1].index, 1);
  EXPECT_EQ(file.find_stage("BASE-1.X", 1)->index, 0);
  EXPECT_EQ(file.find_stage("base-1.x", 3)->index, 2);
  EXPECT_EQ(file.find_stage("nope", 3), nullptr);
}

TEST(From, Errors) {
  EXPECT_THAT(fail("FROM a b").message, HasSubstr("FROM requires either one or three arguments"));
  EXPECT_THAT(fail("FROM").message, HasSubstr("FROM requires either one or three arguments"));
  EXPECT_EQ(fail("FROM a # x").blamed, "a # x");
  Failure name = fail("FROM a AS 1x");
  EXPECT_THAT(name.message, HasSubstr("invalid name for build stage: \"1x\", name can't start "
                                      "with a number or contain symbols"));
  EXPECT_EQ(name.blamed, "1x");
}

TEST(From, DocComments) {
  EXPECT_EQ(must_parse("# x\n# base is first\nFROM a AS base").stages[0].doc_comment, "is first");
  EXPECT_EQ(must_parse("# base is first\n#\nFROM a AS base").stages[0].doc_comment, "");
  EXPECT_EQ(must_parse("# base is first\n\nFROM a AS base").stages[0].doc_comment, "");
}

TEST(Copy, CountsAndDestination) {
  EXPECT_THAT(fail("FROM scratch\nCOPY a").message,
              HasSubstr("COPY requires at least two arguments, but only one was provided. "
                        "Destination could not be determined"));
  EXPECT_THAT(texts(only<Copy>("COPY [\"a b\", \"c\", \"d\"]").sources), ElementsAre("a b", "c"));
  EXPECT_THAT(fail("FROM scratch\nCOPY a <<E\nE\n").message,
              HasSubstr("COPY cannot accept a heredoc as a destination"));
}

TEST(Metadata, WholeLineOrWords) {
  EXPECT_EQ(only<Workdir>("WORKDIR /a b ").path.text, "/a b");
  EXPECT_EQ(only<User>("USER a:b").user.text, "a:b");
  EXPECT_EQ(only<StopSignal>("STOPSIGNAL SIGTERM").signal.text, "SIGTERM");
  EXPECT_EQ(only<Maintainer>("MAINTAINER A B <c>").name, "A B <c>");
  EXPECT_THAT(texts(only<Expose>("EXPOSE 9 10\t80/tcp").ports), ElementsAre("10", "80/tcp", "9"));
  EXPECT_THAT(fail("FROM scratch\nUSER").message, HasSubstr("USER requires exactly one argument"));
  EXPECT_THAT(fail("FROM scratch\nEXPOSE").message, HasSubstr("EXPOSE requires at least one"));
  EXPECT_THAT(fail("FROM scratch\nVOLUME [\"\"]").message,
              HasSubstr("VOLUME specified can not be an empty string"));
  EXPECT_THAT(fail("FROM scratch\nSHELL a b").message,
              HasSubstr("SHELL requires the arguments to be in JSON form"));
  EXPECT_THAT(fail("FROM scratch\nSHELL []").message, HasSubstr("SHELL requires at least one"));
  EXPECT_EQ(run_text("RUN"), "");
}

TEST(Healthcheck, FormsAndDurations) {
  Healthcheck check = only<Healthcheck>(
      "HEALTHCHECK --interval=1m30s --timeout=.5s --start-period=0s --start-interval=100ms "
      "--retries=3 cmd a b");
  EXPECT_EQ(check.interval_ns, 90'000'000'000);
  EXPECT_EQ(check.timeout_ns, 500'000'000);
  EXPECT_EQ(check.start_interval_ns, 100'000'000);
  EXPECT_EQ(check.retries, 3);
  EXPECT_EQ(check.command.text, "a b");
  EXPECT_TRUE(only<Healthcheck>("HEALTHCHECK none").none);
  EXPECT_THAT(only<Healthcheck>("HEALTHCHECK CMD [\"x\"]").command.argv, ElementsAre("x"));
  auto check_error = [](const std::string& line, const std::string& message) {
    EXPECT_THAT(fail("FROM scratch\nHEALTHCHECK " + line).message, HasSubstr(message));
  };
  check_error("NONE x", "HEALTHCHECK NONE takes no arguments");
  check_error("CMD", "Missing command after HEALTHCHECK CMD");
  check_error("PING x", "Unknown type \"PING\" in HEALTHCHECK (try CMD)");
  check_error("--interval=1us CMD x", "cannot be less than 1ms");
  check_error("--interval=5 CMD x", "time: invalid duration \"5\"");
  check_error("--retries=-1 CMD x", "--retries cannot be negative (-1)");
}

TEST(Onbuild, TriggersAndErrors) {
  Onbuild onbuild = only<Onbuild>("onbuild  run <<E cat\nx\nE");
  EXPECT_EQ(onbuild.trigger, "run <<E cat\nx\nE");
  EXPECT_EQ(std::get<RunInstruction>(onbuild.instruction->value).command.shell_text(),
            "<<E cat\nx\nE");
  EXPECT_THAT(fail("FROM scratch\nONBUILD ONBUILD RUN x").message,
              HasSubstr("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"));
  EXPECT_THAT(fail("FROM scratch\nONBUILD from x").message,
              HasSubstr("FROM isn't allowed as an ONBUILD trigger"));
  EXPECT_THAT(fail("FROM scratch\nONBUILD RUM x").message, HasSubstr("unknown instruction: RUM"));

  auto again = parse_trigger("ONBUILD of a:1", onbuild.trigger);
  ASSERT_TRUE(again) << again.error().full_message();
  EXPECT_EQ(std::get<RunInstruction>(again->value).command.shell_text(), "<<E cat\nx\nE");
  EXPECT_FALSE(parse_trigger("t", "FROM x"));
  EXPECT_FALSE(parse_trigger("t", "RUN x\nRUN y"));
  EXPECT_FALSE(parse_trigger("t", ""));
}

TEST(Hostile, LimitsAndLinearTime) {
  auto start = std::chrono::steady_clock::now();
  std::string many_flags = "FROM scratch\nRUN ";
  for (int i = 0; i < 100'000; ++i) many_flags += "--mount=target=/a ";
  EXPECT_TRUE(parse("Dockerfile", many_flags + "x"));
  std::string nested = "FROM scratch\n";
  for (int i = 0; i < 100'000; ++i) nested += "ONBUILD ";
  EXPECT_FALSE(parse("Dockerfile", nested));
  EXPECT_TRUE(parse("Dockerfile", "FROM scratch\nRUN " + std::string(1'000'000, '[')));
  std::string pieces = "FROM scratch\nRUN x";
  for (int i = 0; i < 300'000; ++i) pieces += "\\\n<<";
  EXPECT_TRUE(parse("Dockerfile", pieces).has_value());
  EXPECT_TRUE(parse("Dockerfile", "FROM scratch\nRUN " + std::string(3'000'000, '\'')));
  std::string marks = "FROM scratch\nCOPY";
  std::string bodies;
  for (int i = 0; i < 200'000; ++i) {
    marks += " <<a x";
    bodies += "a\n";
  }
  EXPECT_TRUE(parse("Dockerfile", marks + " /d\n" + bodies));
  std::string comments;
  for (int i = 0; i < 200'000; ++i) comments += "#x y\n";
  std::string args = "ARG";
  for (int i = 0; i < 200'000; ++i) args += " xx";
  EXPECT_TRUE(parse("Dockerfile", "FROM scratch\n" + comments + args));
  std::string many;
  for (int i = 0; i < 200'000; ++i) many += "RUN\n";
  auto refused = parse("Dockerfile", "FROM scratch\n" + many);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::kLimit);
  EXPECT_EQ(parse("Dockerfile", std::string(kMaxDockerfileBytes + 1, 'a')).error().kind(),
            ErrorKind::kLimit);
  EXPECT_FALSE(parse("Dockerfile", std::string("\0\xff\xfe", 3)));
  auto seconds = std::chrono::steady_clock::now() - start;
  EXPECT_LT(seconds, std::chrono::seconds(30));
}

TEST(Dump, UnknownAndEmpty) {
  auto text = [](const std::string& file) {
    return *dump(std::make_shared<const SourceText>("Dockerfile", file));
  };
  EXPECT_EQ(text("Foo --x bar\nRUN\nONBUILD env a b"),
            "(foo [\"--x\"])\n(run)\n(onbuild (env \"a\" \"b\" \"\"))\n");
}

}  // namespace
}  // namespace kasane::dockerfile
