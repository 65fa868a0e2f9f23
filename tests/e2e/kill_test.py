#!/usr/bin/env python3
"""SIGKILL, SIGTERM and SIGINT at random points of steps that daemonize, double-fork, setsid and ignore signals.

Everything is gone within 2 s (7 s for SIGTERM), the exit code is 128+n, and neither mount nor cgroup nor state
directory stays. By default 12 points over all modes; KASANE_KILLS=100 makes 100 points in every mode.
KASANE_SEED repeats a sequence.
"""

import os
import random
import signal
import subprocess
import tempfile
import time

import modes
import support
from contexts import write_tree
from modes import each_mode, expand_modes
from support import mount_lines_naming, processes_naming, wait_until

KILLS = int(os.environ.get("KASANE_KILLS", "100" if support.LONG else "0"))
SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))
POINTS = KILLS or -(-12 // len(modes.MODES))
GONE = {signal.SIGKILL: 2, signal.SIGTERM: 7, signal.SIGINT: 2}
# What a step starts and leaves behind, each in its own way of not being found.
WILD = """#!/bin/sh
trap '' TERM INT HUP QUIT
(setsid sh -c "trap '' TERM INT HUP; sleep MARK" &)
( ( sleep MARK & ) & )
(exec sleep MARK > /dev/null 2>&1) &
setsid sleep MARK < /dev/null > /dev/null 2>&1 &
sh -c "trap '' TERM INT; exec sleep MARK" &
mkdir -p /made/here && (while :; do echo x > /made/here/f; rm /made/here/f; done) &
echo wild is up
while :; do sleep MARK; done
"""
DOCKERFILE = """FROM busybox AS one
RUN ["/bin/sh", "/wild"]
FROM busybox AS two
RUN mkdir /quick && echo q > /quick/q
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t ["/bin/sh", "/wild"]
FROM busybox
COPY --from=one /made /one/
COPY --from=two /quick /two/
"""


class Group:
    """A cgroup per hierarchy here, so that what kasane makes below them is told from what others make."""

    def __init__(self):
        self.folders = []
        for parent in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"):
            if os.path.exists(os.path.join(parent, "cgroup.procs")):
                folder = os.path.join(parent, f"ke2e-{os.getpid()}-{time.monotonic_ns()}")
                try:
                    os.mkdir(folder)
                except OSError:
                    continue
                self.folders.append(folder)

    def enter(self):
        """In the child that becomes kasane."""
        for folder in self.folders:
            with open(os.path.join(folder, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write("0\n")

    def inner(self):
        return [os.path.join(where, d) for f in self.folders for where, folders, _ in os.walk(f) for d in folders]

    def remove(self):
        for folder in sorted(self.inner(), reverse=True) + self.folders:
            wait_until(lambda folder=folder: self.try_rmdir(folder), 5)

    @staticmethod
    def try_rmdir(folder):
        try:
            os.rmdir(folder)
            return True
        except FileNotFoundError:
            return True
        except OSError:
            return False


def state_folders():
    """Where kasane or a runtime of its could keep state of what runs, outside of the folders that the test gives."""
    found = set()
    for parent in ("/run", "/run/runc", "/run/crun"):
        try:
            found |= {os.path.join(parent, n) for n in os.listdir(parent) if "kasane" in n}
        except OSError:
            pass
    return found


@support.needs_root
@support.needs_busybox
@expand_modes
class Kill(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"seed {SEED}, {POINTS} points per mode (KASANE_SEED, KASANE_KILLS)", flush=True)
        cls.mark = str(700000000 + random.Random().randrange(99999999))  # seconds that nobody else sleeps
        cls.base = modes.write_base(cls.work, {"wild": WILD.replace("MARK", cls.mark)})
        cls.context = write_tree(os.path.join(cls.work, "ctx"), {"Dockerfile": DOCKERFILE})
        cls.trivial = write_tree(os.path.join(cls.work, "trivial"), {"Dockerfile": "FROM busybox\nRUN true\n"})

    def start(self, mode, kasane, group):
        # An empty folder of its own, so that whatever is left in it is kasane's.
        env = {**kasane.env, "TMPDIR": self.tmp, "XDG_RUNTIME_DIR": self.tmp}
        return subprocess.Popen(kasane.command("build", "--progress", "plain", "--no-cache", *mode.flags, self.context),
                                env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                preexec_fn=group.enter)

    def wait_all_gone(self, kasane, seconds):
        left = {}

        def gone():
            nonlocal left
            left = processes_naming(self.mark, kasane.root)
            return not left
        wait_until(gone, seconds)
        return left

    def measure(self, mode, kasane, group):
        """Seconds until the steps are up, so that points are spread over start, life and nothing else."""
        begin = time.monotonic()
        process = self.start(mode, kasane, group)
        up = wait_until(lambda: len(processes_naming(f"sleep\0{self.mark}")) >= 8 or process.poll() is not None, 60)
        seconds = time.monotonic() - begin
        running = process.poll() is None
        process.kill()
        err = process.communicate()[1].decode()
        self.assertTrue(up and running, f"the steps never came up: {err}")
        self.assertEqual({}, self.wait_all_gone(kasane, 10))
        return seconds

    def check_one(self, mode, kasane, group, number, at, what):
        process = self.start(mode, kasane, group)
        try:
            process.wait(at)
            self.fail(f"{what}: it ended by itself: {process.stderr.read().decode()}")
        except subprocess.TimeoutExpired:
            pass
        begin = time.monotonic()
        process.send_signal(number)
        try:
            process.wait(GONE[number] + 10)
        except subprocess.TimeoutExpired:
            process.kill()
        seconds = time.monotonic() - begin
        with process.stderr:
            err = process.stderr.read().decode("utf-8", "replace")
        left = self.wait_all_gone(kasane, max(0.0, GONE[number] - seconds))
        self.assertEqual({}, left, f"{what}: processes left after {GONE[number]} s")
        self.assertLess(seconds, GONE[number], f"{what}: it took its time\n{err}")
        # Before main there is no handler yet, and the kernel's own end is the same to a shell.
        code = 128 - process.returncode if process.returncode < 0 else process.returncode
        self.assertEqual(128 + number, code, f"{what}\n{err}")
        self.assertEqual([], mount_lines_naming(kasane.root), what)
        if number == signal.SIGKILL:
            # What a dead process cannot take away is taken away by the next one.
            kasane("build", "-q", "--no-cache", *mode.flags, self.trivial, preexec_fn=group.enter)
        self.assertTrue(wait_until(lambda: not group.inner(), 2), f"{what}: cgroups left: {group.inner()}")
        self.assertEqual([], os.listdir(self.tmp), f"{what}: left in TMPDIR or XDG_RUNTIME_DIR")

    @each_mode()
    def test_points(self, mode):
        rng = random.Random(f"{SEED} {mode.name}")
        group = Group()
        self.addCleanup(group.remove)
        before = state_folders()
        kasane = mode.kasane(self.work)
        self.tmp = tempfile.mkdtemp(prefix="tmp-", dir=self.work)
        os.chmod(self.tmp, 0o1777)
        kasane("load", "-i", self.base)
        longest = self.measure(mode, kasane, group) * 1.3
        numbers = list(GONE)
        rng.shuffle(numbers)
        for point in range(POINTS):
            number, at = numbers[point % len(numbers)], rng.uniform(0, longest)
            what = f"{mode.name}, seed {SEED}, point {point}: {number.name} after {at:.3f} s"
            with self.subTest(what):
                self.check_one(mode, kasane, group, number, at, what)
        kasane("store", "sweep")
        kasane.check_store(self)
        self.assertIn(" 0 leftovers", kasane("store", "check").err)
        # Others build on this machine too, but theirs goes away.
        self.assertTrue(wait_until(lambda: state_folders() <= before, 10), state_folders() - before)

    def test_the_search_for_processes_sees_them(self):
        """The checks above are not asleep."""
        process = subprocess.Popen(["sleep", self.mark])
        try:
            self.assertIn(process.pid, processes_naming(self.mark))
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    support.main()
