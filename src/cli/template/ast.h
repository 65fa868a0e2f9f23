// Parse tree of a template, shaped as text/template/parse's, because error sentences print
// positions and source forms of its nodes.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/template/value.h"

namespace kasane::cli::tmpl {

enum class NodeType {
  kList,
  kText,
  kAction,
  kIf,
  kRange,
  kWith,
  kTemplate,
  kBreak,
  kContinue,
  kEnd,
  kElse,
  kPipe,
  kCommand,
  kField,
  kVariable,
  kIdentifier,
  kChain,
  kDot,
  kNil,
  kBool,
  kNumber,
  kString,
};

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Node {
  NodeType type;
  size_t pos = 0;                   // byte offset in the template's text
  std::string text;                 // kText, kIdentifier, kTemplate name; source of literals
  std::vector<std::string> idents;  // kField, kVariable ("$x" first), kChain
  std::vector<NodePtr> children;    // kList, kPipe: commands, kCommand: words, kChain: the operand
  std::vector<NodePtr> decls;       // kPipe: variables
  bool is_assign = false;           // kPipe: `=` instead of `:=`
  NodePtr pipe, list, else_list;    // control nodes, kAction, kTemplate
  Value constant;                   // kBool, kNumber, kString
  bool integer_overflow = false;    // kNumber: does not fit an int

  // The node as Go prints it: "index .RepoDigests 0".
  std::string str() const;
};

}  // namespace kasane::cli::tmpl
