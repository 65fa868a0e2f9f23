#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>

#include "base/fd.h"

extern char** environ;

namespace kasane {
namespace {

constexpr int kGraceMs = 2000;  // between SIGTERM and SIGKILL

// Written to by a stop request, so that poll() wakes; no fd when there can be none.
Result<UniqueFd> make_event(const std::stop_token& stop) {
  if (!stop.stop_possible()) return UniqueFd();
  UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return Error::from_errno(errno, "eventfd");
  return event;
}

// Reads both streams to their ends. On a stop: SIGTERM to the group, then SIGKILL.
Result<void> drain(Pipe& out, Pipe& err, int stop_fd, pid_t pid, ProcessOutput& output,
                   const ProcessOptions& options) {
  using Clock = std::chrono::steady_clock;
  const uint64_t cap = options.max_output_bytes;
  pollfd polls[3] = {{out.read_end.get(), POLLIN, 0},
                     {err.read_end.get(), POLLIN, 0},
                     {stop_fd, POLLIN, 0}};
  std::string* texts[2] = {&output.out, &output.err};
  std::optional<Clock::time_point> deadline;
  const bool timed = options.timeout_ms > 0;
  if (timed) deadline = Clock::now() + std::chrono::milliseconds(options.timeout_ms);
  bool stopped = false;
  for (int open = 2; open > 0;) {
    int wait_ms = -1;
    if (deadline) {
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - Clock::now());
      wait_ms = std::max<int>(0, static_cast<int>(left.count()));
    }
    int ready = ::poll(polls, 3, wait_ms);
    if (ready < 0 && errno != EINTR) return Error::from_errno(errno, "poll");
    if (ready < 0) continue;
    if (ready == 0 && !stopped)
      return Error(ErrorKind::kNetwork,
                   "gave no answer in " + std::to_string(options.timeout_ms / 1000) + " seconds");
    if (ready == 0) break;  // the grace is over; the caller kills
    if (polls[2].fd >= 0 && polls[2].revents != 0) {
      ::kill(-pid, SIGTERM);
      polls[2].fd = -1;
      stopped = true;
      deadline = Clock::now() + std::chrono::milliseconds(kGraceMs);
    }
    for (int i = 0; i < 2; ++i) {
      if (polls[i].fd < 0 || polls[i].revents == 0) continue;
      uint8_t buffer[16384];
      size_t n = TRY(read_some(polls[i].fd, buffer, "helper output"));
      if (n == 0) {
        polls[i].fd = -1;
        --open;
      } else if (texts[i]->size() + n > cap) {
        return Error(ErrorKind::kLimit, "helper printed more than " + std::to_string(cap) + " bytes");
      } else {
        texts[i]->append(reinterpret_cast<char*>(buffer), n);
      }
    }
  }
  if (stopped) return Error(ErrorKind::kCancelled, "cancelled");
  return {};
}

// What can be killed takes its children along.
bool own_group(const ProcessOptions& options) {
  return options.stop.stop_possible() || options.timeout_ms > 0;
}

// The read end of a pipe that holds all of the input; no fd without input.
Result<UniqueFd> make_input(const std::string& input) {
  if (input.empty()) return UniqueFd();
  if (input.size() > 65536) return Error(ErrorKind::kLimit, "more than 64 KiB of input");
  Pipe pipe = TRY(make_pipe());
  TRY(write_all(pipe.write_end.get(), input, "helper input"));
  return std::move(pipe.read_end);
}

std::vector<char*> c_strings(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string program_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  return find_program(name, path != nullptr ? path : "/usr/bin:/bin");
}

// `in_fd` -1: nothing to read.
Result<pid_t> spawn(const std::vector<std::string>& argv, const ProcessOptions& options, int in_fd,
                    int out_fd, int err_fd) {
  const std::string program = program_path(argv[0]);
  if (program.empty()) return Error::from_errno(ENOENT, "run " + argv[0]);
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  if (in_fd >= 0)
    posix_spawn_file_actions_adddup2(&actions, in_fd, 0);
  else
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out_fd, 1);
  posix_spawn_file_actions_adddup2(&actions, err_fd, 2);
  if (!options.working_directory.empty())
    posix_spawn_file_actions_addchdir_np(&actions, options.working_directory.c_str());
  // A helper that inherited blocked or ignored signals could not be ended.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (own_group(options)) flags |= POSIX_SPAWN_SETPGROUP;
  posix_spawnattr_setflags(&attributes, flags);
  std::vector<char*> args = c_strings(argv);
  std::vector<char*> variables;
  if (options.environment) variables = c_strings(*options.environment);
  pid_t pid = 0;
  int status = ::posix_spawn(&pid, program.c_str(), &actions, &attributes, args.data(),
                              options.environment ? variables.data() : environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0) return Error::from_errno(status, "run " + argv[0]);
  return pid;
}

}  // namespace

bool is_program(const std::string& path) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

std::string find_program(std::string_view name, std::string_view directories) {
  while (!directories.empty()) {
    const size_t end = directories.find(':');
    const std::string_view directory = directories.substr(0, end);
    directories = end == std::string_view::npos ? std::string_view() : directories.substr(end + 1);
    if (!directory.starts_with('/')) continue;
    std::string candidate = std::string(directory).append("/").append(name);
    if (is_program(candidate)) return candidate;
  }
  return "";
}

Result<ProcessOutput> run_process(const std::vector<std::string>& argv, uint64_t max_output_bytes) {
  ProcessOptions options;
  options.max_output_bytes = max_output_bytes;
  return run_process(argv, options);
}

Result<ProcessOutput> run_process(const std::vector<std::string>& argv,
                                  const ProcessOptions& options) {
  if (options.stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
  Pipe out = TRY(make_pipe());
  Pipe err = TRY(make_pipe());
  UniqueFd event = TRY(make_event(options.stop));
  UniqueFd in = TRY(make_input(options.input));
  pid_t pid = TRY(spawn(argv, options, in ? in.get() : -1, out.write_end.get(), err.write_end.get()));
  in.reset();
  out.write_end.reset();
  err.write_end.reset();
  ProcessOutput output;
  Result<void> drained = [&]() -> Result<void> {
    std::stop_callback wake(options.stop, [fd = event.get()] {
      uint64_t one = 1;
      [[maybe_unused]] ssize_t written = ::write(fd, &one, sizeof one);
    });
    return drain(out, err, event.get(), pid, output, options);
  }();
  out.read_end.reset();
  err.read_end.reset();
  if (!drained) ::kill(own_group(options) ? -pid : pid, SIGKILL);
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (!drained) return drained.error();
  output.exit_status =
      WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  return output;
}

}  // namespace kasane
