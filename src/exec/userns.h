// The mapped user namespace of a rootless build, for code outside the sandbox.
// Purpose: layer trees that a rootless RUN made belong to subordinate ids, so unpacking,
// reading, renaming over and deleting them must happen inside the same id mapping.
// Only the store and the build use this, and only when probe_sandbox() says
// kRootlessRange or kSingleUid; as root the same work needs no namespace.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane::exec {

// `count` ids from `inner` on (in the namespace) are `outer`... on the host.
struct IdRange {
  uint32_t inner = 0;
  uint32_t outer = 0;
  uint32_t count = 0;
  bool operator==(const IdRange&) const = default;
};

// Inner 0 is always the calling user. `single` means that nothing else is mapped: no
// subordinate range could be used (`reason` and `missing` say why), every chown fails.
struct IdMaps {
  std::vector<IdRange> uids;
  std::vector<IdRange> gids;
  bool single = false;
  std::string reason;
  std::string remedy;  // `missing` as one line, for hints; "" unless single
  std::vector<std::string> missing;
};

// The lines of /etc/subuid or /etc/subgid that belong to `user_name` or `user_id`, as
// a map that starts with inner 0 = own_id and appends the ranges from inner 1 on.
// Malformed, empty and overlapping lines are skipped. Pure; thread-safe.
std::vector<IdRange> parse_subordinate_ids(std::string_view text, std::string_view user_name,
                                           uint32_t user_id, uint32_t own_id);

// The best maps for the calling user: a range when /etc/subuid and /etc/subgid have one
// and newuidmap and newgidmap are installed, else the single own id. Thread-safe.
IdMaps load_id_maps();

// Writes the maps of `pid`, a child that is waiting in a user namespace of its own.
// Runs newuidmap and newgidmap unless maps.single. Thread-safe.
Result<void> write_id_maps(pid_t pid, const IdMaps& maps);

// Runs fn() as uid 0 in a child process with a user and a mount namespace of its own,
// mapped by load_id_maps(), and returns fn's value (0..255; 128 + N when signal N ended
// the child). The child starts as a fork of the caller: it sees a copy of its memory
// and shares its descriptors, so results must come back through files, pipes or the
// value; nothing fn changes in memory is seen by the caller. The child has one thread:
// fn must not take locks that another thread of the caller may hold and must not touch
// databases opened before. It dies with the calling thread. With effective uid 0 the
// child runs without a new namespace. Thread-safe.
Result<int> run_in_mapped_userns(const std::function<int()>& fn);

}  // namespace kasane::exec
