"""Commands that change a store, each with a store to begin with and a judge of what it left behind.

For the tests of crashes, power cuts, failing system calls and full disks: whatever happened, the store is sound, what
was acknowledged is there, and the same command then gives the same digests and leaves nothing beside.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess

import registries
import support
from contexts import write_busybox_tar, write_tree
from support import run

EPOCH = "1600000000"
DOCKERFILE = """FROM busybox AS one
COPY src /src/
RUN rm -r /usr/lib/old && mkdir /made && for i in 1 2 3 4 5 6 7 8; do echo $i > /made/$i; done
FROM busybox
COPY --from=one /made /src /all/
RUN echo end > /end
"""


def digest_of_file(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Command:
    """argv(folder) runs in a folder that holds store/ (a copy of a template) and where it may write."""

    def __init__(self, name, template, argv, done, undone=None):
        self.name, self.template, self.argv = name, template, argv
        self.done = done        # done(kasane, folder): asserts what success means
        self.undone = undone    # undone(kasane, folder): what must hold when it was interrupted


class Durable(support.TestCase):
    """Templates and commands, made once per class. They lie in a tmpfs where that can be mounted: the disk of a busy
    machine would be most of the time."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", cls.work], check=False)
        cls.home = os.path.join(cls.work, "home")
        os.mkdir(cls.home)
        cls.registry = registries.serve(os.path.join(cls.work, "registry"))
        cls.addClassCleanup(cls.registry.stop)
        cls.context = write_tree(os.path.join(cls.work, "ctx"),
                                 {"Dockerfile": DOCKERFILE, **{f"src/{i}": f"{i}\n" * 3000 for i in range(30)}})
        base = cls.template("base")
        base.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        cls.base = base.config("busybox")["Id"]
        full = cls.template("full", "base")
        cls.name = f"{cls.registry.host}/app:1"
        cls.id = full.build_id(cls.context, "-t", cls.name)
        full("push", "-q", cls.name)
        cls.archive = os.path.join(cls.work, "image.tar")
        full("save", "-o", cls.archive, cls.name)
        cls.archive_digest = digest_of_file(cls.archive)
        full("store", "sweep")
        other = cls.template("dangling", "full")
        other("tag", "busybox", cls.name)
        cls.commands = cls.make_commands()

    @classmethod
    def kasane(cls, root):
        return support.Kasane(root, SOURCE_DATE_EPOCH=EPOCH, HOME=cls.home)

    @classmethod
    def template(cls, name, like=None):
        root = os.path.join(cls.work, "templates", name)
        os.makedirs(os.path.dirname(root), exist_ok=True)
        if like:
            run(["cp", "-a", os.path.join(cls.work, "templates", like), root])
        return cls.kasane(root)

    @classmethod
    def make_commands(cls):
        def has_image(case, kasane, _):
            case.assertIn(cls.id, kasane("images", "-q", "--no-trunc").out.split())
            out = os.path.join(os.path.dirname(kasane.root), "judge.tar")
            kasane("save", "-o", out, cls.name)
            case.assertEqual(cls.archive_digest, digest_of_file(out))
            os.unlink(out)

        def built(case, kasane, folder):
            case.assertIn(cls.id, kasane("images", "-q", "--no-trunc").out.split())

        def saved(case, kasane, folder):
            case.assertEqual(cls.archive_digest, digest_of_file(os.path.join(folder, "out.tar")))

        def not_half_saved(case, kasane, folder):
            if os.path.exists(os.path.join(folder, "out.tar")):
                saved(case, kasane, folder)

        def gone(case, kasane, folder):
            case.assertEqual({cls.base}, set(kasane("images", "-aq", "--no-trunc").out.split()))

        def still_base(case, kasane, folder):
            case.assertIn(cls.base, kasane("images", "-q", "--no-trunc").out.split())

        return {c.name: c for c in (
            Command("build", "base", lambda folder: ["build", "-q", "-t", cls.name, cls.context], has_image, still_base),
            Command("load", "base", lambda folder: ["load", "-q", "-i", cls.archive], has_image, still_base),
            Command("pull", "base", lambda folder: ["pull", "-q", cls.name], has_image, still_base),
            Command("save", "full", lambda folder: ["save", "-o", os.path.join(folder, "out.tar"), cls.name], saved,
                    not_half_saved),
            Command("rmi", "full", lambda folder: ["rmi", cls.name], gone, still_base),
            Command("prune", "dangling", lambda folder: ["image", "prune", "-f"], gone, still_base))}

    @contextlib.contextmanager
    def folder(self, command, where=None):
        """A folder with a copy of the command's template: (kasane, folder)."""
        folder = where or self.new_folder(command.name)
        root = os.path.join(folder, "store")
        run(["cp", "-a", os.path.join(self.work, "templates", command.template), root])
        try:
            yield self.kasane(root), folder
        finally:
            if not where:
                shutil.rmtree(folder, ignore_errors=True)

    def start(self, command, kasane, folder, prefix=()):
        return subprocess.Popen([*prefix, support.KASANE, *command.argv(folder)], env=kasane.env, cwd=folder,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def damages(self, kasane):
        outcome = kasane("store", "check", check=False)
        return outcome.out if outcome.code else ""

    def judge(self, command, kasane, folder, done, what):
        """After an interruption: sound, nothing half done, and the command then succeeds and tidies up."""
        self.assertEqual("", self.damages(kasane), what)
        (command.done if done else command.undone)(self, kasane, folder)
        if not (done and command.name in ("rmi", "prune")):
            again = kasane(*command.argv(folder), check=False, cwd=folder)
            # What was removed just before the end cannot be removed again.
            if not (command.name == "rmi" and "No such image" in again.err):
                self.assertEqual(0, again.code, f"{what}: {again}")
        command.done(self, kasane, folder)
        self.assertEqual("", self.damages(kasane), what)
        # A build of hits alone writes nothing, so what the dead one left may still lie there.
        kasane("store", "sweep")
        for below in ("ingest", "trash"):
            self.assertEqual([], os.listdir(os.path.join(kasane.root, below)), what)
        report = json.loads(kasane("store", "check", "--format", "json").out)
        self.assertEqual(0, report["leftovers"], what)
        # Nothing beside the file that save was to write.
        self.assertLessEqual(set(os.listdir(folder)), {"store", "out.tar", "lost+found"}, what)
