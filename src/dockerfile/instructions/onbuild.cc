#include "dockerfile/instructions/instructions.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {

Result<InstructionValue> parse_onbuild(const Node& node) {
  if (!node.child) return at_least_one_argument(node, "ONBUILD");
  TRY(FlagSet::parse(node, {}));
  std::string keyword = to_upper(node.child->keyword.text);
  if (keyword == "ONBUILD")
    return Error(ErrorKind::kInvalid, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
        .at(node.child->keyword.span);
  if (keyword == "MAINTAINER" || keyword == "FROM")
    return Error(ErrorKind::kInvalid, keyword + " isn't allowed as an ONBUILD trigger")
        .at(node.child->keyword.span);
  Onbuild out;
  out.trigger = node.child_text;
  for (const Heredoc& heredoc : node.child->heredocs)
    out.trigger += "\n" + heredoc.body + heredoc.name;
  Node child = *node.child;
  child.span = node.span;
  child.span.begin = child.keyword.span.begin;
  out.instruction = std::make_shared<const Instruction>(TRY(parse_instruction(child)));
  return InstructionValue(std::move(out));
}

}  // namespace kasane::dockerfile
