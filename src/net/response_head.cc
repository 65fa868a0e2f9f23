#include "net/response_head.h"

#include <algorithm>
#include <cstdlib>

#include "base/text.h"

namespace kasane::net {
namespace {

constexpr size_t kMaxLengthDigits = 18;  // an exabyte, and no overflow

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

bool is_length(std::string_view text) {
  return !text.empty() && text.size() <= kMaxLengthDigits &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Error ambiguous(std::string why) { return Error(ErrorKind::kNetwork, "the server sent " + std::move(why)); }

}  // namespace

std::string_view trim_header(std::string_view text) {
  size_t start = text.find_first_not_of(" \t\r\n");
  if (start == text.npos) return {};
  return text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
}

Result<void> ResponseHead::take(std::string_view line) {
  bytes_ += line.size();
  if (bytes_ > max_bytes_)
    return Error(ErrorKind::kLimit,
                 "the server sent more than " + std::to_string(max_bytes_ >> 10) + " KiB of headers");
  if (!inside_ && line.starts_with("HTTP/")) {
    response_.headers.clear();
    response_.challenges.clear();
    const size_t space = line.find(' ');
    response_.status = space == line.npos ? 0 : std::atoi(std::string(line.substr(space)).c_str());
    inside_ = true;
    complete_ = false;
    return {};
  }
  if (complete_) return {};  // trailers say nothing that is used
  if (line.find_first_not_of("\r\n") == line.npos) {
    inside_ = false;
    complete_ = response_.status >= 200;
    return {};
  }
  return header(line);
}

Result<void> ResponseHead::header(std::string_view line) {
  if (line[0] == ' ' || line[0] == '\t') return ambiguous("a folded header");
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  if (colon == line.npos || name.empty() || !std::all_of(name.begin(), name.end(), is_token_char))
    return ambiguous("a line among its headers that is none");
  if (line.find('\0') != line.npos) return ambiguous("a header with a NUL byte");
  return keep(ascii_lower(name), trim_header(line.substr(colon + 1)));
}

Result<void> ResponseHead::keep(const std::string& name, std::string_view value) {
  auto& headers = response_.headers;
  const bool length = name == "content-length", coding = name == "transfer-encoding";
  if (length && !is_length(value)) return ambiguous("a Content-Length that is no number of bytes");
  if (auto old = headers.find(name); length && old != headers.end() && old->second != value)
    return ambiguous("two different Content-Length headers");
  if ((length && headers.contains("transfer-encoding")) || (coding && headers.contains("content-length")))
    return ambiguous("both Content-Length and Transfer-Encoding");
  if (name == "www-authenticate") response_.challenges.emplace_back(value);
  headers[name] = value;
  return {};
}

}  // namespace kasane::net
