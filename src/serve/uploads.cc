#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>

#include "base/random.h"
#include "serve/storage.h"
#include "serve/upload_state.h"

namespace kasane::serve {
namespace {

constexpr size_t kBuffer = 256u << 10;
constexpr auto kPatience = std::chrono::seconds(2);
// Hash states kept between requests; more only means that a file is read again.
constexpr size_t kMaxRemembered = 4096;

}  // namespace

struct Upload::State {
  Storage* storage = nullptr;
  std::string name, id, path;
  UniqueFd fd;
  uint64_t size = 0;
  std::unique_ptr<Storage::HashState> hash;  // null: given back or ended
  bool ended = false;

  std::string key() const { return name + "/" + id; }
  Result<ContentDigest> digest_of_file(Algorithm algorithm);
};

Upload::Upload(std::unique_ptr<State> state) : state_(std::move(state)) {}
Upload::Upload(Upload&&) noexcept = default;

Upload::~Upload() {
  if (!state_) return;
  if (state_->ended) state_->hash = nullptr;
  state_->storage->give_back(state_->key(), std::move(state_->hash));
}

const std::string& Upload::id() const { return state_->id; }
uint64_t Upload::size() const { return state_->size; }

// Takes the upload out of the map's hands; waits while another request has it.
Result<std::unique_ptr<Storage::HashState>> Storage::take_upload(const std::string& key) {
  std::unique_lock lock(uploads_mutex_);
  auto free = [&] {
    auto found = uploads_.find(key);
    return found == uploads_.end() || found->second;
  };
  if (!upload_free_.wait_for(lock, kPatience, free))
    return Error(ErrorKind::kConflict, "another request is working on this upload");
  std::unique_ptr<HashState>& slot = uploads_[key];
  std::unique_ptr<HashState> taken = std::move(slot);
  slot = nullptr;
  return taken ? std::move(taken) : std::make_unique<HashState>();
}

void Storage::give_back(const std::string& key, std::unique_ptr<HashState> state) {
  std::lock_guard lock(uploads_mutex_);
  if (!state || uploads_.size() > kMaxRemembered)
    uploads_.erase(key);
  else
    uploads_[key] = std::move(state);
  upload_free_.notify_all();
}

Result<Upload> Storage::start_upload(const std::string& name, Algorithm algorithm) {
  UniqueFd held = TRY(hold());
  auto state = std::make_unique<Upload::State>();
  state->storage = this;
  state->name = name;
  state->id = random_hex(16);
  state->path = layout_.upload(name, state->id);
  TRY(ensure_directory(layout_.uploads(name)));
  state->fd = TRY(open_file(state->path, O_RDWR | O_CREAT | O_EXCL, 0644));
  // Tells a garbage collection that this upload is in use.
  ::flock(state->fd.get(), LOCK_SH | LOCK_NB);
  state->hash = TRY(take_upload(state->key()));
  state->hash->hasher.emplace(algorithm);
  return Upload(std::move(state));
}

Result<Upload> Storage::resume_upload(const std::string& name, const std::string& id) {
  auto state = std::make_unique<Upload::State>();
  state->storage = this;
  state->name = name;
  state->id = id;
  state->path = layout_.upload(name, id);
  if (!TRY(exists(state->path))) return Error(ErrorKind::kNotFound, "no such upload");
  state->hash = TRY(take_upload(state->key()));
  Upload upload(std::move(state));
  Upload::State& filled = *upload.state_;
  filled.ended = true;  // until the file is open: a failure must not leave a slot behind
  auto fd = open_file(filled.path, O_RDWR | O_NOFOLLOW);
  if (!fd && fd.error().kind() == ErrorKind::kNotFound)
    return Error(ErrorKind::kNotFound, "no such upload");
  if (!fd) return std::move(fd.error());
  filled.fd = std::move(*fd);
  ::flock(filled.fd.get(), LOCK_SH | LOCK_NB);
  struct stat st;
  if (::fstat(filled.fd.get(), &st) != 0) return Error::from_errno(errno, "stat upload");
  if (st.st_nlink == 0) return Error(ErrorKind::kNotFound, "no such upload");
  filled.size = static_cast<uint64_t>(st.st_size);
  filled.ended = false;
  return upload;
}

Result<void> Upload::append(ByteSource& source) {
  State& state = *state_;
  if (::lseek(state.fd.get(), static_cast<off_t>(state.size), SEEK_SET) < 0)
    return Error::from_errno(errno, "seek in upload");
  std::vector<uint8_t> buffer(kBuffer);
  for (;;) {
    size_t n = TRY(source.read(buffer));
    if (n == 0) return {};
    std::span<const uint8_t> bytes(buffer.data(), n);
    if (auto written = write_all(state.fd.get(), bytes, "upload"); !written) {
      // What was written of this piece is not in the hash; it goes, so that both agree.
      (void)!::ftruncate(state.fd.get(), static_cast<off_t>(state.size));
      return written;
    }
    if (state.hash->hasher && state.hash->hashed == state.size) {
      state.hash->hasher->update(bytes);
      state.hash->hashed += n;
    }
    state.size += n;
  }
}

Result<ContentDigest> Upload::State::digest_of_file(Algorithm algorithm) {
  if (hash->hasher && hash->hasher->algorithm() == algorithm && hash->hashed == size)
    return hash->hasher->finish();
  ContentHasher hasher(algorithm);
  if (::lseek(fd.get(), 0, SEEK_SET) < 0) return Error::from_errno(errno, "seek in upload");
  std::vector<uint8_t> buffer(kBuffer);
  for (uint64_t done = 0; done < size;) {
    size_t n = TRY(read_some(fd.get(), buffer, "upload"));
    if (n == 0) return Error(ErrorKind::kCorrupt, "the upload became shorter");
    hasher.update(std::span<const uint8_t>(buffer.data(), n));
    done += n;
  }
  return hasher.finish();
}

Result<bool> Upload::finish(const ContentDigest& expected) {
  State& state = *state_;
  ContentDigest actual = TRY(state.digest_of_file(expected.algorithm));
  if (actual != expected) {
    TRY(cancel());
    return false;
  }
  Storage& storage = *state.storage;
  UniqueFd held = TRY(storage.hold());
  state.hash->hasher.reset();  // used up
  // Everything that was pushed is new to the garbage collection, however old the upload is.
  ::futimens(state.fd.get(), nullptr);
  TRY(publish_written(state.fd.get(), state.path, storage.layout_.blob(expected)));
  state.ended = true;
  TRY(storage.link_blob(state.name, expected, state.size));
  return true;
}

Result<void> Upload::cancel() {
  state_->ended = true;
  TRY(remove_durably(state_->path));
  return {};
}

}  // namespace kasane::serve
