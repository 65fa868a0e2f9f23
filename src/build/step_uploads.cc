#include "build/step_uploads.h"

#include <algorithm>


namespace kasane::build {
namespace {

// "[builder 2/4] RUN": the rest of the line may hold what only this machine should know.
std::string public_name(const std::string& name) {
  const size_t bracket = name.find("] ");
  const size_t end = name.find(' ', bracket == std::string::npos ? 0 : bracket + 2);
  return name.substr(0, end);
}

}  // namespace

struct StepUploads::Blob {
  std::mutex mutex;
  std::optional<oci::Descriptor> made;
};

StepUploads::StepUploads(store::Store& store, const registry::Surroundings& around, const CacheExport& target,
                         CacheImports& imports, const SecretValues& secrets, EventBus& events, std::stop_token stop)
    : store_(store),
      around_(around),
      target_(target),
      imports_(imports),
      secrets_(secrets),
      events_(events),
      stop_(std::move(stop)) {
  form_.compression = target.compression;
  form_.level = target.level;
}

StepUploads::~StepUploads() = default;

Result<std::unique_ptr<StepUploads>> StepUploads::open(store::Store& store, const registry::Surroundings& around,
                                                       const CacheExport& target, CacheImports& imports,
                                                       const SecretValues& secrets, EventBus& events,
                                                       std::stop_token stop) {
  std::unique_ptr<StepUploads> out(
      new StepUploads(store, around, target, imports, secrets, events, std::move(stop)));
  out->reference_ = TRY_CONTEXT(oci::Reference::parse(target.reference), "--cache-to");
  out->pusher_ = TRY_CONTEXT(registry::Pusher::open(around, out->reference_), "--cache-to");
  return out;
}

void StepUploads::use(const Graph& graph) {
  if (target_.all_steps) return;
  std::lock_guard lock(mutex_);
  wanted_ = steps_of_targets(graph);
}

void StepUploads::add(const Graph& graph, VertexId id, const VertexResult& result) {
  if (!result.own) return;
  std::lock_guard lock(mutex_);
  if (!target_.all_steps && !wanted_.contains(id)) return;
  if (!span_) span_ = std::make_unique<Span>(events_, "exporting cache to " + reference_.familiar_name());
  // What came from there needs not go there; unless it turns out to be of no use, and is made again.
  if (imports_.is_at(reference_, result.key)) {
    found_.insert(result.key);
    return;
  }
  if (!seen_.insert(result.key).second) return;
  found_.erase(result.key);
  transfer::StepRecord step{result.key, result.own->diff_id(), result.created_ns,
                            public_name(graph.vertices[static_cast<size_t>(id)].name)};
  if (!pool_) pool_ = std::make_unique<ThreadPool>(static_cast<unsigned>(std::max(1, pusher_->uploads())));
  // --no-cache asks for new results, here as well.
  const bool renewed = graph.vertices[static_cast<size_t>(id)].no_cache && !result.cached;
  pool_->submit([this, step = std::move(step), layer = result.own, renewed] { upload(step, layer, renewed); });
}

Result<oci::Descriptor> StepUploads::layer_blob(const Sha256Digest& diff_id) {
  std::shared_ptr<Blob> blob;
  {
    std::lock_guard lock(mutex_);
    std::shared_ptr<Blob>& slot = blobs_[diff_id];
    if (!slot) slot = std::make_shared<Blob>();
    blob = slot;
  }
  std::lock_guard lock(blob->mutex);
  if (!blob->made) blob->made = TRY(transfer::layer_blob(store_, diff_id, form_));
  return *blob->made;
}

Result<std::optional<oci::Descriptor>> StepUploads::ready_blob(const Sha256Digest& diff_id,
                                                               const transfer::LayerForm& form) {
  std::shared_ptr<Blob> blob;
  if (form.compression == form_.compression && form.level == form_.level) {
    std::lock_guard lock(mutex_);
    if (auto it = blobs_.find(diff_id); it != blobs_.end()) blob = it->second;
  }
  if (!blob) return std::optional<oci::Descriptor>();
  std::lock_guard lock(blob->mutex);
  return blob->made;
}

void StepUploads::upload(const transfer::StepRecord& step, const store::LayerPtr& layer, bool renewed) {
  {
    std::lock_guard lock(mutex_);
    if (error_ || stop_.stop_requested()) {
      ++missing_;
      return;
    }
  }
  std::optional<Error> unfit;  // no fault of this registry
  transfer::StepPushOptions options;
  options.replace = renewed || imports_.rejected_at(reference_, step.key);
  options.layer_blob = [&](const Sha256Digest& diff_id) -> Result<oci::Descriptor> {
    // Its bytes may still be in another cache.
    Result<void> fit = layer->bring();
    // What the image must not hold, its cache must not either; and this comes first.
    if (fit && !secrets_.empty()) fit = refuse_leaks(secrets_, {layer});
    if (fit) return layer_blob(diff_id);
    unfit = fit.error();
    return std::move(fit.error());
  };
  Result<bool> pushed = transfer::push_step_artifact(store_, *pusher_, step, *layer, options, stop_);
  std::lock_guard lock(mutex_);
  if (pushed) {
    ++(*pushed ? sent_ : there_);
    span_->log(step.name + (*pushed ? ": pushed\n" : ": already there\n"), 2);
    return;
  }
  ++missing_;
  if (unfit) {
    events_.warn("cached step " + step.name + " is not exported: " + unfit->full_message());
    return;
  }
  if (!error_) error_ = pushed.error();
}

Result<void> StepUploads::finish() {
  pool_.reset();  // waits
  std::lock_guard lock(mutex_);
  if (!span_) return {};
  span_->log(std::to_string(sent_) + " steps pushed, " + std::to_string(there_ + found_.size()) + " were there\n", 2);
  if (!error_ && missing_ == 0) {
    span_->done();
    return {};
  }
  if (stop_.stop_requested()) {
    events_.warn(std::to_string(missing_) + " steps were not pushed to the cache " + reference_.familiar_name() +
                 ": the build was ended");
    return {};
  }
  if (!error_) {
    span_->done();
    return {};
  }
  span_->fail(*error_);
  if (!target_.ignore_error) return std::move(*error_).context("export the cache to " + reference_.familiar_name());
  events_.warn("the cache was not exported: " + error_->full_message());
  return {};
}

}  // namespace kasane::build
