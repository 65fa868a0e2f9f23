// A network of a step's own that reaches out through a process of the calling user: pasta
// or slirp4netns. No privilege, no bridge, no firewall rules.
#pragma once

#include <string>

#include "base/result.h"
#include "exec/executor.h"
#include "exec/sandbox/launcher.h"

namespace kasane::exec {

// The program that `network` (kPrivate, kPasta or kSlirp4netns) means here: pasta for a
// plain user, slirp4netns for root (pasta gives root up, and then may not enter a root's
// network namespace), the other one when only that is installed. kUnsupported names the
// packages.
Result<Network> choose_user_network(Network network);

// resolv.conf for the step: the helper's own forwarder, because a resolver on the host's
// loopback cannot be reached from there. Options and search domains stay.
std::string resolv_conf_for(Network chosen, std::string_view host_text);

// A running helper; it ends with the object, and with the calling thread.
class UserNetwork {
 public:
  // `pid` waits in a network namespace of its own. Returns when that has an address and
  // a default route. Errors carry what the helper said.
  static Result<UserNetwork> start(Network chosen, pid_t pid);

 private:
  explicit UserNetwork(Child child) : child_(std::move(child)) {}
  Child child_;
};

}  // namespace kasane::exec
