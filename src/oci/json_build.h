// Putting JSON values together; members in the order in which they are given. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "oci/json.h"

namespace kasane::oci {

Json json_text(std::string value);
Json json_bool(bool value);
Json json_number(int64_t value);
Json json_list(std::vector<Json> items);
Json json_object(std::vector<Json::Member> members);
// Sets or adds a member of an object.
void set_member(Json& object, std::string_view name, Json value);
// The text of a string member; "" when it is none.
std::string member_text(const Json& object, std::string_view name);

// Go's MarshalIndent without prefix: `step` per level, no newline behind the last line.
std::string indented(const Json& value, std::string_view step);

}  // namespace kasane::oci
