#!/usr/bin/env python3
"""The three ways to make a step's file system (overlayfs, fuse-overlayfs, copy) make byte for byte the same layers,
as root and as a plain user with and without a range of subordinate ids."""

import io
import os
import shutil
import tarfile

import support
from contexts import D, F, H, L, make_tar
from rootless_support import EPOCH, PlainUser, RootlessCase
from support import Kasane, needs, run

STORAGES = {"overlay": "overlayfs", "fuse-overlayfs": "fuse-overlayfs", "copy": "copy"}
# One RUN per kind of change, so that every layer is compared by itself.
STEPS = """ADD files.tar /
RUN rm /t/deleted && rm -r /t/gone
RUN rm -r /t/dir && echo file > /t/dir
RUN rm -r /t/opaque && mkdir /t/opaque && echo new > /t/opaque/new
RUN rm /t/file && mkdir /t/file && echo in > /t/file/in
RUN chmod 0600 /t/mode && chmod 2750 /t/modedir && touch -d @1234567 /t/time
RUN ln /t/linked /t/another && ln /t/sub/a /t/sub/z && ln -s linked /t/symlink
RUN echo more >> /t/hard1 && chmod 0640 /t/sub/hard3
RUN mv /t/old /t/renamed && mv /t/move /t/moved
RUN dd if=/dev/zero of=/t/large bs=1M count=20 && echo x >> /t/big
RUN mkdir -p /t/new/a/b && mkfifo /t/new/fifo && touch /t/new/a/b/c && : > /t/new/empty
RUN touch /t/gone-again && rm /t/gone-again && mkdir /t/d && rmdir /t/d && true
RUN mkdir /t/sub/x && rm -r /t/sub/x && touch -d @77 /t/sub
RUN chmod 0600 /t/attributes && /bin/setfattr -n user.made -v 1 /t/other && /bin/setfattr -n user.dir -v 2 /t/sub
RUN --mount=type=bind,target=/ctx --mount=type=cache,target=/c cat /ctx/Dockerfile > /t/copied && echo > /c/x
RUN --mount=type=bind,from=BASE,source=/etc,target=/deep/er,rw rm /deep/er/os-release && echo y > /deep/er/y
RUN rm -r /usr/lib/old && mkdir -p /usr/lib/old/sub && echo b > /usr/lib/old/sub/b
RUN true
WORKDIR /w/x
RUN echo here > f && cd / && rmdir /emptied
"""
OWNERS = """RUN chown -R 77:88 /t/owned && chown 5 /t/sub/a && chown -h 6:7 /t/symlink
RUN mkdir -m 0711 /t/mine && touch /t/mine/f && chown -R 1000:2000 /t/mine && rm -r /t/foreign
USER 1000:2000
RUN echo u > /t/mine/g && rm /t/mine/f
"""
# The image that has no /dev, and links where the sandbox mounts.
BARE = """FROM scratch
ADD bare.tar /
RUN ["/bin/sh", "-c", "echo x > /x"]
RUN ["/bin/sh", "-c", "/bin/busybox ls -l /dev/null && echo y > /y"]
"""


def base_files(owners):
    foreign = (1000, 2000) if owners else ()
    return {"t/": D(0o777), "t/deleted": F("d\n"), "t/gone/": D(), "t/gone/x": F("x\n"), "t/dir/": D(),
            "t/dir/y": F("y\n"), "t/opaque/": D(), "t/opaque/old": F("o\n"), "t/opaque/deeper/": D(),
            "t/opaque/deeper/z": F("z\n"), "t/file": F("f\n"), "t/mode": F("m\n", 0o644), "t/modedir/": D(),
            "t/time": F("t\n"), "t/linked": F("l\n"), "t/hard1": F("h\n"), "t/hard2": H("t/hard1"), "t/sub/": D(),
            "t/sub/hard3": H("t/hard1"), "t/sub/a": F("a\n"), "t/old": F("old\n"), "t/move/": D(),
            "t/move/in": F("in\n"), "t/big": F("b" * 300000), "t/owned/": D(), "t/owned/a": F("a\n"),
            "t/owned/l": L("a"), "t/foreign/": D(0o755, *foreign), "t/foreign/f": F("f\n", 0o4755, *foreign),
            "t/attributes": F("x\n", xattrs={"user.kept": b"yes"}), "t/other": F("o\n"), "emptied/": D()}


def with_libraries(program):
    """A dynamic program of this host and what it needs to run, as tar entries."""
    paths = [os.path.realpath(shutil.which(program))]
    names = {paths[0]: f"bin/{program}"}
    for line in run(["ldd", paths[0]]).out.splitlines():
        for word in line.split():
            if word.startswith("/"):
                names[word] = word.lstrip("/")
    spec = {}
    for path, name in names.items():
        with open(path, "rb") as f:
            spec[name] = F(f.read(), 0o755)
    return spec


def members(layer):
    """What a layer says, for the message of a difference."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {m.name: (m.type, oct(m.mode), m.uid, m.gid, m.size, m.mtime, m.linkname,
                         {k: v for k, v in m.pax_headers.items() if "xattr" in k}) for m in tar}


@support.needs_root
@support.needs_busybox
@needs("fuse-overlayfs", "setfattr", "ldd")
class Storages(RootlessCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # A device that a plain user may open: on usual hosts udev sets its mode.
        cls.fuse = os.path.join(cls.work, "fuse")
        os.mknod(cls.fuse, 0o020666, os.makedev(10, 229))
        os.chmod(cls.fuse, 0o666)

    def setUp(self):
        if not os.path.exists("/dev/fuse"):
            self.skipTest("there is no /dev/fuse")
        if not support.xattrs_work(self.work):
            self.skipTest("no extended attributes here")

    def compare(self, make_kasane, dockerfile, sources):
        """Builds in every storage, each with a store of its own."""
        context = self.context(dockerfile, sources)
        layers = {}
        for storage, driver in STORAGES.items():
            home, kasane = make_kasane(storage)
            self.assertIn(driver, kasane("info", "--format", "{{.Driver}}").out)
            kasane.build(context, "-t", "made")
            image = self.saved(kasane, home, "made")
            layers[storage] = [(i, layer) for i, layer in zip(image.config["rootfs"]["diff_ids"], image.layers)]
            kasane.check_store(self)
            self.assertEqual([], [f for f in os.listdir(os.path.join(home, "store", "ingest"))])
        wanted = layers["overlay"]
        for storage in ("fuse-overlayfs", "copy"):
            for number, (mine, overlay) in enumerate(zip(layers[storage], wanted)):
                self.assertEqual(members(overlay[1]), members(mine[1]), f"{storage}, layer {number}")
                self.assertEqual(overlay[0], mine[0], f"{storage}, layer {number}")
            self.assertEqual(len(wanted), len(layers[storage]))

    def sources(self, owners):
        return {"files.tar": make_tar({**base_files(owners), **with_libraries("setfattr")}),
                "bare.tar": make_tar(self.bare())}

    def bare(self):
        with open(support.static_busybox(), "rb") as f:
            busybox = f.read()
        return {"bin/": D(), "bin/busybox": F(busybox, 0o755), "bin/sh": L("busybox"), "dev": L("/nowhere"),
                "proc": F("a file\n"), "z/": D(), "z/etc/": D(), "etc": L("/z/etc")}

    def root(self, storage):
        home = self.new_folder("home")
        kasane = Kasane(os.path.join(home, "store"), SOURCE_DATE_EPOCH=EPOCH, KASANE_STORAGE=storage)
        kasane("load", "-i", self.base)
        return home, kasane

    def user(self, storage, with_range=True):
        home = self.home()
        options = self.user_with_range(home) if with_range else []
        kasane = PlainUser(os.path.join(home, "store"), "--bind", self.fuse, "/dev/fuse", *options,
                           SOURCE_DATE_EPOCH=EPOCH, KASANE_STORAGE=storage, HOME=home)
        kasane("load", "-i", self.base)
        return home, kasane

    def test_root(self):
        self.compare(self.root, "FROM busybox\n" + STEPS.replace("BASE", "busybox") + OWNERS, self.sources(True))

    def test_root_in_an_image_without_mount_points(self):
        self.compare(self.root, BARE, self.sources(True))

    @needs("newuidmap", "newgidmap")
    def test_plain_user_with_a_range(self):
        self.need_user_namespaces()
        self.compare(self.user, "FROM busybox\n" + STEPS.replace("BASE", "busybox") + OWNERS, self.sources(True))

    @needs("newuidmap", "newgidmap")
    def test_plain_user_in_an_image_without_mount_points(self):
        self.need_user_namespaces()
        self.compare(self.user, BARE, self.sources(True))

    def test_plain_user_with_one_id(self):
        self.need_user_namespaces()
        # Everything belongs to root: the image is made here.
        with open(support.static_busybox(), "rb") as f:
            busybox = f.read()
        applets = run([support.static_busybox(), "--list"]).out.split()
        spec = {"bin/": D(), "bin/busybox": F(busybox, 0o755), "etc/": D(), "etc/os-release": F("x\n"),
                "usr/": D(), "usr/lib/": D(), "usr/lib/old/": D(), "usr/lib/old/a": F("a\n"), "tmp/": D(0o1777)}
        spec.update({f"bin/{a}": L("busybox") for a in sorted(applets) if a != "busybox"})
        dockerfile = "FROM scratch AS base\nADD base.tar /\nFROM base\n" + STEPS.replace("BASE", "base")
        self.compare(lambda storage: self.user(storage, False), dockerfile,
                     {**self.sources(False), "base.tar": make_tar(spec)})

    def test_unknown_storage_is_refused(self):
        _, kasane = self.root("tar")
        outcome = kasane.build(self.context("FROM busybox\nRUN true\n", {}), check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("KASANE_STORAGE=tar", outcome.err)
        self.assertIn("overlay, fuse-overlayfs or copy", outcome.err)

    @needs("newuidmap", "newgidmap")
    def test_fuse_overlayfs_ends_with_its_step(self):
        """A step that is killed leaves no daemon and no mount; one that hangs on is ended with its file system."""
        self.need_user_namespaces()
        home, kasane = self.user("fuse-overlayfs")
        context = self.context("FROM busybox\nRUN (sleep 1000 &) ; kill -9 -1; sleep 1000 & exit 3\n", {})
        self.assertNotEqual(0, kasane.build(context, check=False).code)
        self.assertEqual({}, support.processes_naming(os.path.join(home, "store")))
        self.assertEqual([], support.mounts_below(home))

    @needs("newuidmap", "newgidmap")
    def test_a_failed_step_can_be_entered(self):
        self.need_user_namespaces()
        for storage in STORAGES:
            home, kasane = self.user(storage)
            context = self.context("FROM busybox\nRUN echo made > /made && chown 77:88 /made && rm -r /usr/lib/old && exit 3\n",
                                   {})
            self.assertIn("exit code: 3", kasane.build(context, check=False).err)
            for _ in range(2):
                self.assertEqual("77 88\nmade\ngone\n", kasane("debug", "--", "sh", "-c",
                    "stat -c '%u %g' /made; cat /made; ls /usr/lib/old 2> /dev/null || echo gone").out, storage)


if __name__ == "__main__":
    support.main()
