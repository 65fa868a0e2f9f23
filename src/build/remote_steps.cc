#include "build/remote_steps.h"

#include "build/step_cache.h"
#include "oci/image_config.h"
#include "oci/platform_match.h"
#include "store/remote_layer.h"
#include "transfer/pull_layer.h"

namespace kasane::build {
namespace {

// A cache that does not answer must not cost more than it could save.
constexpr int kAttempts = 2;

bool is_unreachable(const Error& error) {
  return error.kind() == ErrorKind::kNetwork || error.kind() == ErrorKind::kPermission;
}

}  // namespace

// A hit whose layer is not here yet.
struct RemoteSteps::Claim {
  transfer::StepArtifact artifact;
  store::StepRow row;
  std::shared_ptr<const store::LayerIndex> index;
  std::mutex mutex;  // guards the rest
  bool here = false;
  std::optional<Error> error;
};

RemoteSteps::RemoteSteps(store::Store& store, const registry::Surroundings& around, oci::Reference reference,
                         EventBus& events, std::stop_token stop)
    : store_(store),
      around_(around),
      reference_(std::move(reference)),
      events_(events),
      stop_(std::move(stop)) {}

RemoteSteps::~RemoteSteps() = default;

bool RemoteSteps::is_at(const oci::Reference& repository) const {
  return reference_.domain == repository.domain && reference_.repository == repository.repository;
}

bool RemoteSteps::gave(const Sha256Digest& key) {
  std::lock_guard lock(mutex_);
  return given_.contains(key);
}

bool RemoteSteps::rejected(const Sha256Digest& key) {
  std::lock_guard lock(mutex_);
  return rejected_.contains(key);
}

bool RemoteSteps::take_broken() {
  std::lock_guard lock(mutex_);
  return std::exchange(broken_, false);
}

void RemoteSteps::give_up() {
  std::lock_guard lock(mutex_);
  dead_ = true;
}

void RemoteSteps::reject(const Sha256Digest& key, const Error& why) {
  {
    std::lock_guard lock(mutex_);
    claims_.erase(key);
    given_.erase(key);
    if (!rejected_.insert(key).second) return;
  }
  events_.warn("cached step of " + reference_.familiar() + " cannot be used: " + why.full_message());
}

// After a registry that cannot be reached or refuses, it is not asked again in this build.
void RemoteSteps::warn_once(const Error& error) {
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(dead_, true)) return;
  }
  events_.warn("cache source " + reference_.familiar() + " cannot be used: " + error.full_message());
}

Result<registry::Repository*> RemoteSteps::repository() {
  std::lock_guard lock(open_mutex_);
  if (!opened_) {
    repository_ = TRY(registry::Repository::open(around_, reference_, kAttempts));
    opened_ = true;
    Result<void> keys = read_inline_keys();
    if (!keys && is_unreachable(keys.error())) return std::move(keys.error());
    if (!keys && keys.error().kind() != ErrorKind::kCancelled)
      events_.warn("inline cache of " + reference_.familiar() + " cannot be used: " + keys.error().full_message());
  }
  return repository_.get();
}

// The reference may name an image that was built with type=inline: its configuration has the
// keys of its own layers. Anything else under that name is no mistake.
Result<void> RemoteSteps::read_inline_keys() {
  const std::string wanted = reference_.digest.empty() ? reference_.tag : reference_.digest;
  Result<registry::Document> document = repository_->document(wanted, stop_);
  if (document && document->is_index) {
    const oci::Index index = TRY(oci::Index::parse(document->bytes));
    const oci::Descriptor* own = oci::choose_platform(index.manifests, oci::host_with_variant());
    if (!own) return {};
    document = repository_->document(own->digest, stop_);
  }
  if (!document) return is_unreachable(document.error()) ? Result<void>(document.error()) : Result<void>();
  const oci::Manifest manifest = TRY(oci::Manifest::parse(document->bytes));
  if (manifest.config.media_type.find("image") == std::string::npos) return {};
  const std::string bytes = TRY(repository_->blob_text(manifest.config, stop_));
  const oci::ImageConfig config = TRY(oci::ImageConfig::parse(bytes));
  if (config.diff_ids.size() != manifest.layers.size()) return {};
  for (const auto& [layer, key] : inline_keys(bytes))
    if (layer < manifest.layers.size() && transfer::check_layer_type(manifest.layers[layer]))
      inline_steps_.emplace(key, InlineStep{manifest.layers[layer], config.diff_ids[layer]});
  return {};
}

std::optional<RemoteHit> RemoteSteps::find(store::StepRow row) {
  const Sha256Digest key = row.key;
  {
    std::lock_guard lock(mutex_);
    if (dead_ || rejected_.contains(key) || absent_.contains(key)) return std::nullopt;
  }
  Result<std::optional<RemoteHit>> hit = look_up(row);
  if (hit) {
    std::lock_guard lock(mutex_);
    (*hit ? given_ : absent_).insert(key);
    return std::move(*hit);
  }
  if (hit.error().kind() == ErrorKind::kCancelled) return std::nullopt;  // the build ends
  if (is_unreachable(hit.error()))
    warn_once(hit.error());
  else
    reject(key, hit.error());
  return std::nullopt;
}

Result<std::optional<RemoteHit>> RemoteSteps::look_up(const store::StepRow& wanted) {
  registry::Repository* source = TRY(repository());
  std::shared_ptr<Claim> claim;
  {
    std::lock_guard lock(mutex_);
    if (auto it = claims_.find(wanted.key); it != claims_.end()) claim = it->second;
  }
  if (!claim) {
    std::optional<transfer::StepArtifact> found =
        TRY(transfer::find_step_artifact(*source, wanted.key, stop_));
    if (!found) {
      auto it = inline_steps_.find(wanted.key);
      return it == inline_steps_.end() ? std::optional<RemoteHit>() : TRY(take_inline(wanted, it->second));
    }
    claim = std::make_shared<Claim>();
    claim->artifact = std::move(*found);
    claim->row = wanted;
    claim->row.diff_id = claim->artifact.step.diff_id;
    claim->row.created_ns = claim->artifact.step.created_ns;
  }
  const store::StepRow& row = claim->row;
  if (Result<store::LayerPtr> own = store::open_layer(store_, row.diff_id)) {
    TRY(store_.put_step(row));
    return std::optional(RemoteHit{row, std::move(*own)});
  }
  if (!claim->index) claim->index = TRY(transfer::step_layer_index(store_, *source, claim->artifact, stop_));
  if (!claim->index) {  // of another version: the layer itself must tell
    TRY(bring_layer(claim->artifact.layer, row.diff_id));
    TRY(store_.put_step(row));
    return std::optional(RemoteHit{row, TRY(store::open_layer(store_, row.diff_id))});
  }
  {
    std::lock_guard lock(mutex_);
    claims_[row.key] = claim;
  }
  return std::optional(
      RemoteHit{row, store::remote_layer(store_, claim->index, [this, claim] { return bring(*claim); })});
}

Result<std::optional<RemoteHit>> RemoteSteps::take_inline(store::StepRow row, const InlineStep& step) {
  if (!store::open_layer(store_, step.diff_id)) TRY(bring_layer(step.layer, step.diff_id));
  row.diff_id = step.diff_id;
  TRY(store_.put_step(row));
  return std::optional(RemoteHit{row, TRY(store::open_layer(store_, step.diff_id))});
}

Result<void> RemoteSteps::bring_layer(const oci::Descriptor& layer, const Sha256Digest& diff_id) {
  Span span(events_, "cached layer " + diff_id.hex().substr(0, 12) + " of " + reference_.familiar());
  transfer::LayerHooks hooks;
  hooks.status = [](const std::string&) {};
  hooks.progress = [&](uint64_t current, uint64_t total) { span.progress(current, total); };
  Result<void> pulled = transfer::pull_layer(store_, *repository_, layer, diff_id, hooks, stop_);
  pulled ? span.done() : span.fail(pulled.error());
  return pulled;
}

Result<void> RemoteSteps::bring(Claim& claim) {
  std::lock_guard lock(claim.mutex);
  if (claim.here) return {};
  if (claim.error) return *claim.error;
  const auto work = [&]() -> Result<void> {
    Result<store::LayerPtr> own = store::open_layer(store_, claim.row.diff_id);
    if (!own) {
      TRY(bring_layer(claim.artifact.layer, claim.row.diff_id));
      own = TRY(store::open_layer(store_, claim.row.diff_id));
    }
    TRY(store::check_same_entries(*claim.index, (*own)->index()));
    return store_.put_step(claim.row);
  };
  Result<void> done = work();
  if (done) {
    claim.here = true;
    return {};
  }
  // A full disk or a user who wants the build to end are no faults of the cache.
  if (done.error().kind() == ErrorKind::kCancelled || done.error().kind() == ErrorKind::kNoSpace) return done;
  claim.error = done.error();
  reject(claim.row.key, done.error());
  std::lock_guard state(mutex_);
  broken_ = true;
  return done;
}

}  // namespace kasane::build
