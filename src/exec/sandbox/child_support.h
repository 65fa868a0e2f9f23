// Building blocks for code that runs between clone(2) and execve(2). The builder has
// many threads, so that code may not allocate, lock, throw or use stdio: it works on
// memory that the parent prepared, on its stack and on system calls.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kasane::exec {

// Text in fixed storage; what does not fit is cut and remembered.
template <size_t N>
class FixedText {
 public:
  FixedText() { data_[0] = '\0'; }
  FixedText& add(std::string_view text) {
    size_t room = N - 1 - size_;
    if (text.size() > room) overflowed_ = true;
    size_t n = text.size() < room ? text.size() : room;
    std::memmove(data_ + size_, text.data(), n);
    size_ += n;
    data_[size_] = '\0';
    return *this;
  }
  FixedText& add_number(uint64_t number) {
    char digits[20];
    size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number != 0);
    return add(std::string_view(digits + at, sizeof digits - at));
  }
  void cut(size_t size) {
    size_ = size;
    data_[size_] = '\0';
  }
  void clear() {
    cut(0);
    overflowed_ = false;
  }
  const char* c_str() const { return data_; }
  std::string_view view() const { return {data_, size_}; }
  size_t size() const { return size_; }
  bool overflowed() const { return overflowed_; }

 private:
  char data_[N];
  size_t size_ = 0;
  bool overflowed_ = false;
};

// What the supervisor and the step tell the builder, one write each (< PIPE_BUF).
struct StatusMessage {
  enum class Kind : uint32_t {
    kSetupError,  // action, object, error; the sandbox could not be made
    kExecError,   // text, exit_status 126 or 127; the program could not be started
    kLimitNote,   // text; a limit of a cgroup could not be applied, the step runs
    kExit,        // exit_status, signal, max_rss_bytes; always the last message
  };
  Kind kind;
  int32_t error;
  int32_t exit_status;
  int32_t signal;
  uint64_t max_rss_bytes;
  uint64_t user_ns;
  uint64_t system_ns;
  char action[64];
  char text[1024];  // kSetupError: the object; kExecError, kLimitNote: the whole sentence
};

// What the builder tells the supervisor, a byte each: first kControlGo, then signals for
// the step's program or for all of its processes.
inline constexpr uint8_t kControlGo = 0;
inline constexpr uint8_t kControlAll = 0x80;
constexpr uint8_t control_byte(int signal, bool all) {
  return static_cast<uint8_t>(signal | (all ? kControlAll : 0));
}

// Sends messages over the status pipe. Used in children only.
class Reporter {
 public:
  explicit Reporter(int fd) : fd_(fd) {}
  // Ends the process: "<action> <object>: <strerror(error)>".
  [[noreturn]] void fail(const char* action, std::string_view object, int error) const;
  void send(const StatusMessage& message) const;
  static StatusMessage make(StatusMessage::Kind kind, std::string_view action,
                            std::string_view text);

 private:
  int fd_;
};

// A plain fork-like clone without glibc's atfork handlers (they would take locks that
// other threads hold). Returns like fork; `pidfd` may be null. The child is on a copy
// of the caller's stack and must not return from the function that called this.
pid_t clone_process(uint64_t namespace_flags, int* pidfd);
// The same, born in the cgroup (v2) of an open directory. -1 and errno, ENOSYS among others,
// where that is not possible.
pid_t clone_process_into(int cgroup_fd);

// Default dispositions for every signal; the mask stays as it is.
void reset_signal_handlers();
void block_all_signals(void* old_mask_or_null);
void unblock_all_signals();

// Raw system calls for this process alone. glibc's wrappers would signal every thread of
// the builder that its copied thread list names, and wait for ever. 0, or -1 and errno.
int raw_setgroups(size_t count, const uint32_t* groups);
int raw_setresgid(uint32_t gid);
int raw_setresuid(uint32_t uid);

// Closes everything but `keep` (ascending, no duplicates).
void close_all_except(const int* keep, size_t count);

// openat2 below root_fd as in base/fd.h, for children. -1 and errno.
int child_open_in_root(int root_fd, const char* path, int flags);
// The same from the working directory, without containment: for use after the image's
// root has become "/". ELOOP when a magic link of procfs is on the way.
int child_open_without_magic(const char* path, int flags);

}  // namespace kasane::exec
