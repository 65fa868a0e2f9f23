// One HTTP/1 request out of a byte stream: a head of limited size, then the body piece by piece.
// Boost.Beast does the grammar; what it is lenient about and proxies disagree about (R24) is
// refused before: bare CR or LF, folded lines, NUL and control bytes, two Content-Length fields,
// Content-Length with Transfer-Encoding, transfer codings other than chunked.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
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
  std::optional<BadRequest> bad;
};

// True as soon as it is clear that no request comes, for example for a TLS greeting: the peer
// should be told at once, as clients try https before http.
bool cannot_be_http(std::string_view bytes);

// Length of the head at the start of `bytes` with its empty line, or 0 while it is incomplete.
size_t head_length(std::string_view bytes);

// Thread-compatible; for one request.
class RequestParser {
 public:
  RequestParser();
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // `head` is exactly one head (head_length()).
  ParsedHead parse_head(std::string_view head);

  struct Piece {
    size_t consumed = 0;  // of the input
    size_t produced = 0;  // body bytes written to the output
    bool done = false;
    std::string error;  // not empty: malformed, close the connection
  };
  // Decodes input of the body. Nothing consumed or produced, not done and no error: more input
  // is needed.
  Piece parse_body(std::string_view input, std::span<uint8_t> output);
  bool done() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kasane::serve
