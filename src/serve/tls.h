// TLS for the server: OpenSSL's libssl, opened with dlopen at first use so that commands that
// serve nothing load nothing. TLS 1.2 and 1.3.
#pragma once

#include <memory>
#include <string>

#include "serve/transport.h"

namespace kasane::serve {

// Certificate and key of one server. Thread-safe after make().
class TlsContext {
 public:
  // PEM files; the certificate may be followed by its chain. kUnsupported when libssl is
  // missing, kInvalid when the files do not fit.
  static Result<std::unique_ptr<TlsContext>> make(const std::string& certificate_file,
                                                  const std::string& key_file);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // Does the handshake before `deadline`. Owns the socket.
  Result<std::unique_ptr<Transport>> accept(UniqueFd socket, Clock::time_point deadline) const;

 private:
  TlsContext() = default;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kasane::serve
