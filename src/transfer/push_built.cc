// What a build made, to a registry: BuildKit's documents with their annotations and attestations.
#include <map>
#include <mutex>

#include "oci/digest.h"
#include "transfer/blob_sender.h"
#include "transfer/export_internal.h"
#include "transfer/oci_documents.h"
#include "transfer/parallel.h"

namespace kasane::transfer {
namespace {

bool is_manifest(const OciDocuments& documents, const std::string& hex) {
  const std::string digest = "sha256:" + hex;
  if (documents.top().digest == digest) return true;
  for (const oci::Descriptor& child : documents.children())
    if (child.digest == digest) return true;
  return false;
}

class BuiltPush {
 public:
  BuiltPush(store::Store& store, registry::Pusher& pusher, const oci::Reference& target,
            const std::vector<BuiltPlatform>& built, const ExportOptions& output,
            const ReadyBlob& ready, const PushEvents& events)
      : store_(store),
        pusher_(pusher),
        target_(target),
        built_(built),
        output_(output),
        form_{output.compression, output.level, output.force_compression},
        sender_(store, pusher, target, form_, ready, events) {}

  Result<Pushed> run(const std::stop_token& stop) {
    std::map<Sha256Digest, OutputBlob> layers = TRY(send_layers(stop));
    const OciDocuments documents(output_, built_, std::move(layers));
    TRY(send_texts(documents, stop));
    TRY(keep(documents));
    for (const oci::Descriptor& child : documents.children()) TRY(put(documents, child, child.digest, stop));
    const oci::Descriptor& top = documents.top();
    TRY(put(documents, top, output_.push_by_digest ? top.digest : target_.tag, stop));
    sender_.forget_made();
    return Pushed{TRY(oci::parse_sha256(top.digest)), static_cast<uint64_t>(top.size), top.media_type, descriptor_json(top)};
  }

 private:
  Result<std::map<Sha256Digest, OutputBlob>> send_layers(const std::stop_token& stop) {
    std::map<Sha256Digest, OutputBlob> out;
    std::vector<Sha256Digest> order;
    for (const BuiltPlatform& one : built_)
      for (size_t i = one.diff_ids.size(); i-- > 0;)
        if (out.try_emplace(one.diff_ids[i]).second) order.push_back(one.diff_ids[i]);
    TRY(in_parallel(order.size(), pusher_.uploads(), stop, [&](size_t i, const std::stop_token& own) -> Result<void> {
      const oci::Descriptor sent = TRY(sender_.layer(order[i], own));
      OutputBlob& blob = out.find(order[i])->second;  // its own element: no race
      blob.digest = TRY(oci::parse_sha256(sent.digest));
      blob.size = static_cast<uint64_t>(sent.size);
      const std::optional<Compression> kind = compression_of(sent.media_type);
      blob.media_type = kind ? layer_media_type(*kind, output_.oci_media_types) : std::string_view(sent.media_type);
      return {};
    }));
    return out;
  }

  // Configurations and what attestations hold.
  Result<void> send_texts(const OciDocuments& documents, const std::stop_token& stop) {
    std::vector<const std::string*> texts;
    for (const auto& [hex, blob] : documents.blobs())
      if (!blob.text.empty() && !is_manifest(documents, hex)) texts.push_back(&blob.text);
    return in_parallel(texts.size(), pusher_.uploads(), stop,
                       [&](size_t i, const std::stop_token& own) { return sender_.text(*texts[i], own); });
  }

  Result<void> put(const OciDocuments& documents, const oci::Descriptor& manifest, const std::string& reference,
                   const std::stop_token& stop) {
    const Sha256Digest digest = TRY(oci::parse_sha256(manifest.digest));
    if (TRY(pusher_.has_manifest(reference, digest, stop))) return {};
    return pusher_.put_manifest(reference, manifest.media_type, documents.blobs().at(digest.hex()).text, stop);
  }

  // The manifests stay with their images, and so do the layers' compressed bytes.
  Result<void> keep(const OciDocuments& documents) {
    std::vector<oci::Descriptor> manifests = documents.children();
    if (manifests.empty()) manifests.push_back(documents.top());
    for (size_t i = 0; i < built_.size(); ++i) {  // in this order, attestations behind them
      store::ImageRecord record;
      record.config_json = built_[i].config_json;
      record.diff_ids = built_[i].diff_ids;
      record.manifest_json = documents.blobs().at(TRY(oci::parse_sha256(manifests[i].digest)).hex()).text;
      record.manifest_media_type = manifests[i].media_type;
      TRY(store_.put_image(record));
    }
    return {};
  }

  store::Store& store_;
  registry::Pusher& pusher_;
  const oci::Reference& target_;
  const std::vector<BuiltPlatform>& built_;
  const ExportOptions& output_;
  const LayerForm form_;
  BlobSender sender_;
};

}  // namespace

Result<Pushed> push_built(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference,
                          const std::vector<BuiltPlatform>& built, const ExportOptions& output,
                          const ReadyBlob& ready, const PushEvents& events, const std::stop_token& stop) {
  TRY(store.hold());
  Pushed pushed = TRY(BuiltPush(store, pusher, reference, built, output, ready, events).run(stop));
  TRY(store.tag(built.front().config_digest, reference.name() + "@" + pushed.digest.str()));
  return pushed;
}

}  // namespace kasane::transfer
