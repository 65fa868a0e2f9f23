// One HTTP request and its one response, over libcurl: no redirects, no retries, no
// authentication. http.h follows redirects for downloads; the registry client decides by itself
// at every hop. Connections are kept open between exchanges that share HttpConnections.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/stream.h"
#include "net/curl.h"
#include "net/http.h"

namespace kasane::net {

struct TlsSetup {
  std::string ca_pem;  // authorities beside those of the system, PEM
  std::string client_certificate, client_key;  // files; "" = none
  bool skip_verify = false;
};

struct HttpLimits {
  int64_t connect_ms = 30'000;
  int64_t header_ms = 0;        // from the last byte sent to the end of the headers; 0: none
  long stall_seconds = 60;      // slower than stall_rate for so long
  long stall_rate = 1;          // bytes a second
  uint64_t header_bytes = 1u << 20;
};

// Open connections that wait for their next use. Thread-safe; may be shared by threads, each
// exchange has a connection for itself.
class HttpConnections {
 public:
  CurlMulti take(const CurlApi& api);
  void give_back(CurlMulti multi);

 private:
  std::mutex mutex_;
  std::vector<CurlMulti> idle_;
};

// Where an exchange failed, for callers that decide about another try.
enum class HttpFault { kNone, kResolve, kConnect, kTls, kCertificate, kTransfer };

struct HttpExchange {
  std::string url;
  std::string method = "GET";
  std::vector<std::string> headers;  // "Name: value"
  // The body: a text, or a stream of `upload_size` bytes (unknown: sent in chunks).
  const std::string* body = nullptr;
  ByteSource* upload = nullptr;
  std::optional<uint64_t> upload_size;
  uint64_t max_body_bytes = 8ull << 30;  // of the response; more is kLimit
  std::function<bool(const HttpResponse&)> want_body;  // as in HttpRequest
  const TlsSetup* tls = nullptr;
  HttpLimits limits;
  HttpFault* fault = nullptr;  // set when the exchange fails on the network
};

struct HttpAnswer {
  HttpResponse response;
  std::string redirect_url;  // absolute; "" when the response is no redirect
};

// Errors as http_fetch's. `connections` may be null. A response that is ambiguous about its
// length (R24) is kNetwork.
Result<HttpAnswer> http_exchange(HttpConnections* connections, const HttpExchange& exchange,
                                 ByteSink& out, std::stop_token stop,
                                 const HttpProgress& progress = {});

bool is_redirect(int status);

}  // namespace kasane::net
