// A copy's source in the store: what came from elsewhere leaves as the bytes that came; layers
// that were built are compressed once, as a push compresses them, and kept.
#include <algorithm>
#include <map>

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "oci/digest.h"
#include "transfer/image_source.h"
#include "transfer/layer_blob.h"
#include "transfer/push_image.h"
#include "transfer/transfer.h"

namespace kasane::transfer {
namespace {

class StoreBlob final : public registry::UploadSource {
 public:
  StoreBlob(std::string path, oci::Descriptor descriptor) : path_(std::move(path)), descriptor_(std::move(descriptor)) {}
  Result<std::unique_ptr<ByteSource>> open(uint64_t offset) override {
    UniqueFd fd = TRY(open_file(path_, O_RDONLY | O_NOFOLLOW));
    if (::lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return Error::from_errno(errno, "seek " + path_);
    return checked_source(std::make_unique<OpenFile>(std::move(fd), path_), descriptor_, offset);
  }

 private:
  struct OpenFile final : public ByteSource {
    OpenFile(UniqueFd fd, const std::string& path) : owned(std::move(fd)), file(owned.get(), path) {}
    Result<size_t> read(std::span<uint8_t> buffer) override { return file.read(buffer); }
    UniqueFd owned;
    FdSource file;
  };
  std::string path_;
  oci::Descriptor descriptor_;
};

class StoreSource final : public ImageSource {
 public:
  StoreSource(store::Store& store, oci::Reference reference) : store_(store), reference_(std::move(reference)) {}

  Result<std::vector<std::string>> names(const std::stop_token&) override {
    std::vector<std::string> out;
    const std::string prefix = reference_.name() + ":";
    for (const store::ImageRow& row : TRY(store_.list_images()))
      for (const std::string& tag : row.tags)
        if (tag.starts_with(prefix)) out.push_back(tag.substr(prefix.size()));
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
  }

  Result<registry::Document> top(const std::string& name, const std::stop_token&) override {
    TRY(store_.hold());
    oci::Reference wanted = reference_.with_default_tag();
    if (!name.empty()) wanted.tag = name;
    if (!wanted.digest.empty()) return single(TRY(find_image(store_, wanted.canonical())));
    const std::string tag = wanted.name() + ":" + wanted.tag;
    const std::vector<store::PlatformImage> platforms = TRY(store_.platforms_of(tag));
    if (platforms.empty()) return single(TRY(find_image(store_, tag)));
    oci::Index index;
    index.media_type = oci::kMediaTypeIndex;
    for (const auto& [platform, id] : platforms) {
      const Outgoing image = TRY(prepare(id));
      oci::Descriptor entry;
      entry.media_type = image.manifest.media_type.empty() ? oci::kMediaTypeManifest : image.manifest.media_type;
      entry.digest = sha256(image.manifest_json).str();
      entry.size = static_cast<int64_t>(image.manifest_json.size());
      entry.platform = image.platform;
      index.manifests.push_back(std::move(entry));
    }
    return registry::classify(index.serialize(), "");
  }

  Result<registry::Document> document(const oci::Descriptor& descriptor, const std::stop_token&) override {
    const Sha256Digest digest = TRY(oci::parse_sha256(descriptor.digest));
    if (const auto known = manifests_.find(digest); known != manifests_.end())
      return registry::classify(known->second, "");
    return registry::classify(TRY(store_.read_blob(digest)), "");
  }

  Result<std::unique_ptr<registry::UploadSource>> blob(const oci::Descriptor& descriptor,
                                                       const std::stop_token&) override {
    const Sha256Digest digest = TRY(oci::parse_sha256(descriptor.digest));
    if (!store_.has_blob(digest))
      return Error(ErrorKind::kNotFound, "blob " + descriptor.digest + " is not in the store");
    return std::unique_ptr<registry::UploadSource>(
        std::make_unique<StoreBlob>(store_.path("blobs/sha256/" + digest.hex()), descriptor));
  }

 private:
  Result<registry::Document> single(const Sha256Digest& id) {
    return registry::classify(TRY(prepare(id)).manifest_json, "");
  }

  // Afterwards the manifest and all that it names can be read.
  Result<Outgoing> prepare(const Sha256Digest& id) {
    Outgoing image = TRY(read_image(store_, id));
    if (!image.kept)
      for (size_t i = 0; i < image.diff_ids.size(); ++i)
        image.manifest.layers[i] = TRY(layer_blob(store_, image.diff_ids[i], {}));
    TRY(keep_manifest(store_, image));
    manifests_[sha256(image.manifest_json)] = image.manifest_json;
    return image;
  }

  store::Store& store_;
  oci::Reference reference_;
  std::map<Sha256Digest, std::string> manifests_;
};

}  // namespace

Result<std::unique_ptr<ImageSource>> open_store_source(const Location& location, const SourceOptions& options) {
  if (!options.store) return Error(ErrorKind::kInternal, "copy from the store without a store");
  return std::unique_ptr<ImageSource>(std::make_unique<StoreSource>(*options.store, location.reference));
}

}  // namespace kasane::transfer
