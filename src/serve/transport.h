// One connection's bytes, plain or through TLS, with a time limit on every wait: no peer can hold
// a thread for longer than the limits of http_server.h.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::serve {

using Clock = std::chrono::steady_clock;

// Used by one thread at a time. shutdown(2) of the socket by another thread ends every wait.
class Transport {
 public:
  virtual ~Transport() = default;
  // At least one byte, or 0 at the end of the stream. kNetwork when the deadline passes, the peer
  // resets, or (TLS) the stream ends without close_notify.
  virtual Result<size_t> read(std::span<uint8_t> buffer, Clock::time_point deadline) = 0;
  // Everything. `stall` is the longest time without progress.
  virtual Result<void> write(std::span<const uint8_t> bytes, Clock::duration stall) = 0;
  virtual Result<void> send_file(int fd, uint64_t offset, uint64_t length, Clock::duration stall) = 0;
  // Says that no more will be written, so that the peer sees the end of the last answer.
  virtual void finish_writing() = 0;

  Result<void> write(std::string_view text, Clock::duration stall) {
    return write(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()), stall);
  }
};

// Owns a connected socket, which it makes non-blocking.
std::unique_ptr<Transport> plain_transport(UniqueFd socket);

// Waits for poll(2) events on fd; kNetwork "timed out" when the deadline passes.
Result<void> wait_for(int fd, short events, Clock::time_point deadline);

// Copies a file through write() in pieces: for transports that cannot use sendfile(2).
Result<void> copy_file(Transport& transport, int fd, uint64_t offset, uint64_t length,
                       Clock::duration stall);

}  // namespace kasane::serve
