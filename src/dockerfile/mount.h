// The value of RUN --mount: CSV fields to a checked Mount (RM1-RM6).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace kasane::dockerfile {

// Expands one value, for example [&](auto v) { return env-aware expand_word(v).value }.
using WordExpander = std::function<Result<std::string>(std::string_view)>;

// Parses `csv.text`; errors point at csv.span. Every value except `from` goes through
// `expand`. With an empty `expand` (parse time) a value holding `$` is not judged: numbers
// and enumerations keep their defaults, strings keep the text.
Result<Mount> parse_mount(const Word& csv, const WordExpander& expand);

std::string_view to_string(MountType type);        // "bind"
std::string_view to_string(CacheSharing sharing);  // "shared"

}  // namespace kasane::dockerfile
