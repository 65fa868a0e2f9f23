// --ssh: agents that steps may use through RUN --mount=type=ssh (reference RM5, L11). A step
// never gets the agent itself: it talks to a relay that lets through only listing keys and
// signing, so that it cannot add, remove or lock keys.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace kasane::build {

// Where the agents are. Immutable while a build runs.
class SshAgents {
 public:
  SshAgents() = default;
  ~SshAgents();  // ends the agents that were started for key files
  SshAgents(const SshAgents&) = delete;
  SshAgents& operator=(const SshAgents&) = delete;

  // "default", "ID=SOCKET" or "ID=KEY[,KEY]". `auth_sock`: SSH_AUTH_SOCK of the caller. For
  // key files an agent of openssh-client is started. kInvalid, kNotFound, kUnsupported.
  Result<void> add(std::string_view argument, const std::string& auth_sock);
  // The agent's socket, or null.
  const std::string* find(const std::string& id) const;

 private:
  Result<std::string> start_agent(const std::vector<std::string>& keys);
  std::map<std::string, std::string> sockets_;
  struct Started {
    int pid;
    std::string directory;
  };
  std::vector<Started> started_;
};

// Listens on `path` and relays to the agent at `agent_socket` until it is destroyed.
class SshRelay {
 public:
  // Owners other than ours only where this is allowed.
  static Result<std::unique_ptr<SshRelay>> start(const std::string& path, uint32_t mode, uint32_t uid,
                                                 uint32_t gid, const std::string& agent_socket);
  ~SshRelay();

 private:
  SshRelay() = default;
  void serve();
  void serve_client(int client);
  std::string path_, agent_socket_;
  UniqueFd listener_;
  UniqueFd wake_;  // readable: stop
  std::thread thread_;
};

}  // namespace kasane::build
