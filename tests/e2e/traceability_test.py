#!/usr/bin/env python3
"""docs/traceability.md: every row names tests that exist; no must or should row of the reference is missing.

docs/security.md: every recipe of the list of attacks names what is expected and tests that exist.
"""

import functools
import os
import re
import sys
import unittest

sys.dont_write_bytecode = True
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(SOURCE, "docs", "traceability.md")
SECURITY_PAGE = os.path.join(SOURCE, "docs", "security.md")
MUST, SHOULD = 266, 56
RECIPES = [f"B{i}" for i in range(1, 23)] + ["B18b", "B21b", "B21c"] + [f"S{i}" for i in range(1, 12)]


def table_rows(path):
    """The cells of each table line whose first cell is a row id such as RM1."""
    with open(path, encoding="utf-8") as f:
        for line in f:
            cells = [c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
            if cells and re.fullmatch(r"[A-Z]{1,2}\d+[a-z]?", cells[0]):
                yield cells


@functools.lru_cache(maxsize=None)
def text_of(name):
    for folder in ("src", "tests"):
        path = os.path.join(SOURCE, folder, name)
        if os.path.isfile(path):
            with open(path, encoding="utf-8") as f:
                return f.read()
    return None


def exists(file, test):
    text = text_of(file)
    if text is None:
        return False
    if file.endswith(".cc"):
        suite, _, name = test.partition(".")
        return re.search(rf"^TEST(_F|_P)?\({suite},\s*{name}\)", text, re.M) is not None
    # A method, or the name of a case: Case("name", ...), ("name", ...), {"name": ...}.
    return re.search(rf'def {test}\(|(Case\(|[({{]|^ +)f?"{test}"[,:]', text, re.M) is not None


class Traceability(unittest.TestCase):

    def setUp(self):
        self.rows = list(table_rows(PAGE))

    def test_rows_are_complete(self):
        self.assertEqual([], [r for r in self.rows if len(r) != 4 or not all(r)])
        ids = [r[0] for r in self.rows]
        self.assertEqual([], sorted({i for i in ids if ids.count(i) > 1}))
        priorities = [r[1] for r in self.rows]
        self.assertEqual((MUST, SHOULD), (priorities.count("must"), priorities.count("should")))
        self.assertEqual(MUST + SHOULD, len(self.rows))

    def test_named_tests_exist(self):
        wrong = []
        for row, _, _, proof in self.rows:
            if re.match(r"not done: \S", proof):
                continue
            named = re.findall(r"`([^`]+?)::([^`]+)`", proof)
            if not named or re.sub(r"`[^`]+`", "", proof).strip(", "):
                wrong.append(f"{row}: neither tests nor `not done: reason`: {proof}")
            wrong += [f"{row}: {file} has no {test}" for file, test in named if not exists(file, test)]
        self.assertEqual([], wrong)

    def test_nothing_of_the_reference_is_missing(self):
        corpus = os.environ.get("KASANE_CORPUS") or os.path.join(SOURCE, "..", "shared", "corpus")
        path = os.path.join(os.path.dirname(os.path.abspath(corpus)), "reference", "dockerfile.md")
        if not os.path.exists(path):
            self.skipTest(f"the reference is not at hand: {path} (beside KASANE_CORPUS)")
        wanted = {}
        for cells in table_rows(path):
            # The priority is the last cell: "M", "S, why", "M integer, L the rest".
            if match := re.match(r"[MS]\b", cells[-1]):
                wanted[cells[0]] = {"M": "must", "S": "should"}[match[0]]
        self.assertEqual(wanted, {r[0]: r[1] for r in self.rows})


class Security(unittest.TestCase):

    def test_every_recipe_is_tested(self):
        rows = list(table_rows(SECURITY_PAGE))
        self.assertEqual([], [r for r in rows if len(r) != 4 or not all(r)])
        self.assertEqual(sorted(RECIPES), sorted(r[0] for r in rows))
        wrong = []
        for row, _, _, proof in rows:
            named = re.findall(r"`([^`]+?)::([^`]+)`", proof)
            if not named or re.sub(r"`[^`]+`", "", proof).strip(", "):
                wrong.append(f"{row}: not a list of tests: {proof}")
            wrong += [f"{row}: {file} has no {test}" for file, test in named if not exists(file, test)]
        self.assertEqual([], wrong)


if __name__ == "__main__":
    unittest.main(verbosity=2)
