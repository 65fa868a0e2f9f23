// Sizes, ages, times and ids as docker prints them (reference 1.0). Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace kasane::cli {

// Decimal units, `digits` significant (3 in lists, 4 in totals): "4.26MB", "0B".
std::string human_size(double bytes, int digits = 3);

// A size that a flag takes, as docker's do: "10GB", "1.5 GiB", "512m"; units are powers of
// 1024.
std::optional<uint64_t> parse_size(std::string_view text);

// "0.4s", "12.3s", "2m05s".
std::string short_duration(uint64_t duration_ns);

// "Less than a second", "About a minute", "2 weeks", without " ago".
std::string human_duration(int64_t duration_ns);

// Go's Time.String() in the local zone: "2024-01-01 00:00:00 +0000 UTC".
std::string go_time(int64_t unix_seconds);
// RFC 3339 with seconds in the local zone: "2024-01-01T01:00:00+01:00".
std::string local_rfc3339(int64_t unix_seconds);

// Drops what stands before the first ':', keeps 12 characters.
std::string truncate_id(std::string_view id);

// `--filter until=`: a Go duration before now ("24h"), a date or time (RFC 3339 and its
// prefixes, local zone when none), or unix seconds with fraction. Nanoseconds.
std::optional<int64_t> parse_timestamp(std::string_view text, int64_t now_ns);

// Go's time.ParseDuration.
std::optional<int64_t> parse_duration(std::string_view text);

}  // namespace kasane::cli
