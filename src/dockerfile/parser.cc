#include "dockerfile/parser.h"

#include "base/text.h"
#include "dockerfile/instructions/instructions.h"
#include "dockerfile/syntax.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

class Parser {
 public:
  Parser(std::shared_ptr<const SourceText> source, SyntaxTree tree) : tree_(std::move(tree)) {
    out_.source = std::move(source);
    out_.directives = std::move(tree_.directives);
    out_.warnings = std::move(tree_.warnings);
  }

  Result<Dockerfile> run() {
    for (const Node& node : tree_.nodes) {
      auto added = add(node);
      if (!added) return parse_error(std::move(added.error()), node.span);
    }
    if (out_.stages.empty())
      return Error(ErrorKind::kInvalid, "dockerfile contains no stages to build")
          .hint("add a FROM instruction: `FROM scratch` or `FROM image:tag`");
    return std::move(out_);
  }

 private:
  Result<> add(const Node& node) {
    if (to_upper(node.keyword.text) == "FROM") return add_stage(node);
    Instruction instruction = TRY(parse_instruction(node));
    warn_about_ignored_flags(instruction);
    if (!out_.stages.empty()) {
      Stage& stage = out_.stages.back();
      stage.span.end = node.span.end;
      stage.instructions.push_back(std::move(instruction));
      return {};
    }
    Arg* arg = std::get_if<Arg>(&instruction.value);
    if (!arg)
      return Error(ErrorKind::kInvalid, "no build stage in current context")
          .at(node.keyword.span)
          .hint("only ARG may stand before the first FROM");
    out_.meta_args.push_back({instruction.span, instruction.original, instruction.keyword,
                              instruction.comments, std::move(*arg)});
    return {};
  }

  Result<> add_stage(const Node& node) {
    Stage stage;
    stage.from = TRY(parse_from(node));
    stage.index = static_cast<int>(out_.stages.size());
    if (stage.from.name) {
      stage.name = ascii_lower(stage.from.name->text);
      stage.doc_comment = find_description(stage.from.comments, stage.name);
      if (stage.doc_comment.empty())
        stage.doc_comment = find_description(stage.from.comments, stage.from.name->text);
    }
    stage.span = node.span;
    out_.stages.push_back(std::move(stage));
    return {};
  }

  // BuildKit never reads the flags of these (P14); silence would hide a mistake.
  void warn_about_ignored_flags(const Instruction& instruction) {
    const auto* health = std::get_if<Healthcheck>(&instruction.value);
    bool ignored = std::holds_alternative<Arg>(instruction.value) ||
                   std::holds_alternative<StopSignal>(instruction.value) ||
                   (health && health->none);
    if (!ignored) return;
    for (const Flag& flag : instruction.flags)
      out_.warnings.push_back({"IgnoredFlag",
                               std::string(instruction.name()) + (health ? " NONE" : "") +
                                   " takes no flags; --" + flag.name + " is ignored",
                               flag.span});
  }

  SyntaxTree tree_;
  Dockerfile out_;
};

}  // namespace

Result<Dockerfile> parse(std::shared_ptr<const SourceText> source) {
  SyntaxTree tree = TRY(read_syntax(source));
  return Parser(std::move(source), std::move(tree)).run();
}

Result<Dockerfile> parse(std::string name, std::string text) {
  return parse(std::make_shared<const SourceText>(std::move(name), std::move(text)));
}

Result<Instruction> parse_trigger(std::string name, std::string text) {
  auto source = std::make_shared<const SourceText>(std::move(name), std::move(text));
  SyntaxTree tree = TRY_CONTEXT(read_syntax(source), source->name());
  const Node& node = tree.nodes.front();
  std::string keyword = to_upper(node.keyword.text);
  if (keyword == "FROM" || keyword == "MAINTAINER" || keyword == "ONBUILD")
    return parse_error(Error(ErrorKind::kInvalid, keyword + " isn't allowed as an ONBUILD trigger"),
                       node.keyword.span);
  if (tree.nodes.size() > 1)
    return parse_error(
        Error(ErrorKind::kInvalid, "an ONBUILD trigger holds more than one instruction"),
        tree.nodes[1].span);
  auto instruction = parse_instruction(node);
  if (!instruction)
    return parse_error(std::move(instruction.error()), node.span).context(source->name());
  return instruction;
}

}  // namespace kasane::dockerfile
