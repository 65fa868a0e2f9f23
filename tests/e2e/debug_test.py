#!/usr/bin/env python3
"""After a failure: the files of the step, a shell in them, its whole log; and what is kept of every build."""

import json
import os
import pty
import re
import subprocess

import support
from contexts import write_busybox_tar, write_tree
from support import Kasane, mounts_below

SECRET = "hunter2-never-on-disk"


@support.needs_root
@support.needs_busybox
class Debug(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = write_busybox_tar(os.path.join(cls.work, "base.tar"))

    def setUp(self):
        self.k = Kasane(os.path.join(self.new_folder("store"), "root"), TOKEN=SECRET)
        self.k.import_busybox(self.base)

    def tearDown(self):
        self.k.check_store(self)
        self.assertEqual([], mounts_below(self.k.root))

    def failed(self, dockerfile, *args, **files):
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": dockerfile, **files})
        outcome = self.k.build(context, *args, check=False)
        self.assertEqual(1, outcome.code)
        return outcome

    def test_files_of_the_failed_step(self):
        """E06: a failing RUN leaves its files; debug opens them and ends with the command's status."""
        outcome = self.failed("FROM busybox\nCOPY f /below\nRUN echo made > /made-by-step && rm /below && exit 3\n", f="f")
        self.assertIn("`kasane debug` opens a shell where the step stopped", outcome.err)
        shown = self.k("debug", "--", "cat", "/made-by-step")
        self.assertEqual("made\n", shown.out)
        self.assertIn("RUN echo made", shown.err)
        self.assertEqual(1, self.k("debug", "--", "cat", "/below", check=False).code)
        self.assertEqual(7, self.k("debug", "--", "sh", "-c", "echo more > /more; exit 7", check=False).code)
        self.assertEqual("more\n", self.k("debug", "--", "cat", "/more").out)
        # The build does not take them for its own.
        self.assertEqual([], self.k("images", "--format", "{{.Repository}}", "--filter", "dangling=true").out.split())

    def test_shell_by_default(self):
        """E06: without a command it is a shell, with a terminal where there is one."""
        self.failed("FROM busybox\nRUN echo marker > /x; false\n")
        master, slave = pty.openpty()
        process = subprocess.Popen([support.KASANE, "debug"], env=self.k.env, stdin=slave, stdout=slave, stderr=slave,
                                   close_fds=True)
        os.close(slave)
        os.write(master, b"cat /x; tty; exit 5\n")
        data = b""
        while True:
            try:
                data += os.read(master, 65536)
            except OSError:
                break
        os.close(master)
        self.assertEqual(5, process.wait())
        self.assertIn(b"marker\r\n", data)
        self.assertNotIn(b"not a tty", data)

    def test_same_surroundings(self):
        """E06: variables, user, folder, mounts and network are those of the step."""
        self.failed("FROM busybox\nENV A=env\nARG B=arg\nRUN mkdir /w && chown app /w\nUSER app\nWORKDIR /w\n"
                  "RUN --network=none --mount=type=tmpfs,target=/t --mount=type=cache,target=/c,uid=1000 "
                  "--mount=target=/ctx --mount=from=busybox,source=/etc,target=/etc2 echo c > /c/c && echo w > w && false\n", f="f")
        debug = lambda *argv: self.k("debug", "--", *argv).out
        self.assertEqual("env arg 1000 /w /home/app\n", debug("sh", "-c", "echo $A $B $(id -u) $(pwd) $HOME"))
        self.assertEqual("w\n", debug("cat", "w"))
        self.assertEqual("c\n", debug("cat", "/c/c"))
        self.assertIn("app:x:1000", debug("cat", "/etc2/passwd"))
        self.assertIn(" /t ", debug("cat", "/proc/mounts"))
        self.assertEqual("lo", debug("ls", "/sys/class/net").split()[0])
        self.assertEqual(1, len(debug("ls", "/sys/class/net").split()))

    def test_heredoc_script(self):
        """E06: the script of a heredoc is there again and can be run."""
        self.failed("FROM busybox\nRUN <<EOF\n#!/bin/sh\necho one > /one\nexit 4\nEOF\n")
        self.assertEqual("one\n", self.k("debug", "--", "cat", "/one").out)
        err = self.k("debug", "--", "true").err
        path = re.search(r"The step was: (\S+)", err)
        self.assertTrue(path, err)
        self.assertIn("exit 4", self.k("debug", "--", "cat", path[1]).out)
        self.assertEqual(4, self.k("debug", "--", path[1], check=False).code)
        self.failed("FROM busybox\nRUN <<EOF\necho two > /two\nexit 4\nEOF\n")
        self.assertEqual("two\n", self.k("debug", "--", "cat", "/two").out)

    def test_secrets_are_not_kept(self):
        """E06, L10: neither the mount nor the variable of a secret is there, nor its value anywhere in the store."""
        self.failed("FROM busybox\nRUN --mount=type=secret,id=TOKEN,env=TOK --mount=type=secret,id=TOKEN "
                  "test -n \"$TOK\" && test -s /run/secrets/TOKEN && cat /run/secrets/TOKEN && exit 5\n",
                  "--secret", "id=TOKEN")
        out = self.k("debug", "--", "sh", "-c", "echo [$TOK]; ls /run/secrets 2>/dev/null | wc -l").out
        self.assertEqual("[]\n0\n", out)
        self.assertIn("Not mounted: /run/secrets/TOKEN", self.k("debug", "--", "true").err)
        for folder, _, names in os.walk(self.k.root):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as f:
                        self.assertNotIn(SECRET.encode(), f.read(), path)

    def test_which_build(self):
        """E06: the newest failure, or the build that is named; clear words where there is none."""
        outcome = self.k("debug", "--", "true", check=False)
        self.assertIn("no failed step is kept", outcome.err)
        self.failed("FROM busybox\nRUN echo 1 > /n; false\n", "-t", "one")
        self.failed("FROM busybox\nRUN echo 2 > /n; false\n", "-t", "two")
        self.assertEqual("2\n", self.k("debug", "--", "cat", "/n").out)
        self.assertEqual("1\n", self.k("debug", "--build", "one", "--", "cat", "/n").out)
        self.assertIn("No such build: three", self.k("debug", "--build", "three", check=False).err)

    def test_survives_pruning(self):
        """E06: what is below the kept step may be pruned; then debug says so."""
        self.failed("FROM busybox\nRUN echo 1 > /one\nRUN false\n")
        self.k("builder", "prune", "-af")
        outcome = self.k("debug", "--", "cat", "/one", check=False)
        self.assertTrue(outcome.out == "1\n" or "is gone" in outcome.err, outcome)

    def test_log_is_whole(self):
        """E06, E02: ten lines are shown, the whole output is on disk, byte for byte."""
        outcome = self.failed("FROM busybox\nRUN seq 1 170000; printf 'no newline'; exit 1\n")
        path = re.search(r"the whole output is in (\S+);", outcome.err)
        self.assertTrue(path, outcome.err[-2000:])
        with open(path[1], encoding="ascii") as f:
            self.assertEqual("".join(f"{i}\n" for i in range(1, 170001)) + "no newline", f.read())
        self.assertGreater(os.path.getsize(path[1]), 1_000_000)

    def test_logs(self):
        """E02, E06: `kasane logs` shows what a step of an earlier build printed, also of one that succeeded."""
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM busybox\nRUN echo first\nRUN echo second >&2\n"})
        self.k.build(context, "-t", "app")
        listed = self.k("logs", "app").out
        self.assertIn("RUN echo first", listed)
        self.assertEqual("first\n", self.k("logs", "app", "RUN echo first").out)
        self.assertEqual("second\n", self.k("logs", "app", "echo second").out)
        with open(self.k("logs", "--path", "app", "echo second").out.strip(), encoding="ascii") as f:
            self.assertEqual("second\n", f.read())
        self.failed("FROM busybox\nRUN echo failing; false\n")
        self.assertEqual("failing\n", self.k("logs", "echo failing").out)

    def test_why_rebuilt(self):
        """L20: which input made a step of an earlier build run again."""
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM busybox\nRUN echo base\nCOPY f /f\nRUN cat /f\n",
                                                      "f": "1"})
        self.k.build(context, "-t", "app")
        with open(context + "/f", "w", encoding="ascii") as f:
            f.write("2")
        self.k.build(context, "-t", "app")
        out = self.k("why-rebuilt", "app").out
        self.assertRegex(out, r"CACHED +\[2/4\] RUN echo base")
        self.assertRegex(out, r"RAN +\[3/4\] COPY f /f.*\n.*because: .*f.* changed")
        steps = json.loads(self.k("why-rebuilt", "--format", "json", "app").out)["steps"]
        self.assertEqual([True, True, False, False], [s["cached"] for s in steps][-4:])

    def test_memory_limit(self):
        """L15, L24: a step over --memory is killed, and the message says why."""
        text = "FROM busybox\nRUN echo first && awk 'BEGIN { s = \"x\"; while (length(s) < 60000000) s = s s; print length(s) }'\n"
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": text})
        outcome = self.k.build(context, "--memory", "20m", check=False)
        if outcome.code == 0 or "cgroup" in outcome.err:
            self.assertIn("memory", outcome.err)
            self.skipTest("no cgroup with a memory controller: " + outcome.err[-300:])
        self.assertIn("was killed for using more memory than it may", outcome.err)
        self.assertIn("raise --memory", outcome.err)
        self.k.build(context, "--memory", "1g")


if __name__ == "__main__":
    support.main()
