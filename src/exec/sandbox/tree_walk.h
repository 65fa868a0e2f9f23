// Component-wise walk inside the image's root that may create what is missing. Symlinks
// are read as text and restarted from the root, so nothing can lead outside and no
// magic link is ever followed. Used between clone and exec.
#pragma once

#include "exec/sandbox/child_support.h"
#include "exec/sandbox/stub_journal.h"

namespace kasane::exec {

enum class WalkKind { kFile, kDirectory };

// Opens `path` below root_fd with O_PATH. Missing components become directories (0755,
// root), the last one what `kind` says. With a journal they are recorded as stubs;
// without one they are the step's own content. Ends the process on failure.
int walk_and_create(const Reporter& report, int root_fd, const char* path, WalkKind kind,
                    StubJournal* journal);

}  // namespace kasane::exec
