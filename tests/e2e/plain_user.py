#!/usr/bin/env python3
"""plain_user.py UID [--no-userns] [--bind FROM TO]... -- PROGRAM ARG...: runs a program as a plain user.

Used by the rootless tests, started by root. --no-userns puts it into a user namespace whose limit of further
user namespaces is 0, so that every unshare(CLONE_NEWUSER) in it fails, as on a host that forbids them. --bind
puts a file over another in a private mount namespace (/etc/passwd, /etc/subuid: the host's stay as they are).
"""

import ctypes
import os
import shutil
import signal
import sys

CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def bind(source, target):
    check(libc.mount(source.encode(), target.encode(), None, MS_BIND, None), f"bind {source} on {target}")


def enter_user_namespace():
    """A user namespace with every id mapped to itself; the maps are written from outside. False: not even root may."""
    ready, mapped = os.pipe(), os.pipe()
    parent = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.read(ready[0], 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{parent}/{name}", "w", encoding="ascii") as f:
                f.write("0 0 100000\n")
        os.write(mapped[1], b".")
        os._exit(0)
    entered = libc.unshare(CLONE_NEWUSER) == 0
    if entered:
        os.write(ready[1], b".")
        os.read(mapped[0], 1)
    else:
        os.kill(helper, signal.SIGKILL)
    os.waitpid(helper, 0)
    return entered


def main():
    arguments = sys.argv[1:]
    split = arguments.index("--")
    options, program = arguments[:split], arguments[split + 1:]
    uid, no_userns, binds = int(options.pop(0)), False, []
    while options:
        option = options.pop(0)
        if option == "--no-userns":
            no_userns = True
        else:
            binds.append((options.pop(0), options.pop(0)))
    if binds:
        check(libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
        check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "make / private")
        for source, target in binds:
            bind(source, target)
    if no_userns and enter_user_namespace():
        with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as f:
            f.write("0\n")
    # Opened while still root: the checkout may lie where a plain user cannot go (/root).
    path = shutil.which(program[0]) or sys.exit(f"{program[0]}: not found")
    executable = os.open(path, os.O_RDONLY)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if no_userns and libc.unshare(CLONE_NEWUSER) == 0:
        sys.exit("user namespaces are not forbidden here")
    os.execve(executable, program, os.environ)


main()
