// The little of URLs that the HTTP client and the cache need. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace kasane::net {

// An http or https URL in parts; the views point into the text.
struct UrlParts {
  std::string scheme;        // "http" or "https"
  std::string_view userinfo;  // without '@'
  std::string host;          // lower case, without port; IPv6 with its brackets
  std::string port;          // "80" and "443" when the URL has none
  bool default_port = true;
  std::string_view path;  // begins with '/' or is empty; without query and fragment
};

// What BuildKit takes for a URL rather than a path: an http or https scheme in lower case.
bool is_http_url(std::string_view text);
// nullopt: not http(s), no host, a control character or space, too long.
std::optional<UrlParts> split_url(std::string_view url);
bool same_origin(const UrlParts& a, const UrlParts& b);
bool is_loopback(const UrlParts& url);

}  // namespace kasane::net
