#include "base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

extern char** environ;

namespace kasane {
namespace {

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Result<void> drain(Pipe& out, Pipe& err, ProcessOutput& output, uint64_t cap) {
  pollfd polls[2] = {{out.read_end.get(), POLLIN, 0}, {err.read_end.get(), POLLIN, 0}};
  std::string* texts[2] = {&output.out, &output.err};
  int open = 2;
  while (open > 0) {
    if (::poll(polls, 2, -1) < 0 && errno != EINTR) return Error::from_errno(errno, "poll");
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
  return {};
}

}  // namespace

Result<ProcessOutput> run_process(const std::vector<std::string>& argv, uint64_t max_output_bytes) {
  Pipe out = TRY(make_pipe());
  Pipe err = TRY(make_pipe());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.write_end.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, err.write_end.get(), 2);
  std::vector<char*> args;
  for (const std::string& arg : argv) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  pid_t pid;
  int status = ::posix_spawnp(&pid, argv[0].c_str(), &actions, nullptr, args.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (status != 0) return Error::from_errno(status, "run " + argv[0]);
  out.write_end.reset();
  err.write_end.reset();
  ProcessOutput output;
  Result<void> drained = drain(out, err, output, max_output_bytes);
  out.read_end.reset();
  err.read_end.reset();
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (!drained) return drained.error();
  output.exit_status =
      WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
  return output;
}

}  // namespace kasane
