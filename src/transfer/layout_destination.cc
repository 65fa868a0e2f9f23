// Copy destinations that are files: an OCI layout directory, and image archives.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "oci/digest.h"
#include "oci/platform_match.h"
#include "transfer/docker_archive.h"
#include "transfer/export_internal.h"
#include "transfer/image_destination.h"
#include "transfer/layout_index.h"

namespace kasane::transfer {
namespace {

std::string blob_path(const std::string& digest) {
  return "blobs/" + std::string(digest).replace(digest.find(':'), 1, "/");
}

oci::Descriptor entry_of(const CopyPlan& plan, const PlannedName& name, bool with_full_name) {
  oci::Descriptor out = descriptor_of(plan.documents[name.document].document);
  if (!name.given) return out;
  if (!name.tag.empty()) out.annotations[std::string(kRefNameAnnotation)] = name.tag;
  if (with_full_name && !name.full.empty()) out.annotations[std::string(kImageNameAnnotation)] = name.full;
  return out;
}

// ---- directory

class FileTarget final : public registry::BlobTarget {
 public:
  FileTarget(int fd, std::string path, const oci::Descriptor& descriptor)
      : fd_(fd), path_(std::move(path)), descriptor_(descriptor) {}
  uint64_t have() const override { return have_; }
  Result<void> append(std::span<const uint8_t> bytes) override {
    if (bytes.size() > static_cast<uint64_t>(descriptor_.size) - have_)
      return Error(ErrorKind::kCorrupt, "more bytes came than were announced");
    TRY(write_all(fd_, bytes, path_));
    hash_.update(bytes);
    have_ += bytes.size();
    return {};
  }
  Result<void> restart() override {
    if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0) return Error::from_errno(errno, "truncate " + path_);
    hash_ = Sha256();
    have_ = 0;
    return {};
  }
  Result<void> verify() override {
    if (have_ == static_cast<uint64_t>(descriptor_.size) && hash_.finish().str() == descriptor_.digest) return {};
    TRY(restart());
    return Error(ErrorKind::kCorrupt, "digest mismatch: the bytes that came are not those of " + descriptor_.digest);
  }

 private:
  int fd_;
  std::string path_;
  const oci::Descriptor& descriptor_;
  Sha256 hash_;
  uint64_t have_ = 0;
};

class LayoutDestination final : public ImageDestination {
 public:
  explicit LayoutDestination(std::string path) : path_(std::move(path)) {}

  Result<void> write(const CopyPlan& plan, ImageSource& source, CopyLog& log, const std::stop_token& stop) override {
    TRY(make_directories(path_ + "/blobs/sha256"));
    std::string spool = path_ + "/.kasane-XXXXXX";
    if (!::mkdtemp(spool.data())) return Error::from_errno(errno, "create a directory in " + path_);
    Result<void> written = fill(plan, source, log, spool, stop);
    const Result<void> removed = remove_tree(spool);
    if (!written) return written;
    return removed;
  }

 private:
  Result<void> fill(const CopyPlan& plan, ImageSource& source, CopyLog& log, const std::string& spool,
                    const std::stop_token& stop) {
    const std::vector<oci::Descriptor> blobs = blobs_of(plan);
    TRY(in_parallel(blobs.size(), source.parallel(), stop, [&](size_t i, const std::stop_token& own) -> Result<void> {
      const oci::Descriptor& blob = blobs[i];
      TRY(oci::parse_sha256(blob.digest));
      const std::string target = path_ + "/" + blob_path(blob.digest);
      struct stat st;
      if (::lstat(target.c_str(), &st) == 0 && S_ISREG(st.st_mode) && st.st_size == blob.size) {
        log.existing(blob);
        return {};
      }
      log.copying(blob);
      const std::string from = spool + "/" + std::to_string(i);
      const UniqueFd fd = TRY(open_file(from, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0644));
      FileTarget file(fd.get(), from, blob);
      TRY_CONTEXT(source.fetch(blob, file, own), "blob " + blob.digest);
      TRY(sync_fd(fd.get(), from));
      if (::rename(from.c_str(), target.c_str()) != 0) return Error::from_errno(errno, "rename to " + target);
      log.copied(blob);
      return {};
    }));
    for (const PlannedDocument& planned : plan.documents)
      TRY(replace_file(path_ + "/" + blob_path(planned.document.digest.str()), planned.document.bytes));
    TRY(sync_directory(path_ + "/blobs/sha256"));
    std::vector<oci::Descriptor> entries;
    for (const PlannedName& name : plan.names) entries.push_back(entry_of(plan, name, false));
    return name_in_layout(path_, entries);
  }

  std::string path_;
};

// ---- archives

class TarDestination final : public ImageDestination {
 public:
  TarDestination(std::string path, bool docker) : path_(std::move(path)), docker_(docker) {}
  bool one_go() const override { return true; }

  Result<void> write(const CopyPlan& plan, ImageSource& source, CopyLog& log, const std::stop_token& stop) override {
    OutputFile file = TRY(OutputFile::open(path_));
    OutputSink sink(file.fd(), file.name(), stop);
    ArchiveWriter writer(sink);
    std::string manifest;
    if (docker_) manifest = TRY(docker_manifest(plan, source, stop));
    TRY(write_blobs(plan, source, log, writer, stop));
    oci::Index index;
    index.media_type = oci::kMediaTypeIndex;
    for (const PlannedName& name : plan.names) index.manifests.push_back(entry_of(plan, name, docker_));
    TRY(writer.text("index.json", index.serialize()));
    if (docker_) TRY(writer.text("manifest.json", manifest));
    TRY(writer.text("oci-layout", kLayoutFile));
    TRY(writer.finish());
    TRY(sink.flush());
    return file.commit();
  }

 private:
  Result<void> write_blobs(const CopyPlan& plan, ImageSource& source, CopyLog& log, ArchiveWriter& writer,
                           const std::stop_token& stop) {
    std::map<std::string, const registry::Document*> documents;
    std::map<std::string, oci::Descriptor> blobs;
    for (const PlannedDocument& planned : plan.documents)
      documents[planned.document.digest.str()] = &planned.document;
    for (oci::Descriptor& blob : blobs_of(plan))
      if (!documents.contains(blob.digest)) blobs[blob.digest] = std::move(blob);
    TRY(writer.directory("blobs"));
    TRY(writer.directory("blobs/sha256"));
    auto document = documents.begin();
    auto blob = blobs.begin();
    while (document != documents.end() || blob != blobs.end()) {
      if (blob == blobs.end() || (document != documents.end() && document->first < blob->first)) {
        TRY(writer.text(blob_path(document->first), document->second->bytes));
        ++document;
        continue;
      }
      const Sha256Digest digest = TRY(oci::parse_sha256(blob->first));
      log.copying(blob->second);
      const std::unique_ptr<registry::UploadSource> bytes = TRY(source.blob(blob->second, stop));
      const std::unique_ptr<ByteSource> stream = TRY(bytes->open(0));
      TRY_CONTEXT(writer.stream(blob_path(blob->first), static_cast<uint64_t>(blob->second.size), digest, *stream),
                  "blob " + blob->first);
      log.copied(blob->second);
      ++blob;
    }
    return {};
  }

  // docker's loader knows one image per name: of an index the one for this host, else its first.
  static Result<const registry::Document*> image_for_docker(const CopyPlan& plan, const registry::Document& top) {
    const registry::Document* at = &top;
    for (int depth = 0; at->is_index; ++depth) {
      if (depth >= 8) return Error(ErrorKind::kLimit, "image indexes are nested too deeply");
      const oci::Index index = TRY(oci::Index::parse(at->bytes));
      const oci::Descriptor* chosen = oci::choose_platform(index.manifests, oci::host_with_variant());
      for (const oci::Descriptor& entry : index.manifests)
        if (!chosen && !oci::is_attestation(entry)) chosen = &entry;
      const registry::Document* next = nullptr;
      for (const PlannedDocument& planned : plan.documents)
        if (chosen && planned.document.digest.str() == chosen->digest) next = &planned.document;
      if (!next) return nullptr;
      at = next;
    }
    return at;
  }

  static Result<std::string> docker_manifest(const CopyPlan& plan, ImageSource&, const std::stop_token&) {
    std::vector<DockerArchiveImage> images;
    for (const PlannedName& name : plan.names) {
      const registry::Document* document = TRY(image_for_docker(plan, plan.documents[name.document].document));
      if (!document) continue;
      const oci::Manifest manifest = TRY(oci::Manifest::parse(document->bytes));
      DockerArchiveImage image;
      image.config = blob_path(manifest.config.digest);
      for (const oci::Descriptor& layer : manifest.layers) image.layers.push_back(blob_path(layer.digest));
      const auto known = std::find_if(images.begin(), images.end(), [&](const auto& one) {
        return one.config == image.config && one.layers == image.layers;
      });
      DockerArchiveImage& target = known == images.end() ? images.emplace_back(std::move(image)) : *known;
      if (name.given && !name.full.empty()) target.tags.push_back(oci::familiar(name.full));
    }
    return write_docker_archive_manifest(images);
  }

  std::string path_;
  bool docker_;
};

}  // namespace

Result<std::unique_ptr<ImageDestination>> open_layout_destination(const Location& location) {
  struct stat st;
  if (::stat(location.path.c_str(), &st) == 0 && !S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, location.path + " is a file")
        .hint("an OCI layout in a tar is oci-archive:" + location.path);
  return std::unique_ptr<ImageDestination>(std::make_unique<LayoutDestination>(location.path));
}

Result<std::unique_ptr<ImageDestination>> open_tar_destination(const Location& location) {
  return std::unique_ptr<ImageDestination>(
      std::make_unique<TarDestination>(location.path, location.transport == Transport::kDockerArchive));
}

}  // namespace kasane::transfer
