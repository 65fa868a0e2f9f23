"""(e): one image with a compressible and an incompressible layer, pushed and pulled through Debian's docker-registry."""

import hashlib
import io
import json
import os
import random
import shutil
import socket
import subprocess
import tarfile
import time

from . import inputs
from .measure import Failed, quiet
from .tools import Skip, remove_tree

MIB = 1 << 20


def layer_file(path, seed, mib, busybox, compressible):
    """The tar of one layer: `mib` MiB in files of 16 MiB; the compressible one has a shell for the RUN, too."""
    rng = random.Random(f"{seed}/transfer/{compressible}")
    words = inputs.text(rng, 4 * MIB)
    digest = hashlib.sha256()

    class Hashing(io.RawIOBase):
        def __init__(self, f):
            self.f = f

        def write(self, data):
            digest.update(data)
            return self.f.write(data)

    with open(path, "wb") as out, tarfile.open(fileobj=Hashing(out), mode="w|", format=tarfile.PAX_FORMAT) as t:
        def add(name, data, mode=0o644):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), inputs.MTIME, mode
            t.addfile(info, io.BytesIO(data))

        if compressible:
            with open(busybox, "rb") as f:
                add("bin/sh", f.read(), 0o755)
        for n in range(max(1, mib // 16)):
            size = min(mib, 16) * MIB
            if compressible:  # repeats at 4 MiB, far beyond gzip's window
                start = rng.randrange(len(words))
                data = (words[start:] + words * 4)[:size]
            else:
                data = rng.randbytes(size)
            add(f"data/{'text' if compressible else 'noise'}-{n:03d}", data)
    return digest.hexdigest()


def archive(path, seed, mib, busybox):
    """A docker-archive of the image: what every tool can load without compressed layers."""
    layers = [path + ".0", path + ".1"]
    ids = [layer_file(layer, seed, mib, busybox, n == 0) for n, layer in enumerate(layers)]
    config = json.dumps({"architecture": "amd64", "os": "linux", "created": "2023-11-14T00:00:00Z",
                         "config": {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]},
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{i}" for i in ids]},
                         "history": [{"created": "2023-11-14T00:00:00Z", "created_by": "bench"}] * 2}).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as t:
        def add(member, data):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))

        for i, layer in zip(ids, layers):
            t.add(layer, f"{i}/layer.tar")
            os.unlink(layer)
        add(name, config)
        add("manifest.json", json.dumps([{"Config": name, "RepoTags": ["localhost/transfer:1"],
                                          "Layers": [f"{i}/layer.tar" for i in ids]}]).encode())


class Registry:
    def __init__(self, folder):
        if shutil.which("docker-registry") is None:
            raise Skip("needs Debian's docker-registry")
        self.folder, self.process = folder, None
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.host = f"127.0.0.1:{s.getsockname()[1]}"
        self.wipe()

    def wipe(self):
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        config = f"{self.folder}/config.yml"
        with open(config, "w") as f:
            f.write(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {self.folder}/data}}}}\n"
                    f"http: {{addr: '{self.host}'}}\nlog: {{level: error}}\n")
        with open(f"{self.folder}/log", "w") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
        for _ in range(200):
            try:
                host, port = self.host.split(":")
                socket.create_connection((host, int(port)), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failed("docker-registry does not start")

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None


class Step:
    expect = "any"
    before = None

    def __init__(self, name):
        self.name = name


class TransferCase:
    STEPS = ("fresh push", "no-op push", "ready push", "pull", "no-op pull", "pull + first RUN")

    def __init__(self, key, work, options):
        mib = options.layer_mib or (1024 if options.size == "full" else 8)
        self.key, self.title = key, f"push and pull of 2 x {mib} MiB"
        self.steps = [Step(name) for name in self.STEPS]
        self.archive = inputs.made_once(f"{work}/transfer-{mib}-{options.seed}.tar",
                                        lambda p: archive(p, options.seed, mib, options.busybox))
        self.source = Registry(f"{work}/registry-source")
        self.target = Registry(f"{work}/registry-target")
        self.context = f"{work}/transfer-run"
        os.makedirs(self.context, exist_ok=True)
        with open(f"{self.context}/Dockerfile", "w") as f:
            f.write(f"FROM {self.source.host}/app:1\nRUN true\n")
        # The same compressed bytes for all who pull.
        quiet(["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", f"docker-archive:{self.archive}",
               f"docker://{self.source.host}/app:1"])

    def close(self):
        self.source.close()
        self.target.close()

    def prepare(self, tool):
        pass

    def run(self, tool, step, meter):
        mine = ADAPTERS[tool.name](tool, self)
        command = getattr(mine, step.name.replace(" + first ", "_").replace(" ", "_").replace("-", "_"))()
        os.sync()  # what was written before is not this command's
        return [meter.run(f"{self.key}-{step.name}-{tool.name}".replace(" ", "_"), command, tool.env, tool.daemon)]


class Adapter:
    """Each method brings the tool into the state that its step begins with and returns the command."""

    def __init__(self, tool, case):
        self.tool, self.case = tool, case
        self.from_ref, self.to_ref = f"{case.source.host}/app:1", f"{case.target.host}/app:1"

    def quiet(self, *command, check=True):
        return quiet(list(command), self.tool.env, check=check)

    def fresh_push(self):
        self.case.target.wipe()
        self.load()
        return self.push()

    def no_op_push(self):
        return self.push()

    def ready_push(self):
        self.case.target.wipe()
        return self.push()

    def pull(self):
        self.forget()
        return self.pull_command()

    def no_op_pull(self):
        return self.pull_command()

    def pull_RUN(self):
        self.forget()
        return ["sh", "-c", '"$@" && exec ' + " ".join(self.build_command()), "sh", *self.pull_command()]


class KasaneTransfer(Adapter):
    def forget(self):
        self.tool.reset([])

    def load(self):
        self.tool.load(self.case.archive)
        self.quiet(self.tool.bin, "tag", "localhost/transfer:1", self.to_ref)

    def push(self):
        return [self.tool.bin, "push", self.to_ref]

    def pull_command(self):
        return [self.tool.bin, "pull", self.from_ref]

    def build_command(self):
        return self.tool.build("transfer", self.case.context, f"{self.case.context}/Dockerfile")


class DockerTransfer(Adapter):
    def forget(self):
        self.quiet(self.tool.bin, "image", "prune", "-af")
        self.quiet(self.tool.bin, "builder", "prune", "-af")

    def load(self):
        self.forget()
        self.tool.load(self.case.archive)
        self.quiet(self.tool.bin, "tag", "localhost/transfer:1", self.to_ref)

    def push(self):
        return [self.tool.bin, "push", self.to_ref]

    def pull_command(self):
        return [self.tool.bin, "pull", self.from_ref]

    def build_command(self):
        return self.tool.build("transfer", self.case.context, f"{self.case.context}/Dockerfile")


class BuildahTransfer(Adapter):
    def forget(self):
        self.tool.store("transfer")
        for _ in range(2):
            self.quiet(self.tool.bin, "rmi", "-a", "-f", check=False)

    def load(self):
        self.forget()
        self.quiet(self.tool.bin, "pull", *self.tool.policy, f"docker-archive:{self.case.archive}")

    def push(self):
        return [self.tool.bin, "push", *self.tool.policy, "--tls-verify=false", "localhost/transfer:1",
                f"docker://{self.to_ref}"]

    def pull_command(self):
        return [self.tool.bin, "pull", *self.tool.policy, "--tls-verify=false", f"docker://{self.from_ref}"]

    def build_command(self):
        return self.tool.build("transfer", self.case.context, f"{self.case.context}/Dockerfile", ["--tls-verify=false"])


class SkopeoTransfer(Adapter):
    """A layout is its store; a fresh push compresses the archive's layers."""

    def __init__(self, tool, case):
        super().__init__(tool, case)
        self.layout = f"{tool.dir}/layout"
        self.copy = [tool.bin, "--insecure-policy", "copy"]

    def forget(self):
        remove_tree(self.layout)

    def fresh_push(self):
        self.case.target.wipe()
        return [*self.copy, "--dest-tls-verify=false", f"docker-archive:{self.case.archive}", f"docker://{self.to_ref}"]

    def push(self):
        if not os.path.exists(self.layout):
            self.quiet(*self.pull_command())
        return [*self.copy, "--dest-tls-verify=false", f"oci:{self.layout}:1", f"docker://{self.to_ref}"]

    def no_op_push(self):
        self.quiet(*self.push())  # the registry has what this tool pushes
        return self.push()

    def pull_command(self):
        return [*self.copy, "--src-tls-verify=false", f"docker://{self.from_ref}", f"oci:{self.layout}:1"]

    def pull_RUN(self):
        raise Skip("skopeo runs nothing")


ADAPTERS = {"kasane": KasaneTransfer, "docker": DockerTransfer, "buildah": BuildahTransfer, "skopeo": SkopeoTransfer}
