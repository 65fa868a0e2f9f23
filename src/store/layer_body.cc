// Reading the bodies of a layer, and running work where the owners of its files exist.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "store/layer_internal.h"
#include "tar/reader.h"

namespace kasane::store {
namespace {

class VerifiedSource final : public ByteSource {
 public:
  VerifiedSource(std::unique_ptr<ByteSource> inner, Sha256Digest digest, uint64_t size,
                 std::string what)
      : inner_(std::move(inner)), digest_(digest), size_(size), what_(std::move(what)) {}

  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (ended_ || buffer.empty()) return 0;
    const size_t n = TRY(inner_->read(buffer));
    if (n > size_ - seen_) return damaged("has more bytes than");
    if (n > 0) {
      hash_.update(buffer.first(n));
      seen_ += n;
      return n;
    }
    if (seen_ != size_) return damaged("ends before");
    if (hash_.finish() != digest_) return damaged("differs from");
    ended_ = true;
    return 0;
  }

 private:
  Error damaged(std::string_view how) const {
    return Error(ErrorKind::kCorrupt, what_ + " is damaged in the store: it " + std::string(how) +
                                          " what its digest " + digest_.str() + " names")
        .hint("run `kasane store check`, then pull or build the image again");
  }

  std::unique_ptr<ByteSource> inner_;
  Sha256Digest digest_;
  uint64_t size_;
  std::string what_;
  Sha256 hash_;
  uint64_t seen_ = 0;
  bool ended_ = false;
};

class FileRangeSource final : public ByteSource {
 public:
  FileRangeSource(UniqueFd fd, uint64_t offset, uint64_t size, std::string name)
      : fd_(std::move(fd)), offset_(offset), left_(size), name_(std::move(name)) {}

  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (buffer.size() > left_) buffer = buffer.first(left_);
    if (buffer.empty()) return 0;
    ssize_t n;
    do {
      n = ::pread(fd_.get(), buffer.data(), buffer.size(), static_cast<off_t>(offset_));
    } while (n < 0 && errno == EINTR);
    if (n < 0) return Error::from_errno(errno, "read " + name_);
    offset_ += static_cast<uint64_t>(n);
    left_ -= static_cast<uint64_t>(n);
    return static_cast<size_t>(n);
  }

 private:
  UniqueFd fd_;
  uint64_t offset_;
  uint64_t left_;
  std::string name_;
};

// Content of a sparse member, expanded by the tar reader.
class SparseSource final : public ByteSource {
 public:
  SparseSource(UniqueFd fd, uint64_t offset, std::string name)
      : blob_(std::move(fd), offset, UINT64_MAX, std::move(name)), reader_(blob_) {}
  Result<std::optional<tar::Member>> open() { return reader_.next(); }
  Result<size_t> read(std::span<uint8_t> buffer) override { return reader_.read(buffer); }

 private:
  FileRangeSource blob_;
  tar::Reader reader_;
};

Error lost_report(int status) {
  return Error(ErrorKind::kIo, "the process that works on the layer's files ended with status " +
                                   std::to_string(status) + " and no message");
}

// kind, hint and message of an error, separated by NUL.
std::string encode_error(const Error& error) {
  std::string text = std::to_string(static_cast<int>(error.kind()));
  text += '\0';
  text += error.hint_text();
  text += '\0';
  return text + error.full_message();
}

std::optional<Error> decode_error(const std::string& text) {
  const size_t kind_end = text.find('\0');
  if (kind_end == std::string::npos) return std::nullopt;
  const size_t hint_end = text.find('\0', kind_end + 1);
  if (hint_end == std::string::npos) return std::nullopt;
  const int kind = std::atoi(text.c_str());
  if (kind < 0 || kind > static_cast<int>(ErrorKind::kInternal)) return std::nullopt;
  Error error(static_cast<ErrorKind>(kind), text.substr(hint_end + 1));
  const std::string hint = text.substr(kind_end + 1, hint_end - kind_end - 1);
  if (hint.empty()) return error;
  return std::move(error).hint(hint);
}

class SocketSink final : public ByteSink {
 public:
  explicit SocketSink(int fd) : fd_(fd) {}
  Result<void> write(std::span<const uint8_t> bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error::from_errno(errno, "pass on the content of a layer");
      bytes = bytes.subspan(static_cast<size_t>(n));
    }
    return {};
  }

 private:
  int fd_;
};

// A socket pair and not a pipe: shutdown() ends the stream for both sides even while
// other children, forked meanwhile, hold copies of the descriptors.
class PipedSource final : public ByteSource {
 public:
  PipedSource(UniqueFd read_end, UniqueFd write_end, TreeRunner runner,
              std::function<Result<void>(ByteSink&)> produce)
      : read_end_(std::move(read_end)), write_end_(std::move(write_end)) {
    worker_ = std::thread([this, runner = std::move(runner), produce = std::move(produce)] {
      outcome_ = run_with_report(runner, [&]() -> Result<void> {
        SocketSink sink(write_end_.get());
        return produce(sink);
      });
      ::shutdown(write_end_.get(), SHUT_WR);
    });
  }
  ~PipedSource() override {
    ::shutdown(read_end_.get(), SHUT_RDWR);
    if (worker_.joinable()) worker_.join();
  }
  Result<size_t> read(std::span<uint8_t> buffer) override {
    const size_t n = TRY(read_some(read_end_.get(), buffer, "content of a layer"));
    if (n > 0 || buffer.empty()) return n;
    if (worker_.joinable()) worker_.join();
    TRY(Result<void>(outcome_));
    return 0;
  }

 private:
  UniqueFd read_end_;
  UniqueFd write_end_;
  Result<void> outcome_;
  std::thread worker_;
};

}  // namespace

std::unique_ptr<ByteSource> verified_source(std::unique_ptr<ByteSource> inner, Sha256Digest digest,
                                            uint64_t size, std::string what) {
  return std::make_unique<VerifiedSource>(std::move(inner), digest, size, std::move(what));
}

std::unique_ptr<ByteSource> file_range_source(UniqueFd fd, uint64_t offset, uint64_t size,
                                              std::string name) {
  return std::make_unique<FileRangeSource>(std::move(fd), offset, size, std::move(name));
}

Result<std::unique_ptr<ByteSource>> open_blob_content(const EntryView& entry,
                                                      const std::string& blob_path) {
  UniqueFd fd = TRY(open_file(blob_path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW));
  if (!entry.sparse)
    return file_range_source(std::move(fd), entry.data_offset, entry.raw_size, blob_path);
  auto source = std::make_unique<SparseSource>(std::move(fd), entry.header_offset, blob_path);
  const std::optional<tar::Member> member = TRY(source->open());
  if (!member || member->entry.size != entry.size)
    return Error(ErrorKind::kCorrupt, "the tar " + blob_path + " does not hold '" +
                                          std::string(entry.path) + "' where its index says")
        .hint("run `kasane store check`");
  return std::unique_ptr<ByteSource>(std::move(source));
}

Result<UniqueFd> open_in_tree(int tree_fd, std::string_view path, int flags) {
  const std::string name(path.empty() ? "." : path);
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  for (int attempt = 0;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, tree_fd, name.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno == EINTR || (errno == EAGAIN && attempt < 64)) continue;
    return Error::from_errno(errno, "open '" + name + "' of an unpacked layer");
  }
}

Result<UniqueFd> open_tree_file(int tree_fd, std::string_view path, uint64_t size) {
  UniqueFd fd = TRY(open_in_tree(tree_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat " + std::string(path));
  if (!S_ISREG(st.st_mode) || static_cast<uint64_t>(st.st_size) != size)
    return Error(ErrorKind::kCorrupt, "'" + std::string(path) +
                                          "' of an unpacked layer is not the file of " +
                                          std::to_string(size) + " bytes that its index lists")
        .hint("run `kasane store check`");
  return fd;
}

Result<void> run_with_report(const TreeRunner& runner, const std::function<Result<void>()>& work) {
  if (!runner) return work();
  // Set up the hash library here: a child forked while another thread does so would wait
  // for ever for that thread.
  (void)sha256("");
  UniqueFd report(::memfd_create("kasane-report", MFD_CLOEXEC));
  if (!report) return Error::from_errno(errno, "create a memory file");
  const int status = TRY(runner([&] {
    Result<void> done = work();
    if (done) return 0;
    return write_all(report.get(), encode_error(done.error()), "report") ? 1 : 2;
  }));
  if (status == 0) return {};
  if (::lseek(report.get(), 0, SEEK_SET) != 0) return lost_report(status);
  Result<std::string> text = read_fd(report.get(), 1u << 20, "report");
  if (!text) return lost_report(status);
  std::optional<Error> error = decode_error(*text);
  return error ? std::move(*error) : lost_report(status);
}

Result<std::unique_ptr<ByteSource>> piped_source(TreeRunner runner,
                                                 std::function<Result<void>(ByteSink&)> produce) {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
    return Error::from_errno(errno, "create a socket pair");
  return std::unique_ptr<ByteSource>(std::make_unique<PipedSource>(
      UniqueFd(fds[0]), UniqueFd(fds[1]), std::move(runner), std::move(produce)));
}

}  // namespace kasane::store
