// Which rules apply: `# check=` directives and comments, BUILDKIT_DOCKERFILE_CHECK (D06, D07).
// Pure values and functions.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kasane::lint {

struct CheckConfig {
  bool skip_all = false;
  std::set<std::string> skip;
  bool error = false;  // findings fail the build
  bool experimental_all = false;
  std::set<std::string> experimental;

  // An experimental rule must be asked for; the others must not be skipped.
  bool applies(std::string_view rule, bool is_experimental) const;
  // Adds what `other` skips and asks for; `error` stays.
  void merge(const CheckConfig& other);
};

// "skip=A,B;error=true;experimental=all". kInvalid with BuildKit's sentence.
Result<CheckConfig> parse_check_config(std::string_view text);

// The first comment of the form `check=...` above an instruction; one that cannot be
// understood counts for nothing, as in BuildKit. Text behind a blank is a remark.
CheckConfig config_of_comments(const std::vector<dockerfile::Word>& comments);

}  // namespace kasane::lint
