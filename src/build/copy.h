// The copy rules of COPY and ADD (reference 1.9, 1.10): from sources and a destination to a
// LayerPlan. Pure planning: nothing is written, and only an ADD that misses reads content.
#pragma once

#include <memory>
#include <optional>
#include <span>
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
  size_t tree = 0;   // which of the trees it is taken from
  bool unpack = false;      // ADD: an archive is unpacked (AD5)
  std::string shown = {};   // in history when it is not the path: a URL
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
  // Regular files named by a source with `unpack` are collected here instead of being copied
  // when the callback says that they are archives.
  std::function<Result<bool>(SourceTree&, const SourceEntry&)> is_archive;
};

// An archive that ADD found and where it goes.
struct PendingArchive {
  SourceTree* tree = nullptr;
  SourcePtr source;
  std::string directory;  // real path of the destination directory, made by the plan
};

// `trees` are what CopySource::tree numbers.
Result<std::vector<PendingArchive>> plan_copy(LayerPlan& plan, std::span<SourceTree* const> trees,
                                              const CopyRequest& request);

}  // namespace kasane::build
