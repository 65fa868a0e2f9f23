#!/usr/bin/env python3
"""Commands of docker's command line, word for word: the cases are in golden/*.txt (golden/README.md tells the format).

Every case runs against kasane. With KASANE_DOCKER="docker -H unix:///..." (a daemon of its own, whose images are removed!)
those that are not marked [kasane] or [differs] run against docker too, and must print the same there:

    KASANE_DOCKER="docker -H unix:///tmp/d.sock" tests/e2e/golden_test.py        # docker 28.2.2 in front of a 20.10 daemon
    tests/e2e/golden_test.py --record images                                     # fills in what kasane prints
"""

import datetime
import glob
import os
import re
import shlex
import shutil
import sys
import unittest

import golden_images
import support
from support import run

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
DOCKER = shlex.split(os.environ.get("KASANE_DOCKER", ""))


class Step:
    """One command line and what it prints."""

    def __init__(self, line):
        self.line, self.out, self.err, self.code, self.comments = line, "", "", 0, []

    def text(self):
        lines = [f"$ {self.line}"]
        for mark, text in (("|", self.out), ("!", self.err)):
            if text:
                lines += [mark + (" " + line if line else "") for line in text.removesuffix("\n").split("\n")]
                if not text.endswith("\n"):
                    lines.append(mark + "\\")
        if self.code:
            lines.append(f"= {self.code}")
        return "\n".join(lines) + "\n"


class Case:
    def __init__(self, name, marks):
        self.name, self.marks, self.steps, self.comments = name, marks, [], []

    def has(self, mark):
        return any(m.split(":")[0] == mark for m in self.marks)


def parse(path):
    """(archives to load, cases)"""
    loads, cases, comments = [], [], []
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f.read().split("\n"), 1):
            if line.startswith("@load"):
                loads += line.split()[1:]
            elif line.startswith("#"):
                comments.append(line)
            elif line.startswith("== "):
                match = re.match(r"== (.*?)((?: \[[^\]]*\])*)$", line)
                cases.append(Case(match[1], re.findall(r"\[([^\]]*)\]", match[2])))
                cases[-1].comments, comments = comments, []
            elif line.startswith("$ "):
                cases[-1].steps.append(Step(line[2:]))
            elif line[:1] in ("|", "!"):
                step, name = cases[-1].steps[-1], {"|": "out", "!": "err"}[line[0]]
                if line[1:] == "\\":
                    setattr(step, name, getattr(step, name)[:-1])
                else:
                    setattr(step, name, getattr(step, name) + line[2:] + "\n")
            elif line.startswith("= "):
                cases[-1].steps[-1].code = int(line[2:])
            elif line.strip():
                raise AssertionError(f"{path}:{number}: {line!r}")
    return loads, cases


def age(date, now=None):
    """The age of a date that is more than two years ago, as the reference defines it."""
    then = datetime.datetime.fromisoformat(date[:19] + "+00:00")
    hours = ((now or datetime.datetime.now(datetime.timezone.utc)) - then).total_seconds() / 3600
    return f"{int(hours / 24 / 365)} years ago"


def fill(text, work):
    for name, date in golden_images.DATES.items():
        text = text.replace(f"{{age:{name}}}", age(date))
    return text.replace("{work}", work)


def unfill(text, work):
    for name, date in golden_images.DATES.items():
        text = text.replace(age(date), f"{{age:{name}}}")
    return text.replace(work, "{work}")


class Program:
    """kasane, or docker in front of a daemon."""
    random = False  # the order of some lines is random
    dirty = False   # a case changed the images

    def __init__(self, words, work, env):
        self.words, self.work, self.env = words, work, env

    def __call__(self, line):
        argv, env, stdin = shlex.split(fill(line, self.work)), dict(self.env), None
        while re.match(r"[A-Z_]+=", argv[0]):
            name, _, value = argv.pop(0).partition("=")
            env[name] = value
        more = {}
        if "<" in argv:
            at = argv.index("<")
            with open(argv[at + 1], "rb") as f:
                more["input"] = f.read()
            del argv[at:at + 2]
        elif "<<<" in argv:
            at = argv.index("<<<")
            more["input"] = (argv[at + 1] + "\n").encode()
            del argv[at:at + 2]
        return run([*self.words, *argv], check=False, env=env, cwd=self.work, **more)


class KasaneSide(Program):
    def __init__(self, work):
        super().__init__([support.KASANE], work, support.clean_environment(
            KASANE_ROOT=os.path.join(work, "root"), DOCKER_CONFIG=os.path.join(work, "config"), HOME=work))

    def reset(self, loads):
        root, kept = self.env["KASANE_ROOT"], os.path.join(self.work, "first", "+".join(loads) or "none")
        shutil.rmtree(root, ignore_errors=True)
        if not os.path.exists(kept):
            for name in loads:
                outcome = self(f"load -i {{work}}/{name}.tar")
                assert outcome.code == 0, outcome
            if loads:
                shutil.copytree(root, kept, symlinks=True)
        else:
            shutil.copytree(kept, root, symlinks=True)


class DockerSide(Program):
    random = True

    def __init__(self, work):
        super().__init__(DOCKER, work, support.clean_environment(
            DOCKER_CONFIG=os.path.join(work, "config"), HOME=work, PATH=os.environ["PATH"]))

    def reset(self, loads):
        while ids := sorted(set(self("images -aq").out.split())):
            self("rmi -f " + " ".join(ids))
        for name in loads:
            outcome = self(f"load -i {{work}}/{name}.tar")
            assert outcome.code == 0, outcome

    def __call__(self, line):
        outcome = super().__call__(line)
        err = outcome.err.replace("Error response from daemon: ", "Error: ")
        return outcome._replace(out=as_kasane(outcome.out), err=as_kasane(err))


def as_kasane(text):
    """docker's own name in usage texts, and its three wordings of one line ("See", "SRun" are slips)."""
    text = re.sub(r"(?m)^(?:SRun|See|Run) '", "Run '", text)
    return re.sub(r"\b(docker)(?=: '|: unknown| (?:\[OPTIONS|image|images|rmi|tag|save|load|import|history|inspect|system|build|builder"
                  r"|pull|push|bogus|prune|COMMAND|--help)\b|(?= \[OPTIONS))", "kasane", text)


def play(program, case, loads):
    """Runs the case; the steps as they came out."""
    if program.dirty:
        program.reset(loads)
    program.dirty = case.has("fresh")
    config = os.path.join(program.work, "config")
    shutil.rmtree(config, ignore_errors=True)
    os.makedirs(config)
    for mark in case.marks:
        if mark.startswith("config:"):
            with open(os.path.join(config, "config.json"), "w", encoding="utf-8") as f:
                f.write(mark[7:].replace("(", "[").replace(")", "]"))
    steps = []
    for step in case.steps:
        outcome = program(step.line)
        steps.append(Step(step.line))
        out = re.sub(r"sha256:[0-9a-f]{64}", "sha256:{new}", outcome.out) if case.has("new ids") else outcome.out
        steps[-1].out, steps[-1].err, steps[-1].code = unfill(out, program.work), unfill(outcome.err, program.work), outcome.code
    return steps


class Golden(support.TestCase):
    """Test methods are made below, one for each file and program."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        golden_images.write_all(cls.work)

    def check(self, program, path, wanted):
        loads, cases = parse(path)
        program.reset(loads)
        played = 0
        for case in cases:
            if not wanted(case):
                continue
            played += 1
            with self.subTest(case.name):
                for step, seen in zip(case.steps, play(program, case, loads)):
                    step.out, step.err = (unfill(fill(t, program.work), program.work) for t in (step.out, step.err))
                    self.assertEqual(step.text(), (reconciled(step, seen) if program.random else seen).text())
        return played


def reconciled(mine, docker):
    """docker's step, with our order of lines where docker has none, and our hints."""
    out = Step(docker.line)
    out.code = docker.code
    out.out = mine.out if sorted(mine.out.split("\n")) == sorted(docker.out.split("\n")) else docker.out
    out.err = mine.err if re.sub(r"(?m)^hint: .*\n", "", mine.err) == docker.err else docker.err
    return out


def names():
    return sorted(os.path.basename(path)[:-4] for path in glob.glob(os.path.join(FOLDER, "*.txt")))


def add_tests():
    for name in names():
        path = os.path.join(FOLDER, name + ".txt")

        def with_kasane(self, path=path):
            self.assertGreater(self.check(KasaneSide(self.work), path, lambda case: True), 0)

        @unittest.skipUnless(DOCKER, "KASANE_DOCKER is not set")
        def with_docker(self, path=path):
            self.check(DockerSide(self.work), path, lambda case: not case.has("kasane") and not case.has("differs"))

        setattr(Golden, f"test_{name}", with_kasane)
        setattr(Golden, f"test_{name}_of_docker", with_docker)


def record(name, with_docker):
    """Writes what kasane prints into the cases of the file that have no output yet (or into all: "!name"); what docker
    prints where it is asked too, so that the file's diff shows where kasane differs."""
    everything, name = name.startswith("!"), name.lstrip("!")
    path = os.path.join(FOLDER, name + ".txt")
    Golden.setUpClass()
    sides = [KasaneSide(Golden.work)] + ([DockerSide(Golden.work)] if with_docker else [])
    loads, cases = parse(path)
    for side in sides:
        side.reset(loads)
    with open(path, encoding="utf-8") as f:
        text = re.split(r"(?m)^(?:# .*\n)*== ", f.read())[0].rstrip("\n") + "\n"
    for case in cases:
        empty = not any(step.out or step.err or step.code for step in case.steps)
        if empty or everything:
            case.steps = play(sides[0], case, loads)
            if with_docker and not case.has("kasane") and not case.has("differs"):
                case.steps = [reconciled(mine, seen) for mine, seen in zip(case.steps, play(sides[1], case, loads))]
        text += "\n" + "".join(c + "\n" for c in case.comments if c not in text)
        text += "== " + case.name + "".join(f" [{m}]" for m in case.marks) + "\n" + "".join(s.text() for s in case.steps)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    Golden.doClassCleanups()


add_tests()

if __name__ == "__main__":
    if sys.argv[1:2] in (["--record"], ["--record-docker"]):
        for which in sys.argv[2:]:
            record(which, sys.argv[1] == "--record-docker")
    else:
        support.main()
