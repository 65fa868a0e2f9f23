// JSON as Go's json.MarshalIndent(value, "", "  ") writes it, and base64. Internal to lint/.
#pragma once

#include <string>
#include <string_view>

#include "base/source.h"
#include "oci/json.h"

namespace kasane::lint {

// Small constructors of oci::Json, to keep the shapes readable.
oci::Json json_string(std::string text);
oci::Json json_number(int64_t number);
oci::Json json_true();
oci::Json json_array(std::vector<oci::Json> items = {});
oci::Json json_object(std::vector<oci::Json::Member> members = {});
// A member that Go leaves out when it is empty.
void add_text(oci::Json& object, std::string name, const std::string& text);

// {"ranges": [{"start": {"line": 3}, "end": {"line": 4}}]}; {} for no span.
oci::Json json_location(const SourceSpan& span);

std::string indented(const oci::Json& value);  // newline at the end

}  // namespace kasane::lint
