"""R14-R24: a registry that fails and lies, for pull and push: never other content, never a part of an image, an end in
time; and what passes when it is asked again is no error at all.

KASANE_CHAOS (3; 150 with KASANE_LONG=1) mixtures of each kind, KASANE_SEED (1) is the first one's seed: a failure names
its seed and the faults that were met, in order. KASANE_LONG=1 also meets every single fault alone, a usual run 12 of them
that the seed chooses. The tests wait more than they work, so they run beside each other; KASANE_CHAOS_TIMES=1 prints how
long each took.
"""

import concurrent.futures
import os
import random
import subprocess
import time

import chaos_registry
import fake_registry
import registry_support
import support
from fake_registry import FakeRegistry, Image, digest_of

MIXTURES = int(os.environ.get("KASANE_CHAOS", "150" if support.LONG else "3"))
SEED = int(os.environ.get("KASANE_SEED", "1"))
TOGETHER = 8
RUN_LIMIT = 600  # seconds: five tries of waits that are at most 8 s each, several times over, on a loaded machine


class ChaosTestCase(registry_support.RegistryTestCase):
    def in_parallel(self, function, jobs):
        with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
            for job, problem in zip(jobs, pool.map(lambda job: self.problem_of(function, job), jobs)):
                with self.subTest(job=str(job)):
                    self.assertIsNone(problem)

    @staticmethod
    def problem_of(function, job):
        started = time.monotonic()
        try:
            function(job)
            if os.environ.get("KASANE_CHAOS_TIMES"):
                print(f"{time.monotonic() - started:6.1f} s  {job[0]} {job[2]}", flush=True)
            return None
        except (AssertionError, OSError, KeyError, ValueError, subprocess.SubprocessError) as e:
            return f"{type(e).__name__}: {e}"

    def pulled(self, k, name, image, outcome, story):
        """The image is there and whole after success; nothing of it has a name after a failure."""
        self.assertIn(outcome.code, (0, 1), f"{outcome.out}{outcome.err}\n{story}")
        if outcome.code == 0:
            self.assertEqual(digest_of(image.config), k("inspect", "-f", "{{.Id}}", name).out.strip(), story)
        else:
            self.assertEqual("", k("images", "-aq").out, f"{outcome.err}\n{story}")
            self.assertNotEqual("", outcome.err)
        checked = k("store", "check", check=False)
        self.assertEqual(0, checked.code, f"{checked.out}{checked.err}\n{story}")


def chosen(jobs):
    return jobs if support.LONG else random.Random(SEED).sample(jobs, 12)


def an_image(chance):
    sizes = [chance.choice([1, 1000, 200_000, 1_500_000]) for _ in range(chance.randint(1, 4))]
    return Image([{f"f{i}": chance.randbytes(size)} for i, size in enumerate(sizes)])


class PullTest(ChaosTestCase):
    def one(self, job, names=("app", "1")):
        kind, faults, seed, chance, at_most = job
        source = random.Random(seed)
        registry = FakeRegistry()
        try:
            image, other = an_image(source), an_image(source)
            registry.add("app", image.digest, image)
            registry.add("app", other.digest, other)
            other.platform = {"os": "linux", "architecture": "s390x"}
            registry.add_document("app", "1", fake_registry.INDEX, fake_registry.index_of([other, image]))
            mixture = chaos_registry.Mixture(seed, faults, chance, at_most)
            registry.hooks = [mixture]
            k, name = self.kasane(), registry.host + "/app:1"
            outcome = k("pull", "-q", "--platform", "linux/amd64", name, check=False, timeout=RUN_LIMIT)
            story = f"seed {seed}: " + "; ".join(mixture.log)
            self.pulled(k, name, image, outcome, story)
            if kind != "hostile":
                self.assertEqual(0, outcome.code, f"{outcome.err}\n{story}")
            registry.hooks = []
            self.pulled(k, name, image, k("pull", "-q", "--platform", "linux/amd64", name, check=False), story)
            self.assertEqual([], os.listdir(k.root + "/downloads"), story)
        finally:
            registry.close()

    def test_mixtures(self):
        good = chaos_registry.HARMLESS_PULL + chaos_registry.TRANSIENT_PULL
        jobs = [("passing", good, SEED + i, 0.4, 2) for i in range(MIXTURES)]
        jobs += [("hostile", good + chaos_registry.HOSTILE_PULL, SEED + i, random.Random(i).choice([0.2, 0.5, 1]), 99)
                 for i in range(MIXTURES)]
        self.in_parallel(self.one, jobs)

    def test_every_fault_once(self):
        """Each one at every first request for a thing, then the truth."""
        jobs = [("passing", [fault], fault.__name__, 1, 1)
                for fault in chaos_registry.HARMLESS_PULL + chaos_registry.TRANSIENT_PULL]
        jobs += [("hostile", [fault], fault.__name__, 1, 1) for fault in chaos_registry.HOSTILE_PULL]
        self.in_parallel(self.one, chosen(jobs))


class PushTest(ChaosTestCase):
    def one(self, job):
        kind, faults, seed, chance, at_most = job
        source = random.Random(seed)
        registry = FakeRegistry()
        registry.strict_links = True
        registry.absolute_locations = source.random() < 0.5
        try:
            k, name, image = self.kasane(), registry.host + "/app:1", an_image(source)
            origin = FakeRegistry()
            origin.add("app", "1", image)
            k("pull", "-q", origin.host + "/app:1")
            origin.close()
            k("tag", origin.host + "/app:1", name)
            mixture = chaos_registry.Mixture(seed, faults, chance, at_most)
            registry.hooks = [mixture]
            outcome = k("push", "-q", name, check=False, timeout=RUN_LIMIT)
            story = f"seed {seed}: " + "; ".join(mixture.log)
            self.assertIn(outcome.code, (0, 1), f"{outcome.out}{outcome.err}\n{story}")
            # A hostile registry that says it has a blob which it has not is believed: nobody could know better.
            believed = kind == "hostile" and any(entry.startswith("HEAD /v2/app/blobs/") for entry in mixture.log)
            self.whole(registry, image, outcome.code == 0, story, believed)
            if kind != "hostile":
                self.assertEqual(0, outcome.code, f"{outcome.err}\n{story}")
            registry.hooks = []
            again = k("push", "-q", name, check=False)
            self.assertEqual(0, again.code, f"{again.err}\n{story}")
            self.whole(registry, image, True, story, believed)
        finally:
            registry.close()

    def whole(self, registry, image, required, story, believed):
        if not believed:
            self.assertEqual([], registry.too_early, story)
        tagged = registry.manifests.get(("app", "1"))
        self.assertTrue(tagged or not required, f"success without a tag\n{story}")
        if tagged:
            self.assertEqual(image.manifest, tagged[1], story)
            for blob in [] if believed else [image.config] + image.blobs:
                self.assertEqual(blob, registry.blobs.get(digest_of(blob)), story)

    def test_mixtures(self):
        good = chaos_registry.HARMLESS_PUSH + chaos_registry.TRANSIENT_PUSH
        jobs = [("passing", good, SEED + i, 0.3, 2) for i in range(MIXTURES)]
        jobs += [("hostile", good + chaos_registry.HOSTILE_PUSH, SEED + i, random.Random(i).choice([0.2, 0.5, 1]), 99)
                 for i in range(MIXTURES)]
        self.in_parallel(self.one, jobs)

    def test_every_fault_once(self):
        jobs = [("passing", [fault], fault.__name__, 1, 1)
                for fault in chaos_registry.HARMLESS_PUSH + chaos_registry.TRANSIENT_PUSH]
        jobs += [("hostile", [fault], fault.__name__, 1, 1) for fault in chaos_registry.HOSTILE_PUSH]
        self.in_parallel(self.one, chosen(jobs))


if __name__ == "__main__":
    support.main()
