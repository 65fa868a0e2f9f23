#!/usr/bin/env python3
"""fleet.py [--builders N] [--work DIR]: a fleet of builders that share nothing but a registry (docs/scale.md).

Every builder is a network namespace behind a bridge, with a store of its own that is empty at the start of every
build, so all that it knows comes over its one wire. One docker-registry stands at the bridge. Rounds:

  cold    builder 1 builds version 1 of a small project with an empty cache
  same    all builders build version 1 at once: nothing runs
  own     each builder builds a version of its own at once: what its one changed file needs runs
  others  each builder builds its neighbour's version: nothing runs, and the image is the neighbour's

Prints one line of JSON for each build: round, builder, steps that ran, the image's id, seconds, bytes received. Needs
root; network, bridge and mounts are those of a private namespace that ends with the script.
"""

import argparse
import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import support
from contexts import write_busybox_tar, write_tree
from registries import DockerRegistry
from support import Kasane, run

GATE = "10.99.0.1"
NEEDED = ("ip", "unshare", "nsenter", "mount", "docker-registry")
DOCKERFILE = """FROM {host}/base/busybox:1 AS tools
RUN echo '#!/bin/sh' > /compile && echo 'sort "$1" | uniq -c' >> /compile && chmod +x /compile
RUN seq 1 200000 > /toolchain
FROM {host}/base/busybox:1 AS build
WORKDIR /work
COPY deps.txt .
RUN sort -r deps.txt > deps.lock && seq 1 300000 > deps.bin
COPY --from=tools /compile /bin/compile
COPY src src
RUN compile src/main.txt > app && date +%s%N >> app
FROM {host}/base/busybox:1
WORKDIR /app
COPY --from=build /work/app /work/deps.lock ./
RUN echo 'app:x:1000:1000::/app:/bin/sh' >> /etc/passwd
USER 1000
"""


class Builder:
    def __init__(self, number, host, folder):
        self.number, self.host, self.folder, self.space = number, host, folder, f"b{number}"
        wire = f"w{number}"
        run(["ip", "netns", "add", self.space])
        run(["ip", "link", "add", wire, "type", "veth", "peer", "name", "eth0", "netns", self.space])
        run(["ip", "link", "set", wire, "master", "br0", "up"])
        for words in (["addr", "add", f"10.99.{1 + number // 250}.{1 + number % 250}/16", "dev", "eth0"],
                      ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            run(["ip", "-n", self.space, *words])
        conf = os.path.join(folder, f"registries{number}.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
        self.env = {"CONTAINERS_REGISTRIES_CONF": conf, "HOME": folder}

    def received(self):
        """Bytes that came over the wire."""
        return int(run(["nsenter", f"--net=/run/netns/{self.space}", "cat", "/proc/net/dev"]).out.split("eth0:")[1].split()[0])

    def build(self, name, version, context):
        """Builds and pushes with a new, empty store."""
        store = tempfile.mkdtemp(prefix=f"s{self.number}-", dir=self.folder)
        kasane = Kasane(os.path.join(store, "root"), **self.env)
        cache = f"type=registry,ref={self.host}/team/cache"
        before, began = self.received(), time.monotonic()
        tag = f"{self.host}/team/app:{version}"
        outcome = run(["nsenter", f"--net=/run/netns/{self.space}", support.KASANE, "build", "--explain", "--progress", "plain",
                       "--cache-from", cache, "--cache-to", cache + ",mode=max", "-t", tag, "--push", context], env=kasane.env)
        took = time.monotonic() - began
        steps = [line for line in outcome.out.splitlines() if line.startswith(("CACHED", "RAN"))]
        result = {"round": name, "builder": self.number, "version": version, "steps": len(steps),
                  "ran": [s.split("] ", 1)[1] for s in steps if s.startswith("RAN") and " FROM " not in s],
                  "image": kasane.config(tag)["Id"], "seconds": round(took, 2), "received": self.received() - before}
        shutil.rmtree(store, ignore_errors=True)
        print(json.dumps(result), flush=True)
        return result


def make_network():
    run(["mount", "-t", "tmpfs", "fleet", "/run/netns"] if os.path.isdir("/run/netns") else ["mount", "-t", "tmpfs", "fleet", "/run"])
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "link", "add", "br0", "type", "bridge"])
    run(["ip", "addr", "add", f"{GATE}/16", "dev", "br0"])
    run(["ip", "link", "set", "br0", "up"])


def versions(folder, host, count):
    out = {}
    for number in range(1, count + 1):
        out[number] = write_tree(os.path.join(folder, f"v{number}"), {
            "Dockerfile": DOCKERFILE.format(host=host), "deps.txt": "left-pad\nbusybox\n",
            "src/main.txt": f"version {number}\nhello\nhello\n"})
    return out


def base_image(builder, folder):
    store = Kasane(os.path.join(folder, "base", "root"), **builder.env)
    os.mkdir(os.path.join(folder, "base"))
    store.import_busybox(write_busybox_tar(os.path.join(folder, "busybox.tar")))
    store("tag", "busybox", f"{builder.host}/base/busybox:1")
    run(["nsenter", f"--net=/run/netns/{builder.space}", support.KASANE, "push", f"{builder.host}/base/busybox:1"], env=store.env)


def fleet(count, folder):
    make_network()
    with DockerRegistry(os.path.join(folder, "registry"), address=GATE) as registry:
        builders = [Builder(n, registry.host, folder) for n in range(1, count + 1)]
        base_image(builders[0], folder)
        project = versions(folder, registry.host, count)
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            builders[0].build("cold", 1, project[1])
            list(pool.map(lambda b: b.build("same", 1, project[1]), builders))
            list(pool.map(lambda b: b.build("own", b.number, project[b.number]), builders))
            list(pool.map(lambda b: b.build("others", v := b.number % count + 1, project[v]), builders))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--builders", type=int, default=16)
    parser.add_argument("--work", default=None)
    options = parser.parse_args()
    if os.environ.get("KASANE_FLEET_INSIDE") != "1":
        os.environ["KASANE_FLEET_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    work = tempfile.mkdtemp(prefix="fleet-", dir=options.work)
    try:
        fleet(options.builders, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
