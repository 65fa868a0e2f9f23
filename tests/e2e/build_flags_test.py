#!/usr/bin/env python3
"""Flags of `kasane build` that name, choose and steer: what docker's users type works here."""

import io
import json
import os
import tarfile

import support
from contexts import write_busybox_tar, write_tree
from support import Kasane

EPOCH = 1600000000


@support.needs_root
@support.needs_busybox
class BuildFlags(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.k = Kasane(os.path.join(cls.work, "store"))
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "base.tar")))

    def build(self, text, *args, check=True, **kwargs):
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": text, "f": "f\n"})
        return self.k.build(context, *args, check=check, **kwargs)

    def refused(self, words, *args, **kwargs):
        outcome = self.build(*args, check=False, **kwargs)
        self.assertNotEqual(0, outcome.code)
        self.assertIn(words, outcome.err)

    def test_tags(self):
        """L01: several names, `latest` by default, checked before anything is built."""
        self.build("FROM busybox\nRUN echo tags > /t\n", "-t", "a", "-t", "b:2", "--tag=reg.io:5000/c/d:x")
        ids = {self.k.config(name)["Id"] for name in ("a:latest", "b:2", "reg.io:5000/c/d:x")}
        self.assertEqual(1, len(ids))
        self.refused("invalid tag", "FROM busybox\nRUN echo never-run\n", "-t", "ok", "-t", "UPPER")
        self.assertNotIn("never-run", self.build("FROM busybox\nRUN echo never-run\n", "-t", "-x", check=False).err)
        self.assertNotEqual(0, self.k("inspect", "ok", check=False).code)

    def test_arguments_and_labels(self):
        """L02, L25: --build-arg with and without a value, from a file; --label."""
        arguments = self.path("arguments")
        with open(arguments, "w", encoding="ascii") as f:
            f.write("# a comment\n\nC=from file\nA=overridden\n")
        self.build("FROM busybox\nARG A B C\nLABEL kept=yes taken=no\nRUN echo \"$A-$B-$C\" > /said\n", "-t", "args",
                   "--build-arg-file", arguments, "--build-arg", "A=1", "--build-arg", "B", "--label", "taken=yes",
                   "--label", "empty", env={"B": "environment"})
        out = self.path("args.tar")
        self.k("save", "-o", out, "args")
        from imagetree import read_docker_archive
        image = read_docker_archive(out)
        self.assertEqual("1-environment-from file\n", image.tree.text("/said"))
        self.assertEqual({"kept": "yes", "taken": "yes", "empty": ""}, image.config["config"]["Labels"])

    def test_target(self):
        """L09: a stage by name in any case or by number; what it does not need is not built."""
        text = "FROM busybox AS first\nENV S=first\nFROM busybox AS broken\nRUN exit 1\nFROM first AS Last\nENV S=last\n"
        for target, want in (("first", "first"), ("FIRST", "first"), ("0", "first"), ("last", "last")):
            self.build(text, "--target", target, "-t", "t")
            self.assertIn("S=" + want, self.k.config("t")["Config"]["Env"])
        self.refused('"frist" could not be found (did you mean first?)', text, "--target", "frist")

    def test_unset(self):
        """L25: --unsetenv and --unsetlabel leave out what the base brought; the steps still have it."""
        self.build("FROM busybox\nENV A=1 AB=2\nLABEL a=1 ab=2\nRUN test $A = 1\n", "-t", "u", "--unsetenv", "A",
                   "--unsetlabel", "a", "--unsetenv", "NOPE")
        config = self.k.config("u")["Config"]
        self.assertEqual(["AB=2"], [e for e in config["Env"] if e.startswith("A")])
        self.assertEqual({"ab": "2"}, config["Labels"])

    def test_pull_is_noted(self):
        """L08: --pull asks the registry although the store has the base; without it nobody is asked."""
        self.k("tag", "busybox", "127.0.0.1:1/busybox:1")
        self.build("FROM 127.0.0.1:1/busybox:1\nENV A=1\n")
        failed = self.build("FROM 127.0.0.1:1/busybox:1\nENV A=1\n", "--pull", check=False)
        self.assertEqual(1, failed.code)
        self.assertIn("connect to 127.0.0.1:1", failed.err)

    def test_jobs(self):
        """L25: --jobs 1 runs one step at a time."""
        text = ("FROM busybox AS a\nRUN --mount=type=cache,target=/c mkdir /c/lock && sleep 0.2 && rmdir /c/lock && echo {0}\n"
                "FROM busybox AS b\nRUN --mount=type=cache,target=/c mkdir /c/lock && sleep 0.2 && rmdir /c/lock && echo {0} b\n"
                "FROM scratch\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n")
        self.build(text.format(1), "--jobs", "1")

    def test_timestamp(self):
        """L25, L26, T06, T08: --timestamp and SOURCE_DATE_EPOCH date the image, and folders of WORKDIR."""
        ids = set()
        for args, env in ((("--timestamp", str(EPOCH)), {}), ((), {"SOURCE_DATE_EPOCH": str(EPOCH)}),
                          (("--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}"), {})):
            path = os.path.join(self.new_folder("o"), "o.tar")
            self.build("FROM busybox\nWORKDIR /made/deep\n", *args, "--no-cache", "-t", "dated", "-o",
                       f"type=docker,dest={path}", env=env)
            with tarfile.open(path) as tar:
                manifest = json.load(tar.extractfile("manifest.json"))[0]
                config = json.load(tar.extractfile(manifest["Config"]))
                layer = io.BytesIO(tar.extractfile(manifest["Layers"][-1]).read())
            self.assertEqual("2020-09-13T12:26:40Z", config["created"])
            with tarfile.open(fileobj=layer) as tar:
                self.assertEqual({"made": EPOCH, "made/deep": EPOCH}, {m.name.strip("./"): m.mtime for m in tar if m.name.strip("./")})
            ids.add(manifest["Config"])
        self.assertEqual(1, len(ids))
        self.refused("invalid SOURCE_DATE_EPOCH", "FROM busybox\n", "--timestamp", "yesterday")

    def test_unknown_flag(self):
        """E08: a flag that is not there is named with its neighbour."""
        outcome = self.k("build", "--taget", "x", ".", check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("--taget", outcome.err)
        self.assertIn("--target", outcome.err)


if __name__ == "__main__":
    support.main()
