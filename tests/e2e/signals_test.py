#!/usr/bin/env python3
"""SIGINT, SIGTERM, a second signal and time limits: steps end on time, nothing stays, the exit status is 128 + N.

KASANE_KILLS (12; 100 with KASANE_LONG=1) random moments per signal, KASANE_SEED repeats a sequence.
"""

import fcntl
import os
import random
import re
import signal
import subprocess
import sys
import time

import rootless_support
import support
from contexts import write_busybox_tar, write_tree
from rootless_support import HELPER, UID, PlainUser
from support import Kasane, mount_lines_naming, processes_naming, wait_until

KILLS = int(os.environ.get("KASANE_KILLS", "100" if support.LONG else "12"))
SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))
# Daemons, double forks, new sessions, ignored signals; each line in a step of its own would take too long.
STUBBORN = ("trap '' TERM INT HUP QUIT; (setsid sleep {0} &); (sh -c 'sleep {0} & sleep {0}' &); "
            "setsid sh -c 'setsid sleep {0} & sleep {0}' & echo started; while :; do sleep {0}; done")


def in_use(group):
    """Whether a living kasane, perhaps of another test, holds the lock of a step's group (or it is gone)."""
    try:
        fd = os.open(group, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def cgroups():
    """Groups of steps that nobody uses, whoever made them."""
    found = set()
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        found.update(g for g in (os.path.join(folder, n) for n in names if n.startswith("kasane-")) if not in_use(g))
    return found


class Cases:

    def setUp(self):
        self.mark = str(600000000 + random.randrange(90000000))
        self.groups = cgroups()

    def context(self, step):
        return self.own(write_tree(self.new_folder("ctx"), {"Dockerfile": f"FROM busybox\nRUN {step}\n"}))

    def start(self, context, *args):
        return subprocess.Popen([*self.k.argv, "build", "--progress", "plain", *args, context], env=self.k.env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))

    def wait_for(self, process, text):
        seen = b""
        while not re.search(text, seen, re.M):
            line = process.stderr.readline()
            self.assertTrue(line, seen)
            seen += line

    def assert_gone(self, seconds, begin, swept=True):
        left = max(0.05, seconds - (time.monotonic() - begin))
        self.assertTrue(wait_until(lambda: not processes_naming(self.mark, self.k.root), left),
                        processes_naming(self.mark, self.k.root))
        self.assertEqual([], mount_lines_naming(self.k.root))
        self.assertTrue(wait_until(lambda: cgroups() <= self.groups, 1), cgroups() - self.groups)
        if swept:
            folder = os.path.join(self.k.root, "ingest")
            self.assertEqual([], [n for n in os.listdir(folder) if os.path.exists(os.path.join(folder, n, "upper"))])

    def end(self, step, numbers, pause=0.0):
        """Starts a build, sends signals; returns status and seconds from the last signal to the end."""
        process = self.start(self.context(step))
        self.wait_for(process, rb"^#\d+ [\d.]+ started$")
        for number in numbers:
            begin = time.monotonic()
            process.send_signal(number)
            time.sleep(pause)
        err = process.communicate(timeout=30)[1]
        self.begin = begin
        return process.returncode, time.monotonic() - begin, err.decode()

    def test_steps_may_end_in_order(self):
        """The step gets SIGTERM and the time to act on it, whichever signal kasane got."""
        for number in (signal.SIGTERM, signal.SIGINT):
            step = f"trap 'echo tidied; exit 0' TERM; echo started; while :; do sleep 0.05; done # {self.mark}"
            code, seconds, err = self.end(step, [number])
            self.assertEqual(128 + number, code, err)
            self.assertIn("tidied", err)
            self.assertIn("Canceled", err)
            self.assertLess(seconds, 2)
            self.assert_gone(2, self.begin)

    def test_stubborn_steps(self):
        """SIGTERM: killed after 5 s; SIGINT: after 1 s; a second signal: at once."""
        step = STUBBORN.format(self.mark)
        for numbers, low, high in (([signal.SIGTERM], 4.5, 7), ([signal.SIGINT], 0.8, 2),
                                   ([signal.SIGTERM, signal.SIGTERM], 0, 2), ([signal.SIGTERM, signal.SIGINT], 0, 2)):
            code, seconds, err = self.end(step, numbers, 0.2)
            self.assertEqual(128 + numbers[-1], code, err)
            self.assertGreater(seconds, low)
            self.assertLess(seconds, high)
            self.assert_gone(high, self.begin)
        self.k.check_store(self)

    def random_moments(self, number, seconds, status, count):
        context = self.context(STUBBORN.format(self.mark))
        choose = random.Random(SEED + number)
        for i in range(count):
            process = self.start(context, "--no-cache")
            # Not yet while a helper that becomes kasane runs.
            wait_until(lambda: os.readlink(f"/proc/{process.pid}/exe").endswith("/kasane"), 10)
            time.sleep(choose.uniform(0.0, 0.4))
            begin = time.monotonic()
            process.send_signal(number)
            err = process.communicate(timeout=30)[1]
            # Before the handlers are there the default action gives the same to a shell.
            self.assertIn(process.returncode, (status, -number), (i, SEED, err))
            self.assert_gone(seconds, begin, swept=False)
        self.k("store", "sweep")
        self.assert_gone(2, time.monotonic())
        self.k.check_store(self)

    def test_random_moments_int(self):
        self.random_moments(signal.SIGINT, 2, 128 + 2, KILLS)

    def test_random_moments_kill(self):
        self.random_moments(signal.SIGKILL, 2, -9, KILLS)

    def test_random_moments_term(self):
        self.random_moments(signal.SIGTERM, 7, 128 + 15, max(2, KILLS // 4))

    def test_run_timeout(self):
        """--run-timeout: TERM, 5 s, KILL; step, limit and line; not in the key."""
        context = self.context(f"echo started; echo x > /kept; sleep {self.mark}")
        begin = time.monotonic()
        outcome = self.k.build(context, "--run-timeout", "700ms", check=False)
        self.assertEqual(1, outcome.code)
        self.assertLess(time.monotonic() - begin, 4)
        self.assertIn("[2/2] RUN echo started", outcome.err)
        self.assertIn("took longer than 700ms and was ended", outcome.err)
        self.assertRegex(outcome.err, r"Dockerfile:2\b")
        self.assertRegex(outcome.err, r"2 \| >>> RUN echo started")
        self.assertIn("raise --run-timeout", outcome.err)
        self.assert_gone(2, time.monotonic())
        self.assertEqual("x\n", self.k("debug", "--", "cat", "/kept").out)
        begin = time.monotonic()
        outcome = self.k.build(self.context(STUBBORN.format(self.mark)), "--run-timeout", "1s", check=False)
        self.assertIn("took longer than 1s", outcome.err)
        self.assertGreater(time.monotonic() - begin, 5.5)
        self.assertLess(time.monotonic() - begin, 9)
        self.assert_gone(2, time.monotonic())
        # A build with another limit hits what this one made.
        context = self.context(f"echo quick {self.mark}")
        self.k.build(context, "--run-timeout", "1m")
        self.assertTrue(self.k.explain(context, "--run-timeout", "2m")[-1][0])
        self.assertTrue(self.k.explain(context)[-1][0])
        for wrong in ("10", "-3s", "0s", "soon"):
            outcome = self.k.build(context, "--run-timeout", wrong, check=False)
            self.assertEqual(1, outcome.code)
            self.assertIn("--run-timeout", outcome.err)

    def test_pids_limit(self):
        """A fork bomb of a step ends the step; the limit is no part of the key."""
        context = self.context("for i in $(seq 40); do sleep 5 & done; echo all")
        outcome = self.k.build(context, "--pids-limit", "16", check=False)
        if "pids limit was not applied" in outcome.err:
            self.assertEqual(0, outcome.code)
            return
        self.assertEqual(1, outcome.code)
        self.assertIn("raise --pids-limit", outcome.err)
        self.assertIn("`kasane debug`", outcome.err)
        self.k.build(context)
        self.assertTrue(self.k.explain(context, "--pids-limit", "-1")[-1][0])

    def test_other_steps_are_killed_when_one_fails(self):
        text = (f"FROM busybox AS a\nRUN {STUBBORN.format(self.mark)}\nFROM busybox AS b\nRUN sleep 1; exit 3\n"
                "FROM busybox\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\n")
        context = self.own(write_tree(self.new_folder("ctx"), {"Dockerfile": text}))
        outcome = self.k.build(context, "--jobs", "4", check=False, timeout=60)  # the other one never ends
        self.assertEqual(1, outcome.code)
        self.assertIn("exit code: 3", outcome.err)
        self.assert_gone(1, time.monotonic())


@support.needs_root
@support.needs_busybox
class AsRoot(Cases, support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"seed {SEED}, {KILLS} moments (KASANE_SEED, KASANE_KILLS)", flush=True)
        cls.k = Kasane(os.path.join(cls.work, "store"))
        cls.k.argv = [support.KASANE]
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))

    def own(self, folder):
        return folder


@support.needs_root
@support.needs_busybox
class AsPlainUser(Cases, support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        home = os.path.join(cls.work, "home")
        os.mkdir(home)
        os.chown(home, UID, UID)
        helper = cls("tearDownClass")  # the checks of rootless_support are methods of its tests
        rootless_support.RootlessCase.need_user_namespaces(helper)
        options = rootless_support.RootlessCase.user_with_range(helper, home)
        cls.k = PlainUser(os.path.join(home, "store"), *options, HOME=home)
        cls.k.argv = [sys.executable, HELPER, str(UID), *options, "--", support.KASANE]
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))

    def own(self, folder):
        for where, _, names in os.walk(folder):
            for path in [where, *(os.path.join(where, n) for n in names)]:
                os.chown(path, UID, UID)
        return folder


if __name__ == "__main__":
    support.main()
