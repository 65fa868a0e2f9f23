// What a build reads before anything else: the build context in all its forms and the
// Dockerfile (reference 1.14).
#pragma once

#include <memory>
#include <string>

#include "build/build.h"
#include "build/source_tree.h"
#include "dockerfile/ast.h"
#include "dockerfile/ignore.h"
#include "net/source_cache.h"

namespace kasane::build {

struct Inputs {
  dockerfile::Dockerfile file;
  std::shared_ptr<SourceTree> context;
  dockerfile::IgnoreMatcher ignore;  // of a directory; empty for other contexts (G09)
  std::string context_name;  // what identifies the context: a canonical path or a URL
  std::string file_name;     // of the Dockerfile, as shown
};

// Context and Dockerfile of a directory are read in place; a tar becomes a layer that nothing
// but this build uses; repositories and downloads come through `downloads`.
// The store must be held. Standard input is read at most once.
Result<Inputs> read_inputs(store::Store& store, const BuildOptions& options,
                           net::SourceCache& downloads, EventBus& events, std::stop_token stop);

}  // namespace kasane::build
