// Copy sources that are files: an OCI layout directory, or an image archive whose members are
// found in one pass and then read in place. Nothing that a document names leads out of them.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/compress.h"
#include "oci/digest.h"
#include "oci/image_config.h"
#include "store/layer.h"
#include "tar/reader.h"
#include "transfer/archive_view.h"
#include "transfer/docker_archive.h"
#include "transfer/export_internal.h"
#include "transfer/image_source.h"

namespace kasane::transfer {
namespace {

constexpr uint64_t kMaxSpoolBytes = 1ull << 40;

std::string blob_path(const std::string& digest) {
  return "blobs/" + std::string(digest).replace(digest.find(':'), 1, "/");
}

// Bytes of a file between two offsets.
class RangeSource final : public ByteSource {
 public:
  RangeSource(int fd, uint64_t offset, uint64_t size) : fd_(fd), offset_(offset), left_(size) {}
  RangeSource(UniqueFd fd, uint64_t offset, uint64_t size)
      : owned_(std::move(fd)), fd_(owned_.get()), offset_(offset), left_(size) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(buffer.size(), left_));
    if (wanted == 0) return size_t{0};
    ssize_t n;
    do n = ::pread(fd_, buffer.data(), wanted, static_cast<off_t>(offset_));
    while (n < 0 && errno == EINTR);
    if (n < 0) return Error::from_errno(errno, "read image");
    offset_ += static_cast<uint64_t>(n);
    left_ -= static_cast<uint64_t>(n);
    return static_cast<size_t>(n);
  }

 private:
  UniqueFd owned_;
  int fd_;
  uint64_t offset_, left_;
};

// Files by name, in a directory or in a tar.
class Files {
 public:
  struct Place {
    UniqueFd owned;
    int fd = -1;
    uint64_t offset = 0, size = 0;
  };
  virtual ~Files() = default;
  virtual Result<std::optional<Place>> find(const std::string& path) const = 0;

  Result<std::optional<std::string>> text(const std::string& path) const {
    std::optional<Place> place = TRY(find(path));
    if (!place) return std::optional<std::string>();
    if (place->size > kMaxDocumentBytes) return Error(ErrorKind::kLimit, path + " has more than 4 MiB");
    RangeSource source(place->fd, place->offset, place->size);
    StringSink sink;
    TRY(copy_stream(source, sink, kMaxDocumentBytes));
    return std::optional<std::string>(std::move(sink.text));
  }
};

class Directory final : public Files {
 public:
  explicit Directory(UniqueFd root) : root_(std::move(root)) {}
  Result<std::optional<Place>> find(const std::string& path) const override {
    Result<UniqueFd> fd = open_in_root(root_.get(), path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!fd && fd.error().kind() == ErrorKind::kNotFound) return std::optional<Place>();
    if (!fd) return std::move(fd.error());
    struct stat st;
    if (::fstat(fd->get(), &st) != 0) return Error::from_errno(errno, "stat " + path);
    if (!S_ISREG(st.st_mode)) return Error(ErrorKind::kInvalid, path + " is no regular file");
    Place out;
    out.owned = std::move(*fd);
    out.fd = out.owned.get();
    out.size = static_cast<uint64_t>(st.st_size);
    return std::optional<Place>(std::move(out));
  }

 private:
  UniqueFd root_;
};

class FileBlob final : public registry::UploadSource {
 public:
  FileBlob(const Files& files, oci::Descriptor descriptor) : files_(files), descriptor_(std::move(descriptor)) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    const std::string path = blob_path(descriptor_.digest);
    std::optional<Files::Place> place = TRY(files_.find(path));
    if (!place) return Error(ErrorKind::kNotFound, "blob " + descriptor_.digest + " is not there").hint(kIncomplete);
    if (static_cast<int64_t>(place->size) != descriptor_.size || offset > place->size)
      return Error(ErrorKind::kCorrupt, "blob " + descriptor_.digest + " has another size than its descriptor says");
    std::unique_ptr<ByteSource> bytes;
    if (place->owned)
      bytes = std::make_unique<RangeSource>(std::move(place->owned), place->offset + offset, place->size - offset);
    else
      bytes = std::make_unique<RangeSource>(place->fd, place->offset + offset, place->size - offset);
    return checked_source(std::move(bytes), descriptor_, offset);
  }
  static constexpr const char* kIncomplete = "the layout is not complete; copy the image again from where it came";

 private:
  const Files& files_;
  oci::Descriptor descriptor_;
};

class LayoutSource : public ImageSource {
 public:
  LayoutSource(std::unique_ptr<Files> files, const Location& location, oci::Index index)
      : files_(std::move(files)), location_(location), index_(std::move(index)) {}

  Result<std::vector<std::string>> names(const std::stop_token&) override { return layout_names(index_); }
  Result<registry::Document> top(const std::string& name, const std::stop_token& stop) override {
    return document(TRY(choose_layout_entry(index_, name.empty() ? location_.name : name,
                                            name.empty() ? location_.digest : "", location_.path)),
                    stop);
  }
  Result<registry::Document> document(const oci::Descriptor& descriptor, const std::stop_token&) override {
    TRY(oci::parse_sha256(descriptor.digest));
    std::optional<std::string> bytes = TRY(files_->text(blob_path(descriptor.digest)));
    if (!bytes)
      return Error(ErrorKind::kNotFound, "manifest " + descriptor.digest + " is not there").hint(FileBlob::kIncomplete);
    registry::Document out = TRY(registry::classify(std::move(*bytes), ""));
    if (out.digest.str() != descriptor.digest)
      return Error(ErrorKind::kCorrupt, "manifest verification failed for digest " + descriptor.digest);
    return out;
  }
  Result<std::unique_ptr<registry::UploadSource>> blob(const oci::Descriptor& descriptor,
                                                       const std::stop_token&) override {
    TRY(oci::parse_sha256(descriptor.digest));
    return std::unique_ptr<registry::UploadSource>(std::make_unique<FileBlob>(*files_, descriptor));
  }

 protected:
  std::unique_ptr<Files> files_;
  Location location_;
  oci::Index index_;
};

// ---- archives

class TarFiles final : public Files {
 public:
  Result<void> read(UniqueFd fd, const std::stop_token& stop) {
    fd_ = std::move(fd);
    struct stat st;
    if (::fstat(fd_.get(), &st) != 0) return Error::from_errno(errno, "stat");
    RangeSource all(fd_.get(), 0, static_cast<uint64_t>(st.st_size));
    tar::Reader reader(all);
    for (;;) {
      if (stop.stop_requested()) return cancelled();
      std::optional<tar::Member> member = TRY(reader.next());
      if (!member) return {};
      const tar::Entry& entry = member->entry;
      if (entry.type == tar::EntryType::kHardlink || entry.type == tar::EntryType::kSymlink) {
        links_[entry.path] = archive_link_target(entry);
      } else if (entry.type == tar::EntryType::kFile && !member->sparse) {
        members_[entry.path] = {member->data_offset, member->raw_size};
      }
    }
  }
  Result<std::optional<Place>> find(const std::string& path) const override {
    std::string real = path;
    for (int i = 0; i < 16; ++i) {
      const auto link = links_.find(real);
      if (link == links_.end()) break;
      real = link->second;
    }
    const auto member = members_.find(real);
    if (member == members_.end()) return std::optional<Place>();
    Place out;
    out.fd = fd_.get();
    out.offset = member->second.first;
    out.size = member->second.second;
    return std::optional<Place>(std::move(out));
  }

 private:
  UniqueFd fd_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> members_;  // offset, size
  std::map<std::string, std::string> links_;
};

// A file that is gone when it is closed.
Result<UniqueFd> make_spool() {
  TempDir folder = TRY(TempDir::make("kasane-copy"));
  return open_file(folder.path() + "/archive", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
}

// The archive in a form that can be read at any place: itself, or expanded beside it.
Result<UniqueFd> open_archive(const std::string& path, const std::stop_token& stop) {
  UniqueFd fd = path == "-" ? UniqueFd(::dup(0)) : TRY(open_file(path, O_RDONLY | O_NOCTTY));
  struct stat st;
  if (::fstat(fd.get(), &st) != 0) return Error::from_errno(errno, "stat " + path);
  if (S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, path + " is a directory").hint("an OCI layout directory is oci:" + path);
  uint8_t head[6];
  const bool plain = S_ISREG(st.st_mode) && ::pread(fd.get(), head, sizeof head, 0) == sizeof head &&
                     detect_compression(head) == Compression::kNone;
  if (plain) return fd;
  FdSource raw(fd.get(), path);
  OpenedStream opened = TRY(open_decompressed(raw));
  UniqueFd spool = TRY(make_spool());
  OutputSink sink(spool.get(), "temporary copy of " + path, stop);
  TRY(copy_stream(*opened.source, sink, kMaxSpoolBytes));
  TRY(sink.flush());
  return spool;
}

// A docker archive without an index.json: the images of its manifest.json, as OCI images whose
// layers are compressed as a push of kasane's compresses them.
class DockerArchiveSource final : public ImageSource {
 public:
  DockerArchiveSource(std::unique_ptr<Files> files, const Location& location, std::vector<DockerArchiveImage> images)
      : files_(std::move(files)), location_(location), images_(std::move(images)) {}

  Result<std::vector<std::string>> names(const std::stop_token&) override {
    std::vector<std::string> out;
    for (const DockerArchiveImage& image : images_) out.insert(out.end(), image.tags.begin(), image.tags.end());
    return out;
  }

  Result<registry::Document> top(const std::string& given, const std::stop_token& stop) override {
    const std::string& name = given.empty() ? location_.name : given;
    const auto canonical = [](const std::string& text) {
      const Result<oci::Reference> reference = oci::Reference::parse(text);
      return reference ? reference->with_default_tag().canonical() : text;
    };
    const DockerArchiveImage* chosen = nullptr;
    for (const DockerArchiveImage& image : images_) {
      bool fits = name.empty();
      for (const std::string& tag : image.tags) fits = fits || canonical(tag) == canonical(name);
      if (fits && chosen)
        return Error(ErrorKind::kInvalid, location_.path + " holds more than one image")
            .hint("choose one: docker-archive:FILE:NAME:TAG");
      if (fits) chosen = &image;
    }
    if (!chosen)
      return Error(ErrorKind::kNotFound, name.empty() ? location_.path + " holds no image"
                                                      : location_.path + " holds no image named " + name);
    return make(*chosen, stop);
  }

  Result<registry::Document> document(const oci::Descriptor& descriptor, const std::stop_token&) override {
    return Error(ErrorKind::kNotFound, "manifest " + descriptor.digest + " is not in the archive");
  }

  Result<std::unique_ptr<registry::UploadSource>> blob(const oci::Descriptor& descriptor,
                                                       const std::stop_token&) override {
    const auto found = blobs_.find(descriptor.digest);
    if (found == blobs_.end())
      return Error(ErrorKind::kNotFound, "blob " + descriptor.digest + " is not in the archive");
    return std::unique_ptr<registry::UploadSource>(std::make_unique<SpooledBlob>(found->second, descriptor));
  }

 private:
  struct Spooled {
    int fd;
    uint64_t offset, size;
  };
  class SpooledBlob final : public registry::UploadSource {
   public:
    SpooledBlob(const Spooled& place, oci::Descriptor descriptor) : place_(place), descriptor_(std::move(descriptor)) {}
    Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
      if (offset > place_.size) return Error(ErrorKind::kInternal, "read behind the end of a blob");
      return checked_source(std::make_unique<RangeSource>(place_.fd, place_.offset + offset, place_.size - offset),
                            descriptor_, offset);
    }

   private:
    Spooled place_;
    oci::Descriptor descriptor_;
  };

  Result<registry::Document> make(const DockerArchiveImage& image, const std::stop_token& stop) {
    std::optional<std::string> config = TRY(files_->text(image.config));
    if (!config) return Error(ErrorKind::kInvalid, "the archive has no " + image.config);
    const oci::ImageConfig parsed = TRY(oci::ImageConfig::parse(*config));
    if (parsed.diff_ids.size() != image.layers.size())
      return Error(ErrorKind::kInvalid, "invalid manifest, layers length mismatch: expected " +
                                            std::to_string(parsed.diff_ids.size()) + ", got " +
                                            std::to_string(image.layers.size()));
    oci::Manifest manifest;
    manifest.media_type = oci::kMediaTypeManifest;
    manifest.config.media_type = oci::kMediaTypeConfig;
    manifest.config.digest = sha256(*config).str();
    manifest.config.size = static_cast<int64_t>(config->size());
    const std::optional<Files::Place> place = TRY(files_->find(image.config));
    blobs_[manifest.config.digest] = {place->fd, place->offset, place->size};
    for (size_t i = 0; i < image.layers.size(); ++i)
      manifest.layers.push_back(TRY_CONTEXT(compress(image.layers[i], parsed.diff_ids[i], stop),
                                            "layer " + image.layers[i]));
    return registry::classify(manifest.serialize(), "");
  }

  Result<oci::Descriptor> compress(const std::string& path, const Sha256Digest& diff_id, const std::stop_token& stop) {
    if (const auto known = layers_.find(diff_id); known != layers_.end()) return known->second;
    std::optional<Files::Place> place = TRY(files_->find(path));
    if (!place) return Error(ErrorKind::kInvalid, "the archive names it but does not hold it");
    RangeSource raw(place->fd, place->offset, place->size);
    OpenedStream opened = TRY(open_decompressed(raw));
    HashingSource plain(*opened.source);
    if (!spool_) spool_ = TRY(make_spool());
    OutputSink file(spool_.get(), "temporary layer", stop);
    HashingSink hash(&file);
    std::unique_ptr<CompressingSink> compressor = TRY(make_compressor(Compression::kGzip, hash));
    TRY(copy_stream(plain, *compressor));
    TRY(compressor->finish());
    TRY(file.flush());
    if (const Sha256Digest found = plain.finish(); found != diff_id)
      return Error(ErrorKind::kCorrupt, "invalid diffID: expected \"" + diff_id.str() + "\", got \"" + found.str() + "\"");
    oci::Descriptor out;
    out.media_type = oci::kMediaTypeLayerGzip;
    out.size = static_cast<int64_t>(hash.size());
    out.digest = hash.finish().str();
    blobs_[out.digest] = {spool_.get(), spooled_, static_cast<uint64_t>(out.size)};
    spooled_ += static_cast<uint64_t>(out.size);
    layers_[diff_id] = out;
    return out;
  }

  std::unique_ptr<Files> files_;
  Location location_;
  std::vector<DockerArchiveImage> images_;
  UniqueFd spool_;
  uint64_t spooled_ = 0;
  std::map<std::string, Spooled> blobs_;  // by digest
  std::map<Sha256Digest, oci::Descriptor> layers_;
};

}  // namespace

Result<std::unique_ptr<ImageSource>> open_layout_source(const Location& location) {
  UniqueFd root = TRY(open_file(location.path, O_RDONLY | O_DIRECTORY));
  auto files = std::make_unique<Directory>(std::move(root));
  const std::optional<std::string> index = TRY(files->text("index.json"));
  if (!index)
    return Error(ErrorKind::kInvalid, location.path + " is no OCI layout: it has no index.json");
  oci::Index parsed = TRY_CONTEXT(oci::Index::parse(*index), location.path + "/index.json");
  return std::unique_ptr<ImageSource>(std::make_unique<LayoutSource>(std::move(files), location, std::move(parsed)));
}

Result<std::unique_ptr<ImageSource>> open_tar_source(const Location& location, const std::stop_token& stop) {
  auto files = std::make_unique<TarFiles>();
  TRY_CONTEXT(files->read(TRY(open_archive(location.path, stop)), stop), location.path);
  if (const std::optional<std::string> index = TRY(files->text("index.json"))) {
    oci::Index parsed = TRY_CONTEXT(oci::Index::parse(*index), "index.json of " + location.path);
    return std::unique_ptr<ImageSource>(std::make_unique<LayoutSource>(std::move(files), location, std::move(parsed)));
  }
  const std::optional<std::string> manifest = TRY(files->text("manifest.json"));
  if (!manifest || location.transport == Transport::kOciArchive)
    return Error(ErrorKind::kInvalid, location.path + (manifest ? " is a docker archive, not an OCI archive"
                                                                : " holds neither index.json nor manifest.json"))
        .hint(manifest ? "docker-archive:" + location.path + " reads it" : "copy takes what `save` writes");
  std::vector<DockerArchiveImage> images = TRY(parse_docker_archive(*manifest));
  return std::unique_ptr<ImageSource>(
      std::make_unique<DockerArchiveSource>(std::move(files), location, std::move(images)));
}

}  // namespace kasane::transfer
