#!/usr/bin/env python3
"""The distribution-spec's conformance cases against kasane registry serve: every one must pass.

docker-registry runs through the same cases for comparison; its result is only reported. Any other registry:
KASANE_CONFORMANCE_URL=http://host:port [KASANE_CONFORMANCE_USER=user:password] conformance_test.py
"""

import os
import sys
import unittest

import registries
import support
from registry_conformance import Suite

URL = os.environ.get("KASANE_CONFORMANCE_URL", "")


def report(name, cases):
    failed = [c for c in cases if c.problem]
    print(f"\n{name}: {len(cases)} cases, {len(failed)} failed", file=sys.stderr)
    return failed


class ConformanceTest(support.TestCase):

    def test_kasane(self):
        with registries.serve(self.work + "/registry") as server:
            cases = Suite(server.url).run()
        failed = report("kasane registry serve", cases)
        self.assertGreater(len(cases), 400)
        self.assertEqual([], failed, "\n".join(f"{c.name}: {c.problem}" for c in failed[:20]))

    @registries.needs_docker_registry
    def test_docker_registry_for_comparison(self):
        with registries.DockerRegistry(self.work + "/docker-registry") as server:
            cases = Suite(server.url).run()
        failed = report("docker-registry", cases)
        # The suite must be able to fail: this server is known to lack sha512 and the referrers list.
        self.assertTrue(any(c.name.startswith("sha512 blobs") for c in failed))
        self.assertTrue(any(c.name == "empty/referrers" for c in failed))
        self.assertFalse([c for c in failed if c.name.startswith(("image/push", "image/pull"))], "the suite itself is wrong")

    @unittest.skipUnless(URL, "KASANE_CONFORMANCE_URL is not set")
    def test_given_registry(self):
        failed = report(URL, Suite(URL, os.environ.get("KASANE_CONFORMANCE_USER")).run())
        self.assertEqual([], failed)


if __name__ == "__main__":
    support.main()
