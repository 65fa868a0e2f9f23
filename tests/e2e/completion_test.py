#!/usr/bin/env python3
"""Shells complete what the table of commands and flags holds, and the manual pages made from it are sound."""

import glob
import os
import re
import subprocess

import golden_images
import support
from support import KASANE, Kasane, run

# Calls the completion function as readline does: words are split at ':' and '=', too.
BASH = r"""
source <("$KASANE" completion bash)
COMP_LINE=$1 COMP_POINT=${#1}; shift
COMP_WORDS=("$KASANE" "${@:2}") COMP_CWORD=$(($# - 1))
COMP_LINE=$KASANE${COMP_LINE#kasane}
_kasane
printf '%s\n' "${COMPREPLY[@]}"
"""


class CompletionBase(support.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        golden_images.write_all(cls.work)
        cls.k = Kasane(cls.work + "/root")
        cls.k("load", "-i", cls.work + "/app.tar")
        cls.k("load", "-i", cls.work + "/dangling.tar")

    def words(self, *words):
        """What the program answers: ([candidates], "files")."""
        lines = self.k("completion", "words", *words).out.splitlines()
        return [line.split("\t")[0] for line in lines[:-1]], lines[-1][1:]


class Words(CompletionBase):
    def test_commands_and_groups(self):
        self.assertEqual((["image", "images", "imagetools", "import"], "nothing"), self.words("im"))
        names, _ = self.words("image", "")
        self.assertLessEqual({"ls", "rm", "prune", "inspect", "build", "history"}, set(names))
        self.assertEqual(["prune", "pull", "push"], self.words("image", "p")[0])
        self.assertEqual([], self.words("bogus", "")[0])
        self.assertEqual(["bash", "zsh", "fish"], self.words("completion", "")[0])
        self.assertEqual(["prune"], [n for n in self.words("help", "image", "pr")[0]])

    def test_every_flag_of_every_command(self):
        """The flags that a help page lists are those that are completed."""
        commands = re.findall(r"^  ([a-z-]+) +\S", self.k("help").out.split("Global Options")[0], re.M)
        checked = 0
        for command in sorted(set(commands)):
            page = self.k(command, "--help").out
            if "\nOptions:\n" not in page:
                continue
            block = page.split("\nOptions:\n")[1].split("\n\n")[0]
            flags = re.findall(r"^  (?:-\w, |    )(--[a-z0-9-]+)", block, re.M)
            candidates, _ = self.words(command, "--")
            self.assertEqual(sorted(flags + ["--help"]), sorted(candidates), command)
            checked += len(flags)
        self.assertGreater(checked, 80)

    def test_values(self):
        self.assertEqual(["dangling=true", "dangling=false"], self.words("images", "--filter", "d")[0])
        self.assertEqual(["--format=json"], self.words("images", "--format=j")[0])
        self.assertEqual(["json"], self.words("version", "-f", "")[0])
        self.assertEqual(["linux/arm64", "linux/arm/v7", "linux/arm/v6"], self.words("pull", "--platform", "linux/arm")[0])
        self.assertEqual(([], "files"), self.words("load", "-i", ""))
        self.assertEqual(([], "folders"), self.words("--root", ""))
        self.assertEqual(([], "folders"), self.words("build", "-t", "x", ""))
        self.assertEqual(([], "files"), self.words("import", ""))

    def test_images(self):
        names, _ = self.words("rmi", "")
        self.assertEqual(["app:1.0", "app:latest", "localhost:5000/team/app:1.0"], [n for n in names if ":" in n])
        self.assertEqual(1, len([n for n in names if ":" not in n]), "the image without a name, by its id")
        self.assertEqual(["app:latest"], self.words("history", "app:l")[0])
        self.assertEqual([], self.words("history", "app:1.0", "")[0], "history takes one image")
        self.assertEqual(["app:1.0", "app:latest"], self.words("save", "-o", "x.tar", "app")[0])
        self.assertEqual([], self.words("--root", self.path("empty"), "rmi", "")[0])
        self.assertEqual([], self.words("rmi", "--", "--")[0])

    def test_unknown_shell(self):
        outcome = self.k("completion", "tcsh", check=False)
        self.assertEqual((1, 'Error: no completion for the shell "tcsh"\nhint: use bash, zsh or fish\n'), (outcome.code, outcome.err))


@support.needs("bash")
class Bash(CompletionBase):
    def complete(self, line, *words):
        env = {**self.k.env, "KASANE": KASANE}
        return run(["bash", "--norc", "-c", BASH, "bash", line, *words], env=env, cwd=self.work).out.split("\n")[:-1]

    def test_words(self):
        self.assertEqual(["image", "images", "imagetools", "import"], self.complete("kasane im", "kasane", "im"))
        self.assertEqual(["--no-trunc"], self.complete("kasane images --no", "kasane", "images", "--no"))

    def test_names_with_colons(self):
        """Only what stands behind the last colon is replaced."""
        self.assertEqual(["1.0", "latest"], self.complete("kasane rmi app:", "kasane", "rmi", "app", ":"))
        self.assertEqual(["latest"], self.complete("kasane rmi app:l", "kasane", "rmi", "app", ":", "l"))
        self.assertEqual(["5000/team/app:1.0"], self.complete("kasane rmi localhost:5", "kasane", "rmi", "localhost", ":", "5"))

    def test_values_behind_an_equals_sign(self):
        self.assertEqual(["json"], self.complete("kasane images --format=j", "kasane", "images", "--format", "=", "j"))
        self.assertEqual(["table", "json"], self.complete("kasane images --format=", "kasane", "images", "--format", "="))

    def test_files(self):
        found = self.complete("kasane load -i a", "kasane", "load", "-i", "a")
        self.assertEqual(["ages.tar", "all.tar", "app.tar", "arm.tar"], sorted(found))

    def test_the_script_is_registered(self):
        out = run(["bash", "--norc", "-c", 'source <("$KASANE" completion bash); complete -p kasane'],
                  env={**self.k.env, "KASANE": KASANE}).out
        self.assertEqual("complete -F _kasane kasane\n", out)


class OtherShells(CompletionBase):
    @support.needs("zsh")
    def test_zsh_reads_the_script(self):
        script = self.path("_kasane")
        with open(script, "w", encoding="utf-8") as f:
            f.write(self.k("completion", "zsh").out)
        run(["zsh", "-n", script])
        # The function with _describe replaced: what it is given.
        code = ('compdef() { : }; _files() { print files }; _describe() { print -l -- ${(P)2} }; source ' + script +
                '; words=("$KASANE" image p); CURRENT=3; _kasane; words=("$KASANE" load -i ""); CURRENT=4; _kasane')
        out = run(["zsh", "-f", "-c", code], env={**self.k.env, "KASANE": KASANE}).out.splitlines()
        self.assertEqual("prune:Remove unused images", out[0])
        self.assertEqual("files", out[-1])

    @support.needs("fish")
    def test_fish_completes(self):
        script = self.path("kasane.fish")
        with open(script, "w", encoding="utf-8") as f:
            f.write(self.k("completion", "fish").out)
        env = {**self.k.env, "PATH": os.path.dirname(KASANE) + ":" + os.environ["PATH"], "HOME": self.work}
        out = run(["fish", "--no-config", "-c", f"source {script}; complete -C 'kasane image p'"], env=env).out.splitlines()
        self.assertEqual(["prune\tRemove unused images"], [line for line in out if line.startswith("prune")])


class ManPages(CompletionBase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = os.path.join(cls.work, "man1")
        cls.k("man", "--output", cls.folder)
        cls.pages = sorted(glob.glob(cls.folder + "/*.1"))

    def test_one_page_for_each_command(self):
        names = {os.path.basename(p)[:-2] for p in self.pages}
        self.assertLessEqual({"kasane", "kasane-images", "kasane-image-prune", "kasane-system-df", "kasane-image"}, names)
        self.assertGreater(len(names), 40)
        with open(self.folder + "/kasane-rmi.1", encoding="utf-8") as f:
            self.assertEqual(f.read(), self.k("man", "image", "rm").out)

    def test_flags_of_the_help_are_in_the_page(self):
        page = self.k("man", "build").out.replace("\\-", "-")
        for flag in re.findall(r"^  (?:-\w, |    )(--[a-z0-9-]+)", self.k("build", "--help").out, re.M):
            self.assertIn(f"\\fB{flag}\\fR", page)

    @support.needs("man")
    def test_man_renders_without_warning(self):
        some = ("kasane", "kasane-build", "kasane-images", "kasane-image")
        for page in self.pages if support.LONG else [f"{self.folder}/{name}.1" for name in some]:
            done = subprocess.run(["man", "--warnings", "-l", page], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env={**self.k.env, "MANWIDTH": "100", "PAGER": "cat"}, check=False)
            self.assertEqual((0, b""), (done.returncode, done.stderr), page)
            self.assertIn(b"NAME", done.stdout)

    @support.needs("mandoc")
    def test_mandoc_finds_no_fault(self):
        done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *self.pages], stdout=subprocess.PIPE, check=False)
        faults = [line for line in done.stdout.decode().splitlines() if "missing date" not in line]
        self.assertEqual([], faults)

    def test_unknown_page(self):
        self.assertEqual(1, self.k("man", "bogus", check=False).code)


if __name__ == "__main__":
    support.main()
