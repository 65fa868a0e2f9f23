#include "cli/template/ast.h"

#include "cli/template/gofmt.h"

namespace kasane::cli::tmpl {
namespace {

std::string join(const std::vector<NodePtr>& nodes, std::string_view separator) {
  std::string text;
  for (const NodePtr& node : nodes) {
    if (&node != &nodes.front()) text += separator;
    text += node->type == NodeType::kPipe ? "(" + node->str() + ")" : node->str();
  }
  return text;
}

std::string control(const Node& node, std::string_view word) {
  std::string text = "{{" + std::string(word) + " " + node.pipe->str() + "}}" + node.list->str();
  if (node.else_list) text += "{{else}}" + node.else_list->str();
  return text + "{{end}}";
}

std::string dotted(const std::vector<std::string>& idents, bool leading_dot) {
  std::string text;
  for (size_t i = 0; i < idents.size(); ++i) text += (i > 0 || leading_dot ? "." : "") + idents[i];
  return text;
}

}  // namespace

std::string Node::str() const {
  switch (type) {
    case NodeType::kList: {
      std::string out;
      for (const NodePtr& child : children) out += child->str();
      return out;
    }
    case NodeType::kAction:
      return "{{" + pipe->str() + "}}";
    case NodeType::kIf:
      return control(*this, "if");
    case NodeType::kRange:
      return control(*this, "range");
    case NodeType::kWith:
      return control(*this, "with");
    case NodeType::kTemplate:
      return "{{template " + go_quote(text) + (pipe ? " " + pipe->str() : "") + "}}";
    case NodeType::kBreak:
      return "{{break}}";
    case NodeType::kContinue:
      return "{{continue}}";
    case NodeType::kEnd:
      return "{{end}}";
    case NodeType::kElse:
      return "{{else}}";
    case NodeType::kPipe: {
      std::string out = join(decls, ", ");
      if (!decls.empty()) out += is_assign ? " = " : " := ";
      for (const NodePtr& command : children)
        out += (&command != &children.front() ? " | " : "") + command->str();
      return out;
    }
    case NodeType::kCommand:
      return join(children, " ");
    case NodeType::kField:
      return dotted(idents, true);
    case NodeType::kVariable:
      return dotted(idents, false);
    case NodeType::kChain:
      return join(children, "") + dotted(idents, true);
    case NodeType::kDot:
      return ".";
    case NodeType::kNil:
      return "nil";
    case NodeType::kText:
    case NodeType::kIdentifier:
    case NodeType::kBool:
    case NodeType::kNumber:
    case NodeType::kString:
      return text;
  }
  return {};
}

}  // namespace kasane::cli::tmpl
