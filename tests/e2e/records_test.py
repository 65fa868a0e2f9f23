#!/usr/bin/env python3
"""Recorded builds, cache mounts and the size of the step cache, as the command line shows them."""

import io
import json
import os
import subprocess
import tarfile

import support
from contexts import write_busybox_tar, write_tree
from support import Kasane

BUILD = "20240101T000000.000000-0123abcd"


def make_tar(files):
    """Bytes of a tar with these files, name -> (content, uid)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, (content, uid) in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.mode, info.mtime = len(content), uid, 0o640, 1700000000
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def piped(kasane, *args, data=b""):
    """Runs a command with bytes on stdin; (exit code, stdout bytes, stderr text)."""
    done = subprocess.run([support.KASANE, *args], input=data, env=kasane.env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout, done.stderr.decode()


class Records(support.TestCase):

    def setUp(self):
        self.k = Kasane(os.path.join(self.new_folder("store"), "root"))

    def tearDown(self):
        self.k.check_store(self)

    def write_record(self, **more):
        self.k("store", "sweep")
        folder = os.path.join(self.k.root, "builds", BUILD)
        if not os.path.isdir(os.path.join(self.k.root, "builds")):
            piped(self.k, "cache", "import", "any", "-", data=make_tar({}))  # the first write makes the store
        os.makedirs(os.path.join(folder, "logs"), exist_ok=True)
        step = {"name": "[1/1] RUN make", "reason": "the command changed", "duration_ns": 2_500_000_000,
                "parts": json.dumps([["kind", "RUN"], ["command", "make"]]), "log": "0.log"}
        record = {"format": 1, "id": BUILD, "started_ns": 1, "finished_ns": 2, "tags": ["docker.io/library/app:latest"],
                  "image": "sha256:" + "a" * 64, "steps": [step], **more}
        with open(os.path.join(folder, "record.json"), "w", encoding="utf-8") as f:
            json.dump(record, f)
        with open(os.path.join(folder, "logs", "0.log"), "w", encoding="ascii") as f:
            f.write("compiling\n")

    def test_a_record_is_shown(self):
        self.write_record()
        for name in ("app", "app:latest", BUILD, BUILD[:20], "a" * 12):
            out = self.k("why-rebuilt", name).out
            self.assertIn("RAN    [1/1] RUN make  2.5s\n       because: the command changed\n", out)
        shown = json.loads(self.k("why-rebuilt", "--format", "json").out)
        self.assertEqual([{"name": "kind", "value": "RUN"}, {"name": "command", "value": "make"}],
                         shown["steps"][0]["parts"])
        self.assertIn(BUILD, self.k("builds", "ls").out)
        self.assertEqual("compiling\n", self.k("logs", "app", "1").out)
        with open(self.k("logs", "--path", "app", "1").out.strip(), encoding="ascii") as f:
            self.assertEqual("compiling\n", f.read())

    def test_a_damaged_record_is_left_out(self):
        for more in ({"format": 2}, {"steps": 1}, {"tags": "x"}, {"steps": [{"duration_ns": "1"}]}):
            with self.subTest(more):
                self.write_record(**more)
                outcome = self.k("builds", "ls", "-q")
                self.assertEqual("", outcome.out)
                self.assertIn("WARNING: ignoring the record of build", outcome.err)
                check = self.k("store", "check", check=False)
                self.assertEqual(1, check.code)
                self.assertIn("build record ", check.out)
                self.k("store", "repair")

    def test_a_record_cannot_name_files_elsewhere(self):
        secret = self.path("secret")
        with open(secret, "w", encoding="ascii") as f:
            f.write("secret")
        for log in (secret, "../../../../secret", ".."):
            self.write_record(steps=[{"name": "x", "log": log}])
            outcome = self.k("logs", "app", "1", check=False)
            self.assertEqual((1, ""), (outcome.code, outcome.out))

    def test_cache_import_export(self):
        files = {"a": (b"one", 0), "d/b": (b"two" * 1000, 12345 if support.is_root() else 0)}
        code, _, err = piped(self.k, "cache", "import", "/root/.cache", "-", data=make_tar(files))
        self.assertEqual(0, code, err)
        code, first, err = piped(self.k, "cache", "export", "/root/.cache", "-")
        self.assertEqual(0, code, err)
        with tarfile.open(fileobj=io.BytesIO(first)) as tar:
            got = {m.name: (tar.extractfile(m).read(), m.uid) for m in tar if m.isfile()}
        self.assertEqual(files, got)
        self.assertEqual(first, piped(self.k, "cache", "export", "/root/.cache", "-")[1])
        path = self.path("cache.tar")
        self.k("cache", "export", "/root/.cache", path)
        self.k("cache", "import", "other", path)
        self.assertEqual(first, piped(self.k, "cache", "export", "other", "-")[1])
        rows = [json.loads(line) for line in self.k("cache", "ls", "--format", "json").out.splitlines()]
        self.assertEqual(["/root/.cache", "other"], [r["ID"] for r in rows])
        self.assertIn("Cache mounts", self.k("cache", "du").out)

    def test_hostile_cache_archives(self):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            link = tarfile.TarInfo("l")
            link.type, link.linkname = tarfile.SYMTYPE, self.work
            tar.addfile(link)
            tar.addfile(tarfile.TarInfo("l/escaped"))
        for data in (out.getvalue(), make_tar({"../escaped": (b"", 0)}), make_tar({".wh.x": (b"", 0)}), b"junk" * 200):
            self.assertEqual(1, piped(self.k, "cache", "import", "a", "-", data=data)[0])
        self.assertFalse(os.path.lexists(self.path("escaped")))
        self.assertEqual("", self.k("cache", "ls", "-q").out)

    def test_cache_prune_spares_what_is_used(self):
        for name in ("a", "b", "c"):
            piped(self.k, "cache", "import", name, "-", data=make_tar({"f": (b"x" * 200_000, 0)}))
        rows = {r["ID"]: r["Key"] for r in map(json.loads, self.k("cache", "ls", "--no-trunc", "--format",
                "json").out.splitlines())}
        for i, name in enumerate("bac"):
            os.utime(os.path.join(self.k.root, "mounts", rows[name], "meta.json"), (1000 + i, 1000 + i))
        names = lambda: self.k("cache", "ls", "--format", "{{.ID}}").out.split()
        self.k("cache", "prune", "-f", "--max-size", "500k")
        self.assertEqual(["a", "c"], names())
        lock = os.open(os.path.join(self.k.root, "mounts", rows["a"], "lock"), os.O_RDWR)
        try:
            import fcntl
            fcntl.flock(lock, fcntl.LOCK_SH)
            self.assertIn("true", self.k("cache", "ls", "--format", "{{.ID}} {{.InUse}}").out.splitlines()[0])
            self.k("cache", "prune", "-f")
            self.assertEqual(["a"], names())
        finally:
            os.close(lock)
        self.k("cache", "prune", "-f", "--unused-for", "1h")
        self.assertEqual([], names())

    @support.needs_root
    @support.needs_busybox
    def test_builder_prune_keeps_the_last_used(self):
        self.k.import_busybox(write_busybox_tar(self.path("base.tar")))
        for name in ("one", "two"):
            folder = write_tree(self.new_folder("ctx"), {
                "Dockerfile": "FROM busybox AS big\nCOPY f /f\nFROM busybox\nRUN --network=none true\n"
                              "COPY --from=big /f /g\n", "f": (name * 100_000)})
            self.k.build(folder, "-t", name)
        self.k("rmi", "one", "two")
        size = lambda: int(self.k("cache", "du", "--format", "{{.Type}} {{.SizeBytes}}").out.splitlines()[1].split()[-1])
        before = size()
        self.assertGreater(before, 1_000_000)
        self.k("builder", "prune", "-f", "--keep-storage", str(before))
        self.assertEqual(before, size())
        self.k("builder", "prune", "-f", "--keep-storage", "700000")
        self.assertLessEqual(size(), 700_000)
        self.assertGreater(size(), 0)
        self.k("cache", "prune", "-fa")
        self.assertEqual(0, size())


if __name__ == "__main__":
    support.main()
