#!/usr/bin/env python3
"""Escapes at build time: rows B1-B22 of docs/security.md, with a canary tree outside, in every mode a row applies to.

KASANE_RACES (100; 2000 with KASANE_LONG=1) is the number of tries of each race.
"""

import io
import json
import os
import re
import tarfile
import time

import support
from contexts import D, F, L, make_tar
from escapes import RACES, EscapeCase
from modes import each_mode, expand_modes
from sources_test import git
from support import needs
from webserver import WebServer

IN_PLACE = ("root", "rootless")  # no step runs, or the same code runs in all of them


@expand_modes
class Contexts(EscapeCase):

    @each_mode(*IN_PLACE)
    def test_links_of_the_context(self, mode):
        """B1: a link of the context leads nowhere outside of it: not as a source, a part of one, or a file we read."""
        links = {"abs": L("@CANARY"), "root": L("/"), "file": L("@CANARY/secret"),
                 "up": L("../" * 20 + "etc"), "in/deep": L("../../../../../../../../../.."), "ok": "fine\n",
                 "good": L("ok")}
        for source in ("abs/secret", "abs/", "root/etc/hostname", "root@CANARY/secret", "up/hostname", "in/deep/etc/hostname"):
            with self.subTest(source):
                self.build(mode, f"COPY {source} /x\n", links, fails=True)
        self.build(mode, "COPY --chmod=0666 . /all/\nCOPY good /good\n", links, fails=False)
        tree = self.tree(mode)
        self.assertEqual("fine\n", tree.text("/good"))
        # A link that is copied as part of a folder stays the link that it is; a named one that leads nowhere is no file.
        self.assertEqual("link", tree["/all/file"].type)
        for name in ("file", "abs", "root"):
            with self.subTest(name):
                self.build(mode, f"COPY {name} /x\nADD {name} /y\n", links)  # the scan of its layers decides
        for name, fails in (("Dockerfile", True), (".dockerignore", None)):
            with self.subTest(name):
                files = {name: L(f"@CANARY/{name}"), "a": "a\n"}
                if name == "Dockerfile":
                    self.run_checked(mode, "build", *mode.flags, self.context(mode, "", files), fails=True)
                else:
                    self.build(mode, "COPY a /a\n", files, fails=fails)

    @each_mode(*IN_PLACE)
    def test_archives_as_contexts(self, mode):
        """B2: a Dockerfile that is a link, and one written through it, in an archive that may be broken as well."""
        where = self.canary(mode).root
        for tail in (b"", b"broken" * 300):
            for name in ("Dockerfile", "./Dockerfile", "d/../Dockerfile"):
                with self.subTest(f"{name}, {len(tail)}"):
                    buffer = io.BytesIO()
                    with tarfile.open(fileobj=buffer, mode="w") as tar:
                        for entry in ("Dockerfile", "x"):
                            link = tarfile.TarInfo(entry)
                            link.type, link.linkname = tarfile.SYMTYPE, f"{where}/{'Dockerfile' if entry != 'x' else ''}"
                            tar.addfile(link)
                        for path, text in ((name, b"FROM busybox\nCOPY x/secret /\n"), ("x/written", b"w\n")):
                            info = tarfile.TarInfo(path)
                            info.size = len(text)
                            tar.addfile(info, io.BytesIO(text))
                    data = buffer.getvalue()
                    data = data[:-1024] + tail if tail else data
                    archive = os.path.join(self.new_folder("tar"), "c.tar")
                    with open(archive, "wb") as f:
                        f.write(data)
                    with open(archive, "rb") as f:
                        self.run_checked(mode, "build", *mode.flags, "-", stdin=f, fails=True)
        # And from a server: a broken archive first, then a plain file under the same address.
        web = WebServer()
        self.addCleanup(web.close)
        web.files["/c"] = data
        self.run_checked(mode, "build", *mode.flags, web.url + "/c", fails=True)
        web.files["/c"] = b"FROM busybox\nENV plain=yes\n"
        self.run_checked(mode, "build", *mode.flags, web.url + "/c", fails=False)

    @each_mode("root")
    def test_names_as_paths(self, mode):
        """B9: names of images, stages, secrets and builds are never paths."""
        context = self.context(mode, "FROM busybox AS one\nRUN true\n")
        outside = os.path.dirname(self.kasane(mode).root)
        before = sorted(os.listdir(outside))
        long = "a" * 4096
        for name in ("../x", "/x", "a/../../x", "..", ".", "a\nb", "-x", long, "x:../y", "x:a/b", f"{self.canary(mode).root}/b", "A/B"):
            for args in (("-t", name), ("--target", name), ("--secret", f"id={name},env=NOTHING"),
                         ("--build-context", f"{name}=.")):
                with self.subTest(f"{args[0]} {name[:40]!r}"):
                    self.run_checked(mode, "build", "-q", *args, context)
        for name in ("../../x", "sha256:../../../x", "/etc", "..", "a\nb", long):
            for command in ("inspect", "history", "rmi", "save", "tag"):
                with self.subTest(f"{command} {name[:40]!r}"):
                    more = ("x",) if command == "tag" else ("-o", os.path.join(self.new_folder("o"), "x")) if command == "save" else ()
                    self.run_checked(mode, command, *more[:2 if command == "save" else 0], name, *(more if command == "tag" else ()),
                                     fails=True)
        self.assertEqual(before, sorted(os.listdir(outside)))
        for stage in ("../x", "a/b", "a b", ".."):
            with self.subTest(f"stage {stage[:40]!r}"):
                self.build(mode, f"FROM busybox AS {stage}\nRUN true\nFROM busybox\nCOPY --from={stage} /etc/passwd /p\n", fails=True)

    @each_mode("root")
    def test_damaged_plans(self, mode):
        """B18b: an imported cache is untrusted input: an error or a warning, never a crash."""
        kasane = self.kasane(mode)
        context = self.context(mode, "RUN echo a > /a\nRUN echo b > /b\n")
        folder = os.path.join(self.new_folder("cache"), "c")
        kasane.build(context, "--cache-to", f"type=local,dest={folder},mode=max")
        blobs = [os.path.join(w, f) for w, _, files in os.walk(folder) for f in files]
        documents = []
        for path in blobs:
            with open(path, "rb") as f:
                data = f.read()
            if data[:1] == b"{":
                documents.append((path, data))
        self.assertTrue(documents)
        hostile = [lambda d: d[:len(d) // 2], lambda d: b"", lambda d: b"[" * 100000, lambda d: re.sub(rb"\d+", b"-1", d),
                   lambda d: re.sub(rb"\d+", b"99999999999999999999", d), lambda d: d.replace(b":[", b":[null,"),
                   lambda d: re.sub(rb'"sha256:[0-9a-f]{8}', b'"sha256:../../..', d),
                   lambda d: re.sub(rb'"(layer|parent|input|index)":\d+', rb'"\1":4000000000', d), lambda d: b"\xff" + d]
        for number, change in enumerate(hostile):
            for path, data in documents:
                with self.subTest(f"change {number} of {os.path.basename(path)[:12]}"):
                    with open(path, "wb") as f:
                        f.write(change(data))
                    self.run_checked(mode, "build", "-q", "--cache-from", f"type=local,src={folder}", context)
                    with open(path, "wb") as f:
                        f.write(data)


@expand_modes
class Mounts(EscapeCase):

    @each_mode()
    def test_source_of_a_stage(self, mode):
        """B3: CVE-2024-1753: a source that is a link to / or to a place of the host is the stage's own."""
        self.build(mode, """\
            FROM busybox AS base
            RUN ln -s / /rootdir && mkdir -p @CANARY/b && ln -s @CANARY /out && ln -s ../../../../../..@CANARY /up
            FROM busybox
            RUN --mount=type=bind,from=base,source=/rootdir,target=/m,rw touch /m/marker && test -e /m/rootdir
            RUN --mount=type=bind,from=base,source=/out,target=/m,rw touch /m/b/marker && ! test -e /m/secret
            RUN --mount=type=bind,from=base,source=/up/b,target=/m,rw touch /m/marker && ! test -e /m/f
            RUN --mount=type=bind,from=base,source=/rootdir@CANARY,target=/m,rw test "$(ls /m)" = b
            """, fails=False)
        self.build(mode, "FROM busybox AS base\nRUN ln -s @CANARY /out\nFROM busybox\n"
                         "RUN --mount=type=bind,from=base,source=/out,target=/m,rw touch /m/marker\n", fails=True)

    @each_mode()
    def test_cache_ids_and_sources(self, mode):
        """B4: CVE-2024-9675: an id is no path, a source is found inside the cache, a target inside the image."""
        for name in ("../../../../etc", "/etc", "@CANARY", "../" * 8 + "@CANARY", "a/../../..", ".", "..", "x" * 4096):
            with self.subTest(name[:30]):
                self.build(mode, f"RUN --mount=type=cache,target=/c,id={name} ! test -e /c/secret && ! test -e /c/passwd && "
                                 "touch /c/marker\n")
        self.build(mode, "RUN --mount=type=cache,id=s,target=/c ln -s @CANARY /c/out; ln -s ../../../../../..@CANARY /c/up; "
                         "ln -s / /c/root; true\n", fails=False)
        for source in ("out", "up", "root@CANARY", "root/../..@CANARY", "out/b", "../../..@CANARY", "@CANARY"):
            with self.subTest(source):
                self.build(mode, f"RUN --mount=type=cache,id=s,target=/c,source={source} touch /c/marker; cat /c/secret /c/f\n", fails=True)
        self.build(mode, "RUN ln -s @CANARY /t && ln -s ../../../../../..@CANARY /u\n"
                         "RUN --mount=type=cache,id=s,target=/t/b touch /t/b/marker && ! test -e /t/secret\n"
                         "RUN --mount=type=tmpfs,target=/u/b touch /u/b/marker && ! test -e /u/secret\n", fails=False)

    def race(self, mode, mount, command, prepare):
        """Mounts beside a step that swaps the names a and b of a shared cache all the time: RACES of them.

        @N in `mount` stands for the number of the try. `prepare` makes the two names in /c.
        """
        steps, per_step = [], 20
        for first in range(0, RACES, per_step):
            mounts = " ".join("--mount=" + mount.replace("@N", str(n)) for n in range(first, min(first + per_step, RACES)))
            steps.append(f"RUN --mount=type=cache,id=race,target=/c {mounts} {command}")
        for first in range(0, len(steps), 20):
            lines = "\n".join(steps[first:first + 20])
            text = self.build(mode, f"""\
FROM busybox AS flip
RUN --mount=type=cache,id=race,target=/c rm -rf /c/* && cd /c && {prepare} && touch ready
RUN --mount=type=cache,id=race,target=/c ["/probe", "flip", "120", "/c/stop", "/c/a", "/c/b"]
FROM busybox AS use
RUN --mount=type=cache,id=race,target=/c for i in $(seq 1000); do test -e /c/ready && break; sleep 0.02; done
{lines}
RUN --mount=type=cache,id=race,target=/c touch /c/stop; rm /c/ready
FROM busybox
COPY --from=flip /etc/passwd /a
COPY --from=use /etc/passwd /b
""", {}, "--no-cache", fails=False)
            self.assertRegex(text, r"flipped \d{3,} times")

    @each_mode()
    def test_race_of_a_source(self, mode):
        """B5: CVE-2024-23651: another step swaps a folder of the cache for a link while it becomes a mount."""
        self.race(mode, "type=cache,id=race,source=a,target=/m@N", "cat /m*/secret && exit 9; true",
                  "mkdir -p a ./@CANARY && ln -s @CANARY b")

    @each_mode()
    def test_race_of_a_target(self, mode):
        """S5: CVE-2021-30465: the parent of a mount's target is swapped for a link to outside."""
        self.race(mode, "type=tmpfs,target=/c/a/new@N", "cat /c/a/secret && exit 9; true", "mkdir -p a && ln -s @CANARY b")

    @each_mode()
    def test_stubs_that_were_swapped(self, mode):
        """B6: CVE-2024-23652: what was made for a mount is taken away only where it was made."""
        secret = os.path.join(self.new_folder("secret"), "s")
        with open(secret, "w", encoding="ascii") as f:
            f.write("s\n")
        os.chmod(secret, 0o644)
        self.build(mode, """\
            RUN --mount=type=tmpfs,target=/a/b mv /a /z && ln -s @CANARY /a
            RUN --mount=type=secret,id=s,target=/s/empty mv /s /y && ln -s @CANARY /s
            RUN --mount=type=cache,target=/q/sub/ok mv /q/sub /q/x && ln -s @CANARY/sub /q/sub
            RUN mkdir /p && touch -d '2001-02-03 04:05:06' /p
            RUN --mount=type=tmpfs,target=/p/a/b --mount=type=secret,id=s,target=/p/f true
            """, {}, "--secret", f"id=s,src={secret}", fails=False)
        tree = self.tree(mode)
        self.assertEqual([], tree.below("/p"))
        self.assertEqual(981173106, int(tree["/p"].mtime))

    @each_mode("root")
    def test_options_of_mounts(self, mode):
        """B7: CVE-2024-9407: only keys and values of the list, and targets inside of the image."""
        for options in ("type=bind,target=/m,bind-propagation=suid", "type=bind,target=/m,bind-propagation=rshared",
                        "type=bind,target=/m,exec", "type=bind,target=/m,suid", "type=bind,target=/m,dev", "type=bind,target=/m,z",
                        "type=bind,target=/m,relabel=shared", "type=bind,target=/m,idmap", "type=cache,target=/m,sharing=",
                        "type=,target=/m", "type=bind,target=", "type=bind,target=/", "type=bind,target=..", "type=bind,target=../../..",
                        "type=tmpfs,target=/m,size=-1", "type=tmpfs,target=/m,tmpfs-mode=4777", "type=devpts,target=/m",
                        "type=bind,target=/m,from=", "type=bind,source=@CANARY/missing,target=/m"):
            with self.subTest(options):
                text = self.build(mode, f"RUN echo first-ran\nRUN --mount={options} touch /m/x /marker\n", {}, "--no-cache")
                if "target=.." not in options and options != "type=bind,target=/m,from=":
                    self.assertNotIn("naming to", text)

    @each_mode("root", "oci-runc")
    def test_entitlements(self, mode):
        """B8: CVE-2024-23653: what needs permission is refused before anything runs, wherever it is written."""
        onbuild = self.image_with(mode, "trigger", lambda c: c["config"].update(
            OnBuild=["RUN --security=insecure touch /privileged"]))
        self.assertEqual(0, onbuild.code, onbuild.err)
        for option in ("--security=insecure", "--network=host", "--device=vendor.com/class=x"):
            for text in (f"RUN {option} echo second-ran\n", f"RUN {option} <<E\necho second-ran\nE\n",
                         f"FROM busybox AS inner\nRUN {option} touch /x\nFROM busybox\nRUN echo first-ran\nCOPY --from=inner /x /x\n",
                         f"ARG V={option.partition('=')[2]}\nRUN {option.partition('=')[0]}=$V echo second-ran\n"):
                with self.subTest(text):
                    first = "" if text.startswith("FROM") else "RUN echo first-ran\n"
                    seen = self.build(mode, first + text, {}, "--no-cache", fails=True)
                    self.assertNotRegex(seen, r"\d (first|second)-ran")
        self.assertNotRegex(self.build(mode, "FROM trigger\nRUN echo first-ran\n", fails=True), r"\d first-ran")


@expand_modes
class Sources(EscapeCase):

    @needs("git")
    @each_mode("root")
    def test_repositories(self, mode):
        """B10: CVE-2026-33748: subfolders, refs, submodules and helpers of a repository reach nothing of the host."""
        where = self.canary(mode).root
        clone = self.new_folder("clone")
        git(clone, "init", "-q", "-b", "main")
        os.symlink("/", os.path.join(clone, "proj"))
        os.symlink(where, os.path.join(clone, "out"))
        os.symlink("../" * 12 + where[1:], os.path.join(clone, "up"))
        with open(os.path.join(clone, "Dockerfile"), "w", encoding="ascii") as f:
            f.write("FROM busybox\nCOPY . /all/\n")
        hook = os.path.join(clone, ".gitattributes")
        with open(hook, "w", encoding="ascii") as f:
            f.write("* filter=evil\n")
        git(clone, "add", "-A")
        git(clone, "commit", "-qm", "first")
        with open(os.path.join(clone, ".gitmodules"), "w", encoding="ascii") as f:
            f.write(f'[submodule "s"]\n\tpath = s\n\turl = file://{where}/repo\n[submodule "e"]\n\tpath = e\n'
                    f"\turl = ext::sh -c touch% {where}/pwned\n")
        head = git(clone, "rev-parse", "HEAD")
        git(clone, "update-index", "--add", "--cacheinfo", f"160000,{head},s", "--cacheinfo", f"160000,{head},e")
        git(clone, "checkout", "-q", "-b", "modules")
        git(clone, "add", ".gitmodules")
        git(clone, "commit", "-qm", "modules")
        www = self.new_folder("www")
        git(clone, "clone", "-q", "--bare", clone, os.path.join(www, "r.git"))
        git(os.path.join(www, "r.git"), "update-server-info")
        web = WebServer(www)
        self.addCleanup(web.close)
        url = web.url + "/r.git"
        for end in ("#main:proj", "#main:out", "#main:up", "#main:../../..", f"#main:proj{where}", "#main:out/sub/ok",
                    f"#--upload-pack=touch {where}/pwned", f"#-o{where}/pwned", "#main:/../..", "#modules"):
            with self.subTest(end):
                self.run_checked(mode, "build", "-q", url + end, fails=True)
                self.build(mode, f'ADD ["{url + end}", "/x/"]\n')  # its layers are scanned
        for source in (f"ext::sh -c 'touch {where}/pwned'", f"git@-oProxyCommand=touch {where}/pwned:x/y.git", f"file://{where}",
                       f"ssh://-oProxyCommand=touch%20{where}/pwned/x.git"):
            with self.subTest(source):
                self.run_checked(mode, "build", "-q", source, fails=True)
                self.build(mode, f'ADD ["{source}", "/x/"]\n', fails=True)

    @each_mode("root")
    def test_urls(self, mode):
        """B11: redirects lead to http and https alone, end, and what is stored is what the checksum says."""
        web = WebServer()
        self.addCleanup(web.close)
        where = self.canary(mode).root
        targets = {"/file": f"file://{where}/secret", "/unix": "http+unix://%2frun%2fdocker.sock/info", "/ftp": "ftp://127.0.0.1/x",
                   "/gopher": "gopher://127.0.0.1:1/x", "/dict": "dict://127.0.0.1:1/x", "/loop": "/loop", "/none": "",
                   "/data": "data:,x", "/two": "/three", "/three": "/two", "/scp": f"scp://localhost{where}/secret"}
        for path, target in targets.items():
            web.statuses[path], web.headers[path], web.files[path] = 302, {"Location": target}, "x"
            with self.subTest(path):
                begin = time.monotonic()
                self.build(mode, f"ADD {web.url}{path} /x\n", fails=True)
                self.assertLess(time.monotonic() - begin, 60)
        web.files["/sum"] = "other\n"
        self.build(mode, f"ADD --checksum=sha256:{'0' * 64} {web.url}/sum /x\n", fails=True)
        for source in (f"file://{where}/secret", "ftp://127.0.0.1/x"):
            self.build(mode, f"ADD {source} /x\n", fails=True)

    @each_mode()
    def test_archives_through_links_of_the_image(self, mode):
        """B12: ADD and COPY to a place that is a link in the image stay in it, as BuildKit does it."""
        archive = make_tar({"d/": D(), "d/f": "f\n", "b/new": "n\n", "secret": "overwritten\n", "etc/passwd": "x\n"})
        chown = "" if mode.one_id else "--chown=7:8 "
        self.build(mode, f"""\
            FROM busybox AS base
            RUN mkdir /real && ln -s /real /opt && ln -s ../../../../../..@CANARY /up && ln -s @CANARY /out && ln -s / /root2
            FROM base
            ADD a.tar /opt/
            ADD a.tar /up/
            ADD a.tar /out
            COPY f /opt/copied
            COPY {chown}f /out/secret
            COPY --chmod=0777 f /up/sub/ok/f
            COPY --parents in/f /out/
            COPY f /root2@CANARY/setuid
            WORKDIR /out/new
            RUN test -f /real/d/f && test -f /real/copied && test -f /out/d/f && test "$(cat /out/b/new)" = n
            """, {"a.tar": archive, "f": "F\n", "in/f": "P\n"}, "--build-arg", "BUILDKIT_SYNTAX=", fails=False)


@expand_modes
class Output(EscapeCase):

    @each_mode("root")
    def test_controls_in_our_messages(self, mode):
        """B22: names from outside cannot write to the terminal; JSON lines stay JSON."""
        evil = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m"
        ours = re.compile("\x1b|\x07|\u202e|\x9b")
        web = WebServer()
        self.addCleanup(web.close)
        web.statuses["/x"], web.files["/x"] = 404, evil
        for lines, files in ((f'COPY ["missing{evil}", "/x"]\n', {}), (f"LABEL a=\"{evil}\"\nRUN false # {evil}\n", {}),
                             (f"FROM busybox AS a\nRUN --mount=from={evil} true\n", {}), (f"USER {evil}\nRUN true\n", {}),
                             (f"ADD {web.url}/x /\n", {}), (f"WORKDIR /{evil}\nRUN false\n", {}), (f"{evil}\n", {}),
                             ("COPY . /all/\nRUN false\n", {f"name{evil}": "x"})):
            with self.subTest(lines):
                self.assertIsNone(ours.search(self.build(mode, lines, files, fails=True)))
                text = self.run_checked(mode, "build", "--progress", "rawjson", self.context(mode, lines, files), fails=True)
                for line in filter(None, text.err.splitlines()):
                    if line.startswith("{"):
                        json.loads(line)
        # What a step prints itself is its own affair when nothing but that is shown.
        text = self.build(mode, "RUN printf '\\033[31mred\\033[0m\\n'\n", fails=False)
        self.assertIn("red", text)


if __name__ == "__main__":
    support.main()
