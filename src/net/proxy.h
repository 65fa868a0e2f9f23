// Which proxy a URL is asked through: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY. Pure.
//
// By itself rather than by libcurl, whose versions read NO_PROXY differently (ports and networks
// are not known to all); the rules are those of Go, which docker's users know.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "net/url.h"

namespace kasane::net {

// A variable of the environment; nullptr.
using Environment = std::function<const char*(const char*)>;

// "[scheme://][user:password@]host[:port]"; "": no proxy. Names in lower case count first.
// HTTP_PROXY in capitals is not read in a CGI script, where a client sets it. This host itself
// is never asked through a proxy.
std::string proxy_for(const UrlParts& url, const Environment& environment);

// Is the host of the URL listed: "*"; "host", with its subdomains; ".host", only those; an
// address; a network; each with ":port" for that port alone. Commas or spaces between.
bool is_exempt(const UrlParts& url, std::string_view no_proxy);

// For messages: without user and password.
std::string redact_proxy(std::string_view proxy);

}  // namespace kasane::net
