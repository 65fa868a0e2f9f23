// The system call filter of RUN: the semantics of Docker's default profile for its 14
// default capabilities (reference reliability.md section 4, row seccomp), as BPF.
#pragma once

#include <linux/filter.h>

#include <vector>

namespace kasane::exec {

// The program, for seccomp(2). libseccomp only translates names into the numbers of each
// ABI; the code is a binary search over number ranges made here, because libseccomp
// needs 15 ms for the same rules on three ABIs and a build has to pay that every time.
//
// Allowed: the table in table.cc. `clone` without namespace flags; clone3 is
// ENOSYS so that libc falls back to clone; socket() of all families but AF_ALG and
// AF_VSOCK (an i386 program may still reach them by socketcall, as under Docker); five
// personalities. Calls younger than the table are ENOSYS, so that a newer libc falls
// back too, or, with `judged_by_another`, allowed: a second filter decides. Everything else,
// and every foreign ABI, is EPERM. Thread-safe, cheap.
std::vector<sock_filter> build_seccomp_filter(bool judged_by_another = false);

}  // namespace kasane::exec
