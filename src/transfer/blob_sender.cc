#include "transfer/blob_sender.h"

#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "oci/digest.h"
#include "transfer/layer_export.h"
#include "transfer/layer_blob.h"
#include "transfer/upload_sources.h"

namespace kasane::transfer {
namespace {

constexpr size_t kMaxMounts = 3;
// Up to here a layer is compressed before it is asked for and sent: that costs milliseconds, and
// one question may save the sending.
constexpr uint64_t kSmallLayer = 1u << 20;

std::map<Sha256Digest, std::vector<std::string>> neighbours(store::Store& store, const oci::Reference& target) {
  std::map<Sha256Digest, std::vector<std::string>> out;
  Result<std::vector<store::ImageRow>> rows = store.list_images();
  if (!rows) return out;
  for (const store::ImageRow& row : *rows) {
    std::set<std::string> names;
    for (const std::string& digest : row.digests) {
      Result<oci::Reference> reference = oci::Reference::parse(digest);
      if (reference && reference->domain == target.domain && reference->repository != target.repository)
        names.insert(reference->repository);
    }
    if (names.empty()) continue;
    Result<std::vector<Sha256Digest>> layers = store.image_layers(row.id);
    if (!layers) continue;
    for (const Sha256Digest& layer : *layers)
      for (const std::string& name : names)
        if (std::vector<std::string>& list = out[layer]; list.size() < kMaxMounts) list.push_back(name);
  }
  return out;
}

bool has_bytes(const std::string& path, uint64_t size) {
  struct stat st;
  return ::stat(path.c_str(), &st) == 0 && static_cast<uint64_t>(st.st_size) == size;
}

}  // namespace

std::string short_id(const Sha256Digest& digest) { return digest.hex().substr(0, 12); }

BlobSender::BlobSender(store::Store& store, registry::Pusher& pusher, const oci::Reference& target,
                       const LayerForm& form, const ReadyBlob& ready,
                       const PushEvents& events)
    : store_(store),
      pusher_(pusher),
      form_(form),
      ready_(ready),
      events_(events),
      notes_(store, pusher.host() + "|" + target.repository),
      near_(neighbours(store, target)) {}

void BlobSender::tell(const Sha256Digest& diff_id, const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (events_.status) events_.status(short_id(diff_id), text);
}

void BlobSender::forget_made() {
  for (const std::string& key : made_) notes_.write(key, {});
  made_.clear();
}

registry::UploadHooks BlobSender::hooks_for(const Sha256Digest& diff_id, const std::string& key, uint64_t total) {
  registry::UploadHooks hooks;
  hooks.session = notes_.read(key).session;
  hooks.session_changed = [this, key](const std::string& url) {
    const std::lock_guard lock(mutex_);
    UploadNote note = notes_.read(key);
    note.session = url;
    notes_.write(key, note);
  };
  hooks.progress = [this, diff_id, total](uint64_t current) {
    const std::lock_guard lock(mutex_);
    if (events_.progress) events_.progress(short_id(diff_id), current, total);
  };
  hooks.on_retry = [this, diff_id](int seconds) {
    tell(diff_id, "Retrying in " + std::to_string(seconds) + " second" + (seconds == 1 ? "" : "s"));
  };
  return hooks;
}

Result<bool> BlobSender::mounted(const Sha256Digest& diff_id, const Sha256Digest& digest,
                                 const std::stop_token& stop) {
  const auto near = near_.find(diff_id);
  if (near == near_.end()) return false;
  for (const std::string& from : near->second) {
    Result<bool> took = pusher_.mount(digest, from, stop);
    if (!took || !*took) continue;
    tell(diff_id, "Mounted from " + from);
    return true;
  }
  return false;
}

Result<void> BlobSender::stored(const Sha256Digest& diff_id, const oci::Descriptor& descriptor,
                                const std::stop_token& stop) {
  const Sha256Digest digest = TRY(oci::parse_sha256(descriptor.digest));
  const bool there = TRY(pusher_.has_blob(digest, stop));
  if (there) tell(diff_id, "Layer already exists");
  if (there || TRY(mounted(diff_id, digest, stop))) {
    notes_.write(digest.str(), {});  // of a run that ended before it was told of its success
    return {};
  }
  tell(diff_id, "Pushing");
  const auto source = file_upload(store_.path("blobs/sha256/" + digest.hex()));
  const auto size = static_cast<uint64_t>(descriptor.size);
  TRY(pusher_.upload(digest, size, *source, hooks_for(diff_id, digest.str(), size), stop));
  tell(diff_id, "Pushed");
  return {};
}

Result<void> BlobSender::text(const std::string& bytes, const std::stop_token& stop) {
  const Sha256Digest digest = sha256(bytes);
  if (TRY(pusher_.has_blob(digest, stop))) return {};
  return pusher_.upload(digest, bytes.size(), *text_upload(bytes), {}, stop);
}

Result<oci::Descriptor> BlobSender::layer(const Sha256Digest& diff_id, const std::stop_token& stop) {
  std::optional<oci::Descriptor> known = TRY(known_layer_blob(store_, diff_id, form_));
  if (!known && ready_) known = TRY(ready_(diff_id));
  if (known) {
    TRY(stored(diff_id, *known, stop));
    return std::move(*known);
  }
  return made(TRY(store::open_layer(store_, diff_id)), stop);
}

// A layer that was never compressed, or by a push that did not get to its end.
Result<oci::Descriptor> BlobSender::made(const store::LayerPtr& layer, const std::stop_token& stop) {
  const Sha256Digest& diff_id = layer->diff_id();
  const std::string_view type = layer_media_type(form_.compression, true);
  const std::string key = "layer|" + diff_id.str() + "|" + form_.text();
  {
    const std::lock_guard lock(mutex_);
    made_.insert(key);
  }
  const UploadNote note = notes_.read(key);
  std::optional<registry::BlobEnd> end = note.end;
  // Sent to its end by a run that did not live long enough to keep the bytes.
  if (end && TRY(pusher_.has_blob(end->digest, stop))) {
    tell(diff_id, "Layer already exists");
    notes_.write(end->digest.str(), {});
    return layer_descriptor(type, end->digest, end->size);
  }
  if (end && !has_bytes(store_.path("blobs/sha256/" + end->digest.hex()), end->size)) end.reset();
  if (!end && layer->index().summary().tar_size <= kSmallLayer)
    end = TRY(TRY(CompressedLayer::start(store_, layer, form_, {}))->keep());
  if (!end) {
    end = TRY(streamed(layer, key, stop));
    return layer_descriptor(type, end->digest, end->size);
  }
  const oci::Descriptor out = layer_descriptor(type, end->digest, end->size);
  // A session that was opened while the layer was compressed goes on under the blob's own name.
  if (!note.session.empty()) {
    notes_.write(end->digest.str(), {note.session, std::nullopt});
    notes_.write(key, {"", end});
  }
  TRY(stored(diff_id, out, stop));
  return out;
}

Result<registry::BlobEnd> BlobSender::streamed(const store::LayerPtr& layer, const std::string& key,
                                               const std::stop_token& stop) {
  const Sha256Digest diff_id = layer->diff_id();
  std::stop_source enough;
  const std::stop_callback forward(stop, [&] { enough.request_stop(); });
  std::atomic<bool> there = false;
  std::atomic<uint64_t> sent = 0;
  CompressedLayer::Hooks work;
  work.before_end = [&](const registry::BlobEnd& end) {
    const std::lock_guard lock(mutex_);
    notes_.write(key, {notes_.read(key).session, end});
  };
  // Now that the blob has a name: perhaps the registry has it, and the rest need not be sent.
  work.after_end = [&](const registry::BlobEnd& end) {
    if (end.size - std::min<uint64_t>(sent, end.size) <= kSmallLayer) return;
    const Result<bool> has = pusher_.has_blob(end.digest, enough.get_token());
    if (!has || !*has) return;
    there = true;
    enough.request_stop();
  };
  tell(diff_id, "Pushing");
  const std::unique_ptr<CompressedLayer> source = TRY(CompressedLayer::start(store_, layer, form_, work));
  registry::UploadHooks hooks = hooks_for(diff_id, key, layer->index().summary().tar_size);
  hooks.progress = [&sent, show = std::move(hooks.progress)](uint64_t current) {
    sent = current;
    show(current);
  };
  Result<void> done = pusher_.upload_growing(*source, hooks, enough.get_token());
  if (!done && there) {
    const std::lock_guard lock(mutex_);
    notes_.write(key, {"", source->end_if_known()});
  } else if (!done) {
    return std::move(done.error());
  }
  const registry::BlobEnd end = TRY(source->keep());
  tell(diff_id, there ? "Layer already exists" : "Pushed");
  return end;
}

}  // namespace kasane::transfer
