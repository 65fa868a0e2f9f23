#!/usr/bin/env python3
"""--security-opt seccomp=: profiles of the user's, none, and what always holds, in every mode."""

import json
import os

import support
from escapes import EscapeCase
from modes import each_mode, expand_modes

# The program of probe_test.py says what each of some system calls answers.
ODD = """/probe | tr -d ' \\n' | grep -q '"personality":"ok"'"""
NO_MKDIR = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
    {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_ADMIN"]}}]}


@expand_modes
class Profiles(EscapeCase):

    def profile(self, document):
        path = os.path.join(self.new_folder("profile"), "profile.json")
        with open(path, "w", encoding="utf-8") as f:
            f.write(document if isinstance(document, str) else json.dumps(document))
        os.chmod(path, 0o644)
        os.chmod(os.path.dirname(path), 0o755)
        return path

    @each_mode()
    def test_a_profile_of_the_users(self, mode):
        flag = f"--security-opt=seccomp={self.profile(NO_MKDIR)}"
        text = self.build(mode, "RUN touch /a && chmod 600 /a && mkdir /b\n", {}, "--no-cache", flag, fails=True)
        self.assertIn("can't create directory '/b': ", text)
        self.assertRegex(text, "Not supported|not supported")
        self.build(mode, "RUN touch /a && chmod 600 /a\n", {}, "--no-cache", flag, fails=False)

    @each_mode()
    def test_none(self, mode):
        lines = f"RUN {ODD}\n"
        self.build(mode, lines, {}, "--no-cache", fails=True)
        self.build(mode, lines, {}, "--no-cache", "--security-opt", "seccomp=builtin", fails=True)
        self.build(mode, lines, {}, "--no-cache", "--security-opt", "seccomp=unconfined", fails=False)

    @each_mode("root")
    def test_run_takes_it_too(self, mode):
        k = self.kasane(mode)
        for choice, code in (("unconfined", 0), ("builtin", 1)):
            outcome = k("run", "--security-opt", f"seccomp={choice}", "busybox", "sh", "-c", ODD, check=False)
            self.assertEqual(code, outcome.code, outcome.err)

    @each_mode("root")
    def test_what_is_refused(self, mode):
        for value, words in (("seccomp=/does/not/exist.json", "exist.json"), ("seccomp=", "seccomp=FILE"),
                             ("apparmor=unconfined", "not possible"), (f"seccomp={self.profile('{')}", "profile.json"),
                             (f"seccomp={self.profile({'defaultAction': 'SCMP_ACT_NOTIFY'})}", "needs a process that answers")):
            with self.subTest(value):
                self.assertIn(words, self.build(mode, "RUN true\n", {}, "--security-opt", value, fails=True))


if __name__ == "__main__":
    support.main()
