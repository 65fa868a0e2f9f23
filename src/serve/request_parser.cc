#include "serve/request_parser.h"

#define BOOST_BEAST_USE_STD_STRING_VIEW
#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "base/text.h"

namespace kasane::serve {
namespace {

namespace http = boost::beast::http;
namespace asio = boost::asio;

// Why the raw bytes of a head are refused, or "".
std::string_view raw_problem(std::string_view head) {
  for (size_t i = 0; i < head.size(); ++i) {
    auto c = static_cast<unsigned char>(head[i]);
    if (c == '\r') {
      if (i + 1 >= head.size() || head[i + 1] != '\n') return "a bare CR in the header";
    } else if (c == '\n') {
      if (i == 0 || head[i - 1] != '\r') return "a bare LF in the header";
      if (i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t'))
        return "a folded header line";
    } else if ((c < 0x20 && c != '\t') || c == 0x7f) {
      return "a control byte in the header";
    }
  }
  return {};
}

struct Counts {
  int host = 0, content_length = 0, transfer_encoding = 0;
};

std::optional<BadRequest> check_fields(const Request& request, unsigned version) {
  Counts counts;
  for (const auto& [name, value] : request.headers) {
    if (name == "host") ++counts.host;
    if (name == "content-length") {
      ++counts.content_length;
      if (value.empty() || value.find_first_not_of("0123456789") != std::string::npos)
        return BadRequest{400, "Content-Length is not a number"};
    }
    if (name == "transfer-encoding") {
      ++counts.transfer_encoding;
      if (ascii_lower(value) != "chunked") return BadRequest{501, "only the chunked coding is known"};
    }
  }
  if (version == 11 && counts.host != 1) return BadRequest{400, "there must be one Host field"};
  if (counts.content_length > 1 || counts.transfer_encoding > 1 ||
      (counts.content_length && counts.transfer_encoding))
    return BadRequest{400, "the length of the body is ambiguous"};
  if (version == 10 && counts.transfer_encoding)
    return BadRequest{400, "HTTP/1.0 has no Transfer-Encoding"};
  return std::nullopt;
}

}  // namespace

bool cannot_be_http(std::string_view bytes) {
  return !bytes.empty() && bytes[0] != '\r' && !(bytes[0] >= 'A' && bytes[0] <= 'Z');
}

size_t head_length(std::string_view bytes) {
  size_t end = bytes.find("\r\n\r\n");
  // A head of bare LFs must not wait for the time limit to be refused.
  size_t bare = bytes.find("\n\n");
  if (bare != std::string_view::npos && bare < end) return bare + 2;
  return end == std::string_view::npos ? 0 : end + 4;
}

ParsedHead parse_head(std::string_view head) {
  ParsedHead out;
  auto refuse = [&](int status, std::string reason) {
    out.bad = BadRequest{status, std::move(reason)};
    return std::move(out);
  };
  if (std::string_view problem = raw_problem(head); !problem.empty())
    return refuse(400, std::string(problem));
  http::request_parser<http::buffer_body> parser;
  parser.header_limit(kMaxHead + 1);
  parser.body_limit(UINT64_MAX);  // the storage decides; Beast 1.74 takes "none" for 0
  boost::system::error_code ec;
  size_t used = parser.put(asio::buffer(head.data(), head.size()), ec);
  if (ec == http::error::header_limit) return refuse(431, "the header is too large");
  if (ec == http::error::bad_version) return refuse(505, "HTTP/1.0 and 1.1 are spoken here");
  if (ec && ec != http::error::need_buffer) return refuse(400, "malformed header");
  if (!parser.is_header_done() || used != head.size()) return refuse(400, "malformed header");
  const auto& message = parser.get();
  out.request.method = std::string(message.method_string());
  out.request.target = std::string(message.target());
  for (const auto& field : message.base())
    out.request.headers.emplace_back(ascii_lower(std::string_view(field.name_string())),
                                     std::string(field.value()));
  if (message.version() != 10 && message.version() != 11)
    return refuse(505, "HTTP/1.0 and 1.1 are spoken here");
  out.bad = check_fields(out.request, message.version());
  if (out.bad) return out;
  if (!out.request.target.starts_with('/')) return refuse(400, "the target must be a path");
  // HTTP/1.0 would want to be told that the connection stays.
  out.keep_alive = parser.keep_alive() && message.version() == 11;
  out.chunked = parser.chunked();
  if (auto length = parser.content_length(); length && !out.chunked)
    out.request.content_length = *length;
  out.request.has_body = out.chunked || out.request.content_length.value_or(0) > 0;
  if (const std::string* expect = out.request.header("expect")) {
    if (ascii_lower(*expect) != "100-continue") return refuse(417, "unknown expectation");
    out.expects_continue = message.version() == 11;
  }
  return out;
}

}  // namespace kasane::serve
