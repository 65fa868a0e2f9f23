#include "lint/name_rules.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/text.h"

namespace kasane::lint {
namespace {

using dockerfile::Dockerfile;
using dockerfile::Instruction;
using dockerfile::Stage;
using dockerfile::Word;

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

bool is_lower(std::string_view text) { return ascii_lower(text) == text; }
bool is_upper(std::string_view text) { return upper(text) == text; }

// P20: the comment directly above should begin with the name it describes.
void check_description(std::string_view instruction, const std::vector<std::string>& names,
                       const std::vector<Word>& comments, const SourceSpan& span,
                       Findings& findings) {
  if (comments.empty() || names.empty()) return;
  const std::string& text = comments.back().text;
  if (std::find(names.begin(), names.end(), text.substr(0, text.find(' '))) != names.end()) return;
  const std::string example = names.size() > 1 ? "<arg_key>" : names[0];
  findings.add("InvalidDefinitionDescription", span, comments,
               "Comment for " + std::string(instruction) + " should follow the format: `# " +
                   example + " <description>`");
}

void check_arg(const dockerfile::Arg& arg, const std::vector<Word>& comments,
               const SourceSpan& span, Findings& findings) {
  std::vector<std::string> names;
  for (const dockerfile::ArgDefinition& definition : arg.args) names.push_back(definition.key.text);
  check_description("ARG", names, comments, span, findings);
}

void check_from(const Stage& stage, Findings& findings) {
  const dockerfile::From& from = stage.from;
  if (!from.name) return;
  if (!is_lower(from.name->text))
    findings.add("StageNameCasing", from.span, from.comments,
                 "Stage name '" + from.name->text + "' should be lowercase");
  const std::string& keyword = from.keyword.text;
  const std::string& as = from.as_keyword->text;
  // A keyword in mixed case is the business of ConsistentInstructionCasing.
  if ((is_lower(keyword) && !is_lower(as)) || (is_upper(keyword) && !is_upper(as)))
    findings.add("FromAsCasing", from.span, from.comments,
                 "'" + as + "' and '" + keyword + "' keywords' casing do not match");
  check_description("FROM", {stage.name}, from.comments, from.span, findings);
}

// P15: looks like an exec form, but is none. Shell tests (`[ -f x ]`, `[[`) have a blank or a
// second bracket there.
bool is_broken_array(std::string_view text) {
  if (text.size() < 3 || text[0] != '[' || text.back() != ']') return false;
  if (text[1] == '[' || text[1] == ':') return false;
  if (text[1] != ' ') return true;
  size_t quote = text.find_first_not_of(' ', 1);
  if (text[quote] != '"' && text[quote] != '\'') return false;
  const std::string quote_comma = {text[quote], ','};
  return text.find(quote_comma, quote) != std::string_view::npos;
}

void note_broken_array(const Instruction& instruction, std::string_view text, Findings& findings) {
  findings.add("InvalidExecForm", instruction.span, instruction.comments,
               "'" + std::string(text) + "' of " + std::string(instruction.name()) +
                   " is not a JSON array of double-quoted strings and is read as plain text");
}

void check_exec_form(const Instruction& instruction, Findings& findings) {
  auto command = [&](const dockerfile::CommandLine& line) {
    if (!line.is_exec && line.heredocs.empty() && is_broken_array(line.text))
      note_broken_array(instruction, line.text, findings);
  };
  // Words that were split at blanks: the first begins the array, the last one ends it.
  auto words = [&](const Word& first, const Word& last) {
    if (first.text.size() > 1 && first.text[0] == '[' && last.text.ends_with(']') &&
        first.text.find(']') == std::string::npos)
      note_broken_array(instruction, first.text + " ... " + last.text, findings);
  };
  if (const auto* run = std::get_if<dockerfile::Run>(&instruction.value)) command(run->command);
  if (const auto* cmd = std::get_if<dockerfile::Cmd>(&instruction.value)) command(cmd->command);
  if (const auto* entry = std::get_if<dockerfile::Entrypoint>(&instruction.value))
    command(entry->command);
  if (const auto* health = std::get_if<dockerfile::Healthcheck>(&instruction.value))
    if (!health->none) command(health->command);
  if (const auto* volume = std::get_if<dockerfile::Volume>(&instruction.value))
    if (volume->paths.size() > 1) words(volume->paths.front(), volume->paths.back());
  const dockerfile::CopyBase* copy = std::get_if<dockerfile::Copy>(&instruction.value);
  if (!copy) copy = std::get_if<dockerfile::Add>(&instruction.value);
  if (copy && !copy->sources.empty()) words(copy->sources.front(), copy->destination);
}

}  // namespace

void check_parser_warnings(const Dockerfile& file, Findings& findings) {
  if (file.warnings.empty()) return;
  std::map<uint32_t, const std::vector<Word>*> comments;  // by where the instruction begins
  for (const dockerfile::MetaArg& meta : file.meta_args) comments[meta.span.begin] = &meta.comments;
  for (const Stage& stage : file.stages) {
    comments[stage.from.span.begin] = &stage.from.comments;
    for (const Instruction& instruction : stage.instructions)
      comments[instruction.span.begin] = &instruction.comments;
  }
  for (const dockerfile::Warning& warning : file.warnings) {
    auto after = comments.upper_bound(warning.span.begin);
    findings.add(warning.rule, warning.span,
                 after == comments.begin() ? std::vector<Word>() : *std::prev(after)->second,
                 warning.message);
  }
}

void check_instructions(const Dockerfile& file, Findings& findings) {
  for (const dockerfile::MetaArg& meta : file.meta_args)
    check_arg(meta.arg, meta.comments, meta.span, findings);
  for (const Stage& stage : file.stages) {
    check_from(stage, findings);
    for (const Instruction& instruction : stage.instructions) {
      if (std::holds_alternative<dockerfile::Maintainer>(instruction.value))
        findings.add("MaintainerDeprecated", instruction.span, instruction.comments,
                     "Maintainer instruction is deprecated in favor of using label");
      if (const auto* arg = std::get_if<dockerfile::Arg>(&instruction.value))
        check_arg(*arg, instruction.comments, instruction.span, findings);
      check_exec_form(instruction, findings);
    }
  }
}

void check_stage_names(const Dockerfile& file, Findings& findings) {
  std::set<std::string> seen;
  for (const Stage& stage : file.stages) {
    if (stage.name.empty()) continue;
    if (stage.name == "context" || stage.name == "scratch")
      findings.add(
          "ReservedStageName", stage.from.span, stage.from.comments,
          "Stage name should not use the same name as reserved stage \"" + stage.name + "\"");
    if (!seen.insert(stage.name).second)
      findings.add("DuplicateStageName", stage.from.span, stage.from.comments,
                   "Duplicate stage name \"" + stage.name + "\", stage names should be unique");
  }
}

void check_keyword_casing(const Dockerfile& file, Findings& findings) {
  int lower_count = 0;
  int upper_count = 0;
  auto count = [&](const Word& keyword) {
    if (is_lower(keyword.text))
      ++lower_count;
    else if (is_upper(keyword.text))
      ++upper_count;
  };
  for (const Stage& stage : file.stages) {
    count(stage.from.keyword);
    for (const Instruction& instruction : stage.instructions) count(instruction.keyword);
  }
  const bool wants_lower = lower_count > upper_count;
  auto check = [&](const Word& keyword, const SourceSpan& span, const std::vector<Word>& comments) {
    if (wants_lower ? is_lower(keyword.text) : is_upper(keyword.text)) return;
    findings.add("ConsistentInstructionCasing", span, comments,
                 "Command '" + keyword.text + "' should match the case of the command majority (" +
                     (wants_lower ? "lowercase" : "uppercase") + ")");
  };
  for (const Stage& stage : file.stages) {
    check(stage.from.keyword, stage.from.span, stage.from.comments);
    for (const Instruction& instruction : stage.instructions)
      check(instruction.keyword, instruction.span, instruction.comments);
  }
}

}  // namespace kasane::lint
