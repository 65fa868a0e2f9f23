// The table of rules: names, descriptions and addresses are BuildKit's interface
// (frontend/dockerfile/linter/ruleset.go); those at the end are kasane's own. Static data.
#pragma once

#include <string_view>

namespace kasane::lint {

struct Rule {
  std::string_view name;
  std::string_view description;
  std::string_view page;  // last part of the address; "" when there is no page
  bool experimental = false;
};

// REQUIRES: a rule of the table.
const Rule& rule_named(std::string_view name);

inline constexpr std::string_view kRulePages = "https://docs.docker.com/go/dockerfile/rule/";

}  // namespace kasane::lint
