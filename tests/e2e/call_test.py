#!/usr/bin/env python3
"""`build --check` and `--call` answer without a build; `ignore-test` names the deciding line."""

import base64
import json
import os
import subprocess
import tempfile
import unittest

import support
from contexts import make_tar, write_tree
from support import KASANE, Kasane

URL = "https://docs.docker.com/go/dockerfile/rule/"
CLEAN = 'FROM scratch\nCMD ["/x"]\n'
DIRTY = "FROM scratch AS Base\nMAINTAINER me\nCMD run\n"
OUTLINE = """# v is the version
ARG v=1
FROM scratch AS base
ARG v
RUN --mount=type=secret,id=token,required --mount=type=ssh true

# app is what runs
FROM base AS app
ARG mode
"""


class CallTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kasane-call-")
        self.addCleanup(self.folder.cleanup)
        self.context = os.path.join(self.folder.name, "context")
        os.mkdir(self.context)
        self.kasane = Kasane(os.path.join(self.folder.name, "store"))

    def call(self, dockerfile, *args, files=None, code=0, **kwargs):
        write_tree(self.context, {"Dockerfile": dockerfile, **(files or {})})
        done = self.kasane("build", *args, self.context, check=False, **kwargs)
        self.assertEqual(done.code, code, done.out + done.err)
        return done

    def check_json(self, dockerfile, *args, **kwargs):
        return json.loads(self.call(dockerfile, "--call=check,format=json", *args, **kwargs).out)

    def test_check_without_findings(self):
        self.assertEqual(self.call(CLEAN, "--check").out, "Check complete, no warnings found.\n")
        self.assertFalse(os.path.exists(self.kasane.root), "a check makes no store")

    def test_check_with_findings(self):
        out = self.call(DIRTY, "--check", code=1).out
        self.assertTrue(out.startswith("Check complete, 3 warnings have been found!\n\nWARNING: StageNameCasing - " + URL), out)
        self.assertIn("\nWARNING: MaintainerDeprecated - " + URL + "maintainer-deprecated/\n"
                      "Maintainer instruction is deprecated in favor of using label\n"
                      "Dockerfile:2\n--------------------\n", out)
        self.assertIn("   2 | >>> MAINTAINER me\n", out)
        self.assertEqual(self.call(DIRTY, "--call=check", code=1).out, out)
        self.assertEqual(self.call(DIRTY, "--call", "lint", code=1).out, out)

    def test_check_can_ignore_the_status(self):
        self.call(DIRTY, "--call=check,ignorestatus=true")
        self.call(DIRTY, "--call=check,ignorestatus=false", code=1)

    def test_check_json(self):
        report = self.check_json(DIRTY, code=1)
        self.assertEqual([w["ruleName"] for w in report["warnings"]],
                         ["StageNameCasing", "MaintainerDeprecated", "JSONArgsRecommended"])
        self.assertEqual(report["warnings"][1], {
            "ruleName": "MaintainerDeprecated",
            "description": "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            "url": URL + "maintainer-deprecated/",
            "detail": "Maintainer instruction is deprecated in favor of using label",
            "location": {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]}})
        self.assertEqual(base64.b64decode(report["sources"][0]["data"]).decode(), DIRTY)
        self.assertEqual(report["sources"][0]["filename"], "Dockerfile")
        self.assertNotIn("buildError", report)
        self.assertEqual(self.check_json(CLEAN)["warnings"], [])

    def test_check_of_a_file_that_cannot_be_built(self):
        done = self.call("FROM scratch\nFOO\n", "--check", code=1)
        self.assertIn("ERROR: dockerfile parse error on line 2: unknown instruction: FOO", done.err)
        self.assertNotIn("no warnings", done.out)
        report = self.check_json("ARG X\nFROM $X\n", code=1)
        self.assertEqual(report["buildError"]["message"], "base name ($X) should not be blank")
        self.assertEqual(report["warnings"][0]["ruleName"], "InvalidDefaultArgInFrom")

    def test_check_error_directive(self):
        text = "# check=error=true\n" + DIRTY
        done = self.call(text, "--call=check,ignorestatus=true", code=1)
        self.assertIn("lint violation found for rules: JSONArgsRecommended, MaintainerDeprecated, StageNameCasing", done.err)
        self.call(text, "--check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all")

    def test_check_targets_and_arguments(self):
        text = "FROM scratch AS a\nMAINTAINER me\nUSER $foo\nFROM scratch AS b\nUSER $bar\n"
        self.assertIn("variable '$foo'", self.call(text, "--check", code=1).out)
        self.assertNotIn("variable '$foo'", self.call(text, "--check", "--target", "b", code=1).out)
        done = self.call(text, "--check", "--target", "bb", code=1)
        self.assertIn('target stage "bb" could not be found', done.err)

    def test_check_reads_the_ignore_file(self):
        files = {".dockerignore": "*.md\n", "a.md": ""}
        out = self.call("FROM scratch\nCOPY a.md /\n", "--check", files=files, code=1).out
        self.assertIn('Attempting to Copy file "a.md" that is excluded by .dockerignore\n'
                      "note: excluded by .dockerignore line 1: *.md\n", out)

    def test_check_knows_images_of_the_store(self):
        tar = os.path.join(self.folder.name, "base.tar")
        with open(tar, "wb") as f:
            f.write(make_tar({"f": "x"}))
        text = "FROM base\nUSER $KNOWN\nENV A=$NOT_KNOWN_THERE\n"
        self.call(text, "--check")
        self.kasane("import", "--change", "ENV KNOWN=1", tar, "base:latest")
        out = self.call(text, "--check", code=1).out
        self.assertIn("$NOT_KNOWN_THERE", out)
        self.assertNotIn("'$KNOWN'", out)

    def test_dockerfile_from_standard_input(self):
        out = self.kasane("build", "--check", "-", input=DIRTY.encode(), check=False)
        self.assertEqual(out.code, 1, out.err)
        self.assertIn("3 warnings", out.out)
        write_tree(self.context, {"other": CLEAN})
        self.kasane("build", "--check", "-f", os.path.join(self.context, "other"), self.context)

    def test_outline(self):
        self.assertEqual(self.call(OUTLINE, "--call=outline", "--build-arg", "mode=fast").out,
                         "TARGET:      app\nDESCRIPTION: is what runs\n\n"
                         "BUILD ARG   VALUE   DESCRIPTION\nv           1       is the version\nmode        fast    \n\n"
                         "SECRET   REQUIRED\ntoken    true\n\nSSH       REQUIRED\ndefault   \n\n")
        self.assertTrue(self.call(OUTLINE, "--call=outline", "--target=base").out.startswith("TARGET: base\n\n"))

    def test_outline_json(self):
        outline = json.loads(self.call(OUTLINE, "--call=outline,format=json").out)
        self.assertEqual(outline["name"], "app")
        self.assertEqual(outline["args"][0], {"name": "v", "description": "is the version", "value": "1",
                                              "location": {"ranges": [{"start": {"line": 2}, "end": {"line": 2}}]}})
        self.assertEqual(outline["secrets"][0]["name"], "token")
        self.assertTrue(outline["secrets"][0]["required"])
        self.assertEqual(outline["ssh"][0]["name"], "default")
        self.assertEqual(base64.b64decode(outline["sources"][0]).decode(), OUTLINE)

    def test_targets(self):
        self.assertEqual(self.call(OUTLINE, "--call=targets").out,
                         "TARGET        DESCRIPTION\nbase          \napp (default) is what runs\n")
        targets = json.loads(self.call(OUTLINE, "--call=targets,format=json").out)["targets"]
        self.assertEqual([t.get("name") for t in targets], ["base", "app"])
        self.assertEqual(targets[1], {"name": "app", "default": True, "description": "is what runs", "base": "base",
                                      "location": {"ranges": [{"start": {"line": 8}, "end": {"line": 8}}]}})

    def test_wrong_calls(self):
        for call, message in {"nope": 'unknown method "nope"', "check,outline": "invalid print value: check,outline",
                              "check,x=1": "invalid print field: x=1", "check,format=xml": 'invalid format "xml"',
                              "check,ignorestatus=2": "invalid ignorestatus print value: 2"}.items():
            with self.subTest(call):
                self.assertIn(message, self.call(CLEAN, "--call", call, code=1).err)

    def test_findings_survive_a_closed_pipe(self):
        write_tree(self.context, {"Dockerfile": DIRTY})
        done = subprocess.run(f"'{KASANE}' build --check '{self.context}' | true", shell=True, env=self.kasane.env,
                              stderr=subprocess.PIPE, timeout=60, check=False)
        self.assertEqual(done.stderr, b"")


class IgnoreTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kasane-ignore-")
        self.addCleanup(self.folder.cleanup)
        write_tree(self.folder.name, {".dockerignore": "# notes\n\n*.md\nnode_modules\n!README.md\n",
                                      "prod.Dockerfile": CLEAN, "prod.Dockerfile.dockerignore": "src/\n"})
        self.kasane = Kasane(os.path.join(self.folder.name, "store"))

    def lines(self, *args, code=0, **kwargs):
        done = self.kasane("ignore-test", *args, check=False, **kwargs)
        self.assertEqual(done.code, code, done.err)
        return done.out.splitlines() or done.err

    def test_deciding_lines(self):
        self.assertEqual(self.lines("--context", self.folder.name, "NEWS.md", "README.md", "main.c", "node_modules/a/b.js"), [
            'NEWS.md: ignored by .dockerignore:3: "*.md"',
            'README.md: included by .dockerignore:5: "!README.md"',
            "main.c: included (no pattern matches)",
            'node_modules/a/b.js: ignored by .dockerignore:4: "node_modules" (matches its parent "node_modules")'])

    def test_current_directory_and_spelling_of_paths(self):
        absolute = os.path.join(os.path.realpath(self.folder.name), "NEWS.md")
        for path in ("./NEWS.md", "a/../NEWS.md", absolute):
            self.assertEqual(self.lines(path, cwd=self.folder.name), [f'{path}: ignored by .dockerignore:3: "*.md"'])

    def test_file_of_the_dockerfile(self):
        self.assertEqual(self.lines("-f", "prod.Dockerfile", "src/a", "NEWS.md", cwd=self.folder.name), [
            'src/a: ignored by prod.Dockerfile.dockerignore:1: "src/" (matches its parent "src")',
            "NEWS.md: included (no pattern matches)"])

    def test_without_a_file(self):
        os.unlink(os.path.join(self.folder.name, ".dockerignore"))
        self.assertEqual(self.lines("x", cwd=self.folder.name), ["x: included (no pattern matches)"])

    def test_errors(self):
        self.assertIn("outside of the context", self.lines("../x", cwd=self.folder.name, code=1))
        self.assertIn("No such file", self.lines("--context", "/no/such", "x", code=1))
        write_tree(self.folder.name, {".dockerignore": "[\n"})
        self.assertIn(".dockerignore", self.lines("x", cwd=self.folder.name, code=1))


if __name__ == "__main__":
    support.main()
