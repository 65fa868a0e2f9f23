// Template text to trees.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/template/ast.h"

namespace kasane::cli::tmpl {

struct Trees {
  std::string text;                      // the source, for positions
  std::map<std::string, NodePtr> roots;  // "" is the template itself, others are {{define}}d
};

// kInvalid with Go's sentence: "template: :1: unclosed action". `has_function` tells which
// identifiers are functions. Nesting is limited to 200 levels.
Result<Trees> parse(std::string_view text,
                    const std::function<bool(std::string_view)>& has_function);

}  // namespace kasane::cli::tmpl
