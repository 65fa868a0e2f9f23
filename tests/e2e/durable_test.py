#!/usr/bin/env python3
"""Nothing that ends a command early damages the store: kill -9, a power cut, failing system calls, a full disk.

By default a slice of each. KASANE_LONG=1: 200 kills, 100 power cuts and 200 failing system calls per command, 40 sizes
of disk. KASANE_POINTS sets one number for all. KASANE_SEED repeats a sequence; every failure names its point.
"""

import fcntl
import hashlib
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import threading
import time

import support
from contexts import write_tree
from durable import DOCKERFILE, Durable, digest_of_file
from support import needs, run

SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))
EXT4_IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)
CALLS = ("write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "openat", "mkdir", "unlink", "ftruncate", "flock",
         "fchmod", "fchown", "linkat", "symlinkat", "utimensat", "mmap", "clone", "clone3", "socket", "connect", "syncfs",
         "setxattr", "fsetxattr", "mount", "read", "pread64", "getdents64")
INTERRUPTED = ("write", "openat", "read", "connect", "flock")  # the others never are
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

    def calls_of(self, command):
        """How often the command makes each of CALLS."""
        with self.folder(command) as (kasane, folder):
            log = os.path.join(self.work, "counts")
            process = self.start(command, kasane, folder, ["strace", "-f", "-qq", "-c", "-o", log])
            err = process.communicate()[1]
            self.assertEqual(0, process.returncode, err)
            with open(log, encoding="utf-8") as f:
                counts = {line.split()[-1]: int(line.split()[3]) for line in f if re.match(r" *\d+\.\d", line)}
            return {call: counts[call] for call in CALLS if call in counts}

    def strace(self, inject):
        calls = inject.split(":")[0]
        return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={inject}"]

    def need_strace(self):
        if run(self.strace("fsync:error=EIO:when=100") + ["true"], check=False).code != 0:
            self.skipTest("strace cannot trace here")

    @needs("strace")
    def test_failing_system_calls(self):
        self.need_strace()
        failed, counts = 0, {}
        for command, rng, point in self.each_command(points(3, 200), "error"):
            if command.name not in counts:
                counts[command.name] = self.calls_of(command)
            call, error = rng.choice(sorted(counts[command.name])), rng.choice(ERRORS)
            if error == "EINTR" and call not in INTERRUPTED:
                error = "EIO"
            # More often at the first ones: every thread and child counts for itself.
            at = int(counts[command.name][call] ** rng.random())
            if call == "mmap":
                at += 30  # the dynamic loader itself does not survive those before
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

    def unpacked(self, kasane):
        """Bytes of the unpacked base image: its second form, which a build makes and others use."""
        tree = os.path.join(kasane.root, "layers", kasane.config("busybox")["RootFS"]["Layers"][0].split(":")[1], "tree")
        return 1024 * int(run(["du", "-sk", tree]).out.split()[0]) if os.path.isdir(tree) else 0

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
                    if command.name == "build":
                        kasane("builder", "prune", "-af")  # steps that were complete stay cached
                    kasane("store", "sweep")
                    end = os.statvfs(folder)
                    lost = (start.f_bfree - end.f_bfree) * start.f_frsize - self.unpacked(kasane)
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
                # Twice, and what a layer takes that turns out to be here already.
                room = int((need * 2 + (3 << 20)) * step / max(1, steps - 1))
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


    # ---- many at once

    def test_builders_pulls_and_prunes_at_once(self):
        """Nothing that a builder or a pull relies on is removed under it, and everybody gets the ids of a serial run.
        KASANE_LONG: 16 builders for five minutes."""
        builders, seconds = (16, 300) if support.LONG else (4, 6)
        kasane = self.kasane(os.path.join(self.new_folder("busy"), "store"))
        run(["cp", "-a", os.path.join(self.work, "templates", "base"), kasane.root])
        contexts = [write_tree(self.new_folder("ctx"), {"Dockerfile": DOCKERFILE.replace("end", f"end {n % 3}", 1),
                                                        "src/a": "a" * 100000}) for n in range(builders)]
        serial = self.kasane(os.path.join(self.new_folder("serial"), "store"))
        run(["cp", "-a", os.path.join(self.work, "templates", "base"), serial.root])
        wanted = [serial.build_id(context) for context in contexts]
        failures, counts, end = [], [0, 0, 0], time.monotonic() + seconds

        def loop(which, work):
            try:
                while time.monotonic() < end and not failures:
                    work()
                    counts[which] += 1
            except Exception as error:  # pylint: disable=broad-exception-caught
                failures.append(f"{('build', 'pull', 'prune')[which]}: {error}")

        def build(number):
            iid = os.path.join(contexts[number] + ".iid")
            flags = ["--no-cache"] if counts[0] % 3 == 0 else []
            kasane("build", "-q", "--iidfile", iid, *flags, contexts[number])
            with open(iid, encoding="ascii") as f:
                got = f.read()
            if got != wanted[number]:
                failures.append(f"builder {number} made {got} instead of {wanted[number]}")

        def pull():
            kasane("pull", "-q", self.name)
            # Between the two somebody may have pruned nothing of it: it has a name.
            kasane("save", "-o", "/dev/null", self.name)
            kasane("rmi", self.name)

        def prune():
            kasane("image", "prune", "-f")
            kasane("builder", "prune", "-af")
            kasane("store", "sweep")
            time.sleep(0.05)

        threads = [threading.Thread(target=loop, args=(0, lambda n=n: build(n))) for n in range(builders)]
        threads += [threading.Thread(target=loop, args=(1, pull)), threading.Thread(target=loop, args=(2, prune))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{counts[0]} builds, {counts[1]} pulls, {counts[2]} prunes", flush=True)
        self.assertEqual([], failures)
        self.assertGreater(min(counts), 0)
        self.assertEqual("", self.damages(kasane))
        # What is left when all is removed: the base image.
        for _ in range(2):
            prune()
        self.assertEqual({self.base}, set(kasane("images", "-aq", "--no-trunc").out.split()))
        self.assertEqual(1, len(os.listdir(os.path.join(kasane.root, "layers"))))
        self.assertIn(" 0 leftovers", kasane("store", "check").err)

    def test_limits_of_descriptors(self):
        """Few descriptors: slower or an error, never a damaged store."""
        failed = succeeded = 0
        for command in self.commands.values():
            for limit in (7, 10, 13, 20, 40) if support.LONG else (10, 20):
                what = f"{command.name} with {limit} descriptors"
                with self.subTest(what), self.folder(command) as (kasane, folder):
                    process = self.start(command, kasane, folder, ["prlimit", f"--nofile={limit}:{limit}"])
                    err = process.communicate(timeout=120)[1].decode("utf-8", "replace")
                    self.assertIn(process.returncode, (0, 1, 127), f"{what}: {err}")
                    if process.returncode == 1:
                        self.assertRegex(err, "Too many open files|unable to open|cannot", what)
                    failed += process.returncode != 0
                    succeeded += process.returncode == 0
                    self.judge(command, kasane, folder, process.returncode == 0, what)
        self.assertGreater(failed, 0)
        self.assertGreater(succeeded, 0)

    # ---- clocks, read-only stores, save

    def test_clock_jumps(self):
        """Whatever the clock says and said: steps stay cached, nothing that is used is swept, the store is sound."""
        faketime = next((p for p in ("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
                                     "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1") if os.path.exists(p)), None)
        if not faketime:
            self.skipTest("not installed: libfaketime")
        command = self.commands["build"]
        with self.folder(command) as (kasane, folder):
            seen = []
            for jump in ("+0", "+10y", "-10y", "-50y", "+0", "-1y"):
                env = {} if jump == "+0" else {"LD_PRELOAD": faketime, "FAKETIME": jump, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
                if jump != "+0":
                    self.assertNotEqual(time.gmtime().tm_year, int(run(["date", "+%Y"], env={**kasane.env, **env}).out))
                first = kasane("build", "--progress", "plain", "-t", "x", self.context, env=env)
                kasane("store", "sweep", env=env)
                kasane("image", "prune", "-f", "--filter", "until=24h", env=env)
                self.assertEqual("", self.damages(kasane), jump)
                self.assertIn(self.id, kasane("images", "-q", "--no-trunc", env=env).out.split(), jump)
                if jump != "+0" or "CACHED" in first.err:
                    self.assertIn("CACHED", first.err, jump)
                # The record of the last build is the newest, whenever the others were made.
                marked = ["--build-arg", f"MARK={jump}", "--target", "one", "-t", f"mark:{len(jump)}{ord(jump[-2])}"]
                kasane("build", "-q", *marked, self.context, env=env)
                self.assertIn("mark:", kasane("builds", "ls", env=env).out.splitlines()[1], jump)
                ids = sorted(os.listdir(os.path.join(kasane.root, "builds")))
                self.assertGreater(len(ids), len(seen))
                self.assertEqual(seen, ids[:len(seen)], f"{jump}: a new record sorts before an old one")
                seen = ids

    def test_read_only_store(self):
        """A file system that is mounted read-only: everything that reads works, what writes says so once."""
        with self.folder(self.commands["save"]) as (kasane, folder):
            run(["mount", "--bind", kasane.root, kasane.root])
            self.addCleanup(run, ["umount", "-l", kasane.root], check=False)
            run(["mount", "-o", "remount,bind,ro", kasane.root])
            before = sorted(os.path.join(w, f) for w, _, files in os.walk(kasane.root) for f in files)
            self.assertIn(self.id, kasane("images", "-q", "--no-trunc").out)
            self.assertEqual(self.id, kasane.config(self.name)["Id"])
            kasane("history", self.name)
            kasane("save", "-o", os.path.join(folder, "out.tar"), self.name)
            self.assertEqual(self.archive_digest, digest_of_file(os.path.join(folder, "out.tar")))
            self.assertEqual("", self.damages(kasane))
            for argv in (["build", "-q", "--no-cache", self.context], ["rmi", self.name], ["tag", self.name, "y"],
                         ["load", "-q", "-i", self.archive], ["pull", "-q", "busybox:none"], ["image", "prune", "-f"],
                         ["store", "repair"]):
                outcome = kasane(*argv, check=False)
                if argv[0] == "load" or argv[-1] == "repair":
                    continue  # nothing to write: that may succeed
                if argv[0] == "image" and outcome.code == 0:
                    continue
                self.assertNotEqual(0, outcome.code, argv)
                if argv[0] != "pull":
                    self.assertRegex(outcome.err, "(?i)read-only|readonly", argv)
            self.assertEqual(before, sorted(os.path.join(w, f) for w, _, files in os.walk(kasane.root) for f in files))

    def test_save_is_deterministic_and_streams(self):
        """The same bytes from every store and to every place, and without a second copy anywhere."""
        with self.folder(self.commands["save"]) as (kasane, folder):
            before = set(os.listdir(kasane.root))
            with subprocess.Popen([support.KASANE, "save", self.name], env=kasane.env, stdout=subprocess.PIPE) as process:
                first = process.stdout.read(100000)  # it waits for its reader now
                self.assertEqual([], os.listdir(os.path.join(kasane.root, "ingest")))
                held = sum(os.fstat(os.open(f"/proc/{process.pid}/fd/{n}", os.O_RDONLY)).st_size
                           for n in os.listdir(f"/proc/{process.pid}/fd")
                           if "deleted" in os.readlink(f"/proc/{process.pid}/fd/{n}"))
                self.assertEqual(0, held, "an unnamed temporary copy")
                digest = hashlib.sha256(first + process.stdout.read()).hexdigest()
            self.assertEqual(0, process.returncode)
            self.assertEqual(self.archive_digest, digest)
            self.assertEqual(before, set(os.listdir(kasane.root)) - {"kasane.db-wal", "kasane.db-shm"})
        # Another store, filled another way.
        with self.folder(self.commands["pull"]) as (kasane, folder):
            kasane("pull", "-q", self.name)
            kasane("save", "-o", os.path.join(folder, "out.tar"), self.name)
            self.assertEqual(self.archive_digest, digest_of_file(os.path.join(folder, "out.tar")))


if __name__ == "__main__":
    support.main()
