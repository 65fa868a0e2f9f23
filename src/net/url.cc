#include "net/url.h"

#include <algorithm>

#include "base/text.h"
#include "net/http.h"

namespace kasane::net {
namespace {

constexpr size_t kMaxUrl = 16384;

}  // namespace

std::optional<UrlParts> split_url(std::string_view url) {
  if (url.size() > kMaxUrl) return std::nullopt;
  for (char c : url)
    if (static_cast<unsigned char>(c) <= 0x20 || c == 0x7f) return std::nullopt;
  size_t colon = url.find("://");
  if (colon == url.npos) return std::nullopt;
  UrlParts parts;
  parts.scheme = ascii_lower(url.substr(0, colon));
  if (parts.scheme != "http" && parts.scheme != "https") return std::nullopt;
  std::string_view rest = url.substr(colon + 3);
  size_t end = std::min(rest.size(), rest.find_first_of("/?#"));
  std::string_view authority = rest.substr(0, end);
  rest.remove_prefix(end);
  if (rest.starts_with('/')) parts.path = rest.substr(0, rest.find_first_of("?#"));
  if (size_t at = authority.rfind('@'); at != authority.npos) {
    parts.userinfo = authority.substr(0, at);
    authority.remove_prefix(at + 1);
  }
  size_t host_end = authority.starts_with('[') ? authority.find(']') : 0;
  if (host_end == authority.npos) return std::nullopt;
  size_t port = authority.find(':', host_end);
  parts.host = ascii_lower(authority.substr(0, port));
  parts.port = parts.scheme == "http" ? "80" : "443";
  if (port != authority.npos && port + 1 < authority.size()) {
    std::string_view digits = authority.substr(port + 1);
    if (digits.size() > 5 || !std::all_of(digits.begin(), digits.end(),
                                          [](char c) { return c >= '0' && c <= '9'; }))
      return std::nullopt;
    parts.default_port = digits == parts.port;
    parts.port = digits;
  }
  if (parts.host.empty() || parts.host.find('\\') != parts.host.npos) return std::nullopt;
  return parts;
}

bool same_origin(const UrlParts& a, const UrlParts& b) {
  return a.scheme == b.scheme && a.host == b.host && a.port == b.port;
}

// 127.0.0.0/8 as digits only: "127.evil.example" is a name that anybody may own.
bool is_loopback(const UrlParts& url) {
  bool numeric = url.host.find_first_not_of("0123456789.") == std::string::npos;
  return url.host == "localhost" || url.host == "[::1]" ||
         (numeric && url.host.starts_with("127."));
}

bool is_http_url(std::string_view text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

std::string redact_url(std::string_view url) {
  size_t start = url.find("://");
  if (start == url.npos) return std::string(url);
  start += 3;
  std::string_view authority = url.substr(start, url.find_first_of("/?#", start) - start);
  size_t at = authority.rfind('@');
  if (at == authority.npos) return std::string(url);
  return std::string(url.substr(0, start)) + "xxxxx@" + std::string(url.substr(start + at + 1));
}

std::string url_host(std::string_view url) {
  std::optional<UrlParts> parts = split_url(url);
  if (!parts) return "";
  return parts->default_port ? parts->host : parts->host + ":" + parts->port;
}

}  // namespace kasane::net
