// Findings as text and JSON, in the forms of docker build and buildx (E09, E10, E13).
// Pure functions. Text from the Dockerfile is cleaned of control bytes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lint/check.h"

namespace kasane::lint {

// "UndefinedVar: Usage of undefined variable '$X' (line 3)".
std::string short_text(const Finding& finding);

// E09, after a build: "\n 2 warnings found (use kasane --debug to expand):\n - ...\n"; "" when
// there is nothing. `expanded` adds description, address and excerpt to each.
std::string build_summary(const std::vector<Finding>& findings, bool expanded = false);

// E10, `--check`: head line, then each finding with address, message and excerpt, by line.
// "Check complete, no warnings found.\n" when there is neither a finding nor an error.
std::string check_text(const CheckReport& report);

// `--call=check,format=json`: {"warnings", "sources", "buildError"}, indented, newline at the
// end. `source` is the Dockerfile; a report without findings that only holds an error is how
// a file that does not parse is reported.
std::string check_json(const CheckReport& report, const SourceText& source);

}  // namespace kasane::lint
