// COPY and ADD: plan, look the plan up, and on a miss write it in one pass.
#include <fmt/format.h>

#include <chrono>

#include "build/archive.h"
#include "build/ops/shortcut.h"
#include "build/ops/step.h"

namespace kasane::build {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t since(Clock::time_point start) {
  return static_cast<uint64_t>((Clock::now() - start).count());
}

StepKey key_of(const BuildEnvironment& env, const CopyOp& op, const Sha256Digest& plan,
               const Sha256Digest* parent) {
  StepKey key;
  key.add("kind", op.is_add ? "ADD" : "COPY");
  if (parent) key.add("parent", parent->hex());
  if (op.unpacks()) key.add("unpack", "true");
  if (env.epoch) key.add("SOURCE_DATE_EPOCH", std::to_string(*env.epoch));
  key.add("files", plan.hex());
  return key;
}

bool has_file_source(const LayerPlan& plan) {
  for (const auto& [path, planned] : plan.entries())
    if (planned.tree && planned.entry.type == tar::EntryType::kFile) return true;
  return false;
}

struct CopyStep {
  BuildEnvironment& env;
  const StepInput& input;
  const CopyOp& op;
  store::RootfsView below;
  std::span<SourceTree* const> trees;
  CopyRequest request;
  Sha256Digest key;  // the step's, once it is known

  Result<LayerPlan> plan(bool detect_archives, std::vector<PendingArchive>* archives) {
    LayerPlan planned(below);
    CopyRequest wanted = request;
    if (detect_archives)
      wanted.is_archive = is_archive;
    std::vector<PendingArchive> found = TRY(plan_copy(planned, trees, wanted));
    if (archives) *archives = std::move(found);
    return planned;
  }

  void complete(LayerPlan& planned) {
    link_groups(planned);
    if (env.epoch) clamp_times(planned, *env.epoch);
  }
};

// A context that was never read: the layer is written at once and its digests are learned on
// the way; only then is the key known. A hit after all throws the new layer away.
Result<VertexResult> write_then_look(CopyStep& step, LayerPlan& plan, const Sha256Digest* parent) {
  Clock::time_point start = Clock::now();
  std::unique_ptr<store::LayerWriter> writer = TRY(store::new_layer(step.env.store));
  TRY(write_plan(plan, *writer, [&] { return step.input.stop.stop_requested(); }));
  StepKey key = key_of(step.env, step.op, TRY(plan_digest(plan)), parent);
  step.key = key.digest();
  StepLock lock(step.env, key);
  std::optional<VertexResult> cached = TRY(find_cached(step.env, step.input, key, &plan));
  if (cached) return std::move(*cached);
  VertexResult explained = explain_miss(step.env, step.input, key, &plan);
  store::LayerPtr layer = TRY(writer->commit());
  return finish_step(step.env, step.input, key, std::move(layer), since(start), std::move(explained));
}

Result<VertexResult> look_then_write(CopyStep& step, LayerPlan& plan, const Sha256Digest* parent) {
  Clock::time_point start = Clock::now();
  StepKey key = key_of(step.env, step.op, TRY(plan_digest(plan)), parent);
  step.key = key.digest();
  StepLock lock(step.env, key);
  std::optional<VertexResult> cached = TRY(find_cached(step.env, step.input, key, parent ? nullptr : &plan));
  if (cached) return std::move(*cached);
  TRY(bring_sources(step.input, step.op.trees));
  VertexResult explained = explain_miss(step.env, step.input, key, &plan);
  if (!step.op.unpacks()) {
    store::LayerPtr layer = TRY(make_layer(step.env, step.input, plan));
    return finish_step(step.env, step.input, key, std::move(layer), since(start), std::move(explained));
  }
  std::vector<PendingArchive> archives;
  LayerPlan real = TRY(step.plan(true, &archives));
  UnpackedArchives unpacked(step.env.store);
  for (const PendingArchive& archive : archives)
    TRY_CONTEXT(unpacked.add(real, archive, step.request.chown),
                "unpack " + archive.source->entry.path);
  step.complete(real);
  store::LayerPtr layer = TRY(make_layer(step.env, step.input, real));
  return finish_step(step.env, step.input, key, std::move(layer), since(start), std::move(explained));
}

Result<VertexResult> plan_and_run(CopyStep& step, const store::RootfsView& users) {
  const CopyOp& op = step.op;
  if (op.chown) step.request.chown = TRY(resolve_chown(users, *op.chown));
  LayerPlan plan = TRY(step.plan(false, nullptr));
  step.complete(plan);
  // What an archive unpacks to depends on the symlinks below it, so there the parent counts.
  bool unpacks = op.unpacks() && has_file_source(plan);
  Sha256Digest parent;
  if (unpacks) parent = store::chain_content_id(step.input.below);
  const Sha256Digest* key_parent = unpacks ? &parent : nullptr;
  if (!unpacks && mostly_unread(plan)) return write_then_look(step, plan, key_parent);
  return look_then_write(step, plan, key_parent);
}

}  // namespace

Result<VertexResult> run_copy(BuildEnvironment& env, const StepInput& input, const CopyOp& op) {
  std::optional<Shortcut> shortcut = TRY(copy_shortcut(env, input, op));
  if (shortcut)
    if (std::optional<Sha256Digest> key = TRY(follow_shortcut(env, input, *shortcut)))
      if (std::optional<VertexResult> cached = TRY(find_cached(env, input, *key)))
        return std::move(*cached);
  OpenedTrees trees = OpenedTrees::open(env, input, op.trees);
  store::RootfsView users(input.below);
  CopyStep step{env,
                input,
                op,
                store::RootfsView(op.link ? std::vector<store::LayerPtr>() : input.below),  // K27
                trees.all(),
                op.request,
                {}};
  VertexResult result = TRY(plan_and_run(step, users));
  if (shortcut) TRY(keep_shortcut(env, *shortcut, step.key, result.own->diff_id()));
  return result;
}

}  // namespace kasane::build
