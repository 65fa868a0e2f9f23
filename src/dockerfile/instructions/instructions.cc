#include "dockerfile/instructions/instructions.h"

#include <array>

#include "base/text.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

struct Entry {
  std::string_view keyword;
  Result<InstructionValue> (*parse)(const Node&);
};

// Sorted as in InstructionValue; FROM stands apart.
constexpr std::array<Entry, 17> kInstructions = {{
    {"ENV", parse_env},
    {"LABEL", parse_label},
    {"ARG", parse_arg},
    {"RUN", parse_run},
    {"CMD", parse_cmd},
    {"ENTRYPOINT", parse_entrypoint},
    {"COPY", parse_copy},
    {"ADD", parse_add},
    {"WORKDIR", parse_workdir},
    {"USER", parse_user},
    {"EXPOSE", parse_expose},
    {"VOLUME", parse_volume},
    {"STOPSIGNAL", parse_stopsignal},
    {"SHELL", parse_shell},
    {"HEALTHCHECK", parse_healthcheck},
    {"ONBUILD", parse_onbuild},
    {"MAINTAINER", parse_maintainer},
}};
static_assert(kInstructions.size() == std::variant_size_v<InstructionValue>);

Error unknown_instruction(const Node& node) {
  std::vector<std::string> names = {"FROM"};
  for (const Entry& entry : kInstructions) names.emplace_back(entry.keyword);
  constexpr size_t kShown = 80;  // a binary file has no keywords, only one long word
  std::string written = node.keyword.text.substr(0, kShown);
  std::string near = suggestion(to_upper(written), names);
  if (!near.empty() && written == ascii_lower(written)) {
    constexpr size_t kPrefix = sizeof(" (did you mean ") - 1;
    near = near.substr(0, kPrefix) + ascii_lower(near.substr(kPrefix));
  }
  return Error(ErrorKind::kInvalid, "unknown instruction: " + written + near).at(node.keyword.span);
}

}  // namespace

std::string_view Instruction::name() const { return kInstructions[value.index()].keyword; }

Result<Instruction> parse_instruction(const Node& node) {
  std::string keyword = to_upper(node.keyword.text);
  for (const Entry& entry : kInstructions) {
    if (entry.keyword != keyword) continue;
    // On its own line: g++ 12 leaks members already made when TRY leaves a braced list.
    InstructionValue value = TRY(entry.parse(node));
    Instruction out{node.span, node.keyword, node.original, {}, node.comments, std::move(value)};
    for (const Word& flag : node.flags) out.flags.push_back(to_flag(flag));
    return out;
  }
  return unknown_instruction(node);
}

std::string find_description(const std::vector<Word>& comments, std::string_view name) {
  if (name.empty()) return "";
  for (const Word& comment : comments) {
    std::string_view text = comment.text;
    if (text.starts_with(name) && text.substr(name.size()).starts_with(' '))
      return std::string(trim(text.substr(name.size())));
  }
  return "";
}

CommandLine make_command(const Node& node, size_t first) {
  CommandLine out;
  out.is_exec = node.is_json;
  out.heredocs = node.heredocs;
  out.span = node.args_span;
  if (first < node.args.size()) {
    out.span.begin = node.args[first].span.begin;
    // An exec form keeps its brackets in the span.
    if (node.is_json && first == 0) out.span.begin = node.args_span.begin;
  }
  for (size_t i = first; i < node.args.size(); ++i) {
    if (node.is_json)
      out.argv.push_back(node.args[i].text);
    else
      out.text = node.args[i].text;
  }
  return out;
}

Error at_least_one_argument(const Node& node, std::string_view instruction) {
  return Error(ErrorKind::kInvalid, std::string(instruction) + " requires at least one argument")
      .at(node.keyword.span);
}

Error exactly_one_argument(const Node& node, std::string_view instruction) {
  return Error(ErrorKind::kInvalid, std::string(instruction) + " requires exactly one argument")
      .at(node.args.empty() ? node.keyword.span : node.args_span);
}

Error blank_name(const Node& node, std::string_view instruction) {
  return Error(ErrorKind::kInvalid, std::string(instruction) + " names can not be blank")
      .at(node.args_span);
}

}  // namespace kasane::dockerfile
