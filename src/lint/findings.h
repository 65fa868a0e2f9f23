// Where rules leave what they found: filters by configuration and comments, drops repeats,
// counts the cost of suggestions. Internal to lint/. Not thread-safe: one per check.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "lint/check.h"

namespace kasane::lint {

inline constexpr size_t kMaxFindings = 20'000;

class Findings {
 public:
  explicit Findings(CheckConfig config) : config_(std::move(config)) {}

  // `comments` are those above the instruction (D07).
  void add(std::string_view rule, const SourceSpan& span,
           const std::vector<dockerfile::Word>& comments, std::string message,
           std::string note = "");
  std::vector<Finding> take() { return std::move(findings_); }

  // The name in `known` that `word` is a misspelling of (up to two letters, as BuildKit's
  // util/suggest), or "": also when the word itself is known. The work is limited over one
  // check, so that hostile files cost no minutes; then there are no suggestions.
  std::string suggest(std::string_view word, const std::vector<std::string>& known);
  // Only then is the list of known names worth making.
  bool may_suggest() const;

 private:
  CheckConfig config_;
  std::vector<Finding> findings_;
  std::set<std::tuple<std::string, int, std::string>> seen_;
  size_t suggestion_cost_ = 0;
};

}  // namespace kasane::lint
