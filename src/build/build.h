// build(): from a Dockerfile and a context to an image in the store.
// Passes (build.cc reads as their list): read → parse → lower to a graph → prune what the
// target does not reach → run → assemble config, history, image → tag.
#pragma once

#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/events.h"
#include "base/result.h"
#include "exec/executor.h"
#include "store/store.h"

namespace kasane::build {

struct BuildOptions {
  std::string context_dir;                    // a directory
  std::optional<std::string> dockerfile;      // path relative to the current directory, or "-"
  std::vector<std::string> tags;              // as given; validated before anything runs
  std::string target;                         // stage name or number; "" = last
  std::map<std::string, std::string> build_args;  // K without value: caller resolves from env
  std::map<std::string, std::string> labels;
  bool no_cache = false;
  std::optional<exec::Network> network;       // default for RUN
  std::string iidfile;                        // written last; removed at start
  unsigned jobs = 0;                          // parallel steps; 0 = number of processors
};

// What happened to one step, for --explain and for tests.
struct StepReport {
  std::string name;      // "[builder 3/6] RUN npm ci"
  bool cached = false;
  std::string reason;    // "hit", or which input changed: "context file src/main.ts changed"
  std::vector<std::string> details;  // further changed inputs, one line each
};

struct BuildResult {
  Sha256Digest image;                  // config digest
  std::vector<std::string> tags;       // canonical
  std::vector<StepReport> steps;       // file-system steps in Dockerfile order, then stages
  std::vector<std::string> warnings;
};

// Thread-safe with respect to other builds in the same store, in any process.
Result<BuildResult> build(store::Store& store, const BuildOptions& options, EventBus& events,
                          std::stop_token stop);

}  // namespace kasane::build
