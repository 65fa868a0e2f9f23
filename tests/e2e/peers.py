"""The builders kasane is compared with: buildah with a private store, docker when DOCKER_HOST names a daemon."""

import os
import shutil
import tempfile

from imagetree import read_dir_transport, read_docker_archive
from support import BUSYBOX_CHANGES, clean_environment, run, static_busybox


class Missing(Exception):
    """This builder cannot be used here; str() says why."""


def policy_file(folder):
    """A signature policy that accepts everything, for skopeo and buildah."""
    path = os.path.join(folder, "policy.json")
    with open(path, "w", encoding="ascii") as f:
        f.write('{"default": [{"type": "insecureAcceptAnything"}]}\n')
    return path


class Buildah:
    """buildah with its own configuration and store below `folder`; no layer cache."""
    name = "buildah"

    def __init__(self, folder):
        if shutil.which("buildah") is None:
            raise Missing("buildah is not installed")
        if os.geteuid() != 0:
            raise Missing("needs root")
        self.dir = folder
        os.makedirs(folder, exist_ok=True)
        self.policy = ["--signature-policy", policy_file(folder)]
        # Limits no higher than the hard ones: a root without CAP_SYS_RESOURCE may not raise any, and buildah
        # first lowers its own process limit to the kernel's pid_max.
        self._write("containers.conf", '[containers]\ndefault_ulimits = ["nofile=1024:4096", "nproc=16384:16384"]\n')
        self._write("registries.conf", 'unqualified-search-registries = ["localhost"]\n'
             'short-name-mode = "permissive"\n')
        self.env = clean_environment(CONTAINERS_CONF=f"{folder}/containers.conf", TMPDIR=folder,
                                     CONTAINERS_REGISTRIES_CONF=f"{folder}/registries.conf",
                                     CONTAINERS_STORAGE_CONF=f"{folder}/storage.conf")
        self.version = run(["buildah", "--version"]).out.split()[2]
        self._probe()

    def _write(self, name, text):
        with open(os.path.join(self.dir, name), "w", encoding="utf-8") as f:
            f.write(text)

    def _probe(self):
        """Finds a storage driver and a runtime that work: crun, for one, refuses a host with hybrid cgroups."""
        context = os.path.join(self.dir, "probe")
        os.makedirs(context)
        shutil.copy(static_busybox(), f"{context}/sh")
        self._write("probe/Dockerfile", 'FROM scratch\nCOPY sh /bin/sh\nRUN ["/bin/sh", "-c", ":"]\n')
        why = []
        for driver in ("overlay", "vfs"):
            self._write("storage.conf", f'[storage]\ndriver = "{driver}"\ngraphroot = "{self.dir}/{driver}/root"\n'
                                        f'runroot = "{self.dir}/{driver}/run"\n')
            for runtime, isolation in (("runc", "oci"), ("crun", "oci"), ("", "chroot")):
                if runtime and shutil.which(runtime) is None:
                    continue
                self.runtime = ["--runtime", runtime] if runtime else []
                self.isolation = ["--isolation", isolation]
                outcome = self.build(context, "probe")
                if outcome.code == 0:
                    return
                why.append(f"{driver}, {runtime or isolation}: {outcome.err.strip()[-300:]}")
        raise Missing("a RUN fails with every runtime: " + " // ".join(why))

    def add_base(self, tar):
        context = tempfile.mkdtemp(dir=self.dir)
        os.link(tar, f"{context}/base.tar")
        with open(f"{context}/Dockerfile", "w", encoding="ascii") as f:
            f.write("FROM scratch\nADD base.tar /\n" + "".join(c + "\n" for c in BUSYBOX_CHANGES))
        outcome = self.build(context, "localhost/busybox:latest")
        if outcome.code != 0:
            raise AssertionError(f"buildah cannot make the base image: {outcome.err}")

    def build(self, context, tag, *args):
        return run(["buildah", *self.runtime, "build", *self.policy, *self.isolation, "--layers=false",
                    "--format", "docker", "--identity-label=false", "--network", "host", "-t", tag, *args, context],
                   check=False, env=self.env, cwd=context)

    def image(self, tag):
        folder = tempfile.mkdtemp(dir=self.dir)
        try:
            run(["buildah", "push", *self.policy, tag, f"dir:{folder}/image"], env=self.env)
            return read_dir_transport(f"{folder}/image")
        finally:
            shutil.rmtree(folder)


class Docker:
    """A daemon that somebody else runs. Images are named kasane-e2e-*, and removed again."""
    name = "docker"

    def __init__(self, folder):
        host = os.environ.get("DOCKER_HOST")
        if not host:
            raise Missing("DOCKER_HOST is not set")
        # A plugin directory of the user may put another BuildKit front end in the way.
        self.program = next((p for p in ("/usr/bin/docker", shutil.which("docker")) if p and os.access(p, os.X_OK)),
             None)
        if self.program is None:
            raise Missing("docker is not installed")
        self.dir = folder
        os.makedirs(folder, exist_ok=True)
        self.env = clean_environment(DOCKER_HOST=host, DOCKER_BUILDKIT="1", BUILDKIT_PROGRESS="plain",
                                     DOCKER_CONFIG=folder)
        outcome = run([self.program, "version", "-f", "{{.Server.Version}}"], check=False, env=self.env)
        if outcome.code != 0:
            raise Missing(f"no daemon answers at {host}: {outcome.err.strip()[-200:]}")
        self.version = outcome.out.strip()

    def add_base(self, tar):
        changes = [a for c in BUSYBOX_CHANGES for a in ("--change", c)]
        run([self.program, "import", *changes, tar, "busybox:latest"], env=self.env)

    def build(self, context, tag, *args):
        return run([self.program, "build", "--network", "host", "-t", f"kasane-e2e-{tag}", *args, context],
                   check=False, env=self.env, cwd=context)

    def image(self, tag):
        path = os.path.join(self.dir, f"{tag}.tar")
        try:
            run([self.program, "save", "-o", path, f"kasane-e2e-{tag}"], env=self.env)
            return read_docker_archive(path)
        finally:
            run([self.program, "rmi", "-f", f"kasane-e2e-{tag}"], check=False, env=self.env)
            if os.path.exists(path):
                os.unlink(path)
