#include "serve/transport.h"

#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <vector>

namespace kasane::serve {
namespace {

Error network(std::string message) { return Error(ErrorKind::kNetwork, std::move(message)); }

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(UniqueFd socket) : socket_(std::move(socket)) {
    ::fcntl(socket_.get(), F_SETFL, ::fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
  }

  Result<size_t> read(std::span<uint8_t> buffer, Clock::time_point deadline) override {
    for (;;) {
      ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (n >= 0) return static_cast<size_t>(n);
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return network(Error::from_errno(errno, "receive").message());
      TRY(wait_for(socket_.get(), POLLIN, deadline));
    }
  }

  Result<void> write(std::span<const uint8_t> bytes, Clock::duration stall) override {
    while (!bytes.empty()) {
      ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n >= 0) {
        bytes = bytes.subspan(static_cast<size_t>(n));
        continue;
      }
      TRY(after_failed_send(stall));
    }
    return {};
  }

  Result<void> send_file(int fd, uint64_t offset, uint64_t length,
                         Clock::duration stall) override {
    auto position = static_cast<off_t>(offset);
    while (length > 0) {
      constexpr uint64_t kPiece = 8u << 20;
      ssize_t n = ::sendfile(socket_.get(), fd, &position, std::min(length, kPiece));
      if (n == 0) return Error(ErrorKind::kCorrupt, "the file became shorter while it was sent");
      if (n > 0) {
        length -= static_cast<uint64_t>(n);
        continue;
      }
      TRY(after_failed_send(stall));
    }
    return {};
  }

  void finish_writing() override { ::shutdown(socket_.get(), SHUT_WR); }

 private:
  Result<void> after_failed_send(Clock::duration stall) {
    if (errno == EINTR) return {};
    if (errno != EAGAIN) return network(Error::from_errno(errno, "send").message());
    return wait_for(socket_.get(), POLLOUT, Clock::now() + stall);
  }

  UniqueFd socket_;
};

}  // namespace

std::unique_ptr<Transport> plain_transport(UniqueFd socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

Result<void> wait_for(int fd, short events, Clock::time_point deadline) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return network("timed out");
    pollfd item{fd, events, 0};
    int ready = ::poll(&item, 1, static_cast<int>(std::min<int64_t>(left, INT_MAX)));
    if (ready > 0) return {};  // errors show in the next call on the socket
    if (ready < 0 && errno != EINTR) return Error::from_errno(errno, "poll");
  }
}

Result<void> copy_file(Transport& transport, int fd, uint64_t offset, uint64_t length,
                       Clock::duration stall) {
  std::vector<uint8_t> buffer(256u << 10);
  while (length > 0) {
    size_t wanted = static_cast<size_t>(std::min<uint64_t>(length, buffer.size()));
    ssize_t n = ::pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "read");
    if (n == 0) return Error(ErrorKind::kCorrupt, "the file became shorter while it was sent");
    TRY(transport.write(std::span<const uint8_t>(buffer.data(), static_cast<size_t>(n)), stall));
    offset += static_cast<uint64_t>(n);
    length -= static_cast<uint64_t>(n);
  }
  return {};
}

}  // namespace kasane::serve
