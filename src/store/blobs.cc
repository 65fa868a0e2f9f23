// blobs/sha256/<hex>: small documents (configs, manifests), byte for byte.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "store/database.h"
#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

// Up to here an existing blob is compared, not only measured (R7).
constexpr uint64_t kCompareBytes = 4u << 20;

std::string blob_name(const Sha256Digest& digest) { return "blobs/sha256/" + digest.hex(); }

Result<void> write_file(const std::string& path, std::string_view bytes) {
  UniqueFd fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  TRY(write_all(fd.get(), bytes, path));
  return sync_fd(fd.get(), path);
}

}  // namespace

bool Store::blob_is_sound(const std::string& file, std::string_view bytes) const {
  struct stat st;
  if (::lstat(file.c_str(), &st) != 0 || !S_ISREG(st.st_mode) ||
      static_cast<uint64_t>(st.st_size) != bytes.size())
    return false;
  if (bytes.size() > kCompareBytes) return true;
  Result<std::string> stored = read_file(file, kCompareBytes);
  return stored && *stored == bytes;
}

Result<Sha256Digest> Store::put_blob(std::string_view bytes) {
  TRY(ensure_writable());
  Sha256Digest digest = sha256(bytes);
  std::string target = path(blob_name(digest));
  if (blob_is_sound(target, bytes)) return digest;
  std::string temporary = TRY(temporary_name());
  auto commit = [&]() -> Result<void> {
    TRY(write_file(temporary, bytes));
    // Plain rename: the name says what the bytes are, so whoever wins, wins with the same,
    // and a damaged blob of this name is replaced.
    if (::rename(temporary.c_str(), target.c_str()) != 0)
      return Error::from_errno(errno, "rename to " + target);
    return sync_directory(path("blobs/sha256"));
  };
  if (Result<void> committed = commit(); !committed) {
    ::unlink(temporary.c_str());
    return with_space_hint(std::move(committed.error())).context("store blob " + digest.str());
  }
  return digest;
}

Result<std::string> Store::read_blob(const Sha256Digest& digest, uint64_t max_bytes) {
  std::string file = path(blob_name(digest));
  Result<std::string> bytes = read_file(file, max_bytes);
  if (!bytes && bytes.error().errno_value() == ENOENT)
    return Error(ErrorKind::kNotFound, "blob " + digest.str() + " is not in the store");
  if (!bytes) return bytes;
  if (sha256(*bytes) != digest)
    return Error(ErrorKind::kCorrupt, "blob " + digest.str() + " is damaged: " + file +
                                          " has other content than its name says")
        .hint("run `kasane store check`; remove the image and build, load or pull it again");
  return bytes;
}

bool Store::has_blob(const Sha256Digest& digest) const {
  struct stat st;
  return ::lstat(path(blob_name(digest)).c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

}  // namespace kasane::store
