#!/usr/bin/env python3
"""A fleet of builders in network namespaces against one docker-registry: 4 of them, 16 with KASANE_LONG=1."""

import json
import os
import shutil
import subprocess
import sys

import fleet
import support
from support import run

BUILDERS = 16 if support.LONG else 4
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fleet.py")
# Of another version of the sources: the copy of them and what follows from it.
ALWAYS = {"COPY src src", "RUN compile src/main.txt > app && date +%s%N >> app", "COPY --from=build /work/app /work/deps.lock ./",
          "RUN echo 'app:x:1000:1000::/app:/bin/sh' >> /etc/passwd"}


def why_not():
    """Why this host cannot play a fleet, or ''."""
    missing = [p for p in fleet.NEEDED if not shutil.which(p)]
    if missing:
        return "not installed: " + ", ".join(missing)
    attempt = "mount -t tmpfs x /run && ip link add br0 type bridge && ip netns add n1 && ip link add w1 type veth peer name eth0 netns n1"
    outcome = run(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", attempt], check=False)
    return "" if outcome.code == 0 else f"network namespaces, bridges or veth are not permitted here: {outcome.err.strip()}"


@support.needs_root
@support.needs_busybox
class FleetTest(support.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if reason := why_not():
            raise support.unittest.SkipTest(reason)
        done = subprocess.run([sys.executable, SCRIPT, "--builders", str(BUILDERS), "--work", cls.work],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=800)
        assert done.returncode == 0, done.stderr.decode()[-4000:]
        cls.builds = [json.loads(line) for line in done.stdout.splitlines()]

    def of(self, name):
        return [b for b in self.builds if b["round"] == name]

    def test_the_second_build_by_any_hits_all(self):
        """Q09: what one builder built, none of the others runs again, with an empty store; they get the very image."""
        cold = self.of("cold")[0]
        self.assertEqual(cold["steps"] - 3, len(cold["ran"]))  # all but the three FROM
        self.assertEqual(BUILDERS, len(self.of("same")))
        for build in self.of("same"):
            self.assertEqual([], build["ran"])
            self.assertEqual(cold["image"], build["image"])

    def test_a_change_runs_what_it_changes(self):
        """Q09: builders that write to one cache at the same time, each a version of its own: only what differs runs."""
        self.assertEqual(BUILDERS, len(self.of("own")))
        for build in self.of("own"):
            self.assertEqual(set() if build["version"] == 1 else ALWAYS, set(build["ran"]))
        self.assertEqual(BUILDERS, len({b["image"] for b in self.of("own")}))

    def test_a_neighbours_build_hits_all(self):
        """Q09: each builder then builds what another one built a moment ago."""
        images = {b["version"]: b["image"] for b in self.of("own")}
        self.assertEqual(BUILDERS, len(self.of("others")))
        for build in self.of("others"):
            self.assertEqual([], build["ran"])
            self.assertEqual(images[build["version"]], build["image"])

    def test_little_goes_over_the_wire(self):
        """Q09: a build that is all hits receives its base and the image's own layers, not what other stages made."""
        for build in self.of("same") + self.of("others"):
            self.assertLess(build["received"], 2_000_000)


if __name__ == "__main__":
    support.main()
