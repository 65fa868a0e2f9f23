// What the two keepers tell each other, over a SOCK_SEQPACKET socket.
#pragma once

#include <sys/resource.h>

#include <cstdint>

#include "exec/oci_runtime/runtime_plan.h"
#include "exec/sandbox/launch_plan.h"

namespace kasane::exec {

struct KeeperMessage {
  enum class Kind : uint32_t {
    kReady,    // step keeper: the image is mounted and the program can be started
    kCreated,  // runtime keeper: the step's process exists and waits
    kSealed,   // step keeper: /proc/1 is closed to the step
    kSignal,   // runtime keeper: a signal (status) for all processes of the step
    kEnded,    // runtime keeper: status and usage of the step
  };
  Kind kind;
  int32_t status;  // as of wait4(2), or the number of a signal
  rusage usage;
};

// False (and errno) when the other side is gone.
bool send_message(int socket_fd, KeeperMessage::Kind kind, int status = 0,
                  const rusage* usage = nullptr);
bool receive_message(int socket_fd, KeeperMessage& message);

// The step keeper, right after clone. Never returns.
[[noreturn]] void keep_step(const LaunchPlan& plan, int socket_fd);

}  // namespace kasane::exec
