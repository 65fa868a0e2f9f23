// ENV, LABEL, ARG.
#include "dockerfile/instructions/instructions.h"

namespace kasane::dockerfile {
namespace {

Result<std::vector<KeyValue>> parse_pairs(const Node& node, std::string_view instruction) {
  TRY(FlagSet::parse(node, {}));
  if (node.args.empty()) return at_least_one_argument(node, instruction);
  std::vector<KeyValue> out;
  for (size_t i = 0; i + 1 < node.args.size(); i += 2) {
    if (node.args[i].text.empty()) return blank_name(node, instruction);
    out.push_back({node.args[i], node.args[i + 1]});
  }
  return out;
}

}  // namespace

Result<InstructionValue> parse_env(const Node& node) {
  return InstructionValue(Env{TRY(parse_pairs(node, "ENV")), node.legacy_pair});
}

Result<InstructionValue> parse_label(const Node& node) {
  return InstructionValue(Label{TRY(parse_pairs(node, "LABEL")), node.legacy_pair});
}

// Flags are not looked at: BuildKit drops them silently, parser.cc warns (P14).
Result<InstructionValue> parse_arg(const Node& node) {
  if (node.args.empty()) return at_least_one_argument(node, "ARG");
  Arg out;
  for (const Word& word : node.args) {
    ArgDefinition definition;
    size_t equals = word.text.find('=');
    definition.key = {word.text.substr(0, equals), word.span};
    if (equals != std::string::npos) {
      if (equals == 0) return blank_name(node, "ARG");
      auto key_bytes = static_cast<uint32_t>(equals);
      SourceSpan value_span = word.span;
      // Inside one physical line the name has as many bytes in the file as in the word.
      if (word.span.first_line() == word.span.last_line()) {
        definition.key.span.end = word.span.begin + key_bytes;
        value_span.begin = std::min(value_span.end, definition.key.span.end + 1);
      }
      definition.value = Word{word.text.substr(equals + 1), value_span};
    }
    definition.description = find_description(node.comments, definition.key.text);
    out.args.push_back(std::move(definition));
  }
  return InstructionValue(std::move(out));
}

}  // namespace kasane::dockerfile
