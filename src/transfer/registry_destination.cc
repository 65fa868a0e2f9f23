// A copy's destination in a registry: what it has is left alone, what a neighbour repository has
// is mounted, the rest is streamed from the source into the upload.
#include <map>
#include <set>

#include "oci/digest.h"
#include "transfer/image_destination.h"

namespace kasane::transfer {
namespace {

class RegistryDestination final : public ImageDestination {
 public:
  explicit RegistryDestination(std::unique_ptr<registry::Pusher> pusher) : pusher_(std::move(pusher)) {}

  Result<bool> has(const PlannedName& name, const registry::Document& top, const std::stop_token& stop) override {
    return pusher_->has_manifest(name.tag, top.digest, stop);
  }

  Result<void> write(const CopyPlan& plan, ImageSource& source, CopyLog& log, const std::stop_token& stop) override {
    std::vector<char> there(plan.documents.size());
    TRY(in_parallel(plan.documents.size(), pusher_->uploads(), stop,
                    [&](size_t i, const std::stop_token& own) -> Result<void> {
                      const Sha256Digest& digest = plan.documents[i].document.digest;
                      // A registry takes a manifest only when it has what it names.
                      there[i] = known_.contains(digest) || TRY(pusher_->has_manifest(digest.str(), digest, own));
                      return {};
                    }));
    std::vector<oci::Descriptor> wanted;
    std::set<std::string> seen, present;
    for (size_t i = 0; i < there.size(); ++i)
      for (const oci::Descriptor& blob : plan.documents[i].blobs) {
        if (there[i] && present.insert(blob.digest).second && seen.insert(blob.digest).second) log.existing(blob);
      }
    for (size_t i = 0; i < there.size(); ++i)
      for (const oci::Descriptor& blob : plan.documents[i].blobs)
        if (seen.insert(blob.digest).second) wanted.push_back(blob);
    TRY(in_parallel(wanted.size(), std::min(pusher_->uploads(), source.parallel()), stop,
                    [&](size_t i, const std::stop_token& own) { return send(wanted[i], source, log, own); }));
    for (size_t i = 0; i < there.size(); ++i) {
      if (!there[i]) TRY(put(plan.documents[i].document, plan.documents[i].document.digest.str(), stop));
      known_.insert(plan.documents[i].document.digest);
    }
    for (const PlannedName& name : plan.names) {
      const registry::Document& top = plan.documents[name.document].document;
      if (!name.tag.empty() && !TRY(pusher_->has_manifest(name.tag, top.digest, stop))) TRY(put(top, name.tag, stop));
    }
    return {};
  }

 private:
  Result<void> put(const registry::Document& document, const std::string& reference, const std::stop_token& stop) {
    return pusher_->put_manifest(reference, document.media_type, document.bytes, stop);
  }

  Result<void> send(const oci::Descriptor& blob, ImageSource& source, CopyLog& log, const std::stop_token& stop) {
    const Sha256Digest digest = TRY(oci::parse_sha256(blob.digest));
    if (TRY(pusher_->has_blob(digest, stop))) {
      log.existing(blob);
      return {};
    }
    if (const std::string from = source.neighbour(pusher_->host()); !from.empty()) {
      const Result<bool> mounted = pusher_->mount(digest, from, stop);
      if (mounted && *mounted) {
        log.mounted(blob, from);
        return {};
      }
      if (!mounted && mounted.error().kind() == ErrorKind::kCancelled) return mounted.error();
    }
    log.copying(blob);
    for (int tries = 0;; ++tries) {
      const std::unique_ptr<registry::UploadSource> bytes = TRY(source.blob(blob, stop));
      Result<void> sent = pusher_->upload(digest, static_cast<uint64_t>(blob.size), *bytes, {}, stop);
      if (sent) break;
      // Bytes of a broken transfer may have been wrong and cannot be taken back: once more, afresh.
      if (sent.error().kind() != ErrorKind::kCorrupt || tries > 0)
        return std::move(sent.error()).context("blob " + blob.digest);
    }
    log.copied(blob);
    return {};
  }

  std::unique_ptr<registry::Pusher> pusher_;
  std::set<Sha256Digest> known_;  // of earlier tags of the same copy
};

}  // namespace

Result<std::unique_ptr<ImageDestination>> open_registry_destination(const Location& location,
                                                                    const DestinationOptions& options) {
  std::unique_ptr<registry::Pusher> pusher = TRY(registry::Pusher::open(options.around, location.reference));
  return std::unique_ptr<ImageDestination>(std::make_unique<RegistryDestination>(std::move(pusher)));
}

}  // namespace kasane::transfer
