// What the HTTP server hands to a handler and takes back: plain values. The server parses and
// checks the head (http_server.h); header names are lower-case here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/stream.h"

namespace kasane::serve {

using Headers = std::vector<std::pair<std::string, std::string>>;

// The first value of `name` (lower-case), or nullptr.
const std::string* find_header(const Headers& headers, std::string_view name);

struct Request {
  std::string method;  // "GET"
  std::string target;  // origin form, undecoded: "/v2/a/tags/list?n=1"
  Headers headers;
  std::optional<uint64_t> content_length;  // none: no body, or a chunked one of unknown size
  bool has_body = false;
  // Never null. A body that ends early is an error of kNetwork, never an end of stream.
  ByteSource* body = nullptr;

  const std::string* header(std::string_view name) const { return find_header(headers, name); }
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
  // A body from a file instead: `length` bytes from `offset`.
  UniqueFd file;
  uint64_t offset = 0;
  uint64_t length = 0;
  // Content-Length of an answer to HEAD, which has no body.
  std::optional<uint64_t> head_length;

  void set(std::string name, std::string value) {
    headers.emplace_back(std::move(name), std::move(value));
  }
};

// Called from many threads at once.
using Handler = std::function<Response(Request&)>;

std::string_view reason_phrase(int status);

}  // namespace kasane::serve
