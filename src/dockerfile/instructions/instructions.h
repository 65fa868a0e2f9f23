// One function per instruction: lexical node to typed value. Errors carry the span of the
// word to blame; parse() adds the line. Internal to this folder.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"
#include "dockerfile/syntax.h"

namespace kasane::dockerfile {

Result<InstructionValue> parse_env(const Node& node);
Result<InstructionValue> parse_label(const Node& node);
Result<InstructionValue> parse_arg(const Node& node);
Result<InstructionValue> parse_run(const Node& node);
Result<InstructionValue> parse_cmd(const Node& node);
Result<InstructionValue> parse_entrypoint(const Node& node);
Result<InstructionValue> parse_copy(const Node& node);
Result<InstructionValue> parse_add(const Node& node);
Result<InstructionValue> parse_workdir(const Node& node);
Result<InstructionValue> parse_user(const Node& node);
Result<InstructionValue> parse_expose(const Node& node);
Result<InstructionValue> parse_volume(const Node& node);
Result<InstructionValue> parse_stopsignal(const Node& node);
Result<InstructionValue> parse_shell(const Node& node);
Result<InstructionValue> parse_healthcheck(const Node& node);
Result<InstructionValue> parse_onbuild(const Node& node);
Result<InstructionValue> parse_maintainer(const Node& node);

// FROM opens a stage and is no InstructionValue; comments hold the description (P20).
Result<From> parse_from(const Node& node);

// Any instruction but FROM. Unknown keywords get a suggestion (P12).
Result<Instruction> parse_instruction(const Node& node);

// The comment line whose first word is `name`, without that word (P20); "" when none is.
std::string find_description(const std::vector<Word>& comments, std::string_view name);

// Shared by RUN, CMD, ENTRYPOINT, HEALTHCHECK: args from `first` on.
CommandLine make_command(const Node& node, size_t first);

// Messages in BuildKit's words.
Error at_least_one_argument(const Node& node, std::string_view instruction);
Error exactly_one_argument(const Node& node, std::string_view instruction);
Error blank_name(const Node& node, std::string_view instruction);
// " (did you mean X?)" or "". `shown` is appended to, so that message and list stay apart.
std::string suggestion(std::string_view word, const std::vector<std::string>& known);

// The flags of one instruction, checked against what it knows (P13).
class FlagSet {
 public:
  enum class Kind { kBool, kString, kList };
  struct Known {
    std::string_view name;
    Kind kind;
  };

  // Errors: unknown (with suggestion), duplicate, missing or bad value.
  static Result<FlagSet> parse(const Node& node, const std::vector<Known>& known);

  bool is_true(std::string_view name) const;                  // kBool; false when absent
  std::optional<bool> get_bool(std::string_view name) const;  // kBool
  std::optional<Word> get(std::string_view name) const;       // kString; the value's span
  std::vector<Word> get_all(std::string_view name) const;     // kList

 private:
  static Result<> check_value(const Flag& flag, Kind kind);
  std::map<std::string, std::vector<Word>, std::less<>> values_;
};

Flag to_flag(const Word& word);

}  // namespace kasane::dockerfile
