// Text without locale. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kasane {

// 'A'..'Z' to 'a'..'z', all other bytes as they are.
std::string ascii_lower(std::string_view text);

// Of a hexadecimal digit of either case; -1 for any other character.
int hex_value(char c);

// RFC 3986: every "%41" to its byte. nullopt when the encoding is broken.
std::optional<std::string> percent_decode(std::string_view text);
// All but letters, digits, "-._~" and the characters of `keep`.
std::string percent_encode(std::string_view text, std::string_view keep = "");

}  // namespace kasane
