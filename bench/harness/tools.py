"""The tools compared. Each brings itself into the same state: base images present, no layer cache.

A tool offers: add_base(name, tar, sidecar) reset() build(tag, ctx, ...) image_id(tag) load(archive) queries(ref).
Everything that is measured is returned as a command line; the rest runs here, unmeasured.
"""

import json
import os
import shutil
import subprocess
import time

from .measure import Daemon, Failed, quiet


class Skip(Exception):
    """This tool (or one of its cases) cannot be measured here; str() says why."""


def unmount_below(folder):
    folder = os.path.realpath(folder)
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4].replace("\\040", " ") for line in f]
    for point in sorted((p for p in points if p == folder or p.startswith(folder + "/")), reverse=True):
        subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)


def remove_tree(folder):
    if os.path.exists(folder):
        unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def import_changes(sidecar):
    """`import --change` arguments of a base image's JSON sidecar: an image config, or its "config" member."""
    config = sidecar.get("config", sidecar)
    changes = [f"ENV {e.split('=', 1)[0]}=\"{e.split('=', 1)[1]}\"" for e in config.get("Env") or []]
    for key in ("Cmd", "Entrypoint"):
        if config.get(key):
            changes.append(f"{key.upper()} {json.dumps(config[key])}")
    for key in ("WorkingDir", "User"):
        if config.get(key):
            changes.append(f"{'WORKDIR' if key == 'WorkingDir' else 'USER'} {config[key]}")
    return changes


class Tool:
    name = ""
    daemon = None
    note = ""
    cases = "abcdef"  # those that it can do

    def __init__(self, workdir):
        self.dir = os.path.join(workdir, self.name)
        os.makedirs(self.dir, exist_ok=True)
        self.env = dict(os.environ)
        self.bases = {}  # name -> (tar, changes)

    def add_base(self, name, tar, sidecar):
        self.bases[name] = (tar, import_changes(sidecar))

    def close(self):
        remove_tree(self.dir)


class Kasane(Tool):
    """A fresh store per cold run, with the base images imported and, like the peers', unpacked by a first RUN."""
    name = "kasane"

    def __init__(self, workdir, options):
        path = options.kasane or self.find(options.repo)
        if path is None or not shutil.which(path):
            raise Skip(f"no binary{' ' + path if path else ''}: give --kasane PATH")
        super().__init__(workdir)
        self.bin = os.path.abspath(shutil.which(path))
        self.unpack = options.kasane_base == "unpacked"
        self.root = os.path.join(self.dir, "root")
        self.env["KASANE_ROOT"] = self.root
        self.extra = options.kasane_build_args.split()
        self.version = quiet([self.bin, "--version"], self.env, check=False).strip()
        self.warmup = os.path.join(self.dir, "warmup")

    @staticmethod
    def find(repo):
        for preset in ("release", "relwithdebinfo", "debug"):
            for path in (f"{repo}/build/{preset}/bin/kasane",):
                if os.access(path, os.X_OK):
                    return path
        return shutil.which("kasane")

    def reset(self, bases):
        remove_tree(self.root)
        os.makedirs(self.root)
        for name in bases:
            tar, changes = self.bases[name]
            args = [a for c in changes for a in ("--change", c)]
            quiet([self.bin, "import", *args, tar, name if ":" in name else f"{name}:latest"], self.env)
            if self.unpack:
                os.makedirs(self.warmup, exist_ok=True)
                with open(f"{self.warmup}/Dockerfile", "w") as f:
                    f.write(f"FROM {name}\nRUN : unpack\n")
                quiet([self.bin, "build", *self.extra, "--network", "host", "-t", "bench-warmup", self.warmup], self.env)

    def build(self, tag, ctx, dockerfile, args=()):
        return [self.bin, "build", *self.extra, "--network", "host", *args, "-t", tag, "-f", dockerfile, ctx]

    def image_id(self, tag):
        return quiet([self.bin, "images", "-q", "--no-trunc", tag], self.env).split()[0]

    def load(self, archive):
        self.reset([])
        quiet([self.bin, "load", "-i", archive], self.env)

    def queries(self, ref):
        return {"images": [self.bin, "images"], "history": [self.bin, "history", ref],
                "inspect": [self.bin, "inspect", ref], "version": [self.bin, "version"]}


class Buildah(Tool):
    """Its own containers.conf, registries.conf and store below the work folder; --layers on every build."""
    name = "buildah"
    runtimes = (("crun", "oci"), ("runc", "oci"), ("", "chroot"))  # the first that works is taken

    def __init__(self, workdir, options):
        path = shutil.which(options.buildah)
        if path is None:
            raise Skip(f"{options.buildah} is not installed")
        super().__init__(workdir)
        self.bin = path
        self.keep_ids = set()
        self.present = set()
        self.version = quiet([path, "--version"]).strip()
        # Limits no higher than the hard ones here: a root without CAP_SYS_RESOURCE may not raise any, and
        # buildah first lowers its own process limit to the kernel's pid_max.
        with open(f"{self.dir}/containers.conf", "w") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=16384:16384"]\n')
        with open(f"{self.dir}/registries.conf", "w") as f:
            f.write('unqualified-search-registries = ["localhost"]\nshort-name-mode = "permissive"\n')
        with open(f"{self.dir}/policy.json", "w") as f:
            f.write('{"default": [{"type": "insecureAcceptAnything"}]}\n')
        self.env.update(CONTAINERS_CONF=f"{self.dir}/containers.conf",
                        CONTAINERS_REGISTRIES_CONF=f"{self.dir}/registries.conf", TMPDIR=self.dir)
        self.policy = ["--signature-policy", f"{self.dir}/policy.json"]
        self.store("main")
        self.probe()

    def store(self, which):
        with open(f"{self.dir}/storage-{which}.conf", "w") as f:
            f.write('[storage]\ndriver = "overlay"\n'
                    f'graphroot = "{self.dir}/{which}/root"\nrunroot = "{self.dir}/{which}/run"\n')
        self.env["CONTAINERS_STORAGE_CONF"] = f"{self.dir}/storage-{which}.conf"

    def probe(self):
        """Finds a runtime that works: crun, for one, refuses a host with hybrid cgroups."""
        ctx = f"{self.dir}/probe"
        os.makedirs(ctx, exist_ok=True)
        shutil.copy(shutil.which("busybox"), f"{ctx}/sh")
        with open(f"{ctx}/Dockerfile", "w") as f:
            f.write('FROM scratch\nCOPY sh /bin/sh\nRUN ["/bin/sh", "-c", ":"]\n')
        why = []
        for runtime, isolation in self.runtimes:
            if runtime and not shutil.which(runtime):
                continue
            self.runtime = ["--runtime", runtime] if runtime else []
            self.isolation = ["--isolation", isolation]
            try:
                quiet(self.build("probe", ctx, f"{ctx}/Dockerfile"), self.env)
                self.note = f"{isolation} isolation{', ' + runtime if runtime else ''}, overlay storage"
                self.reset([])
                return
            except Failed as e:
                why.append(f"{runtime or isolation}: {e}")
        raise Skip("a RUN fails with every runtime: " + " // ".join(why))

    def add_base(self, name, tar, sidecar):
        super().add_base(name, tar, sidecar)
        ctx = f"{self.dir}/base"
        shutil.rmtree(ctx, ignore_errors=True)
        os.makedirs(ctx)
        os.link(tar, f"{ctx}/base.tar") if os.stat(tar).st_dev == os.stat(ctx).st_dev else shutil.copy(tar, ctx + "/base.tar")
        with open(f"{ctx}/Dockerfile", "w") as f:
            f.write("FROM scratch\nADD base.tar /\n" + "".join(c + "\n" for c in self.bases[name][1]))
        quiet([self.bin, "build", *self.policy, "-t", f"localhost/{name}", ctx], self.env)
        shutil.rmtree(ctx)
        self.keep_ids.add(self.image_id(f"localhost/{name}"))

    def reset(self, bases):
        for _ in range(2):  # parents become removable once their children are gone
            ids = set(quiet([self.bin, "images", "-a", "-q", "--no-trunc"], self.env).split()) - self.keep_ids
            if ids:
                quiet([self.bin, "rmi", "-f", *sorted(ids)], self.env, check=False)

    def build(self, tag, ctx, dockerfile, args=()):
        return [self.bin, *self.runtime, "build", *self.policy, *self.isolation, "--layers", "--network", "host",
                *args, "-t", tag, "-f", dockerfile, ctx]

    def image_id(self, tag):
        return quiet([self.bin, "images", "-q", "--no-trunc", tag], self.env).split()[0]

    def load(self, archive):
        self.store("list")
        with open(f"{self.dir}/pull.log", "w") as log:
            for image in json.loads(quiet(["tar", "-xOf", archive, "manifest.json"])):  # buildah has no `load`; one pull per image of the archive
                ref = image["RepoTags"][0]
                subprocess.run([self.bin, "pull", *self.policy, f"docker-archive:{archive}:{ref}"], env=self.env,
                               stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=True)

    def queries(self, ref):
        return {"images": [self.bin, "images"], "inspect": [self.bin, "inspect", "--type", "image", ref],
                "version": [self.bin, "version"]}  # buildah has no `history`


class BuildahCrun(Buildah):
    name = "buildah-crun"
    runtimes = (("crun", "oci"),)


class BuildahRunc(Buildah):
    name = "buildah-runc"
    runtimes = (("runc", "oci"),)


class Docker(Tool):
    """A dockerd of the harness's own (--start-dockerd), or a given one whose build cache may be pruned."""
    name = "docker"

    def __init__(self, workdir, options):
        candidates = [options.docker] if options.docker else ["/usr/bin/docker", "docker"]
        path = next((shutil.which(c) for c in candidates if shutil.which(c)), None)
        if path is None:
            raise Skip("docker is not installed")
        if not (options.start_dockerd or options.docker_host):
            raise Skip("needs --start-dockerd (a private daemon), or --docker-host URL (its build cache is pruned!)")
        super().__init__(workdir)
        self.bin = path
        self.process = None
        self.env.update(DOCKER_BUILDKIT="1", DOCKER_CONFIG=f"{self.dir}/config", BUILDKIT_PROGRESS="plain")
        self.env.pop("DOCKER_CONTEXT", None)
        os.makedirs(f"{self.dir}/config", exist_ok=True)
        if options.start_dockerd:
            self.start(options)
        else:
            self.env["DOCKER_HOST"] = options.docker_host
            self.note = "foreign daemon: its CPU and memory are not counted"
        self.version = quiet([self.bin, "version", "-f", "client {{.Client.Version}}, server {{.Server.Version}}"],
                             self.env).strip()

    def start(self, options):
        dockerd = shutil.which("dockerd")
        if dockerd is None:
            raise Skip("dockerd is not installed")
        why = ""
        for driver in options.docker_storage.split(","):
            base = f"{self.dir}/d"
            remove_tree(base)
            os.makedirs(base)
            with open(f"{base}/daemon.json", "w") as f:
                f.write("{}\n")
            socket = f"{base}/s.sock"
            if len(socket) > 100:
                raise Skip(f"the socket's path is too long for a Unix socket: choose a shorter --workdir ({socket})")
            with open(f"{self.dir}/dockerd.log", "w") as log:
                self.process = subprocess.Popen(
                    [dockerd, "--config-file", f"{base}/daemon.json", "--data-root", f"{base}/data",
                     "--exec-root", f"{base}/exec", "--pidfile", f"{base}/pid", "-H", f"unix://{socket}",
                     "--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false",
                     "--storage-driver", driver], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            self.env["DOCKER_HOST"] = f"unix://{socket}"
            for _ in range(120):
                if self.process.poll() is not None:
                    break
                if subprocess.run([self.bin, "version"], env=self.env, capture_output=True, check=False).returncode == 0:
                    self.daemon = Daemon(self.process.pid)
                    self.note = f"private dockerd, {driver} storage"
                    return
                time.sleep(0.25)
            self.stop()
            with open(f"{self.dir}/dockerd.log") as log:
                why += f"{driver}: {' | '.join(log.read().strip().splitlines()[-2:])} "
        raise Skip(f"dockerd does not start here: {why}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def close(self):
        self.stop()
        super().close()

    def add_base(self, name, tar, sidecar):
        super().add_base(name, tar, sidecar)
        args = [a for c in self.bases[name][1] for a in ("--change", c)]
        quiet([self.bin, "import", *args, tar, name], self.env)

    def reset(self, bases):
        if self.tags:
            quiet([self.bin, "rmi", "-f", *self.tags], self.env, check=False)
        quiet([self.bin, "image", "prune", "-f"], self.env)
        quiet([self.bin, "builder", "prune", "-af"], self.env)

    tags = ()

    def build(self, tag, ctx, dockerfile, args=()):
        self.tags = tuple(set(self.tags) | {tag})
        return [self.bin, "build", "--network", "host", *args, "-t", tag, "-f", dockerfile, ctx]

    def image_id(self, tag):
        return quiet([self.bin, "image", "inspect", "-f", "{{.Id}}", tag], self.env).strip()

    def load(self, archive):
        quiet([self.bin, "load", "-i", archive], self.env)

    def queries(self, ref):
        return {"images": [self.bin, "images"], "history": [self.bin, "history", ref],
                "inspect": [self.bin, "inspect", ref], "version": [self.bin, "version"]}


class Skopeo(Tool):
    """Moves images only."""
    name = "skopeo"
    cases = "e"

    def __init__(self, workdir, options):
        path = shutil.which("skopeo")
        if path is None:
            raise Skip("skopeo is not installed")
        super().__init__(workdir)
        self.bin = path
        self.version = quiet([path, "--version"]).strip()


ALL = {"kasane": Kasane, "buildah": Buildah, "buildah-crun": BuildahCrun, "buildah-runc": BuildahRunc, "docker": Docker,
       "skopeo": Skopeo}
