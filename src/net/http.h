// One HTTP(S) client, over libcurl. The library is opened with dlopen on first use: linking
// it would cost every start of the program. Rows AD6-AD8, AD12, X06.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/stream.h"

namespace kasane::net {

struct HttpResponse {
  int status = 0;
  // Of the last response; names in lower case, the last of equal names wins.
  std::map<std::string, std::string> headers;
  std::vector<std::string> challenges;  // every WWW-Authenticate header
  std::string effective_url;  // after redirects
};

struct HttpRequest {
  std::string url;  // http or https
  std::string method = "GET";
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  uint64_t max_body_bytes = 8ull << 30;  // of the response; more is kLimit
  int max_redirects = 10;
  // Asked once, before the first byte of the final response's body. False ends the transfer
  // there, as a success without a body. Empty: the body is wanted.
  std::function<bool(const HttpResponse&)> want_body;
};

// (bytes received, bytes in all or 0 when unknown)
using HttpProgress = std::function<void(uint64_t, uint64_t)>;

// Streams the body, exactly as sent (no content decoding), into `out`; bodies of redirects are
// dropped. A status is not an error here. Errors: kInvalid (URL, header), kNetwork (no
// connection, TLS, truncated or stalled, endless redirects), kLimit, kCancelled, kUnsupported
// (no libcurl) and those of `out`, which then has part of the body. Proxies come from the
// environment, certificates from SSL_CERT_FILE, SSL_CERT_DIR or the system. Redirects never
// leave http and https and never carry Authorization or Cookie to another scheme, host or
// port. Thread-safe; `out`, `want_body` and `progress` are called on the calling thread.
Result<HttpResponse> http_fetch(const HttpRequest& request, ByteSink& out, std::stop_token stop,
                                const HttpProgress& progress = {});

// The URL without user and password, for messages.
std::string redact_url(std::string_view url);
// "host" or "host:port" of an http(s) URL, in lower case; "" when there is none. What
// AD12 puts behind HTTP_AUTH_TOKEN_.
std::string url_host(std::string_view url);

}  // namespace kasane::net
