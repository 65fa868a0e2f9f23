#!/usr/bin/env python3
"""kill -9 at random points of push and pull: the next run sends no more than what was missing and 1 MiB.

A proxy counts the bytes. By default a few points for each registry; KASANE_LONG=1 makes many, KASANE_SEED repeats a
sequence. docker-registry 2.8 forgets an upload whose request broke off: there, what was missing are whole blobs.
"""

import json
import os
import random
import shutil
import subprocess
import time

import fake_registry
import registries
import registry_support
import support
from counting_proxy import CountingProxy

SEED = int(os.environ.get("KASANE_SEED", str(time.time_ns() % 1000000)))
POINTS = 25 if support.LONG else 2
MIB = 1 << 20
SLACK = MIB


class KillTestCase(registry_support.RegistryTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.rng = random.Random(SEED)

    def setUp(self):
        super().setUp()
        print(f"seed {SEED}", flush=True)
        # Noise and text: the first is as large when it is compressed, the second is slower to make than to send.
        context = self.new_folder("context")
        words = [b"%x " % self.rng.getrandbits(20) for _ in range(4096)]
        for name, data in (("noise", self.rng.randbytes(9 * MIB)), ("text", b"".join(self.rng.choices(words, k=2_000_000))),
                           ("more", self.rng.randbytes(4 * MIB))):
            with open(os.path.join(context, name), "wb") as f:
                f.write(data)
        with open(os.path.join(context, "Dockerfile"), "w", encoding="ascii") as f:
            f.write("FROM scratch\nCOPY noise /\nCOPY text /\nCOPY more /\n")
        self.k("build", "-q", "-t", "source:1", context)

    def copy_of_store(self):
        """The same images, nothing compressed yet."""
        k = self.kasane()
        shutil.rmtree(k.root, ignore_errors=True)
        shutil.copytree(self.k.root, k.root, symlinks=True)
        return k

    def start(self, k, *args):
        return subprocess.Popen([support.KASANE, *args], env=k.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def killed(self, proxy, k, direction, limit, *args):
        """Runs until the proxy has seen that many bytes. True when it did not get to its end before."""
        process = self.start(k, *args)
        proxy.kill_at(process, direction, limit)
        errors = process.communicate(timeout=300)[1]
        proxy.kill_at(None, None, None)
        self.assertIn(process.returncode, (0, -9), errors)
        self.assertTrue(support.wait_until(proxy.idle, 60), "the registry does not let go of a broken connection")
        return process.returncode == -9

    def manifest(self, host, repository, tag="1"):
        return json.loads(registry_support.fetch(f"http://{host}/v2/{repository}/manifests/{tag}", fake_registry.MANIFEST))

    def blobs(self, host):
        """Digests and sizes of what a push of the image sends, known from a push that nobody disturbs."""
        k = self.copy_of_store()
        k("tag", "source:1", f"{host}/reference:1")
        k("push", f"{host}/reference:1")
        manifest = self.manifest(host, "reference")
        return {one["digest"]: one["size"] for one in manifest["layers"] + [manifest["config"]]}

    def push_sweep(self, host, forgets):
        blobs = self.blobs(host)
        total = sum(blobs.values())
        kills, again = 0, 0
        for point in range(POINTS):
            proxy = CountingProxy(host)
            self.addCleanup(proxy.close)
            k = self.copy_of_store()
            repository = f"target{point}"
            k("tag", "source:1", f"{proxy.host}/{repository}:1")
            push = ("push", f"{proxy.host}/{repository}:1")
            for limit in sorted(self.rng.sample(range(total), 2)):
                before, missing = proxy.up, self.missing(host, repository, blobs) if forgets else total - proxy.up
                kills += self.killed(proxy, k, "up", limit, *push)
                self.assertLessEqual(proxy.up - before, missing + SLACK, f"seed {SEED}, point {point}")
            before, missing = proxy.up, self.missing(host, repository, blobs) if forgets else total - proxy.up
            k(*push)
            self.assertLessEqual(proxy.up - before, missing + SLACK, f"seed {SEED}, point {point}")
            again += proxy.up - total
            self.assertEqual(self.manifest(host, "reference"), self.manifest(host, repository))
            # A run that is killed while it writes a note leaves the new one behind, under a name that nobody reads.
            self.assertEqual([], [n for n in os.listdir(k.root + "/uploads") if ".tmp." not in n])
            k.check_store(self)
        self.assertGreater(kills, 0)
        print(f"{kills} kills of {total / MIB:.1f} MiB: {again / MIB / max(1, kills):.2f} MiB again for each")

    @staticmethod
    def missing(host, repository, blobs):
        def has(digest):
            try:
                registry_support.fetch(f"http://{host}/v2/{repository}/blobs/{digest}")
                return True
            except OSError:
                return False
        return sum(size for digest, size in blobs.items() if not has(digest))

    def pull_sweep(self, host):
        total = sum(self.blobs(host).values())
        kills = 0
        for point in range(POINTS):
            proxy = CountingProxy(host)
            self.addCleanup(proxy.close)
            k = self.kasane()
            pull = ("pull", f"{proxy.host}/reference:1")
            for limit in sorted(self.rng.sample(range(total), 2)) + [None]:
                before, arrived = proxy.down, self.arrived(k)
                if limit is None:
                    k(*pull)
                else:
                    kills += self.killed(proxy, k, "down", limit, *pull)
                self.assertLessEqual(proxy.down - before, total - arrived + SLACK, f"seed {SEED}, point {point}")
            self.assertEqual(self.k.config("source:1")["Id"], k.config(pull[1])["Id"])
            self.assertEqual([], os.listdir(k.root + "/downloads"))
            k.check_store(self)
        self.assertGreater(kills, 0)

    @staticmethod
    def arrived(k):
        size = 0
        for below in ("downloads", "blobs/sha256"):
            folder = os.path.join(k.root, below)
            if os.path.isdir(folder):
                size += sum(os.stat(os.path.join(folder, name)).st_size for name in os.listdir(folder))
        return size


class KasaneServeTest(KillTestCase):
    def setUp(self):
        super().setUp()
        server = registries.serve(self.new_folder("registry"))
        self.addCleanup(server.stop)
        self.host = server.host

    def test_push(self):
        self.push_sweep(self.host, forgets=False)

    def test_pull(self):
        self.pull_sweep(self.host)


@registries.needs_docker_registry
class DockerRegistryTest(KillTestCase):
    def setUp(self):
        super().setUp()
        registry = registries.DockerRegistry(self.new_folder("registry"))
        self.addCleanup(registry.close)
        self.host = registry.host

    def test_push(self):
        self.push_sweep(self.host, forgets=True)

    def test_pull(self):
        self.pull_sweep(self.host)


if __name__ == "__main__":
    support.main()
