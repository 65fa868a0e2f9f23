// Internals of probe_sandbox that make_sandbox_executor shares.
#pragma once

namespace kasane::exec {

// Effective uid 0 in the initial user namespace with CAP_SYS_ADMIN: trusted xattrs and
// device nodes work, overlayfs needs no userxattr.
bool is_privileged_root();

}  // namespace kasane::exec
