// lower(): Dockerfile AST → Graph. Resolves stages on demand from the target, so what the
// target does not reach is never looked at; expands variables; folds metadata instructions
// into the image configuration; ONBUILD triggers of the base run first.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "build/graph.h"
#include "build/named_context.h"
#include "dockerfile/ast.h"
#include "exec/executor.h"
#include "oci/platform.h"
#include "store/store.h"

namespace kasane::build {

struct LowerOptions {
  std::string target;
  std::string first_base;             // in place of the image of the first FROM
  std::map<std::string, std::string> build_args;
  std::map<std::string, std::string> labels;
  std::vector<std::string> unset_env, unset_labels;  // taken from the result
  std::optional<exec::Network> network;
  bool allow_host_network = false;    // entitlements (L16)
  bool allow_insecure = false;
  bool no_cache = false;
  std::set<std::string> no_cache_stages;  // --no-cache-filter, lower case
  // One image for each; the first is what the rest of the program calls the platform.
  std::vector<oci::Platform> platforms;
  bool platform_asked = false;        // false: platforms holds this host's (F10)
  bool multi_platform = false;        // step names tell the platform (MP6)
  NamedContexts* contexts = nullptr;  // null: none; outlives the call
  std::string scope_prefix;          // identifies context and Dockerfile
  std::optional<int64_t> epoch;      // SOURCE_DATE_EPOCH
  Timespec now;                      // of new directories and inline files
};

Result<Graph> lower(store::Store& store, const dockerfile::Dockerfile& file,
                    const LowerOptions& options);

}  // namespace kasane::build
