#include "transfer/image_source.h"

#include <algorithm>
#include <array>

#include "oci/digest.h"
#include "oci/reference.h"
#include "transfer/export_internal.h"

namespace kasane::transfer {
namespace {

class CheckedSource final : public ByteSource {
 public:
  CheckedSource(std::unique_ptr<ByteSource> inner, const oci::Descriptor& descriptor, uint64_t offset)
      : inner_(std::move(inner)), digest_(descriptor.digest), left_(static_cast<uint64_t>(descriptor.size) - offset),
        whole_(offset == 0) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    const size_t n = TRY(inner_->read(buffer));
    if (n > left_ || (n == 0 && left_ > 0))
      return Error(ErrorKind::kCorrupt, "blob " + digest_ + " has another size than its descriptor says");
    if (n == 0) return n;
    left_ -= n;
    if (whole_) hash_.update(buffer.first(n));
    if (left_ == 0 && whole_ && hash_.finish().str() != digest_)
      return Error(ErrorKind::kCorrupt, "digest mismatch: the bytes that came are not those of " + digest_);
    return n;
  }

 private:
  std::unique_ptr<ByteSource> inner_;
  std::string digest_;
  uint64_t left_;
  bool whole_;
  Sha256 hash_;
};

std::string annotation(const oci::Descriptor& descriptor, std::string_view key) {
  const auto found = descriptor.annotations.find(std::string(key));
  return found == descriptor.annotations.end() ? std::string() : found->second;
}

std::string canonical(const std::string& name) {
  const Result<oci::Reference> reference = oci::Reference::parse(name);
  return reference ? reference->with_default_tag().canonical() : std::string();
}

bool is_called(const oci::Descriptor& entry, const std::string& name) {
  const std::string short_name = annotation(entry, kRefNameAnnotation), full = annotation(entry, kImageNameAnnotation);
  if (short_name == name || full == name) return true;
  // "app:1" for docker.io/library/app:1. A bare tag is no image name.
  if (name.find_first_of(":/") == name.npos) return false;
  const std::string wanted = canonical(name);
  return !wanted.empty() && (wanted == canonical(full) ||
                             (short_name.find_first_of(":/") != short_name.npos && wanted == canonical(short_name)));
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out.empty() ? "none of its images has a name" : "it has: " + out.substr(0, 500);
}

}  // namespace

std::unique_ptr<ByteSource> checked_source(std::unique_ptr<ByteSource> inner, const oci::Descriptor& descriptor,
                                           uint64_t offset) {
  return std::make_unique<CheckedSource>(std::move(inner), descriptor, offset);
}

std::string ImageSource::neighbour(const std::string&) const { return ""; }

Result<void> ImageSource::fetch(const oci::Descriptor& descriptor, registry::BlobTarget& target,
                                const std::stop_token& stop) {
  const std::unique_ptr<registry::UploadSource> source = TRY(blob(descriptor, stop));
  const uint64_t size = static_cast<uint64_t>(descriptor.size);
  if (target.have() > size) TRY(target.restart());
  std::unique_ptr<ByteSource> bytes = TRY(source->open(target.have()));
  std::vector<uint8_t> buffer(256u << 10);
  for (;;) {
    if (stop.stop_requested()) return cancelled();
    const size_t n = TRY(bytes->read(buffer));
    if (n == 0) break;
    TRY(target.append(std::span(buffer).first(n)));
  }
  if (target.have() != size)
    return Error(ErrorKind::kCorrupt, "blob " + descriptor.digest + " has another size than its descriptor says");
  return target.verify();
}

std::vector<std::string> layout_names(const oci::Index& index) {
  std::vector<std::string> out;
  for (const oci::Descriptor& entry : index.manifests) {
    std::string name = annotation(entry, kRefNameAnnotation);
    if (name.empty()) name = annotation(entry, kImageNameAnnotation);
    if (!name.empty() && std::find(out.begin(), out.end(), name) == out.end()) out.push_back(std::move(name));
  }
  return out;
}

Result<oci::Descriptor> choose_layout_entry(const oci::Index& index, const std::string& name,
                                            const std::string& digest, const std::string& where) {
  const oci::Descriptor* chosen = nullptr;
  for (const oci::Descriptor& entry : index.manifests) {
    const bool fits = !digest.empty() ? entry.digest == digest : name.empty() || is_called(entry, name);
    if (!fits) continue;
    if (chosen && chosen->digest != entry.digest)
      return Error(ErrorKind::kInvalid, name.empty() ? where + " holds more than one image"
                                                     : where + " holds more than one image named " + name)
          .hint(listed(layout_names(index)) + "; choose by name or by @DIGEST");
    if (!chosen) chosen = &entry;
  }
  if (chosen) return *chosen;
  if (!digest.empty()) {  // a child of an index, which index.json does not list
    oci::Descriptor out;
    out.digest = digest;
    out.size = -1;
    return out;
  }
  return Error(ErrorKind::kNotFound, name.empty() ? where + " holds no image" : where + " holds no image named " + name)
      .hint(listed(layout_names(index)));
}

Result<std::unique_ptr<ImageSource>> open_source(const Location& location, const SourceOptions& options) {
  switch (location.transport) {
    case Transport::kRegistry: return open_registry_source(location, options);
    case Transport::kLayout: return open_layout_source(location);
    case Transport::kOciArchive:
    case Transport::kDockerArchive: return open_tar_source(location, options.stop);
    case Transport::kStore: return open_store_source(location, options);
  }
  return Error(ErrorKind::kInternal, "unknown transport");
}

}  // namespace kasane::transfer
