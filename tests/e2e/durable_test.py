#!/usr/bin/env python3
"""Nothing that ends a command early damages the store: kill -9, a power cut, failing system calls, a full disk.

By default a slice of each. KASANE_LONG=1: 200 kills, 100 power cuts and 200 failing system calls per command, 40 sizes
of disk. KASANE_POINTS sets one number for all. KASANE_SEED repeats a sequence; every failure names its point.
"""

import fcntl
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import time

import support
from durable import Durable
from support import needs, run

SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "openat", "mkdir", "unlink", "ftruncate", "flock",
         "fchmod", "fchown", "linkat", "symlinkat", "utimensat", "mmap", "clone", "clone3", "socket", "connect", "syncfs",
         "setxattr", "fsetxattr", "mount", "read", "pread64", "getdents64")
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "EINTR", "EACCES", "EROFS")


def points(short, long):
    return int(os.environ.get("KASANE_POINTS", str(long if support.LONG else short)))


@support.needs_root
@support.needs_busybox
class Durability(Durable):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"seed {SEED} (KASANE_SEED)", flush=True)

    def each_command(self, number, kind):
        """Points of every command: (command, its random numbers, number of the point)."""
        for command in self.commands.values():
            rng = random.Random(f"{SEED} {kind} {command.name}")
            for point in range(number):
                yield command, rng, point

    def seconds_of(self, command, prefix=()):
        with self.folder(command) as (kasane, folder):
            begin = time.monotonic()
            process = self.start(command, kasane, folder, prefix)
            err = process.communicate()[1]
            self.assertEqual(0, process.returncode, err)
            return time.monotonic() - begin

    def test_the_commands_succeed(self):
        """The judge is not asleep, and finds nothing to complain about."""
        for command in self.commands.values():
            with self.folder(command) as (kasane, folder):
                with self.assertRaises((AssertionError, OSError)):
                    command.done(self, kasane, folder)
                kasane(*command.argv(folder), cwd=folder)
                self.judge(command, kasane, folder, True, command.name)

    def test_kill(self):
        seconds = {}
        for command, rng, point in self.each_command(points(3, 150), "kill"):
            if command.name not in seconds:
                seconds[command.name] = self.seconds_of(command)
            at = rng.uniform(0, seconds[command.name])
            what = f"seed {SEED}, {command.name}, point {point}: killed after {at:.4f} s"
            with self.subTest(what), self.folder(command) as (kasane, folder):
                process = self.start(command, kasane, folder)
                try:
                    process.communicate(timeout=at)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                self.judge(command, kasane, folder, process.returncode == 0, what)

    @needs("strace")
    def test_kill_at_a_system_call(self):
        """At the n-th call that changes something: the windows between two of them are too short for a clock."""
        self.need_strace()
        for command, rng, point in self.each_command(points(3, 50), "kill at call"):
            calls = rng.choice(("fsync,fdatasync,syncfs", "rename,renameat2,unlink,mkdir", "pwrite64,write,ftruncate"))
            at = rng.randrange(1, 30 if "write" in calls else 12)
            what = f"seed {SEED}, {command.name}, point {point}: killed at call {at} of {calls}"
            with self.subTest(what), self.folder(command) as (kasane, folder):
                process = self.start(command, kasane, folder, self.strace(f"{calls}:signal=KILL:when={at}"))
                process.communicate()
                self.judge(command, kasane, folder, process.returncode == 0, what)

    def strace(self, inject):
        calls = inject.split(":")[0]
        return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={inject}"]

    def need_strace(self):
        if run(self.strace("fsync:error=EIO:when=100") + ["true"], check=False).code != 0:
            self.skipTest("strace cannot trace here")

    @needs("strace")
    def test_failing_system_calls(self):
        self.need_strace()
        failed = 0
        for command, rng, point in self.each_command(points(4, 200), "error"):
            call, error = rng.choice(CALLS), rng.choice(ERRORS)
            if error == "EINTR" and call in ("rename", "renameat2", "mkdir", "unlink", "fchmod", "fchown", "linkat", "symlinkat",
                                             "utimensat", "mmap", "clone", "clone3", "syncfs", "setxattr", "fsetxattr", "mount"):
                error = "EIO"  # those are never interrupted
            at = int(2 ** rng.uniform(0, 8.2))
            what = f"seed {SEED}, {command.name}, point {point}: {call} number {at} fails with {error}"
            with self.subTest(what), self.folder(command) as (kasane, folder):
                process = self.start(command, kasane, folder, self.strace(f"{call}:error={error}:when={at}"))
                try:
                    err = process.communicate(timeout=120)[1].decode("utf-8", "replace")
                except subprocess.TimeoutExpired:
                    process.kill()
                    self.fail(f"{what}: it hangs")
                self.assertGreaterEqual(process.returncode, 0, f"{what}: {err}")
                self.assertNotIn(process.returncode, (134, 135, 136, 139), f"{what}: crashed: {err}")
                # The dynamic loader meets errors before kasane does.
                if process.returncode not in (0, 127):
                    failed += 1
                    self.assertRegex(err, r"(Error|ERROR|error|cannot|warning|failed)", what)
                self.judge(command, kasane, folder, process.returncode == 0, what)
        print(f"{failed} commands failed", flush=True)

    # ---- power

    def disk(self):
        """A file with an ext4 that can be cut off; skips where there are no loop devices."""
        path = os.path.join(self.new_folder("disk"), "empty.img")
        with open(path, "wb") as f:
            f.truncate(48 << 20)
        run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0", path])
        return path

    def mount(self, image, folder):
        if run(["mount", "-o", "loop", image, folder], check=False).code != 0:
            self.skipTest("no loop devices here")

    @needs("mkfs.ext4")
    def test_power_cut(self):
        """The file system stops without writing its journal. What the command had acknowledged must be there."""
        empty, seconds = self.disk(), {}
        acknowledged = 0
        templates = {}
        for command, rng, point in self.each_command(points(2, 100), "power"):
            if command.name not in seconds:
                seconds[command.name] = self.seconds_of(command)
            if command.template not in templates:  # a disk with the store on it, durable
                image, folder = empty + command.template, self.new_folder("mnt")
                shutil.copyfile(empty, image)
                self.mount(image, folder)
                run(["cp", "-a", os.path.join(self.work, "templates", command.template), os.path.join(folder, "store")])
                run(["umount", folder])
                templates[command.template] = image
            # Half of the cuts come after the end: everything acknowledged is on disk at that moment.
            after = point % 2 == 1
            at = rng.uniform(0, 0.3) if after else rng.uniform(0, seconds[command.name] * 1.5)
            what = f"seed {SEED}, {command.name}, point {point}: power cut {at:.4f} s after its {'end' if after else 'start'}"
            with self.subTest(what):
                acknowledged += self.cut_once(command, templates[command.template], after, at, what)
        print(f"{acknowledged} commands had succeeded before the cut", flush=True)

    def cut_once(self, command, template, after, at, what):
        work = self.new_folder("cut")
        image, folder = os.path.join(work, "disk.img"), os.path.join(work, "mnt")
        os.mkdir(folder)
        run(["cp", "--sparse=always", template, image])
        self.mount(image, folder)
        try:
            kasane = self.kasane(os.path.join(folder, "store"))
            process = self.start(command, kasane, folder)
            try:
                process.communicate(timeout=60 if after else at)
            except subprocess.TimeoutExpired:
                pass
            if after:
                time.sleep(at)
            done = process.poll() == 0
            fd = os.open(folder, os.O_RDONLY)
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH)
            os.close(fd)
            process.kill()
            process.communicate()
        finally:
            for _ in range(100):  # steps that are just being ended
                if run(["umount", folder], check=False).code == 0:
                    break
                time.sleep(0.05)
        # A copy: while some mount namespace still knows the old mount, the image would come back stopped.
        run(["cp", "--sparse=always", image, image + ".after"])
        self.mount(image + ".after", folder)
        try:
            self.judge(command, kasane, folder, done, what)
        finally:
            run(["umount", "-l", folder], check=False)
        shutil.rmtree(work, ignore_errors=True)
        return done

    # ---- room

    def room_needed(self, command):
        """Bytes and inodes that the template has, and that the command needs on top."""
        folder = self.small_disk("size=512m")
        with self.folder(command, folder) as (kasane, _):
            before = os.statvfs(folder)
            kasane(*command.argv(folder), cwd=folder)
            after = os.statvfs(folder)
        run(["umount", folder])
        used = [(s.f_blocks - s.f_bfree) * s.f_frsize for s in (before, after)]
        inodes = [s.f_files - s.f_ffree for s in (before, after)]
        return used[0], max(used[1] - used[0], 0), inodes[0], max(inodes[1] - inodes[0], 0)

    def small_disk(self, options):
        folder = self.new_folder("small")
        if run(["mount", "-t", "tmpfs", "-o", "mode=755," + options, "tmpfs", folder], check=False).code != 0:
            self.skipTest("no tmpfs can be mounted here")
        self.addCleanup(run, ["umount", "-l", folder], check=False)
        return folder

    def fill_once(self, command, options, used, what):
        """True when the command succeeded; otherwise it said why, and its room is free again."""
        folder = self.small_disk(options)
        try:
            with self.folder(command, folder) as (kasane, _):
                start = os.statvfs(folder)
                outcome = kasane(*command.argv(folder), check=False, cwd=folder)
                if outcome.code != 0:
                    self.assertRegex(outcome.err, "No space left on device|disk is full|database or disk is full", what)
                    self.assertEqual("", self.damages(kasane), what)
                    run([support.KASANE, "store", "sweep"], env=kasane.env, check=False)
                    end = os.statvfs(folder)
                    lost = (start.f_bfree - end.f_bfree) * start.f_frsize
                    self.assertLess(lost, 1 << 20, f"{what}: {lost} bytes are not back")
                    run(["mount", "-o", "remount,size=512m,nr_inodes=100k", folder])
                self.judge(command, kasane, folder, outcome.code == 0, what)
                return outcome.code == 0
        finally:
            run(["umount", "-l", folder], check=False)

    def test_full_disk(self):
        steps = points(3, 40)
        for command in self.commands.values():
            used, need, inodes, more_inodes = self.room_needed(command)
            succeeded = []
            for step in range(steps):
                room = int(need * 1.6 * step / max(1, steps - 1)) + (step and (64 << 10))
                what = f"{command.name} with {room} bytes of room (it needs {need})"
                with self.subTest(what):
                    succeeded.append(self.fill_once(command, f"size={used + room},nr_inodes=100k", used, what))
            for step in range(max(1, steps // 4)):
                room = more_inodes * step // max(1, steps // 4)
                what = f"{command.name} with {room} inodes of room (it needs {more_inodes})"
                with self.subTest(what):
                    self.fill_once(command, f"size=512m,nr_inodes={inodes + room + 2}", used, what)
            print(f"{command.name}: {succeeded.count(True)} of {len(succeeded)} sizes were enough", flush=True)
            # Removing must work on a full disk, or nobody gets out of there.
            if command.name in ("rmi", "prune"):
                self.assertTrue(all(succeeded), f"{command.name} on a full disk: {succeeded}")


if __name__ == "__main__":
    support.main()
