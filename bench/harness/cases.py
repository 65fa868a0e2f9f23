"""The cases: each yields its steps; every step runs once per tool and round, tools interleaved."""

import glob
import json
import os
import re
import shutil
import time

from . import inputs, transfer
from .measure import Failed
from .tools import Skip

COLD, HIT, MISS, ANY = "cold", "hit", "miss", "any"


class Step:
    """before(): changes the input once per round; expect: what the build cache must say afterwards."""

    def __init__(self, name, expect, before=None, dockerfile="Dockerfile", nonce=False, repeat=1):
        self.name, self.expect, self.before = name, expect, before
        self.dockerfile, self.nonce, self.repeat = dockerfile, nonce, repeat


class Case:
    def close(self):
        pass


class BuildCase(Case):
    def __init__(self, key, title, ctx, bases, steps):
        self.key, self.title, self.ctx, self.bases, self.steps = key, title, ctx, bases, steps
        self.last = {}

    def prepare(self, tool):
        if self.steps[0].expect != COLD:
            tool.reset(self.bases)

    def run(self, tool, step, meter):
        tag = f"bench-{self.key}"
        if step.expect == COLD:
            tool.reset(self.bases)
        args = ["--build-arg", f"NONCE={time.time_ns()}"] if step.nonce else []
        cmd = tool.build(tag, self.ctx, f"{self.ctx}/{step.dockerfile}", args)
        result = meter.run(f"{self.key}-{step.name}-{tool.name}".replace(" ", "_"), cmd, tool.env, tool.daemon)
        now, before = tool.image_id(tag), self.last.get(tool.name)
        self.last[tool.name] = now
        if step.expect in (HIT, MISS):
            result["cache"] = HIT if now == before else MISS
            result["as_expected"] = result["cache"] == step.expect
        return [result]


class ListCase(Case):
    """(f): an image store with many images, asked by short commands; several repeats of each per round."""

    def __init__(self, key, title, archive, repeat):
        self.key, self.title, self.archive = key, title, archive
        self.steps = [Step(n, ANY, repeat=repeat) for n in ("images", "history", "inspect", "version")]

    def prepare(self, tool):
        tool.load(self.archive)

    def run(self, tool, step, meter):
        cmd = tool.queries("localhost/list-00:v1").get(step.name)
        if cmd is None:
            raise Skip(f"{tool.name} has no such command")
        return [meter.run(f"{self.key}-{step.name}-{tool.name}", cmd, tool.env, tool.daemon)
                for _ in range(step.repeat)]


def nonce_into(path, keep_size=False):
    """Changes the bytes at one file's end, differently each time."""
    with open(path, "rb") as f:
        data = f.read()
    marker = b"// bench "
    if keep_size:
        data = data[:-24] + f"{time.time_ns():024d}".encode()
    else:
        data = data.split(marker)[0] + marker + str(time.time_ns()).encode() + b"\n"
    with open(path, "wb") as f:
        f.write(data)


def touch_all(ctx):
    now = time.time()
    for folder, dirs, files in os.walk(ctx):
        dirs[:] = [d for d in dirs if d not in ("node_modules", ".git")]
        for f in files:
            os.utime(os.path.join(folder, f), (now, now), follow_symlinks=False)


def node_app(work, options):
    """The lesson's context and bases: the project's example where there are node bases, else a stand-in."""
    example = options.node_app
    bases = {}
    for name in ("node:20", "node:20-slim"):
        tars = [t for d in [options.bases] if d for t in glob.glob(f"{d}/*.tar")
                if os.path.basename(t)[:-4] in (name, re.sub("[:/]", "-", name), re.sub("[:/]", "_", name))]
        if tars:
            bases[name] = tars[0]
    if len(bases) == 2 and os.path.isdir(example):
        ctx = f"{work}/node-app"
        shutil.rmtree(ctx, ignore_errors=True)
        shutil.copytree(example, ctx, symlinks=True, ignore=shutil.ignore_patterns("node_modules", "dist"))
        with open(f"{ctx}/Dockerfile") as f:
            lines = f.readlines()
        with open(f"{ctx}/Dockerfile", "w") as f:  # a frontend image would have to be pulled by docker
            f.writelines(l for l in lines if not re.match(r"#\s*syntax\s*=", l))
        return ctx, bases, "examples/node-app"
    node, npm = shutil.which("node"), "/usr/lib/node_modules/npm"
    if node is None or not os.path.isdir(npm):
        raise Skip("needs --bases DIR with node:20 and node:20-slim, or Debian's node and npm for the stand-in")
    node = os.path.realpath(node)
    for name in ("node:20", "node:20-slim"):
        tar = f"{work}/{name.replace(':', '-')}-standin.tar"
        inputs.made_once(tar, lambda p, n=name: inputs.node_base(p, options.busybox, node, npm, n))
        bases[name] = tar
    ctx = f"{work}/node-standin-{options.size}-{options.seed}"
    shutil.rmtree(ctx, ignore_errors=True)
    inputs.node_standin(ctx, options.seed, inputs.SIZES[options.size]["packages"])
    return ctx, bases, "stand-in, no network"


def sidecar_of(tar):
    for path in (tar[:-4] + ".json", tar + ".json"):
        if os.path.exists(path):
            with open(path) as f:
                return json.load(f)
    return {}


def make(key, work, options):
    """Returns (case, {base name: tar})."""
    size = inputs.SIZES[options.size]
    name = f"{options.size}-{options.seed}"
    if key == "e":
        return transfer.TransferCase("e", work, options), {}
    if key != "f":
        busybox = {"busybox": inputs.made_once(f"{work}/busybox.tar",
                                               lambda p: inputs.busybox_base(p, options.busybox))}
    if key == "a":
        ctx = f"{work}/trivial"
        inputs.trivial(ctx)
        return BuildCase("a", "one trivial RUN", ctx, ["busybox"], [
            Step("no RUN", ANY, dockerfile="Dockerfile.norun", nonce=True), Step("RUN true", ANY, nonce=True),
            Step("10 x RUN true", ANY, dockerfile="Dockerfile.ten", nonce=True)]), busybox
    if key == "b":
        ctx, bases, what = node_app(work, options)
        source = sorted(glob.glob(f"{ctx}/src/**/*.ts", recursive=True))[0]
        return BuildCase("b", f"two-stage Node.js build ({what})", ctx, list(bases), [
            Step("cold", COLD), Step("cached", HIT), Step("mtimes touched", HIT, lambda: touch_all(ctx)),
            Step("one source line", MISS, lambda: nonce_into(source))]), bases
    if key == "c":
        ctx = inputs.made_once(f"{work}/copy-{name}", lambda p: inputs.copy_tree(p, options.seed, size["copy_files"]))
        return BuildCase("c", f"COPY of {size['copy_files']:,} files", ctx, ["busybox"], [
            Step("cold", COLD), Step("cached", HIT), Step("mtimes touched", HIT, lambda: touch_all(ctx)),
            Step("one file changed", MISS, lambda: nonce_into(f"{ctx}/data/d007/f00007.bin", True))]), busybox
    if key == "d":
        ctx = inputs.made_once(f"{work}/ignored-{name}",
                               lambda p: inputs.ignored_tree(p, options.seed, size["ignored_files"]))
        return BuildCase("d", f"43 files, {size['ignored_files']:,} ignored", ctx, ["busybox"], [
            Step("cold", COLD), Step("cached", HIT),
            Step("one-line change", MISS, lambda: nonce_into(f"{ctx}/main.js"))]), busybox
    if key == "f":
        tar = f"{work}/list-{name}.tar"
        inputs.made_once(tar, lambda p: inputs.archive(p, options.seed, size["images"]))
        return ListCase("f", f"a store with {size['images']} images", tar, options.repeat), {}
    raise Failed(f"no case {key}")
