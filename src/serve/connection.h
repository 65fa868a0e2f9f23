// Serves the requests of one connection, one after the other.
#pragma once

#include <atomic>

#include "serve/http.h"
#include "serve/http_server.h"
#include "serve/transport.h"

namespace kasane::serve {

// What the accepting thread and the thread of the connection share.
struct ConnectionControl {
  std::atomic<bool> stopping{false};  // close after the request in hand
  std::atomic<bool> idle{false};      // waiting for the first byte of a request
};

void serve_connection(Transport& transport, const HttpServerOptions& options,
                      const Handler& handler, ConnectionControl& control);

}  // namespace kasane::serve
