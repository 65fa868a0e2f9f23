#!/usr/bin/env python3
"""Escapes by a RUN step and by the image it runs in: rows B13-B18, B21 and S1-S11 of docs/security.md, in every mode."""

import hashlib
import os
import shutil
import subprocess
import time

import support
from contexts import F, make_tar
from escapes import ARGUMENT, ENVIRONMENT, EscapeCase
from modes import each_mode, expand_modes
from support import processes_naming, wait_until

IDS = "{ id -u; id -g; id -G; } | tr '\\n' ' '"


@expand_modes
class Process(EscapeCase):

    @each_mode()
    def test_working_directory(self, mode):
        """B13: CVE-2024-21626, CVE-2026-55686: neither made nor entered outside, and no descriptor is there to lead out."""
        self.build(mode, """\
            RUN ln -s @CANARY /out && ln -s ../../../../../..@CANARY /up && ln -s /proc/self/fd/3 /magic
            WORKDIR /out/made
            RUN test "$(pwd -P)" = @CANARY/made && ! test -e ../secret && touch x
            WORKDIR /up/sub/ok
            RUN ! test -e f && touch x
            WORKDIR /../../../..@CANARY
            RUN ! test -e secret
            """, fails=False)
        for path in ("/proc/self/fd/3", "/proc/self/fd/10", "/proc/1/root", "/proc/1/cwd", "/magic", "/proc/self/root/..", "/dev/fd/5"):
            with self.subTest(path):
                self.build(mode, f"RUN ln -s /proc/self/fd/3 /magic\nWORKDIR {path}\n"
                                 "RUN cat secret ../secret ../../../etc/shadow; ls /proc/self/fd | grep -qx 4 && exit 1; true\n")
        # ls opens one more itself.
        self.build(mode, 'RUN test "$(ls /proc/self/fd | tr "\\n" " ")" = "0 1 2 3 "\n', fails=False)

    @each_mode()
    def test_environment_of_the_image(self, mode):
        """B14: CVE-2026-57231: an entry without "=" is never looked up on the host."""
        loaded = self.image_with(mode, "env", lambda c: c["config"].update(
            Env=["HOST_ONLY", "AWS_SECRET_ACCESS_KEY", "*", "AWS_*", "=x", "A=b\nC=d", "PATH=/bin"]))
        if loaded.code != 0:
            self.assertRegex(loaded.err, "(?i)env")
        else:
            text = self.build(mode, "FROM env\nRUN env | grep -c . && env\n")
            self.assertNotIn(ENVIRONMENT, text)
        for lines in ("ENV HOST_ONLY\n", "ENV =x\n", "ARG HOST_ONLY\nRUN echo [$HOST_ONLY] [${HOST_ONLY}]\n",
                      "ARG AWS_SECRET_ACCESS_KEY=d\nENV X=$HOST_ONLY\nRUN env\n"):
            with self.subTest(lines):
                self.build(mode, lines)  # ENVIRONMENT is in neither log nor layers
        many = self.image_with(mode, "many", lambda c: c["config"].update(Env=[f"V{i}={i}" for i in range(200000)] + ["PATH=/bin"]))
        if many.code == 0:
            self.build(mode, "FROM many\nRUN true\n")  # too many for exec, or not: no crash

    @each_mode()
    def test_builder_is_not_seen(self, mode):
        """B15: CVE-2021-3602: neither environment nor arguments of kasane are in anything that a step can read."""
        # The patterns are written so that they do not find themselves.
        pattern = "canary-[5c][01][e3][8d]-[ea][nr][vg]"
        text = self.build(mode, f"""\
            RUN cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/task/*/environ 2>/dev/null | grep -a '{pattern}' && exit 9; true
            RUN for f in /proc/[0-9]*/fd/* /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/exe; do readlink $f; done 2>/dev/null | grep -a '{pattern}' && exit 9; true
            RUN cat /proc/[0-9]*/mountinfo /proc/[0-9]*/maps /proc/mounts /etc/hosts /etc/resolv.conf 2>/dev/null | grep -a '{pattern}' && exit 9; true
            RUN cd / && find . -xdev -type f -size -2000 | grep -v ^./proc | xargs grep -la '{pattern}' && exit 9; true
            RUN test $(ls -d /proc/[0-9]* | wc -l) -lt 10
            """, fails=False)
        self.assertNotIn(ARGUMENT, text)

    @each_mode("root", "oci-runc", "oci-crun", "rootless")
    def test_capabilities(self, mode):
        """B16: inheritable and ambient sets are empty, and a plain user holds nothing, whatever the image's files carry."""
        text = self.build(mode, """\
            RUN grep Cap /proc/self/status | tr '\\n\\t' '  '
            USER 1000
            RUN grep Cap /proc/self/status | tr '\\n\\t' '  '
            """, {}, "--no-cache", fails=False)
        sets = [line[line.index("CapInh"):].split() for line in text.splitlines() if "CapInh:" in line and "grep" not in line]
        self.assertEqual(2, len(sets), text)
        for words in sets:
            self.assertEqual(("0" * 16, "0" * 16), (words[1], words[9]), words)
        self.assertEqual(["0" * 16, "0" * 16], [sets[1][3], sets[1][5]])
        self.assertNotEqual("0" * 16, sets[0][5])

    @each_mode("root", "oci-runc", "oci-crun", "rootless")
    def test_groups(self, mode):
        """B17: CVE-2023-25173: the groups of the image's own files and no others."""
        lines, wanted = [], []
        for user, ids in (("app", "1000 1000 1000 2000"), ("1000", "1000 1000 1000 2000"), ("app:extra", "1000 2000 2000"),
                          ("1000:1", "1000 1 1"), ("4242:4243", "4242 4243 4243"), ("0", "0 0 0")):
            lines.append(f"USER {user}\nRUN echo {user}= $({IDS})")
            wanted.append(f"{user}= {ids}")
        text = self.build(mode, "\n".join(lines) + "\n", {}, "--no-cache", fails=False)
        for line in wanted:
            self.assertIn(f" {line}\n", text)

    @each_mode("root", "oci-runc", "oci-crun", "rootless")
    def test_numbers_of_users(self, mode):
        """B18: CVE-2024-40635: a number that is none, or too large, is an error or itself; never root."""
        for user in ("2147483648", "4294967294", "4294967295", "4294967296", "18446744073709551616", "-1", "0x0", "00000000001",
                     "1000foo", "1000:4294967296", "1000:-1", "'1000 0'"):
            with self.subTest(user):
                text = self.build(mode, f"USER {user}\nRUN test $(id -u) != 0 && echo uid=$(id -u) gid=$(id -g)\n", {}, "--no-cache")
                if user.isdigit() and "uid=" in text.replace("uid=$", ""):
                    self.assertIn(f" uid={int(user)} ", text)
        for user in ("1000:", ":0"):
            with self.subTest(user):
                self.build(mode, f"USER {user}\nRUN id\n", {}, "--no-cache")

    @each_mode()
    def test_background_children(self, mode):
        """B21c: CVE-2026-53495: a step ends with its first process, whoever still holds its output; nothing lives on."""
        mark = str(600000000 + time.monotonic_ns() % 99999999)
        for shape in ("sleep @ &", "sleep @ < /dev/null > /dev/null 2>&1 &", "setsid sleep @ &", "(setsid sleep @ &) &", "(trap '' HUP TERM INT; exec sleep @) &"):
            with self.subTest(shape):
                begin = time.monotonic()
                text = self.build(mode, f"RUN {shape.replace('@', mark)} for i in 1 2 3; do echo line$i; done; echo the end\n", {},
                                  "--no-cache", fails=False)
                self.assertLess(time.monotonic() - begin, 60)  # the sleep is of years
                for line in ("line1", "line3", "the end"):
                    self.assertRegex(text, rf"\d {line}\n")
                self.assertTrue(wait_until(lambda: not processes_naming(f"sleep\0{mark}"), 1))


@expand_modes
class Images(EscapeCase):

    def image_of(self, mode, links, lines="RUN true\n", **kwargs):
        """Builds on an image that is busybox with `links` ({path: target or None for a folder}) in place of what was there."""
        made = []
        for path, target in links.items():
            made.append(f"rm -rf /r{path}; mkdir -p /r{os.path.dirname(path)}; " +
                        (f"mkdir -p /r{path}" if target is None else f"ln -s '{target}' /r{path}"))
        # Made as plain files of a stage, so that no sandbox of ours shapes them, and copied to the root.
        return self.build(mode, "FROM busybox AS made\nRUN mkdir /r && " + " && ".join(made) +
                          "\nFROM scratch\nCOPY --from=busybox /bin /bin\nCOPY --from=made /r/ /\n" + lines, {}, "--no-cache", **kwargs)

    @each_mode()
    def test_dev(self, mode):
        """S1 S2 S4: CVE-2025-31133, CVE-2025-52565, CVE-2026-41579, CVE-2026-47766: what the image has at /dev is never used."""
        use = ("RUN echo x > /dev/null; echo x 2>/dev/null > /dev/console; ls /dev/pts /dev/shm; "
               "echo owned > /proc/sys/kernel/core_pattern && exit 9; test -c /dev/null && touch /dev/shm/x && chmod 0677 /dev/full; true\n")
        for links in ({"/dev": "@CANARY"}, {"/dev": "../../../../../..@CANARY"}, {"/dev/null": "/proc/sys/kernel/core_pattern"},
                      {"/dev/null": "@CANARY/null", "/dev/fd": "@CANARY/fd"}, {"/dev/pts": "@CANARY/pts", "/dev/shm": "@CANARY/shm"},
                      {"/dev/console": "@CANARY/empty", "/dev/ptmx": "@CANARY/empty"}, {"/dev": "/proc/self/root@CANARY"},
                      {"/dev/pts/0": "/proc/sys/kernel/core_pattern", "/dev/stdout": "@CANARY/secret"}):
            with self.subTest(str(links)):
                self.image_of(mode, links, use, fails=False)
        # A cache that two steps share may not become /dev.
        for target in ("/dev", "/dev/null"):
            with self.subTest(target):
                self.build(mode, f"FROM busybox AS a\nRUN --mount=type=cache,id=dev,target={target} ln -sf @CANARY/null /dev/null; true\n"
                                 f"FROM busybox\nRUN --mount=type=cache,id=dev,target={target} echo x > /dev/null; true\n"
                                 "COPY --from=a /etc/passwd /p\n", {}, "--no-cache")

    @each_mode()
    def test_proc_and_sys(self, mode):
        """S3: CVE-2025-52881, CVE-2019-19921: /proc is the kernel's, and nothing is mounted below it or /sys."""
        check = 'RUN test "$(stat -f -c %T /proc)" = proc -o "$(stat -f -c %t /proc)" = 9fa0 && test -d /proc/self && ! test -e /proc/secret\n'
        for links in ({"/proc": "@CANARY"}, {"/proc": "../../../../..@CANARY", "/sys": "@CANARY"},
                      {"/proc/self/attr": None, "/proc/sys/kernel": None, "/sys/fs/cgroup": None}, {"/proc/self": "@CANARY"}):
            with self.subTest(str(links)):
                self.image_of(mode, links, check, fails=False)
        for target in ("/proc", "/proc/self/attr", "/proc/sys", "/sys", "/sys/kernel", "/proc/self/fd", "/link/self"):
            for kind in ("cache", "tmpfs"):
                with self.subTest(f"{kind} {target}"):
                    self.build(mode, f"RUN ln -s /proc /link\nRUN --mount=type={kind},target={target} true\n", fails=True)

    @each_mode()
    def test_targets_below_links(self, mode):
        """S5: targets below links that the image controls are made inside of it beforehand."""
        self.build(mode, """\
            RUN ln -s @CANARY /m && ln -s ../../../../../..@CANARY /u && ln -s /m /n
            RUN --mount=type=tmpfs,target=/m/new/deep --mount=type=cache,target=/u/x --mount=target=/n/y,source=f touch /m/new/deep/z
            RUN --mount=type=tmpfs,target=/m/sub/ok ! test -e /m/secret && ! test -e /m/sub/ok/f
            """, {"f": "f\n"}, fails=False)

    @each_mode()
    def test_programs_of_the_builder(self, mode):
        """S6: CVE-2019-5736: neither our program nor a runtime's can be reached or changed from a step."""
        programs = [p for p in (support.KASANE, shutil.which("runc"), shutil.which("crun")) if p]

        def hashes():
            found = []
            for path in programs:
                with open(path, "rb") as f:
                    found.append((hashlib.sha256(f.read()).hexdigest(), os.stat(path).st_mtime_ns, os.stat(path).st_size))
            return found
        before = hashes()
        for lines, fails in (('RUN ["/proc/self/exe", "version"]\n', True), ('RUN printf "#!/proc/self/exe\\n" > /s && chmod 755 /s\nRUN ["/s"]\n', True),
                             ('RUN ln -s /proc/self/exe /e\nRUN ["/e"]\n', True), ('RUN ln -sf /proc/self/exe /bin/sh2\nSHELL ["/bin/sh2","-c"]\nRUN x\n', True),
                             ("RUN for p in /proc/[0-9]*; do readlink $p/exe; done | grep -v -e busybox -e '^/bin/' && exit 9; "
                              "for p in /proc/[0-9]*; do echo x > $p/exe; done 2>/dev/null; true\n", False)):
            with self.subTest(lines):
                self.build(mode, lines, {}, "--no-cache", fails=fails)
        self.assertEqual(before, hashes())

    @each_mode()
    def test_cgroups_and_kernel_files(self, mode):
        """S7: CVE-2023-25809: nothing of cgroups or of the kernel's switches is written."""
        self.build(mode, """\
            RUN for f in $(find /sys/fs/cgroup -type f -name 'cgroup.*' -o -name '*release*' -o -name tasks | head -200); do echo 1 > $f && exit 9; done 2>/dev/null; true
            RUN find /sys/fs/cgroup -type d | head -50 | while read d; do mkdir $d/probe && exit 9; done 2>/dev/null; true
            RUN for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sysrq-trigger /sys/kernel/uevent_helper; do echo x > $f && exit 9; done 2>/dev/null; true
            """, fails=False)

    @each_mode("root", "rootless")
    def test_no_abstract_sockets(self, mode):
        """S9: CVE-2020-15257: with the host's network, a step finds no socket of kasane's to talk to."""
        context = self.context(mode, "RUN --network=host cat /proc/net/unix > /unix; sleep 1.5\n")
        kasane = self.kasane(mode)
        process = subprocess.Popen(kasane.command("build", "-q", "--no-cache", "--allow", "network.host", *mode.flags, context),
                                   env=kasane.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        mine, named = set(), {}

        def look():
            try:
                for fd in os.listdir(f"/proc/{process.pid}/fd"):
                    target = os.readlink(f"/proc/{process.pid}/fd/{fd}")
                    if target.startswith("socket:["):
                        mine.add(target[8:-1])
            except OSError:
                pass
            with open("/proc/net/unix", encoding="utf-8", errors="replace") as f:
                for words in map(str.split, f.readlines()[1:]):
                    if len(words) > 7:
                        named[words[6]] = words[7]
            return process.poll() is not None
        wait_until(look, 60)
        err = process.communicate()[1].decode()
        self.assertEqual(0, process.returncode, err)
        self.assertEqual({}, {i: named[i] for i in mine if i in named})

    @each_mode()
    def test_labels_and_annotations(self, mode):
        """S10 S11: CVE-2026-53488, CVE-2025-24965: nothing of an image becomes an order to a runtime."""
        hooks = {f"run.oci.{name}": f"touch {self.canary(mode).root}/pwned" for name in
                 ("hooks.stdout", "hooks.stderr", "handler", "systemd.subgroup", "delegate-cgroup", "seccomp_fail_unknown_syscall",
                  "seccomp.plugins", "mount_context_type", "pidfd_receiver", "keep_original_groups")}
        hooks.update({"run.oci.handler": "krun", "org.opencontainers.image.stopSignal": "KILL", "io.katacontainers.config": "/x",
                      "io.kubernetes.cri.container-type": "sandbox", "org.criu.config": "/x", "krun.ram_mib": "1"})
        self.image_with(mode, "labels", lambda c: c["config"].update(Labels=hooks))
        labels = " ".join(f'{k}="{v}"' for k, v in hooks.items())
        text = self.build(mode, f"""\
            FROM labels
            LABEL {labels}
            COPY krun.json /.krun_config.json
            COPY krun.json /krun-sev.json
            RUN echo runs as $(hostname) && test -e /proc/self && test -z "$(env | grep run.oci)"
            """, {"krun.json": '{"cpus": 1, "kernel_path": "@CANARY/secret"}'}, fails=False)
        self.assertIn("runs as buildkitsandbox", text)

    @each_mode()
    def test_helper_programs_of_the_image(self, mode):
        """B21b: CVE-2026-41567, CVE-2019-14271: no program, library or setting of an image is used by kasane."""
        evil = F("#!/bin/sh\necho ran > /pwned\nexit 0\n", 0o755)
        files = {f"evil/{d}/{n}": evil for d in ("bin", "usr/bin", "usr/local/sbin") for n in
                 ("xz", "unxz", "gzip", "pigz", "unpigz", "zstd", "bzip2", "tar", "git", "newuidmap", "ldconfig", "getent", "modprobe")}
        files.update({f"evil/{d}/{n}": F("no library\n", 0o755) for d in ("lib", "lib64", "lib/x86_64-linux-gnu", "usr/lib") for n in
                      ("libnss_files.so.2", "libnss_evil.so.2", "libcurl.so.4", "libcurl-gnutls.so.4", "libseccomp.so.2", "libc.so.6")})
        files.update({"evil/etc/nsswitch.conf": "passwd: evil\ngroup: evil\n", "evil/etc/ld.so.preload": "/lib/libnss_evil.so.2\n",
                      "evil/etc/passwd": "root:x:0:0::/root:/bin/sh\n", "evil/etc/group": "root:x:0:\n"})
        for kind in ("gz", "xz", "bz2"):
            files[f"a.{kind}"] = make_tar({f"from-{kind}": "x\n"}, kind)
        self.build(mode, """\
            COPY evil/ /
            ADD a.gz a.xz a.bz2 /unpacked/
            USER root:root
            RUN test "$(ls /unpacked | tr '\\n' ' ')" = "from-bz2 from-gz from-xz " && ! test -e /pwned
            COPY --from=busybox /etc/passwd /again
            RUN ! test -e /pwned
            """, files, fails=False)
        self.assertNotIn("/pwned", self.tree(mode))

    @each_mode()
    def test_nothing_is_left_in_the_layer(self, mode):
        """B21: what a step got to run leaves no trace: on an image without anything, and with links in its place."""
        self.build(mode, """\
            FROM scratch
            COPY --from=busybox /bin /bin
            RUN ["/bin/true"]
            RUN --mount=type=tmpfs,target=/a/b --mount=type=cache,target=/c ["/bin/true"]
            """, {}, "--no-cache", fails=False)
        top = sorted({p.split("/")[1] for p in self.tree(mode).nodes if p != "/"})
        self.assertEqual(["bin"], top)
        self.image_of(mode, {"/etc/resolv.conf": "@CANARY/secret", "/etc/hosts": "../../..@CANARY/empty"},
                      'RUN ["/bin/sh", "-c", "grep -q localhost /etc/hosts && ! grep canary-9 /etc/resolv.conf"]\n', fails=False)
        self.assertEqual("link", self.tree(mode)["/etc/hosts"].type)


if __name__ == "__main__":
    support.main()
