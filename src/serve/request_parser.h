// The head of an HTTP/1 request. Boost.Beast does the grammar; what it is lenient about and proxies disagree about (R24) is
// refused before: bare CR or LF, folded lines, NUL and control bytes, two Content-Length fields,
// Content-Length with Transfer-Encoding, transfer codings other than chunked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "serve/http.h"

namespace kasane::serve {

inline constexpr size_t kMaxHead = 64u << 10;

// Status to answer a refused head with, and why. The connection must be closed after it.
struct BadRequest {
  int status = 400;
  std::string reason;
};

struct ParsedHead {
  Request request;  // without body
  bool keep_alive = false;
  bool expects_continue = false;
  bool chunked = false;
  std::optional<BadRequest> bad;
};

// True as soon as it is clear that no request comes, for example for a TLS greeting: the peer
// should be told at once, as clients try https before http.
bool cannot_be_http(std::string_view bytes);

// Length of the head at the start of `bytes` with its empty line, or 0 while it is incomplete.
size_t head_length(std::string_view bytes);

// `head` is exactly one head (head_length()).
ParsedHead parse_head(std::string_view head);

}  // namespace kasane::serve
