// WORKDIR: makes the missing directories, owned by USER (reference I08).
#include <chrono>

#include "build/ops/step.h"
#include "build/users.h"

namespace kasane::build {

Result<VertexResult> run_workdir(BuildEnvironment& env, const StepInput& input, const WorkdirOp& op) {
  auto start = std::chrono::steady_clock::now();
  store::RootfsView below(input.below);
  LayerPlan plan(below);
  tar::Entry like;
  like.type = tar::EntryType::kDirectory;
  like.mode = 0755;
  like.mtime = env.epoch ? Timespec{*env.epoch, 0}
                         : Timespec{env.now_ns / 1'000'000'000,
                                    static_cast<uint32_t>(env.now_ns % 1'000'000'000)};
  std::string path = TRY(plan.resolve(op.path));
  if (!op.user.empty() && !plan.lookup(path)) {
    Owner owner = TRY(resolve_user(below, op.user));
    like.uid = owner.uid;
    like.gid = owner.gid;
  }
  TRY(plan.make_directories(path, like));
  if (env.epoch) clamp_times(plan, *env.epoch);
  StepKey key;
  key.add("kind", "WORKDIR");
  key.add("path", op.path);
  if (env.epoch) key.add("SOURCE_DATE_EPOCH", std::to_string(*env.epoch));
  key.add("files", TRY(plan_digest(plan)).hex());
  StepLock lock(env, key);
  std::optional<VertexResult> cached = TRY(find_cached(env, input, key, &plan));
  if (cached) return std::move(*cached);
  VertexResult explained = explain_miss(env, input, key, &plan);
  store::LayerPtr layer = TRY(make_layer(env, input, plan));
  uint64_t duration = static_cast<uint64_t>((std::chrono::steady_clock::now() - start).count());
  return finish_step(env, input, key, std::move(layer), duration, std::move(explained));
}

}  // namespace kasane::build
