#!/usr/bin/env python3
"""What a RUN step sees and may do (probe/probe.c), in every mode, as root and after USER, against probe/expected/.

An expectation holds what must be seen exactly. Only what this host decides is normalised, each by a rule that this
file states and that looks at the host itself, so that a wrong value still differs. KASANE_PROBE_WRITE=FOLDER writes
what was seen as new expectations, to be read before they are checked in.
"""

import ctypes
import fcntl
import glob
import json
import os
import re
import resource
import signal

import modes
import support
from contexts import F, make_tar, write_tree
from modes import each_mode, expand_modes

HERE = os.path.dirname(os.path.abspath(__file__))
EXPECTED = os.path.join(HERE, "probe", "expected")
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
MASKED = ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
          "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
          "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu*/thermal_throttle", "/sys/fs/selinux"]
READ_ONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
CLOSED = ["/etc/hosts", "/etc/resolv.conf", "/proc/bus/", "/proc/fs/", "/proc/irq/", "/proc/irq/default_smp_affinity",
          "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe",
          "/proc/sys/vm/drop_caches", "/proc/sysrq-trigger", "/sys/", "/sys/kernel/profiling", "/sys/kernel/uevent_helper",
          "/sys/power/state", "/sys/fs/cgroup/", "/sys/fs/cgroup/cgroup.procs"]
CAPABILITIES = """chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
    net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace
    sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control
    setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore""".split()
CANARY = "canary-d41c-probe"
DOCKERFILE = """FROM scratch
COPY root /
ENV PATH=/usr/bin:/bin A=b
WORKDIR /work/place
RUN ["/probe", ARGS]
USER app
RUN ["/probe", ARGS]
"""
ROOT = {"root/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n",
        "root/etc/group": "root:x:0:\nwheel:x:10:root\napp:x:1000:\nextra:x:2000:app\nother:x:2001:root\n"}


def host_namespaces():
    found = []
    for name in NAMESPACES:
        if os.path.exists(f"/proc/self/ns/{name}"):
            found += ["--host", f"{name}={os.stat(f'/proc/self/ns/{name}').st_ino}"]
    return found


def capability_names(hexadecimal):
    bits = int(hexadecimal, 16)
    return " ".join(CAPABILITIES[i] if i < len(CAPABILITIES) else str(i) for i in range(64) if bits >> i & 1)


def there_on_host(path):
    """Whether this kernel has it: the step's /proc and /sys are of the same kernel."""
    return bool(glob.glob(path.replace("cpu*", "cpu[0-9]*")))


def read_lines(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as f:
        return f.read().splitlines()


def read_mount(line):
    """(mount point, text) of a line of mountinfo, without numbers and paths that every run has anew."""
    left, right = line.split(" - ")
    point, options = left.split()[4:6]
    optional = left.split()[6:]
    kind, source, superblock = right.split()
    # The layers' paths; what kernels print or not; ids of the mapping.
    hidden = r"(lowerdir|upperdir|workdir|uuid|inode64|gid|uid)(=.*)?"
    kept = [o.replace("fsync=volatile", "volatile") for o in superblock.split(",") if not re.fullmatch(hidden, o)]
    if kind in ("sysfs", "proc", "cgroup2", "cgroup", "mqueue"):
        kept = [o for o in kept if o in ("ro", "rw")]
    if kind == "sysfs":
        kept = []  # one superblock for the host and all steps; the options of the mount count
    if kind == "devtmpfs" or point.startswith("/dev/") and kind != "devpts" and point not in ("/dev/shm", "/dev/mqueue"):
        kind, kept = "bind", []  # the file system that the host has its device on
    text = f"{kind} {options}" + (f" [{' '.join(optional)}]" if optional else "") + (f" {','.join(kept)}" if kept else "")
    return re.sub(r"/cpu\d+/", "/cpu*/", point), text


class Normaliser:
    """Makes of a probe's output what an expectation can hold."""

    def __init__(self, mode, args):
        self.mode, self.args = mode, args

    def apply(self, seen):
        self.processes(seen)
        self.identity(seen)
        self.network_files(seen)
        self.limits(seen)
        self.kernel_files(seen)
        seen["mounts"] = self.mounts(seen["mounts"])
        return seen

    def processes(self, seen):
        if seen["argv"] == ["/probe", *self.args]:
            seen["argv"] = "as written"
        # The supervisor and what it needed before the step are few.
        if 1 < seen["pid"] < 10 and seen["session"] == seen["pid"]:
            seen["pid"] = seen["session"] = "a small number, leader of its session"
        for name in ("1", "2"):
            seen["fds"][name] = re.sub(r"\[\d+\]", "[...]", seen["fds"][name])

    @staticmethod
    def identity(seen):
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            seen["status"][name] = capability_names(seen["status"][name])

    @staticmethod
    def network_files(seen):
        with open("/etc/resolv.conf", encoding="utf-8") as f:
            own = [line.split()[1] for line in f.read().splitlines() if line.startswith("nameserver ")]
        servers = [line.split()[1] for line in seen["resolv.conf"] if line.startswith("nameserver ")]
        if servers and servers == own:
            seen["resolv.conf"] = "the host's name servers"

    @staticmethod
    def limits(seen):
        """nofile is ours; core and the rest must be what the builder has itself."""
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        most = 1048576 if hard == resource.RLIM_INFINITY else min(1048576, hard)
        if seen["limits"]["nofile"] == [min(1024, most), most]:
            seen["limits"]["nofile"] = [1024, "1048576, or the builder's own where that is lower"]
        for name, value in seen["limits"].items():
            number = getattr(resource, f"RLIMIT_{name.upper()}", {"locks": 10}.get(name))
            if name not in ("nofile", "core") and number is not None and value == list(resource.getrlimit(number)):
                seen["limits"][name] = "as the builder's"

    @staticmethod
    def kernel_files(seen):
        """What this kernel lacks is absent, and may not be anything else."""
        for path, verdict in seen["masked"].items():
            if verdict == "absent" and not there_on_host(path):
                seen["masked"][path] = "empty"
        for path, verdict in seen["closed"].items():
            if verdict == "ENOENT" and not os.path.exists(path):
                seen["closed"][path] = "EROFS"
        for name in list(seen["namespaces"]):
            if seen["namespaces"][name] == "ENOENT" and not os.path.exists(f"/proc/self/ns/{name}"):
                seen["namespaces"][name] = "own"

    def mounts(self, lines):
        """{mount point: what is there}. A mask of what only some kernels have is due where the host has it."""
        found, host = {}, {line.split()[4] for line in read_lines("/proc/self/mountinfo")}
        for line in lines:
            point, text = read_mount(line)
            # A plain user's /sys is the host's with all that is mounted there, made inert and read-only.
            if self.mode.plain and point.startswith("/sys/") and point in host and \
                    text.split()[1] == "ro,nosuid,nodev,noexec,relatime" and point not in found:
                text = text.split()[1]
                found.setdefault("below /sys, of the host", []).append(text)
                continue
            found.setdefault(point, []).append(text)
        result = {"masks": self.guards(found, MASKED), "read-only parts": self.guards(found, READ_ONLY)}
        for point in sorted(found):
            texts = sorted(set(found[point]), key=list(found[point]).index)
            result[point] = texts[0] if len(texts) == 1 else texts
        return result

    @staticmethod
    def guards(found, paths):
        """Which of `paths` the host has and the step finds unguarded, and how the others are guarded."""
        missing, kinds = [], {"files": set(), "folders": set()}
        for path in paths:
            texts = found.pop(path, None)
            if texts and os.path.isdir(path.replace("cpu*", "cpu0")):
                kinds["folders"].update(texts)
            elif texts:
                kinds["files"].update(text.split()[1] for text in texts)  # a device node, wherever it lies
            elif there_on_host(path):
                missing.append(path)
        return {"missing": missing, **{kind: sorted(texts) for kind, texts in kinds.items()}}


def hostile_surroundings():
    """What kasane is started with, and what no step may inherit: run in the child before it starts kasane."""
    os.umask(0o077)
    for number in (signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM, signal.SIGALRM})
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for path in ("/etc/shadow", "/", "/dev/null"):
        fcntl.fcntl(os.open(path, os.O_RDONLY), fcntl.F_SETFD, 0)  # descriptors of the host that survive exec
    os.setgroups([4, 24, 2002])
    libc = ctypes.CDLL(None)
    libc.syscall(250, 1, b"kasane-e2e")  # keyctl: a session keyring ...
    libc.syscall(248, b"user", b"kasane-canary", b"secret", 6, -3)  # ... with a key in it
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) == 0:
        data[2], data[5] = data[1], data[4]  # inheritable = permitted
        libc.capset(header, data)
        for number in range(41):
            libc.prctl(47, 2, number, 0, 0)  # and ambient


@support.needs_root
@expand_modes
class Probe(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.program = modes.probe_program(cls.work)
        with open(cls.program, "rb") as f:
            cls.probe = F(f.read(), 0o755)

    def arguments(self):
        args = host_namespaces()
        for path in MASKED:
            args += ["--masked", path]
        for path in CLOSED:
            args += ["--closed", path]
        return args

    def context(self, args, dockerfile=DOCKERFILE):
        text = dockerfile.replace("ARGS", json.dumps(args)[1:-1])
        folder = write_tree(self.new_folder("ctx"), {
            **ROOT, "root/probe": self.probe, "root/tmp/": modes.D(0o1777), "Dockerfile": text})
        return folder

    def seen(self, text):
        """The lines of JSON in a build's progress."""
        return [json.loads(m[1]) for m in re.finditer(r"^#\d+ [\d.]+ (\{.*\})$", text, re.M)]

    def compare(self, mode, name, seen):
        seen = Normaliser(mode, self.args).apply(seen)
        path = os.path.join(EXPECTED, f"{mode.name}.json")
        if folder := os.environ.get("KASANE_PROBE_WRITE"):
            target = os.path.join(folder, f"{mode.name}.json")
            old = {}
            if os.path.exists(target):
                with open(target, encoding="utf-8") as f:
                    old = json.load(f)
            text = json.dumps({**old, name: seen}, indent=1)
            with open(target, "w", encoding="utf-8") as f:
                f.write(re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda m: "[" + re.sub(r"\n\s*", " ", m[1]) + "]", text) + "\n")
            return
        with open(path, encoding="utf-8") as f:
            expected = json.load(f)[name]
        for part in sorted({*expected, *seen}):
            with self.subTest(f"{mode.name}, {name}: {part}"):
                self.assertEqual(expected.get(part), seen.get(part))

    @each_mode()
    def test_probe(self, mode):
        """Everything of section 4 of the reference that a step can see."""
        kasane = mode.kasane(self.work, KASANE_E2E_CANARY=CANARY)
        self.args = self.arguments()
        outcome = kasane.build(self.context(self.args), *mode.flags, check=False,
                               preexec_fn=hostile_surroundings)
        seen = self.seen(outcome.err)
        self.assertTrue(seen, outcome.err)
        self.assertNotIn(CANARY, outcome.err)
        self.compare(mode, "root", seen[0])
        if mode.one_id:
            self.assertNotEqual(0, outcome.code)
            self.assertEqual(1, len(seen), outcome.err)
            self.assertIn("/etc/subuid", outcome.err)
            return
        self.assertEqual(0, outcome.code, outcome.err)
        self.compare(mode, "user", seen[1])

    def test_keyring_is_not_the_builders(self):
        """Where a step may use keyctl, it does not find the keys of who started the build."""
        kasane = modes.mode_named("root").kasane(self.work)
        dockerfile = "# syntax=docker/dockerfile:1\nFROM scratch\nCOPY root /\nRUN --security=insecure [\"/probe\"]\n"
        control = json.loads(support.run([self.program], preexec_fn=hostile_surroundings).out)
        if control["canary_key"] != "ok":
            self.skipTest(f"this host has no keyrings for us: {control['canary_key']}")
        outcome = kasane.build(self.context([], dockerfile), "--allow", "security.insecure", check=False,
                               preexec_fn=hostile_surroundings)
        seen = self.seen(outcome.err)
        self.assertEqual(1, len(seen), outcome.err)
        self.assertEqual("ENOKEY", seen[0]["canary_key"])


if __name__ == "__main__":
    support.main()
