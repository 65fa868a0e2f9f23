// A copy's source in a registry. Blobs are streamed: a thread downloads into a small buffer from
// which the upload reads, so that nothing is kept and nothing is fetched twice.
#include <condition_variable>
#include <mutex>
#include <thread>

#include "oci/digest.h"
#include "transfer/image_source.h"

namespace kasane::transfer {
namespace {

constexpr size_t kBufferBytes = 1u << 20;

// What is known about a blob over all readings of it: an upload that breaks off begins again
// where the registry stands, and the hash goes on there.
struct Digesting {
  Sha256 hash;
  uint64_t hashed = 0;   // bytes from the beginning that went into it
  bool gap = false;      // the beginning never came this way: the receiver alone checks
};

class Pipe final : public ByteSource, public registry::BlobTarget {
 public:
  Pipe(registry::Repository& repository, oci::Descriptor descriptor, Digesting& digesting, uint64_t offset,
       const std::stop_token& stop)
      : descriptor_(std::move(descriptor)), size_(static_cast<uint64_t>(descriptor_.size)), digesting_(digesting),
        received_(offset), delivered_(offset), forward_(stop, [this] { cancel(); }) {
    digesting_.gap = offset > digesting_.hashed;
    thread_ = std::thread([this, &repository] {
      Result<void> done = repository.blob(descriptor_, *this, stop_.get_token());
      std::lock_guard lock(mutex_);
      if (!done) error_ = std::move(done.error());
      ended_ = true;
      changed_.notify_all();
    });
  }
  ~Pipe() override {
    cancel();
    thread_.join();
  }

  // ---- the upload's side
  Result<size_t> read(std::span<uint8_t> buffer) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !bytes_.empty() || ended_; });
    if (bytes_.empty()) {
      if (error_) return *error_;
      return size_t{0};
    }
    const size_t n = std::min(buffer.size(), bytes_.size() - taken_);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(taken_), n, buffer.begin());
    taken_ += n;
    if (taken_ == bytes_.size()) {
      bytes_.clear();
      taken_ = 0;
      changed_.notify_all();
    }
    return n;
  }

  // ---- the download's side, one thread
  uint64_t have() const override { return received_; }
  Result<void> append(std::span<const uint8_t> bytes) override {
    received_ += bytes.size();
    if (received_ > size_) return wrong();
    if (received_ <= delivered_) return {};  // came before
    bytes = bytes.last(std::min<uint64_t>(bytes.size(), received_ - delivered_));
    if (received_ > digesting_.hashed && !digesting_.gap) {
      digesting_.hash.update(bytes.last(std::min<uint64_t>(bytes.size(), received_ - digesting_.hashed)));
      digesting_.hashed = received_;
      // The end is held back until all is known to be right.
      if (received_ == size_ && digesting_.hash.finish().str() != descriptor_.digest) return wrong();
    }
    delivered_ = received_;
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return bytes_.size() < kBufferBytes || stop_.stop_requested(); });
    if (stop_.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    changed_.notify_all();
    return {};
  }
  Result<void> restart() override {
    if (wrong_) return wrong();  // what went on cannot be taken back
    received_ = 0;
    return {};
  }
  Result<void> verify() override {
    if (wrong_ || (size_ == 0 && sha256("").str() != descriptor_.digest)) return wrong();
    return {};
  }

 private:
  Error wrong() {
    wrong_ = true;
    digesting_.hash = Sha256();
    digesting_.hashed = 0;
    return Error(ErrorKind::kCorrupt, "digest mismatch: the bytes that came are not those of " + descriptor_.digest);
  }
  void cancel() {
    stop_.request_stop();
    std::lock_guard lock(mutex_);
    changed_.notify_all();
  }

  oci::Descriptor descriptor_;
  uint64_t size_;
  Digesting& digesting_;
  uint64_t received_, delivered_;  // of the download's thread
  bool wrong_ = false;
  std::mutex mutex_;  // guards the members up to the blank line
  std::condition_variable changed_;
  std::vector<uint8_t> bytes_;
  size_t taken_ = 0;
  bool ended_ = false;
  std::optional<Error> error_;

  std::stop_source stop_;
  std::stop_callback<std::function<void()>> forward_;
  std::thread thread_;
};

class RemoteBlob final : public registry::UploadSource {
 public:
  RemoteBlob(registry::Repository& repository, oci::Descriptor descriptor, std::stop_token stop)
      : repository_(repository), descriptor_(std::move(descriptor)), stop_(std::move(stop)) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    if (offset >= static_cast<uint64_t>(descriptor_.size) && descriptor_.size > 0)
      return std::unique_ptr<ByteSource>(std::make_unique<MemorySource>(""));
    return std::unique_ptr<ByteSource>(std::make_unique<Pipe>(repository_, descriptor_, digesting_, offset, stop_));
  }

 private:
  registry::Repository& repository_;
  oci::Descriptor descriptor_;
  std::stop_token stop_;
  Digesting digesting_;
};

class RegistrySource final : public ImageSource {
 public:
  RegistrySource(std::unique_ptr<registry::Repository> repository, oci::Reference reference)
      : repository_(std::move(repository)), reference_(std::move(reference)) {}

  Result<std::vector<std::string>> names(const std::stop_token& stop) override { return repository_->tags(stop); }
  Result<registry::Document> top(const std::string& name, const std::stop_token& stop) override {
    const oci::Reference wanted = reference_.with_default_tag();
    const std::string own = wanted.digest.empty() ? wanted.tag : wanted.digest;
    return repository_->document(name.empty() ? own : name, stop);
  }
  Result<registry::Document> document(const oci::Descriptor& descriptor, const std::stop_token& stop) override {
    return repository_->document(descriptor.digest, stop);
  }
  Result<std::unique_ptr<registry::UploadSource>> blob(const oci::Descriptor& descriptor,
                                                       const std::stop_token& stop) override {
    TRY(oci::parse_sha256(descriptor.digest));
    return std::unique_ptr<registry::UploadSource>(std::make_unique<RemoteBlob>(*repository_, descriptor, stop));
  }
  Result<void> fetch(const oci::Descriptor& descriptor, registry::BlobTarget& target,
                     const std::stop_token& stop) override {
    return repository_->blob(descriptor, target, stop);
  }
  std::string neighbour(const std::string& host) const override {
    for (const registry::Endpoint& endpoint : repository_->route().pull)
      if (!endpoint.mirror && endpoint.host == host) return endpoint.repository;
    return "";
  }
  int parallel() const override { return repository_->route().limits.downloads; }

 private:
  std::unique_ptr<registry::Repository> repository_;
  oci::Reference reference_;
};

}  // namespace

Result<std::unique_ptr<ImageSource>> open_registry_source(const Location& location, const SourceOptions& options) {
  std::unique_ptr<registry::Repository> repository =
      TRY(registry::Repository::open(options.around, location.reference));
  return std::unique_ptr<ImageSource>(std::make_unique<RegistrySource>(std::move(repository), location.reference));
}

}  // namespace kasane::transfer
