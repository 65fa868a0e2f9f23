// The three date forms of HTTP (RFC 9110 5.6.7). Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kasane::net {

std::optional<int64_t> parse_http_date(std::string_view text);  // Unix seconds
std::string format_http_date(int64_t seconds);                  // "Sun, 06 Nov 1994 08:49:37 GMT"

}  // namespace kasane::net
