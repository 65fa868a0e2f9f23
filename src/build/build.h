// build(): from a Dockerfile and a context to an image in the store.
// Passes (build.cc reads as their list): read → parse → lower to a graph → prune what the
// target does not reach → run → assemble config, history, image → tag.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/events.h"
#include "base/result.h"
#include "build/secrets.h"
#include "build/ssh_agent.h"
#include "exec/executor.h"
#include "lint/check.h"
#include "oci/platform.h"
#include "registry/surroundings.h"
#include "store/store.h"
#include "transfer/outputs.h"

namespace kasane::build {

// How every RUN of the build is run.
struct RunSettings {
  struct ExtraHost {
    std::string name, address;
  };
  std::string hostname;                 // "" = the usual one
  std::vector<ExtraHost> extra_hosts;   // --add-host; names count in keys, addresses do not
  std::vector<exec::Ulimit> ulimits;
  uint64_t shm_size_bytes = 0;          // 0 = default
  uint64_t memory_limit_bytes = 0;      // of one step; 0 = none
  std::optional<uint64_t> pids_limit;   // of one step; 0 = none; absent: the executor's default
  uint64_t time_limit_ns = 0;           // of one step; 0 = none. Never in a key
  std::string time_limit_text;          // as the user wrote it
  bool oci = false;                     // --isolation oci; no part of a key: the result is the same
  std::string oci_runtime;              // "" = the first that works
  exec::SeccompChoice seccomp;          // no part of a key: it can make a step fail only
  std::string cache_namespace;          // of cache mounts (BUILDKIT_CACHE_MOUNT_NS)
};

enum class ProvenanceMode { kNone, kMin, kMax };

struct BuildOptions {
  // A directory, "-" (a tar or a Dockerfile on standard input), a git repository or a URL.
  std::string context;
  // Path relative to the current directory (of a context that is no directory: in it), or
  // "-" for standard input.
  std::optional<std::string> dockerfile;
  std::vector<std::string> tags;              // as given; validated before anything runs
  std::string first_base;                     // in place of the image of the first FROM
  std::string target;                         // stage name or number; "" = last
  std::map<std::string, std::string> build_args;  // K without value: caller resolves from env
  std::map<std::string, std::string> labels;
  std::vector<std::string> unset_env, unset_labels;  // taken from the result
  std::vector<std::string> build_contexts;    // "NAME=VALUE" (S05)
  std::vector<oci::Platform> platforms;       // empty: this host's
  // Where registries are configured; none: bases come from the store only.
  std::optional<registry::Surroundings> registries;
  bool pull = false;                          // ask the registry for newer bases (--pull)
  SecretValues secrets;
  const SshAgents* ssh = nullptr;             // null: none
  bool no_cache = false;
  int64_t cache_ttl_ns = 0;                   // cached steps that are older are not used; 0: any age
  int retries = 2;                            // of downloads, after errors that may pass
  std::set<std::string> no_cache_stages;      // lower case
  std::optional<exec::Network> network;       // default for RUN
  bool allow_host_network = false, allow_insecure = false;
  bool allow_local_delete = false;
  RunSettings run;
  // What comes out. None: the image goes into the store.
  std::vector<transfer::ExportOptions> outputs;
  std::vector<transfer::Annotation> annotations;
  bool squash = false;
  ProvenanceMode provenance = ProvenanceMode::kNone;
  std::string provenance_builder_id;
  std::vector<std::string> cache_from, cache_to;  // as written; cache_transfer.h
  std::string metadata_file;                  // written last
  std::string iidfile;                        // written last; removed at start
  std::stop_token kill;
  unsigned jobs = 0;                          // parallel steps; 0 = number of processors
};

// What happened to one step, for --explain and for tests.
struct StepReport {
  std::string name;      // "[builder 3/6] RUN npm ci"
  bool cached = false;
  std::string reason;    // "hit", or which input changed: "context file src/main.ts changed"
  std::vector<std::string> details;  // further changed inputs, one line each
  uint64_t duration_ns = 0;          // of a step that ran, as the next three
  uint64_t max_rss_bytes = 0;        // peak of one process of a RUN
  uint64_t cpu_ns = 0;
  uint64_t bytes_written = 0;        // content of its layer
};

struct BuildResult {
  struct PlatformImage {
    oci::Platform platform;
    Sha256Digest id;                   // config digest
  };
  std::vector<PlatformImage> images;   // in the order of BuildOptions::platforms
  Sha256Digest image;                  // the first of them
  std::string digest;                  // what --iidfile holds
  std::vector<std::string> tags;       // canonical
  std::string build_id;                // of the record (store/build_records.h)
  std::vector<StepReport> steps;       // file-system steps in Dockerfile order, then stages
  std::vector<std::string> warnings;
  std::vector<lint::Finding> findings; // of BuildKit's checks, for the stages that were built
};

// `stop` asks what runs to end, BuildOptions::kill ends it at once.
// Thread-safe with respect to other builds in the same store, in any process.
Result<BuildResult> build(store::Store& store, const BuildOptions& options, EventBus& events,
                          std::stop_token stop);

}  // namespace kasane::build
