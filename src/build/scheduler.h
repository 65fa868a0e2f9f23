// Runs the part of a graph that its targets need: dependencies first, independent steps side
// by side. The calling thread owns all state; workers only run operations.
#pragma once

#include <map>
#include <stop_token>

#include "base/events.h"
#include "build/graph.h"
#include "build/ops/step.h"

namespace kasane::build {

// What ran, also when the build failed: `results` holds every step that was completed.
struct GraphRun {
  std::map<VertexId, VertexResult> results;
  VertexId failed = kNoVertex;  // the step whose error run_graph() returned
};

struct StopTokens {
  std::stop_token stop, kill;  // as in exec::Executor::run and exec::RunSpec
};

// Fills `run` with all vertices that the targets reach. On the first failure the other
// running steps are killed and that first error is returned.
Result<void> run_graph(BuildEnvironment& env, const Graph& graph, unsigned jobs, EventBus& events,
                       const StopTokens& stop, GraphRun& run);

}  // namespace kasane::build
