// One CSV record of RFC 4180, as Go's encoding/csv reads it: what --mount, --secret, --output
// and their like hold.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace kasane {

// Fields may be quoted, `""` inside is a quote. kInvalid for a quote that is not closed or
// stands in the middle of a field.
Result<std::vector<std::string>> split_csv(std::string_view text);

// "a=b,c" as pairs; a field without '=' has an empty second half.
Result<std::vector<std::pair<std::string, std::string>>> split_csv_pairs(std::string_view text);

}  // namespace kasane
