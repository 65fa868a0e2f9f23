#include "exec/userns.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"
#include "exec/blockers.h"

namespace kasane::exec {
namespace {

// Values of the byte by which the child says how far it got.
constexpr char kReady = 'r';

bool read_byte(int fd, char& byte) {
  ssize_t n;
  while ((n = ::read(fd, &byte, 1)) < 0 && errno == EINTR) {
  }
  return n == 1;
}

// The child's part until fn: exits with the errno on failure, which the parent reports.
void enter_namespace(int to_parent, int from_parent, bool single, pid_t parent) {
  char byte = kReady;
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    byte = static_cast<char>(errno);
    if (::write(to_parent, &byte, 1) != 1) ::_exit(125);
    ::_exit(125);
  }
  if (::write(to_parent, &byte, 1) != 1 || !read_byte(from_parent, byte)) ::_exit(125);
  if (!single) ::setgroups(0, nullptr);
  if (::setresgid(0, 0, 0) != 0 || ::setresuid(0, 0, 0) != 0) ::_exit(125);
  // A change of credentials clears the parent-death signal.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
}

[[noreturn]] void child_main(const std::function<int()>& fn, Pipe& up, Pipe& down, bool root,
                             bool single, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);
  up.read_end.reset();
  down.write_end.reset();
  if (!root) enter_namespace(up.write_end.get(), down.read_end.get(), single, parent);
  up.write_end.reset();
  down.read_end.reset();
  ::_exit(fn() & 0xff);
}

Result<int> wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) return Error::from_errno(errno, "wait for the mapped child");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Error namespace_error(int error) {
  return Error::from_errno(error, "create a user namespace")
      .hint([] {
        std::string text;
        for (const std::string& item : userns_blockers()) text += (text.empty() ? "" : "; ") + item;
        return text.empty() ? "allow user namespaces for plain users" : text;
      }());
}

// Lets the child go on once its ids are mapped.
Result<void> map_child(pid_t pid, Pipe& up, Pipe& down, const IdMaps& maps) {
  char byte = 0;
  if (!read_byte(up.read_end.get(), byte))
    return Error(ErrorKind::kInternal, "the mapped child ended before it was ready");
  if (byte != kReady) return namespace_error(static_cast<unsigned char>(byte));
  TRY(write_id_maps(pid, maps));
  return write_all(down.write_end.get(), std::string_view("g", 1), "pipe to the mapped child");
}

}  // namespace

Result<int> run_in_mapped_userns(const std::function<int()>& fn) {
  bool root = ::geteuid() == 0;
  IdMaps maps = root ? IdMaps{} : load_id_maps();
  Pipe up = TRY(make_pipe());
  Pipe down = TRY(make_pipe());
  pid_t parent = ::getpid();
  pid_t pid = ::fork();  // glibc's: it keeps malloc usable in the child
  if (pid < 0) return Error::from_errno(errno, "fork");
  if (pid == 0) child_main(fn, up, down, root, maps.single, parent);
  up.write_end.reset();
  down.read_end.reset();
  if (!root) {
    auto mapped = map_child(pid, up, down, maps);
    if (!mapped) {
      ::kill(pid, SIGKILL);
      (void)wait_for(pid);
      return std::move(mapped.error()).context("enter the mapped user namespace");
    }
  }
  return wait_for(pid);
}

}  // namespace kasane::exec
