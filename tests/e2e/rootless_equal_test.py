#!/usr/bin/env python3
"""A plain user gets what root gets, or is told exactly what is missing: owners, refusals, hints, networks, the probe.

With KASANE_LONG=1 the curl image of docker-library/buildpack-deps and examples/node-app are built both ways too (needs
a network)."""

import json
import os
import re
import shutil
import unittest

import support
from contexts import D, F, L, make_tar
from rootless_support import EPOCH, PlainUser, RootlessCase
from storage_test import members, with_libraries
from support import Kasane, needs, run

# What package managers and application images do to owners, with busybox alone.
APP = """FROM busybox AS builder
WORKDIR /app
COPY package.json .
RUN echo node:x:100:101::/app:/bin/sh >> /etc/passwd && echo node:x:101: >> /etc/group && mkdir -p node_modules/a && \\
    echo m > node_modules/a/index.js && chown -R node:node node_modules && chmod 2775 node_modules
COPY --chown=100:101 src src
RUN tar -xpf /app/src/owned.tar -C / && rm /app/src/owned.tar && chmod u+s /owned/suid
USER node
RUN mkdir node_modules/b && id -u > node_modules/b/who && umask 027 && echo x > node_modules/b/private
USER root
RUN mkdir -m 1730 /var/spool && chown 100:42 /var/spool && chown -h 7:8 /owned/link && chgrp 42 /etc/group && \\
    rm /owned/gone && mkdir -p /var/cache/apt/partial && chown 105:65534 /var/cache/apt/partial
FROM busybox
COPY --from=builder /app/node_modules /app/node_modules
COPY --from=builder /owned /owned
COPY --from=builder /etc /etc
USER node
RUN echo done > /app/node_modules/b/done
"""
LONG_TIME = 7200
CURL = """FROM debian:bookworm
RUN set -eux; apt-get update; apt-get install -y --no-install-recommends ca-certificates curl gnupg netbase sq wget \\
    tzdata; rm -rf /var/lib/apt/lists/*
"""


def sources():
    owned = make_tar({"owned/": D(0o750, 3, 4), "owned/suid": F("s\n", 0o755, 5, 6), "owned/gone": F("g\n", 0o600, 9, 9),
                      "owned/link": L("suid"), "owned/mail": F("m\n", 0o660, 8, 12)})
    return {"package.json": "{}\n", "src/index.js": "x\n", "src/owned.tar": owned}


def only_root():
    """A root file system in which everything belongs to root: single-uid mode can unpack it."""
    with open(support.static_busybox(), "rb") as f:
        busybox = f.read()
    spec = {"bin/": D(), "bin/busybox": F(busybox, 0o755), "etc/": D(), "tmp/": D(0o1777), "dev/": D(), "proc/": D(),
            "sys/": D(), "etc/passwd": F("root:x:0:0::/:/bin/sh\nnode:x:100:101::/:/bin/sh\n")}
    for name in run([support.static_busybox(), "--list"]).out.split():
        if name != "busybox":
            spec[f"bin/{name}"] = L("busybox")
    return spec


@support.needs_root
@support.needs_busybox
class RootlessEqual(RootlessCase):

    def plain(self, home, *options, **env):
        return PlainUser(os.path.join(home, "store"), *options, SOURCE_DATE_EPOCH=EPOCH, HOME=home, **env)

    # Equal layers

    @needs("newuidmap", "newgidmap")
    def test_layers_equal_those_of_root(self):
        self.need_user_namespaces()
        context = self.context(APP, sources())
        home = self.home()
        kasane = self.plain(home, *self.user_with_range(home))
        kasane("load", "-i", self.base)
        kasane.build(context, "-t", "app")
        mine = self.saved(kasane, home, "app")
        self.as_root.build(context, "-t", "app")
        theirs = self.saved(self.as_root, self.new_folder("out"), "app")
        self.assertEqual(len(theirs.layers), len(mine.layers))
        for number, (root_layer, layer) in enumerate(zip(theirs.layers, mine.layers)):
            self.assertEqual(members(root_layer), members(layer), f"layer {number}")
        self.assertEqual(theirs.config["rootfs"], mine.config["rootfs"])
        owners = {p: (mine.tree[p].uid, mine.tree[p].gid, oct(mine.tree[p].mode)) for p in
                  ("/owned/suid", "/owned/link", "/app/node_modules/b/private", "/etc/group")}
        self.assertEqual({"/owned/suid": (5, 6, "0o4755"), "/owned/link": (7, 8, "0o777"),
                          "/app/node_modules/b/private": (100, 101, "0o640"), "/etc/group": (0, 42, "0o644")}, owners)
        kasane.check_store(self)

    # Real images, in long runs

    def stand_ins(self, *names):
        """{name: arguments of import} of bases that are made here of Debian packages."""
        folder = self.new_folder("bases")
        outcome = run([os.path.join(support.SOURCE, "examples/bases/make.sh"), "--tar-only", "--out", folder, *names],
                      check=False, timeout=LONG_TIME)
        if outcome.code != 0:
            self.skipTest(f"no bases here: {outcome.err[-200:]}")
        found = {}
        for name in names:
            path = os.path.join(folder, name.replace(":", "_"))
            os.chmod(path + ".tar", 0o644)
            with open(path + ".json", encoding="utf-8") as f:
                env = json.load(f).get("Env") or []
            found[name] = [*(word for line in env for word in ("--change", "ENV " + line)), path + ".tar", name]
        return found

    def node_app(self):
        """A copy of the example that the plain user may read."""
        folder = self.new_folder("node-app")
        shutil.copytree(os.path.join(support.SOURCE, "examples/node-app"), folder, dirs_exist_ok=True)
        return folder

    def assert_equal_to_that_of_root(self, context, bases, wanted):
        """Owners, modes and kinds file by file, layer by layer; contents may carry times (logs, caches of apt)."""
        self.need_user_namespaces()
        home = self.home()
        listings = []
        for kasane, out in ((self.plain(home, *self.user_with_range(home)), home),
                            (Kasane(self.path("big"), SOURCE_DATE_EPOCH=EPOCH), self.new_folder("out"))):
            for arguments in bases.values():
                kasane("import", *arguments, timeout=LONG_TIME)
            kasane.build(context, "-t", "image", timeout=LONG_TIME)
            image = self.saved(kasane, out, "image")
            self.assertIn(wanted, image.tree)
            listings.append({path: (n.type, n.uid, n.gid, oct(n.mode), n.target, n.xattrs)
                             for path, n in image.tree.nodes.items()})
        self.assertEqual(listings[1], listings[0])

    @unittest.skipUnless(support.LONG, "KASANE_LONG is not set")
    @needs("newuidmap", "newgidmap", "mmdebstrap")
    def test_buildpack_deps_curl_equals_that_of_root(self):
        self.assert_equal_to_that_of_root(self.context(CURL, {}), self.stand_ins("debian:bookworm"), "/usr/bin/curl")

    @unittest.skipUnless(support.LONG, "KASANE_LONG is not set")
    @needs("newuidmap", "newgidmap", "mmdebstrap", "npm")
    def test_node_app_equals_that_of_root(self):
        self.assert_equal_to_that_of_root(self.node_app(), self.stand_ins("node:20", "node:20-slim"), "/app/dist/main.js")

    @unittest.skipUnless(support.LONG, "KASANE_LONG is not set")
    @needs("mmdebstrap", "npm")
    def test_node_app_with_one_id(self):
        """Its bases hold files of several owners, which one id cannot make: it says so, and what to install."""
        self.need_user_namespaces()
        kasane = self.plain(self.home())
        for arguments in self.stand_ins("node:20", "node:20-slim").values():
            kasane("import", *arguments, timeout=LONG_TIME)
        outcome = kasane.build(self.node_app(), "-t", "image", check=False, timeout=LONG_TIME)
        if outcome.code != 0:
            self.assert_says_how_to_get_ids(outcome)

    # One id

    def one_id(self, run_line, base=None, user=""):
        home = self.home()
        kasane = self.plain(home)
        context = self.context(f"FROM scratch\nADD base.tar /\n{user}RUN {run_line}\n",
                               {"base.tar": make_tar(base or only_root())})
        return kasane.build(context, check=False)

    def assert_says_how_to_get_ids(self, outcome):
        self.assertNotEqual(0, outcome.code)
        for text in ("/etc/subuid", "/etc/subgid", "54321:100000:65536"):
            self.assertIn(text, outcome.err)

    def test_one_id_says_why_a_step_fails(self):
        self.need_user_namespaces()
        self.assertEqual(0, self.one_id("mkdir /d && id -u > /id && chown 0:0 /d").code)
        chown = self.one_id("touch /x && chown 100:101 /x")
        self.assert_says_how_to_get_ids(chown)
        self.assertIn("chown: /x: Invalid argument", chown.err.partition("hint")[2])
        self.assert_says_how_to_get_ids(self.one_id("echo 'E: setgroups 65534 failed - setgroups (1: Operation not permitted)'; exit 100"))
        self.assert_says_how_to_get_ids(self.one_id("id", user="USER node\n"))
        other = self.one_id("echo nothing of that kind; exit 5")
        self.assertNotIn("/etc/subuid", other.err)
        self.assertIn("exit code: 5", other.err)

    def test_one_id_and_an_image_of_several_owners(self):
        """It builds, or says what stops it."""
        self.need_user_namespaces()
        spec = {**only_root(), "home/": D(), "home/app/": D(0o750, 1000, 1000)}
        outcome = self.one_id("true", base=spec)
        if outcome.code != 0:
            self.assert_says_how_to_get_ids(outcome)

    # Nothing allowed

    def test_a_refusal_lists_what_info_lists(self):
        home = self.home()
        kasane = self.plain(home, "--no-userns")
        kasane("load", "-i", self.base)
        self.assertEqual(0, kasane.build(self.context("FROM busybox\nCOPY a /a\n", {"a": "a\n"})).code)
        info = json.loads(kasane("info", "--format", "json").out)
        self.assertEqual("none: RUN is not possible", info["Sandbox"])
        if run(["unshare", "-U", "true"], check=False).code != 0:
            self.skipTest("even root may make no user namespace here, so its limit is not the reason")
        refused = kasane.build(self.context("FROM busybox\nRUN true\n", {}), check=False)
        self.assertNotEqual(0, refused.code)
        for item in info["Missing"]:
            if not item.startswith(("private network", "limit of")):
                self.assertIn(item, refused.err)
        self.assertIn("sysctl -w user.max_user_namespaces=15000", refused.err)

    def test_inside_a_step_of_ours(self):
        """In an unprivileged container: COPY works, RUN is refused, and the container's filter is named."""
        home = self.new_folder("home")
        kasane = Kasane(os.path.join(home, "store"))
        script = """set -e
mkdir -p /ctx /store && echo a > /ctx/a && printf 'FROM scratch\\nCOPY a /a\\n' > /ctx/Dockerfile
/bin/kasane --root /store build /ctx && echo COPY-WORKS
printf 'FROM scratch\\nCOPY a /a\\nRUN ["/a"]\\n' > /ctx/Dockerfile
/bin/kasane --root /store info
/bin/kasane --root /store build /ctx || echo RUN-REFUSED
"""
        spec = {**only_root(), **with_libraries(support.KASANE), "script": F(script, 0o755)}
        spec["bin/kasane"] = spec.pop(f"bin/{support.KASANE}")
        context = self.context("FROM scratch\nADD base.tar /\nRUN /bin/sh /script\n", {"base.tar": make_tar(spec)})
        outcome = kasane.build(context)
        self.assertIn("COPY-WORKS", outcome.err)
        self.assertIn("RUN-REFUSED", outcome.err)
        self.assertIn("none: RUN is not possible", outcome.err)
        self.assertIn("seccomp=unconfined", outcome.err)

    # The probe

    @needs("strace", "newuidmap", "newgidmap")
    def test_the_probe_is_made_once(self):
        self.need_user_namespaces()
        home = self.home()
        options = self.user_with_range(home)
        kasane = self.plain(home, *options)
        kasane("load", "-i", self.base)

        def probes(dockerfile, **env):
            trace = self.path(f"trace{os.urandom(4).hex()}")
            context = self.context(dockerfile, {})
            # A tracer takes the privilege of newuidmap away, so only the builder itself is followed.
            run(["strace", "-o", trace, "-e", "trace=mkdir", support.KASANE, "build", context],
                env={**root.env, **env})
            with open(trace, encoding="utf-8") as f:
                return len(set(re.findall(r"\.kasane-probe-\w+", f.read())))

        root = Kasane(os.path.join(self.new_folder("home"), "store"))
        root("load", "-i", self.base)
        self.assertEqual(1, probes("FROM busybox\nRUN echo 1\n"))
        self.assertEqual(0, probes("FROM busybox\nRUN echo 1\n"))  # all cached
        self.assertEqual(0, probes("FROM busybox\nRUN echo 2\n"))  # a step that runs
        self.assertEqual(1, probes("FROM busybox\nRUN echo 3\n", KASANE_STORAGE="copy"))
        # A plain user: the file is made once and used as long as the ids are the same.
        kept = os.path.join(home, "store", "sandbox.54321")
        kasane.build(self.context("FROM busybox\nRUN echo 1\n", {}))
        first = os.stat(kept)
        kasane.build(self.context("FROM busybox\nRUN echo 2\n", {}))
        self.assertEqual((first.st_ino, first.st_mtime_ns), (os.stat(kept).st_ino, os.stat(kept).st_mtime_ns))
        with open(kept, encoding="utf-8") as f:
            damaged = f.read()[:40]
        with open(kept, "w", encoding="utf-8") as f:
            f.write(damaged)
        kasane.build(self.context("FROM busybox\nRUN echo 3\n", {}))
        self.assertGreater(os.stat(kept).st_size, 40)

    def test_info_has_docker_names(self):
        kasane = Kasane(os.path.join(self.new_folder("home"), "store"))
        kasane("load", "-i", self.base)
        info = json.loads(kasane("info", "--format", "json").out)
        for name, kind in (("ServerVersion", str), ("DockerRootDir", str), ("Driver", str), ("Images", int),
                           ("MemoryLimit", bool), ("PidsLimit", bool), ("CgroupVersion", str), ("NCPU", int),
                           ("KernelVersion", str), ("OSType", str), ("Architecture", str), ("SecurityOptions", list),
                           ("Networks", list), ("Missing", list), ("Sandbox", str), ("SeccompProfile", str)):
            self.assertIsInstance(info[name], kind, name)
        self.assertEqual("true" if info["PidsLimit"] else "false",
                         kasane("info", "--format", "{{.PidsLimit}}").out.strip())


@support.needs_root
@support.needs_busybox
class Networks(RootlessCase):
    """--network private, pasta, slirp4netns: an own namespace with an address and a way out."""

    STEP = "FROM busybox\nRUN echo @ && readlink /proc/self/ns/net && ip -4 addr && ip route && cat /etc/resolv.conf\n"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tun = os.path.join(cls.work, "tun")  # as udev makes it on usual hosts
        os.mknod(cls.tun, 0o020666, os.makedev(10, 200))
        os.chmod(cls.tun, 0o666)

    def setUp(self):
        if not os.path.exists("/dev/net/tun"):
            self.skipTest("there is no /dev/net/tun")

    def output(self, kasane, network):
        return kasane.build(self.context(self.STEP, {}), "--no-cache", "--network", network).err.partition("@")[2]

    def check_private(self, kasane, network):
        text = self.output(kasane, network)
        self.assertNotIn(os.readlink("/proc/self/ns/net"), text)
        self.assertRegex(text, r"inet (?!127\.)\d+\.")
        self.assertIn("default via", text)
        self.assertRegex(text, r"nameserver (10\.0\.2\.3|169\.254\.1\.1)")
        left = run(["ps", "axo", "args"]).out
        self.assertNotRegex(left, r"(?m)^/\S*(pasta|slirp4netns) .*(--foreground|--configure)")

    @needs("slirp4netns")
    def test_slirp4netns_as_root(self):
        kasane = Kasane(os.path.join(self.new_folder("home"), "store"))
        kasane("load", "-i", self.base)
        self.check_private(kasane, "slirp4netns")
        self.check_private(kasane, "private")
        text = self.output(kasane, "none")
        self.assertNotIn("default via", text)
        self.assertIn(os.readlink("/proc/self/ns/net"), self.output(kasane, "host"))

    @needs("slirp4netns", "newuidmap", "newgidmap")
    def test_slirp4netns_as_a_plain_user(self):
        self.need_user_namespaces()
        self.check_private(self.user(), "slirp4netns")

    @needs("pasta", "newuidmap", "newgidmap")
    def test_pasta_as_a_plain_user(self):
        self.need_user_namespaces()
        kasane = self.user()
        self.check_private(kasane, "pasta")
        self.check_private(kasane, "private")

    def user(self):
        home = self.home()
        kasane = PlainUser(os.path.join(home, "store"), "--bind", self.tun, "/dev/net/tun",
                           *self.user_with_range(home), HOME=home)
        kasane("load", "-i", self.base)
        return kasane

    def test_a_helper_that_is_missing_is_named(self):
        self.need_user_namespaces()
        home = self.home()
        hidden = []
        for name in ("pasta", "slirp4netns"):
            if os.path.exists(f"/usr/bin/{name}"):
                hidden += ["--bind", "/dev/null", f"/usr/bin/{name}"]
        kasane = PlainUser(os.path.join(home, "store"), *hidden, HOME=home)
        kasane("load", "-i", self.base)
        context = self.context("FROM scratch\nADD base.tar /\nRUN true\n", {"base.tar": make_tar(only_root())})
        outcome = kasane.build(context, "--network", "private", check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("pasta (package passt) or slirp4netns (package slirp4netns)", outcome.err)


if __name__ == "__main__":
    support.main()
