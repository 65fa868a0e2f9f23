#!/usr/bin/env python3
"""RUN with --isolation oci: crun and runc give the layers, exit codes and words of the built-in sandbox.

Whatever a step can see of its surroundings is written into files, so that equal trees mean equal surroundings.
"""

import contextlib
import functools
import os
import shutil
import signal
import socket
import subprocess
import unittest

import support
from contexts import F, write_busybox_tar, write_tree
from imagetree import differences, read_docker_archive
from support import Kasane

RUNTIMES = ("crun", "runc")
EPOCH = "1600000000"

SURROUNDINGS = r"""
mkdir /seen
grep -E '^(Cap|Seccomp:|NoNewPrivs|Umask|Groups|Uid|Gid|Sig[BIC])' /proc/self/status > /seen/status
cut -d ' ' -f 5,6 /proc/self/mountinfo | sort > /seen/mounts
env | sort > /seen/env
ulimit -a > /seen/limits
{ hostname; cat /etc/hosts /etc/resolv.conf; } > /seen/names
ls -ln /dev | awk '{print $1, $3, $4, $NF}' > /seen/devices
tr -d '\0' < /proc/1/cmdline > /seen/pid1
for f in /proc/sys/kernel/domainname /proc/sysrq-trigger /sys/kernel/uevent_helper; do echo x > $f; done 2> /seen/refused
ls -A /proc/acpi /sys/firmware > /seen/masked 2>&1
cat < /proc/self/fd/0 > /seen/stdin
pwd > /seen/cwd
ls /proc/self/fd | sed 's/^[3-9]$/own/' > /seen/fds
chown 5 /dev/null; chmod 666 /dev/null
"""

DOCKERFILE = """# syntax=docker/dockerfile:1
FROM busybox AS base
LABEL run.oci.handler=krun run.oci.hooks.stdout=/canary org.systemd.property.Foo=1
RUN echo '{}' > /.krun_config.json && echo 'fifth:x:77:app' >> /etc/group
RUN <<END
%s
END
RUN --network=none ls /sys/class/net > /seen/net
FROM base AS user
USER app
WORKDIR /home/app/deep/er
RUN id > ids && grep -E '^(Cap|Groups)' /proc/self/status > caps && pwd > cwd && env | sort > env && touch made
USER 1500:77
RUN id > /tmp/numeric && echo out > /dev/stdout && echo err > /dev/stderr
FROM user
USER root
RUN --mount=type=bind,from=base,source=/bin,target=/mnt/bind ls /mnt/bind | head -3 > /bind && ! touch /mnt/bind/x 2>/dev/null
RUN --mount=type=bind,from=base,source=/seen,target=/mnt/rw,rw touch /mnt/rw/x && ls /mnt/rw > /rw
RUN --mount=type=cache,target=/cache,uid=1500 echo x > /cache/x && stat -c '%%u %%a' /cache > /cache-seen
RUN --mount=type=tmpfs,target=/scratch,size=1m df -k /scratch | tail -1 | awk '{print $2}' > /tmpfs
RUN --mount=type=secret,id=s,uid=1500,mode=0440 stat -c '%%u %%a' /run/secrets/s > /secret && wc -c < /run/secrets/s >> /secret
RUN --mount=type=ssh stat -c %%F $SSH_AUTH_SOCK > /ssh
RUN --mount=type=tmpfs,target=/dev/shm/deep touch /dev/shm/deep/x && ls /dev/shm > /shm
RUN ln -s /seen /link && rm -r /seen/net && mkfifo /fifo && mknod /null c 1 3 && ! cat /null 2> /closed
RUN (setsid sleep 1000 &) ; sleep 1000 & echo done > /background
RUN ["busybox", "sh", "-c", "echo $0 > /argv0"]
CMD ["x"]
""" % SURROUNDINGS

# What ends badly: the lines after FROM busybox, and the exit code of kasane's own message about it.
FAILURES = {
    "exit": "RUN exit 7",
    "killed": "RUN kill -9 $$",
    "terminated": "RUN kill -TERM $$",
    "missing": 'RUN ["no-such-program", "x"]',
    "missing path": 'RUN ["/no/such"]',
    "not executable": 'RUN touch /f\nRUN ["/f"]',
    "format": 'RUN echo x > /f && chmod 755 /f\nRUN ["/f"]',
    "interpreter": "RUN printf '#!/nope\\n' > /f && chmod 755 /f\nRUN [\"/f\"]",
    "shell": 'SHELL ["/nope/bash", "-c"]\nRUN true',
    "builder": "RUN printf '#!/proc/self/exe\\n' > /f && chmod 755 /f\nRUN [\"/f\"]",
    "user": "USER nobody-here\nRUN true",
    "mount": "RUN --mount=type=tmpfs,target=/proc/x true",
}


PLACES = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin"


def installed(runtime):
    return shutil.which(runtime, path=PLACES) is not None


def for_each_runtime(test):
    """The test for crun and runc, those that are missing as visible skips."""
    @functools.wraps(test)
    def wrapper(self):
        for runtime in RUNTIMES:
            with self.subTest(runtime):
                if not installed(runtime):
                    self.skipTest(f"not installed: {runtime}")
                test(self, runtime)
    return wrapper


def device_state():
    """What runtimes are known to change of the host's devices."""
    stats = {path: os.lstat(path) for path in ("/dev/null", "/dev/full", "/dev/console")}
    return {path: (st.st_mode, st.st_uid, st.st_gid, st.st_ctime_ns) for path, st in stats.items()}


def runtime_traces():
    """State folders and cgroups of runtimes on this host; those of builds that run beside this test are among them."""
    found = {os.path.join(folder, name) for folder in ("/run/crun", "/run/runc") if os.path.isdir(folder) for name in os.listdir(folder)}
    return found | {folder for folder, _, _ in os.walk("/sys/fs/cgroup") if os.path.basename(folder) == "step"}


@support.needs_root
@support.needs_busybox
class OciCase(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = write_busybox_tar(os.path.join(cls.work, "root.tar"))

    def kasane(self, name, **env):
        k = Kasane(os.path.join(self.new_folder(name), "store"), SOURCE_DATE_EPOCH=EPOCH, **env)
        k.import_busybox(self.base)
        return k

    @contextlib.contextmanager
    def host_unchanged(self):
        devices, traces = device_state(), runtime_traces()
        yield
        self.assertEqual(devices, device_state())
        self.assertTrue(support.wait_until(lambda: not runtime_traces() - traces, 60), "traces of a runtime stay")

    def context(self, dockerfile, files=None):
        return write_tree(self.new_folder("ctx"), {**(files or {}), "Dockerfile": F(dockerfile)})


class SameResult(OciCase):

    def built(self, name, *flags):
        k = self.kasane(name)
        secret = self.path("secret")
        with open(secret, "w", encoding="ascii") as f:
            f.write("5ecret-5ecret")
        agent = self.path(f"agent-{name}")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(agent)
        listener.listen()
        self.addCleanup(listener.close)
        with self.host_unchanged():
            k.build(self.context(DOCKERFILE), "-t", "out", "--secret", f"id=s,src={secret}", "--ssh", f"default={agent}", *flags)
        k("save", "-o", self.path(f"{name}.tar"), "out")
        k.check_store(self)
        return read_docker_archive(self.path(f"{name}.tar"))

    @functools.cached_property
    def expected(self):
        return self.built("sandbox", "--isolation", "sandbox")

    @for_each_runtime
    def test_layers_are_equal(self, runtime):
        """Users, groups, every type of mount, links, whiteouts, background children: file by file, layer by layer."""
        image = self.built(runtime, "--isolation", "oci", "--runtime", runtime)
        self.assertEqual([], differences(self.expected.tree.describe(), image.tree.describe()))
        self.assertEqual(self.expected.config["rootfs"]["diff_ids"], image.config["rootfs"]["diff_ids"])

    @for_each_runtime
    def test_cached_steps_are_shared(self, runtime):
        """The isolation is no part of a key."""
        k = self.kasane("shared")
        folder = self.context("FROM busybox\nRUN echo x > /x\nRUN echo y > /y\n")
        k.build(folder, "--runtime", runtime)
        self.assertEqual([True, True], [cached for cached, name, _ in k.explain(folder) if "RUN" in name])


class SameFailure(OciCase):

    def failure(self, k, lines, *flags):
        """Exit code, and the message without what names files of this run."""
        outcome = k.build(self.context(f"FROM busybox\n{lines}\n"), "--no-cache", *flags, check=False)
        self.assertNotEqual(0, outcome.code, lines)
        told = [line.split(" ", 2)[-1] for line in outcome.err.splitlines()
                if any(word in line for word in ("exec", "ERROR", "did not complete", "resolve", "mount"))]
        # A step's name comes again after something else was told.
        return outcome.code, list(dict.fromkeys(l for l in told if "/store/" not in l and "[internal]" not in l))

    @for_each_runtime
    def test_failures_are_told_alike(self, runtime):
        k = self.kasane("failures")
        for name, lines in FAILURES.items():
            with self.subTest(name):
                self.assertEqual(self.failure(k, lines, "--isolation", "sandbox"),
                                 self.failure(k, lines, "--runtime", runtime))

    @for_each_runtime
    def test_memory_limit(self, runtime):
        k = self.kasane("memory")
        outcome = k.build(self.context("FROM busybox\nRUN head -c 200m /dev/zero | tail -c 150m > /dev/null\n"),
                          "--runtime", runtime, "--memory", "64m", check=False)
        if "limit was not applied" in outcome.err:
            self.skipTest("no cgroup with a memory controller here")
        self.assertIn("using more memory than it may", outcome.err)


class HostSafety(OciCase):

    @for_each_runtime
    def test_directories_of_the_image_lead_nowhere(self, runtime):
        """S1, S2, S4: /dev, /proc, /sys, /etc as links to places that exist on the host and in the image."""
        canary = self.new_folder("canary")
        os.mkdir(os.path.join(canary, "pts"))
        before = (sorted(os.listdir(canary)), os.stat(canary).st_mtime_ns, os.stat(canary).st_ctime_ns)
        k = self.kasane("links")
        for lines in (f"RUN mkdir -p {canary}/pts {canary}/shm && rm -rf /dev && ln -s {canary} /dev",
                      f"RUN mkdir -p {canary} && rm -rf /etc && ln -s {canary} /etc",
                      f"RUN rm -rf /proc /sys; ln -s {canary} /proc; ln -s {canary} /sys",
                      "RUN rm -rf /dev && mkdir /dev && ln -s /proc/sys/kernel/core_pattern /dev/null"):
            with self.subTest(lines), self.host_unchanged():
                outcome = k.build(self.context(f"FROM busybox\n{lines}\nRUN ls / && echo second > /dev/null\n"),
                                  "--runtime", runtime, check=False)
                self.assertEqual(before, (sorted(os.listdir(canary)), os.stat(canary).st_mtime_ns,
                                          os.stat(canary).st_ctime_ns), outcome.err)

    @for_each_runtime
    def test_working_directory_is_never_a_descriptor(self, runtime):
        """CVE-2024-21626 and B13."""
        k = self.kasane("cwd")
        for place in [f"/proc/self/fd/{n}" for n in range(3, 14)] + ["/proc/1/root", "/proc/self/cwd"]:
            context = self.context(f"FROM busybox\nRUN ln -s {place} /w && ls -d /w\nWORKDIR /w\nRUN ls -l ../../../.. && pwd\n")
            outcome = k.build(context, "--runtime", runtime, check=False)
            self.assertNotIn("boot", outcome.out + outcome.err.replace("/boot", ""), place)

    @for_each_runtime
    def test_nothing_of_the_builder_is_seen(self, runtime):
        """B15."""
        k = self.kasane("canary", CANARY_VARIABLE="canary-4711")
        context = self.context("FROM busybox\nRUN cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n' > /all\n")
        k.build(context, "-t", "out", "--runtime", runtime, "--label", "canary=canary-4711")
        k("save", "-o", self.path("c.tar"), "out")
        self.assertNotIn("canary-4711", read_docker_archive(self.path("c.tar")).tree.text("/all").replace("canary=", ""))

    @for_each_runtime
    def test_kill_of_the_builder_leaves_nothing(self, runtime):
        """Fact 0.4: processes, mounts, cgroups and state are gone within two seconds."""
        k = self.kasane("kill")
        mark = str(70000 + os.getpid())
        context = self.context(f"FROM busybox\nRUN (setsid sleep {mark} &) ; trap '' TERM INT; sleep {mark}; sleep {mark}\n")
        for number, delay in ((signal.SIGKILL, 2), (signal.SIGINT, 7), (signal.SIGTERM, 7)):
            with self.subTest(number), self.host_unchanged():
                builder = subprocess.Popen([support.KASANE, "build", "--runtime", runtime, context], env=k.env,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                self.wait_until(lambda: len(self.sleepers(mark)) >= 2, 120)
                builder.send_signal(number)
                builder.wait()
                self.wait_until(lambda: not self.sleepers(mark), delay * 5)  # machines under load
                self.wait_until(lambda: not support.processes_naming(k.root), delay * 5)
                self.assertEqual([], support.mount_lines_naming(k.root))

    def sleepers(self, mark):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    words = f.read().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", mark.encode()]:
                found.append(pid)
        return found

    def wait_until(self, condition, seconds):
        self.assertTrue(support.wait_until(condition, seconds), "waited in vain")


class Choice(OciCase):

    def script(self, text):
        path = os.path.join(self.new_folder("runtime"), "odd-runtime")
        with open(path, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return path

    def refused(self, *flags, env=None):
        k = self.kasane("choice")
        outcome = k.build(self.context("FROM busybox\nRUN true\n"), *flags, check=False, env=env)
        self.assertEqual(1, outcome.code, outcome.err)
        return outcome.err

    def test_words_of_the_runtime_are_passed_on(self):
        runtime = self.script('case "$*" in *create*) echo first; echo "cgroups: no way" >&2; exit 3;; esac\n')
        text = self.refused("--runtime", runtime)
        self.assertIn(f"the OCI runtime {runtime} refused the step: cgroups: no way", text)
        self.assertIn("--isolation sandbox", text)

    def test_a_runtime_that_does_nothing_is_no_success(self):
        self.assertIn("pid file", self.refused("--runtime", self.script("exit 0\n")))

    def test_what_is_not_there_is_named(self):
        self.assertIn("no-such-runtime is not installed", self.refused("--runtime", "no-such-runtime"))
        self.assertIn("/no/such", self.refused("--isolation", "oci", "--runtime", "/no/such"))
        self.assertIn("invalid isolation", self.refused("--isolation", "hyperv"))
        self.assertIn("no meaning with --isolation sandbox".replace("sandbox", '"sandbox"'),
                      self.refused("--isolation", "sandbox", "--runtime", "crun"))

    @unittest.skipUnless(any(map(installed, RUNTIMES)), "not installed: crun, runc")
    def test_default_says_what_it_uses(self):
        k = self.kasane("default", KASANE_ISOLATION="oci")
        outcome = k.build(self.context("FROM busybox\nRUN echo x > /x\n"))
        self.assertRegex(outcome.err, r"steps run with the OCI runtime /\S*/(crun|runc)")

    def with_broken(self, *runtimes):
        """A build with --isolation oci where these runtimes refuse everything, in a mount namespace of its own."""
        broken = self.script('case "$*" in *create*) echo "cgroups: no way" >&2; exit 3;; esac\n')
        k = self.kasane("broken")
        binds = "".join(f"mount --bind {broken} {path}; " for r in runtimes if (path := shutil.which(r, path=PLACES)))
        return support.run(["unshare", "-m", "sh", "-ec", f"{binds}exec \"$@\"", "sh", support.KASANE, "build", "--progress",
                            "plain", "--isolation", "oci", self.context("FROM busybox\nRUN echo x > /x\n")],
                           check=False, env=k.env)

    @unittest.skipUnless(all(map(installed, RUNTIMES)), "not installed: crun and runc")
    def test_second_choice(self):
        outcome = self.with_broken("crun")
        self.assertEqual(0, outcome.code, outcome.err)
        self.assertRegex(outcome.err, r"steps run with the OCI runtime /\S*/runc")

    @unittest.skipUnless(all(map(installed, RUNTIMES)), "not installed: crun and runc")
    def test_none_works(self):
        outcome = self.with_broken("crun", "runc")
        self.assertEqual(1, outcome.code)
        line = next(l for l in outcome.err.splitlines() if "no OCI runtime works on this host" in l)
        self.assertEqual(2, line.count("cgroups: no way"), line)
        self.assertIn("--isolation sandbox", outcome.err)

    def test_text_that_json_cannot_hold(self):
        context = self.new_folder("ctx")
        with open(os.path.join(context, "Dockerfile"), "wb") as f:
            f.write(b"FROM busybox\nRUN echo \xff\n")
        if not installed("crun"):
            self.skipTest("not installed: crun")
        outcome = self.kasane("bytes").build(context, "--runtime", "crun", check=False)
        self.assertIn("not valid UTF-8", outcome.err)


if __name__ == "__main__":
    support.main()
