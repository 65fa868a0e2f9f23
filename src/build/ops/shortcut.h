// Shortcuts of COPY: a key that is known before the plan is made. A plan is a function of
// the instruction, the layers below and the source; when these are the same *objects* as in
// an earlier build (the same DiffIDs, a context in which no inode changed), the plan need not
// be made to know its key. A shortcut only ever leads to the step's true key, so a wrong or
// stale one cannot be worse than a miss.
#pragma once

#include <optional>

#include "build/ops/step.h"

namespace kasane::build {

// nullopt where there is none: wildcards, symlinks on the way, single files of the context.
// `may_be_kept` is false when the context changed too recently to tell it from one that
// changes again.
struct Shortcut {
  Sha256Digest digest;
  bool may_be_kept = true;
};
Result<std::optional<Shortcut>> copy_shortcut(BuildEnvironment& env, const StepInput& input,
                                              const CopyOp& op);

// The true key that this shortcut led to, when that step is still cached.
Result<std::optional<Sha256Digest>> follow_shortcut(BuildEnvironment& env, const StepInput& input,
                                                    const Shortcut& shortcut);

// Writes nothing when it is there already.
Result<void> keep_shortcut(BuildEnvironment& env, const Shortcut& shortcut, const Sha256Digest& key,
                           const Sha256Digest& diff_id);

}  // namespace kasane::build
