#include "serve/tls.h"

#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <climits>
#include <type_traits>

namespace kasane::serve {
namespace {

// The functions in use, under their own names. libssl brings a libcrypto of its own, whose
// error queue is the one that matters here.
struct Api {
#define KASANE_SSL_FUNCTIONS(X)                                                              \
  X(TLS_server_method) X(SSL_CTX_new) X(SSL_CTX_free) X(SSL_CTX_ctrl) X(SSL_CTX_set_options) \
  X(SSL_CTX_use_certificate_chain_file) X(SSL_CTX_use_PrivateKey_file)                       \
  X(SSL_CTX_check_private_key) X(SSL_CTX_set_alpn_select_cb) X(SSL_new) X(SSL_free) X(SSL_set_fd) X(SSL_accept)        \
  X(SSL_read) X(SSL_write) X(SSL_shutdown) X(SSL_get_error) X(ERR_get_error)                 \
  X(ERR_error_string_n) X(ERR_clear_error)
#define X(name) std::add_pointer_t<decltype(::name)> name = nullptr;
  KASANE_SSL_FUNCTIONS(X)
#undef X
};

Result<Api> load() {
  void* library = ::dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return Error(ErrorKind::kUnsupported, "TLS needs OpenSSL's libssl.so.3, which is not there")
        .hint("install libssl3");
  Api api;
#define X(name)                                                              \
  api.name = reinterpret_cast<decltype(api.name)>(::dlsym(library, #name));  \
  if (!api.name) return Error(ErrorKind::kUnsupported, "libssl lacks " #name);
  KASANE_SSL_FUNCTIONS(X)
#undef X
  return api;
}

std::string last_error(const Api& api) {
  unsigned long code = api.ERR_get_error();
  if (code == 0) return "unknown reason";
  char text[256];
  api.ERR_error_string_n(code, text, sizeof text);
  return text;
}

// Only HTTP/1.1 is offered; a client that insists on another protocol gets none chosen.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_length,
                    const unsigned char* in, unsigned length, void*) {
  for (unsigned i = 0; i < length; i += in[i] + 1u) {
    if (i + 1u + in[i] > length) break;
    if (std::string_view(reinterpret_cast<const char*>(in + i + 1), in[i]) == "http/1.1") {
      *out = in + i + 1;
      *out_length = in[i];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_NOACK;
}

class TlsTransport : public Transport {
 public:
  TlsTransport(const Api& api, SSL* ssl, UniqueFd socket)
      : api_(api), ssl_(ssl), socket_(std::move(socket)) {}
  ~TlsTransport() override { api_.SSL_free(ssl_); }

  Result<void> handshake(Clock::time_point deadline) {
    TRY(drive([&] { return api_.SSL_accept(ssl_); }, [&] { return deadline; }));
    return {};
  }

  Result<size_t> read(std::span<uint8_t> buffer, Clock::time_point deadline) override {
    int size = static_cast<int>(std::min<size_t>(buffer.size(), INT_MAX));
    return static_cast<size_t>(TRY(drive(
        [&] { return api_.SSL_read(ssl_, buffer.data(), size); }, [&] { return deadline; })));
  }

  Result<void> write(std::span<const uint8_t> bytes, Clock::duration stall) override {
    while (!bytes.empty()) {
      int size = static_cast<int>(std::min<size_t>(bytes.size(), 1u << 20));
      int n = TRY(drive([&] { return api_.SSL_write(ssl_, bytes.data(), size); },
                        [&] { return Clock::now() + stall; }));
      if (n == 0) return Error(ErrorKind::kNetwork, "the connection was closed");
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
  }

  Result<void> send_file(int fd, uint64_t offset, uint64_t length,
                         Clock::duration stall) override {
    return copy_file(*this, fd, offset, length, stall);
  }

  void finish_writing() override {
    api_.ERR_clear_error();
    if (!broken_) api_.SSL_shutdown(ssl_);
    ::shutdown(socket_.get(), SHUT_WR);
  }

 private:
  // Repeats an SSL call until it is done, waiting for what it wants. 0: clean end of the stream.
  template <class Call, class Deadline>
  Result<int> drive(Call call, Deadline deadline) {
    for (;;) {
      api_.ERR_clear_error();
      int n = call();
      if (n > 0) return n;
      int why = api_.SSL_get_error(ssl_, n);
      if (why == SSL_ERROR_ZERO_RETURN) return 0;
      if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        broken_ = true;
        return Error(ErrorKind::kNetwork, "TLS: " + last_error(api_));
      }
      short events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
      TRY(wait_for(socket_.get(), events, deadline()));
    }
  }

  const Api& api_;
  SSL* ssl_;
  UniqueFd socket_;
  bool broken_ = false;
};

}  // namespace

struct TlsContext::State {
  Api api;
  SSL_CTX* context = nullptr;
};

TlsContext::~TlsContext() {
  if (state_ && state_->context) state_->api.SSL_CTX_free(state_->context);
}

Result<std::unique_ptr<TlsContext>> TlsContext::make(const std::string& certificate_file,
                                                     const std::string& key_file) {
  std::unique_ptr<TlsContext> out(new TlsContext);
  out->state_ = std::make_unique<State>();
  State& state = *out->state_;
  state.api = TRY(load());
  const Api& api = state.api;
  state.context = api.SSL_CTX_new(api.TLS_server_method());
  if (!state.context) return Error(ErrorKind::kInternal, "TLS: " + last_error(api));
  api.SSL_CTX_ctrl(state.context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, nullptr);
  api.SSL_CTX_ctrl(state.context, SSL_CTRL_MODE,
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                       SSL_MODE_RELEASE_BUFFERS,
                   nullptr);
  api.SSL_CTX_set_options(state.context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                             SSL_OP_CIPHER_SERVER_PREFERENCE);
  api.SSL_CTX_set_alpn_select_cb(state.context, choose_protocol, nullptr);
  auto invalid = [&](const std::string& what) {
    return Error(ErrorKind::kInvalid, what + ": " + last_error(api));
  };
  TRY_CONTEXT(open_file(certificate_file, O_RDONLY), "certificate");
  TRY_CONTEXT(open_file(key_file, O_RDONLY), "private key");
  if (api.SSL_CTX_use_certificate_chain_file(state.context, certificate_file.c_str()) != 1)
    return invalid("certificate " + certificate_file);
  if (api.SSL_CTX_use_PrivateKey_file(state.context, key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    return invalid("private key " + key_file);
  if (api.SSL_CTX_check_private_key(state.context) != 1)
    return invalid("private key " + key_file + " does not belong to " + certificate_file);
  return out;
}

Result<std::unique_ptr<Transport>> TlsContext::accept(UniqueFd socket,
                                                      Clock::time_point deadline) const {
  const Api& api = state_->api;
  ::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
  SSL* ssl = api.SSL_new(state_->context);
  if (!ssl) return Error(ErrorKind::kInternal, "TLS: " + last_error(api));
  int fd = socket.get();
  auto transport = std::make_unique<TlsTransport>(api, ssl, std::move(socket));
  if (api.SSL_set_fd(ssl, fd) != 1) return Error(ErrorKind::kInternal, "TLS: " + last_error(api));
  TRY(transport->handshake(deadline));
  return std::unique_ptr<Transport>(std::move(transport));
}

}  // namespace kasane::serve
