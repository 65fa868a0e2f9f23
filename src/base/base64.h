// Base64 of RFC 4648 section 4. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kasane {

// With padding.
std::string base64(std::string_view bytes);

// kOptional: as libarchive writes, which leaves the padding out; any number of '=' at the
// end is taken then.
enum class Padding { kRequired, kOptional };
// nullopt: another character (line ends too), a wrong length, padding in the middle.
std::optional<std::string> decode_base64(std::string_view text, Padding padding);

}  // namespace kasane
