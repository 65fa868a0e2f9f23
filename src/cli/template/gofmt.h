// Go's fmt package for template values: %v, Sprint, Sprintln, Sprintf, strconv.Quote.
// Pure functions, thread-safe. Nothing fails: like Go, a bad verb shows in the output.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cli/template/value.h"

namespace kasane::cli::tmpl {

// ascii: every rune above 0x7f is escaped (%+q).
std::string go_quote(std::string_view text, bool ascii = false);
std::string format_v(const Value& value);  // %v
std::string go_duration(int64_t nanoseconds);  // time.Duration's String(): "1m30s", "1.5ms"
std::string sprint(std::span<const Value> values);
std::string sprintln(std::span<const Value> values);
std::string sprintf(std::string_view format, std::span<const Value> values);
// strconv.FormatFloat(number, verb, precision, 64); precision -1 is the shortest text that
// reads back the same.
std::string go_float(double number, char verb, int precision);

}  // namespace kasane::cli::tmpl
