// JSON documents that commands print; members in the order in which they are given. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "oci/json.h"

namespace kasane::cli {

oci::Json json_text(std::string value);
oci::Json json_bool(bool value);
oci::Json json_number(int64_t value);
oci::Json json_list(std::vector<oci::Json> items);
oci::Json json_object(std::vector<oci::Json::Member> members);

// Compact, one line with its end.
std::string json_line(const oci::Json& value);
// Go's MarshalIndent: `indent` spaces per level, without a newline behind the last.
std::string json_indented(const oci::Json& value, int indent);

}  // namespace kasane::cli
