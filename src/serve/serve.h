// `kasane registry serve`: a registry over a folder, from options to the end of its life.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "base/result.h"

namespace kasane::serve {

struct ServeOptions {
  std::string address = "127.0.0.1:5000";  // HOST:PORT, [IPv6]:PORT or :PORT; port 0: any
  std::string root;
  std::string htpasswd;         // file; "" = no authentication
  std::string tls_certificate;  // files; both or none
  std::string tls_key;
  std::vector<std::string> immutable;  // TagPatterns
  bool read_only = false;
  std::function<void(const std::string&)> on_error;  // one line; called from many threads
};

class RegistryServer {
 public:
  // Reads the files, opens the folder and listens.
  static Result<std::unique_ptr<RegistryServer>> start(const ServeOptions& options);
  ~RegistryServer();

  std::string url() const;
  // Passwords would cross a network in clear.
  bool sends_passwords_in_clear() const;
  // Until a stop is requested; then requests have four seconds to finish.
  Result<void> run(std::stop_token stop);

 private:
  struct State;
  explicit RegistryServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

struct HostPort {
  std::string host;
  uint16_t port = 0;
};
// kInvalid with the forms that are understood.
Result<HostPort> parse_address(std::string_view text);

}  // namespace kasane::serve
