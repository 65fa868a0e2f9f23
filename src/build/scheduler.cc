#include "build/scheduler.h"

#include <condition_variable>
#include <mutex>
#include <set>

#include "base/thread_pool.h"

namespace kasane::build {
namespace {

Result<VertexResult> run_operation(BuildEnvironment& env, const StepInput& input) {
  struct Visitor {
    BuildEnvironment& env;
    const StepInput& input;
    Result<VertexResult> operator()(const BaseOp& op) { return run_base(env, input, op); }
    Result<VertexResult> operator()(const LocalOp& op) { return run_local(env, input, op); }
    Result<VertexResult> operator()(const HttpOp& op) { return run_http(env, input, op); }
    Result<VertexResult> operator()(const GitOp& op) { return run_git(env, input, op); }
    Result<VertexResult> operator()(const RunOp& op) { return run_run(env, input, op); }
    Result<VertexResult> operator()(const CopyOp& op) { return run_copy(env, input, op); }
    Result<VertexResult> operator()(const WorkdirOp& op) { return run_workdir(env, input, op); }
  };
  return std::visit(Visitor{env, input}, input.vertex.op);
}

class Scheduler {
 public:
  Scheduler(BuildEnvironment& env, const Graph& graph, unsigned jobs, EventBus& events, GraphRun& run)
      : env_(env), graph_(graph), jobs_(jobs), events_(events), results_(run.results), failed_(run.failed) {}

  Result<void> run(const StopTokens& outer);

 private:
  struct Completion {
    VertexId id;
    Result<VertexResult> result;
  };
  void reach(VertexId target);
  std::vector<VertexId> take_ready();
  Result<VertexResult> execute(VertexId id);
  void post(VertexId id, Result<VertexResult> result);
  Completion wait();
  void settle(Completion completion);

  BuildEnvironment& env_;
  const Graph& graph_;
  const unsigned jobs_;
  EventBus& events_;
  std::stop_source stop_, kill_;
  std::map<VertexId, VertexResult>& results_;  // written by the owner thread only
  VertexId& failed_;
  std::set<VertexId> waiting_;
  size_t running_ = 0;
  std::optional<Error> failure_;
  std::mutex mutex_;  // guards completions_
  std::condition_variable posted_;
  std::vector<Completion> completions_;
};

void Scheduler::reach(VertexId target) {
  std::vector<VertexId> open{target};
  while (!open.empty()) {
    VertexId id = open.back();
    open.pop_back();
    if (!waiting_.insert(id).second) continue;
    for (VertexId dependency : graph_.vertices[static_cast<size_t>(id)].dependencies())
      open.push_back(dependency);
  }
}

std::vector<VertexId> Scheduler::take_ready() {
  std::vector<VertexId> ready;
  for (VertexId id : waiting_) {
    if (running_ + ready.size() >= jobs_) break;
    bool complete = true;
    for (VertexId dependency : graph_.vertices[static_cast<size_t>(id)].dependencies())
      complete = complete && results_.contains(dependency);
    if (complete) ready.push_back(id);
  }
  for (VertexId id : ready) waiting_.erase(id);
  return ready;
}

// Runs on a worker, or on the owner when nothing else could run at the same time. Reads
// results_ of finished dependencies only, which nobody writes any more.
Result<VertexResult> Scheduler::execute(VertexId id) {
  const Vertex& vertex = graph_.vertices[static_cast<size_t>(id)];
  Span span(events_, vertex.name);
  StepInput input{vertex, id, {}, {}, stop_.get_token(), kill_.get_token(), span};
  {
    std::lock_guard lock(mutex_);
    if (vertex.parent != kNoVertex) input.below = results_.at(vertex.parent).layers;
    for (VertexId id_of_source : vertex.dependencies())
      input.sources.emplace(id_of_source, &results_.at(id_of_source));
  }
  Result<VertexResult> result = run_operation(env_, input);
  if (!result) {
    Error error = std::move(result.error()).at(vertex.span);
    if (error.kind() != ErrorKind::kCancelled) span.fail(error);
    return error;
  }
  result->cached ? span.cached() : span.done();
  return result;
}

void Scheduler::post(VertexId id, Result<VertexResult> result) {
  {
    std::lock_guard lock(mutex_);
    completions_.push_back({id, std::move(result)});
  }
  posted_.notify_one();
}

Scheduler::Completion Scheduler::wait() {
  std::unique_lock lock(mutex_);
  posted_.wait(lock, [this] { return !completions_.empty(); });
  Completion completion = std::move(completions_.back());
  completions_.pop_back();
  return completion;
}

void Scheduler::settle(Completion completion) {
  --running_;
  if (completion.result) {
    if (env_.uploads)
      for (const std::unique_ptr<StepUploads>& target : *env_.uploads)
        target->add(graph_, completion.id, *completion.result);
    std::lock_guard lock(mutex_);
    results_.emplace(completion.id, std::move(*completion.result));
    return;
  }
  bool cancelled = completion.result.error().kind() == ErrorKind::kCancelled;
  if (!failure_ || (failure_->kind() == ErrorKind::kCancelled && !cancelled)) {
    failure_ = completion.result.error();
    failed_ = completion.id;
  }
  stop_.request_stop();
  // Nobody asked the user to wait for other steps to end in order. When it was the user who
  // asked (cancelled), they have the grace that they were promised.
  if (!cancelled) kill_.request_stop();
}

Result<void> Scheduler::run(const StopTokens& outer) {
  std::stop_callback forward_stop(outer.stop, [this] { stop_.request_stop(); });
  std::stop_callback forward_kill(outer.kill, [this] { kill_.request_stop(); });
  for (const Target& target : graph_.targets)
    if (target.result != kNoVertex) reach(target.result);
  std::unique_ptr<ThreadPool> pool;  // made when two steps can run at once for the first time
  while (!waiting_.empty() || running_ > 0) {
    std::vector<VertexId> ready;
    if (!failure_ && !outer.stop.stop_requested()) ready = take_ready();
    if (ready.empty() && running_ == 0) break;
    if (ready.size() == 1 && running_ == 0) {
      ++running_;
      VertexId id = ready.front();
      settle({id, execute(id)});
      continue;
    }
    if (!ready.empty() && !pool) pool = std::make_unique<ThreadPool>(jobs_);
    for (VertexId id : ready) {
      ++running_;
      pool->submit([this, id] { post(id, execute(id)); });
    }
    if (running_ > 0) settle(wait());
  }
  if (failure_) return std::move(*failure_);
  if (!waiting_.empty()) return Error(ErrorKind::kCancelled, "the build was cancelled");
  return {};
}

}  // namespace

Result<void> run_graph(BuildEnvironment& env, const Graph& graph, unsigned jobs, EventBus& events,
                       const StopTokens& stop, GraphRun& run) {
  return Scheduler(env, graph, std::max(1u, jobs), events, run).run(stop);
}

}  // namespace kasane::build
