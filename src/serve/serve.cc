#include "serve/serve.h"

#include <fmt/format.h>

#include <charconv>

#include "serve/http_server.h"
#include "serve/registry.h"

namespace kasane::serve {

Result<HostPort> parse_address(std::string_view text) {
  auto invalid = [&] {
    return Error(ErrorKind::kInvalid, fmt::format("\"{}\" is not an address", text))
        .hint("write HOST:PORT, for example 127.0.0.1:5000, [::1]:5000 or :5000");
  };
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return invalid();
  std::string_view host = text.substr(0, colon);
  std::string_view digits = text.substr(colon + 1);
  uint16_t port = 0;
  auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || failed != std::errc() || end != digits.data() + digits.size())
    return invalid();
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (host.empty()) return invalid();
  } else if (host.find(':') != std::string_view::npos) {
    return invalid();
  }
  return HostPort{std::string(host), port};
}

struct RegistryServer::State {
  std::unique_ptr<Registry> registry;
  std::unique_ptr<HttpServer> http;  // ends before what it calls
  bool passwords = false;
  bool tls = false;
};

RegistryServer::RegistryServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
RegistryServer::~RegistryServer() = default;

Result<std::unique_ptr<RegistryServer>> RegistryServer::start(const ServeOptions& options) {
  HostPort address = TRY(parse_address(options.address));
  if (options.tls_certificate.empty() != options.tls_key.empty())
    return Error(ErrorKind::kInvalid, "a TLS certificate and its key go together")
        .hint("give both --tls-cert and --tls-key");
  auto state = std::make_unique<State>();
  RegistryOptions registry;
  registry.read_only = options.read_only;
  registry.on_error = options.on_error;
  registry.immutable = TRY(TagPatterns::parse(options.immutable));
  if (!options.htpasswd.empty()) {
    const std::string text = TRY(read_file(options.htpasswd, 16u << 20));
    registry.authenticator = TRY(Authenticator::parse(text, options.htpasswd));
    state->passwords = true;
  }
  std::unique_ptr<TlsContext> tls;
  if (!options.tls_certificate.empty()) {
    tls = TRY(TlsContext::make(options.tls_certificate, options.tls_key));
    state->tls = true;
  }
  std::unique_ptr<Storage> storage = TRY(Storage::open(options.root, options.read_only));
  state->registry = std::make_unique<Registry>(std::move(storage), std::move(registry));
  HttpServerOptions http;
  http.host = address.host;
  http.port = address.port;
  state->http = TRY(HttpServer::listen(
      http, std::move(tls), [raw = state->registry.get()](Request& r) { return raw->handle(r); }));
  return std::unique_ptr<RegistryServer>(new RegistryServer(std::move(state)));
}

std::string RegistryServer::url() const { return state_->http->url(); }

bool RegistryServer::sends_passwords_in_clear() const {
  return state_->passwords && !state_->tls && !state_->http->is_loopback();
}

Result<void> RegistryServer::run(std::stop_token stop) { return state_->http->run(stop); }

}  // namespace kasane::serve
