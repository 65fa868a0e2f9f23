#include "dockerfile/dump.h"

#include "base/text.h"
#include "dockerfile/syntax.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

void dump_node(const Node& node, std::string& out) {
  std::string keyword = ascii_lower(node.keyword.text);
  out += keyword;
  if (!node.flags.empty()) {
    out += " [";
    for (size_t i = 0; i < node.flags.size(); ++i)
      out += (i ? " " : "") + quote(node.flags[i].text);
    out += ']';
  }
  bool pairs = keyword == "env" || keyword == "label";
  for (size_t i = 0; i < node.args.size(); ++i) {
    out += ' ' + quote(node.args[i].text);
    if (pairs && i % 2 == 1) out += node.legacy_pair ? " \"\"" : " \"=\"";
  }
  if (node.child) {
    out += " (";
    dump_node(*node.child, out);
    out += ')';
  }
}

}  // namespace

Result<std::string> dump(std::shared_ptr<const SourceText> source) {
  SyntaxTree tree = TRY(read_syntax(std::move(source)));
  std::string out;
  for (const Node& node : tree.nodes) {
    out += '(';
    dump_node(node, out);
    out += ")\n";
  }
  return out;
}

}  // namespace kasane::dockerfile
