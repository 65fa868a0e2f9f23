#!/usr/bin/env python3
"""The second build does nothing, and what makes a step run again is what changed, by name."""

import os
import re
import shutil
import time
import unittest

import support
from contexts import D, F, L, write_busybox_tar, write_tree
from imagetree import read_docker_archive
from support import Kasane, needs, run

TWO_STAGES = """FROM busybox AS deps
WORKDIR /app
COPY package.json .
RUN echo install >> /app/log

FROM deps AS builder
COPY . .
RUN cat src/main.ts > out && cat /proc/sys/kernel/random/uuid > when

FROM busybox
WORKDIR /app
ENV MODE=production
COPY --from=builder /app/out /app/when ./
USER app
CMD ["cat", "out"]
"""
SOURCES = {"package.json": "{}\n", "src/main.ts": "one\n", "src/util.ts": "u\n", "README": "r\n", "data/": D(0o750),
           "data/x": F("x\n", 0o640), "lnk": L("README"), ".dockerignore": "ignored\n", "ignored/file": "never\n"}


@support.needs_root
@support.needs_busybox
class Cache(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = write_busybox_tar(os.path.join(cls.work, "base.tar"))

    def context(self, dockerfile=TWO_STAGES, sources=None):
        """A new context, and a new store: steps of other tests must not be hits here."""
        self.kasane = Kasane(self.new_folder("store"))
        self.kasane.import_busybox(self.base)
        folder = write_tree(self.new_folder("ctx"), {**(SOURCES if sources is None else sources),
             "Dockerfile": dockerfile})
        time.sleep(0.15)  # younger files are read twice: their times cannot be trusted yet
        return folder

    def tearDown(self):
        self.kasane.check_store(self)

    def built(self, folder, *args):
        self.kasane.build(folder, "-t", "t", *args)
        return self.kasane("images", "-q", "--no-trunc", "t").out.strip()

    def ran(self, folder, *args):
        """[(instruction text, reasons)] of the steps that were not cached."""
        return [(re.sub(r"^\[[^\]]*\] ", "", name), reasons)
                for cached, name, reasons in self.kasane.explain(folder, *args) if not cached]

    def assert_reason(self, steps, instruction, *words):
        reasons = next((r for name, r in steps if name.startswith(instruction)), None)
        self.assertIsNotNone(reasons, f"{instruction} did not run: {steps}")
        text = "\n".join(reasons)
        for word in words:
            self.assertIn(word, text)

    # The second build

    def test_second_build_is_all_hits(self):
        folder = self.context()
        first = self.built(folder)
        outcome = self.kasane.build(folder, "-t", "t")
        self.assertNotRegex(outcome.err, r"#\d+ DONE .*RUN")
        steps = [line for line in outcome.err.splitlines() if re.match(r"#\d+ CACHED", line)]
        self.assertGreaterEqual(len(steps), 7, outcome.err)
        self.assertEqual([], self.ran(folder))
        self.assertEqual(first, self.built(folder))

    @needs("strace")
    def test_second_build_touches_nothing(self):
        """No process, no mount, no namespace, no content of an unchanged file read, nothing of the context written."""
        folder = self.context()
        self.built(folder)
        self.built(folder)
        log = self.path("strace")
        run(["strace", "-f", "-qq", "-y", "-o", log, support.KASANE, "build", "--progress", "plain", "-t", "t", folder],
            env=self.kasane.env)
        with open(log, encoding="utf-8", errors="replace") as f:
            lines = f.readlines()
        calls = {}
        for line in lines:
            if match := re.match(r"\d+ +(\w+)\(", line):
                calls.setdefault(match[1], []).append(line.rstrip())
        self.assertEqual(1, len(calls["execve"]), calls["execve"])
        for name in ("mount", "umount2", "unshare", "setns", "fsopen", "fsmount", "move_mount", "open_tree",
             "pivot_root",
                     "chroot", "fork", "vfork"):
            self.assertEqual([], calls.get(name, []))
        clones = calls.get("clone", []) + calls.get("clone3", [])
        self.assertEqual([], [c for c in clones if "CLONE_NEW" in c or "CLONE_THREAD" not in c])
        for name in ("read", "pread64", "readv", "mmap", "copy_file_range", "sendfile"):
            for line in calls.get(name, []):
                if match := re.search(r"\d+<(" + re.escape(folder) + r"/[^>]*)>", line):
                    self.assertIn(match[1], (folder + "/Dockerfile", folder + "/.dockerignore"), line)
        opened = [line for line in calls["openat"] + calls.get("openat2", [])
                  if re.search(r"= \d+<" + re.escape(folder) + "/",
                  line) and "O_DIRECTORY" not in line and "O_PATH" not in line]
        self.assertLessEqual(len(opened), 2, "\n".join(opened))
        self.assertFalse([line for line in lines if folder + "/ignored/" in line], "an ignored folder was looked into")

    def test_touching_all_times_changes_nothing(self):
        folder = self.context()
        first = self.built(folder)
        for where, folders, files in os.walk(folder):
            for name in folders + files + ["."]:
                os.utime(os.path.join(where, name), (1, 1), follow_symlinks=False)
        self.assertEqual([], self.ran(folder))
        self.assertEqual(first, self.built(folder))

    def test_a_copy_of_the_context_hits(self):
        folder = self.context()
        first = self.built(folder)
        other = self.path("elsewhere")
        shutil.copytree(folder, other, symlinks=True)
        os.chmod(other + "/data", 0o750)
        time.sleep(0.15)
        self.assertEqual(first, self.built(other))

    # What runs again

    def test_one_changed_file(self):
        folder = self.context()
        self.built(folder)
        write_tree(folder, {"src/main.ts": "two\n"})
        steps = self.ran(folder)
        self.assertEqual(["COPY . .", "RUN cat src/main.ts", "COPY --from=builder"],
                         [re.match(r"COPY \. \.|RUN cat src/main\.ts|\S+ \S+", name)[0] for name, _ in steps])
        self.assert_reason(steps, "COPY . .", "src/main.ts")
        reasons = "\n".join(steps[0][1])
        self.assertNotIn("util.ts", reasons)

    def test_same_size_and_time_but_other_content(self):
        folder = self.context()
        self.built(folder)
        path = folder + "/src/main.ts"
        before = os.stat(path)
        with open(path, "r+", encoding="ascii") as f:
            f.write("ONE\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assert_reason(self.ran(folder), "COPY . .", "src/main.ts")

    def test_a_file_of_the_first_stage(self):
        folder = self.context()
        self.built(folder)
        write_tree(folder, {"package.json": '{"a": 1}\n'})
        steps = self.ran(folder)
        self.assert_reason(steps, "COPY package.json", "package.json")
        self.assert_reason(steps, "RUN echo install")

    def test_kinds_of_change_are_named(self):
        changes = {
            "mode of a file": (lambda d: os.chmod(d + "/data/x", 0o600), "data/x", "mode"),
            "mode of a folder": (lambda d: os.chmod(d + "/data", 0o700), "data", "mode"),
            "new file": (lambda d: write_tree(d, {"src/new.ts": "n\n"}), "src/new.ts", "new"),
            "removed file": (lambda d: os.unlink(d + "/src/util.ts"), "src/util.ts", "gone"),
            "link target": (lambda d: (os.unlink(d + "/lnk"), os.symlink("data/x", d + "/lnk")), "lnk", "link"),
            "type": (lambda d: (os.unlink(d + "/README"), os.symlink("data/x", d + "/README")), "README",
            "symbolic link"),
        }
        for what, (change, path, word) in changes.items():
            with self.subTest(what):
                folder = self.context("FROM busybox\nCOPY . /x/\n")
                self.built(folder)
                change(folder)
                steps = self.ran(folder)
                self.assert_reason(steps, "COPY", path, word)
                self.assertEqual(1, len(steps))

    def test_ignored_files_do_not_count(self):
        folder = self.context()
        self.built(folder)
        write_tree(folder, {"ignored/file": "changed\n", "ignored/more": "m\n"})
        self.assertEqual([], self.ran(folder))

    def test_ignore_file_change_counts_by_what_it_lets_in(self):
        folder = self.context("FROM busybox\nCOPY src /x/\n")
        self.built(folder)
        write_tree(folder, {".dockerignore": "# other text, same result\nignored\n"})
        self.assertEqual([], self.ran(folder))

    def test_change_after_a_hit_is_compared_with_the_hit(self):
        folder = self.context("FROM busybox\nCOPY . /x/\n", {"a": "1\n", "b": "1\n"})
        for change in ({}, {"a": "2\n"}, {"a": "1\n"}):
            write_tree(folder, change)
            self.built(folder)
        write_tree(folder, {"b": "2\n"})
        reasons = "\n".join(self.ran(folder)[0][1])
        self.assertIn("b changed", reasons)
        self.assertNotIn("a changed", reasons)

    def test_change_in_a_moved_checkout_is_named(self):
        folder = self.context()
        self.built(folder)
        os.rename(folder, folder + "-moved")
        self.built(folder + "-moved")
        write_tree(folder + "-moved", {"src/main.ts": "two\n"})
        self.assert_reason(self.ran(folder + "-moved"), "COPY . .", "src/main.ts")

    def test_inputs_of_run_are_named(self):
        base = "FROM busybox\nARG A=1\nENV E=1\nWORKDIR /w\nUSER app\nRUN id > /tmp/id\n"
        changes = {"env": ("ENV E=1", "ENV E=2", ("E", "1", "2")), "arg": ("ARG A=1", "ARG A=3", ("A", "3")),
                   "user": ("USER app", "USER daemon", ("user", "daemon")), "workdir": ("WORKDIR /w", "WORKDIR /v",
                   ("workdir", "/v")),
                   "command": ("id > /tmp/id", "id > /tmp/id2", ("command", "id2"))}
        for what, (old, new, words) in changes.items():
            with self.subTest(what):
                folder = self.context(base, {})
                self.built(folder)
                write_tree(folder, {"Dockerfile": base.replace(old, new)})
                self.assert_reason(self.ran(folder), "RUN id", *words)

    def test_build_arg_is_named(self):
        folder = self.context("FROM busybox\nARG WHO=me\nRUN echo $WHO > /who\n", {})
        self.built(folder)
        steps = self.ran(folder, "--build-arg", "WHO=you")
        self.assert_reason(steps, "RUN echo", "WHO", "me", "you")
        self.assertEqual([], self.ran(folder))

    def test_metadata_does_not_rebuild(self):
        """Q07: labels and the like are in no step's key."""
        folder = self.context("FROM busybox\nLABEL a=1\nEXPOSE 1\nRUN echo x > /x\nCMD [\"a\"]\n", {})
        self.built(folder)
        write_tree(folder, {"Dockerfile": "FROM busybox\nLABEL a=2\nEXPOSE 2\nVOLUME /v\nRUN echo x > /x\n"
             "CMD [\"b\"]\n"})
        self.assertEqual([], self.ran(folder))

    def test_same_result_of_a_rebuilt_stage_hits(self):
        """Q05: a stage that runs again and gives the same files does not make its users run again."""
        text = "FROM busybox AS a\nRUN echo same > /out && touch -d @0 /out # {}\nFROM busybox\nCOPY --from=a /out /out\nRUN cat /out > /res\n"
        folder = self.context(text.format(1), {})
        self.built(folder)
        write_tree(folder, {"Dockerfile": text.format(2)})
        self.assertEqual(["RUN echo same"], [name[:13] for name, _ in self.ran(folder)])

    def test_equal_steps_of_one_build_run_once(self):
        """Else the later one would replace the cached result of the earlier, and the next build give another image."""
        step = "RUN sleep 0.3; cat /proc/sys/kernel/random/uuid > /u"
        folder = self.context(f"FROM busybox AS a\nWORKDIR /w\n{step}\nFROM busybox AS b\nWORKDIR /w\n{step}\n"
                              "FROM scratch\nCOPY --from=a /u /a\nCOPY --from=b /u /b\n", {})
        for options in ((), ("--no-cache",)):
            first = self.built(folder, *options)
            path = self.path("equal.tar")
            self.kasane("save", "-o", path, "t")
            tree = read_docker_archive(path).tree
            self.assertEqual(tree.text("/a"), tree.text("/b"))
            self.assertEqual(first, self.built(folder))

    def test_no_cache(self):
        folder = self.context()
        self.built(folder)
        steps = self.ran(folder, "--no-cache")
        self.assertTrue(any(name.startswith("RUN echo install") for name, _ in steps))
        self.assert_reason(steps, "COPY . .", "--no-cache")

    # Which stages run

    def test_unreached_stages_never_run(self):
        folder = self.context("FROM busybox AS a\nRUN touch /a\nFROM busybox AS never\nRUN echo NEVER-RUN; false\n"
                              "FROM nothing-of-that-name AS lost\nRUN true\nFROM a\nRUN touch /b\n", {})
        err = self.kasane.build(folder).err
        self.assertNotIn("NEVER-RUN", err)
        self.assertNotIn("nothing-of-that-name", err)

    def test_independent_stages_both_run_and_at_once(self):
        step = "RUN cut -d' ' -f1 /proc/uptime > /begin && sleep 1 && cut -d' ' -f1 /proc/uptime > /end"
        folder = self.context(f"FROM busybox AS a\n{step} # a\nFROM busybox AS b\n{step} # b\n"
                              "FROM scratch\nCOPY --from=a /begin /end /a/\nCOPY --from=b /begin /end /b/\n", {})
        self.kasane.build(folder, "-t", "both")
        path = self.path("both.tar")
        self.kasane("save", "-o", path, "both")
        tree = read_docker_archive(path).tree
        times = {p: float(tree.text(p)) for p in ("/a/begin", "/a/end", "/b/begin", "/b/end")}
        if os.cpu_count() > 1:
            self.assertLess(max(times["/a/begin"], times["/b/begin"]), min(times["/a/end"], times["/b/end"]),
            "one after the other")


if __name__ == "__main__":
    support.main()
