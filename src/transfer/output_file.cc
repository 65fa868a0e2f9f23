// Where the bytes of an output go, and the members of image archives.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "transfer/export_internal.h"

namespace kasane::transfer {
namespace {

constexpr size_t kBufferSize = 256 * 1024;

// The name behind symlinks, so that the rename replaces the file and not the link.
std::string real_target(const std::string& dest) {
  char* resolved = ::realpath(dest.c_str(), nullptr);
  if (!resolved) return dest;
  std::string out(resolved);
  std::free(resolved);
  return out;
}

}  // namespace

Error cancelled() { return Error(ErrorKind::kCancelled, "the export was cancelled"); }

OutputSink::OutputSink(int fd, std::string name, std::stop_token stop)
    : file_(fd, std::move(name)), stop_(std::move(stop)) {
  pending_.reserve(kBufferSize);
}

Result<void> OutputSink::write(std::span<const uint8_t> bytes) {
  size_ += bytes.size();
  if (pending_.size() + bytes.size() > kBufferSize) TRY(flush());
  if (bytes.size() >= kBufferSize) {
    if (stop_.stop_requested()) return cancelled();
    return file_.write(bytes);
  }
  pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> OutputSink::flush() {
  if (stop_.stop_requested()) return cancelled();
  TRY(file_.write(pending_));
  pending_.clear();
  return {};
}

Result<OutputFile> OutputFile::open(const std::string& dest) {
  OutputFile out;
  if (dest == "-") {
    out.fd_ = STDOUT_FILENO;
    out.name_ = "standard output";
    return out;
  }
  out.name_ = dest;
  struct stat st;
  const bool exists = ::stat(dest.c_str(), &st) == 0;
  if (exists && S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, "destination file " + dest + " is a directory")
        .hint("name a file in it: dest=" + dest + "/image.tar");
  if (exists && !S_ISREG(st.st_mode)) {
    out.owned_ = TRY(open_file(dest, O_WRONLY | O_NOCTTY));
  } else {
    Result<NewFile> file = NewFile::create(exists ? real_target(dest) : dest, 0666);
    if (!file) return std::move(file.error()).context("write " + dest);
    out.new_.emplace(std::move(*file));
    // An earlier file keeps its mode, as if it had been written in place.
    if (exists) (void)::fchmod(out.new_->fd(), st.st_mode & 0777);
  }
  out.fd_ = out.new_ ? out.new_->fd() : out.owned_.get();
  return out;
}

Result<void> OutputFile::commit() { return new_ ? new_->commit() : Result<void>(); }

Result<void> ArchiveWriter::begin_file(const std::string& path, uint64_t size) {
  tar::Entry entry;
  entry.path = path;
  entry.size = size;
  entry.mtime.sec = mtime_;
  TRY(writer_.begin(entry));
  return {};
}

Result<void> ArchiveWriter::directory(const std::string& path) {
  tar::Entry entry;
  entry.type = tar::EntryType::kDirectory;
  entry.path = path;
  entry.mode = 0755;
  entry.mtime.sec = mtime_;
  TRY(writer_.begin(entry));
  return writer_.finish_member();
}

Result<void> ArchiveWriter::text(const std::string& path, std::string_view content) {
  TRY(begin_file(path, content.size()));
  TRY(writer_.write(std::span(reinterpret_cast<const uint8_t*>(content.data()), content.size())));
  return writer_.finish_member();
}

Result<void> ArchiveWriter::stream(const std::string& path, uint64_t size,
                                   const Sha256Digest& digest, ByteSource& source) {
  TRY(begin_file(path, size));
  struct MemberSink : ByteSink {
    tar::Writer& writer;
    explicit MemberSink(tar::Writer& w) : writer(w) {}
    Result<void> write(std::span<const uint8_t> bytes) override { return writer.write(bytes); }
  } member(writer_);
  // Damaged bytes must not leave the store under a good name (reference F14).
  HashingSink checked(&member);
  TRY(copy_stream(source, checked));
  if (checked.finish() != digest)
    return Error(ErrorKind::kCorrupt, digest.str() + " is damaged in the store")
        .hint("`kasane store check` tells the extent; build or load the image again");
  return writer_.finish_member();
}

}  // namespace kasane::transfer
