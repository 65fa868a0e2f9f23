// lower(): Dockerfile AST → Graph. Resolves stages on demand from the target, so what the
// target does not reach is never looked at; expands variables; folds metadata instructions
// into the image configuration; ONBUILD triggers of the base run first.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/result.h"
#include "build/graph.h"
#include "dockerfile/ast.h"
#include "exec/executor.h"
#include "oci/platform.h"
#include "store/store.h"

namespace kasane::build {

struct LowerOptions {
  std::string target;
  std::map<std::string, std::string> build_args;
  std::map<std::string, std::string> labels;
  std::optional<exec::Network> network;
  oci::Platform platform;
  std::string scope_prefix;          // identifies context and Dockerfile
  std::optional<int64_t> epoch;      // SOURCE_DATE_EPOCH
  Timespec now;                      // of new directories and inline files
};

Result<Graph> lower(store::Store& store, const dockerfile::Dockerfile& file,
                    const LowerOptions& options);

}  // namespace kasane::build
