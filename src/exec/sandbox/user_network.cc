#include "exec/sandbox/user_network.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <vector>

#include "base/fd.h"
#include "exec/helpers.h"

namespace kasane::exec {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);
constexpr const char* kPastaResolver = "169.254.1.1";
constexpr const char* kSlirpResolver = "10.0.2.3";

const char* program_of(Network network) {
  return network == Network::kPasta ? "pasta" : "slirp4netns";
}

// No ports are forwarded, neither way, and the host's loopback is out of reach.
std::vector<std::string> arguments(Network chosen, const std::string& path, pid_t pid,
                                   int ready_fd) {
  const std::string number = std::to_string(pid);
  if (chosen == Network::kSlirp4netns)
    return {path,
            "--configure",
            "--mtu=65520",
            "--disable-host-loopback",
            "--enable-sandbox",
            "--enable-seccomp",
            "--ready-fd=" + std::to_string(ready_fd),
            number,
            "tap0"};
  return {path,   "--foreground", "--quiet", "--config-net",  "--no-map-gw",
          "-t",   "none",         "-u",      "none",          "-T",
          "none", "-U",           "none",    "--dns-forward", kPastaResolver,
          number};
}

[[noreturn]] void run_helper(char* const* argv, char* const* env, int ready_fd, int log_fd) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  reset_signal_handlers();
  ::setsid();
  int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  int log = ::fcntl(log_fd, F_DUPFD_CLOEXEC, 3);
  if (::dup2(null, 0) < 0 || ::dup2(null, 1) < 0 || ::dup2(log, 2) < 0) ::_exit(125);
  ::syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
  ::fcntl(ready_fd, F_SETFD, 0);
  unblock_all_signals();
  ::execve(argv[0], argv, env);
  ::_exit(126);
}

// pasta tells nobody in its foreground mode: the route it adds does.
bool has_default_route(pid_t pid) {
  const std::string base = "/proc/" + std::to_string(pid) + "/net/";
  auto v4 = read_file(base + "route", 1 << 20);
  if (v4 && v4->find("\t00000000\t") != std::string::npos) return true;
  auto v6 = read_file(base + "ipv6_route", 1 << 20);
  if (!v6) return false;
  for (size_t at = 0; at < v6->size(); at = v6->find('\n', at) + 1) {
    const std::string_view line = std::string_view(*v6).substr(at, v6->find('\n', at) - at);
    // Destination ::/0 by a device other than lo.
    if (line.starts_with(std::string(32, '0') + " 00 ") && !line.ends_with(" lo")) return true;
    if (v6->find('\n', at) == std::string::npos) break;
  }
  return false;
}

Error helper_failed(Network chosen, int log_fd) {
  std::string text(2000, '\0');
  ssize_t n = ::pread(log_fd, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string hint = "it needs /dev/net/tun, readable and writable for you";
  hint += chosen == Network::kPasta ? "; --network=slirp4netns or --network=host are other ways"
                                    : "; --network=pasta or --network=host are other ways";
  return Error(ErrorKind::kUnsupported, std::string(program_of(chosen)) +
                                            " could not give the step a network" +
                                            (text.empty() ? "" : ": " + text))
      .hint(std::move(hint));
}

}  // namespace

Result<Network> choose_user_network(Network network) {
  const bool pasta = !find_helper("pasta").empty();
  const bool slirp = !find_helper("slirp4netns").empty();
  if (network == Network::kPasta && pasta) return Network::kPasta;
  if (network == Network::kSlirp4netns && slirp) return Network::kSlirp4netns;
  if (network == Network::kPrivate && (pasta || slirp)) {
    const bool prefer_slirp = ::geteuid() == 0;
    return slirp && (prefer_slirp || !pasta) ? Network::kSlirp4netns : Network::kPasta;
  }
  const std::string wanted = network == Network::kPrivate
                                 ? "pasta (package passt) or slirp4netns (package slirp4netns)"
                             : network == Network::kPasta ? "pasta (package passt)"
                                                          : "slirp4netns (package slirp4netns)";
  return Error(ErrorKind::kUnsupported,
               "a private network needs " + wanted + ", not installed here")
      .hint("install it, or use --network=host or --network=none");
}

std::string resolv_conf_for(Network chosen, std::string_view host_text) {
  std::string text = std::string("nameserver ") +
                     (chosen == Network::kPasta ? kPastaResolver : kSlirpResolver) + "\n";
  while (!host_text.empty()) {
    const size_t end = host_text.find('\n');
    const std::string_view line = host_text.substr(0, end);
    host_text = end == std::string_view::npos ? std::string_view() : host_text.substr(end + 1);
    if (line.starts_with("search") || line.starts_with("domain") || line.starts_with("options"))
      text.append(line).append("\n");
  }
  return text;
}

Result<UserNetwork> UserNetwork::start(Network chosen, pid_t pid) {
  const std::string path = find_helper(program_of(chosen));
  if (path.empty())
    return Error(ErrorKind::kUnsupported, std::string(program_of(chosen)) + " is not installed");
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno(errno, "create a pipe");
  UniqueFd ready(fds[0]), low_ready(fds[1]);
  UniqueFd ready_end(::fcntl(low_ready.get(), F_DUPFD_CLOEXEC, 3));
  low_ready.reset();
  UniqueFd log(::memfd_create("network helper", MFD_CLOEXEC));
  if (!log || !ready_end) return Error::from_errno(errno, "create a memory file");
  std::vector<std::string> argv = arguments(chosen, path, pid, ready_end.get());
  std::vector<char*> pointers;
  for (std::string& arg : argv) pointers.push_back(arg.data());
  pointers.push_back(nullptr);
  char search[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* env[] = {search, nullptr};
  sigset_t old_mask;
  block_all_signals(&old_mask);
  int pidfd = -1;
  pid_t helper = clone_process(0, &pidfd);
  if (helper == 0) run_helper(pointers.data(), env, ready_end.get(), log.get());
  int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &old_mask, nullptr);
  if (helper < 0) return Error::from_errno(error, "fork " + path);
  Child child(helper, pidfd);
  ready_end.reset();
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  const bool by_route = chosen == Network::kPasta;
  for (;;) {
    pollfd polls[2] = {{by_route ? -1 : ready.get(), POLLIN, 0}, {pidfd, POLLIN, 0}};
    ::poll(polls, 2, by_route ? 2 : 100);
    char byte;
    if ((polls[0].revents & POLLIN) != 0 && ::read(ready.get(), &byte, 1) == 1) break;
    if (by_route && has_default_route(pid)) break;
    if (polls[1].revents != 0) return helper_failed(chosen, log.get());
    if (std::chrono::steady_clock::now() > deadline) return helper_failed(chosen, log.get());
  }
  return UserNetwork(std::move(child));
}

}  // namespace kasane::exec
