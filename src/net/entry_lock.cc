#include "net/entry_lock.h"

#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace kasane::net {

Result<UniqueFd> lock_entry(const std::string& path, const std::stop_token& stop) {
  auto pause = std::chrono::milliseconds(1);
  UniqueFd fd = TRY(open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK, 0600));
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return Error::from_errno(errno, "lock " + path);
    if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, std::chrono::milliseconds(50));
  }
  return fd;
}

}  // namespace kasane::net
