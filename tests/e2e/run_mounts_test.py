#!/usr/bin/env python3
"""RUN --mount of every type, secrets and agents that never leave the step, and what a step finds around itself.

Docstrings name the rows of the reference that a test covers.
"""

import os
import re
import socket
import subprocess
import tempfile
import textwrap
import threading
import time
import unittest

import support
from contexts import D, F, L, write_busybox_tar, write_tree
from imagetree import read_docker_archive
from support import Kasane, needs, run

CANARY = "canary-7f3a91-secret-value"

# Asks an agent for its keys: length, type 11; the answer's type is 12 and its number of keys follows.
AGENT_CLIENT = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char** argv) {
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  const char* path = argc > 2 ? argv[2] : getenv("SSH_AUTH_SOCK");
  if (!path) return 9;
  strcpy(a.sun_path, path);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(s, (struct sockaddr*)&a, sizeof a)) { perror("connect"); return 8; }
  unsigned char ask[5] = {0, 0, 0, 1, (unsigned char)atoi(argv[1])}, reply[9] = {0};
  if (write(s, ask, 5) != 5) return 7;
  size_t got = 0;
  for (ssize_t n; got < sizeof reply && (n = read(s, reply + got, sizeof reply - got)) > 0;) {
    got += n;
    if (got >= 5 && reply[4] == 5) break;
  }
  printf("type=%d keys=%d\n", reply[4], reply[8]);
  return 0;
}
"""


@support.needs_root
@support.needs_busybox
class StepCase(support.TestCase):
    """One store with a busybox; build() takes the lines after FROM busybox."""
    base = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = write_busybox_tar(os.path.join(cls.work, "base.tar"))
        cls.kasane = cls.new_store()

    @classmethod
    def new_store(cls):
        kasane = Kasane(tempfile.mkdtemp(prefix="store-", dir=cls.work))
        kasane.import_busybox(cls.base)
        return kasane

    def context(self, lines, files=None):
        text = textwrap.dedent(lines)
        if not re.match(r"\s*(#.*\n|ARG.*\n)*\s*FROM ", text):
            text = "FROM busybox\n" + text
        return write_tree(self.new_folder("ctx"), {**(files or {}), "Dockerfile": text})

    def build(self, lines, files=None, *args, fails=False, kasane=None, **kwargs):
        """Progress text of a build."""
        outcome = (kasane or self.kasane).build(self.context(lines, files), *args, check=False, **kwargs)
        self.assertEqual(bool(fails), outcome.code != 0, outcome.err)
        self.assertNotIn("panic", outcome.err)
        return outcome.err

    def tree(self, reference, kasane=None):
        path = os.path.join(self.new_folder("saved"), "i.tar")
        (kasane or self.kasane)("save", "-o", path, reference)
        return read_docker_archive(path).tree

    def ran(self, folder, *args, kasane=None, **kwargs):
        """{instruction: reasons} of the steps that were not cached."""
        return {re.sub(r"^\[[^\]]*\] ", "", name): "\n".join(reasons)
                for cached, name, reasons in (kasane or self.kasane).explain(folder, *args, **kwargs) if not cached}


class BindMounts(StepCase):

    FILES = {"sub/a": "A\n", "sub/d/b": F("B\n", 0o640), "top": "T\n", "link": L("sub"), ".dockerignore": "hidden\n",
             "hidden": "H\n"}

    def test_options_and_their_names(self):
        """RM1: bind is the default type; target, dst, destination; source, src; the whole context; ro is the default."""
        self.build("""\
            RUN --mount=target=/c test "$(cat /c/top /c/sub/d/b)" = "$(printf 'T\\nB')" && ! test -e /c/hidden
            RUN --mount=type=bind,source=sub,dst=/c test "$(ls /c | tr '\\n' ' ')" = "a d "
            RUN --mount=src=/sub/a,destination=/c/file test "$(cat /c/file)" = A
            RUN --mount=src=link,target=/c test "$(cat /c/a)" = A
            RUN --mount=target=/c sh -c '! touch /c/new' && ! echo x > /c/top
            RUN --mount=target=/c,ro sh -c '! touch /c/new'
            RUN --mount=target=/c,readonly=true sh -c '! touch /c/new'
            RUN --mount=target=/c,source=sub/d stat -c %a /c/b | grep -x 640
            """, self.FILES)

    def test_writes_are_discarded(self):
        """RM1: with rw, writes are seen by the step alone; neither context, stage nor layer changes."""
        folder = self.context("""\
            FROM busybox AS src
            RUN mkdir /s && echo one > /s/f
            FROM busybox
            RUN --mount=target=/c,rw --mount=from=src,source=/s,target=/s,readwrite=true \\
                echo two > /s/f && rm /c/top && echo new > /c/new && grep two /s/f && echo done > /made
            RUN --mount=target=/c --mount=from=src,source=/s,target=/s grep one /s/f && test -e /c/top && ! test -e /c/new
            """, self.FILES)
        self.kasane.build(folder, "-t", "discarded")
        self.assertEqual(["top"], [n for n in os.listdir(folder) if n in ("top", "new")])
        entries = set(self.tree("discarded").nodes)
        self.assertFalse([p for p in entries if p.startswith(("/c", "/s/"))], "stubs or writes of a mount are in a layer")
        self.assertIn("/made", entries)

    def test_from(self):
        """RM1 S05: from= a stage (any case), an image, a named context; no numbers, no variables."""
        extra = write_tree(self.new_folder("extra"), {"e": "E\n"})
        self.build("""\
            FROM busybox AS Src
            RUN mkdir -p /s/t && echo S > /s/t/f
            FROM busybox
            WORKDIR /s
            RUN --mount=from=sRC,source=s/t,target=/m grep S /m/f
            RUN --mount=from=busybox,source=bin,target=/m test -x /m/busybox
            RUN --mount=from=extra,target=/m grep E /m/e
            """, {}, "--build-context", f"extra={extra}")
        text = self.build("FROM busybox AS a\nFROM busybox\nRUN --mount=from=0,target=/m true\n", fails=True)
        self.assertIn("0", text)
        text = self.build("ARG S=a\nFROM busybox AS a\nFROM busybox\nARG S\nRUN --mount=from=$S,target=/m true\n", fails=True)
        self.assertIn("'from' doesn't support variable expansion, define alias stage instead", text)

    def test_missing_source(self):
        """RM1: a source that is not there is an error that names it and its line."""
        text = self.build("RUN --mount=source=nowhere/x,target=/m true\n", self.FILES, fails=True)
        self.assertIn("nowhere/x", text)
        self.assertIn("not found", text)
        self.assertIn("Dockerfile:2", text)
        text = self.build("FROM busybox AS s\nFROM busybox\nRUN --mount=from=s,source=nope,target=/m true\n", fails=True)
        self.assertIn("/nope", text)
        self.assertIn("not found", text)
        text = self.build("RUN --mount=source=hidden,target=/m true\n", self.FILES, fails=True)
        self.assertIn(".dockerignore", text)

    def test_relative_targets(self):
        """RM1: a relative target is relative to WORKDIR; variables are expanded in target and source."""
        self.build("""\
            ARG WHAT=sub
            WORKDIR /w
            RUN --mount=source=$WHAT,target=in/$WHAT test "$(cat /w/in/sub/a)" = A && cd in/sub && ls
            RUN --mount=type=cache,target=c --mount=type=tmpfs,target=t echo x > /w/c/f && echo x > t/f
            """, self.FILES)

    def test_links_stay_inside(self):
        """RM1: links of a source are resolved within it, and a target behind a link stays in the image."""
        outside = self.new_folder("outside")
        write_tree(outside, {"secret": "S\n"})
        self.build("RUN --mount=source=out/secret,target=/m cat /m\n", {"out": L(outside)}, fails=True)
        self.build("RUN --mount=source=up,target=/m ls /m && test ! -e /m/etc\n", {"up": L("../../../../../"), "z": "z"})
        self.build(f"RUN ln -s {outside} /go\nRUN --mount=target=/go ls {outside}/z\n", {"z": "z"})
        self.assertEqual(["secret"], os.listdir(outside))

    def test_nested_and_repeated(self):
        """RM8: mounts in mounts, the same source twice, and a mount over an earlier one: the later wins."""
        self.build("""\
            RUN --mount=type=tmpfs,target=/m --mount=source=sub,target=/m/in --mount=source=top,target=/m/f \\
                test "$(cat /m/in/a /m/f)" = "$(printf 'A\\nT')"
            RUN --mount=target=/m --mount=type=tmpfs,target=/m/sub/d test "$(ls /m/sub/d)" = "" && grep A /m/sub/a
            RUN --mount=source=sub,target=/m --mount=source=sub,target=/n,rw rm /n/a && grep A /m/a
            RUN --mount=source=sub,target=/m --mount=source=sub/d,target=/m ls /m | grep -x b
            """, self.FILES)

    def test_both_paths_are_in_the_key(self):
        """RM8: two files of one context at once (the lockfile pattern): both count, others do not."""
        kasane = self.new_store()
        files = {"package.json": "{}\n", "lock": "1\n", "other": "o\n"}
        folder = self.context("""\
            WORKDIR /app
            RUN --mount=source=package.json,target=package.json --mount=source=lock,target=lock \\
                cat package.json lock > /installed
            """, files)
        time.sleep(0.15)
        kasane.build(folder)
        for name in ("package.json", "lock"):
            write_tree(folder, {name: f"changed {name}\n"})
            time.sleep(0.15)
            ran = self.ran(folder, kasane=kasane)
            self.assertEqual(1, len(ran), ran)
        write_tree(folder, {"other": "changed\n"})
        self.assertEqual({}, self.ran(folder, kasane=kasane))

    def test_key_of_a_bind_mount(self):
        """RM1: content of the source: a miss that names the file; times: a hit; an option or another target: a miss."""
        kasane = self.new_store()
        lines = "RUN --mount=source=sub,target=/m cat /m/a /m/d/b > /out\n"
        folder = self.context(lines, self.FILES)
        time.sleep(0.15)
        kasane.build(folder)
        self.assertEqual({}, self.ran(folder, kasane=kasane))
        for path in ("sub/a", "sub/d/b", "sub", "top"):
            os.utime(os.path.join(folder, path), (1, 1))
        self.assertEqual({}, self.ran(folder, kasane=kasane), "times are not in the key")
        write_tree(folder, {"sub/d/b": F("BB\n", 0o640), "top": "changed outside\n"})
        reasons = "".join(self.ran(folder, kasane=kasane).values())
        self.assertIn("sub/d/b", reasons)
        self.assertNotIn("top", reasons)
        os.chmod(os.path.join(folder, "sub/a"), 0o600)
        self.assertIn("sub/a", "".join(self.ran(folder, kasane=kasane).values()))
        write_tree(folder, {"sub/new": "n\n"})
        self.assertIn("sub/new", "".join(self.ran(folder, kasane=kasane).values()))
        os.unlink(os.path.join(folder, "sub/new"))
        self.assertEqual({}, self.ran(folder, kasane=kasane), "the earlier content is a hit again")
        for old, new in (("target=/m", "target=/m,rw"), ("source=sub,", "")):
            write_tree(folder, {"Dockerfile": "FROM busybox\n" + lines.replace(old, new).replace("/m/a /m/d/b", "/etc/passwd")})
            self.assertEqual(1, len(self.ran(folder, kasane=kasane)), new)


class CacheMounts(StepCase):

    def setUp(self):
        self.kasane = self.new_store()

    def test_persistent_but_in_no_layer_and_no_key(self):
        """RM2 RM7: what a step leaves is there for the next; the image has neither content nor stub; other content: a hit."""
        folder = self.context("RUN --mount=type=cache,target=/c echo 1 >> /c/f && cat /c/f && echo made > /made\n")
        self.kasane.build(folder, "-t", "c")
        self.assertEqual({}, self.ran(folder))
        self.assertIn("/made", self.tree("c"))
        self.assertNotIn("/c", self.tree("c"))
        text = self.build("RUN --mount=type=cache,target=/c echo lines: $(wc -l < /c/f)\n")
        self.assertIn("lines: 1", text)
        self.assertEqual({}, self.ran(folder))
        text = self.kasane.build(folder, "--no-cache").err
        self.assertRegex(text, r"1\n.* 1\n")

    def test_id_and_namespace(self):
        """RM2 A13: the id is the cleaned target as written unless given; BUILDKIT_CACHE_MOUNT_NS separates caches."""
        def seen(options, *args):
            text = self.build(f"RUN --mount=type=cache,{options} echo found=$(cat /c/f 2>/dev/null) && date +%N > /n && "
                              f"echo '{options}' > /c/f\n", {}, "--no-cache", *args)
            return re.search(r"\d found=(.*)", text)[1]
        self.assertEqual("", seen("target=/c"))
        self.assertEqual("target=/c", seen("target=/c/,id="))
        self.assertEqual("target=/c/,id=", seen("target=/c/./,id=/c"))
        self.assertEqual("", seen("target=/c,id=other"))
        self.assertEqual("target=/c,id=other", seen("id=other,dst=/c"))
        self.assertEqual("", seen("target=/c", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=ns"))
        self.assertEqual("target=/c", seen("target=/c", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=ns"))

    def test_owner_and_mode(self):
        """RM2: mode 0755 and owner 0:0 by default; other ones name another directory."""
        self.build("""\
            RUN --mount=type=cache,target=/c test "$(stat -c %a:%u:%g /c)" = 755:0:0 && touch /c/first
            RUN --mount=type=cache,target=/c,mode=0700,uid=1000,gid=2000 test "$(stat -c %a:%u:%g /c)" = 700:1000:2000 && \\
                ! test -e /c/first && touch /c/second
            RUN --mount=type=cache,target=/c,uid=1000 ! test -e /c/first && ! test -e /c/second
            RUN --mount=type=cache,target=/c test -e /c/first
            USER app
            RUN --mount=type=cache,target=/home/app/.cache,uid=1000,gid=1000 touch /home/app/.cache/mine
            """)

    def test_read_only(self):
        """RM2: ro shows the cache and refuses writes."""
        self.build("""\
            RUN --mount=type=cache,target=/c echo x > /c/f
            RUN --mount=type=cache,target=/c,ro grep x /c/f && ! touch /c/g
            """)

    def test_base_content(self):
        """RM2: from and source give the first content; another base is another cache; the base stays as it is."""
        self.build("""\
            FROM busybox AS one
            RUN mkdir -p /s/t && echo base1 > /s/t/f
            FROM busybox AS two
            RUN mkdir -p /s/t && echo base2 > /s/t/f
            FROM busybox
            RUN --mount=type=cache,id=k,target=/c,from=one,source=/s/t grep base1 /c/f && echo mine > /c/g
            RUN --mount=type=cache,id=k,target=/c,from=one,source=/s/t grep base1 /c/f && grep mine /c/g
            RUN --mount=type=cache,id=k,target=/c,from=two,source=/s/t grep base2 /c/f && ! test -e /c/g
            RUN --mount=type=cache,id=k,target=/c ! test -e /c/f
            RUN --mount=from=one,target=/o grep base1 /o/s/t/f && ! test -e /o/s/t/g
            """)

    def test_source_may_not_escape(self):
        """RM2: a link in the cache cannot lead `source` out of it (testCacheMountSourceEscape)."""
        self.build("RUN --mount=type=cache,id=e,target=/c mkdir /c/ok && ln -s /etc /c/out && ln -s ../../.. /c/up\n")
        for source in ("out", "up"):
            text = self.build(f"RUN --mount=type=cache,id=e,target=/c,source={source} cat /c/machine-id /c/hostname "
                              "&& ls -a /c && touch /c/escaped\n", fails=True)
            self.assertNotIn("escaped", os.listdir("/etc"))
            self.assertTrue(text)

    def concurrently(self, sharing):
        """Two builds of a step that notes when it begins and ends; whether they were in it at once."""
        lines = ("RUN --mount=type=cache,id=s,target=/c,sharing={} echo {}begin >> /c/log; sleep 1.5; "
                 "echo {}end >> /c/log; cat /c/log; echo files=$(ls /c | wc -l)\n")
        folders = [self.context(lines.format(sharing, name, name)) for name in "ab"]
        jobs = [subprocess.Popen([support.KASANE, "build", "--progress", "plain", folder], env=self.kasane.env,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                for folder in folders]
        texts = [job.communicate(timeout=240)[1].decode() for job in jobs]
        self.assertEqual([0, 0], [job.returncode for job in jobs], texts)
        return [re.findall(r"\b([ab](?:begin|end))\b(?!\s*>>)", re.sub(r"(?m)^.*RUN.*$", "", text)) for text in texts]

    def test_sharing_shared(self):
        """RM2: shared, the default: both at once in one directory."""
        logs = self.concurrently("shared")
        longest = max(logs, key=len)
        self.assertEqual(4, len(longest), logs)
        self.assertEqual({"abegin", "bbegin"}, set(longest[:2]))

    def test_sharing_locked(self):
        """RM2: locked: one after the other in one directory."""
        logs = self.concurrently("locked")
        longest = max(logs, key=len)
        self.assertEqual(4, len(longest), logs)
        self.assertIn(longest, (["abegin", "aend", "bbegin", "bend"], ["bbegin", "bend", "abegin", "aend"]))

    def test_sharing_private(self):
        """RM2: private: a second directory while the first is in use."""
        logs = self.concurrently("private")
        self.assertEqual([["abegin", "aend"], ["bbegin", "bend"]], logs)


class TmpfsMounts(StepCase):

    def test_tmpfs(self):
        """RM3 RM7: memory, writable, fresh for every step, of the size asked for, and not in the image."""
        folder = self.context("""\
            RUN --mount=type=tmpfs,target=/t touch /t/f && grep ' /t tmpfs' /proc/mounts
            RUN --mount=type=tmpfs,target=/t ! test -e /t/f
            RUN --mount=type=tmpfs,target=/t,size=2m test "$(df -k /t | tail -1 | awk '{print $2}')" = 2048
            RUN --mount=type=tmpfs,target=/t,size=1m ! dd if=/dev/zero of=/t/big bs=1024 count=2000
            RUN --mount=type=tmpfs,target=/usr/lib/old ! test -e /usr/lib/old/a
            RUN test -e /usr/lib/old/a
            """)
        self.kasane.build(folder, "-t", "tmpfs")
        self.assertNotIn("/t", self.tree("tmpfs"))


class Validation(StepCase):

    def test_errors_before_anything_runs(self):
        """RM6: options that a type has not, and values that are none, are errors with their line; nothing runs."""
        for options, message in (
                ("type=secret", "one of source, target required"),
                ("type=secret,id=a,from=busybox", "secret mount should not have a from"),
                ("type=secret,id=a,sharing=locked", "secret mount should not define sharing"),
                ("type=secret,id=a,source=b", "both source and id can't be set"),
                ("type=ssh,source=/x", "ssh mount should not have a source"),
                ("type=cache,target=/c,size=1m", "unexpected key 'size'"),
                ("target=/c,required=true", "unexpected key 'required'"),
                ("type=tmpfs,target=/c,sharing=shared", "invalid cache sharing set for tmpfs mount"),
                ("type=cache,target=/c,sharing=lokced", "unsupported sharing value"),
                ("type=cach,target=/c", "unsupported mount type"),
                ("type=tmpfs,target=/c,mode=0700", "mode not allowed"),
                ("target=/c,uid=1", "uid not allowed"),
                ("target=/", "invalid mount target"),
                ("target=/c,ro=maybe", "invalid value for ro"),
                ("type=cache,target=/c,mode=9", "invalid value 9 for mode"),
                ("type=tmpfs,target=/c,size=big", "invalid value for size"),
                ("target=/c,nonsense=1", "unexpected key 'nonsense'"),
                ("target=/c,nonsense", "must be a key=value pair")):
            with self.subTest(options):
                text = self.build(f"RUN echo first-ran\nRUN --mount={options} true\n", {}, "--no-cache", fails=True)
                self.assertIn(message, text)
                self.assertIn("Dockerfile:3", text)
                self.assertNotRegex(text, r"\d first-ran")


class Secrets(StepCase):

    def secret(self, value=CANARY):
        path = os.path.join(self.new_folder("secret"), "token.txt")
        with open(path, "w", encoding="ascii") as f:
            f.write(value)
        return path

    def test_file(self):
        """RM4 L10: a file at /run/secrets/ID, mode 0400, root's, on memory; target, mode, uid and gid change that."""
        self.build("""\
            RUN --mount=type=secret,id=tok test "$(sed s/-/+/ /run/secrets/tok)" = "canary+7f3a91-secret-value" && \\
                test "$(stat -c %a:%u:%g /run/secrets/tok)" = 400:0:0
            RUN --mount=type=secret,id=tok,target=/w/x,mode=0440,uid=1000,gid=2000 \\
                test "$(stat -c %a:%u:%g /w/x)" = 440:1000:2000
            RUN --mount=type=secret,target=/etc/tok test "$(wc -c < /etc/tok)" = 26
            RUN --mount=type=secret,source=tok test -s /run/secrets/tok
            RUN --mount=type=secret,id=dir/tok test -s /run/secrets/tok
            RUN ! test -e /run/secrets
            USER app
            RUN --mount=type=secret,id=tok ! cat /run/secrets/tok
            RUN --mount=type=secret,id=tok,uid=1000 cat /run/secrets/tok >/dev/null
            """, {}, "--secret", f"id=tok,src={self.secret()}", "--secret", f"id=dir/tok,src={self.secret()}")

    def test_environment(self):
        """RM4: env= gives a variable instead of a file, and both with a target."""
        self.build("""\
            RUN --mount=type=secret,id=tok,env=TOKEN test "$TOKEN" = "$(printf canary)-7f3a91-secret-value" && \\
                ! test -e /run/secrets/tok
            RUN --mount=type=secret,id=tok,env=TOKEN,target=/s test "$TOKEN" = "$(cat /s)"
            RUN test -z "$TOKEN"
            """, {}, "--secret", f"id=tok,src={self.secret()}")

    def test_where_values_come_from(self):
        """L10: type guessed: a variable of the id's name wins, else a file; env=, src=, type=env with src."""
        folder = self.context("RUN --mount=type=secret,id=FROMENV echo len=$(wc -c < /run/secrets/FROMENV)\n")
        path = self.secret("123456")
        for arguments, length in ((["id=FROMENV"], 9), (["id=FROMENV,env=OTHER"], 7), (["id=FROMENV,type=env,src=OTHER"], 7),
                                  ([f"id=FROMENV,src={path}"], 6), ([f"id=FROMENV,type=file,source={path}"], 6)):
            text = self.kasane.build(folder, "--no-cache", "--secret", *arguments,
                                     env={"FROMENV": "123456789", "OTHER": "1234567"}).err
            self.assertIn(f"len={length}", text, arguments)
        text = self.build("RUN true\n", {}, "--secret", "id=x,src=/nowhere/at/all", fails=True)
        self.assertIn("/nowhere/at/all", text)

    def test_missing(self):
        """RM4: not required: nothing is mounted; required: `secret X: not found` before the step runs."""
        self.build("RUN --mount=type=secret,id=nope,env=NOPE ! test -e /run/secrets/nope && test -z \"$NOPE\"\n")
        for required in ("required", "required=true"):
            text = self.build(f"RUN --mount=type=secret,id=nope,{required} echo ran-anyway\n", fails=True)
            self.assertIn("secret nope: not found", text)
            self.assertNotRegex(text, r"\d ran-anyway")
            self.assertIn("Dockerfile:2", text)

    def test_value_is_not_in_the_key(self):
        """RM4: another value is a hit; another option is a miss."""
        kasane = self.new_store()
        line = "RUN --mount=type=secret,id=tok test -s /run/secrets/tok && echo x > /x\n"
        folder = self.context(line)
        kasane.build(folder, "--secret", f"id=tok,src={self.secret()}")
        self.assertEqual({}, self.ran(folder, "--secret", f"id=tok,src={self.secret('another-value')}", kasane=kasane))
        self.assertEqual({}, self.ran(folder, kasane=kasane))
        write_tree(folder, {"Dockerfile": "FROM busybox\n" + line.replace("id=tok", "id=tok,mode=0444")})
        self.assertEqual(1, len(self.ran(folder, "--secret", f"id=tok,src={self.secret()}", kasane=kasane)))

    def assert_nowhere(self, folder, value=CANARY):
        found = subprocess.run(["grep", "-rlaF", value, folder], stdout=subprocess.PIPE, check=False).stdout.decode()
        self.assertEqual("", found)

    def test_canary(self):
        """RM4: the value is in no file of the store, no log, history, record, metadata, saved image or progress."""
        kasane = self.new_store()
        out = self.new_folder("out")
        folder = self.context("""\
            RUN --mount=type=secret,id=tok cat /run/secrets/tok && echo && cat /run/secrets/tok >&2
            RUN --mount=type=secret,id=tok,env=TOKEN echo "value: $TOKEN" && env | grep TOKEN
            RUN --mount=type=secret,id=tok printf canary-7f3a && sleep 0.1 && cut -c12- /run/secrets/tok | tr -d '\\n'
            RUN --mount=type=secret,id=tok,env=TOKEN mkdir -p /x && echo "$TOKEN" > /x/t && rm -r /x
            """)
        texts = []
        for progress in ("plain", "rawjson"):
            outcome = kasane("build", "--progress", progress, "--no-cache", "--secret", f"id=tok,src={self.secret()}",
                             "-t", "canary", "--metadata-file", f"{out}/meta.json", "--provenance", "mode=max", folder)
            texts += [outcome.out, outcome.err]
        self.assertIn("****", texts[1])
        kasane("save", "-o", f"{out}/image.tar", "canary")
        texts += [kasane("history", "--no-trunc", "canary").out, kasane("inspect", "canary").out]
        for text in texts:
            self.assertNotIn(CANARY, text)
        self.assert_nowhere(kasane.root)
        self.assert_nowhere(out)

    def test_failing_step(self):
        """RM4: what is kept of a failed step holds no value either."""
        kasane = self.new_store()
        self.build("RUN --mount=type=secret,id=tok,env=TOKEN --mount=type=secret,id=tok echo \"$TOKEN\"; exit 3\n", {},
                   "--secret", f"id=tok,src={self.secret()}", fails=True, kasane=kasane)
        self.assert_nowhere(kasane.root)
        self.build("RUN --mount=type=secret,id=tok mkdir -m 0 /d && cp /run/secrets/tok /d/kept; exit 3\n", {},
                   "--secret", f"id=tok,src={self.secret()}", fails=True, kasane=kasane)
        self.assert_nowhere(kasane.root)

    def test_written_to_the_layer(self):
        """RM4: a step that writes the value to a file is refused, with layer and path; nothing of it stays."""
        for command in ("cp /run/secrets/tok /kept", "mkdir -p /d && ln -s \"$(cat /run/secrets/tok)\" /d/kept",
                        "(seq 1 100000; cat /run/secrets/tok; seq 1 100) > /kept"):
            kasane = self.new_store()
            text = self.build(f"RUN --mount=type=secret,id=tok {command}\n", {}, "-t", "leak", "--secret",
                              f"id=tok,src={self.secret()}", fails=True, kasane=kasane)
            self.assertRegex(text, r'secret "tok" is in layer sha256:[0-9a-f]{64}, (file|path) /(d/)?kept')
            self.assertEqual("", kasane("images", "-q", "leak").out)
            self.assert_nowhere(kasane.root)

    def test_value_in_the_dockerfile_or_arguments(self):
        """RM4: a build argument of the same value does not bring it into the history."""
        kasane = self.new_store()
        outcome = kasane.build(self.context("ARG A\nRUN --mount=type=secret,id=tok true\n"), "--build-arg", f"A={CANARY}", "-t",
                               "leak", "--secret", f"id=tok,src={self.secret()}", check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("tok", outcome.err)
        self.assertNotIn(CANARY, outcome.err)


@needs("ssh-agent", "ssh-add", "ssh-keygen", "gcc")
class SshMounts(StepCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(os.path.join(cls.work, "c.c"), "w", encoding="ascii") as f:
            f.write(AGENT_CLIENT)
        cls.client = os.path.join(cls.work, "client")
        compiled = subprocess.run(["gcc", "-static", "-o", cls.client, f"{cls.work}/c.c"], stderr=subprocess.PIPE,
                                  check=False)
        if compiled.returncode != 0:
            raise unittest.SkipTest("no static C library: " + compiled.stderr.decode()[-200:])
        with open(cls.client, "rb") as f:
            cls.program = f.read()
        cls.keys = []
        for name in ("one", "two"):
            key = os.path.join(cls.work, name)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
            cls.keys.append(key)
        cls.sock = os.path.join(cls.work, "agent")
        text = run(["ssh-agent", "-s", "-a", cls.sock]).out
        pid = re.search(r"SSH_AGENT_PID=(\d+)", text)[1]
        cls.addClassCleanup(os.kill, int(pid), 15)
        run(["ssh-add", "-q", cls.keys[0]], env={**os.environ, "SSH_AUTH_SOCK": cls.sock})

    def ssh(self, lines, *args, **kwargs):
        return self.build("COPY client /bin/client\n" + textwrap.dedent(lines), {"client": F(self.program, 0o755)}, "--no-cache",
                          *args, **kwargs)

    def test_agent(self):
        """RM5 L11: the default agent at /run/buildkit/ssh_agent.0, SSH_AUTH_SOCK names it; it lists the agent's keys."""
        text = self.ssh("""\
            RUN --mount=type=ssh echo sock=$SSH_AUTH_SOCK $(client 11) $(stat -c %a:%u:%g $SSH_AUTH_SOCK)
            RUN test -z "$SSH_AUTH_SOCK" && ! test -e /run/buildkit
            RUN --mount=type=ssh,target=/s/agent,mode=0660,uid=1000,gid=2000 echo at=$SSH_AUTH_SOCK $(stat -c %a:%u:%g /s/agent)
            ENV SSH_AUTH_SOCK=/mine
            RUN --mount=type=ssh echo kept=$SSH_AUTH_SOCK $(client 11 /run/buildkit/ssh_agent.0)
            """, "--ssh", "default", env={"SSH_AUTH_SOCK": self.sock})
        self.assertIn("sock=/run/buildkit/ssh_agent.0 type=12 keys=1 600:0:0", text)
        self.assertIn("at=/s/agent 660:1000:2000", text)
        self.assertIn("kept=/mine type=12 keys=1", text)

    def test_agent_cannot_be_changed(self):
        """RM5: requests other than listing and signing (remove all 19, add 17, lock 22) are refused by the relay."""
        text = self.ssh("RUN --mount=type=ssh client 19; client 17; client 22; client 23; client 11\n", "--ssh",
                        f"default={self.sock}")
        self.assertEqual(4, len(re.findall(r"type=5 ", text)), text)
        self.assertIn("type=12 keys=1", text)
        listed = run(["ssh-add", "-l"], env={**os.environ, "SSH_AUTH_SOCK": self.sock}).out
        self.assertEqual(1, len(listed.splitlines()))

    def test_key_files_and_ids(self):
        """RM5 L11: key files are put into an agent of their own; ids are agents; two mounts have two sockets."""
        text = self.ssh("""\
            RUN --mount=type=ssh,id=both --mount=type=ssh echo first=$(client 11) second=$(client 11 /run/buildkit/ssh_agent.1) \\
                sock=$SSH_AUTH_SOCK
            """, "--ssh", f"both={self.keys[0]},{self.keys[1]}", "--ssh", f"default={self.sock}")
        self.assertIn("first=type=12 keys=2 second=type=12 keys=1 sock=/run/buildkit/ssh_agent.0", text)
        self.assertEqual({}, support.processes_naming("kasane-ssh-"))

    def test_missing(self):
        """RM5: without an agent nothing is mounted, required is an error; a path that is not there is one too."""
        self.ssh('RUN --mount=type=ssh test -z "$SSH_AUTH_SOCK"\n')
        text = self.ssh("RUN --mount=type=ssh,id=git,required true\n", fails=True)
        self.assertIn("unset ssh forward key git", text)
        self.assertIn("/nowhere", self.ssh("RUN true\n", "--ssh", "default=/nowhere", fails=True))
        self.assertIn("SSH_AUTH_SOCK", self.ssh("RUN true\n", "--ssh", "default", fails=True))


class Around(StepCase):
    """Network, limits, entitlements, hosts, and scripts of heredocs."""

    def test_network_none(self):
        """R07 L12: none has an isolated loopback only; --network=none is for all steps; other values are errors."""
        self.build('RUN --network=none test "$(ls /sys/class/net 2>/dev/null || ip -o link | wc -l)" = lo || '
                   'test "$(ip -o link | wc -l)" = 1\n'
                   "RUN --network=none (echo hi | nc -l -p 5000 &) && sleep 0.2 && nc 127.0.0.1 5000 | grep hi\n")
        self.build('RUN test "$(ip -o link | grep -vc "lo:")" = 0\n', {}, "--network", "none")
        for lines, args in (("RUN --network=bridge true\n", ()), ("RUN true\n", ("--network", "bridge"))):
            self.assertIn("bridge", self.build(lines, {}, *args, fails=True))

    def test_network_host(self):
        """R07 L16: host needs --allow network.host; a server of the host is reached on its loopback."""
        text = self.build("RUN --network=host true\n", fails=True)
        self.assertIn("network.host is not allowed", text)
        self.assertIn("--allow network.host", text)
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
            port = server.getsockname()[1]
            self.build(f"RUN --network=host nc -w 5 127.0.0.1 {port} < /dev/null\n", {}, "--allow", "network.host")

    def test_security(self):
        """R08 L16: insecure needs its entitlement, and has all capabilities and no seccomp; the default has neither."""
        self.assertIn("security.insecure is not allowed", self.build("RUN --security=insecure true\n", fails=True))
        text = self.build("RUN --security=insecure grep -E 'CapEff|Seccomp:' /proc/self/status\n"
                          "RUN --security=sandbox echo sandbox; grep -E 'CapEff|Seccomp:' /proc/self/status\n", {},
                          "--allow", "security.insecure")
        self.assertIn("CapEff:\t00000000a80425fb", text)
        self.assertRegex(text, r"Seccomp:\t0")
        self.assertRegex(text, r"Seccomp:\t2")
        self.assertGreater(len(set(re.findall(r"CapEff:\t(\w+)", text))), 1)
        self.assertIn("sandboxed", self.build("RUN --security=sandboxed true\n", fails=True))

    def test_extra_hosts(self):
        """L13: host:ip, host=ip, [v6], host-gateway; names are in the key, addresses are not."""
        folder = self.context("RUN cat /etc/hosts && echo x > /x\n")
        text = self.kasane.build(folder, "--add-host", "one:10.1.2.3", "--add-host", "two=10.1.2.4", "--add-host",
                                 "six:[fd00::1]", "--add-host", "gate:host-gateway").err
        for line in (r"10\.1\.2\.3\s+one", r"10\.1\.2\.4\s+two", r"fd00::1\s+six", r"[0-9a-f.:]+\s+gate"):
            self.assertRegex(text, line)
        self.kasane.build(folder, "--add-host", "one:10.1.2.3")
        self.assertEqual({}, self.ran(folder, "--add-host", "one:10.9.9.9"))
        self.assertEqual(1, len(self.ran(folder, "--add-host", "other:10.1.2.3")))
        self.build("RUN true\n", {}, "--add-host", "one:not-an-address", fails=True)
        self.build("RUN true\n", {}, "--add-host", "one", fails=True)

    def test_limits(self):
        """L14: --ulimit and --shm-size hold in the step; --cgroup-parent is accepted."""
        text = self.build("RUN echo n=$(ulimit -n) h=$(ulimit -Hn) shm=$(df -k /dev/shm | tail -1 | awk '{print $2}')\n", {},
                          "--ulimit", "nofile=200:300", "--shm-size", "8m", "--cgroup-parent", "x")
        self.assertIn("n=200 h=300 shm=8192", text)
        self.build("RUN true\n", {}, "--ulimit", "nonsense=1", fails=True)
        self.build("RUN true\n", {}, "--ulimit", "nofile=9:3", fails=True)

    def test_memory_limit(self):
        """L15: a memory limit is not in the key, and the error of a step that needs more says so."""
        kasane = self.new_store()
        folder = self.context("RUN echo x > /x\n")
        kasane.build(folder, "--memory", "512m")
        self.assertEqual({}, self.ran(folder, "--memory", "600m", kasane=kasane))
        self.assertEqual({}, self.ran(folder, kasane=kasane))

    def test_around_the_step(self):
        """N01 N02 N03 A13: hostname, hosts, resolver, /dev, /proc, /sys; none of it in the image."""
        folder = self.context("""\
            RUN hostname && test "$(hostname)" = buildkitsandbox && grep buildkitsandbox /etc/hosts && grep localhost /etc/hosts
            RUN ! echo x > /etc/hosts && ! echo x >> /etc/resolv.conf && ! grep 127.0.0.53 /etc/resolv.conf
            RUN for d in null zero full random urandom tty ptmx fd stdin stdout stderr; do test -e /dev/$d -o -L /dev/$d || exit 1; done
            RUN grep ' /dev/shm tmpfs' /proc/mounts && grep ' /dev/pts devpts' /proc/mounts && grep ' /proc proc' /proc/mounts
            RUN grep -E ' /sys sysfs ro| /sys [a-z]+ ro' /proc/mounts && ! grep ' /run tmpfs' /proc/mounts
            RUN ! test -e /dev/sda -o -e /dev/vda -o -e /dev/kmsg
            """)
        self.kasane.build(folder, "-t", "around")
        entries = self.tree("around").nodes
        for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/null", "/dev/shm"):
            self.assertNotIn(path, entries)
        text = self.build("RUN hostname; cat /etc/hosts\n", {}, "--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=mine")
        self.assertRegex(text, r"\d mine")

    def test_stubs(self):
        """RM7: mount points made for a step are gone afterwards; the parent keeps its times; what is in use stays."""
        folder = self.context("""\
            RUN mkdir /p /p/own && touch -d '2001-02-03 04:05:06' /p
            RUN --mount=type=tmpfs,target=/p/a/b --mount=source=Dockerfile,target=/p/file --mount=type=tmpfs,target=/p/own true
            RUN --mount=type=cache,target=/q/c echo x > /q/kept
            """)
        self.kasane.build(folder, "-t", "stubs")
        entries = self.tree("stubs").nodes
        self.assertEqual({"/p", "/p/own", "/q", "/q/kept"}, {p for p in entries if p.startswith(("/p/", "/q")) or p == "/p"})
        text = self.build("FROM stubs\nRUN stat -c %Y /p\n")
        self.assertIn(" 981173106", text)

    def test_heredoc_script(self):
        """H08 H12: a heredoc alone is one argument of the current shell, however the delimiter is quoted."""
        text = self.build("""\
            ENV V=value
            RUN <<EOF
            echo one $V
            x=inner
            echo "two $x"
            EOF
            RUN <<'EOF'
            echo three $V
            false || echo four
            EOF
            SHELL ["/bin/sh", "-ec"]
            RUN <<-EOF
            \techo five
            EOF
            """)
        for line in ("one value", "two inner", "three value", "four", "five"):
            self.assertRegex(text, rf"\d {line}\n")
        self.assertIn("RUN <<EOF (echo one $V...)", text)
        self.assertIn("RUN <<-EOF (echo five)", text.replace("...", ""))
        text = self.build("SHELL [\"/bin/sh\", \"-ec\"]\nRUN <<EOF\nfalse\necho not-reached\nEOF\n", fails=True)
        self.assertNotRegex(text, r"\d not-reached")

    def test_heredoc_shebang(self):
        """H09: a script with #! is a file on a read-only mount, run without the shell, and not in the image."""
        folder = self.context("""\
            SHELL ["/no/shell"]
            RUN <<EOF
            #!/bin/awk -f
            BEGIN { print "awk", 6 * 7 }
            EOF
            RUN <<-script
            \t#!/bin/sh
            \techo "$0" && stat -c %a "$0" && ! echo x > "$0"
            script
            """)
        text = self.kasane.build(folder, "-t", "shebang").err
        self.assertIn(" awk 42\n", text)
        self.assertIn(" /dev/pipes/script\n", text)
        self.assertIn(" 755\n", text)
        self.assertFalse([p for p in self.tree("shebang").nodes if "pipes" in p])

    def test_heredoc_with_a_command(self):
        """H10: line and bodies go to the shell verbatim: an interpreter, several documents, descriptors."""
        text = self.build("""\
            ARG V=value
            RUN <<EOF sh
            echo interpreted $0
            EOF
            RUN cat <<A >/a && cat <<'B' >/b
            a is $V
            A
            b is $V
            B
            RUN cat /a /b && cat 0<<EOF
            zero
            EOF
            """)
        for line in ("a is value", r"b is \$V", "zero"):
            self.assertRegex(text, rf"\d {line}\n")
        self.assertIn("interpreted", text)

    def test_heredoc_files(self):
        """H11: COPY and ADD of inline files: names, mode 0644 or --chmod, owner, mixed with other sources."""
        folder = self.context("""\
            ARG WHO=world
            COPY <<one <<"two" plain /d/
            hello $WHO
            one
            hello $WHO
            two
            COPY --chmod=0700 --chown=1000:2000 <<end /named
            x
            end
            ADD <<-tabs /t
            \tindented
            tabs
            """, {"plain": F("p\n", 0o604)})
        self.kasane.build(folder, "-t", "inline")
        tree = self.tree("inline")
        self.build("""\
            FROM inline
            RUN test "$(cat /d/one /d/two /d/plain /named /t | tr '\\n' ,)" = 'hello world,hello $WHO,p,x,indented,'
            RUN test "$(stat -c %a:%u:%g /d/one /d/plain /named | tr '\\n' ' ')" = "644:0:0 604:0:0 700:1000:2000 "
            """)
        self.assertIn("/d/one", tree)
        self.build("COPY plain <<EOF\nx\nEOF\n", {"plain": "p"}, fails=True)

    def test_build_arguments_from_the_environment(self):
        """A09: --build-arg K without a value takes the caller's; not given when it has none."""
        lines = "ARG K=default\nRUN echo k=$K\n"
        self.assertIn("k=outside", self.build(lines, {}, "--build-arg", "K", env={"K": "outside"}))
        self.assertIn("k=default", self.build(lines, {}, "--build-arg", "K"))

    def test_proxies(self):
        """A10: proxy arguments reach the step undeclared in both cases, and neither history nor key."""
        kasane = self.new_store()
        folder = self.context('RUN echo "p=$http_proxy P=$HTTP_PROXY n=$no_proxy" && echo x > /x\n')
        arguments = ["--build-arg", "HTTP_PROXY=http://user:pw@proxy:1", "--build-arg", "no_proxy=localhost"]
        text = kasane.build(folder, "-t", "p", *arguments).err
        self.assertIn("p=http://user:pw@proxy:1 P=http://user:pw@proxy:1 n=localhost", text)
        self.assertNotIn("user:pw", kasane("history", "--no-trunc", "p").out + kasane("inspect", "p").out)
        self.assertEqual({}, self.ran(folder, "--build-arg", "HTTP_PROXY=http://other", kasane=kasane))
        self.assertEqual({}, self.ran(folder, kasane=kasane))
        write_tree(folder, {"Dockerfile": "FROM busybox\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY > /x\n"})
        kasane.build(folder, *arguments)
        self.assertEqual(1, len(self.ran(folder, "--build-arg", "HTTP_PROXY=http://other", kasane=kasane)))

    def test_builder_arguments(self):
        """A13: BUILDKIT_ arguments steer the builder or are ignored; none is an unconsumed argument or a variable."""
        text = self.build("RUN env; test -z \"$(env | grep BUILDKIT)\"\n", {}, *[
            a for name in ("INLINE_CACHE=1", "MULTI_PLATFORM=1", "CONTEXT_KEEP_GIT_DIR=1", "BUILD_NAME=x", "CACHE_MOUNT_NS=n")
            for a in ("--build-arg", "BUILDKIT_" + name)])
        self.assertNotIn("were not consumed", text)

    def test_copy_from_stage_rules(self):
        """K40 K41 K42 V16: name in any case, number, image; forward and self references; the last of one name; variables."""
        self.build("""\
            ARG WHICH=Second
            FROM busybox AS dup
            RUN echo first > /f
            FROM busybox AS Second
            WORKDIR /elsewhere
            RUN echo second > /f
            FROM busybox AS dup
            RUN echo last > /f
            FROM busybox
            COPY --from=sEcond f /byname
            COPY --from=0 /f /bynumber
            COPY --from=dup /f /bylast
            COPY --from=busybox /etc/passwd /image
            COPY --from=$WHICH /f /variable
            RUN test "$(cat /byname /bynumber /bylast /variable | tr '\\n' ,)" = second,first,last,second,
            """)
        text = self.build("FROM busybox AS a\nCOPY --from=b /x /\nFROM busybox AS b\n", {}, "--target", "a", fails=True)
        self.assertIn('cannot copy from stage "b", it needs to be defined before current stage "a"', text)
        text = self.build("FROM busybox AS a\nCOPY --from=a /x /\n", fails=True)
        self.assertRegex(text, 'cannot copy from stage "a"|circular dependency detected on stage')
        self.build("FROM busybox AS a\nFROM busybox\nARG S=a\nCOPY --from=$S /etc/passwd /\n", fails=True)

    def test_copy_parents(self):
        """K28: the source's folders are kept under the destination, from /./ on, with their metadata."""
        self.build("""\
            COPY --parents a/b/f a/c/*.txt /d/
            COPY --parents a/./b/f /e/
            COPY --parents **/*.txt /g/
            COPY --parents nothing/*.none /d/
            RUN test -f /d/a/b/f && test -f /d/a/c/x.txt && test -f /e/b/f && test ! -e /e/a && test -f /g/a/c/x.txt
            RUN test "$(stat -c %a /d/a/b)" = 750
            """, {"a/b/": D(0o750), "a/b/f": "f", "a/c/x.txt": "x", "a/c/y": "y"})
        self.build("COPY --parents a/missing /d/\n", {"a/b": "b"}, fails=True)

    def test_targets_and_reachability(self):
        """S01 S02 S03 S04: only what the target needs; names in any case; a typo is met with a suggestion; the last stage."""
        lines = """\
            FROM not-there-at-all AS unused
            FROM busybox AS Build
            RUN echo in-build
            FROM busybox AS other
            RUN echo in-other
            FROM busybox AS last
            RUN echo in-last
            """
        text = self.build(lines, {}, "--no-cache")
        self.assertRegex(text, r"\d in-last")
        self.assertNotRegex(text, r"\d in-(build|other)")
        text = self.build(lines, {}, "--no-cache", "--target", "bUILD")
        self.assertRegex(text, r"\d in-build")
        self.assertNotRegex(text, r"\d in-last")
        text = self.build(lines, {}, "--target", "bulid", fails=True)
        self.assertIn('target stage "bulid" could not be found (did you mean', text)
        start = time.monotonic()
        text = self.build("FROM busybox AS a\nRUN while ! test -e /c/b; do sleep 0.1; done\n"
                          "FROM busybox\n".replace("RUN", "RUN --mount=type=cache,id=meet,target=/c touch /c/a &&") +
                          "RUN --mount=type=cache,id=meet,target=/c touch /c/b && while ! test -e /c/a; do sleep 0.1; done\n"
                          "COPY --from=a /etc/passwd /p\n", {}, "--jobs", "2", timeout=120)
        self.assertLess(time.monotonic() - start, 120, "the two stages did not run at once")


if __name__ == "__main__":
    support.main()
