// The two ends of an interactive step's terminal (RunSpec::terminal_fd).
#pragma once

#include <sys/ioctl.h>
#include <termios.h>

#include <string>

#include "base/fd.h"
#include "exec/executor.h"

namespace kasane::exec {

// In the child: hands the master over the socket. False and errno on failure.
bool send_master(int socket_fd, int master_fd);

// In the builder: moves bytes between the caller's terminal and the step's. The caller's
// input is raw from the arrival of the master to the destructor. One thread.
class TerminalRelay {
 public:
  explicit TerminalRelay(const Terminal& caller) : caller_(caller) {}
  TerminalRelay(const TerminalRelay&) = delete;
  TerminalRelay& operator=(const TerminalRelay&) = delete;
  ~TerminalRelay();

  void receive_master(int socket_fd);
  // What to poll: input only while nothing of it waits to be written. -1: nothing.
  int input_fd() const { return master_ && pending_.empty() && !input_ended_ ? caller_.input : -1; }
  int master_fd() const { return master_.get(); }
  bool has_pending() const { return !pending_.empty(); }

  void forward_window_size();
  void take_input();   // terminal -> pending
  void give_input();   // pending -> master
  bool take_output();  // master -> terminal; false when nothing is there or it ended

 private:
  int styled_fd() const { return caller_.input >= 0 ? caller_.input : caller_.output; }

  Terminal caller_;
  UniqueFd master_;
  std::string pending_;
  bool input_ended_ = false;
  bool raw_ = false;
  termios saved_{};
  winsize size_{};
};

}  // namespace kasane::exec
