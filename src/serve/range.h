// Ranges and conditions in request headers. Pure functions over untrusted text.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace kasane::serve {

// First and last byte, both included.
struct ByteRange {
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t length() const { return last - first + 1; }
  bool operator==(const ByteRange&) const = default;
};

// "a-b", the distribution-spec's Content-Range of an upload. Nothing when malformed or b < a.
std::optional<ByteRange> parse_upload_range(std::string_view text);

struct RangeAnswer {
  enum class Kind { kWhole, kPart, kUnsatisfiable };
  Kind kind = Kind::kWhole;
  ByteRange part;
};

// A Range header for a body of `size` bytes (RFC 9110 14.2). What is malformed or names several
// ranges is ignored, as the RFC allows: kWhole.
RangeAnswer choose_range(std::string_view header, uint64_t size);

// Whether an If-None-Match or If-Range list contains `etag` (with its quotes), or is "*".
bool etag_matches(std::string_view list, std::string_view etag);

}  // namespace kasane::serve
