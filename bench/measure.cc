// Runs one command and reports what it cost, as one JSON line:
//   measure OUTFILE CMD [ARG...]
// A small process of its own because the kernel carries the peak RSS of the
// process that forks over into the child's ru_maxrss: started from Python, no
// child could ever report less than the interpreter's 10-20 MiB.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdio>
#include <ctime>

extern char** environ;

namespace {
double now_seconds() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}
double seconds(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: measure OUTFILE CMD [ARG...]\n", stderr);
    return 125;
  }
  const double start = now_seconds();
  pid_t pid = 0;
  if (const int e = posix_spawnp(&pid, argv[2], nullptr, nullptr, argv + 2, environ); e != 0) {
    errno = e;
    std::perror(argv[2]);
    return 127;
  }
  int status = 0;
  rusage usage{};
  while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  const double wall = now_seconds() - start;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  FILE* out = std::fopen(argv[1], "w");
  if (out == nullptr) {
    std::perror(argv[1]);
    return 125;
  }
  std::fprintf(out, "{\"wall\": %.6f, \"user\": %.6f, \"sys\": %.6f, \"rss_kib\": %ld, \"code\": %d}\n",
               wall, seconds(usage.ru_utime), seconds(usage.ru_stime), usage.ru_maxrss, code);
  return std::fclose(out) == 0 ? code : 125;
}
