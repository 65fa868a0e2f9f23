#!/usr/bin/env python3
"""Cached steps outside the store: --cache-to and --cache-from, inline caches; and cache mounts after real builds."""

import glob
import json
import os
import subprocess
import tarfile

import support
from contexts import F, write_busybox_tar, write_tree
from support import Kasane

DOCKERFILE = """FROM busybox AS tools
RUN echo tool > /tool
FROM busybox AS build
COPY src /src/
RUN cat /src/a > /out && date +%N >> /out
FROM busybox
WORKDIR /app
COPY --from=build /out .
COPY --from=tools /tool .
RUN cat out tool > both
"""


@support.needs_root
@support.needs_busybox
class CacheTransfer(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        first = Kasane(os.path.join(cls.work, "first"))
        first.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        cls.base = os.path.join(cls.work, "base.tar")
        first("save", "-o", cls.base, "busybox")

    def store(self):
        k = Kasane(os.path.join(self.new_folder("store"), "root"), SOURCE_DATE_EPOCH="1600000000")
        k("load", "-i", self.base)
        self.addCleanup(lambda: k.check_store(self))
        return k

    def context(self, text=DOCKERFILE, **files):
        return write_tree(self.new_folder("ctx"), {"Dockerfile": text, "src/a": "a\n", "src/b": F("b\n", 0o755), **files})

    def ran(self, kasane, context, *args):
        """Instructions of the steps that were not cached."""
        return [name.split("] ")[1] for cached, name, _ in kasane.explain(context, *args)
                if not cached and "FROM " not in name]

    def exported(self, *options, context=None, kasane=None, args=()):
        """(context, cache directory, image id) of a first build."""
        context, folder = context or self.context(), self.path(self.new_folder("cache"), "c")
        image = (kasane or self.store()).build_id(context, "--cache-to", ",".join([f"type=local,dest={folder}", *options]), *args)
        return context, folder, image

    def test_max_is_all_hits(self):
        """L04, Q08: a fresh store with the cache of mode=max runs nothing and gives the same image."""
        context, folder, image = self.exported("mode=max")
        fresh = self.store()
        self.assertEqual([], self.ran(fresh, context, "--cache-from", f"type=local,src={folder}", "-t", "app"))
        self.assertEqual(image, fresh.config("app")["Id"])
        # They are in the store now.
        self.assertEqual([], self.ran(fresh, context))
        self.assertNotEqual([], self.ran(self.store(), context))

    def test_min_holds_the_result_only(self):
        """L04: mode=min has the steps of the result; those of other stages run again."""
        context, folder, _ = self.exported("mode=min")
        _, whole, _ = self.exported("mode=max", context=context)
        count = lambda f: len(os.listdir(f + "/blobs/sha256"))
        self.assertLess(count(folder), count(whole))
        ran = self.ran(self.store(), context, "--cache-from", f"type=local,src={folder}")
        self.assertIn("RUN echo tool > /tool", ran)
        self.assertNotIn("WORKDIR /app", ran)

    def test_only_what_changed_runs(self):
        """L04: other sources run their own step and what follows from it; the rest comes from the cache."""
        context, folder, _ = self.exported("mode=max")
        with open(context + "/src/b", "w", encoding="ascii") as f:
            f.write("changed\n")
        ran = self.ran(self.store(), context, "--cache-from", f"type=local,src={folder}")
        self.assertIn("COPY src /src/", ran)
        self.assertNotIn("RUN echo tool > /tool", ran)

    def test_layout_is_oci(self):
        """L04: the directory is an OCI layout whose blobs are what their names say."""
        _, folder, _ = self.exported("mode=max")
        for path in glob.glob(folder + "/blobs/sha256/*"):
            out = subprocess.run(["sha256sum", path], stdout=subprocess.PIPE, check=True).stdout.decode()
            self.assertEqual(os.path.basename(path), out.split()[0])
        with open(folder + "/index.json", encoding="utf-8") as f:
            for descriptor in json.load(f)["manifests"]:
                with open(f"{folder}/blobs/sha256/{descriptor['digest'][7:]}", encoding="utf-8") as m:
                    manifest = json.load(m)
                self.assertEqual(2, manifest["schemaVersion"])
                self.assertEqual(1, len(manifest["layers"]))

    def test_damage_is_a_warning(self):
        """L04: whatever is wrong in the directory, the build says so and makes the step itself."""
        context, folder, image = self.exported("mode=max")
        args = ("--cache-from", f"type=local,src={folder}", "-t", "app")

        def outcome():
            kasane = self.store()
            done = kasane.build(context, *args)
            kasane.build(context)
            return done.err
        blobs = sorted(glob.glob(folder + "/blobs/sha256/*"), key=os.path.getsize)
        for path in blobs:
            with open(path, "r+b") as f:
                f.seek(os.path.getsize(path) // 2)
                f.write(b"\x55\xaa")
        self.assertIn("cannot be used", outcome())
        for path in blobs:
            os.truncate(path, os.path.getsize(path) // 2)
        self.assertIn("cannot be used", outcome())
        for path in blobs:
            os.unlink(path)
        self.assertIn("cannot be used", outcome())
        for text in ("", "nonsense", "[]", '{"manifests": 5}', '{"manifests": [1, {}, {"annotations": 3}]}'):
            with open(folder + "/index.json", "w", encoding="ascii") as f:
                f.write(text)
            outcome()
        os.unlink(folder + "/index.json")
        self.assertIn("is not there", outcome())

    def test_a_forged_layer_is_not_taken(self):
        """L04: a layer that is not what the step's record says does not get in."""
        context, folder, _ = self.exported("mode=max")
        with open(folder + "/index.json", encoding="utf-8") as f:
            index = json.load(f)
        first, second = index["manifests"][:2]
        first["annotations"], second["annotations"] = second["annotations"], first["annotations"]
        with open(folder + "/index.json", "w", encoding="utf-8") as f:
            json.dump(index, f)
        outcome = self.store().build(context, "--cache-from", f"type=local,src={folder}")
        self.assertIn("of another step", outcome.err)

    def test_reset(self):
        """L04: exports add up; reset=true drops what this build did not use."""
        kasane = self.store()
        context, folder, _ = self.exported("mode=max", kasane=kasane)
        other = self.context("FROM busybox\nRUN echo other > /other\n")
        names = lambda: set(os.listdir(folder + "/blobs/sha256"))
        first = names()
        kasane.build(other, "--cache-to", f"type=local,dest={folder},mode=max")
        self.assertTrue(first < names())
        both = self.store()
        self.assertEqual([], self.ran(both, context, "--cache-from", f"type=local,src={folder}"))
        self.assertEqual([], self.ran(both, other, "--cache-from", f"type=local,src={folder}"))
        kasane.build(other, "--cache-to", f"type=local,dest={folder},mode=max,reset=true")
        self.assertEqual(3, len(names()))
        self.assertEqual([], self.ran(self.store(), other, "--cache-from", f"type=local,src={folder}"))
        self.assertFalse([n for n in names() if n.startswith(".tmp")])

    def test_export_errors(self):
        """L04: a directory that cannot be written fails the build unless ignore-error is given."""
        kasane, context = self.store(), self.context("FROM busybox\nRUN true\n")
        with open(self.path("file"), "w", encoding="ascii"):
            pass
        outcome = kasane.build(context, "--cache-to", f"type=local,dest={self.path('file')}", check=False)
        self.assertNotEqual(0, outcome.code)
        outcome = kasane.build(context, "--cache-to", f"type=local,dest={self.path('file')},ignore-error=true")
        self.assertIn("was not exported", outcome.err)
        for bad, words in (("type=s3,bucket=x", "is not supported"), ("type=local", "no dest"),
                           ("type=local,dest=x,mode=mid", "mode=min or mode=max")):
            outcome = kasane.build(context, "--cache-to", bad, check=False)
            self.assertNotEqual(0, outcome.code)
            self.assertIn(words, outcome.err)
        outcome = kasane.build(context, "--cache-from", "type=gha", check=False)
        self.assertNotEqual(0, outcome.code)
        other = self.context("FROM busybox\nRUN echo other\n")  # a step that no cache has yet
        self.assertIn("127.0.0.1:1/no-such-image", kasane.build(other, "--cache-from", "127.0.0.1:1/no-such-image").err)

    def test_inline(self):
        """Q08, L04: type=inline and BUILDKIT_INLINE_CACHE: an image brings the cache of its own steps."""
        for args in (("--cache-to", "type=inline"), ("--build-arg", "BUILDKIT_INLINE_CACHE=1")):
            with self.subTest(args):
                context = self.context("FROM busybox\nRUN echo 1 > /one\nLABEL a=b\nCOPY src /src/\nRUN cat /one > /two\n")
                first = self.store()
                image = first.build_id(context, "-t", "app:1", *args)
                first("save", "-o", self.path("app.tar"), "app:1")
                fresh = self.store()
                fresh("load", "-i", self.path("app.tar"))
                # Not by itself: an image that was loaded is no cache.
                self.assertEqual(3, len(self.ran(self.store(), context)))
                self.assertEqual([], self.ran(fresh, context, "--cache-from", "app:1", "-t", "again", *args))
                self.assertEqual(image, fresh.config("again")["Id"])
                other = self.store()
                other("load", "-i", self.path("app.tar"))
                with open(context + "/src/a", "w", encoding="ascii") as f:
                    f.write("new\n")
                self.assertEqual(["COPY src /src/", "RUN cat /one > /two"],
                                 self.ran(other, context, "--cache-from", "type=registry,ref=app:1"))

    def test_no_cache_filter(self):
        """L03: --no-cache-filter runs the named stages again, in any case; --no-cache all; mounts keep their data."""
        kasane = self.store()
        context = self.context("FROM busybox AS One\nRUN --mount=type=cache,target=/c echo x >> /c/n && cat /c/n > /one\n"
                               "FROM busybox AS two\nRUN echo 2 > /two\nFROM scratch\nCOPY --from=one /one /\n"
                               "COPY --from=two /two /\n")
        kasane.build(context)
        self.assertEqual([], self.ran(kasane, context))
        out = self.path("nocache")
        ran = self.ran(kasane, context, "--no-cache-filter", "ONE", "-o", out)
        self.assertTrue(ran and ran[0].startswith("RUN --mount"))
        self.assertNotIn("RUN echo 2 > /two", ran)
        with open(out + "/one", encoding="ascii") as f:
            self.assertEqual("x\nx\n", f.read())
        self.assertIn("RUN echo 2 > /two", self.ran(kasane, context, "--no-cache-filter", "nobody,two"))
        self.assertEqual(4, len(self.ran(kasane, context, "--no-cache")))
        self.assertEqual([], self.ran(kasane, context))

    def test_cache_mounts_of_builds(self):
        """L03: what RUN put into its cache mounts is listed, exported, imported elsewhere and pruned."""
        kasane = self.store()
        context = self.context("FROM busybox\nRUN --mount=type=cache,target=/root/.cache echo warm > /root/.cache/f\n"
                               "RUN --mount=type=cache,id=pkg,target=/p,uid=1000,mode=0700 echo p > /p/g\n")
        kasane.build(context)
        rows = [json.loads(line) for line in kasane("cache", "ls", "--format", "json").out.splitlines()]
        self.assertEqual({"/root/.cache", "pkg"}, {r["ID"] for r in rows})
        tar = self.path("mount.tar")
        kasane("cache", "export", "/root/.cache", tar)
        with tarfile.open(tar) as t:
            self.assertEqual(b"warm\n", t.extractfile([m for m in t if m.name.endswith("f")][0]).read())
        fresh = self.store()
        fresh("cache", "import", "/root/.cache", tar)
        reader = self.context("FROM busybox\nRUN --mount=type=cache,target=/root/.cache cat /root/.cache/f > /seen\n"
                              "FROM scratch\nCOPY --from=0 /seen /\n")
        out = self.path("mounts")
        fresh.build(reader, "-o", out)
        with open(out + "/seen", encoding="ascii") as f:
            self.assertEqual("warm\n", f.read())
        kasane("cache", "prune", "-f")
        self.assertEqual("", kasane("cache", "ls", "-q").out)
        self.assertNotEqual(0, kasane.build(reader, check=False).code)


if __name__ == "__main__":
    support.main()
