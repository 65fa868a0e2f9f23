#include "build/ops/step.h"

#include <fmt/format.h>

#include "build/image_tree.h"

namespace kasane::build {
namespace {

constexpr size_t kMaxDetails = 20;

const char* kind_name(tar::EntryType type) {
  switch (type) {
    case tar::EntryType::kDirectory:
      return "directory";
    case tar::EntryType::kSymlink:
      return "symbolic link";
    case tar::EntryType::kFile:
    case tar::EntryType::kHardlink:
      return "file";
    default:
      return "special file";
  }
}

// How a planned entry differs from what the earlier run put at the same path.
std::string difference(const PlannedEntry& planned, const store::EntryView& was) {
  const tar::Entry& now = planned.entry;
  if (now.type != was.type)
    return fmt::format("is now a {} (was a {})", kind_name(now.type), kind_name(was.type));
  if (now.type == tar::EntryType::kFile) {
    std::optional<Sha256Digest> digest = planned.content;
    if (planned.inline_content) digest = sha256(*planned.inline_content);
    if (now.size == 0) digest = Sha256Digest{};
    if (now.size != was.size || (digest && *digest != was.content))
      return fmt::format("changed (content {} -> {})", was.content.hex().substr(0, 12),
                         digest ? digest->hex().substr(0, 12) : "?");
  }
  if (now.link_target != was.link_target)
    return fmt::format("changed (link to {} -> {})", was.link_target, now.link_target);
  if (now.mode != was.mode) return fmt::format("changed mode ({:04o} -> {:04o})", was.mode, now.mode);
  if (now.uid != was.uid || now.gid != was.gid)
    return fmt::format("changed owner ({}:{} -> {}:{})", was.uid, was.gid, now.uid, now.gid);
  if (now.xattrs != was.xattrs) return "changed extended attributes";
  return {};
}

std::string shown_path(const std::string& path, const PlannedEntry& planned) {
  return planned.tree ? planned.source->entry.path : "/" + path;
}

// Merge of two lists that are sorted alike: the plan and the index of the earlier layer.
std::vector<std::string> file_changes(const LayerPlan& plan, const store::LayerIndex& index) {
  std::vector<std::string> changes;
  size_t at = 0;
  auto gone = [&](size_t i) { changes.push_back("/" + std::string(index.path_at(i)) + " is gone"); };
  for (const auto& [path, planned] : plan.entries()) {
    while (at < index.size() && tar::compare_paths(index.path_at(at), path) < 0) gone(at++);
    bool same_path = at < index.size() && index.path_at(at) == path;
    if (!same_path) {
      if (!planned.from_below) changes.push_back(shown_path(path, planned) + " is new");
    } else if (std::string what = difference(planned, index.at(at++)); !what.empty()) {
      changes.push_back(shown_path(path, planned) + " " + what);
    }
    if (changes.size() > kMaxDetails) return changes;
  }
  while (at < index.size() && changes.size() <= kMaxDetails) gone(at++);
  return changes;
}

VertexResult result_of(const StepInput& input, store::LayerPtr layer, const store::StepRow& row) {
  VertexResult result;
  result.key = row.key;
  result.key_json = row.explanation;
  result.layers = input.below;
  result.layers.push_back(layer);
  result.own = std::move(layer);
  result.created_ns = row.created_ns;
  return result;
}

Result<std::optional<VertexResult>> find_step(BuildEnvironment& env, const StepInput& input,
                                              const Sha256Digest& key) {
  std::optional<store::StepRow> row = TRY(env.store.find_step(key, input.vertex.scope));
  if (!row && env.imports.fetch(key)) row = TRY(env.store.find_step(key, input.vertex.scope));
  if (!row) return std::optional<VertexResult>();
  if (env.cache_ttl_ns > 0 && row->created_ns < env.now_ns - env.cache_ttl_ns)
    return std::optional<VertexResult>();
  Result<store::LayerPtr> layer = store::open_layer(env.store, row->diff_id);
  if (!layer) return std::optional<VertexResult>();  // lost or damaged: the step runs again
  return std::optional(result_of(input, std::move(*layer), *row));
}

}  // namespace

StepLock::StepLock(BuildEnvironment& env, const StepKey& key) : env_(env), key_(key.digest()) {
  std::unique_lock lock(env_.keys_mutex_);
  env_.key_released_.wait(lock, [this] { return env_.keys_in_work_.insert(key_).second; });
}

StepLock::~StepLock() {
  {
    std::lock_guard lock(env_.keys_mutex_);
    env_.keys_in_work_.erase(key_);
  }
  env_.key_released_.notify_all();
}

bool StepLock::made_in_this_build(BuildEnvironment& env, const Sha256Digest& key) {
  std::lock_guard lock(env.keys_mutex_);
  return env.keys_made_.contains(key);
}

void StepLock::set_made(BuildEnvironment& env, const Sha256Digest& key) {
  std::lock_guard lock(env.keys_mutex_);
  env.keys_made_.insert(key);
}

const std::vector<store::LayerPtr>* layers_of(const StepInput& input, const SourceRef& source) {
  if (source.kind != SourceRef::Kind::kVertex) return nullptr;
  const VertexResult& result = *input.sources.at(source.vertex);
  return result.tree ? nullptr : &result.layers;
}

OpenedTrees OpenedTrees::open(BuildEnvironment& env, const StepInput& input,
                              std::span<const SourceRef> sources) {
  OpenedTrees opened;
  auto own = [&](std::vector<store::LayerPtr> layers) {
    opened.owned_.push_back(std::make_unique<ImageTree>(std::move(layers)));
    return opened.owned_.back().get();
  };
  for (const SourceRef& source : sources) {
    SourceTree* tree = &env.context;
    if (source.kind == SourceRef::Kind::kEmpty) tree = own({});
    if (source.kind == SourceRef::Kind::kVertex) {
      const VertexResult& result = *input.sources.at(source.vertex);
      tree = result.tree ? result.tree.get() : own(result.layers);
    }
    opened.trees_.push_back(tree);
  }
  return opened;
}

Result<exec::Executor*> BuildEnvironment::executor() {
  std::lock_guard lock(mutex_);
  if (executor_) return executor_.get();
  executor_ = TRY(run.oci ? exec::make_oci_executor(store.root(), run.oci_runtime, run.seccomp)
                          : exec::make_sandbox_executor(store.root(), run.seccomp));
  if (std::string what = executor_->description(); !what.empty() && events != nullptr)
    Span(*events, "[internal] steps run with the " + what).done();
  return executor_.get();
}

Result<std::optional<VertexResult>> find_cached(BuildEnvironment& env, const StepInput& input,
                                                const Sha256Digest& key) {
  if (input.vertex.no_cache && !StepLock::made_in_this_build(env, key))
    return std::optional<VertexResult>();
  std::optional<VertexResult> result = TRY(find_step(env, input, key));
  if (!result) return std::optional<VertexResult>();
  result->cached = true;
  result->reason = "hit";
  return result;
}

VertexResult explain_miss(BuildEnvironment& env, const StepInput& input, const StepKey& key,
                          const LayerPlan* plan) {
  VertexResult result;
  if (input.vertex.no_cache) {
    result.reason = "--no-cache";
    return result;
  }
  Result<std::optional<store::StepRow>> last = env.store.last_step_of(input.vertex.scope);
  if (!last || !*last) {
    result.reason = "no earlier run of this step";
    return result;
  }
  Result<StepKey> before = StepKey::from_json((*last)->explanation);
  std::vector<std::string> changes;
  if (before) changes = describe_changes(*before, key);
  Result<store::LayerPtr> layer = store::open_layer(env.store, (*last)->diff_id);
  if (plan && layer) {
    std::vector<std::string> files = file_changes(*plan, (*layer)->index());
    if (!files.empty()) {
      std::erase(changes, "copied files changed");
      changes.insert(changes.begin(), files.begin(), files.end());
    }
  }
  if (changes.empty()) changes.push_back("its cached layer is no longer in the store");
  result.reason = changes.front();
  result.details.assign(changes.begin() + 1, changes.end());
  if (result.details.size() > kMaxDetails) {
    result.details.resize(kMaxDetails);
    result.details.push_back("and more");
  }
  return result;
}

Result<VertexResult> finish_step(BuildEnvironment& env, const StepInput& input, const StepKey& key,
                                 store::LayerPtr layer, uint64_t duration_ns,
                                 VertexResult explained) {
  std::optional<VertexResult> faster;
  if (!input.vertex.no_cache) faster = TRY(find_step(env, input, key.digest()));
  if (faster) {
    faster->reason = std::move(explained.reason);
    faster->details = std::move(explained.details);
    StepLock::set_made(env, key.digest());
    return std::move(*faster);
  }
  store::StepRow row;
  row.key = key.digest();
  row.diff_id = layer->diff_id();
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  row.created_ns = env.epoch ? *env.epoch * 1'000'000'000 : now.tv_sec * 1'000'000'000ll + now.tv_nsec;
  row.duration_ns = duration_ns;
  row.scope = input.vertex.scope;
  row.explanation = key.to_json();
  TRY(env.store.put_step(row));
  StepLock::set_made(env, key.digest());
  VertexResult result = result_of(input, std::move(layer), row);
  result.duration_ns = duration_ns;
  result.reason = std::move(explained.reason);
  result.details = std::move(explained.details);
  return result;
}

Result<store::LayerPtr> make_layer(BuildEnvironment& env, const StepInput& input, LayerPlan& plan) {
  std::unique_ptr<store::LayerWriter> writer = TRY(store::new_layer(env.store));
  TRY(write_plan(plan, *writer, [&] { return input.stop.stop_requested(); }));
  return writer->commit();
}

Result<VertexResult> run_base(BuildEnvironment& env, const StepInput&, const BaseOp& op) {
  VertexResult result;
  for (const Sha256Digest& diff_id : op.diff_ids)
    result.layers.push_back(TRY_CONTEXT(store::open_layer(env.store, diff_id), "base image " + op.name));
  result.cached = true;
  result.reason = "in the store";
  return result;
}

}  // namespace kasane::build
