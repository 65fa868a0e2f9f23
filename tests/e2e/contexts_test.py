#!/usr/bin/env python3
"""Where a build's files come from: every kind of context and of named context. Docstrings name the rows of the reference."""

import json
import os
import textwrap
import time

import support
from contexts import D, F, L, make_tar, write_busybox_tar, write_tree
from imagetree import read_docker_archive
from peers import policy_file
from rootless_support import PlainUser, UID
from sources_test import make_repository
from support import Kasane, needs, run
from webserver import WebServer

DOCKERFILE = "FROM scratch\nCOPY . /all/\n"


@support.needs_root
class ContextCase(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.web = WebServer(os.path.join(cls.work, "www"))
        cls.addClassCleanup(cls.web.close)
        cls.kasane = Kasane(os.path.join(cls.work, "store"))

    def folder(self, files=None, dockerfile=DOCKERFILE):
        files = dict(files or {})
        if dockerfile is not None:
            files["Dockerfile"] = textwrap.dedent(dockerfile)
        return write_tree(self.new_folder("ctx"), files)

    def saved(self, reference="t"):
        path = os.path.join(self.new_folder("saved"), "i.tar")
        self.kasane("save", "-o", path, reference)
        return read_docker_archive(path)

    def tree_of(self, context, *args, **kwargs):
        self.kasane.build(context, "-t", "t", *args, **kwargs)
        return self.saved().tree

    def fails(self, context, *args, **kwargs):
        outcome = self.kasane.build(context, *args, check=False, **kwargs)
        self.assertNotEqual(0, outcome.code, outcome.err)
        return outcome.err


class Contexts(ContextCase):

    def test_directory(self):
        """X01 X11: PATH/Dockerfile, else dockerfile; none, no folder and no path are errors that say so."""
        self.assertIn("/all/a", self.tree_of(self.folder({"a": "a"})))
        self.assertIn("/lower/a", self.tree_of(self.folder({"a": "a", "dockerfile": "FROM scratch\nCOPY a /lower/\n"}, None)))
        both = self.folder({"a": "a", "dockerfile": "FROM scratch\nCOPY a /lower/\n"}, "FROM scratch\nCOPY a /upper/\n")
        self.assertIn("/upper/a", self.tree_of(both))
        self.assertIn("failed to read dockerfile", self.fails(self.folder({"a": "a"}, None)))
        self.assertIn('unable to prepare context: path "/no/such" not found', self.fails("/no/such"))
        self.assertIn("is not a directory", self.fails(os.path.join(both, "a")))

    def test_file_option(self):
        """X02: -f is relative to the current directory and may lie outside the context; its siblings are not copied."""
        context = self.folder({"a": "a"}, None)
        other = self.folder({"sibling": "s", "my.docker": "FROM scratch\nCOPY . /x/\n"}, None)
        tree = self.tree_of(context, "-f", os.path.join(other, "my.docker"))
        self.assertEqual(["/x/a"], tree.below("/x"))
        self.assertEqual(["/x/a"], self.tree_of(context, "-f", "my.docker", cwd=other).below("/x"))
        self.assertIn("nope", self.fails(context, "-f", "nope", cwd=other))

    def test_dockerfile_on_stdin(self):
        """X03 X04: -f - with a folder; a Dockerfile as the context: an empty one; both from stdin: an error."""
        context = self.folder({"a": "a"}, None)
        self.assertEqual(["/all/a"], self.tree_of(context, "-f", "-", input=DOCKERFILE.encode()).below("/all"))
        tree = self.tree_of("-", input=b"FROM scratch\nCOPY <<x /inline\nX\nx\n")
        self.assertEqual("X\n", tree.text("/inline"))
        self.assertIn("not found", self.fails("-", input=b"FROM scratch\nCOPY a /\n"))
        self.assertIn("can't use stdin for both", self.fails("-", "-f", "-", input=b"FROM scratch\n"))
        self.assertIn("ambiguous Dockerfile source", self.fails("-", "-f", "x", input=b"FROM scratch\n"))

    def test_tar_on_stdin(self):
        """X04 G09: tar, plain or compressed, is the context, with its owners and links; no .dockerignore; -f names a file in it."""
        spec = {"Dockerfile": DOCKERFILE, "own": F("o\n", 0o640, 12, 34), "d/": D(0o750, 56, 78), "d/f": "f\n", "l": L("own"),
                "other/Dockerfile": "FROM scratch\nCOPY own /other\n", ".dockerignore": "own\n"}
        for compress in (None, "gz", "bz2", "xz"):
            data = make_tar(spec, compress)
            tree = self.tree_of("-", input=data)
            self.assertEqual((0o640, 12, 34), (tree["/all/own"].mode, tree["/all/own"].uid, tree["/all/own"].gid), compress)
            self.assertEqual(0o750, tree["/all/d"].mode)
            self.assertEqual("own", tree["/all/l"].target)
            self.assertIn("/other", self.tree_of("-", "-f", "other/Dockerfile", input=data))
        self.assertIn("failed to read dockerfile", self.fails("-", input=make_tar({"a": "a"})))
        self.fails("-", input=make_tar(spec, "gz")[:-40])

    def test_ignore_files(self):
        """G01 X02: NAME.dockerignore beside the Dockerfile replaces .dockerignore, also outside of the context."""
        files = {"a": "a", "b": "b", "c": "c", ".dockerignore": "a\n", "my.docker": DOCKERFILE, "my.docker.dockerignore": "b\n"}
        context = self.folder(files)
        self.assertEqual({"/all/b", "/all/c"}, {p for p in self.tree_of(context).nodes if len(p) == 6})
        tree = self.tree_of(context, "-f", os.path.join(context, "my.docker"))
        self.assertEqual({"/all/a", "/all/c"}, {p for p in tree.nodes if len(p) == 6})
        other = self.folder({"x": DOCKERFILE, "x.dockerignore": "*\n!b\n"}, None)
        self.assertEqual(["/all/b"], self.tree_of(context, "-f", os.path.join(other, "x")).below("/all"))
        text = self.fails(self.folder({"a": "a", ".dockerignore": "a\n"}, "FROM scratch\nCOPY a /\n"))
        self.assertIn(".dockerignore", text)

    def test_symlinked_dockerfile(self):
        """X08: a Dockerfile that is a link is followed; the context itself may be one too."""
        context = self.folder({"a": "a", "docker/real": DOCKERFILE, "Dockerfile": L("docker/real")}, None)
        self.assertIn("/all/a", self.tree_of(context))
        link = os.path.join(self.new_folder(), "link")
        os.symlink(context, link)
        self.assertIn("/all/a", self.tree_of(link))
        dangling = self.folder({"Dockerfile": L("nowhere")}, None)
        self.assertIn("failed to read dockerfile", self.fails(dangling))

    def test_unreadable_file(self):
        """X10: a file that the user cannot read is an error that names it, unless it is ignored or not needed."""
        home = self.new_folder("home")
        os.chown(home, UID, UID)
        user = PlainUser(os.path.join(home, "store"), HOME=home)
        context = self.folder({"a": "a", "closed": F("secret", 0o600), "closed.d/": D(0o700), "closed.d/x": "x"},
                              "FROM scratch\nCOPY a /\n")
        self.assertEqual(0, user.build(context, check=False).code)
        for name in ("closed", "closed.d"):
            write_tree(context, {"Dockerfile": f"FROM scratch\nCOPY {name} /\n"})
            outcome = user.build(context, check=False)
            self.assertNotEqual(0, outcome.code)
            self.assertIn(name, outcome.err)
            self.assertRegex(outcome.err.lower(), "permission denied")
        write_tree(context, {"Dockerfile": DOCKERFILE, ".dockerignore": "closed*\n"})
        outcome = user.build(context, check=False)
        self.assertEqual(0, outcome.code, outcome.err)

    def test_nothing_is_copied_twice(self):
        """X09: the context is read in place (cache_test looks at the system calls); one changed file is noticed."""
        context = self.folder({f"n{i}": f"{i}\n" for i in range(50)})
        time.sleep(0.15)
        first = self.kasane.build_id(context)
        write_tree(context, {"n7": F("changed\n")})
        self.assertNotEqual(first, self.kasane.build_id(context))

    def test_url_of_an_archive(self):
        """X06: an archive behind a URL is the context; other text is the Dockerfile."""
        self.web.files["/ctx"] = make_tar({"Dockerfile": DOCKERFILE, "a": "a\n", "sub/Other": "FROM scratch\nCOPY a /other\n"}, "gz")
        self.assertIn("/all/a", self.tree_of(self.web.url + "/ctx"))
        self.assertIn("/other", self.tree_of(self.web.url + "/ctx", "-f", "sub/Other"))
        self.web.files["/Dockerfile"] = "FROM scratch\nCOPY <<x /inline\nX\nx\n"
        self.assertIn("/inline", self.tree_of(self.web.url + "/Dockerfile"))
        self.assertIn("404", self.fails(self.web.url + "/nope"))

    def test_url_of_a_dockerfile(self):
        """X07: -f URL is a remote Dockerfile for a local context."""
        self.web.files["/remote"] = DOCKERFILE
        self.assertIn("/all/a", self.tree_of(self.folder({"a": "a"}, None), "-f", self.web.url + "/remote"))
        self.assertIn("404", self.fails(self.folder({"a": "a"}, None), "-f", self.web.url + "/nope"))

    @needs("git")
    def test_git(self):
        """X05 A13: a repository, its ref and folder; .git only with BUILDKIT_CONTEXT_KEEP_GIT_DIR; G09: no .dockerignore."""
        work = self.new_folder("repo")
        make_repository(work, {"Dockerfile": DOCKERFILE, "f": "f\n", ".dockerignore": "f\n", "sub/Dockerfile": "FROM scratch\nCOPY . /sub/\n", "sub/g": "g\n"})
        self.web.folder = os.path.join(work, "www")
        url = self.web.url + "/r.git"
        tree = self.tree_of(url)
        self.assertEqual("two\n", tree.text("/all/f"))
        self.assertNotIn("/all/.git", tree)
        self.assertEqual("dev\n", self.tree_of(url + "#dev").text("/all/f"))
        self.assertEqual(["/sub/Dockerfile", "/sub/g"], self.tree_of(url + "#main:sub").below("/sub"))
        self.assertIn("/sub/g", self.tree_of(url + "?ref=v1&subdir=sub"))
        self.assertIn("/all/.git/HEAD", self.tree_of(url, "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"))


class NamedContexts(ContextCase):

    def image(self, name, lines="FROM scratch\nCOPY <<f /from\n@\nf\nENV FROM=@\n"):
        folder = self.folder({}, lines.replace("@", name))
        self.kasane.build(folder, "-t", name)

    def test_directory(self):
        """S05 S06 G01 G09: a folder under a name, with its own ignore file; in COPY --from and in FROM."""
        named = write_tree(self.new_folder("named"), {"x": "x", "skip": "s", ".dockerignore": "skip\n"})
        context = self.folder({"a": "a", ".dockerignore": "x\n"}, "FROM scratch\nCOPY --from=extra . /e/\nCOPY . /all/\n")
        tree = self.tree_of(context, "--build-context", f"extra={named}")
        self.assertIn("/e/x", tree)
        self.assertNotIn("/e/skip", tree)
        self.assertIn("/all/a", tree)
        relative = self.tree_of(context, "--build-context", "extra=" + os.path.basename(named), cwd=self.work)
        self.assertIn("/e/x", relative)
        self.assertIn("/no/dir", self.fails(context, "--build-context", "extra=/no/dir"))
        self.fails(context, "--build-context", "extra")

    def test_overrides(self):
        """S05: a named context stands for the stage, or the image in any spelling, of its name; scratch stays scratch."""
        self.image("replacement")
        lines = "FROM scratch AS dep\nCOPY <<f /from\nstage\nf\nFROM scratch\nCOPY --from=dep /from /got\n"
        context = self.folder({}, lines)
        self.assertEqual("stage\n", self.tree_of(context).text("/got"))
        self.assertEqual("replacement\n", self.tree_of(context, "--build-context", "dep=docker-image://replacement").text("/got"))
        for image in ("thing", "thing:latest", "docker.io/library/thing"):
            for name in ("thing", "docker.io/library/thing:latest"):
                context = self.folder({}, f"FROM {image}\nCOPY <<g /g\nG\ng\n")
                tree = self.tree_of(context, "--build-context", f"{name}=docker-image://replacement")
                self.assertEqual("replacement\n", tree.text("/from"), (image, name))
        self.assertIn("FROM=replacement", self.saved().config["config"]["Env"])  # S07
        context = self.folder({}, "FROM scratch\nCOPY --from=thing:1.2 /from /got\n")
        self.assertIn("/got", self.tree_of(context, "--build-context", "thing:1.2=docker-image://replacement"))
        self.fails(context, "--build-context", "thing=docker-image://replacement")

    def test_platform_key(self):
        """S05: NAME::OS/ARCH is taken before NAME."""
        self.image("general")
        self.image("special")
        context = self.folder({}, "FROM thing\nCOPY <<g /g\nG\ng\n")
        args = ["--build-context", "thing=docker-image://general", "--build-context", "thing::{}=docker-image://special"]
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
        self.assertEqual("special\n", self.tree_of(context, *[a.format("linux/" + machine) for a in args]).text("/from"))
        self.assertEqual("general\n", self.tree_of(context, *[a.format("linux/s390x") for a in args]).text("/from"))

    def test_image_configuration(self):
        """S07: FROM inherits the configuration of an image context, COPY takes its files only."""
        self.image("configured")
        use = ["--build-context", "base=docker-image://configured"]
        self.tree_of(self.folder({}, "FROM base\nLABEL a=b\n"), *use)
        self.assertEqual(["FROM=configured"], [e for e in self.saved().config["config"]["Env"] if e.startswith("FROM")])
        self.tree_of(self.folder({}, "FROM scratch\nCOPY --from=base / /\n"), *use)
        self.assertEqual([], [e for e in self.saved().config["config"].get("Env") or [] if e.startswith("FROM")])

    @needs("skopeo")
    def test_oci_layout(self):
        """S06: oci-layout://DIR, with :TAG or @DIGEST, of a layout that skopeo made; in FROM and --from."""
        layout = os.path.join(self.new_folder("layout"), "oci")
        digests = {}
        for name in ("one", "two"):
            self.image(name)
            tar = self.path(name + ".tar")
            self.kasane("save", "-o", tar, name)
            run(["skopeo", "--policy", policy_file(self.work), "copy", "-q", f"docker-archive:{tar}", f"oci:{layout}:{name}"])
        with open(layout + "/index.json", encoding="utf-8") as f:
            for entry in json.load(f)["manifests"]:
                digests[entry["annotations"]["org.opencontainers.image.ref.name"]] = entry["digest"]
        lines = "FROM dep\nCOPY --from=dep /from /got\n"
        for name in ("one", "two"):
            for suffix in (":" + name, "@" + digests[name]):
                tree = self.tree_of(self.folder({}, lines), "--build-context", f"dep=oci-layout://{layout}{suffix}")
                self.assertEqual(name + "\n", tree.text("/got"), suffix)
        self.assertIn("three", self.fails(self.folder({}, lines), "--build-context", f"dep=oci-layout://{layout}:three"))
        self.assertIn("/no/layout", self.fails(self.folder({}, lines), "--build-context", "dep=oci-layout:///no/layout:x"))

    def test_target(self):
        """S06: target:STAGE is a stage of the same file."""
        lines = ("FROM scratch AS real\nCOPY <<f /from\nreal\nf\nFROM scratch\nCOPY --from=alias /from /got\n")
        self.assertEqual("real\n", self.tree_of(self.folder({}, lines), "--build-context", "alias=target:real").text("/got"))
        self.fails(self.folder({}, lines), "--build-context", "alias=target:nope")

    def test_url(self):
        """S06: a URL is one file named `context`, an archive too."""
        self.web.files["/x.tar"] = make_tar({"in": "i"})
        context = self.folder({}, "FROM scratch\nCOPY --from=web . /w/\n")
        tree = self.tree_of(context, "--build-context", f"web={self.web.url}/x.tar")
        self.assertEqual(["/w/context"], tree.below("/w"))

    @needs("git")
    def test_git(self):
        """S06: a repository under a name, with ref and folder."""
        work = self.new_folder("repo")
        make_repository(work)
        self.web.folder = os.path.join(work, "www")
        context = self.folder({}, "FROM scratch\nCOPY --from=repo . /r/\n")
        tree = self.tree_of(context, "--build-context", f"repo={self.web.url}/r.git#v1")
        self.assertEqual("one\n", tree.text("/r/f"))
        self.assertNotIn("/r/.git", tree)
        self.assertEqual(["/r/g", "/r/run"], self.tree_of(context, "--build-context", f"repo={self.web.url}/r.git#dev:sub").below("/r"))

    def test_unused(self):
        """S08: what no step uses is not loaded: no request, no look-up."""
        context = self.folder({"a": "a"}, "FROM not-there AS unused\nCOPY --from=web / /\nFROM scratch\nCOPY a /\n")
        asked = len(self.web.requests)
        self.tree_of(context, "--build-context", f"web={self.web.url}/nope", "--build-context", "img=docker-image://not-there-at-all",
                     "--build-context", "lay=oci-layout:///not/there:x")
        self.assertEqual(asked, len(self.web.requests))


if __name__ == "__main__":
    support.main()
