#!/usr/bin/env python3
"""kasane run, as root and as a plain user with subordinate ids: what docker run does, in the foreground."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import unittest

import support
from contexts import write_busybox_tar, write_tree
import rootless_support
from rootless_support import HELPER, UID, PlainUser
from support import Kasane, mounts_below, processes_naming, wait_until

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DOCKERFILE = """FROM busybox AS entry
ENV FROM_IMAGE=image OTHER=other
ENTRYPOINT ["echo", "entry"]
CMD ["cmd"]
FROM busybox AS user
USER app:extra
WORKDIR /home/app/deep/er
CMD ["sh", "-c", "id -u; id -g; pwd; echo $HOME"]
FROM busybox AS bare
ENTRYPOINT []
CMD []
"""


class Cases:
    """The tests; subclasses say who runs them (self.k)."""

    def setUp(self):
        self.mark = str(700000000 + int(time.time_ns() % 90000000))

    def tearDown(self):
        self.assertEqual([], mounts_below(self.k.root))
        left = os.listdir(os.path.join(self.k.root, "ingest")) if os.path.isdir(os.path.join(self.k.root, "ingest")) else []
        self.assertEqual([], [n for n in left if os.path.isdir(os.path.join(self.k.root, "ingest", n, "upper"))])

    def run_image(self, *args, check=True, **kwargs):
        return self.k("run", *args, check=check, **kwargs)

    def popen(self, *args, **kwargs):
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([*self.k.argv, "run", *args], env=self.k.env, **kwargs)

    def status(self, *args, **kwargs):
        return self.run_image(*args, check=False, **kwargs).code

    # The command

    def test_entrypoint_and_command(self):
        """As docker combines them; --entrypoint takes the image's command away."""
        out = lambda *args: self.run_image(*args).out
        self.assertEqual("entry cmd\n", out("--rm", "entry"))
        self.assertEqual("entry more -x --rm\n", out("entry", "more", "-x", "--rm"))
        self.assertEqual("\n", out("--entrypoint", "echo", "entry"))
        self.assertEqual("mine\n", out("--entrypoint=echo", "entry", "mine"))
        self.assertEqual("1\n", out("--entrypoint", "", "entry", "sh", "-c", "echo 1"))
        for args in (("--entrypoint", "", "entry"), ("bare",)):
            outcome = self.run_image(*args, check=False)
            self.assertEqual(125, outcome.code)
            self.assertIn("no command specified", outcome.err)

    def test_exit_codes(self):
        """The program's; 125 kasane's own, 126 not executable, 127 not found."""
        self.assertEqual(0, self.status("busybox", "true"))
        self.assertEqual(42, self.status("busybox", "sh", "-c", "exit 42"))
        self.assertEqual(128 + 9, self.status("busybox", "sh", "-c", "kill -9 $$"))
        self.assertEqual(127, self.status("busybox", "no-such-program"))
        self.assertEqual(127, self.status("busybox", "/no/such"))
        self.assertEqual(126, self.status("busybox", "/etc/passwd"))
        self.assertEqual(126, self.status("busybox", "/etc"))
        self.assertEqual(125, self.status("--no-such-flag", "busybox"))
        self.assertEqual(125, self.status("-u", "nobody-here", "busybox", "true"))
        outcome = self.run_image("no/such:image", "true", check=False)
        self.assertEqual(125, outcome.code)
        self.assertIn("no/such:image", outcome.err)
        self.assertIn("kasane build -t", outcome.err)
        self.assertIn("kasane load", outcome.err)

    def test_image_is_found_as_elsewhere(self):
        image = self.k("images", "-q", "--no-trunc", "entry").out.strip()
        for name in ("entry:latest", "docker.io/library/entry", image, image[7:19]):
            self.assertEqual("entry cmd\n", self.run_image(name).out, name)
        outcome = self.run_image("--platform", "linux/s390x", "entry", check=False)
        self.assertEqual(125, outcome.code)
        self.assertIn("not for linux/s390x", outcome.err)

    # Surroundings

    def test_environment(self):
        """PATH, HOSTNAME, HOME (and TERM) as docker sets them; -e K is the caller's; --env-file."""
        env = lambda *args, **kw: dict(l.split("=", 1) for l in self.run_image(*args, "busybox", "env", **kw).out.splitlines())
        plain = env()
        self.assertRegex(plain.pop("HOSTNAME"), "^[0-9a-f]{12}$")
        self.assertEqual({"PATH": PATH[5:], "HOME": "/root"}, plain)
        more = env("-e", "A=1", "-e", "A=2", "-e", "MINE", "-e", "NOT_THERE", "-e", "E=", "-eX=a=b", "-h", "box",
                   env={"MINE": "of caller", "OTHER": "hidden"})
        self.assertEqual({"PATH": PATH[5:], "HOME": "/root", "HOSTNAME": "box", "A": "2", "MINE": "of caller", "E": "",
                          "X": "a=b"}, more)
        folder = self.new_folder("env")
        path = os.path.join(folder, "file")
        with open(path, "w", encoding="utf-8") as f:
            f.write("\ufeff# comment\n\n  F=from file \nMINE\nGONE\nA=file\n")
        os.chmod(path, 0o644)
        got = env("--env-file", path, "-e", "A=flag", env={"MINE": "m"})
        self.assertEqual(("from file ", "m", "flag", False), (got["F"], got["MINE"], got["A"], "GONE" in got))
        image = self.run_image("-e", "OTHER", "-e", "FROM_IMAGE=flag", "--entrypoint", "env", "entry").out
        self.assertIn("FROM_IMAGE=flag\n", image)
        self.assertNotIn("OTHER", image)
        with open(path, "w", encoding="utf-8") as f:
            f.write("A B=1\n")
        outcome = self.run_image("--env-file", path, "busybox", "true", check=False)
        self.assertEqual(125, outcome.code)
        self.assertIn("variable 'A B' contains whitespaces", outcome.err)

    def test_user_and_folder(self):
        self.assertEqual("1000\n2000\n/home/app/deep/er\n/home/app\n", self.run_image("user").out)
        self.assertEqual("0\n0\n/made/here\n/root\n", self.run_image("-u", "0", "-w", "/made/here", "user").out)
        self.assertEqual("1\n1\n/\n/usr/sbin\n", self.run_image("-u", "daemon", "-w", "/", "user").out)
        outcome = self.run_image("-w", "relative", "user", check=False)
        self.assertEqual(125, outcome.code)
        self.assertIn("needs to be an absolute path", outcome.err)

    def test_nothing_is_kept(self):
        """The upper layer is thrown away; the image stays as it was."""
        self.run_image("busybox", "sh", "-c", "rm -r /usr/lib/old; echo x > /new; mkdir -m 0 /closed")
        self.assertEqual(1, self.status("busybox", "test", "-e", "/new"))
        self.assertEqual("a\n", self.run_image("busybox", "cat", "/usr/lib/old/a").out)
        self.k.check_store(self)

    def test_network(self):
        self.assertEqual("lo\n", self.run_image("--network", "none", "busybox", "ls", "/sys/class/net").out)
        ours = sorted(os.listdir("/sys/class/net"))
        self.assertEqual(ours, sorted(self.run_image("--network=host", "busybox", "ls", "/sys/class/net").out.split()))
        outcome = self.run_image("--network", "bridge", "busybox", "true", check=False)
        self.assertEqual(125, outcome.code)
        self.assertIn("use host, none, private", outcome.err)
        self.assertIn("10.1.2.3\tdb", self.run_image("--add-host", "db:10.1.2.3", "busybox", "cat", "/etc/hosts").out)

    def test_volumes(self):
        folder = self.shared_folder({"f": "content\n", "d/g": "g\n"})
        self.assertEqual("content\n", self.run_image("-v", f"{folder}:/data", "busybox", "cat", "/data/f").out)
        self.run_image("-v", f"{folder}:/data:rw", "busybox", "sh", "-c", "echo new > /data/new; rm /data/d/g")
        with open(os.path.join(folder, "new"), encoding="ascii") as f:
            self.assertEqual("new\n", f.read())
        self.assertEqual([], os.listdir(os.path.join(folder, "d")))
        outcome = self.run_image("-v", f"{folder}:/data:ro", "busybox", "sh", "-c", "echo x > /data/f", check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("Read-only", outcome.err)
        self.assertEqual("content\n", self.run_image("-v", f"{folder}/f:/etc/one/file:ro", "busybox", "cat", "/etc/one/file").out)
        for volume, words in ((".:/data", "absolute path"), ("./x:/data", "absolute path"), ("x/y:/data", "absolute path"),
                              ("named:/data", "no named volumes"), ("/only", "SRC:DST"), (f"{folder}:data", "must be absolute"),
                              (f"{folder}:/data:z", "invalid mode"), (f"{folder}/missing:/data", "missing"),
                              (f"{folder}:/", "root of the image")):
            outcome = self.run_image("-v", volume, "busybox", "true", check=False)
            self.assertEqual(125, outcome.code, volume)
            self.assertIn(words, outcome.err)
        self.assertFalse(os.path.exists(os.path.join(folder, "missing")))

    def test_tmpfs_and_read_only(self):
        out = self.run_image("--tmpfs", "/t:size=1m,mode=700", "busybox", "sh", "-c", "stat -c %a /t; grep ' /t ' /proc/mounts").out
        self.assertTrue(out.startswith("700\n"), out)
        for word in ("noexec", "nosuid", "nodev", "size=1024k"):
            self.assertIn(word, out)
        script = "touch /x 2>/dev/null || echo ro; touch /tmp/x 2>/dev/null || echo ro; touch /t/x /dev/shm/x && echo rw; pwd"
        self.assertEqual("ro\nro\nrw\n/w\n",
                         self.run_image("--read-only", "--tmpfs", "/t", "-w", "/w", "busybox", "sh", "-c", script).out)
        outcome = self.run_image("--tmpfs", "/t:what=1", "busybox", "true", check=False)
        self.assertEqual((125, True), (outcome.code, "known: size=" in outcome.err))

    def test_daemon_flags_are_refused(self):
        """One sentence that says that there is no daemon and no detached mode."""
        for flags in (["-d"], ["--detach"], ["-p", "80:80"], ["-P"], ["--name", "x"], ["--restart=always"], ["--rm=false"],
                      ["--link", "a"], ["-it", "-d"]):
            outcome = self.run_image(*flags, "busybox", "true", check=False)
            self.assertEqual(125, outcome.code, flags)
            self.assertIn("there is no daemon and no detached mode", outcome.err)
            self.assertEqual("", outcome.out)
        self.assertEqual(0, self.status("-d=false", "--init", "busybox", "true"))

    # Streams

    def test_streams_are_apart_and_unbuffered(self):
        outcome = self.run_image("busybox", "sh", "-c", "echo out; echo err >&2")
        self.assertEqual(("out\n", "err\n"), (outcome.out, outcome.err))
        process = self.popen("busybox", "sh", "-c", "printf first; sleep 30")
        begin = time.monotonic()
        self.assertEqual(b"first", os.read(process.stdout.fileno(), 100))
        self.assertLess(time.monotonic() - begin, 20)
        process.terminate()
        process.communicate()

    def test_input_only_with_i(self):
        self.assertEqual("", self.run_image("busybox", "cat", stdin=None, input=b"not read").out)
        self.assertEqual("read\n", self.run_image("-i", "busybox", "cat", stdin=None, input=b"read\n").out)
        big = b"x" * 3_000_000
        self.assertEqual("3000000\n", self.run_image("-i", "busybox", "wc", "-c", stdin=None, input=big).out)
        self.assertEqual("xxx", self.run_image("-i", "busybox", "head", "-c", "3", stdin=None, input=big).out)

    def test_reader_that_goes_away(self):
        """`kasane run IMAGE yes | head -1` ends."""
        process = self.popen("busybox", "sh", "-c", f"yes {self.mark}")
        os.read(process.stdout.fileno(), 10)
        process.stdout.close()
        self.assertEqual(128 + signal.SIGPIPE, process.wait(timeout=30))
        process.stderr.close()
        self.assertTrue(wait_until(lambda: not processes_naming(self.mark), 5))

    # Terminal

    def with_terminal(self, *args, typed=b"", until=b"", stdin=None):
        """Runs with a terminal; returns the exit status and what was shown."""
        master, slave = pty.openpty()
        process = subprocess.Popen([*self.k.argv, "run", *args], env=self.k.env, stdin=slave if stdin is None else stdin,
                                   stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        shown, sent, end = b"", False, time.monotonic() + 60
        while time.monotonic() < end:
            if not sent and until in shown and (until or not typed or shown):
                os.write(master, typed)
                sent = True
            if not select.select([master], [], [], 0.5)[0]:
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
        os.close(master)
        return process.wait(timeout=30), shown

    def test_terminal(self):
        code, shown = self.with_terminal("-it", "busybox", "sh", "-c", "echo up; read line; echo got $line $TERM; tty; exit 9",
                                         typed=b"hello\n", until=b"up")
        self.assertEqual(9, code, shown)
        self.assertIn(b"got hello xterm\r\n/dev/pts/0\r\n", shown)
        # Ctrl-C is a byte that the program's own terminal makes a signal of.
        code, shown = self.with_terminal("-ti", "busybox", "sh", "-c", "trap 'echo int; exit 3' INT; echo up; while :; do sleep 0.1; done",
                                         typed=b"\x03", until=b"up")
        self.assertEqual(3, code, shown)
        self.assertIn(b"int\r\n", shown)

    def test_terminal_without_input(self):
        """-t alone: a terminal for output, nothing is read; docker's words for -it without a terminal."""
        code, shown = self.with_terminal("-t", "busybox", "sh", "-c", "tty; test -t 1 && echo yes")
        self.assertEqual((0, True), (code, b"/dev/pts/0\r\nyes\r\n" in shown), shown)
        outcome = self.run_image("-t", "busybox", "sh", "-c", "test -t 1 && echo yes")
        self.assertEqual("yes\r\n", outcome.out)
        outcome = self.run_image("-it", "busybox", "true", check=False)
        self.assertEqual((125, True), (outcome.code, "the input device is not a TTY" in outcome.err))

    # Signals

    def test_signals_are_passed_on(self):
        """docker's sig-proxy: the program decides, and its exit status counts."""
        names = ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM")
        script = "".join(f"trap 'echo {n}' {n}; " for n in names[:-1]) + "trap 'echo TERM; exit 5' TERM; echo up; while :; do sleep 0.05; done"
        process = self.popen("busybox", "sh", "-c", script)
        self.assertEqual(b"up\n", process.stdout.readline())
        for name in names:
            process.send_signal(getattr(signal, "SIG" + name))
            self.assertEqual(name.encode() + b"\n", process.stdout.readline())
        self.assertEqual(5, process.wait(timeout=30))
        process.communicate()

    def test_signal_ends_the_program_by_default(self):
        """Unlike with docker the program is not process 1 of its namespace, so defaults hold."""
        process = self.popen("busybox", "sh", "-c", f"echo up; exec sleep {self.mark}")
        self.assertEqual(b"up\n", process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(128 + 15, process.wait(timeout=30))
        process.communicate()

    def test_kill_leaves_nothing(self):
        process = self.popen("busybox", "sh", "-c", f"trap '' TERM HUP INT; (setsid sleep {self.mark} &); echo up; sleep {self.mark}")
        self.assertEqual(b"up\n", process.stdout.readline())
        process.kill()
        process.communicate()
        self.assertTrue(wait_until(lambda: not processes_naming(self.mark), 2), processes_naming(self.mark))
        self.k("store", "sweep")

    # Limits

    def test_limits(self):
        self.assertEqual("64\n128\n", self.run_image("--ulimit", "nofile=64:128", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn").out)
        outcome = self.run_image("--pids-limit", "8", "busybox", "sh", "-c", "for i in $(seq 20); do sleep 3 & done; wait", check=False)
        if "Warning: the pids limit was not applied" not in outcome.err:
            self.assertNotEqual(0, outcome.code)
            self.assertIn("fork", outcome.err)
        self.assertEqual("", self.run_image("busybox", "true").err)  # no note without a flag
        self.assertEqual(125, self.status("--pids-limit", "x", "busybox", "true"))


@support.needs_root
@support.needs_busybox
class AsRoot(Cases, support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.k = Kasane(os.path.join(cls.work, "store"))
        cls.k.argv = [support.KASANE]
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        context = write_tree(os.path.join(cls.work, "ctx"), {"Dockerfile": DOCKERFILE})
        for target in ("entry", "user", "bare"):
            cls.k.build(context, "-t", target, "--target", target)

    def shared_folder(self, files):
        return write_tree(self.new_folder("shared"), files)


@support.needs_root
@support.needs_busybox
class AsPlainUser(Cases, support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = os.path.join(cls.work, "home")
        os.mkdir(cls.home)
        os.chown(cls.home, UID, UID)
        helper = cls("tearDownClass")  # the checks of rootless_support are methods of its tests
        rootless_support.RootlessCase.need_user_namespaces(helper)
        options = rootless_support.RootlessCase.user_with_range(helper, cls.home)
        cls.k = PlainUser(os.path.join(cls.home, "store"), *options, HOME=cls.home)
        cls.k.argv = [sys.executable, HELPER, str(UID), *options, "--", support.KASANE]
        tar = write_busybox_tar(os.path.join(cls.work, "root.tar"))
        cls.k.import_busybox(tar)
        context = write_tree(os.path.join(cls.work, "ctx"), {"Dockerfile": DOCKERFILE})
        for target in ("entry", "user", "bare"):
            cls.k.build(context, "-t", target, "--target", target)

    def shared_folder(self, files):
        folder = write_tree(self.new_folder("shared"), files)
        for where, _, names in os.walk(folder):
            for path in [where, *(os.path.join(where, n) for n in names)]:
                os.chown(path, UID, UID)
        return folder


if __name__ == "__main__":
    support.main()
