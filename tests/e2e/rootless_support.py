"""Fixture of the tests that run kasane as a plain user: a base image, a home, a context and a range of ids."""

import os
import stat
import sys

import support
from contexts import write_busybox_tar, write_tree
from imagetree import read_docker_archive
from support import Kasane, run

UID = 54321
EPOCH = "1600000000"
HELPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain_user.py")


class PlainUser(Kasane):
    """kasane run by plain_user.py."""

    def __init__(self, root, *options, **env):
        super().__init__(root, **env)
        self.options = options

    def __call__(self, *args, check=True, env=None, **kwargs):
        return run([sys.executable, HELPER, str(UID), *self.options, "--", support.KASANE, *args], check=check,
                   env={**self.env, **(env or {})}, **kwargs)


class RootlessCase(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        first = Kasane(os.path.join(cls.work, "first"), SOURCE_DATE_EPOCH=EPOCH)
        first.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        cls.base = os.path.join(cls.work, "base.tar")
        first("save", "-o", cls.base, "busybox")
        os.chmod(cls.base, 0o644)
        cls.as_root = first

    def home(self):
        """A folder of the plain user's: store, HOME and output."""
        folder = self.new_folder("home")
        os.chown(folder, UID, UID)
        return folder

    def context(self, dockerfile, sources):
        folder = write_tree(self.new_folder("ctx"), {**sources, "Dockerfile": dockerfile})
        for where, folders, files in os.walk(folder):
            for path in [where, *(os.path.join(where, f) for f in files)]:
                if not os.path.islink(path):
                    mode = stat.S_IMODE(os.lstat(path).st_mode)  # chown clears setuid
                    os.chown(path, UID, UID)
                    os.chmod(path, mode)
        return folder

    def saved(self, kasane, home, name):
        path = os.path.join(home, "out.tar")
        kasane("save", "-o", path, name)
        return read_docker_archive(path)

    def user_with_range(self, home):
        """Options that give the user a range of subordinate ids, seen by this process alone."""
        binds = []
        for name, line in (("passwd", f"kasane-e2e:x:{UID}:{UID}::{home}:/bin/sh"), ("group", f"kasane-e2e:x:{UID}:"),
                           ("subuid", f"kasane-e2e:{UID * 10}:65536"), ("subgid", f"kasane-e2e:{UID * 10}:65536")):
            if not os.path.exists(f"/etc/{name}"):
                self.skipTest(f"there is no /etc/{name} to put another one over")
            with open(f"/etc/{name}", encoding="utf-8") as f:
                text = f.read()
            path = os.path.join(self.new_folder("etc"), name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.rstrip("\n") + "\n" + line + "\n")
            binds += ["--bind", path, f"/etc/{name}"]
        return binds

    def need_user_namespaces(self):
        outcome = run([sys.executable, HELPER, str(UID), "--", "unshare", "-U", "true"], check=False)
        if outcome.code != 0:
            self.skipTest(f"this host forbids user namespaces to plain users: {outcome.err.strip()}")
