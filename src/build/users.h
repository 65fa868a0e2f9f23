// Users and groups of an image, read from its own /etc/passwd and /etc/group through the
// layer indexes (never NSS of the host): for --chown and for WORKDIR under USER.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "store/rootfs_view.h"

namespace kasane::build {

struct Owner {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

// `--chown=user[:group]` (reference K25): a user number alone sets the same group number, a
// name alone takes its primary group. Unknown names fail.
Result<Owner> resolve_chown(const store::RootfsView& view, std::string_view text);

// USER for the directories that WORKDIR makes (I06): a number not listed has group 0.
Result<Owner> resolve_user(const store::RootfsView& view, std::string_view text);

}  // namespace kasane::build
