#!/usr/bin/env python3
"""What a build shows while it runs and when it ends: plain, rawjson, quiet, tty, warnings, resources."""

import base64
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import support
from contexts import write_busybox_tar, write_tree
from support import Kasane

TWO = "FROM busybox AS one\nRUN sleep {0}; echo from-one\nFROM busybox AS two\nRUN sleep {0}; echo from-two\n" \
      "FROM busybox\nCOPY --from=one /etc/passwd /1\nCOPY --from=two /etc/passwd /2\n"


def without_escapes(text):
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@support.needs_root
@support.needs_busybox
class Progress(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.k = Kasane(os.path.join(cls.work, "store"))
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "base.tar")))

    def context(self, text, **files):
        return write_tree(self.new_folder("ctx"), {"Dockerfile": text, **files})

    def build(self, text, *args, check=True, **files):
        return self.k("build", *args, self.context(text, **files), check=check)

    # plain

    def test_plain(self):
        """E02, E01, L17: numbered steps, their output with times, CACHED and DONE, in an order that is stable."""
        text = "FROM busybox\nRUN echo hello; echo world >&2\nCOPY f /f\n"
        context = self.context(text, f="plain")
        err = self.k("build", "--progress", "plain", context).err
        number = re.search(r"^#(\d+) \[2/3\] RUN echo hello; echo world >&2$", err, re.M)
        self.assertTrue(number, err)
        self.assertRegex(err, rf"(?m)^#{number[1]} \d+\.\d\d\d hello$")
        self.assertRegex(err, rf"(?m)^#{number[1]} DONE \d+\.\ds$")
        self.assertEqual("", without_escapes(err).replace(err, ""))
        shape = lambda text: re.sub(r"\d+\.\d+s?", "T", text)
        second = self.k("build", "--progress", "plain", context).err
        self.assertRegex(second, r"(?m)^#\d+ CACHED$")
        self.assertNotIn("hello\n", second.replace("RUN echo hello", ""))
        self.assertEqual(shape(second), shape(self.k("build", "--progress", "plain", context).err))
        numbers = [int(n) for n in re.findall(r"(?m)^#(\d+) \[", second)]
        self.assertEqual(sorted(numbers), numbers)
        # Without a terminal it is the default; BUILDKIT_PROGRESS chooses too.
        self.assertEqual(shape(second), shape(self.k("build", context).err))
        self.assertEqual("", self.k("build", context, env={"BUILDKIT_PROGRESS": "quiet"}).err)
        self.assertIn("invalid progress mode", self.k("build", "--progress", "loud", context, check=False).err)

    def test_plain_in_parallel(self):
        """E02: lines of two steps that run at once are told apart, and a switch is marked."""
        err = self.build(TWO.format(0.3), "--progress", "plain").err
        for name in ("one", "two"):
            number = re.search(rf"(?m)^#(\d+) \[{name} 2/2\] RUN", err)[1]
            self.assertRegex(err, rf"(?m)^#{number} \d+\.\d+ from-{name}$")
            self.assertRegex(err, rf"(?m)^#{number} DONE")

    def test_failure(self):
        """E02, E06, E07: ERROR, the last ten lines, the excerpt, the message, an exit code."""
        outcome = self.build("FROM busybox\n# a comment\nRUN for i in $(seq 1 14); do echo line-$i; done; exit 3\nCMD x\n",
                             "--progress", "plain", check=False)
        self.assertEqual(1, outcome.code)
        err = outcome.err
        command = "/bin/sh -c for i in $(seq 1 14); do echo line-$i; done; exit 3"
        self.assertRegex(err, r"(?m)^#\d+ ERROR: process \"/bin/sh -c for i in")
        tail = err[err.index("------\n > [2/2] RUN for i"):]
        lines = tail.splitlines()
        self.assertTrue(lines[1].endswith("exit 3:"), lines[1])
        self.assertEqual([f"line-{i}" for i in range(5, 15)], [l.split()[1] for l in lines[2:12]])
        self.assertEqual("------", lines[12])
        excerpt = tail[tail.index("Dockerfile:3\n"):]
        self.assertTrue(excerpt.startswith("Dockerfile:3\n" + "-" * 20 + "\n   1 |     FROM busybox\n   2 |     # a comment\n"
                                           "   3 | >>> RUN for i in"), excerpt)
        self.assertIn("   4 |     CMD x\n", excerpt)
        self.assertIn(f'ERROR: failed to solve: process "{command}" did not complete successfully: exit code: 3', excerpt)

    def test_failure_over_several_lines(self):
        """E07: every line of the instruction is marked, with one line around."""
        err = self.build("FROM busybox\nENV A=1\nRUN true && \\\n  false\nENV B=1\nENV C=1\n", check=False).err
        excerpt = err[err.index("Dockerfile:3\n"):]
        self.assertIn("   2 |     ENV A=1\n   3 | >>> RUN true && \\\n", excerpt)
        self.assertIn("   4 | >>>   false\n", excerpt)
        self.assertIn("   5 |     ENV B=1\n", excerpt)
        self.assertNotIn("ENV C=1", excerpt)
        self.assertNotIn("FROM busybox\n", excerpt)

    def test_cancelled_step(self):
        """E02: a step that stops because another failed is CANCELED."""
        text = ("FROM busybox AS slow\nRUN echo begun; sleep 30\nFROM busybox AS bad\nRUN sleep 0.5; exit 9\nFROM scratch\n"
                "COPY --from=slow /x /\nCOPY --from=bad /x /\n")
        err = self.build(text, "--progress", "plain", "--jobs", "2", check=False).err
        self.assertRegex(err, r"(?m)^#\d+ CANCELED$")
        self.assertIn("exit code: 9", err)

    def test_suggestions(self):
        """E08: near names of instructions, flags, stages, targets."""
        for text, args, words in (("FROM busybox\nRUNN x\n", (), "did you mean RUN?"),
                                  ("FROM busybox\nCOPY --form=a b c\n", (), "did you mean"),
                                  ("FROM busybox\nRUN --mount=type=cahce,target=/x true\n", (), "cache"),
                                  ("FROM busybox AS builder\n", ("--target", "buildr"), "did you mean builder?")):
            self.assertIn(words, self.build(text, *args, check=False).err)

    def test_warnings(self):
        """E09: after the build the findings are counted and listed with rule, line and address."""
        err = self.build("FROM busybox as one\nMAINTAINER me\nRUN true\n", "--progress", "plain").err
        summary = err[err.index("2 warnings found"):]
        self.assertRegex(summary, r" - FromAsCasing: .* \(line 1\)")
        self.assertRegex(summary, r" - MaintainerDeprecated: .* \(line 2\)")
        self.assertNotIn("warnings found", self.build("FROM busybox as one\nMAINTAINER me\n", "-q").err)
        debug = self.k("--debug", "build", self.context("FROM busybox as one\n")).err
        self.assertIn("https://docs.docker.com/go/dockerfile/rule/from-as-casing/", debug)

    def test_check(self):
        """E10, E13, L20: --check builds nothing and ends with a code; error=true stops a build."""
        outcome = self.build("FROM busybox as one\nRUN exit 1\n", "--check", check=False)
        self.assertEqual(1, outcome.code)
        self.assertIn("FromAsCasing", outcome.out + outcome.err)
        self.assertEqual(0, self.build("FROM busybox AS one\nRUN exit 1\n", "--check").code)
        outcome = self.build("# check=error=true\nFROM busybox as one\nRUN exit 1\n", check=False)
        self.assertIn("lint violation found for rules: FromAsCasing", outcome.err)
        self.assertNotIn("exit code: 1", outcome.err)

    def test_outline_and_targets(self):
        """E11, E12, L20: arguments and stages of a Dockerfile, with their descriptions."""
        text = "# tool makes it\nFROM busybox AS tool\n# WHO it is for\nARG WHO=me\nFROM tool AS app\nRUN true\n"
        out = self.build(text, "--call", "outline", "--target", "tool").out
        self.assertRegex(out, r"WHO +me +it is for")
        out = self.build(text, "--call", "targets").out
        self.assertRegex(out, r"tool +makes it")
        self.assertRegex(out, r"app \(default\)")

    # rawjson

    def test_rawjson(self):
        """E04, L17: every line is a JSON document; vertexes begin and end; logs are base64."""
        text = "FROM busybox\nRUN echo raw-output; printf '\\377\\001'\nRUN echo \"quotes \\\\ \u00fc\"\n"
        err = self.build(text, "--progress", "rawjson").err
        logs, started, completed, cached = "", set(), set(), set()
        for line in err.splitlines():
            document = json.loads(line)
            self.assertLessEqual(set(document), {"vertexes", "statuses", "logs", "warnings"})
            for vertex in document.get("vertexes", []):
                started.add(vertex["digest"])
                self.assertRegex(vertex["digest"], "^sha256:[0-9a-f]{64}$")
                if "completed" in vertex:
                    completed.add(vertex["digest"])
                if vertex.get("cached"):
                    cached.add(vertex["name"])
            for log in document.get("logs", []):
                self.assertIn(log["vertex"], started)
                logs += base64.b64decode(log["data"]).decode("latin-1")
        self.assertEqual(started, completed)
        self.assertIn("raw-output\n", logs)
        self.assertIn("\xff\x01", logs)

    def test_rawjson_of_hostile_names(self):
        """E04: names that are not UTF-8 and hold controls are JSON all the same."""
        context = self.new_folder("ctx")
        with open(context + "/Dockerfile", "wb") as f:
            f.write(b"FROM busybox\nRUN echo '\xff\xfe \x01 \x1b[31m' \"\\\"\"; exit 1\n")
        done = subprocess.run([support.KASANE, "build", "--progress", "rawjson", context], env=self.k.env,
                              stderr=subprocess.PIPE, check=False)
        lines = [l for l in done.stderr.split(b"\n") if l.startswith(b"{")]
        self.assertTrue(lines)
        for line in lines:
            json.loads(line.decode("utf-8"))

    # quiet

    def test_quiet(self):
        """E05, L17: the id on success; on failure all that the step wrote."""
        context = self.context("FROM busybox\nRUN echo secret-chatter\n")
        outcome = self.k("build", "--progress", "quiet", context)
        self.assertRegex(outcome.out, r"^sha256:[0-9a-f]{64}\n$")
        self.assertEqual("", outcome.err)
        outcome = self.build("FROM busybox\nRUN seq 1 50; exit 1\n", "-q", check=False)
        self.assertEqual("", outcome.out)
        self.assertIn("\n1\n2\n", outcome.err)
        self.assertIn("\n50\n", outcome.err)
        self.assertIn("exit code: 1", outcome.err)
        self.assertIn("cannot be used together", self.k("build", "-q", "--progress", "plain", context, check=False).err)

    # resources

    def test_resources(self):
        """L15: time, processor time, memory and bytes written of each step."""
        text = "FROM busybox\nRUN head -c 3000000 /dev/zero > /three; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done\n"
        err = self.build(text, "--resources").err
        self.assertRegex(err, r"STEP +TIME +CPU +PEAK MEMORY +WRITTEN")
        self.assertRegex(err, r"RUN head .* \d+\.\d\ds +\d+\.\d\ds +[\d.]+[kM]B +3MB")

    # tty

    def in_terminal(self, context, *args, size=(30, 100)):
        """(frames, exit code) of a build in a pseudo terminal."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        process = subprocess.Popen([support.KASANE, "build", *args, context], env=dict(self.k.env, TERM="xterm"),
                                   stdin=slave, stdout=slave, stderr=slave, close_fds=True)
        os.close(slave)
        data = b""
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:
                break
            if not chunk:
                break
            data += chunk
        os.close(master)
        text = data.decode("utf-8")
        frames = [without_escapes(f).replace("\r", "") for f in text.split("\x1b[?25l")[1:]]
        return text, frames, process.wait()

    def test_tty(self):
        """E03, L17: a line for each running step with the time that it takes, redrawn in place; its last lines below."""
        text, frames, code = self.in_terminal(self.context(TWO.format(1)), "--jobs", "2")
        self.assertEqual(0, code)
        live = [f for f in frames if "RUN sleep" in f and "FINISHED" not in f]
        self.assertGreater(len(live), 3)
        both = [f for f in live if "[one 2/2] RUN sleep" in f and "[two 2/2] RUN sleep" in f]
        self.assertTrue(both, live[:2])
        times = [float(re.search(r"\[one 2/2\] RUN sleep.* (\d+\.\d)s$", f, re.M)[1]) for f in both]
        self.assertEqual(sorted(times), times)
        self.assertGreater(times[-1], times[0])
        for frame in frames:
            self.assertRegex(frame.splitlines()[0], r"^\[\+\] Building \d+\.\ds \(\d+/\d+\)( FINISHED)?$")
            self.assertEqual(frame.count("[one 2/2] RUN sleep"), min(1, frame.count("[one 2/2] RUN sleep")))
            self.assertLessEqual(max(len(line) for line in frame.splitlines()), 100)
        self.assertIn("FINISHED", frames[-1])
        self.assertTrue(text.rstrip().endswith("\x1b[?25h") or text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"))

    def test_tty_log_lines(self):
        """E03: a running step shows its last lines; they cannot move the cursor."""
        context = self.context("FROM busybox\nRUN printf '\\033[2J\\033[5Awild\\nbar 10%%\\rbar 90%%\\n'; sleep 1\n")
        text, frames, code = self.in_terminal(context)
        self.assertEqual(0, code)
        self.assertNotIn("\x1b[2J", text)
        self.assertTrue([f for f in frames if " => => # wild\n" in f and " => => # bar 90%\n" in f], frames[-3:])

    def test_tty_failure(self):
        """E03, E06: a failure ends with the tail and the excerpt; small windows do not break it."""
        context = self.context("FROM busybox\nRUN seq 1 40; sleep 0.4; exit 6\n")
        for size in ((30, 100), (5, 20)):
            text, frames, code = self.in_terminal(context, size=size)
            self.assertEqual(1, code)
            self.assertIn("------\n > [2/2] RUN seq 1 40", frames[-1])
            self.assertIn("exit code: 6", frames[-1])
            for frame in frames[:-1]:
                self.assertLessEqual(len(frame.splitlines()), size[0])

    def test_tty_transfer(self):
        """E03: writing an image shows how much is done."""
        context = self.context("FROM busybox\nRUN head -c 60000000 /dev/urandom > /big\n")
        self.k("build", context)
        text, frames, code = self.in_terminal(context, "-o", f"type=oci,dest={self.path('big.tar')}")
        self.assertEqual(0, code)
        self.assertTrue([f for f in frames if re.search(r"\[=*>? *\] [\d.]+[kM]B / [\d.]+MB", f)], frames[-2:])


if __name__ == "__main__":
    support.main()
