// Go literals inside templates: strings, character constants, numbers.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/template/value.h"

namespace kasane::cli::tmpl {

// strconv.Unquote for "..." and `...`; nothing when malformed.
std::optional<std::string> unquote(std::string_view text);

struct Number {
  Value value;            // int or float64
  bool overflow = false;  // an integer that does not fit into an int
};
Result<Number> parse_number(std::string_view text, bool character);

}  // namespace kasane::cli::tmpl
