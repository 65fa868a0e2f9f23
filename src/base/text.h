// Text without locale. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kasane {

// 'A'..'Z' to 'a'..'z', all other bytes as they are.
std::string ascii_lower(std::string_view text);

// Of a hexadecimal digit of either case; -1 for any other character.
int hex_value(char c);

// The whole text is a decimal number without sign that fits.
std::optional<uint64_t> parse_uint(std::string_view text);

// RFC 3986: every "%41" to its byte. nullopt when the encoding is broken.
std::optional<std::string> percent_decode(std::string_view text);
// All but letters, digits, "-._~" and the characters of `keep`.
std::string percent_encode(std::string_view text, std::string_view keep = "");

}  // namespace kasane
