"""Fixture of the tests that run kasane as a plain user: a base image, a home, a context and a range of ids."""

import os
import stat
import sys

import support
from contexts import write_busybox_tar, write_tree
from imagetree import read_docker_archive
from modes import HELPER, UID, PlainUser, range_of_ids
from support import Kasane, run

EPOCH = "1600000000"


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
        for name in ("passwd", "group", "subuid", "subgid"):
            if not os.path.exists(f"/etc/{name}"):
                self.skipTest(f"there is no /etc/{name} to put another one over")
        return range_of_ids(self.work, home)

    def need_user_namespaces(self):
        outcome = run([sys.executable, HELPER, str(UID), "--", "unshare", "-U", "true"], check=False)
        if outcome.code != 0:
            self.skipTest(f"this host forbids user namespaces to plain users: {outcome.err.strip()}")
