#include "dockerfile/heredoc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dockerfile/parser.h"

namespace kasane::dockerfile {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(const std::string& line) {
  std::vector<std::string> out;
  auto marks = find_heredocs(line);
  if (!marks) return {"error"};
  for (const HeredocMark& mark : *marks) out.push_back(mark.heredoc.name);
  return out;
}

TEST(HeredocMarks, Recognition) {
  const std::vector<std::pair<std::string, std::vector<std::string>>> kCases = {
      {"RUN <<EOF", {"EOF"}},
      {"RUN <<-EOF", {"EOF"}},
      {"RUN << EOF", {"EOF"}},
      {"RUN <<- EOF", {"EOF"}},
      {"RUN 4<<EOF", {"EOF"}},
      {"RUN <<'EOF' <<\"B\"", {"EOF", "B"}},
      {"RUN <<eo\\'f", {"eo'f"}},
      {"RUN <<'one two'", {"one two"}},
      {"RUN <<$EOF", {"$EOF"}},
      {"COPY <<a.txt <<b.txt /d", {"a.txt", "b.txt"}},
      {"RUN cat <<EOF>x", {"EOF>x"}},
      {"RUN \"<<EOF\"", {}},
      {"RUN '<<EOF'", {}},
      {"RUN <<<EOF", {}},
      {"RUN $((1<<2))", {}},
      {"RUN $((1 << 2))", {"2))"}},
      {"RUN x<<EOF", {}},
      {"RUN it's <<EOF", {}},  // the quote does not close: left to the shell
  };
  for (const auto& [line, expected] : kCases) EXPECT_EQ(names(line), expected) << line;
}

TEST(HeredocMarks, Attributes) {
  auto first = [](const std::string& line) { return find_heredocs(line)->at(0).heredoc; };
  EXPECT_TRUE(first("RUN <<EOF").expand);
  EXPECT_FALSE(first("RUN <<'EOF'").expand);
  EXPECT_FALSE(first("RUN <<E\"O\"F").expand);
  EXPECT_TRUE(first("RUN <<eo\\'f").expand);
  EXPECT_FALSE(first("RUN <<'e'o\\'f").expand);
  EXPECT_TRUE(first("RUN <<-EOF").chomp);
  EXPECT_EQ(first("RUN 3<<EOF").descriptor, 3);
  EXPECT_EQ(first("RUN 99999999999999999999<<EOF").descriptor, 0);
}

std::vector<Instruction> instructions_of(const std::string& text) {
  auto file = parse("Dockerfile", "FROM scratch\n" + text);
  if (!file) {
    ADD_FAILURE() << text << ": " << file.error().full_message();
    return {};
  }
  return file->stages[0].instructions;
}

CommandLine run_of(const std::string& text) {
  std::vector<Instruction> all = instructions_of(text);
  return all.empty() ? CommandLine() : std::get<Run>(all[0].value).command;
}

TEST(HeredocBodies, ScriptsAndCommands) {
  CommandLine script = run_of("RUN <<EOF\necho 1\n# kept\nEOF\n");
  EXPECT_TRUE(script.is_heredoc_script());
  EXPECT_FALSE(script.has_shebang());
  EXPECT_EQ(script.shell_text(), "echo 1\n# kept\n");
  CommandLine chomped = run_of("RUN <<-EOF\n\t\techo\n\t a\n\tEOF\n");
  EXPECT_EQ(chomped.shell_text(), "echo\n a\n");
  EXPECT_EQ(chomped.heredocs[0].body, "\t\techo\n\t a\n");
  EXPECT_TRUE(run_of("RUN <<-EOF\n\t#!/bin/x\nEOF\n").has_shebang());
  CommandLine piped = run_of("RUN <<A cat && <<-B cat\n1\nA\n\t2\n\tB\n");
  EXPECT_FALSE(piped.is_heredoc_script());
  EXPECT_EQ(piped.shell_text(), "<<A cat && <<-B cat\n1\nA\n\t2\nB");
  EXPECT_TRUE(run_of("RUN --network=none <<EOF\nx\nEOF").is_heredoc_script());
  EXPECT_EQ(run_of("RUN <<EOF\r\na\r\nEOF\r\n").shell_text(), "a\r\n");
}

TEST(HeredocBodies, OnlyWhereTheyMayStand) {
  EXPECT_TRUE(run_of("RUN [\"<<EOF\"]").heredocs.empty());
  std::vector<Instruction> all = instructions_of("USER <<X\nCMD <<Y\n");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(std::get<User>(all[0].value).user.text, "<<X");
}

TEST(HeredocBodies, CopyMixesFilesAndHeredocs) {
  std::vector<Instruction> all =
      instructions_of("COPY a <<X b << 'Y' /dest/\n$x\nX\n1\nY\nUSER u\n");
  ASSERT_EQ(all.size(), 2u);
  const Copy& copy = std::get<Copy>(all[0].value);
  ASSERT_EQ(copy.sources.size(), 2u);
  EXPECT_EQ(copy.sources[1].text, "b");
  EXPECT_EQ(copy.destination.text, "/dest/");
  ASSERT_EQ(copy.inline_files.size(), 2u);
  EXPECT_EQ(copy.inline_files[0].content(), "$x\n");
  EXPECT_TRUE(copy.inline_files[0].expand);
  EXPECT_FALSE(copy.inline_files[1].expand);
}

TEST(HeredocBodies, Unterminated) {
  for (const char* text : {"RUN <<EOF\nx\n", "RUN <<EOF\nx\nEOF \n", "RUN <<EOF\n\tEOF\n"}) {
    auto file = parse("Dockerfile", std::string("FROM scratch\n") + text);
    ASSERT_FALSE(file) << text;
    EXPECT_EQ(file.error().full_message(),
              "dockerfile parse error on line 2: unterminated heredoc");
  }
  auto shift = parse("Dockerfile", "FROM scratch\nRUN echo $((1 << 2))\n");
  ASSERT_FALSE(shift);
  EXPECT_THAT(shift.error().hint_text(), HasSubstr("$((1<<2))"));
  EXPECT_FALSE(parse("Dockerfile", "FROM scratch\nRUN <<'EOF\nEOF\n").has_value() &&
               !run_of("RUN <<'EOF\nUSER x").heredocs.empty());
}

}  // namespace
}  // namespace kasane::dockerfile
