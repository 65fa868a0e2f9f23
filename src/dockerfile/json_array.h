// The exec form: a JSON array of strings (P15), read as Go's encoding/json reads it.
// Internal to the parser.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kasane::dockerfile {

enum class JsonArrayKind {
  kStrings,     // exec form
  kNotStrings,  // valid JSON array with something else in it: an error for the user
  kNotJson,     // not a JSON array: silently the shell form
};

struct JsonArray {
  JsonArrayKind kind = JsonArrayKind::kNotJson;
  std::vector<std::string> strings;        // kStrings
  std::vector<std::string_view> literals;  // each with its quotes, a view into the text
};

// `text` must hold the array and blanks only. Linear; nesting is limited.
JsonArray parse_json_array(std::string_view text);

}  // namespace kasane::dockerfile
