#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>

#include "cli/main.h"

namespace {

// The standard library throws when a thread cannot be started or memory is gone, wherever that
// happens. There is no way on then, but it is the machine's limit and no bug: the process ends
// with a sentence and a status, and the store is as after a kill.
[[noreturn]] void end_with_a_sentence() {
  char text[256] = "";
  if (std::exception_ptr current = std::current_exception()) {
    try {
      std::rethrow_exception(current);
    } catch (const std::bad_alloc&) {
      std::snprintf(text, sizeof text, "Error: out of memory\n");
    } catch (const std::system_error& error) {
      std::snprintf(text, sizeof text,
                    "Error: cannot start a thread: %s\nhint: raise the limit of processes (ulimit "
                    "-u, pids of the cgroup)\n",
                    error.what());
    } catch (...) {
    }
  }
  if (*text == '\0') std::abort();
  (void)!::write(STDERR_FILENO, text, __builtin_strlen(text));
  ::_exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  std::set_terminate(end_with_a_sentence);
  return kasane::cli::run(argc, argv);
}
