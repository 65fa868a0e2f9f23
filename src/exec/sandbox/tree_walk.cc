#include "exec/sandbox/tree_walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel
constexpr int kNodeFlags = O_PATH | O_NOFOLLOW | O_CLOEXEC;

// A walk in progress. `place_` is the symlink-free path of `fd_`.
class Walk {
 public:
  Walk(const Reporter& report, int root_fd, const char* path, WalkKind kind, StubJournal* journal)
      : report_(report), root_fd_(root_fd), path_(path), kind_(kind), journal_(journal) {
    rest_.add(path);
    restart();
  }

  int run() {
    FixedText<256> name;
    while (next_name(name)) {
      if (name.view() == ".") continue;
      if (name.view() == "..") {
        go_up();
        continue;
      }
      step(name);
    }
    struct stat st;
    if (::fstat(fd_, &st) != 0) fail(errno);
    if (S_ISDIR(st.st_mode) != (kind_ == WalkKind::kDirectory))
      fail(S_ISDIR(st.st_mode) ? EISDIR : ENOTDIR);
    return fd_;
  }

 private:
  [[noreturn]] void fail(int error) const { report_.fail("open in the image", path_, error); }

  void move_to(int fd) {
    if (fd < 0) fail(errno);
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

  void restart() {
    move_to(::openat(root_fd_, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    place_.clear();
  }

  // Takes the next component off rest_.
  bool next_name(FixedText<256>& name) {
    std::string_view rest = rest_.view();
    while (!rest.empty() && rest.front() == '/') rest.remove_prefix(1);
    if (rest_.overflowed()) fail(ENAMETOOLONG);
    if (rest.empty()) return false;
    size_t end = rest.find('/');
    name.clear();
    name.add(rest.substr(0, end));
    if (name.overflowed()) fail(ENAMETOOLONG);
    std::string_view after = end == std::string_view::npos ? std::string_view() : rest.substr(end);
    rest_.clear();
    rest_.add(after);  // memmove inside: `after` points into rest_
    return true;
  }

  bool is_last() const { return rest_.view().find_first_not_of('/') == std::string_view::npos; }

  void go_up() {
    FixedText<4096> target;
    target.add(place_.view().substr(
        0, place_.view().rfind('/') == std::string_view::npos ? 0 : place_.view().rfind('/')));
    restart();
    std::string_view todo = target.view();
    while (!todo.empty()) {
      todo.remove_prefix(1);  // the slash
      FixedText<256> name;
      size_t end = todo.find('/');
      name.add(todo.substr(0, end));
      move_to(::openat(fd_, name.c_str(), kNodeFlags | O_DIRECTORY));
      todo = end == std::string_view::npos ? std::string_view() : todo.substr(end);
    }
    place_.add(target.view());
  }

  void create(const char* name) {
    bool directory = !is_last() || kind_ == WalkKind::kDirectory;
    if (journal_ != nullptr)
      journal_->create(report_, fd_, place_.view(), name, directory);
    else if (!directory || ::mkdirat(fd_, name, 0755) != 0)
      report_.fail("create in the image", path_, directory ? errno : ENOENT);
  }

  void step(const FixedText<256>& name) {
    int fd = ::openat(fd_, name.c_str(), kNodeFlags);
    if (fd < 0 && errno == ENOENT) {
      create(name.c_str());
      fd = ::openat(fd_, name.c_str(), kNodeFlags);
    }
    struct stat st;
    if (fd < 0 || ::fstat(fd, &st) != 0) fail(errno);
    if (S_ISLNK(st.st_mode)) {
      follow(fd);
      return;
    }
    if (!S_ISDIR(st.st_mode) && !is_last()) fail(ENOTDIR);
    move_to(fd);
    place_.add("/").add(name.view());
    if (place_.overflowed()) fail(ENAMETOOLONG);
  }

  void follow(int link_fd) {
    if (++links_ > kMaxLinks) fail(ELOOP);
    char text[4096];
    ssize_t n = ::readlinkat(link_fd, "", text, sizeof text);
    ::close(link_fd);
    if (n < 0) fail(errno);
    if (n == 0) fail(ENOENT);
    FixedText<4096> after;
    after.add(rest_.view());
    rest_.clear();
    rest_.add(std::string_view(text, static_cast<size_t>(n))).add("/").add(after.view());
    // "x/" of a link that is the last component must not read as "more follows".
    if (after.view().find_first_not_of('/') == std::string_view::npos)
      rest_.cut(rest_.size() - after.size() - 1);
    if (text[0] == '/') restart();
  }

  const Reporter& report_;
  int root_fd_;
  const char* path_;
  WalkKind kind_;
  StubJournal* journal_;
  int fd_ = -1;
  int links_ = 0;
  FixedText<8192> rest_;
  FixedText<4096> place_;
};

}  // namespace

int walk_and_create(const Reporter& report, int root_fd, const char* path, WalkKind kind,
                    StubJournal* journal) {
  return Walk(report, root_fd, path, kind, journal).run();
}

}  // namespace kasane::exec
