#!/usr/bin/env python3
"""One input changes: the cached build must give what a fresh store gives with --no-cache, and run nothing needlessly.

Every mutation of mutations.py changes one thing of a recipe, in place; the recipe's store then builds it with its
cache, a copy of a store that holds the base images only builds it without. With SOURCE_DATE_EPOCH both have to be
the same image id, which covers config, history and every byte of the layers. Then the change is taken back, and
the first image must come out of the cache again.

KASANE_MUTATIONS: how many (40), or "all". KASANE_SEED: which ones and their values.
"""

import os
import random
import re
import shutil
import subprocess
import sys
import time

import support
from contexts import write_busybox_tar, write_tree
from imagetree import describe_config, differences, read_docker_archive
from mutations import CONFIG, DIFFERS, NOTHING, RECIPES, SAME, all_mutations
from support import Kasane

EPOCH = "1500000000"  # before every time of the contexts, so that all of them are the epoch in the layers
WANTED = os.environ.get("KASANE_MUTATIONS", "all" if support.LONG else "40")
SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))


class World:
    """A recipe's context, store and first image."""

    def __init__(self, test, recipe):
        self.recipe = recipe
        self.folder = write_tree(test.new_folder(recipe.name), {**recipe.files, "Dockerfile": recipe.dockerfile})
        self.kasane = test.store()
        time.sleep(0.12)  # younger files are read twice: their times cannot be trusted yet
        self.id, _ = build(self.kasane, self.folder, recipe.args)


def build(kasane, folder, args, env=None):
    """(image id, names of the steps that ran). Looking at a named context is none of them."""
    iidfile = folder + ".iid"
    try:
        text = kasane.build(folder, "--explain", "--iidfile", iidfile, *args, cwd=folder, env=env).out
        with open(iidfile, encoding="ascii") as f:
            return f.read(), [m[1] for m in map(re.compile(r"RAN +(?! |\[context )(.*)").match, text.splitlines()) if m]
    finally:
        if os.path.exists(iidfile):
            os.unlink(iidfile)


@support.needs_root
@support.needs_busybox
class Mutation(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.pristine = Kasane(os.path.join(cls.work, "pristine"), SOURCE_DATE_EPOCH=EPOCH)
        cls.pristine.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        other = write_tree(os.path.join(cls.work, "other"), {
            "Dockerfile": "FROM busybox\nLABEL other=1\nCOPY extra /etc/extra\nENV BASE=other\n", "extra": "x\n"})
        cls.pristine.build(other, "-t", "other")
        cls.worlds = {}

    def store(self):
        folder = self.new_folder("store")
        subprocess.run(["cp", "-a", self.pristine.root + "/.", folder], check=True)
        return Kasane(folder, SOURCE_DATE_EPOCH=EPOCH)

    def world(self, recipe):
        if recipe.name not in self.worlds:
            self.worlds[recipe.name] = World(self, recipe)
        return self.worlds[recipe.name]

    def image(self, kasane, reference):
        path = self.path("image.tar")
        kasane("save", "-o", path, reference)
        return read_docker_archive(path)

    def why_different(self, cached, image, fresh, truth):
        a, b = self.image(cached, image), self.image(fresh, truth)
        return "\n".join(map(str, differences(a.tree.describe(), b.tree.describe())[:20] +
                             differences({"config": describe_config(a.config)}, {"config": describe_config(b.config)}) +
                             [h for h in zip(a.config["history"], b.config["history"]) if h[0] != h[1]]))

    def check(self, mutation):
        world = self.world(mutation.recipe)
        undo = mutation.apply(world.folder)
        args = [*world.recipe.args, *mutation.args]
        image, ran = build(world.kasane, world.folder, args, mutation.env)
        fresh = self.store()
        try:
            truth, _ = build(fresh, world.folder, [*args, "--no-cache"], mutation.env)
            if image != truth:
                self.fail(f"the cache gives another image; steps that ran: {ran}\n" +
                          self.why_different(world.kasane, image, fresh, truth))
        finally:
            shutil.rmtree(fresh.root)
            undo()
        if mutation.effect in (NOTHING, CONFIG):
            self.assertEqual([], ran, "steps ran for nothing")
        if mutation.effect in (NOTHING, SAME):
            self.assertEqual(world.id, image, "another image")
        if mutation.effect in (DIFFERS, CONFIG):
            self.assertNotEqual(world.id, image, "the change is not seen")
        again, ran = build(world.kasane, world.folder, world.recipe.args)
        self.assertEqual(world.id, again, "after the change was taken back")
        self.assertEqual([], ran, "after the change was taken back")

    def test_mutations(self):
        mutations = all_mutations(random.Random(SEED))
        total = len(mutations)
        random.Random(SEED).shuffle(mutations)
        if WANTED != "all":
            mutations = mutations[:int(WANTED)]
        mutations.sort(key=lambda m: m.recipe.name)
        print(f"KASANE_SEED={SEED}: {len(mutations)} of {total} mutations", file=sys.stderr)
        for mutation in mutations:
            with self.subTest(mutation=mutation.name, recipe=mutation.recipe.name, seed=SEED):
                try:
                    self.check(mutation)
                except BaseException:
                    self.worlds.pop(mutation.recipe.name, None)  # the next one starts from a context as it should be
                    raise

    def test_there_are_enough(self):
        mutations = all_mutations(random.Random(SEED))
        self.assertGreaterEqual(len(mutations), 200)
        names = [(m.recipe.name, m.name) for m in mutations]
        self.assertEqual(len(set(names)), len(names))
        self.assertEqual({r.name for r in RECIPES}, {r for r, _ in names})

    def test_zz_stores_are_clean(self):
        for world in self.worlds.values():
            world.kasane.check_store(self)


if __name__ == "__main__":
    support.main()
