#!/bin/bash
# What a fully cached build asks of the kernel:
#   bench/syscalls.sh KASANE CTX [BUILD-ARG...]
# Builds once unmeasured, then the same again under strace: once tracing processes, mounts and files (numbers
# below), once counting every call (strace -f -c). The store is the caller's (KASANE_ROOT), so the base images
# must be there. TRACE_TAG names the image (default bench-syscalls), TOP the lines of the count table (20).
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
fi
command -v strace >/dev/null || { echo "syscalls.sh: strace is not installed" >&2; exit 2; }
kasane=$1
ctx=$(realpath "$2")
shift 2
build=("$kasane" build "$@" -t "${TRACE_TAG:-bench-syscalls}" "$ctx")

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
"${build[@]}" >"$tmp/warm" 2>&1 || { cat "$tmp/warm" >&2; exit 1; }

# One file per thread (-ff): no call is split into "unfinished" and "resumed". -y puts paths beside descriptors.
calls='?execve,?execveat,?mount,?umount2,?fsopen,?fsmount,?move_mount,?open_tree,?mount_setattr,?clone,?clone3'
calls+=',?fork,?vfork,?open,?openat,?openat2,?creat,?read,?readv,?pread64,?preadv,?preadv2,?mmap,?sendfile'
calls+=',?copy_file_range,?splice,?getdents64,?stat,?lstat,?newfstatat,?statx,?io_uring_setup,?fsync,?fdatasync,?syncfs'
strace -ff -y -s 0 -e trace="$calls" -o "$tmp/t" "${build[@]}" >"$tmp/out" 2>&1 || { cat "$tmp/out" >&2; exit 1; }

python3 -B - "$ctx" "$tmp"/t.* <<'PY'
import os
import re
import sys

ctx = sys.argv[1]
inside = lambda p: p == ctx or p.startswith(ctx + "/")
counts = dict.fromkeys(("execve", "failed execve", "processes and threads", "mount", "umount", "fsync",
                        "opens of files in the context", "opens of folders in the context", "stats in the context",
                        "reads of context files", "bytes read from the context", "bytes mapped from the context",
                        "opens in all", "failed opens in all", "io_uring (reads there are not seen)"), 0)
call = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+|\?)(?:<(.*?)>)?")
fd = re.compile(r"\d+<([^>]*)>|AT_FDCWD<([^>]*)>")
for name in sys.argv[2:]:
    for line in open(name, errors="replace"):
        m = call.match(line)
        if not m:
            continue
        what, args, result, path = m.groups()
        ok = result != "?" and not result.startswith("-")
        value = int(result, 0) if ok else 0
        first = fd.search(args)
        first = (first.group(1) or first.group(2) or "") if first else ""
        if what in ("execve", "execveat"):
            counts["execve" if ok else "failed execve"] += 1
        elif what in ("clone", "clone3", "fork", "vfork"):
            counts["processes and threads"] += ok
        elif what in ("mount", "fsmount", "move_mount", "mount_setattr"):
            counts["mount"] += ok
        elif what == "umount2":
            counts["umount"] += ok
        elif what in ("fsync", "fdatasync", "syncfs"):
            counts["fsync"] += ok
        elif what in ("open", "openat", "openat2", "creat"):
            counts["opens in all"] += 1
            counts["failed opens in all"] += not ok
            if ok and path and inside(path):
                kind = "folders" if os.path.isdir(path) else "files"
                counts[f"opens of {kind} in the context"] += 1
        elif what in ("stat", "lstat", "newfstatat", "statx"):
            text = re.search(r'"([^"]*)"', args)
            target = text.group(1) if text else ""
            if inside(target) or (first and not target.startswith("/") and inside(first)):
                counts["stats in the context"] += 1
        elif what == "mmap":
            if ok and inside(first):
                counts["bytes mapped from the context"] += int(args.split(", ")[1])
        elif what == "io_uring_setup":
            counts["io_uring (reads there are not seen)"] += ok
        elif what != "getdents64":
            source = first
            if what == "sendfile":  # sendfile(out, in, ...)
                both = [a or b for a, b in fd.findall(args)]
                source = both[1] if len(both) > 1 else ""
            if inside(source):
                counts["reads of context files"] += 1
                counts["bytes read from the context"] += value
for what, n in counts.items():
    print(f"{n:>12,}  {what}")
PY

echo
strace -f -c -S calls -o "$tmp/c" "${build[@]}" >"$tmp/out" 2>&1 || { cat "$tmp/out" >&2; exit 1; }
head -n "$((${TOP:-20} + 2))" "$tmp/c"
tail -n 1 "$tmp/c"
