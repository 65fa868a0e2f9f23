#!/usr/bin/env python3
"""The same Dockerfile and context give the same image, byte for byte, wherever, whenever and by whomever they are built."""

import hashlib
import os
import subprocess
import time

import support
from contexts import D, F, H, L, make_tar, write_busybox_tar, write_tree
from imagetree import read_docker_archive
from support import Kasane

EPOCH = "1600000000"
NOW = 1700000000  # of the files: checked out after the commit that the epoch stands for (T07: older times are kept)
DOCKERFILE = """FROM busybox AS one
WORKDIR /made/by/workdir
COPY --chown=app src .
RUN mkdir -p /new/d && echo text > /new/d/f && ln /new/d/f /new/d/g && ln -s f /new/d/l && rm -r /usr/lib/old && touch /etc/passwd
FROM busybox
ARG V=1
ENV V=$V
COPY --from=one /new /new/
COPY . /ctx/
ADD files.tar /unpacked/
RUN echo $V > /v && chmod 700 /ctx && rm /etc/os-release
LABEL z=1 a=2
VOLUME /b /a
EXPOSE 9 8
USER app
CMD ["x"]
"""


def sources():
    return {"src/a": F("a\n", 0o755), "src/b": F("b\n", 0o640), "src/c": H("src/a"), "src/d/": D(0o2770),
         "src/l": L("a"),
            "files.tar": make_tar({"t/x": "x\n", "t/": D(0o711)}), "Dockerfile": DOCKERFILE}


@support.needs_root
@support.needs_busybox
class Reproducible(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # `import` writes the time of the import into the config: made once, loaded everywhere.
        first = Kasane(os.path.join(cls.work, "base-store"))
        first.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        cls.base = os.path.join(cls.work, "base.tar")
        first("save", "-o", cls.base, "busybox")

    def build(self, name, umask=0o022, epoch=EPOCH, shift=0):
        """Builds in a new folder with a new store; returns (image id, digest of save, kasane)."""
        folder = self.path(name)
        write_tree(folder, sources())
        for where, folders, files in os.walk(folder):
            for entry in folders + files:
                path = os.path.join(where, entry)
                os.utime(path, (NOW + shift, NOW + shift), follow_symlinks=False)
        kasane = Kasane(self.path(name + "-store"), **({"SOURCE_DATE_EPOCH": epoch} if epoch else {}))
        old = os.umask(umask)
        try:
            kasane("load", "-i", self.base)
            kasane.build(folder, "-t", "app:1")
            path = self.path(name + ".tar")
            kasane("save", "-o", path, "app:1")
        finally:
            os.umask(old)
        with open(path, "rb") as f:
            return kasane("images", "-q", "--no-trunc", "app").out.strip(), hashlib.sha256(f.read()).hexdigest(), kasane

    def test_two_folders_two_times_two_umasks(self):
        first = self.build("one", 0o022)
        time.sleep(1.1)
        second = self.build("two/deeper", 0o077, shift=1000)
        self.assertEqual(first[0], second[0])
        self.assertEqual(first[1], second[1])
        image = read_docker_archive(self.path("one.tar"))
        late = [p for p, n in image.tree.nodes.items() if n.mtime > int(EPOCH)]
        self.assertEqual([], late, "times after SOURCE_DATE_EPOCH")
        self.assertEqual("2020-09-13T12:26:40Z", image.config["created"])
        self.assertEqual({"2020-09-13T12:26:40Z"}, {h["created"] for h in image.config["history"][1:]})
        first[2].check_store(self)

    def test_no_cache_gives_the_same(self):
        image, _, kasane = self.build("again")
        self.assertEqual(image, kasane.build_id(self.path("again"), "--no-cache"))

    def test_through_a_relative_path_and_a_link(self):
        image, _, kasane = self.build("direct")
        os.symlink("direct", self.path("via"))
        self.assertEqual(image, kasane.build_id("via", cwd=self.work))
        self.assertEqual(image, kasane.build_id(".", cwd=self.path("direct")))

    def test_two_processes_at_once(self):
        """Two processes that build the same thing at once in one store."""
        image, _, kasane = self.build("shared")
        argv = [support.KASANE, "build", "-q", "--no-cache", self.path("shared")]
        both = [subprocess.Popen(argv, env=kasane.env, stdout=subprocess.PIPE,
             stderr=subprocess.PIPE) for _ in range(2)]
        for process in both:
            out, err = process.communicate(timeout=300)
            self.assertEqual(0, process.returncode, err)
            self.assertEqual(image, out.decode().strip())
        kasane.check_store(self)

    def test_without_epoch_files_keep_their_times(self):
        """K16: without an epoch the times of copied files are the files' own."""
        self.build("free", epoch=None)
        tree = read_docker_archive(self.path("free.tar")).tree
        self.assertEqual(NOW, tree["/ctx/src/a"].mtime)

    def test_bad_epoch_is_refused(self):
        kasane = Kasane(self.path("bad-store"), SOURCE_DATE_EPOCH="tomorrow")
        folder = write_tree(self.path("bad"), {"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "a\n"})
        outcome = kasane.build(folder, check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("SOURCE_DATE_EPOCH", outcome.err)


if __name__ == "__main__":
    support.main()
