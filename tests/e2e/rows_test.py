#!/usr/bin/env python3
"""Rows of the Dockerfile reference about the config and its history, and about what a build leaves behind."""

import json
import os

import support
from contexts import F, write_busybox_tar, write_tree
from imagetree import read_docker_archive
from support import Kasane

EPOCH = "1500000000"
EVERY = """FROM busybox
ARG a=1 b
ENV A=b C="d e"
LABEL k=v k2="w 2"
RUN echo bar > foo4
ARG a=2
RUN ["ls", "-l"]
SHELL ["/bin/sh", "-ec"]
RUN echo $a
COPY --chown=app:extra --chmod=640 f1 f2 /d/
COPY --parents f1 /p/
COPY --from=busybox /etc/group /g
ADD f1 /e
COPY <<NAME /h
text
NAME
WORKDIR rel
WORKDIR /
CMD ["a", "b c"]
ENTRYPOINT ["e"]
EXPOSE 5000 1234/UDP 2375
VOLUME /b /a
USER app
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=1s --timeout=10s --start-period=3s --start-interval=100ms --retries=5 CMD exit 0
MAINTAINER Some Body
ONBUILD RUN true
"""
HISTORY = [
    ("ARG a=1 b", True),
    ("ENV A=b C=d e", True),
    ("LABEL k=v k2=w 2", True),
    ("RUN |2 a=1 b= /bin/sh -c echo bar > foo4 # buildkit", False),
    ("ARG a=2", True),
    ("RUN |2 a=2 b= ls -l # buildkit", False),
    ("SHELL [/bin/sh -ec]", True),
    ("RUN |2 a=2 b= /bin/sh -ec echo $a # buildkit", False),
    ("COPY --chown=app:extra --chmod=640 f1 f2 /d/ # buildkit", False),
    ("COPY --parents f1 /p/ # buildkit", False),
    ("COPY /etc/group /g # buildkit", False),
    ("ADD f1 /e # buildkit", False),
    ("COPY <<NAME /h # buildkit", False),
    ("WORKDIR /rel", False),
    ("WORKDIR /", True),
    ('CMD ["a" "b c"]', True),
    ('ENTRYPOINT ["e"]', True),
    ("EXPOSE [1234/udp 2375/tcp 5000/tcp]", True),
    ("VOLUME [/b /a]", True),
    ("USER app", True),
    ("STOPSIGNAL SIGTERM", True),
    ("HEALTHCHECK {Test:[CMD-SHELL exit 0] Interval:1s Timeout:10s StartPeriod:3s StartInterval:100ms Retries:5}", True),
    ("MAINTAINER Some Body", True),
]


@support.needs_root
@support.needs_busybox
class Rows(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kasane = Kasane(os.path.join(cls.work, "store"))
        cls.kasane.import_busybox(write_busybox_tar(os.path.join(cls.work, "base.tar")))

    def context(self, dockerfile, sources=()):
        return write_tree(self.new_folder("ctx"), {**dict(sources), "Dockerfile": dockerfile})

    def built(self, dockerfile, *args, sources=(), **kwargs):
        self.kasane.build(self.context(dockerfile, sources), "-t", "t", *args, **kwargs)
        path = self.path("t.tar")
        self.kasane("save", "-o", path, "t")
        return read_docker_archive(path)

    def test_history_of_every_instruction(self):
        """J01-J18, C06: `created_by` as BuildKit writes it (arguments without a value too); ONBUILD leaves none."""
        image = self.built(EVERY, sources={"f1": "1\n", "f2": "2\n"})
        base = self.kasane("inspect", "busybox").out
        entries = image.config["history"][len(json.loads(base)[0]["RootFS"]["Layers"]):]
        entries = entries[len(entries) - len(HISTORY):]
        self.assertEqual(HISTORY, [(e["created_by"], e.get("empty_layer", False)) for e in entries])
        self.assertEqual({"buildkit.dockerfile.v0"}, {e["comment"] for e in entries})
        inner = image.config["config"]
        self.assertEqual(["RUN true"], inner["OnBuild"])
        self.assertTrue(inner["ArgsEscaped"])
        self.assertEqual("Some Body", image.config["author"])
        self.assertEqual({"Test": ["CMD-SHELL", "exit 0"], "Interval": 10**9, "Timeout": 10**10, "StartPeriod": 3 * 10**9,
                          "StartInterval": 10**8, "Retries": 5}, inner["Healthcheck"])

    def test_history_times(self):
        """J19: entries before the first new layer have that layer's time, later ones the previous layer's."""
        image = self.built("FROM busybox\nENV A=1\nRUN sleep 1.1\nENV B=2\nRUN true\nENV C=3\n")
        times = [e["created"] for e in image.config["history"][-5:]]
        self.assertEqual(times[0], times[1])
        self.assertEqual(times[1], times[2])
        self.assertEqual(times[3], times[4])
        self.assertLess(times[1], times[3])
        self.assertEqual(times[4], image.config["created"])

    def test_scratch_configuration(self):
        """F06, F09: an empty root, with PATH and the working directory `/`."""
        image = self.built("FROM scratch\nLABEL a=1\n")
        self.assertEqual(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], image.config["config"]["Env"])
        self.assertEqual("/", image.config["config"]["WorkingDir"])
        self.assertEqual([], image.config["rootfs"]["diff_ids"])

    def test_result_platform(self):
        """F05, F10: the config has the platform that was asked for, the builder's own by default."""
        own = self.built("FROM scratch\nLABEL a=1\n").config
        self.assertEqual("linux", own["os"])
        self.assertEqual({"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, own["architecture"]),
                         own["architecture"])
        other = self.built("FROM scratch\nLABEL a=1\n", "--platform", "linux/arm/v7").config
        self.assertEqual(("arm", "v7"), (other["architecture"], other["variant"]))

    def test_base_without_layers(self):
        """F14"""
        self.kasane.build(self.context("FROM scratch\nENV FROM_BASE=1\n"), "-t", "bare")
        image = self.built("FROM bare\nCOPY f1 /\n", sources={"f1": "1\n"})
        self.assertIn("FROM_BASE=1", image.config["config"]["Env"])
        self.assertEqual(1, len(image.layers))

    def test_only_from_adds_no_history(self):
        """F15"""
        base = json.loads(self.kasane("inspect", "busybox").out)[0]["RootFS"]["Layers"]
        image = self.built("FROM busybox\n")
        self.assertEqual(base, image.config["rootfs"]["diff_ids"])
        self.assertEqual([], [e for e in image.config["history"] if "buildkit" in e.get("comment", "")])

    def test_failed_copy_leaves_nothing(self):
        """K30: what came before the failure in the same instruction is not to be seen, nor kept as a cached step."""
        folder = self.context("FROM busybox\nCOPY f1 missing /x/\n", {"f1": "1\n"})
        before = self.kasane("images", "-aq").out
        self.assertNotEqual(0, self.kasane.build(folder, check=False).code)
        self.assertEqual(before, self.kasane("images", "-aq").out)
        write_tree(folder, {"missing": "m\n"})
        steps = self.kasane.explain(folder)
        self.assertEqual([False], [cached for cached, name, _ in steps if "COPY" in name])
        self.kasane.check_store(self)

    def test_several_sources_without_a_slash(self):
        """K20: they overwrite each other, as with BuildKit, but not silently."""
        folder = self.context("FROM scratch\nCOPY f1 f2 /x\n", {"f1": "1\n", "f2": "2\n"})
        self.assertIn("SeveralSourcesOneFile", self.kasane.build(folder).err)

    def test_several_imported_caches(self):
        """Q12: steps are taken from every cache that is named."""
        text = "FROM scratch AS one\nCOPY f1 /\nFROM scratch AS two\nCOPY f2 /\nFROM scratch\nCOPY --from=one / /\nCOPY --from=two / /\n"
        folder = self.context(text, {"f1": "1\n", "f2": "2\n"})
        imports = []
        for stage in ("one", "two"):
            kasane = Kasane(self.new_folder("store") + "/s")
            kasane.build(folder, "--target", stage, "--cache-to", f"type=local,dest={self.path(stage)},mode=max")
            imports += ["--cache-from", f"type=local,src={self.path(stage)}"]
        steps = Kasane(self.new_folder("store") + "/s").explain(folder, *imports)
        self.assertEqual({"COPY f1": True, "COPY f2": True},
                         {c: next(cached for cached, name, _ in steps if c in name) for c in ("COPY f1", "COPY f2")})

    def test_unused_build_argument(self):
        """A08: accepted; the build says which one nobody asked for."""
        outcome = self.kasane.build(self.context("FROM busybox\nARG VERSION=1\nLABEL v=$VERSION\n"), "--build-arg", "VERSOIN=2")
        self.assertIn("VERSOIN", outcome.err)

    def test_build_argument_from_the_environment(self):
        """A09: taken from the environment, left out where it is not set there."""
        text = "FROM busybox\nARG GIVEN=d\nARG ABSENT=d\nLABEL g=$GIVEN a=$ABSENT\n"
        image = self.built(text, "--build-arg", "GIVEN", "--build-arg", "ABSENT", env={"GIVEN": "from outside"})
        self.assertEqual({"g": "from outside", "a": "d"}, image.config["config"]["Labels"])

    def test_mtime_of_new_folders_and_inline_files(self):
        """K16, T08: what has no time of its own takes the epoch."""
        image = self.built("FROM scratch\nWORKDIR /made\nCOPY <<E /inline/f\nx\nE\nCOPY f1 /deep/er/\n",
                           sources={"f1": F("1\n", mtime=1400000000)}, env={"SOURCE_DATE_EPOCH": EPOCH})
        tree = image.tree
        self.assertEqual({int(EPOCH)}, {tree[p].mtime for p in ("/made", "/inline", "/inline/f", "/deep", "/deep/er")})
        self.assertEqual(1400000000, tree["/deep/er/f1"].mtime)

    def test_store_is_clean(self):
        self.kasane.check_store(self)


if __name__ == "__main__":
    support.main()
