#include "exec/sandbox/program_start.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {
namespace {

using Sentence = FixedText<1024>;
using Path = FixedText<4096>;

constexpr int kNotFound = 127;
constexpr int kNotExecutable = 126;
constexpr int kMaxInterpreters = 5;  // as the kernel

[[noreturn]] void give_up(const Reporter& report, const Sentence& sentence, int exit_status) {
  StatusMessage message = Reporter::make(StatusMessage::Kind::kExecError, "exec", sentence.view());
  message.exit_status = exit_status;
  report.send(message);
  ::_exit(exit_status);
}

bool is_executable_file(const char* path) {
  struct stat st;
  return ::stat(path, &st) == 0 && S_ISREG(st.st_mode) && ::access(path, X_OK) == 0;
}

// As execvp: the first executable file wins; a file without permission is remembered.
void find_in_path(const Reporter& report, const LaunchPlan& plan, Path& found) {
  std::string_view name = plan.argv[0];
  std::string_view rest = plan.path;
  bool denied = false;
  while (!rest.empty() && !name.empty()) {
    size_t end = rest.find(':');
    std::string_view directory = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    found.clear();
    found.add(directory.empty() ? "." : directory).add("/").add(name);
    if (found.overflowed()) continue;
    if (is_executable_file(found.c_str())) return;
    struct stat st;
    denied = denied || (::stat(found.c_str(), &st) == 0 && S_ISREG(st.st_mode));
  }
  Sentence why;
  why.add("exec: \"").add(name).add("\": ");
  if (denied) give_up(report, why.add("permission denied"), kNotExecutable);
  give_up(report, why.add("executable file not found in $PATH of the image"), kNotFound);
}

// The interpreter of a "#!" script; empty when the file is none or cannot be read.
void read_interpreter(int fd, FixedText<256>& interpreter) {
  char head[256];
  ssize_t n = ::pread(fd, head, sizeof head, 0);
  std::string_view line(head, n > 0 ? static_cast<size_t>(n) : 0);
  if (!line.starts_with("#!")) return;
  line =
      line.substr(2, line.find('\n') == std::string_view::npos ? line.size() : line.find('\n') - 2);
  size_t start = line.find_first_not_of(" \t");
  if (start == std::string_view::npos) return;
  line.remove_prefix(start);
  interpreter.add(line.substr(0, line.find_first_of(" \t")));
}

bool on_procfs(int fd) {
  struct statfs fs;
  return ::fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC;
}

// "#!/proc/self/exe" would run the builder's own program inside the image and let it be
// overwritten from there (CVE-2019-5736), as this process still is that program.
bool leads_to_builder(const char* path) {
  Path current;
  current.add(path);
  for (int depth = 0; depth <= kMaxInterpreters; ++depth) {
    int fd = child_open_without_magic(current.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return errno == ELOOP;
    bool proc = on_procfs(fd);
    FixedText<256> interpreter;
    if (!proc) read_interpreter(fd, interpreter);
    ::close(fd);
    if (proc) return true;
    if (interpreter.size() == 0) return false;
    current.clear();
    current.add(interpreter.view());
  }
  return false;
}

[[noreturn]] void explain_missing(const Reporter& report, const char* path, Sentence& why) {
  struct stat st;
  if (::stat(path, &st) != 0) {
    why.add("no such file or directory");
    std::string_view name = path;
    if (name.ends_with("sh"))
      why.add(" (the image has no such shell: use the exec form of RUN, or another base image)");
    give_up(report, why, kNotFound);
  }
  FixedText<256> interpreter;
  int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd >= 0) read_interpreter(fd, interpreter);
  if (interpreter.size() == 0)
    give_up(report,
            why.add("no such file or directory: its dynamic loader is not in the image (was the "
                    "program built for another libc?)"),
            kNotFound);
  bool windows = interpreter.view().ends_with("\r");
  if (windows) interpreter.cut(interpreter.size() - 1);
  why.add("no such file or directory: its interpreter ").add(interpreter.view());
  why.add(windows ? " is asked for with a carriage return (the script has Windows line endings)"
                  : " is not in the image");
  give_up(report, why, kNotFound);
}

[[noreturn]] void explain(const Reporter& report, const char* path, int error) {
  Sentence why;
  why.add("exec ").add(path).add(": ");
  switch (error) {
    case ENOENT:
      explain_missing(report, path, why);
    case ENOTDIR:
      give_up(report, why.add("not a directory"), kNotFound);
    case EACCES:
      give_up(report, why.add("permission denied"), kNotExecutable);
    case ENOEXEC:
      give_up(report,
              why.add("exec format error (built for another architecture, or a script without a "
                      "\"#!\" line)"),
              kNotExecutable);
    case E2BIG:
      give_up(report, why.add("argument list too long"), kNotExecutable);
    default:
      why.add("error ").add_number(static_cast<uint64_t>(error));
      give_up(report, why, kNotExecutable);
  }
}

}  // namespace

void start_program(const Reporter& report, const LaunchPlan& plan) {
  Path path;
  if (std::string_view(plan.argv[0]).find('/') != std::string_view::npos)
    path.add(plan.argv[0]);
  else
    find_in_path(report, plan, path);
  if (path.overflowed()) explain(report, plan.argv[0], ENOENT);
  if (leads_to_builder(path.c_str())) explain(report, path.c_str(), EACCES);
  ::execve(path.c_str(), plan.argv, plan.env);
  explain(report, path.c_str(), errno);
}

}  // namespace kasane::exec
