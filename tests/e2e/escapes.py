"""What the tests of escapes share: a canary tree outside of everything, and canaries in kasane's environment and
arguments. A build may change nothing of the tree and show none of the canaries, whether it succeeds or fails."""

import hashlib
import io
import json
import os
import stat
import tarfile
import textwrap

import modes
import support
from contexts import D, F, L, Special, write_tree
from imagetree import read_docker_archive

RACES = int(os.environ.get("KASANE_RACES", "2000" if support.LONG else "100"))
SECRET = "canary-9f27-content"  # of the files outside
ENVIRONMENT = "canary-51e8-environment"
ARGUMENT = "canary-c03d-argument"
LEAKS = (SECRET, ENVIRONMENT, ARGUMENT)
HOST_FILES = ("/etc/hostname", "/etc/passwd", "/etc/shadow", "/etc/resolv.conf", "/proc/sys/kernel/core_pattern",
              "/proc/sys/kernel/hostname", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev")
TREE = {"secret": F(SECRET + "\n", 0o644), "setuid": F(SECRET, 0o4755), "empty": F(""), "b/": D(0o755), "b/f": F(SECRET),
        "etc/passwd": F(f"root:x:0:0:{SECRET}:/:/bin/sh\n"), "link": L("secret"), "out": L("/etc"), "fifo": Special(),
        "pts/": D(), "shm/": D(), "fd/": D(), "null": F(SECRET, 0o666), "Dockerfile": F(f"FROM scratch\nLABEL x={SECRET}\n"),
        ".dockerignore": F(SECRET + "\n"), "sub/ok/": D(), "sub/ok/f": F(SECRET)}


def fingerprint(path):
    """Everything that a change of a file would change."""
    st = os.lstat(path)
    content = ""
    if stat.S_ISREG(st.st_mode) and not path.startswith("/proc/"):
        with open(path, "rb") as f:
            content = hashlib.sha256(f.read()).hexdigest()
    elif stat.S_ISLNK(st.st_mode):
        content = os.readlink(path)
    elif path.startswith("/proc/"):
        with open(path, "rb") as f:
            return f.read()
    try:
        xattrs = {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)}
    except OSError:
        xattrs = {}
    times = (st.st_mtime_ns, st.st_ctime_ns) if not path.startswith("/dev") else ()  # a device's are its users'
    return (st.st_mode, st.st_uid, st.st_gid, st.st_size if not stat.S_ISDIR(st.st_mode) else 0, content, times, xattrs,
            st.st_ino, st.st_nlink if path != "/dev" else 0)


class Canary:
    """The tree outside. `plain`: it belongs to the plain user, so that his kasane could change it."""

    def __init__(self, folder, plain):
        self.root = write_tree(folder, TREE)
        try:
            os.setxattr(os.path.join(folder, "secret"), "user.canary", b"x")
        except OSError:
            pass  # this file system has none
        if plain:
            for where, folders, files in os.walk(folder):
                for path in [where, *(os.path.join(where, n) for n in files)]:
                    mode = os.lstat(path).st_mode
                    os.lchown(path, modes.UID, modes.UID)
                    if not stat.S_ISLNK(mode):
                        os.chmod(path, stat.S_IMODE(mode))

    def state(self):
        found = {}
        for where, folders, files in os.walk(self.root):
            for path in [where, *(os.path.join(where, n) for n in folders + files)]:
                found[path] = fingerprint(path)
        found.update({path: fingerprint(path) for path in HOST_FILES if os.path.lexists(path)})
        return found


@support.needs_root
@support.needs_busybox
class EscapeCase(support.TestCase):
    """build(mode, ...) with all checks. @CANARY in Dockerfiles and link targets is the path of the tree outside."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(modes.probe_program(cls.work), "rb") as f:
            cls.probe = F(f.read(), 0o755)
        cls.base = modes.write_base(cls.work, {"probe": cls.probe})
        cls.kasanes, cls.canaries = {}, {}
        cls.marked = os.path.join(cls.new_place("marked"), ARGUMENT)  # a path in kasane's arguments

    @classmethod
    def new_place(cls, name):
        folder = os.path.join(cls.work, name)
        os.mkdir(folder)
        os.chmod(folder, 0o1777)
        return folder

    def kasane(self, mode):
        self.used.add(mode.name)
        if mode.name not in self.kasanes:
            self.kasanes[mode.name] = mode.kasane(self.work, AWS_SECRET_ACCESS_KEY=ENVIRONMENT, HOST_ONLY=ENVIRONMENT)
            self.kasanes[mode.name]("load", "-i", self.base)
        return self.kasanes[mode.name]

    def canary(self, mode):
        if mode.name not in self.canaries:
            self.canaries[mode.name] = Canary(os.path.join(self.work, f"canary-{mode.name}"), mode.plain)
        return self.canaries[mode.name]

    def context(self, mode, dockerfile, files=None):
        where = self.canary(mode).root
        dockerfile = textwrap.dedent(dockerfile).replace("@CANARY", where)
        spec = {}
        for name, value in (files or {}).items():
            if isinstance(value, L):
                value = L(value.target.replace("@CANARY", where))
            spec[name] = value
        if dockerfile:
            spec["Dockerfile"] = dockerfile if "FROM " in dockerfile else "FROM busybox\n" + dockerfile
        return write_tree(self.new_folder("ctx"), spec)

    def run_checked(self, mode, *args, fails=None, **kwargs):
        """Runs kasane and checks that nothing got out or in; `fails`: whether it must fail, None: either is right."""
        canary = self.canary(mode)
        before = canary.state()
        outcome = self.kasane(mode)(*args, check=False, **kwargs)
        after = canary.state()
        changed = {p: (before.get(p), after.get(p)) for p in {*before, *after} if before.get(p) != after.get(p)}
        for path in changed:
            if path.startswith("/dev/"):  # the other programs of this machine need it as it was
                os.chmod(path, stat.S_IMODE(before[path][0]))
        self.assertEqual({}, changed, f"changed outside:\n{outcome.err}")
        self.assertIn(outcome.code, range(0, 126), outcome.err)  # no crash, no signal
        for leak in LEAKS:
            self.assertNotIn(leak, outcome.out + outcome.err)
        if fails is not None:
            self.assertEqual(fails, outcome.code != 0, outcome.err)
        if outcome.code != 0:
            self.assertRegex(outcome.err, r"(?m)^(ERROR|Error|error|kasane)")
        return outcome

    def build(self, mode, dockerfile, files=None, *args, fails=None, **kwargs):
        """Progress text of a build of lines after FROM busybox. Of a success, the layers hold no canary either."""
        context = self.context(mode, dockerfile, files)
        outcome = self.run_checked(mode, "build", "--progress", "plain", *mode.flags, "-t", "escape", "--iidfile",
                                   f"{self.marked}-{mode.name}", *args, context, fails=fails, **kwargs)
        if outcome.code == 0:
            self.scan_image(mode)
        return outcome.err

    def scan_image(self, mode):
        path = self.save(mode)
        with open(path, "rb") as f:
            data = f.read()
        for leak in LEAKS:
            self.assertNotIn(leak.encode(), data)

    def save(self, mode):
        # Where the plain user may write, too.
        path = os.path.join(self.new_folder("saved"), "i.tar")
        os.chmod(os.path.dirname(path), 0o1777)
        self.kasane(mode)("save", "-o", path, "escape")
        return path

    def tree(self, mode):
        return read_docker_archive(self.save(mode)).tree

    def image_with(self, mode, name, config):
        """Loads a busybox whose image configuration is changed by `config` (a function) as `name`."""
        source = os.path.join(self.new_folder("image"), "s.tar")
        target = source + ".new"
        with tarfile.open(self.base) as tar:
            members = [(m, tar.extractfile(m).read() if m.isfile() else None) for m in tar.getmembers()]
        data = {m.name: content for m, content in members}
        manifest = json.loads(data["manifest.json"])
        old = manifest[0]["Config"]
        document = json.loads(data[old])
        config(document)
        text = json.dumps(document).encode()
        digest = hashlib.sha256(text).hexdigest()
        manifest[0]["Config"], manifest[0]["RepoTags"] = f"{digest}.json", [f"{name}:latest"]
        with tarfile.open(target, "w") as tar:
            for file, content in [("manifest.json", json.dumps(manifest).encode()), (f"{digest}.json", text),
                                  *((n, c) for n, c in data.items() if c is not None and n in manifest[0]["Layers"])]:
                info = tarfile.TarInfo(file)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        os.chmod(target, 0o644)
        return self.kasane(mode)("load", "-i", target, check=False)

    def setUp(self):
        self.used = set()

    def tearDown(self):
        for name in self.used:
            self.kasanes[name].check_store(self)
