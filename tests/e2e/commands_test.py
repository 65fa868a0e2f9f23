#!/usr/bin/env python3
"""The image commands print what docker prints and end with its codes (reference/cli-and-registry.md, section 1)."""

import json
import os
import re
import time

import support
from contexts import F, make_tar, write_busybox_tar, write_tree
from imagetree import read_docker_archive
from support import Kasane, run

DOCKERFILE = 'FROM busybox\nLABEL a.b="x & <y>" team=core\nRUN echo hi > /x\nENV E="1 2"\nEXPOSE 80\nVOLUME /v\nUSER app\nCMD ["x", "y z"]\n'


@support.needs_root
@support.needs_busybox
class Commands(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tar = write_busybox_tar(os.path.join(cls.work, "root.tar"))
        first = Kasane(os.path.join(cls.work, "first"))
        cls.base_id = first.import_busybox(cls.tar)
        time.sleep(0.01)
        context = write_tree(os.path.join(cls.work, "ctx"), {"Dockerfile": DOCKERFILE})
        cls.app_id = first("build", "-q", "-t", "app:1", "-t", "example.com:5000/team/app:2", context).out.strip()
        cls.archive = os.path.join(cls.work, "both.tar")
        first("save", "-o", cls.archive, "busybox", "app:1", "example.com:5000/team/app:2")

    def setUp(self):
        """Each test has a store with busybox:latest, and an image with two names."""
        self.k = Kasane(os.path.join(self.new_folder("store"), "root"))
        self.k("load", "-i", self.archive)

    def tearDown(self):
        self.k.check_store(self)

    def fails(self, code, words, *args, **kwargs):
        outcome = self.k(*args, check=False, **kwargs)
        self.assertEqual(code, outcome.code, outcome.err)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, outcome.err)
        return outcome

    def ids(self, *args):
        return self.k("images", "-q", "--no-trunc", *args).out.split()

    # images

    def test_images_table(self):
        lines = self.k("images").out.splitlines()
        self.assertRegex(lines[0], r"^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE$")
        self.assertEqual(["app", "example.com:5000/team/app", "busybox"], [line.split()[0] for line in lines[1:]])
        self.assertRegex(lines[1], r"^app +1 +" + self.app_id[7:19] + r" +.* ago +1\.98MB$")
        starts = {line.index(word) for line, word in zip(lines, ("IMAGE ID", self.app_id[7:19], self.app_id[7:19],
             self.base_id[7:19]))}
        self.assertEqual(1, len(starts), "columns are not aligned")
        self.assertEqual(self.k("images").out, self.k("image", "ls").out)
        self.assertEqual(self.k("images").out, self.k("image", "list").out)

    def test_images_formats(self):
        self.assertEqual([self.app_id[7:19]] * 2 + [self.base_id[7:19]], self.k("images", "-q").out.split())
        self.assertEqual([self.app_id] * 2 + [self.base_id], self.ids())
        rows = [json.loads(line) for line in self.k("images", "--format", "json").out.splitlines()]
        self.assertEqual(["Containers", "CreatedAt", "CreatedSince", "Digest", "ID", "Repository", "SharedSize", "Size",
             "Tag",
                          "UniqueSize", "VirtualSize"], list(rows[0]))
        self.assertIn("\\u003cnone\\u003e", self.k("images", "--format", "{{json .}}").out)
        self.assertEqual("app:1\nexample.com:5000/team/app:2\nbusybox:latest\n", self.k("images", "--format",
             "{{.Repository}}:{{.Tag}}").out)
        self.assertRegex(self.k("images", "--format", r"table {{.Repository}}:{{.Tag}}\t{{.Size}}").out,
             r"^REPOSITORY:TAG +SIZE\n")
        self.assertRegex(self.k("images", "--digests").out, r"TAG +DIGEST +IMAGE ID")
        self.assertIn("repository: app\ntag: 1\nimage_id: ", self.k("images", "--format", "raw").out)
        self.assertRegex(self.k("images", "--format", "{{.CreatedAt}}").out,
             r"(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC$")

    def test_images_selection(self):
        self.assertEqual([self.app_id], self.ids("app"))
        self.assertEqual([], self.ids("app:2"))
        self.assertEqual([self.app_id], self.ids("example.com:5000/*/*"))
        self.assertEqual([self.base_id], self.ids("busy*"))
        self.assertEqual([self.app_id], self.ids("-f", "reference=app"))
        self.assertEqual([self.app_id] * 2, self.ids("-f", "label=team=core"))
        self.assertEqual([self.app_id] * 2, self.ids("-f", "label=team", "-f", "label=a.b"))
        self.assertEqual([], self.ids("-f", "label=team=other"))
        self.assertEqual([self.base_id], self.ids("-f", "before=app:1"))
        self.assertEqual([self.app_id] * 2, self.ids("-f", "since=busybox"))
        self.assertEqual([], self.ids("-f", "dangling=true"))
        self.fails(1, "No such image: nope", "images", "-f", "since=nope")
        self.fails(1, "invalid filter", "images", "-f", "colour=red")
        self.fails(125, "bad format of filter (expected name=value)", "images", "-f", "foo")
        self.fails(1, ["template parsing error", "can't evaluate field Nope"], "images", "--format", "{{.Nope}}")
        self.assertIn('did you mean "kasane image ls"?', self.k("images", "ls").err)

    # tag

    def test_tag(self):
        self.assertEqual(("", ""), self.k("tag", "app:1", "other")[1:])
        self.assertEqual([self.app_id], self.ids("other:latest"))
        self.k("tag", self.base_id[7:15], "app:1")  # moves
        self.assertEqual([self.base_id], self.ids("app:1"))
        self.k("image", "tag", "busybox:latest", "localhost:5000/x/y:z_1.2-3")
        self.fails(1, 'Error parsing reference: "a:b:c" is not a valid repository/tag: invalid reference format', "tag",
             "app", "a:b:c")
        self.fails(1, "must be lowercase", "tag", "busybox", "Upper")
        self.fails(1, "refusing to create a tag with a digest reference", "tag", "busybox", "x@" + self.base_id)
        self.fails(1, "No such image: nope:latest", "tag", "nope", "x")
        self.fails(1, "requires 2 arguments", "tag", "busybox")

    # inspect

    def test_inspect(self):
        text = self.k("inspect", "app:1").out
        self.assertTrue(text.startswith('[\n    {\n        "Id": "sha256:'))
        image = json.loads(text)[0]
        self.assertEqual(["app:1", "example.com:5000/team/app:2"], image["RepoTags"])
        self.assertEqual([], image["RepoDigests"])
        self.assertEqual("linux", image["Os"])
        self.assertEqual({"80/tcp": {}}, image["Config"]["ExposedPorts"])
        self.assertEqual(2, len(image["RootFS"]["Layers"]))
        self.assertEqual(2, len(json.loads(self.k("image", "inspect", "app:1", "busybox").out)))
        for template, expected in {
                "{{.Id}}": self.app_id, "{{.ID}}": self.app_id,
                "{{.Config.Env}}": "[PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin E=1 2]",
                "{{json .Config.Labels}}": '{"a.b":"x & <y>","team":"core"}',
                '{{index .Config.Labels "a.b"}}': "x & <y>",
                "{{len .RootFS.Layers}}": "2", "{{.Os}}/{{.Architecture}}": "linux/" + image["Architecture"],
                '{{join .Config.Cmd " "}}': "x y z",
                "{{range $p, $_ := .Config.ExposedPorts}}{{$p}} {{end}}": "80/tcp ",
                "{{if .Config.User}}u={{.Config.User}}{{end}}": "u=app", "{{.Config.Volumes}}": "map[/v:{}]"}.items():
            with self.subTest(template):
                self.assertEqual(expected + "\n", self.k("inspect", "-f", template, "app:1").out)

    def test_inspect_failures(self):
        outcome = self.fails(1, "No such object: nope", "inspect", "nope")
        self.assertEqual("[]\n", outcome.out)
        outcome = self.fails(1, "No such image: nope:latest", "image", "inspect", "nope", "busybox")
        self.assertEqual(self.base_id, json.loads(outcome.out)[0]["Id"])
        self.fails(64, "template parsing error: template: :1:", "inspect", "-f", "{{", "busybox")

    def test_names_and_ids(self):
        """Lookup order: digest, name, unique prefix of an id."""
        for name in ("app:1", self.app_id, self.app_id[7:], self.app_id[7:19], self.app_id[:15],
             "docker.io/library/app:1"):
            self.assertEqual(self.app_id + "\n", self.k("inspect", "-f", "{{.Id}}", name).out)

    # history

    def test_history(self):
        lines = self.k("history", "app:1").out.splitlines()
        self.assertRegex(lines[0], r"^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$")
        self.assertTrue(lines[1].startswith(self.app_id[7:19]))
        self.assertTrue(all(line.startswith("<missing>") for line in lines[2:]))
        rows = [json.loads(line) for line in self.k("history", "--no-trunc", "--format", "json",
             "app:1").out.splitlines()]
        self.assertEqual(["Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"], list(rows[0]))
        self.assertEqual(['CMD ["x" "y z"]', "USER app", "VOLUME [/v]", "EXPOSE [80/tcp]", "ENV E=1 2",
                          "RUN /bin/sh -c echo hi > /x # buildkit", "LABEL a.b=x & <y> team=core"],
                          [r["CreatedBy"] for r in rows[:7]])
        self.assertEqual(["0B"] * 5 + ["3B", "0B"], [r["Size"] for r in rows[:7]])
        self.assertEqual({"buildkit.dockerfile.v0"}, {r["Comment"] for r in rows[:7]})
        self.assertIn("Imported from", rows[7]["Comment"])
        self.assertRegex(self.k("history", "-H=false", "app:1").out,
             r"CREATED AT[^\n]*\n\w+ +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ")
        self.assertEqual(self.app_id, self.k("history", "-q", "--no-trunc", "app:1").out.split()[0])
        self.fails(1, "No such image: nope:latest", "history", "nope")

    # rmi

    def test_rmi_by_name(self):
        self.assertEqual("Untagged: app:1\n", self.k("rmi", "app:1").out)
        out = self.k("rmi", "example.com:5000/team/app:2").out
        self.assertTrue(out.startswith(f"Untagged: example.com:5000/team/app:2\nDeleted: {self.app_id}\n"), out)
        self.assertEqual([self.base_id], self.ids())
        self.k("image", "rm", "busybox")
        self.assertEqual([], self.ids())

    def test_rmi_by_id(self):
        self.fails(1,
             f"conflict: unable to delete {self.app_id[7:19]} (must be forced) - image is referenced in multiple repositories",
                   "rmi", self.app_id[7:19])
        out = self.k("rmi", "-f", self.app_id[7:19]).out
        self.assertIn("Untagged: app:1\n", out)
        self.assertIn(f"Deleted: {self.app_id}\n", out)

    def test_rmi_missing(self):
        outcome = self.fails(1, "No such image: nope:latest", "rmi", "nope", "app:1")
        self.assertEqual("Untagged: app:1\n", outcome.out)
        self.fails(0, "No such image: nope:latest", "rmi", "-f", "nope")

    def test_rmi_frees_the_disk(self):
        self.k("rmi", "-f", self.app_id, self.base_id)
        self.assertEqual([], [f for _, _, files in os.walk(self.k.root + "/layers") for f in files])
        self.assertEqual([], [f for _, _, files in os.walk(self.k.root + "/blobs") for f in files])

    # prune

    def test_prune_dangling(self):
        self.k("tag", "busybox", "app:1")
        self.k("tag", "busybox", "example.com:5000/team/app:2")  # the app has no name now
        self.assertEqual([self.app_id], self.ids("-f", "dangling=true"))
        self.assertRegex(self.k("images").out, r"<none> +<none> +" + self.app_id[7:19])
        outcome = self.k("image", "prune", input=b"n\n")
        self.assertEqual("WARNING! This will remove all dangling images.\nAre you sure you want to continue? [y/N] ",
             outcome.out)
        self.assertEqual([self.app_id], self.ids("-f", "dangling=true"))
        out = self.k("image", "prune", "-f").out
        self.assertRegex(out,
             rf"^Deleted Images:\ndeleted: {self.app_id}\n(deleted: sha256:\w+\n)*\nTotal reclaimed space: [\d.]+k?B\n$")
        self.assertEqual("Total reclaimed space: 0B\n", self.k("image", "prune", "-f").out)

    def test_prune_all(self):
        self.k("image", "prune", "-a", "-f", "--filter", "label=team=other")
        self.k("image", "prune", "-a", "-f", "--filter", "until=1h")
        self.assertEqual(3, len(self.ids()))
        self.k("image", "prune", "-a", "-f", "--filter", "label!=team")
        self.assertEqual([self.app_id] * 2, self.ids())
        out = self.k("image", "prune", "-a", input=b"y\n").out
        self.assertIn("untagged: app:1\n", out)
        self.assertEqual([], self.ids())

    def test_builder_prune(self):
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM busybox\nRUN echo cached > /c\n"})
        self.k.build(context)
        self.assertIn("Total reclaimed space:", self.k("builder", "prune", "-f").out)
        self.assertFalse(self.k.explain(context)[-1][0], "the step was still cached")

    # save, load, import

    def test_save(self):
        path = self.path("saved.tar")
        self.k("save", "-o", path, "app:1")
        self.assertEqual(0o600, os.stat(path).st_mode & 0o777)
        self.assertEqual("hi\n", read_docker_archive(path).tree.text("/x"))
        self.fails(1, "No such image: nope:latest", "save", "-o", self.path("none.tar"), "nope")
        self.assertFalse(os.path.exists(self.path("none.tar")))
        self.k("tag", "app:1", "app:other")
        self.k("save", "-o", path, "app")
        fresh = Kasane(self.new_folder("fresh"))
        self.assertEqual({"Loaded image: app:1", "Loaded image: app:other"}, set(fresh("load", "-i",
             path).out.splitlines()))

    def test_load(self):
        fresh = Kasane(self.new_folder("fresh"))
        self.assertEqual(["Loaded image: busybox:latest", "Loaded image: app:1",
             "Loaded image: example.com:5000/team/app:2"],
                         fresh("load", "-i", self.archive).out.splitlines())
        self.k("tag", "busybox", "app:1")
        self.assertIn(f"The image app:1 already exists, renaming the old one with ID {self.base_id} to empty string\n",
                      self.k("load", "-i", self.archive).out)
        path = self.path("by-id.tar")
        self.k("save", "-o", path, self.app_id)
        self.assertEqual(f"Loaded image ID: {self.app_id}\n", Kasane(self.new_folder("byid"))("load", "-q", "-i",
             path).out)
        write_tree(self.work, {"text": "no archive", "empty.tar": make_tar({}), "cut.tar": b""})
        with open(self.archive, "rb") as f, open(self.path("cut.tar"), "wb") as cut:
            cut.write(f.read()[:1000000])
        for name in ("text", "empty.tar", "cut.tar", "absent.tar"):
            self.fails(1, "", "load", "-i", self.path(name))

    def test_damaged_archive_is_refused(self):
        with open(self.archive, "rb") as f:
            data = bytearray(f.read())
        at = data.index(b"NAME=busybox")
        data[at:at + 4] = b"GAME"
        path = self.path("damaged.tar")
        with open(path, "wb") as f:
            f.write(data)
        fresh = Kasane(self.new_folder("fresh"))
        outcome = fresh("load", "-i", path, check=False)
        self.assertEqual(1, outcome.code)
        self.assertIn("does not match its name", outcome.err)
        self.assertEqual("", fresh("images", "-q").out)
        fresh.check_store(self)

    def test_import(self):
        out = self.k("import", "-c", "ENV A=1 B=two", "-c", 'ENTRYPOINT ["/bin/sh"]', "-c", "EXPOSE 99", "-m",
             "by hand", self.tar, "imp:1").out
        self.assertRegex(out, r"^sha256:[0-9a-f]{64}\n$")
        image = self.k.config("imp:1")
        self.assertEqual(["/bin/sh"], image["Config"]["Entrypoint"])
        self.assertIn("B=two", image["Config"]["Env"])
        self.assertEqual("by hand", image["Comment"])
        self.assertEqual(1, len(image["RootFS"]["Layers"]))
        with open(self.tar, "rb") as f:
            untagged = self.k("import", "-", stdin=f).out.strip()
        self.assertIn(untagged, self.ids("-f", "dangling=true"))
        self.fails(1, "FROM is not a valid change command", "import", "-c", "FROM x", self.tar)
        self.fails(1, "COPY is not a valid change command", "import", "-c", "COPY a b", self.tar)
        self.fails(1, "absent.tar", "import", self.path("absent.tar"))

    # The rest

    def test_info_and_version(self):
        self.assertIn(f" Store:          {self.k.root}\n", self.k("info").out)
        self.assertEqual(self.k.root + "\n", self.k("info", "-f", "{{.DockerRootDir}}").out)
        self.assertEqual(2, json.loads(self.k("info", "-f", "json").out)["Images"])
        version = self.k("version", "--format", "{{.Client.Version}}").out.strip()
        self.assertRegex(version, r"^\d+\.\d+\.\d+$")
        self.assertEqual(f"kasane version {version}\n", self.k("--version").out)
        self.assertIn(version, self.k("version").out)
        self.assertIsNone(json.loads(self.k("version", "-f", "json").out)["Server"])

    def test_usage_errors(self):
        self.fails(1, "unknown command: kasane bogus", "bogus")
        self.fails(125, ["unknown flag: --nope", "Usage:  kasane images"], "images", "--nope")
        self.fails(1, ["'kasane rmi' requires at least 1 argument", "Usage:  kasane rmi"], "rmi")
        self.assertIn("Usage:  kasane [OPTIONS] COMMAND", self.k().out)
        for command in ("build", "images", "tag", "inspect", "history", "rmi", "save", "load", "import", "info",
             "version",
                        ("image", "prune"), ("store", "check")):
            words = (command,) if isinstance(command, str) else command
            self.assertTrue(self.k(*words, "--help").out.startswith(f"Usage:  kasane {' '.join(words)}"), words)

    def test_root_option(self):
        other = self.new_folder("other")
        self.assertEqual("", self.k("--root", other, "images", "-q").out)
        self.assertEqual("", self.k("images", "--root", other, "-q").out)

    def test_reading_commands_make_no_store(self):
        root = self.path("never-made")
        fresh = Kasane(root)
        self.assertEqual("REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n", fresh("images").out)
        fresh("version")
        fresh("info")
        self.assertEqual(1, fresh("inspect", "x", check=False).code)
        fresh("store", "check")
        self.assertFalse(os.path.exists(root))

    def test_first_command_of_a_new_store_is_a_build(self):
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"})
        fresh = Kasane(self.path("new", "parents", "too"))
        fresh.build(context, "-t", "first")
        self.assertIn("first", fresh("images").out)
        fresh.check_store(self)

    def test_build_outputs(self):
        context = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM busybox\nRUN echo said\nCOPY a /\n",
             "a": F("a"), "other": "FROM busybox\n"})
        outcome = self.k.build(context)
        self.assertEqual("", outcome.out)
        self.assertRegex(outcome.err, r"#\d+ \[2/3\] RUN echo said\n#\d+ [\d.]+ said\n#\d+ DONE [\d.]+s\n")
        self.assertRegex(outcome.err, r"#\d+ \[3/3\] COPY a /\n#\d+ DONE")
        self.assertRegex(self.k.build(context).err, r"#\d+ \[2/3\] RUN echo said\n#\d+ CACHED")
        quiet = self.k("build", "-q", "-f", "other", context, cwd=context)
        self.assertRegex(quiet.out, r"^sha256:[0-9a-f]{64}\n$")
        self.assertEqual("", quiet.err)
        self.k("build", "-q", "-t", "one", "-t", "two:2", context)
        self.assertEqual(self.ids("one"), self.ids("two:2"))
        with open(os.path.join(context, "other"), "rb") as f:
            self.assertEqual(quiet.out, self.k("build", "-q", "-", stdin=f).out)
        with open(os.path.join(context, "Dockerfile"), "rb") as f:
            self.assertEqual(self.ids("one"), self.k("build", "-q", "-f", "-", context, stdin=f).out.split())
        for line in self.k("build", "--progress", "rawjson", context).err.splitlines():
            json.loads(line)

    def test_output_to_a_closed_pipe(self):
        outcome = run(["sh", "-c",
             f"'{support.KASANE}' images | :; '{support.KASANE}' save app:1 | head -c 10 >/dev/null"], env=self.k.env)
        self.assertFalse(re.search("abort|terminate|Segmentation", outcome.err), outcome.err)


if __name__ == "__main__":
    support.main()
