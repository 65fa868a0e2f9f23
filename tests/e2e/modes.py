"""The ways a RUN step can be run here: as root with the sandbox of kasane's own or with an OCI runtime, as a plain
user with a range of subordinate ids, and as a plain user with one id.

Each mode says why it is not possible on this host, so that its tests are skipped visibly.
"""

import functools
import os
import shutil
import sys
import tempfile
import unittest

import support
from contexts import D, busybox_spec, make_tar
from support import Kasane, run

UID = 54321
HERE = os.path.dirname(os.path.abspath(__file__))
HELPER = os.path.join(HERE, "plain_user.py")


class PlainUser(Kasane):
    """kasane run by plain_user.py with its options."""

    def __init__(self, root, *options, **env):
        super().__init__(root, **env)
        self.options = options

    def command(self, *args):
        return [sys.executable, HELPER, str(UID), *self.options, "--", support.KASANE, *args]

    def __call__(self, *args, check=True, env=None, **kwargs):
        return run(self.command(*args), check=check, env={**self.env, **(env or {})}, **kwargs)


class RootUser(Kasane):

    def command(self, *args):
        return [support.KASANE, *args]


class Mode:
    """name; flags: of build and run; plain: not root; one_id: no other user's files can be made."""

    def __init__(self, name, *flags, plain=False, one_id=False, programs=()):
        self.name, self.flags, self.plain, self.one_id, self.programs = name, flags, plain, one_id, programs

    def __repr__(self):
        return self.name

    @property
    def oci(self):
        return "oci" in self.flags

    def why_not(self):
        """None, or why this host or this kasane cannot do it."""
        if not support.is_root():
            return "needs root"
        missing = [p for p in self.programs if shutil.which(p) is None]
        if missing:
            return f"not installed: {', '.join(missing)}"
        if self.oci and "--isolation" not in help_of_build():
            return "this kasane has no --isolation"
        if self.plain:
            outcome = run([sys.executable, HELPER, str(UID), "--", "unshare", "-U", "true"], check=False)
            if outcome.code != 0:
                return f"this host forbids user namespaces to plain users: {outcome.err.strip()}"
        return None

    def kasane(self, work, **env):
        """A kasane with a new store below `work`."""
        home = tempfile.mkdtemp(prefix="home-", dir=work)
        os.chmod(home, 0o755)
        store = os.path.join(home, "store")
        if not self.plain:
            return RootUser(store, HOME=home, **env)
        os.chown(home, UID, UID)
        return PlainUser(store, *(() if self.one_id else range_of_ids(work, home)), HOME=home, **env)


MODES = [Mode("root"), Mode("oci-runc", "--isolation", "oci", "--runtime", "runc", programs=("runc",)),
         Mode("oci-crun", "--isolation", "oci", "--runtime", "crun", programs=("crun",)),
         Mode("rootless", plain=True, programs=("newuidmap", "newgidmap")), Mode("single-uid", plain=True, one_id=True)]


def mode_named(name):
    return next(m for m in MODES if m.name == name)


def each_mode(*names):
    """Decorator of a test method with a mode as its argument: one test per mode, each skipped for its own reason.

    Used in a class that is decorated with `expand_modes`.
    """
    def mark(function):
        function.modes = [m for m in MODES if not names or m.name in names]
        return function
    return mark


def expand_modes(cls):
    for name, function in list(vars(cls).items()):
        for mode in getattr(function, "modes", ()):
            def test(self, function=function, mode=mode):
                reason = why_not(mode.name)
                if reason:
                    self.skipTest(f"{mode}: {reason}")
                function(self, mode)
            test.__doc__ = function.__doc__
            setattr(cls, f"{name}__{mode.name.replace('-', '_')}", test)
        if hasattr(function, "modes"):
            delattr(cls, name)
    return cls


@functools.lru_cache(maxsize=None)
def why_not(name):
    return mode_named(name).why_not()


@functools.lru_cache(maxsize=None)
def help_of_build():
    outcome = run([support.KASANE, "build", "--help"], check=False)
    return outcome.out + outcome.err


def probe_program(folder):
    """The helper that CMake built, or one made now when a test is started by hand."""
    if path := os.environ.get("KASANE_PROBE"):
        return path
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise unittest.SkipTest("not installed: a C compiler (and KASANE_PROBE is not set)")
    path = os.path.join(folder, "probe")
    run([compiler, "-O1", "-static", "-o", path, os.path.join(HERE, "probe", "probe.c")])
    return path


def range_of_ids(work, home):
    """Options of plain_user.py that give the user a range of subordinate ids, seen by this process alone."""
    binds = []
    folder = tempfile.mkdtemp(prefix="etc-", dir=work)
    os.chmod(folder, 0o755)
    for name, line in (("passwd", f"kasane-e2e:x:{UID}:{UID}::{home}:/bin/sh"), ("group", f"kasane-e2e:x:{UID}:"),
                       ("subuid", f"kasane-e2e:{UID * 10}:65536"), ("subgid", f"kasane-e2e:{UID * 10}:65536")):
        text = ""
        if os.path.exists(f"/etc/{name}"):
            with open(f"/etc/{name}", encoding="utf-8") as f:
                text = f.read()
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.rstrip("\n") + "\n" + line + "\n")
        binds += ["--bind", path, f"/etc/{name}"]
    return binds


def base_spec():
    """The busybox of the other tests with root's files alone, so that a user with one id can unpack it."""
    return {name: D(entry.mode) if isinstance(entry, D) else entry for name, entry in busybox_spec().items()}


def write_base(folder, more=None):
    """An archive of the image "busybox" with `more` files, to be loaded by every mode."""
    tar = os.path.join(folder, "modes-root.tar")
    with open(tar, "wb") as f:
        f.write(make_tar({**base_spec(), **(more or {})}))
    first = Kasane(os.path.join(folder, "modes-first"))
    first.import_busybox(tar)
    path = os.path.join(folder, "modes-base.tar")
    first("save", "-o", path, "busybox")
    os.chmod(path, 0o644)
    return path
