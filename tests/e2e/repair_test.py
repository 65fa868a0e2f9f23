#!/usr/bin/env python3
"""store check finds every damage, and store repair brings back what it can and drops exactly the rest.

KASANE_DAMAGES (30; 300 with KASANE_LONG=1) random damages, KASANE_SEED repeats a sequence.
"""

import json
import os
import random
import shutil
import sqlite3
import time

import registries
import registry_support
import support
from contexts import write_busybox_tar, write_tree
from support import run

DAMAGES = int(os.environ.get("KASANE_DAMAGES", "300" if support.LONG else "30"))
SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))
EPOCH = "1600000000"
DOCKERFILE = """FROM busybox
COPY src /src/
RUN rm -r /usr/lib/old && mkdir /new && echo made > /new/file
"""


def flip(path, rng):
    with open(path, "r+b") as f:
        size = os.fstat(f.fileno()).st_size
        at = rng.randrange(size)
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ (1 << rng.randrange(8))]))
    return f"bit of byte {at} of {size} flipped"


def cut(path, rng):
    size = os.path.getsize(path)
    to = rng.randrange(size)
    os.truncate(path, to)
    return f"truncated from {size} to {to}"


def remove(path, _):
    os.unlink(path)
    return "removed"


def overwrite(path, rng):
    with open(path, "r+b") as f:
        size = os.fstat(f.fileno()).st_size
        at = rng.randrange(max(1, size - 512))
        f.seek(at)
        f.write(bytes(rng.randrange(256) for _ in range(min(512, size - at))))
    return f"512 bytes from {at} of {size} overwritten"


@support.needs_root
@support.needs_busybox
class Repair(registry_support.RegistryTestCase):
    """A store with a pulled image (compressed and unpacked layers, a foreign tar), one that was only built here, and
    an image that shares layers with both."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"seed {SEED}, {DAMAGES} damages (KASANE_SEED, KASANE_DAMAGES)", flush=True)
        home = os.path.join(cls.work, "home")
        cls.registry = registries.serve(os.path.join(cls.work, "registry"))
        cls.addClassCleanup(cls.registry.stop)
        cls.context = write_tree(os.path.join(cls.work, "ctx"),
                                 {"Dockerfile": DOCKERFILE, **{f"src/{i}": f"{i}\n" * 500 for i in range(20)}})
        maker = support.Kasane(os.path.join(cls.work, "maker"), SOURCE_DATE_EPOCH=EPOCH, HOME=home)
        # GNU tar does not write what kasane would: the base layer needs its split file.
        folder = os.path.join(cls.work, "rootfs")
        os.mkdir(folder)
        run(["tar", "-xf", write_busybox_tar(os.path.join(cls.work, "root.tar")), "-C", folder])
        run(["tar", "--format=gnu", "-cf", os.path.join(cls.work, "gnu.tar"), "-C", folder, "."])
        maker.import_busybox(os.path.join(cls.work, "gnu.tar"))
        cls.name = f"{cls.registry.host}/team/app:1"
        cls.local = write_tree(os.path.join(cls.work, "local"), {
            "Dockerfile": f"FROM {cls.name}\nCOPY x /x\nRUN echo y > /y\n", "x": "x" * 5000})
        cls.pulled_id = maker.build_id(cls.context, "-t", cls.name)
        maker("push", "-q", cls.name)
        cls.store = os.path.join(cls.work, "pristine")
        kasane = support.Kasane(cls.store, SOURCE_DATE_EPOCH=EPOCH, HOME=home)
        kasane("pull", "-q", cls.name)
        cls.local_id = kasane.build_id(cls.local, "-t", "local:1")
        kasane("store", "sweep")
        cls.saved = {i: kasane("save", i).out.__hash__() for i in (cls.pulled_id, cls.local_id)}

    def copy(self):
        root = os.path.join(self.new_folder("s"), "store")
        run(["cp", "-a", self.store, root])
        return support.Kasane(root, SOURCE_DATE_EPOCH=EPOCH, HOME=self.home)

    def check(self, kasane):
        """Exit code of store check, its lines, and the same as JSON."""
        plain = kasane("store", "check", check=False)
        as_json = kasane("store", "check", "--format", "json", check=False)
        self.assertTrue(as_json.out, f"{plain}\n{as_json}")
        report = json.loads(as_json.out)
        lines = plain.out.splitlines()
        self.assertEqual(len(report["damaged"]), len(lines))
        self.assertEqual(1 if lines else 0, plain.code, plain)
        return lines

    def images(self, kasane):
        return {line.split()[0]: line.split()[1] for line in
                kasane("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").out.splitlines()}

    def repair(self, kasane, what):
        outcome = kasane("store", "repair", check=False)
        self.assertEqual(0, outcome.code, f"{what}: {outcome}")
        self.assertEqual([], self.check(kasane), what)
        return outcome.out.splitlines()

    def layers_of(self, image):
        return [d.split(":")[1] for d in
                support.Kasane(self.store).config(image)["RootFS"]["Layers"]]

    def assert_all_there(self, kasane, what):
        self.assertEqual({self.name: self.pulled_id, "local:1": self.local_id}, self.images(kasane), what)
        for image, saved in self.saved.items():
            self.assertEqual(saved, hash(kasane("save", image).out), what)

    def damaged_file(self, *parts):
        kasane = self.copy()
        return kasane, os.path.join(kasane.root, *parts)

    def test_sound(self):
        kasane = self.copy()
        self.assertEqual([], self.check(kasane))
        outcome = kasane("store", "repair")
        self.assertEqual(("", "nothing is damaged\n"), (outcome.out, outcome.err))
        self.assertEqual({"actions": [], "damaged": 0}, json.loads(kasane("store", "repair", "--format", "json").out))

    def test_config_and_manifest_are_fetched(self):
        manifest = json.loads(support.Kasane(self.store)("inspect", self.name).out)[0]["RepoDigests"][0].split(":")[-1]
        for digest in (self.pulled_id.split(":")[1], manifest):
            kasane, path = self.damaged_file("blobs", "sha256", digest)
            flip(path, random.Random(SEED))
            self.assertTrue(any(f"blob sha256:{digest}" in line for line in self.check(kasane)))
            lines = self.repair(kasane, digest)
            self.assertEqual(1, len(lines), lines)
            self.assertIn(f"fetched blob sha256:{digest}: from {self.registry.host}/team/app", lines[0])
            self.assert_all_there(kasane, digest)

    def test_layer_is_made_again_from_its_compressed_form_or_fetched(self):
        layer = self.layers_of(self.name)[1]
        kasane, path = self.damaged_file("layers", layer, "blob")
        os.truncate(path, 5)
        for name in os.listdir(os.path.dirname(path)):
            if name == "tree":
                shutil.rmtree(os.path.join(os.path.dirname(path), name))
        lines = self.repair(kasane, "blob")
        self.assertRegex(lines[0], f"^rebuilt layer sha256:{layer}: from its compressed form")
        self.assert_all_there(kasane, "compressed")
        # Now without that: everything of the layer is gone.
        kasane = self.copy()
        shutil.rmtree(os.path.join(kasane.root, "layers", layer))
        for name in os.listdir(os.path.join(kasane.root, "blobs/sha256")):
            with open(os.path.join(kasane.root, "blobs/sha256", name), "rb") as f:
                if f.read(2) in (b"\x1f\x8b", b"\x28\xb5"):
                    os.unlink(f.name)
        self.assertRegex(self.check(kasane)[0], f"^layer sha256:{layer}: ")
        lines = self.repair(kasane, "layer")
        self.assertEqual(1, len(lines), lines)
        self.assertIn(f"fetched layer sha256:{layer}: from {self.registry.host}/team/app", lines[0])
        self.assert_all_there(kasane, "fetched")

    def test_what_nobody_has_is_dropped_with_what_needs_it(self):
        own = [layer for layer in self.layers_of("local:1") if layer not in self.layers_of(self.name)]
        kasane, path = self.damaged_file("layers", own[0])
        shutil.rmtree(path)
        lines = self.repair(kasane, "local")
        self.assertEqual({"dropped"}, {line.split()[0] for line in lines})
        self.assertTrue(any(line.startswith(f"dropped image {self.local_id} (local:1): layer sha256:{own[0]} is damaged")
                            and "no registry is known to have it" in line for line in lines), lines)
        self.assertTrue(any(line.startswith(f"dropped layer sha256:{own[0]}: ") for line in lines), lines)
        self.assertEqual({self.name: self.pulled_id}, self.images(kasane))
        # Its steps are forgotten, the others are not.
        self.assertEqual(self.local_id, kasane.build_id(self.local, "-t", "local:1"))
        self.assert_all_there(kasane, "built again")

    def test_registry_that_does_not_answer(self):
        kasane, path = self.damaged_file("blobs", "sha256", self.pulled_id.split(":")[1])
        os.unlink(path)
        database = sqlite3.connect(os.path.join(kasane.root, "kasane.db"))
        with database:
            for (reference,) in database.execute("SELECT reference FROM digests").fetchall():
                database.execute("UPDATE digests SET reference = ?, repository = ?",
                                 ("127.0.0.1:1/team/app@" + reference.split("@")[1], "127.0.0.1:1/team/app"))
        database.close()
        lines = self.repair(kasane, "no registry")
        self.assertEqual(1, len(lines), lines)
        self.assertIn("could not be fetched: ", lines[0])
        self.assertEqual({"local:1": self.local_id}, self.images(kasane))

    def test_rows(self):
        for sql, kind in (("UPDATE images SET architecture = 'vax'", "image"),
                          ("UPDATE images SET size_bytes = size_bytes + 1", "image"),
                          ("DELETE FROM image_layers WHERE position = 0", "image"),
                          ("UPDATE layers SET tar_size = 1", "layer"),
                          ("DELETE FROM layers", "image"),
                          ("UPDATE image_blobs SET size = size + 1 WHERE role < 2", "blob"),
                          ("DELETE FROM images WHERE id = (SELECT image_id FROM digests)", "tag"),
                          ("INSERT INTO tags SELECT 'Bad Name', repository, image_id, 0 FROM digests", "tag"),
                          ("UPDATE digests SET repository = 'other'", "tag")):
            kasane = self.copy()
            database = sqlite3.connect(os.path.join(kasane.root, "kasane.db"))
            with database:
                database.execute(sql)
            database.close()
            lines = self.check(kasane)
            self.assertTrue(any(line.startswith(kind + " ") for line in lines), (sql, lines))
            self.repair(kasane, sql)
            if kind not in ("tag",):
                self.assert_all_there(kasane, sql)

    def test_small_files(self):
        kasane = self.copy()
        kasane.build(write_tree(self.new_folder("c"), {"Dockerfile": f"FROM {self.name}\nRUN --mount=type=cache,target=/c "
                                                                     "echo > /c/x; echo\n"}))
        builds = os.path.join(kasane.root, "builds")
        record = max(b for b in os.listdir(builds) if os.path.exists(os.path.join(builds, b, "record.json")))
        mount = os.listdir(os.path.join(kasane.root, "mounts"))[0]
        for path in (os.path.join(builds, record, "record.json"), os.path.join(kasane.root, "mounts", mount, "meta.json")):
            os.truncate(path, 9)
        self.assertEqual(["build record " + record, "cache mount " + mount],
                         [line.split(":")[0] for line in self.check(kasane)])
        lines = self.repair(kasane, "small files")
        self.assertEqual(["dropped build record " + record, "dropped cache mount " + mount],
                         [line.split(":")[0] for line in lines])

    def test_database_is_made_again(self):
        def garbage(path):
            with open(path, "r+b") as f:
                f.write(b"no database at all" * 300)
        for what, damage in (("removed", os.unlink), ("empty", lambda path: os.truncate(path, 0)), ("garbage", garbage)):
            kasane, path = self.damaged_file("kasane.db")
            damage(path)
            lines = self.check(kasane)
            self.assertEqual(1, len(lines), what)
            self.assertTrue(lines[0].startswith("database kasane.db: "), lines)
            # Nothing takes the store for an empty one meanwhile.
            self.assertNotEqual(0, kasane("store", "sweep", check=False).code, what)
            lines = self.repair(kasane, what)
            self.assertTrue(lines[0].startswith("rebuilt database kasane.db: "), lines)
            # The images are there, by their ids; their names were in the database only.
            for image, saved in self.saved.items():
                self.assertEqual(saved, hash(kasane("save", image).out), what)

    def test_database_with_a_damaged_page_keeps_what_can_be_read(self):
        kasane, path = self.damaged_file("kasane.db")
        database = sqlite3.connect(path)
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'steps'").fetchone()
        (page,) = database.execute("PRAGMA page_size").fetchone()
        database.close()
        with open(path, "r+b") as f:
            f.seek((root - 1) * page)
            f.write(b"\xff" * page)
        self.assertTrue(self.check(kasane)[0].startswith("database kasane.db: "))
        self.repair(kasane, "page of steps")
        self.assert_all_there(kasane, "page of steps")

    def damageable(self, root):
        """Every file that means something, but what is a copy of use only."""
        for where, folders, files in os.walk(root):
            if where == root:
                folders[:] = [f for f in folders if f in ("blobs", "layers", "builds")]
                files = ["kasane.db"]
            for name in files:
                path = os.path.join(where, name)
                below = os.path.relpath(path, root)
                if os.path.islink(path) or os.path.getsize(path) == 0:
                    continue
                if below.startswith("builds/") and name != "record.json":
                    continue  # logs and locks promise nothing
                yield below

    def is_missed(self, kasane, below, what):
        """Whether a damage that store check did not find is one."""
        if what == "removed":
            # A compressed layer may be missing; so may the record of a build.
            if below.startswith("builds/"):
                return False
            # So may one of the two bodies of a layer.
            if below.endswith("/blob") and os.path.isdir(os.path.join(kasane.root, os.path.dirname(below), "tree")):
                return False
            with open(os.path.join(self.store, below), "rb") as f:
                return f.read(2) not in (b"\x1f\x8b", b"\x28\xb5")
        if below.startswith("builds/"):
            return os.path.getsize(os.path.join(kasane.root, below)) != 0 and "flipped" not in what
        if below != "kasane.db":
            return True
        # A bit that means nothing (free space), or that only says when something was used or how a step was explained.
        dumps = []
        for root in (self.store, kasane.root):
            database = sqlite3.connect(os.path.join(root, "kasane.db"))
            dumps.append([database.execute(sql).fetchall() for sql in (
                "SELECT id, created_ns, size_bytes, architecture, os, variant, labels FROM images",
                "SELECT * FROM image_layers", "SELECT image_id, digest, role FROM image_blobs",
                "SELECT reference, image_id FROM tags", "SELECT reference, image_id FROM digests",
                "SELECT diff_id, content_id, tar_size, content_size, entry_count, canonical FROM layers",
                "SELECT key, diff_id FROM steps")])
            database.close()
        return dumps[0] != dumps[1]

    def test_random_damages(self):
        rng = random.Random(SEED)
        files = sorted(self.damageable(self.store))
        found = 0
        for number in range(DAMAGES):
            kasane = self.copy()
            below = "kasane.db" if number % 10 == 9 else rng.choice(files)
            damage = rng.choice((flip, flip, cut, remove, overwrite))
            what = damage(os.path.join(kasane.root, below), rng)
            text = f"seed {SEED}, damage {number}: {below} {what}"
            with self.subTest(text):
                lines = self.check(kasane)
                if not lines:
                    self.assertFalse(self.is_missed(kasane, below, what), f"{text}: not found")
                    continue
                found += 1
                lines = self.repair(kasane, text)
                images = self.images(kasane)
                if below != "kasane.db":
                    # What came from the registry is back; what was built here is whole or gone.
                    self.assertEqual(self.pulled_id, images.get(self.name), (text, lines))
                    self.assertEqual(self.saved[self.pulled_id], hash(kasane("save", self.pulled_id).out), text)
                    gone = "local:1" not in images
                    self.assertEqual(gone, any("dropped image" in line for line in lines), (text, lines))
                if "local:1" in images:
                    self.assertEqual(self.saved[self.local_id], hash(kasane("save", self.local_id).out), text)
            shutil.rmtree(os.path.dirname(kasane.root))
        print(f"{found} of {DAMAGES} damages were found; the others changed nothing that means something", flush=True)
        self.assertGreater(found, DAMAGES // 2)


if __name__ == "__main__":
    support.main()
