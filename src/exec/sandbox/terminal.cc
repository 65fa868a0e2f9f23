#include "exec/sandbox/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace kasane::exec {
namespace {

constexpr char kEndOfFile = '\x04';  // ^D, as a terminal line sends it

union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

}  // namespace

bool send_master(int socket_fd, int master_fd) {
  char byte = 't';
  iovec data{&byte, 1};
  Control control;
  std::memset(&control, 0, sizeof control);
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &master_fd, sizeof(int));
  return ::sendmsg(socket_fd, &message, 0) == 1;
}

TerminalRelay::~TerminalRelay() {
  if (raw_) ::tcsetattr(styled_fd(), TCSADRAIN, &saved_);
}

void TerminalRelay::receive_master(int socket_fd) {
  char byte;
  iovec data{&byte, 1};
  Control control;
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  if (::recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1) return;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return;
  int fd;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  master_ = UniqueFd(fd);
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  forward_window_size();
  if (::tcgetattr(styled_fd(), &saved_) != 0) return;  // not a terminal: relayed as it is
  termios raw = saved_;
  // Without input the keyboard still belongs to the caller: Ctrl-C ends it.
  if (caller_.input >= 0)
    ::cfmakeraw(&raw);
  else
    raw.c_oflag &= ~static_cast<tcflag_t>(OPOST);
  raw_ = ::tcsetattr(styled_fd(), TCSADRAIN, &raw) == 0;
}

void TerminalRelay::forward_window_size() {
  winsize now;
  if (!master_ || (::ioctl(caller_.output, TIOCGWINSZ, &now) != 0 &&
                   ::ioctl(caller_.input, TIOCGWINSZ, &now) != 0))
    return;
  if (std::memcmp(&now, &size_, sizeof now) == 0) return;
  size_ = now;
  ::ioctl(master_.get(), TIOCSWINSZ, &now);
}

void TerminalRelay::take_input() {
  char buffer[4096];
  ssize_t n = ::read(caller_.input, buffer, sizeof buffer);
  if (n > 0) {
    pending_.append(buffer, static_cast<size_t>(n));
  } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
    input_ended_ = true;
    pending_.push_back(kEndOfFile);
  }
  give_input();
}

void TerminalRelay::give_input() {
  if (!master_ || pending_.empty()) return;
  ssize_t n = ::write(master_.get(), pending_.data(), pending_.size());
  if (n > 0) pending_.erase(0, static_cast<size_t>(n));
  if (n < 0 && errno != EAGAIN && errno != EINTR) pending_.clear();
}

bool TerminalRelay::take_output() {
  if (!master_) return false;
  char buffer[16384];
  ssize_t n = ::read(master_.get(), buffer, sizeof buffer);
  if (n < 0 && errno == EINTR) return true;
  if (n <= 0) return false;  // EIO: no process of the step has it open
  std::string_view rest(buffer, static_cast<size_t>(n));
  while (!rest.empty()) {
    ssize_t written = ::write(caller_.output, rest.data(), rest.size());
    if (written > 0) {
      rest.remove_prefix(static_cast<size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd room{caller_.output, POLLOUT, 0};
      ::poll(&room, 1, 1000);
    } else if (errno != EINTR) {
      return true;  // the caller's terminal is gone; the step goes on
    }
  }
  return true;
}

}  // namespace kasane::exec
