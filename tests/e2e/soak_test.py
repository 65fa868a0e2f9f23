#!/usr/bin/env python3
"""Builds in a row, and a build of many steps: descriptors, memory, mounts, temporary files as at the start.

KASANE_SOAK (25; 500 with KASANE_LONG=1) is the number of builds, and of steps of the one long build. Modes other
than root make 5 builds unless the number is asked for.
"""

import ctypes
import os
import statistics
import subprocess
import tempfile
import time

import modes
import support
from contexts import write_tree
from kill_test import Group
from modes import each_mode, expand_modes
from support import mount_lines_naming, processes_naming, wait_until

SOAK = int(os.environ.get("KASANE_SOAK", "500" if support.LONG else "25"))
ASKED = support.LONG or "KASANE_SOAK" in os.environ
WARM = 3  # builds until caches of the store have what they keep
STEPS_PER_STAGE = 100
BUILD = """FROM busybox AS one
RUN mkdir /made && echo made > /made/f
FROM busybox
COPY --from=one /made /made/
RUN --mount=type=cache,target=/cache --mount=type=secret,id=s echo x >> /cache/f; (sleep 999 &); rm -r /usr/lib/old
"""


CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 16384, 1 << 18


def leave_mounts_of_others():
    """A mount namespace of the test's own: what kasane would leave shows there, and nothing of other programs."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        raise OSError(ctypes.get_errno(), "make a mount namespace")


def mount_lines():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        return set(f.read().splitlines())


def store_names(root):
    """Names of the store's folders that hold what is under way, with all that is in them."""
    found = []
    for folder in sorted(os.listdir(root)):
        if folder in ("tmp", "trash", "work", "ingest"):
            found += [os.path.join(folder, n) for n in os.listdir(os.path.join(root, folder))]
    return found


@support.needs_root
@support.needs_busybox
@expand_modes
class Soak(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        leave_mounts_of_others()
        print(f"{SOAK} builds in a row (KASANE_SOAK)", flush=True)
        cls.base = modes.write_base(cls.work)
        cls.context = write_tree(os.path.join(cls.work, "ctx"), {"Dockerfile": BUILD})
        cls.secret = os.path.join(cls.work, "secret")
        with open(cls.secret, "w", encoding="ascii") as f:
            f.write("s\n")
        os.chmod(cls.secret, 0o644)

    def prepare(self, mode):
        self.group = Group()
        self.addCleanup(self.group.remove)
        self.tmp = tempfile.mkdtemp(prefix="tmp-", dir=self.work)
        os.chmod(self.tmp, 0o1777)
        kasane = mode.kasane(self.work, TMPDIR=self.tmp, XDG_RUNTIME_DIR=self.tmp)
        kasane("load", "-i", self.base)
        return kasane

    def timed_build(self, kasane, *args):
        """Largest resident set of a build, in KiB."""
        process = subprocess.Popen(kasane.command("build", "-q", "--no-cache", *args), env=kasane.env,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   preexec_fn=self.group.enter)
        err = process.stderr.read().decode()
        process.stderr.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(0, process.returncode, err)
        return usage.ru_maxrss

    @each_mode()
    def test_builds_in_a_row(self, mode):
        kasane = self.prepare(mode)
        args = (*mode.flags, "-t", "soak", "--secret", f"id=s,src={self.secret}", self.context)
        mounts, memory, entries = set(), [], None
        builds = SOAK if ASKED or mode.name == "root" else min(SOAK, 5)
        for number in range(WARM + builds):
            if number == WARM:
                mounts, entries = mount_lines(), store_names(kasane.root)
            memory.append(self.timed_build(kasane, *args))
        # Those of others may end, when their mount point is removed. A namespace lives by a process or such a line.
        self.assertEqual(set(), mount_lines() - mounts)
        self.assertEqual(entries, store_names(kasane.root))
        self.assertEqual([], os.listdir(self.tmp))
        self.assertEqual([], mount_lines_naming(kasane.root))
        self.assertEqual({}, processes_naming(kasane.root))
        self.assertTrue(wait_until(lambda: not self.group.inner(), 2), self.group.inner())
        third = max(1, builds // 3)
        first, last = statistics.median(memory[WARM:WARM + third]), statistics.median(memory[-third:])
        print(f"{mode}: {builds} builds, {first} KiB at first, {last} KiB at last", flush=True)
        self.assertLess(last, first * 1.05 + 1024, memory)
        kasane.check_store(self)
        self.assertIn(" 0 leftovers", kasane("store", "check").err)

    def one_build_of_many_steps(self, steps):
        lines, stages = [], []
        for number in range(steps):
            if number % STEPS_PER_STAGE == 0:
                stages.append(f"s{len(stages)}")
                lines.append(f"FROM busybox AS {stages[-1]}" if len(stages) == 1 else
                             f"FROM busybox AS {stages[-1]}\nCOPY --from={stages[-2]} /last /first")
            lines.append(f"RUN --mount=type=cache,target=/c echo {number} > /last; sleep 0.03")
        return "\n".join(lines) + "\n"

    @each_mode("root", "rootless")
    def test_one_build_of_many_steps(self, mode):
        """The process of a build does not grow with its steps; watched from outside while it runs."""
        kasane = self.prepare(mode)
        context = write_tree(self.new_folder("long"), {"Dockerfile": self.one_build_of_many_steps(max(SOAK, 30))})
        log = os.path.join(self.work, f"long-{mode}.log")
        seen = []
        with open(log, "wb") as f:
            process = subprocess.Popen(kasane.command("build", "--progress", "plain", *mode.flags, context),
                                       env=kasane.env, stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        while process.poll() is None:
            try:
                descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))
                with open(f"/proc/{process.pid}/statm", encoding="ascii") as f:
                    pages = int(f.read().split()[1])
                if os.readlink(f"/proc/{process.pid}/exe") == os.path.realpath(support.KASANE):
                    seen.append((descriptors, pages))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                pass
            time.sleep(0.01)
        with open(log, encoding="utf-8") as f:
            self.assertEqual(0, process.returncode, f.read()[-3000:])
        self.assertGreater(len(seen), 30)
        fifth = len(seen) // 5
        early, late = seen[fifth:2 * fifth], seen[-2 * fifth:-fifth]
        text = f"{mode}: " + ", ".join(
            f"{what} {statistics.median(s[i] for s in early)} then {statistics.median(s[i] for s in late)}"
            for i, what in enumerate(("descriptors", "pages")))
        print(text, flush=True)
        # One descriptor per layer of the stage would show as some dozens.
        self.assertLessEqual(statistics.median(s[0] for s in late), statistics.median(s[0] for s in early) + 2, text)
        # What is remembered of a step for its record is some KiB.
        self.assertLess(statistics.median(s[1] for s in late), statistics.median(s[1] for s in early) * 1.05 + 8 * SOAK, text)


if __name__ == "__main__":
    support.main()
