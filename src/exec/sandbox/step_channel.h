// The builder's ends of one step: its pipes, its control pipe, what has come through them.
#pragma once

#include <optional>
#include <stop_token>

#include "base/fd.h"
#include "exec/executor.h"
#include "exec/sandbox/child_support.h"
#include "exec/sandbox/terminal.h"

namespace kasane::exec {

// One per run; its descriptors close with it. Used by one thread.
struct Channel {
  Pipe out, err, status;
  Pipe control;                   // to the supervisor: first kControlGo, then control_byte()s
  Pipe in;                        // only with RunSpec::stdin_fd and no terminal
  UniqueFd pty_ours, pty_theirs;  // only with a terminal
  UniqueFd builder;               // pidfd of this process
  std::optional<StatusMessage> setup_error;
  std::optional<StatusMessage> exec_error;
  std::optional<StatusMessage> exit;
  std::optional<StatusMessage> limit_note;
  std::optional<StatusMessage> runtime_error;
  bool started = true;     // what comes through `out` and `err` is the step's
  bool stopped = false;    // `stop` or `kill` was requested
  bool timed_out = false;  // the time limit ended the step
};
Result<Channel> open_channel(const RunSpec& spec);

// What of a RunSpec matters while the step runs.
struct PumpOptions {
  uint64_t time_limit_ns = 0;
  std::optional<int> stdin_fd;
  std::optional<int> signal_fd;
  std::optional<Terminal> terminal;
  std::stop_token stop, kill;
};

// Moves output, input and signals until the supervisor has ended, and ends the step when
// it is asked to (see Executor::run). `kill_supervisor` ends everything at once. The end of
// the status pipe is the end; a pipe that a process outside of the sandbox still holds is
// not waited for.
Result<void> pump(Channel& channel, const PumpOptions& options, const LogCallback& log,
                  const std::function<void()>& kill_supervisor);

}  // namespace kasane::exec
