// Requests to one endpoint: choice of https or http, authentication, redirects, retries with
// jitter and Retry-After, errors in docker's words. Reference 2.1-2.5, R8-R24.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/stream.h"
#include "net/http_exchange.h"
#include "registry/auth.h"
#include "registry/endpoint.h"

namespace kasane::registry {

struct ApiRequest {
  std::string method = "GET";
  // Below the repository ("manifests/latest"), or an absolute URL (an upload's Location).
  std::string path;
  std::vector<std::string> headers;
  const std::string* body = nullptr;
  ByteSource* upload = nullptr;  // never sent twice: its caller decides about another try
  std::optional<uint64_t> upload_size;
  Scopes scopes;                      // beside pull of the repository
  uint64_t max_body_bytes = 4u << 20;  // of the answer
};

struct ApiAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;      // of an error: its first 64 KiB
  std::string location;  // absolute URL of a Location header; "" = none
  std::vector<std::string> challenges;
  bool same_origin = true;  // the answer came from the endpoint itself
  std::string header(const std::string& name) const;
};

// Waits between tries: 0.5 s, doubled up to 8 s, each shortened by up to half at random; a
// server's Retry-After counts instead, up to 60 s.
class Backoff {
 public:
  Backoff(int attempts, std::stop_token stop) : left_(attempts - 1), stop_(std::move(stop)) {}
  // Called before each wait with the seconds, for "Retrying in N seconds".
  std::function<void(int)> on_wait;
  // False at once when no try is left; kCancelled when stopped meanwhile. `retry_after` < 0: none.
  Result<bool> wait(int64_t retry_after_seconds = -1);

 private:
  int left_;
  int64_t delay_ms_ = 500;
  std::stop_token stop_;
};
// Seconds of a Retry-After header (number or date), 0 to 60; -1 when there is none.
int64_t retry_after(const ApiAnswer& answer, int64_t now_seconds);
bool is_transient(int status);  // 408, 429, 499, 500, 502, 503, 504, 522

// Thread-safe. Made once per endpoint; connections and tokens are kept.
class Client {
 public:
  struct Options {
    Surroundings around;
    int attempts = 5;
    std::optional<Credential> credential;  // given by the caller (login)
    bool offline_token = false;
  };
  static Result<std::unique_ptr<Client>> open(Endpoint endpoint, Options options);

  // With retries, unless there is an `upload`. A status is not an error; kPermission when the
  // registry's challenge cannot be answered, kNetwork when it cannot be reached.
  Result<ApiAnswer> send(const ApiRequest& request, const std::stop_token& stop);
  // One try. The body of a 2xx answer goes to `out`, and `begin` is told first; its error ends the
  // transfer. For other statuses the answer has the body.
  using Begin = std::function<Result<void>(const ApiAnswer&)>;
  Result<ApiAnswer> stream(const ApiRequest& request, ByteSink& out, const Begin& begin,
                           const std::stop_token& stop, const net::HttpProgress& progress = {});

  const Endpoint& endpoint() const { return endpoint_; }
  Authenticator& authenticator() { return auth_; }
  int attempts() const { return options_.attempts; }
  // May a failed exchange succeed when it is tried again? (Names that do not resolve and bad
  // certificates do not heal in seconds.)
  static bool may_heal(const Error& error);

 private:
  Client(Endpoint endpoint, Options options, net::TlsSetup tls);
  Result<void> choose_scheme(const std::stop_token& stop);
  Result<ApiAnswer> one_try(const ApiRequest& request, ByteSink& out, const Begin& begin,
                            const std::stop_token& stop, const net::HttpProgress& progress);
  Result<ApiAnswer> follow(const ApiRequest& request, const std::string& url,
                           const std::string& authorization, ByteSink& out, const Begin& begin,
                           const std::stop_token& stop, const net::HttpProgress& progress);
  std::string url_of(const ApiRequest& request) const;

  Endpoint endpoint_;
  Options options_;
  net::TlsSetup tls_;
  net::HttpConnections connections_;
  std::mutex mutex_;
  bool scheme_known_ = false;
  Authenticator auth_;
};

// The error that an answer of an unwanted status stands for. `subject`: "busybox" or
// "busybox:latest", as the user wrote it. Texts of table 1.3 and 1.4.
Error api_error(const ApiAnswer& answer, Client& client, const std::string& subject);
// "code" of the first error of a body: "MANIFEST_UNKNOWN"; "".
std::string error_code(const ApiAnswer& answer);
// Code and message of the first one in the registry's words, or its status.
std::string answer_text(const ApiAnswer& answer);
// The registry wants other credentials, or none will do.
bool is_refusal(const ApiAnswer& answer);
std::string login_hint(Client& client);

}  // namespace kasane::registry
