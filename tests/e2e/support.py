"""What the end-to-end tests share: the kasane under test, work folders, visible skips, leak checks.

Plain Python 3 with its standard library. Every test file ends with `support.main()`; when all of its tests
were skipped it exits with 77, which CTest shows as skipped.
"""

import collections
import errno
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KASANE = os.environ.get("KASANE", "")
LONG = os.environ.get("KASANE_LONG", "") not in ("", "0")
ALL_SKIPPED = 77  # SKIP_RETURN_CODE of tests/CMakeLists.txt

Outcome = collections.namedtuple("Outcome", "code out err")


def is_root():
    return os.geteuid() == 0


needs_root = unittest.skipUnless(is_root(), "needs root")


def needs(*programs):
    """Skips a test, or in setUpClass a class, when a program is missing."""
    missing = [p for p in programs if shutil.which(p) is None]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


@functools.lru_cache(maxsize=None)
def static_busybox():
    """Path of a busybox that runs in an empty root, or None."""
    for path in ("/bin/busybox", "/usr/bin/busybox", shutil.which("busybox")):
        if not path or not os.access(path, os.X_OK):
            continue
        with open(path, "rb") as f:
            if b"ld-linux" not in f.read(4096):
                return path
    return None


needs_busybox = unittest.skipIf(static_busybox() is None, "not installed: a static busybox (busybox-static)")


def clean_environment(**more):
    """The environment without what would steer a builder, with a fixed locale and time zone."""
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("KASANE_", "DOCKER_", "BUILDKIT_", "CONTAINERS_", "SOURCE_DATE_"))}
    env.pop("XDG_RUNTIME_DIR", None)
    env.update(LC_ALL="C.UTF-8", TZ="UTC")
    env.update(more)
    return env


def run(argv, check=True, timeout=300, **kwargs):
    """Runs a program to its end; out and err are text. Raises AssertionError on failure when `check`."""
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    if "input" in kwargs:
        del kwargs["stdin"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False, **kwargs)
    outcome = Outcome(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))
    if check and outcome.code != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}\nexit code {outcome.code}\n{outcome.out[-2000:]}{outcome.err[-4000:]}")
    return outcome


class Kasane:
    """kasane with a store of its own. Calling it runs a command: k("images", "-q")."""

    def __init__(self, root, **env):
        self.root = root
        self.env = clean_environment(KASANE_ROOT=root, **env)

    def __call__(self, *args, check=True, env=None, **kwargs):
        return run([KASANE, *args], check=check, env={**self.env, **(env or {})}, **kwargs)

    def build(self, context, *args, check=True, **kwargs):
        return self("build", "--progress", "plain", *args, context, check=check, **kwargs)

    def build_id(self, context, *args, **kwargs):
        """Image id of a build that succeeds."""
        iidfile = os.path.join(os.path.dirname(self.root), f"iid.{os.getpid()}.{time.monotonic_ns()}")
        try:
            self.build(context, "--iidfile", iidfile, *args, **kwargs)
            with open(iidfile, encoding="ascii") as f:
                return f.read()
        finally:
            if os.path.exists(iidfile):
                os.unlink(iidfile)

    def explain(self, context, *args, **kwargs):
        """Builds with --explain; the steps as [(cached, name, [reasons])]."""
        text = self.build(context, "--explain", *args, **kwargs).out
        steps = []
        for line in text.splitlines():
            if match := re.match(r"(CACHED|RAN   ) (.*)", line):
                steps.append((match[1] == "CACHED", match[2], []))
            elif line.startswith("       ") and steps:
                steps[-1][2].append(line.strip())
        return steps

    def config(self, reference):
        return json.loads(self("inspect", reference).out)[0]

    def import_busybox(self, tar):
        changes = [a for c in BUSYBOX_CHANGES for a in ("--change", c)]
        return self("import", *changes, tar, "busybox:latest").out.strip()

    def check_store(self, case):
        """Asserts that no object of the store is damaged."""
        outcome = self("store", "check", check=False)
        case.assertEqual(0, outcome.code, f"store check: {outcome.out}{outcome.err}")


BUSYBOX_CHANGES = ["ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 'CMD ["sh"]']


class TestCase(unittest.TestCase):
    """A work folder per class (self.work), removed at the end, with the mounts that a failure left in it."""
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        if not KASANE or not os.access(KASANE, os.X_OK):
            raise AssertionError("set KASANE to the path of the kasane binary")
        cls.work = tempfile.mkdtemp(prefix="ke2e-", dir=os.environ.get("KASANE_TEST_DIR"))
        os.chmod(cls.work, 0o755)
        cls.addClassCleanup(remove_tree, cls.work)

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def new_folder(self, name="f"):
        folder = tempfile.mkdtemp(prefix=name + "-", dir=self.work)
        os.chmod(folder, 0o755)
        return folder


def mounts_below(folder):
    folder = os.path.realpath(folder)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        points = [line.split()[4].replace("\\040", " ") for line in f]
    return [p for p in points if p == folder or p.startswith(folder + "/")]


def remove_tree(folder):
    for point in sorted(mounts_below(folder), reverse=True):
        subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)
    if shutil.rmtree(folder, ignore_errors=True) is None and os.path.lexists(folder):
        subprocess.run(["rm", "-rf", "--one-file-system", folder], stderr=subprocess.DEVNULL, check=False)


def mount_lines_naming(text):
    """Lines of this namespace's mountinfo that hold `text`."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        return [line.rstrip() for line in f if text in line]


def processes_naming(*texts):
    """{pid: command line} of living processes whose arguments, environment or mounts name one of `texts`."""
    found = {}
    wanted = [t.encode() for t in texts]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                if f.read().rpartition(b")")[2].split()[0] in (b"Z", b"X"):
                    continue
            data = b""
            for part in ("cmdline", "environ", "mountinfo"):
                try:
                    with open(f"/proc/{pid}/{part}", "rb") as f:
                        content = f.read()
                except PermissionError:
                    continue
                except OSError as error:
                    if error.errno != errno.EINVAL:  # it ends just now, and its mounts are gone
                        raise
                    continue
                if part == "cmdline":
                    command = content.replace(b"\0", b" ").decode("utf-8", "replace")
                data += content
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(w in data for w in wanted):
            found[int(pid)] = command
    return found


def xattrs_work(folder):
    """Whether files in `folder` can have attributes of users (tmpfs learned it late)."""
    path = os.path.join(folder, "xattr-probe")
    try:
        with open(path, "wb"):
            os.setxattr(path, "user.probe", b"x")
        return True
    except OSError:
        return False
    finally:
        os.unlink(path)


def wait_until(condition, seconds):
    """Polls until condition() is true; returns its last value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.02)


def corpus(name):
    """Path of a file of the shared corpus; skips visibly where it is missing."""
    folder = os.environ.get("KASANE_CORPUS") or os.path.join(SOURCE, "..", "shared", "corpus")
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        raise unittest.SkipTest(f"corpus file {name} is missing (KASANE_CORPUS)")
    return path


def main():
    """Runs the calling file's tests; exit code 0, 1, or 77 when every test was skipped."""
    program = unittest.main(module="__main__", verbosity=2, exit=False)
    result = program.result
    for test, why in result.skipped:
        print(f"SKIPPED {test}: {why}", file=sys.stderr)
    if not result.wasSuccessful():
        sys.exit(1)
    # A class that was skipped as a whole counts as one skip and no run.
    passed = result.testsRun - sum(isinstance(t, unittest.TestCase) for t, _ in result.skipped)
    sys.exit(0 if passed > 0 else ALL_SKIPPED)
