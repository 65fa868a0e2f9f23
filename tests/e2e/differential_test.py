#!/usr/bin/env python3
"""The same small Dockerfiles built by kasane, by buildah and, when DOCKER_HOST names a daemon, by docker.

Compared are the flattened files (type, mode, owner, size and digest, link target, xattrs, hard links, device
numbers) and the config. Where a builder is known to differ, the case says which row of the Dockerfile reference
makes kasane right. Cases that a builder cannot build have their expected result written down.
"""

import concurrent.futures
import os
import unittest

import support
from cases import ALWAYS, normal_config
from cases_copy import CASES as COPY_CASES
from cases_rows import CASES as ROW_CASES
from cases_steps import CASES as STEP_CASES
from contexts import write_busybox_tar, write_tree
from imagetree import describe_config, differences, read_docker_archive
from peers import Buildah, Docker, Missing
from support import Kasane

CASES = COPY_CASES + STEP_CASES + ROW_CASES
AHEAD = 4  # cases that are built while others are compared


@support.needs_root
@support.needs_busybox
class Differential(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        base = write_busybox_tar(os.path.join(cls.work, "base.tar"))
        cls.kasane = Kasane(os.path.join(cls.work, "store"))
        cls.kasane.import_busybox(base)
        cls.peers, cls.missing = [], []
        for peer in (Buildah, Docker):
            try:
                cls.peers.append(peer(os.path.join(cls.work, peer.name)))
                cls.peers[-1].add_base(base)
            except Missing as why:
                cls.missing.append(f"{peer.name}: {why}")
        cls.pool = concurrent.futures.ThreadPoolExecutor(max_workers=3)
        cls.addClassCleanup(cls.pool.shutdown, cancel_futures=True)
        cls.built = {}

    def submit(self, at):
        for case in CASES[at:at + AHEAD]:
            if case.name in self.built:
                continue
            folder = self.path("ctx", case.name)
            try:
                write_tree(folder, case.context() if callable(case.context) else case.context)
            except OSError as why:  # devices and extended attributes are not to be had everywhere
                self.built[case.name] = f"the context cannot be made here: {why}"
                continue
            write_tree(folder, {case.file: case.dockerfile + "\n"})
            self.built[case.name] = {
                builder.name: self.pool.submit(self.make, builder, case, folder)
                for builder in [self, *self.peers] if builder.name not in case.skip}

    name = "kasane"

    @staticmethod
    def make(builder, case, folder):
        args = [*case.args, *(["-f", case.file] if case.file != "Dockerfile" else [])]
        outcome = builder.build(folder, case.name, *args)
        if outcome.code != 0:
            raise AssertionError(f"{builder.name} does not build {case.name}:\n{case.dockerfile}\n{outcome.err[-3000:]}")
        return builder.image(case.name)

    def build(self, folder, tag, *args):
        return self.kasane.build(folder, "-t", tag, *args, check=False, cwd=folder)

    def image(self, tag):
        path = self.path(f"{tag}.tar")
        self.kasane("save", "-o", path, tag)
        try:
            return read_docker_archive(path)
        finally:
            os.unlink(path)

    def check_expected(self, case, image):
        for path, wanted in case.expect.items():
            if wanted is None:
                self.assertNotIn(path, image.tree)
                continue
            self.assertIn(path, image.tree)
            fields = {**image.tree[path].fields(), "text": image.tree[path].data.decode("utf-8", "replace")}
            self.assertEqual(wanted, {k: fields.get(k) for k in wanted}, path)
        config = describe_config(image.config)
        self.assertEqual(case.config, {k: config.get(k) for k in case.config})

    def compare(self, case, image, peer, other):
        found = differences(image.tree.describe(), other.tree.describe())
        found += differences({"config": normal_config(describe_config(image.config))},
                             {"config": normal_config(describe_config(other.config))})
        wrong, used = [], set()
        for where, field, mine, theirs in found:
            reason = next((k for k in (*case.known, *ALWAYS) if k.covers(peer.name, where, field, mine)), None)
            if reason is None:
                wrong.append(f"{where}: {field}: kasane {mine!r}, {peer.name} {theirs!r}")
            else:
                used.add(reason.where + reason.field)
        self.assertFalse(wrong, f"{case.rows}\n{case.dockerfile}\n" + "\n".join(wrong[:40]))
        unused = [k for k in case.known if k.builder == peer.name and k.where + k.field not in used]
        self.assertFalse(unused, f"differences listed for {peer.name} {peer.version} that it does not have")

    def check(self, at):
        case = CASES[at]
        self.submit(at)
        futures = self.built[case.name]
        if isinstance(futures, str):
            self.skipTest(futures)
        image = futures["kasane"].result()
        self.check_expected(case, image)
        compared = 0
        for peer in self.peers:
            if peer.name in futures:
                with self.subTest(peer=peer.name):
                    self.compare(case, image, peer, futures[peer.name].result())
                compared += 1
        self.built[case.name] = futures = None
        if compared == 0 and not case.expect and not case.config:
            self.skipTest("nothing to compare with: " + "; ".join(self.missing))

    def test_store_is_clean_after_all(self):
        self.kasane.check_store(self)

    def test_zz_builders(self):
        """Says visibly which builders were there."""
        if self.missing:
            self.skipTest("; ".join(self.missing))


def add_case(at):
    def test(self):
        self.check(at)
    test.__doc__ = CASES[at].rows
    setattr(Differential, f"test_{at:03}_{CASES[at].name}", test)


for number in range(len(CASES)):
    add_case(number)

if __name__ == "__main__":
    support.main()
