#!/usr/bin/env python3
"""ADD of URLs and repositories, from servers of this machine. Docstrings name the rows of the reference."""

import base64
import hashlib
import os
import re
import textwrap
import time

import support
from contexts import D, F, make_tar, write_busybox_tar, write_tree
from imagetree import read_docker_archive
from support import Kasane, needs, run
from webserver import WebServer


def git(folder, *args, **env):
    return run(["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "protocol.file.allow=always", "-C", folder,
                *args], env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
                             "GIT_COMMITTER_DATE": "1577836800 +0000", "GIT_AUTHOR_DATE": "1577836800 +0000",
                             **env}).out.strip()


def make_repository(work, spec=None):
    """A served bare repository work/www/r.git with two commits on main, a tag v1 and a branch dev; their ids."""
    clone, www = os.path.join(work, "clone"), os.path.join(work, "www")
    os.makedirs(clone)
    os.makedirs(www, exist_ok=True)
    git(clone, "init", "-q", "-b", "main")
    write_tree(clone, spec or {"f": "one\n", "sub/g": "G\n", "sub/run": F("#!/bin/sh\n", 0o755), "odd": F("o\n", 0o600)})
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "first")
    first = git(clone, "rev-parse", "HEAD")
    git(clone, "tag", "v1")
    git(clone, "checkout", "-q", "-b", "dev")
    write_tree(clone, {"f": F("dev\n", mtime=time.time())})
    git(clone, "commit", "-qam", "dev")
    dev = git(clone, "rev-parse", "HEAD")
    git(clone, "checkout", "-q", "main")
    write_tree(clone, {"f": F("two\n", mtime=time.time())})
    git(clone, "commit", "-qam", "second")
    second = git(clone, "rev-parse", "HEAD")
    publish(clone, www)
    return {"v1": first, "dev": dev, "main": second, "clone": clone, "www": www}


def publish(clone, www):
    bare = os.path.join(www, "r.git")
    if not os.path.exists(bare):
        git(clone, "clone", "-q", "--bare", clone, bare)
    git(clone, "push", "-q", "--force", "--all", bare)
    git(bare, "update-server-info")


@support.needs_root
class SourceCase(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.web = WebServer(os.path.join(cls.work, "www"))
        cls.addClassCleanup(cls.web.close)
        cls.number = 0

    def setUp(self):
        self.kasane = Kasane(self.new_folder("store"))

    def context(self, lines, files=None):
        text = re.sub(r"(?<!\w)@", self.web.url, textwrap.dedent(lines))
        return write_tree(self.new_folder("ctx"), {**(files or {}), "Dockerfile": "FROM scratch\n" + text})

    def tree_of(self, lines, files=None, *args, folder=None, **kwargs):
        """Root file system of the image of these lines; @ stands for the server."""
        self.kasane.build(folder or self.context(lines, files), "-t", "t", *args, **kwargs)
        path = os.path.join(self.new_folder("saved"), "i.tar")
        self.kasane("save", "-o", path, "t")
        return read_docker_archive(path).tree

    def fails(self, lines, *args, files=None):
        outcome = self.kasane.build(self.context(lines, files), *args, check=False)
        self.assertNotEqual(0, outcome.code, outcome.err)
        return outcome.err

    def file(self, body, path=None, etag=None, date=None):
        """Serves `body` under a path of its own."""
        type(self).number += 1
        path = path or f"/n{self.number}/file.txt"
        self.web.files[path] = body
        self.web.headers[path] = {"ETag": etag} if etag else {}
        if date:
            self.web.dated(path, date)
        return path


class Urls(SourceCase):

    def test_names(self):
        """AD6: the last element of the path; / is __unnamed__; no slash at the destination's end: it is the file."""
        path = self.file("x\n")
        self.web.files["/"] = "root\n"
        self.web.headers[path]["Content-Disposition"] = 'attachment; filename="other"'
        tree = self.tree_of(f"ADD @{path}?query=1 /d/\nADD @{path} /e\nADD @ /d/\nADD @/ /g/\nWORKDIR /w\nADD @{path} .\n"
                            f"ARG U=@{path}\nADD $U /expanded/\n")
        self.assertEqual("x\n", tree.text("/d/file.txt"))
        self.assertEqual("x\n", tree.text("/e"))
        self.assertEqual("root\n", tree.text("/d/__unnamed__"))
        self.assertEqual("root\n", tree.text("/g/__unnamed__"))
        self.assertEqual("x\n", tree.text("/w/file.txt"))
        self.assertEqual("x\n", tree.text("/expanded/file.txt"))
        self.assertNotIn("/d/other", tree)

    def test_metadata(self):
        """AD7: mode 0600, owner 0:0, Last-Modified or 1970; --chmod and --chown change that."""
        dated, plain = self.file("x\n", date=1234567890), self.file("y\n")
        tree = self.tree_of(f"ADD @{dated} /a\nADD @{plain} /b\nADD --chmod=0751 --chown=3:4 @{plain} /c\n")
        self.assertEqual((0o600, 0, 0, 1234567890), (tree["/a"].mode, tree["/a"].uid, tree["/a"].gid, tree["/a"].mtime))
        self.assertEqual(0, tree["/b"].mtime)
        self.assertEqual((0o751, 3, 4), (tree["/c"].mode, tree["/c"].uid, tree["/c"].gid))

    def test_several_sources(self):
        """AD6: two URLs and a local file in one ADD."""
        one, two = self.file("1\n", "/one"), self.file("2\n", "/two")
        tree = self.tree_of(f"ADD @{one} local @{two} /d/\n", {"local": F("l\n", 0o640)})
        self.assertEqual(["/d/local", "/d/one", "/d/two"], tree.below("/d"))
        self.assertEqual((0o600, 0o640), (tree["/d/one"].mode, tree["/d/local"].mode))

    def test_not_there(self):
        """AD8: 404, 401, 500 and no server are errors with URL and line."""
        self.web.statuses.update({"/secret": 401, "/broken": 500})
        self.web.files.update({"/secret": "s", "/broken": "b"})
        for path, status in (("/nope", "404"), ("/secret", "401"), ("/broken", "500")):
            text = self.fails(f"ADD @{path} /d/\n")
            self.assertIn(status, text)
            self.assertIn(self.web.url + path, text)
        self.assertIn("127.0.0.1:1", self.fails("ADD http://127.0.0.1:1/x /d/\n"))

    def test_revalidation(self):
        """AD8: every build asks, with the ETag; unchanged: no body and all hits; changed content: a miss, the same: a hit."""
        path = self.file("v1\n", etag='"1"')
        folder = self.context(f"ADD @{path} /f\n")
        self.assertEqual("v1\n", self.tree_of("", folder=folder).text("/f"))
        asked = len(self.web.requests)
        steps = self.kasane.explain(folder)
        self.assertGreater(len(self.web.requests), asked, "the server was not asked")
        self.assertEqual(1, self.web.bodies_sent(path))
        self.assertEqual([], [s for s in steps if not s[0] and "ADD" in s[1]])
        self.file("v2\n", path, etag='"2"')
        steps = self.kasane.explain(folder)
        self.assertTrue([s for s in steps if not s[0] and "ADD" in s[1]], steps)
        self.assertEqual("v2\n", self.tree_of("", folder=folder).text("/f"))
        self.file("v2\n", path, etag='"3"', date=1000000000)
        self.assertEqual([], [s for s in self.kasane.explain(folder) if not s[0] and "ADD" in s[1]], "same content, other date")

    def test_checksum(self):
        """AD9: sha256 is checked, a mismatch shows both, other algorithms and several sources are refused, no second request."""
        path = self.file("sum\n")
        digest = hashlib.sha256(b"sum\n").hexdigest()
        folder = self.context(f"ADD --checksum=sha256:{digest} @{path} /f\n")
        self.assertEqual("sum\n", self.tree_of("", folder=folder).text("/f"))
        asked = len(self.web.requests)
        self.kasane.build(folder)
        self.assertEqual(asked, len(self.web.requests))
        self.assertEqual("sum\n", self.tree_of(f"ARG S=sha256:{digest}\nADD --checksum=$S @{path} /f\n").text("/f"))
        wrong = "0" * 64
        text = self.fails(f"ADD --checksum=sha256:{wrong} @{path} /f\n")
        self.assertIn(wrong, text)
        self.assertIn(digest, text)
        self.assertIn("algorithm", self.fails(f"ADD --checksum=sha512:{wrong} @{path} /f\n"))
        self.assertIn("multiple sources", self.fails(f"ADD --checksum=sha256:{digest} @{path} @{path}2 /f/\n"))
        self.assertIn("checksum requires", self.fails(f"ADD --checksum=sha256:{digest} local /f\n", files={"local": "x"}))
        self.fails(f"ADD --checksum=sha256:12 @{path} /f\n")

    def test_unpack(self):
        """AD5: a URL's archive is copied unless --unpack; a local one is unpacked unless --unpack=false."""
        data = make_tar({"t/": D(0o700, 5, 6), "t/x": F("x\n", 0o640, 7, 8)}, "gz")
        path = self.file(data, "/a.tgz")
        tree = self.tree_of(f"ADD @{path} /url/\nADD --unpack=true @{path} /unpacked/\nADD --unpack @{path} /u2/\n"
                            "ADD a.tgz /local/\nADD --unpack=false a.tgz /kept/\n", {"a.tgz": data})
        self.assertEqual(hashlib.sha256(data).hexdigest(), tree["/url/a.tgz"].sha256)
        self.assertEqual(hashlib.sha256(data).hexdigest(), tree["/kept/a.tgz"].sha256)
        for where in ("/unpacked", "/u2", "/local"):
            self.assertEqual("x\n", tree.text(where + "/t/x"))
            self.assertEqual((0o640, 7, 8), (tree[where + "/t/x"].mode, tree[where + "/t/x"].uid, tree[where + "/t/x"].gid))
            self.assertNotIn(where + "/a.tgz", tree)

    def test_broken_archives(self):
        """AD13: what is an archive by its name only is copied."""
        tree = self.tree_of("ADD text.tar.gz text.tar empty.tar /d/\n", {"text.tar.gz": "no archive\n", "text.tar": "none\n",
                                                                        "empty.tar": ""})
        self.assertEqual(["/d/empty.tar", "/d/text.tar", "/d/text.tar.gz"], tree.below("/d"))
        self.assertEqual("no archive\n", tree.text("/d/text.tar.gz"))

    def test_authorization(self):
        """AD12: secrets HTTP_AUTH_HEADER_<host> and HTTP_AUTH_TOKEN_<host> go to that host only, and are in no file."""
        path = self.file("private\n")
        self.web.statuses[path] = 401
        self.web.headers[path]["X-Wants"] = "Bearer canary-token-123456"
        self.fails(f"ADD @{path} /f\n")
        for name, value in (("TOKEN", "canary-token-123456"), ("HEADER", "Bearer canary-token-123456")):
            kasane = self.kasane = Kasane(self.new_folder("store"))
            folder = self.context(f"ADD @{path} /f\n")
            outcome = kasane.build(folder, "--secret", f"id=HTTP_AUTH_{name}_{self.web.host},env=T", env={"T": value}, check=False)
            self.assertEqual(0, outcome.code, outcome.err)
            found = run(["grep", "-rlaF", "canary-token", kasane.root], check=False).out
            self.assertEqual("", found)
            self.fails(f"ADD @{path} /f\n", "--secret", f"id=HTTP_AUTH_{name}_other.example,src=/dev/null")

    def test_copy_takes_no_url(self):
        """K32: COPY of a URL or repository is refused, with a hint to ADD."""
        for source in ("@/one", "https://example.com/r.git", "git@example.com:r.git"):
            text = self.fails(f"COPY {source} /d/\n")
            self.assertIn("source can't be a URL for COPY", text)
            self.assertIn("ADD", text)


@needs("git")
class Repositories(SourceCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.repo = make_repository(cls.work)

    def test_refs_and_modes(self):
        """AD10: default branch, branch, tag, commit; files 0644 or 0755, folders 0755; no .git."""
        tree = self.tree_of(f"ADD @/r.git /main\nADD @/r.git#dev /dev\nADD @/r.git#v1 /tag\n"
                            f"ADD @/r.git#{self.repo['v1']} /commit\nADD @/r.git?branch=dev /query\nADD @/r.git?tag=v1 /qtag\n")
        for where, text in (("main", "two"), ("dev", "dev"), ("tag", "one"), ("commit", "one"), ("query", "dev"), ("qtag", "one")):
            self.assertEqual(text + "\n", tree.text(f"/{where}/f"), where)
        self.assertEqual((0o644, 0o644, 0o755, 0o755), tuple(tree[p].mode for p in ("/main/f", "/main/odd", "/main/sub/run",
                                                                                    "/main/sub")))
        self.assertEqual([], [p for p in tree.nodes if "/.git" in p])

    def test_subdir(self):
        """AD10: #ref:subdir and ?subdir= take a folder of the repository; one that is not there is an error."""
        tree = self.tree_of("ADD @/r.git#main:sub /a\nADD @/r.git#:sub /b\nADD @/r.git?subdir=sub /c\n")
        for where in "abc":
            self.assertEqual([f"/{where}/g", f"/{where}/run"], tree.below(f"/{where}"))
        self.assertIn("nope", self.fails("ADD @/r.git#main:nope /a\n"))
        self.assertIn("nope", self.fails("ADD @/r.git#nope /a\n"))
        self.fails("ADD @/r.git#main:../../etc /a\n")
        self.fails("ADD @/missing.git /a\n")

    def test_keep_git_dir(self):
        """AD11: --keep-git-dir keeps .git, and may not contradict the URL."""
        tree = self.tree_of("ADD --keep-git-dir=true @/r.git /a\nADD @/r.git?keep-git-dir=true /b\nADD @/r.git /c\n")
        self.assertIn("/a/.git/HEAD", tree)
        self.assertIn("/b/.git/HEAD", tree)
        self.assertNotIn("/c/.git", tree)
        self.assertIn("conflicts", self.fails("ADD --keep-git-dir=false @/r.git?keep-git-dir=true /a\n"))

    def test_checksum(self):
        """AD9 AD10: a commit or its beginning pins a repository; another one fails; ref and checksum of the URL may not differ."""
        commit = self.repo["dev"]
        tree = self.tree_of(f"ADD --checksum={commit} @/r.git#dev /a\nADD --checksum={commit[:10]} @/r.git#dev /b\n"
                            f"ADD @/r.git?branch=dev&checksum={commit} /c\n")
        self.assertEqual(["dev\n"] * 3, [tree.text(f"/{w}/f") for w in "abc"])
        text = self.fails(f"ADD --checksum={self.repo['v1']} @/r.git#dev /a\n")
        self.assertIn(self.repo["v1"], text)
        self.assertIn(commit, text)
        self.assertIn("conflict", self.fails(f"ADD --checksum={commit} @/r.git?branch=dev&checksum={self.repo['v1']} /c\n"))

    def test_submodules(self):
        """AD10: submodules are fetched by default, and not with ?submodules=false."""
        clone, www = self.repo["clone"], self.repo["www"]
        git(clone, "checkout", "-q", "-B", "outer", "v1")
        git(clone, "-c", "http.proxy=", "submodule", "--quiet", "add", "-b", "main", self.web.url + "/r.git", "inner")
        git(clone, "commit", "-qm", "submodule")
        publish(clone, www)
        git(clone, "checkout", "-q", "-f", "main")
        tree = self.tree_of("ADD @/r.git#outer /a\nADD @/r.git?branch=outer&submodules=false /b\n")
        self.assertEqual("two\n", tree.text("/a/inner/f"))
        self.assertNotIn("/b/inner/f", tree)
        self.assertEqual([], [p for p in tree.nodes if p.endswith("/.git")])

    def test_authorization(self):
        """AD12: secrets GIT_AUTH_TOKEN.<host> and GIT_AUTH_HEADER.<host> log in to a repository's server."""
        self.addCleanup(setattr, self.web, "wants", None)
        self.web.wants = "basic " + base64.b64encode(b"x-access-token:canary-token-123456").decode()
        self.fails("ADD @/r.git#v1 /a\n")
        for name, value in (("TOKEN", "canary-token-123456"), ("HEADER", self.web.wants)):
            self.kasane = Kasane(self.new_folder("store"))
            tree = self.tree_of("ADD @/r.git#v1 /a\n", {}, "--secret", f"id=GIT_AUTH_{name}.{self.web.host},env=T", env={"T": value})
            self.assertEqual("one\n", tree.text("/a/f"))
            self.assertEqual("", run(["grep", "-rlaF", "canary-token", self.kasane.root], check=False).out)

    def test_cache(self):
        """AD10: an unchanged branch is a hit, a new commit a miss."""
        folder = self.context("ADD @/r.git#moving /a\n")
        clone = self.repo["clone"]
        git(clone, "checkout", "-q", "-b", "moving", "v1")
        publish(clone, self.repo["www"])
        self.assertEqual("one\n", self.tree_of("", folder=folder).text("/a/f"))
        self.assertEqual([], [s for s in self.kasane.explain(folder) if not s[0] and "ADD" in s[1]])
        write_tree(clone, {"f": F("moved\n", mtime=time.time())})
        git(clone, "commit", "-qam", "moved")
        publish(clone, self.repo["www"])
        self.assertEqual("moved\n", self.tree_of("", folder=folder).text("/a/f"))


if __name__ == "__main__":
    support.main()
