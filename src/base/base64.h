// Base64 of RFC 4648 section 4.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kasane {

std::string base64(std::string_view bytes);  // with padding

// Padding may be missing; both alphabets (section 5's '-' and '_' too) are taken. nullopt when
// malformed.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace kasane
