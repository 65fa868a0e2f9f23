// TOML files as the same values that JSON files give, so that both are read alike. Over toml++.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "oci/json.h"

namespace kasane::registry {

// Members keep the order of the file, which means something in hosts.toml. Dates become
// strings. kInvalid with line and column.
Result<oci::Json> parse_toml(std::string_view text, const std::string& path);

}  // namespace kasane::registry
