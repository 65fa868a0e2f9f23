#include "transfer/push.h"

#include <map>
#include <set>

#include "oci/image_config.h"
#include "oci/manifest.h"
#include "transfer/blob_sender.h"
#include "transfer/parallel.h"
#include "transfer/push_image.h"
#include "transfer/push_index.h"

namespace kasane::transfer {
namespace {

class Push {
 public:
  Push(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference, const PushOptions& options,
       const PushEvents& events, const std::stop_token& stop)
      : store_(store),
        pusher_(pusher),
        reference_(reference),
        options_(options),
        form_{options.compression, options.level},
        events_(events),
        stop_(stop) {}

  Result<Pushed> run(std::vector<Outgoing> images, bool as_index) {
    // One question when there is nothing to do.
    if (const Outgoing& image = images.front(); !as_index && image.kept && !options_.nondistributable) {
      const Pushed out{sha256(image.manifest_json), image.manifest_json.size(), image.manifest.media_type};
      if (TRY(pusher_.has_manifest(reference_.tag, out.digest, stop_))) {
        for (size_t i = image.diff_ids.size(); i-- > 0;)
          if (events_.status) events_.status(short_id(image.diff_ids[i]), "Layer already exists");
        return out;
      }
    }
    BlobSender sender(store_, pusher_, reference_, form_, nobody_, events_);
    TRY(send_blobs(sender, images));
    for (Outgoing& image : images) TRY(keep_manifest(store_, image));
    sender.forget_made();
    if (!as_index) {
      const Outgoing& image = images.front();
      return name(image.manifest.media_type, image.manifest_json);
    }
    oci::Index index;
    index.media_type = oci::kMediaTypeIndex;
    for (const Outgoing& image : images) {
      const Sha256Digest digest = sha256(image.manifest_json);
      TRY(pusher_.put_manifest(digest.str(), image.manifest.media_type, image.manifest_json, stop_));
      oci::Descriptor entry;
      entry.media_type = image.manifest.media_type;
      entry.digest = digest.str();
      entry.size = static_cast<int64_t>(image.manifest_json.size());
      entry.platform = image.platform;
      index.manifests.push_back(std::move(entry));
    }
    return name(index.media_type, index.serialize());
  }

 private:
  // The tag, when all that it means is there.
  Result<Pushed> name(const std::string& media_type, const std::string& bytes) {
    Pushed out{sha256(bytes), bytes.size(), media_type};
    if (!TRY(pusher_.has_manifest(reference_.tag, out.digest, stop_)))
      TRY(pusher_.put_manifest(reference_.tag, media_type, bytes, stop_));
    return out;
  }

  Result<void> send_blobs(BlobSender& sender, std::vector<Outgoing>& images) {
    std::map<Sha256Digest, std::vector<oci::Descriptor*>> layers;  // each once
    std::vector<Sha256Digest> order;
    for (Outgoing& image : images)
      for (size_t i = image.diff_ids.size(); i-- > 0;) {  // docker's order: the top first
        std::vector<oci::Descriptor*>& users = layers[image.diff_ids[i]];
        if (users.empty()) order.push_back(image.diff_ids[i]);
        users.push_back(&image.manifest.layers[i]);
      }
    for (const Sha256Digest& diff_id : order) sender.tell(diff_id, "Preparing");
    for (size_t i = static_cast<size_t>(pusher_.uploads()); i < order.size(); ++i) sender.tell(order[i], "Waiting");
    return in_parallel(order.size() + images.size(), pusher_.uploads(), stop_,
                       [&](size_t i, const std::stop_token& stop) -> Result<void> {
                         if (i >= order.size()) return sender.text(images[i - order.size()].config_json, stop);
                         return send_layer(sender, order[i], layers[order[i]], stop);
                       });
  }

  Result<void> send_layer(BlobSender& sender, const Sha256Digest& diff_id, std::vector<oci::Descriptor*>& users,
                          const std::stop_token& stop) {
    std::optional<oci::Descriptor> made;
    std::set<std::string> sent;  // images may have the layer in several compressed forms
    for (oci::Descriptor* user : users) {
      if (user->digest.empty()) {
        if (!made) {
          made = TRY(sender.layer(diff_id, stop));
          sent.insert(made->digest);
        }
        *user = *made;
      } else if (oci::is_foreign_layer(*user) && !options_.nondistributable) {
        sender.tell(diff_id, "Skipped foreign layer");
      } else if (sent.insert(user->digest).second) {
        TRY(sender.stored(diff_id, *user, stop));
      }
    }
    return {};
  }

  store::Store& store_;
  registry::Pusher& pusher_;
  const oci::Reference& reference_;
  const PushOptions& options_;
  const LayerForm form_;
  const ReadyBlob nobody_;
  const PushEvents& events_;
  const std::stop_token& stop_;
};

}  // namespace

Result<Pushed> push(store::Store& store, registry::Pusher& pusher, const oci::Reference& reference,
                    const PushOptions& options, const PushEvents& events, const std::stop_token& stop) {
  TRY(store.hold());
  const std::string tag = reference.name() + ":" + reference.tag;
  std::vector<store::PlatformImage> platforms = TRY(store.platforms_of(tag));
  std::optional<Sha256Digest> image = TRY(store.find_tag(tag));
  if (!image) return Error(ErrorKind::kNotFound, "tag does not exist: " + reference.familiar());
  if (options.platform && !platforms.empty()) {
    image = TRY(store.find_tag_platform(tag, options.platform->normalized().str()));
    if (!image)
      return Error(ErrorKind::kNotFound, reference.familiar() + " names no image for " + options.platform->str());
    platforms.clear();
  }
  if (!options.platform)
    if (const std::optional<WholeIndex> whole = TRY(find_whole_index(store, *image, options.nondistributable))) {
      const Pushed pushed = TRY(push_index(store, pusher, reference, *whole, options, events, stop));
      TRY(store.tag(*image, reference.name() + "@" + pushed.digest.str()));
      return pushed;
    }
  std::vector<Outgoing> images;
  if (platforms.empty()) images.push_back(TRY(read_image(store, *image)));
  if (options.platform && images.front().platform != options.platform->normalized())
    return Error(ErrorKind::kNotFound, reference.familiar() + " names no image for " + options.platform->str())
        .hint("it is for " + images.front().platform.str());
  for (const auto& [platform, id] : platforms) images.push_back(TRY(read_image(store, id)));
  Push work(store, pusher, reference, options, events, stop);
  const Pushed pushed = TRY(work.run(std::move(images), !platforms.empty()));
  TRY(store.tag(*image, reference.name() + "@" + pushed.digest.str()));
  return pushed;
}

}  // namespace kasane::transfer
