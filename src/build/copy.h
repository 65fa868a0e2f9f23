// The copy rules of COPY and ADD (reference 1.9, 1.10): from sources and a destination to a
// LayerPlan. Pure planning: nothing is written, and only an ADD that misses reads content.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/source.h"
#include "build/file_mode.h"
#include "build/layer_plan.h"
#include "build/users.h"

namespace kasane::build {

struct CopySource {
  std::string path;  // expanded; relative to the tree's root, may hold wildcards
  SourceSpan span;
};

struct InlineFile {
  std::string name;
  std::string content;
};

struct CopyRequest {
  std::vector<CopySource> sources;
  std::vector<InlineFile> inline_files;
  std::string destination;  // absolute; a trailing '/' says "directory"
  std::optional<Owner> chown;
  std::optional<ModeChange> chmod;
  bool parents = false;
  std::vector<std::string> excludes;
  Timespec now;  // of directories that have no counterpart in the source
  // ADD: regular files named by a source are collected here instead of being copied when
  // the callback says that they are archives to unpack.
  std::function<Result<bool>(const SourceEntry&)> is_archive;
};

// An archive that ADD found and where it goes.
struct PendingArchive {
  SourcePtr source;
  std::string directory;  // real path of the destination directory, made by the plan
};

Result<std::vector<PendingArchive>> plan_copy(LayerPlan& plan, SourceTree& tree,
                                              const CopyRequest& request);

}  // namespace kasane::build
