#!/usr/bin/env python3
"""kill -9 at random points: no process, no mount, no damage, and the same command then succeeds.

KASANE_KILLS (10; 50 with KASANE_LONG=1) kills per test, KASANE_SEED repeats a sequence.
"""

import os
import random
import signal
import subprocess
import time

import support
from contexts import write_busybox_tar, write_tree
from support import Kasane, mount_lines_naming, processes_naming, wait_until

KILLS = int(os.environ.get("KASANE_KILLS", "50" if support.LONG else "10"))
SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))
EPOCH = "1600000000"


def dockerfile(mark):
    busy = f"for i in $(seq 1 8); do echo $i > /d$i && mkdir -p /dir/$i && sleep 0.05; done # {mark}"
    return f"""FROM busybox AS one
COPY src /src/
RUN (sleep {mark} &) ; (setsid sleep {mark} &) ; {busy}
RUN rm -r /usr/lib/old && {busy} one
FROM busybox AS two
WORKDIR /w
RUN {busy} two
RUN dd if=/dev/zero of=/big bs=1024 count=4000 2>/dev/null && {busy} three
FROM busybox
COPY --from=one /dir /one/
COPY --from=one /src /src/
COPY --from=two /dir /big /two/
RUN {busy} four
"""


@support.needs_root
@support.needs_busybox
class Crash(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"seed {SEED}, {KILLS} kills per test (KASANE_SEED, KASANE_KILLS)", flush=True)
        cls.base = os.path.join(cls.work, "base.tar")
        first = Kasane(os.path.join(cls.work, "first"), SOURCE_DATE_EPOCH=EPOCH)
        first.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        first("save", "-o", cls.base, "busybox")
        # A number of seconds that nobody else sleeps marks the processes of the steps.
        cls.mark = str(800000000 + random.Random().randrange(99999999))
        cls.context = write_tree(os.path.join(cls.work, "ctx"), {
            "Dockerfile": dockerfile(cls.mark), **{f"src/{i}": f"{i}\n" * 2000 for i in range(100)}})
        time.sleep(0.2)
        begin = time.monotonic()
        cls.id = first.build_id(cls.context)
        cls.seconds = time.monotonic() - begin
        cls.archive = os.path.join(cls.work, "image.tar")
        first("save", "-o", cls.archive, cls.id)
        cls.first = first

    def fresh(self):
        kasane = Kasane(os.path.join(self.new_folder("store"), "root"), SOURCE_DATE_EPOCH=EPOCH)
        kasane("load", "-i", self.base)
        return kasane

    def kill_at(self, kasane, seconds, *args):
        """Starts a command and kills that one process; True when it was still running."""
        process = subprocess.Popen([support.KASANE, *args], env=kasane.env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(seconds)
            return False
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True

    def assert_nothing_left(self, kasane, what):
        left = None

        def gone():
            nonlocal left
            left = processes_naming(self.mark, kasane.root)
            return not left
        self.assertTrue(wait_until(gone, 10), f"{what}: processes left: {left}")
        self.assertEqual([], mount_lines_naming(kasane.root), what)
        kasane.check_store(self)

    def test_build(self):
        rng = random.Random(SEED)
        killed, tries, seconds, kasane = 0, 0, self.seconds, None
        while killed < KILLS and tries < 3 * KILLS:
            tries += 1
            # Every other time the steps are in the store already, and are made again.
            again = kasane is not None and tries % 2 == 0
            kasane = kasane if again else self.fresh()
            at = rng.uniform(0, seconds)
            what = f"seed {SEED}, try {tries}, killed after {at:.3f} s{' (--no-cache)' if again else ''}"
            if not self.kill_at(kasane, at, "build", "-q", *(["--no-cache"] if again else []), self.context):
                seconds *= 0.9  # the machine was slower when the time was taken
                continue
            killed += 1
            with self.subTest(what):
                self.assert_nothing_left(kasane, what)
                self.assertEqual(self.id, kasane.build_id(self.context), what)
                self.assert_nothing_left(kasane, what)
                # A build of hits alone writes nothing, so what the killed one left may still lie there.
                kasane("store", "sweep")
                self.assertIn(" 0 leftovers", kasane("store", "check").err)
        print(f"{killed} builds were killed while they ran, of {tries}", flush=True)
        self.assertEqual(KILLS, killed)

    def test_load_and_import(self):
        rng = random.Random(SEED + 1)
        for number in range(max(KILLS // 2, 4)):
            kasane = self.fresh()
            args = ("load", "-i", self.archive) if number % 2 else ("import", self.path("root.tar"), "imported")
            begin = time.monotonic()
            Kasane(self.new_folder("timing"))(*args)
            at = rng.uniform(0, time.monotonic() - begin)
            self.kill_at(kasane, at, *args)
            with self.subTest(f"seed {SEED}, {args[0]} killed after {at:.3f} s"):
                self.assert_nothing_left(kasane, args[0])
                kasane(*args)
                kasane.check_store(self)
                if args[0] == "load":
                    self.assertIn(self.id, kasane("images", "-q", "--no-trunc").out)

    def test_interrupt_and_terminate(self):
        """Ctrl-C and SIGTERM end the build and everything it started, with docker's exit codes."""
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            kasane = self.fresh()
            process = subprocess.Popen([support.KASANE, "build", "--progress", "plain", self.context], env=kasane.env,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.assertTrue(wait_until(lambda: processes_naming(f"sleep {self.mark}", f"sleep\0{self.mark}"), 30))
            process.send_signal(number)
            err = process.communicate(timeout=20)[1].decode()
            self.assertEqual(code, process.returncode, err)
            self.assertIn("anceled", err)
            self.assert_nothing_left(kasane, number.name)

    def test_killed_with_its_whole_group(self):
        """What a CI runner does: the whole session at once."""
        kasane = self.fresh()
        process = subprocess.Popen([support.KASANE, "build", "-q", self.context], env=kasane.env,
             start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertTrue(wait_until(lambda: processes_naming(f"sleep\0{self.mark}"), 30))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.assert_nothing_left(kasane, "killpg")

    def test_the_probe_for_processes_sees_them(self):
        """The check above is not asleep."""
        process = subprocess.Popen(["sleep", self.mark])
        try:
            self.assertIn(process.pid, processes_naming(self.mark))
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    support.main()
