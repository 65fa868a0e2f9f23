#include "serve/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <thread>

#include "serve/connection.h"

namespace kasane::serve {
namespace {

constexpr auto kHandshakeLimit = std::chrono::seconds(10);

// Each connection needs a socket, a copy to cut it with, and the files of its request.
void raise_file_limit(unsigned connections) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  rlim_t wanted = std::min<rlim_t>(limit.rlim_max, 64 + 8 * connections);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

Result<UniqueFd> bind_one(const addrinfo& address, const std::string& name) {
  UniqueFd fd(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno(errno, "socket");
  int on = 1, off = 0;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.ai_family == AF_INET6)
    ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (::bind(fd.get(), address.ai_addr, address.ai_addrlen) != 0)
    return Error::from_errno(errno, "listen on " + name);
  if (::listen(fd.get(), 512) != 0) return Error::from_errno(errno, "listen on " + name);
  return fd;
}

Result<UniqueFd> bind_socket(const HttpServerOptions& options) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const std::string port = std::to_string(options.port);
  const std::string name = options.host + ":" + port;
  int failed = ::getaddrinfo(options.host.empty() ? nullptr : options.host.c_str(), port.c_str(),
                             &hints, &found);
  if (failed != 0)
    return Error(ErrorKind::kInvalid, "listen on " + name + ": " + ::gai_strerror(failed));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  Result<UniqueFd> fd = Error(ErrorKind::kInvalid, "listen on " + name + ": no address");
  // "every address" is the IPv6 wildcard, which takes IPv4 too; it comes second in the list.
  for (int family : {AF_INET6, AF_INET})
    for (addrinfo* item = found; item && options.host.empty() && !fd; item = item->ai_next)
      if (item->ai_family == family) fd = bind_one(*item, name);
  for (addrinfo* item = found; item && !options.host.empty() && !fd; item = item->ai_next)
    fd = bind_one(*item, name);
  return fd;
}

struct Connection {
  UniqueFd cut;  // a copy of the socket for shutdown(2), which no one can close meanwhile
  ConnectionControl control;
  std::atomic<bool> done{false};
  std::thread thread;
};

}  // namespace

struct HttpServer::State {
  HttpServerOptions options;
  std::unique_ptr<TlsContext> tls;
  Handler handler;
  UniqueFd listener;
  UniqueFd wake;
  std::list<Connection> connections;  // of the thread in run()

  void serve(Connection& connection, UniqueFd socket) {
    sigset_t blocked;
    sigemptyset(&blocked);
    for (int number : {SIGPIPE, SIGINT, SIGTERM}) sigaddset(&blocked, number);
    ::pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    std::unique_ptr<Transport> transport;
    if (!tls) {
      transport = plain_transport(std::move(socket));
    } else if (auto ready = tls->accept(std::move(socket), Clock::now() + kHandshakeLimit); ready) {
      transport = std::move(*ready);
    }
    if (transport) serve_connection(*transport, options, handler, connection.control);
    connection.done = true;
    // The thread in run() may be waiting for room or for the end.
    (void)!::eventfd_write(wake.get(), 1);
  }

  void reap() {
    for (auto item = connections.begin(); item != connections.end();) {
      if (!item->done) {
        ++item;
        continue;
      }
      item->thread.join();
      item = connections.erase(item);
    }
  }

  void cut(bool only_idle, bool only_first = false) {
    for (Connection& connection : connections) {
      if (connection.done || (only_idle && !connection.control.idle)) continue;
      ::shutdown(connection.cut.get(), SHUT_RDWR);
      if (only_first) return;
    }
  }

  void accept_one() {
    UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return;
    }
    int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    UniqueFd copy(::fcntl(socket.get(), F_DUPFD_CLOEXEC, 0));
    if (!copy) return;
    Connection& connection = connections.emplace_back();
    connection.cut = std::move(copy);
    try {
      connection.thread = std::thread(
          [this, &connection, raw = socket.get()] { serve(connection, UniqueFd(raw)); });
      socket.release();
    } catch (const std::system_error&) {  // no more threads
      connections.pop_back();
    }
  }

  void wait(bool accepting, int milliseconds) {
    pollfd items[] = {{wake.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    if (::poll(items, accepting ? 2 : 1, milliseconds) <= 0) return;
    eventfd_t ignored;
    if (items[0].revents) (void)!::eventfd_read(wake.get(), &ignored);
    if (accepting && items[1].revents) accept_one();
  }

  void finish() {
    listener.reset();
    for (Connection& connection : connections) connection.control.stopping = true;
    Clock::time_point deadline = Clock::now() + options.stop_grace;
    for (;;) {
      reap();
      if (connections.empty()) return;
      cut(/*only_idle=*/Clock::now() < deadline);
      wait(false, 50);
    }
  }
};

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::~HttpServer() {
  state_->options.stop_grace = {};
  state_->finish();
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(const HttpServerOptions& options,
                                                       std::unique_ptr<TlsContext> tls,
                                                       Handler handler) {
  auto state = std::make_unique<State>();
  state->options = options;
  state->tls = std::move(tls);
  state->handler = std::move(handler);
  state->listener = TRY(bind_socket(options));
  state->wake = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!state->wake) return Error::from_errno(errno, "eventfd");
  raise_file_limit(options.max_connections);
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(state)));
}

namespace {

sockaddr_storage bound_address(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return address;
}

}  // namespace

std::string HttpServer::url() const {
  sockaddr_storage address = bound_address(state_->listener.get());
  char text[INET6_ADDRSTRLEN] = "";
  const char* scheme = state_->tls ? "https" : "http";
  if (address.ss_family == AF_INET6) {
    auto& six = reinterpret_cast<sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    return fmt::format("{}://[{}]:{}", scheme, text, ntohs(six.sin6_port));
  }
  auto& four = reinterpret_cast<sockaddr_in&>(address);
  ::inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
  return fmt::format("{}://{}:{}", scheme, text, ntohs(four.sin_port));
}

bool HttpServer::is_loopback() const {
  sockaddr_storage address = bound_address(state_->listener.get());
  if (address.ss_family == AF_INET6)
    return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<sockaddr_in6&>(address).sin6_addr);
  return ntohl(reinterpret_cast<sockaddr_in&>(address).sin_addr.s_addr) >> 24 == 127;
}

Result<void> HttpServer::run(std::stop_token stop) {
  std::stop_callback on_stop(stop, [this] { (void)!::eventfd_write(state_->wake.get(), 1); });
  while (!stop.stop_requested()) {
    const bool room = state_->connections.size() < state_->options.max_connections;
    if (!room) state_->cut(/*only_idle=*/true, /*only_first=*/true);
    state_->wait(room, room ? 1000 : 50);
    state_->reap();
  }
  state_->finish();
  return {};
}

}  // namespace kasane::serve
