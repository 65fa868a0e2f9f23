// Running git so that a hostile repository can neither run commands nor see this user's
// configuration and credentials.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"

namespace kasane::net {

// What all git commands of one call share. Thread-compatible.
class Git {
 public:
  // `home` is an empty directory; `known_hosts` a file that ssh may add keys to.
  Git(std::string remote, std::string home, std::string known_hosts, std::string ssh_auth_sock,
      std::string auth_header, std::stop_token stop);

  struct Place {
    std::string git_dir;    // "" = none (ls-remote)
    std::string work_tree;  // also the working directory; "" = none
    bool local_only = false;  // may read other repositories on disk, and no network
  };
  // Output of `git <args>`, whatever the exit status. kUnsupported without git; kCancelled.
  Result<ProcessOutput> run(const Place& place, const std::vector<std::string>& args) const;
  // The same, but another status than 0 is an error that `failure` made.
  Result<std::string> must(const Place& place, const std::vector<std::string>& args) const;

  // Reads git's messages: who is to blame, and what to do. REQUIRES: exit_status != 0.
  Error failure(const ProcessOutput& output, const std::string& what) const;
  const std::string& remote() const { return remote_; }

 private:
  std::vector<std::string> environment(const Place& place) const;
  std::string remote_;
  std::string home_;
  std::string known_hosts_;
  std::string ssh_auth_sock_;
  std::string auth_header_;
  std::stop_token stop_;
};

}  // namespace kasane::net
