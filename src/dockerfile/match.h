// Wildcards of COPY/ADD sources: Go's filepath.Match (W01-W03, W06).
// `*` and `?` never match '/'; `[a-z]`, `[^a]`, backslash escapes; leading dots match.
// Thread-safe; time is bounded by length of pattern x length of name.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace kasane::dockerfile {

// Does the pattern match the whole name? kInvalid "syntax error in pattern" for a bad one,
// whatever the name is.
Result<bool> match_path(std::string_view pattern, std::string_view name);

// Checks the syntax alone.
Result<> check_pattern(std::string_view pattern);

// Holds an unescaped `*`, `?` or `[`: a source without them is a literal path.
bool has_wildcards(std::string_view pattern);

// Backslash escapes removed from a literal path: "a\*b" names the file "a*b".
std::string unescape_pattern(std::string_view pattern);

// The pattern that matches exactly this path.
std::string escape_pattern(std::string_view path);

}  // namespace kasane::dockerfile
