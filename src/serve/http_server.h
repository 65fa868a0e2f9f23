// A small HTTP/1.1 server: one thread for each connection (they block on disk and hash anyway),
// bodies streamed, and limits so that no peer can hold a thread for nothing:
//   head            64 KiB, 30 s from its first byte     idle connection   75 s
//   body            no byte for 60 s, or less than 1 KiB/s over 60 s: cut
//   answer          no progress for 60 s: cut             TLS handshake    10 s
//   connections     256; further ones wait in the kernel's queue, and an idle one is closed
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "serve/http.h"
#include "serve/tls.h"

namespace kasane::serve {

struct HttpServerOptions {
  std::string host = {};  // "127.0.0.1", "::1", "localhost"; "" = every address
  uint16_t port = 0;  // 0: the kernel chooses
  unsigned max_connections = 256;
  std::chrono::milliseconds head_limit{30'000};
  std::chrono::milliseconds idle_limit{75'000};
  std::chrono::milliseconds stall_limit{60'000};
  std::chrono::milliseconds stop_grace{4'000};  // then requests are cut
};

class HttpServer {
 public:
  // Binds and listens; requests are answered once run() is called. tls: nullptr = plain.
  static Result<std::unique_ptr<HttpServer>> listen(const HttpServerOptions& options,
                                                    std::unique_ptr<TlsContext> tls,
                                                    Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string url() const;  // "http://127.0.0.1:5000"
  bool is_loopback() const;

  // Serves until a stop is requested, lets requests finish for stop_grace, cuts the others, and
  // returns when no thread is left.
  Result<void> run(std::stop_token stop);

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace kasane::serve
