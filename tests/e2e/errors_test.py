#!/usr/bin/env python3
"""What goes wrong is said clearly, ends with a non-zero code, and leaves the store clean and usable."""

import os
import subprocess
import sys

import support
from contexts import F, L, make_tar, write_busybox_tar, write_tree
from support import Kasane, mount_lines_naming, processes_naming, run

UID = 54321
HELPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "plain_user.py")
B = "FROM busybox\n"

# name: (Dockerfile, context, words of the message[, options of build])
CASES = {
    "unknown_instruction": (B + "COPPY a /\n", {}, ["dockerfile parse error on line 2: unknown instruction: COPPY",
         "did you mean COPY",
                                                   "2 | >>> COPPY a /"]),
    "unknown_flag": (B + "COPY --chwon=1 a /\n", {"a": ""}, ["unknown flag: --chwon", "did you mean", "chown"]),
    "empty_file": ("", {}, ["the Dockerfile cannot be empty"]),
    "only_comments": ("# nothing\n", {}, ["file with no instructions"]),
    "only_arg": ("ARG A=1\n", {}, ["no stages to build"]),
    "too_few_arguments": (B + "COPY a\n", {}, ["COPY requires at least two arguments", ">>> COPY a"]),
    "unterminated_heredoc": (B + "RUN <<E\necho\n", {}, ["unterminated heredoc"]),
    "missing_source": (B + "COPY there nope.txt /x/\n", {"there": ""}, ['"/nope.txt": not found',
         "2 | >>> COPY there nope.txt /x/",
                                                                       "    |                ^~~~~~~~"]),
    "ignored_source": (B + "COPY secret.txt /x/\n", {"secret.txt": "s", ".dockerignore": "# keep out\n*.txt\n"},
                       ['"/secret.txt": not found', ".dockerignore", "line 2", "*.txt"]),
    "ignored_by_parent": (B + "COPY d/e/f /x/\n", {"d/e/f": "s", ".dockerignore": "d\n"}, [".dockerignore", "line 1"]),
    "dangling_source_link": (B + "COPY l /x/\n", {"l": L("gone")}, ["/l", "not found"]),
    "missing_in_stage": ("FROM busybox AS s\nFROM busybox\nCOPY --from=s /nope /x\n", {}, ['"/nope": not found',
         ">>> COPY --from=s"]),
    "file_over_folder": (B + "COPY d /\n", {"d/etc": "a file"}, ["cannot replace to directory", "etc"]),
    "folder_over_link": (B + "COPY d /var/\n", {"d/run/x": "x"}, ["cannot copy to non-directory", "/var/run"]),
    "unknown_owner": (B + "COPY --chown=nobody-here a /x\n", {"a": ""}, ["nobody-here"]),
    "bad_mode": (B + "COPY --chmod=9999 a /x\n", {"a": ""}, ["9999"]),
    "url_in_copy": (B + "COPY https://example.com/x /x\n", {}, ["source can't be a URL for COPY"]),
    "failing_run": (B + "RUN for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do echo line $i; done; exit 7\n", {},
                    ["exit code: 7", "line 13", "line 4", "2 | >>> RUN for i", "^~~~", " > [2/2] RUN for i",
                     'process "/bin/sh -c for i']),
    "killed_run": (B + "RUN kill -9 $$\n", {}, ["did not complete successfully", "9"]),
    "run_program_missing": (B + 'RUN ["/no/such/program"]\n', {}, ["/no/such/program", "exit code: 127"]),
    "run_not_executable": (B + 'RUN ["/etc/passwd"]\n', {}, ["/etc/passwd", "exit code: 126"]),
    "run_without_shell": ("FROM scratch\nCOPY a /a\nRUN echo hi\n", {"a": ""}, ["/bin/sh", "exit code: 127"]),
    "unknown_user": (B + "USER ghost\nRUN id\n", {}, ["ghost", "passwd"]),
    "base_not_in_store": ("FROM no-such-image:9\n", {}, ["no-such-image:9", "not", "1 | >>> FROM no-such-image:9"]),
    "blank_base": ("ARG X\nFROM $X\n", {}, ["base name ($X) should not be blank"]),
    "forward_stage": ("FROM busybox AS first\nCOPY --from=second /a /b\nFROM busybox AS second\n", {},
                      ['cannot copy from stage "second", it needs to be defined before current stage "first"'],
                      ("--target", "first")),
    "self_reference": ("FROM busybox AS me\nCOPY --from=me /a /b\n", {}, ['"me"', ">>> COPY --from=me"]),
    "stage_number_too_high": (B + "COPY --from=7 /a /b\n", {}, ["7"]),
    "target_typo": ("FROM busybox AS build\n", {}, ['target stage "bulid" could not be found', "did you mean build"],
         ("--target", "bulid")),
    "required_variable": (B + 'ENV A="${MUST:?give it}"\n', {}, ["MUST: give it"]),
    "bad_substitution": (B + "ENV A=${B^^}\n", {}, ["unsupported modifier"]),
    "bad_ignore_file": (B + "COPY . /x\n", {".dockerignore": "ok\n[\n"}, [".dockerignore"]),
    "bad_tag": (B, {}, ['invalid tag "Upper:Case"', "lowercase"], ("-t", "Upper:Case")),
    "bad_wildcard": (B + "COPY [ /x/\n", {"a": ""}, ["pattern"]),
    "bad_platform": ("FROM --platform=linux/nope/x/y scratch\nCOPY a /\n", {"a": ""}, ["linux/nope/x/y", "1 | >>> FROM"]),
    "bad_signal": (B + "STOPSIGNAL SIGNOPE\n", {}, ["invalid signal: SIGNOPE", "2 | >>> STOPSIGNAL"]),
    "bad_port": (B + "EXPOSE 99999\n", {}, ["99999"]),
    "bad_archive": (B + "ADD a.tar /x/\n", {"a.tar": make_tar({"d/f": b"x" * 5000})[:3000]}, ["a.tar"]),
}


@support.needs_root
@support.needs_busybox
class Errors(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = write_busybox_tar(os.path.join(cls.work, "base.tar"))
        cls.kasane = Kasane(os.path.join(cls.work, "store"))
        cls.kasane.import_busybox(cls.base)

    def assert_clean(self, kasane):
        kasane.check_store(self)
        self.assertEqual([], mount_lines_naming(kasane.root))
        self.assertEqual({}, processes_naming(kasane.root))

    def fails(self, kasane, words, *args, code=1, **kwargs):
        outcome = kasane(*args, check=False, **kwargs)
        self.assertEqual(code, outcome.code, outcome.err)
        for word in words:
            self.assertIn(word, outcome.err)
        self.assertNotRegex(outcome.err, r"\bbug\b")
        self.assertNotIn("Internal", outcome.err)
        return outcome

    def build_fails(self, dockerfile, context, words, *options):
        folder = write_tree(self.new_folder("ctx"), {**context, "Dockerfile": dockerfile})
        before = self.kasane("images", "-q", "--no-trunc").out
        outcome = self.fails(self.kasane, words, "build", "--progress", "plain", *options, folder)
        self.assertIn("ERROR: ", outcome.err)
        self.assertEqual("", outcome.out)
        self.assertEqual(before, self.kasane("images", "-q", "--no-trunc").out, "a failed build made an image")
        return outcome

    def test_zz_store_is_clean_and_works(self):
        self.assert_clean(self.kasane)
        self.kasane.build(write_tree(self.new_folder("ok"), {"Dockerfile": B + "RUN touch /x\nCOPY a /\n", "a": ""}))

    # Command line and files

    def test_missing_dockerfile(self):
        folder = self.new_folder("empty")
        self.fails(self.kasane, ["failed to read dockerfile: open Dockerfile: no such file or directory"], "build",
             folder)
        self.fails(self.kasane, ["failed to read dockerfile", "other.df"], "build", "-f", "other.df", folder)

    def test_missing_context(self):
        self.fails(self.kasane, ['unable to prepare context: path "/no/such/folder" not found'], "build",
             "/no/such/folder")
        self.fails(self.kasane, ["requires 1 argument"], "build")

    def test_iidfile_does_not_survive_a_failure(self):
        folder = write_tree(self.new_folder("ctx"), {"Dockerfile": B + "RUN false\n"})
        iid = self.path("iid")
        write_tree(self.work, {"iid": "old"})
        self.fails(self.kasane, [], "build", "--iidfile", iid, folder)
        self.assertFalse(os.path.exists(iid))

    def test_quiet_shows_the_failure(self):
        """E05: with -q nothing but the full error."""
        folder = write_tree(self.new_folder("ctx"), {"Dockerfile": B + "RUN echo why; exit 3\n"})
        outcome = self.fails(self.kasane, ["why", "exit code: 3"], "build", "-q", folder)
        self.assertEqual("", outcome.out)

    def test_steps_before_a_failure_stay_cached(self):
        folder = write_tree(self.new_folder("ctx"), {"Dockerfile": B + "RUN echo one > /one\nRUN exit 3\n"})
        self.fails(self.kasane, ["exit code: 3"], "build", folder)
        write_tree(folder, {"Dockerfile": B + "RUN echo one > /one\nRUN exit 0\n"})
        steps = self.kasane.explain(folder)
        self.assertEqual([True, True, False], [cached for cached, _, _ in steps])

    def test_a_failure_ends_the_other_stages(self):
        text = "FROM busybox AS slow\nRUN sleep 600\nFROM busybox AS bad\nRUN sleep 0.3; exit 5\nFROM scratch\nCOPY --from=slow /a /\nCOPY --from=bad /a /\n"
        outcome = self.build_fails(text, {}, ["exit code: 5"])
        self.assertRegex(outcome.err, r"#\d+ CANCELED")
        self.assert_clean(self.kasane)

    # Permissions

    def plain(self, root, *args):
        env = {**self.kasane.env, "KASANE_ROOT": root, "HOME": os.path.dirname(root)}
        return run([sys.executable, HELPER, str(UID), "--no-userns", "--", support.KASANE, *args], check=False, env=env)

    def test_unreadable_file_in_context(self):
        """X10: an error that names the file, and only if the file is needed."""
        home = self.new_folder("home")
        os.chown(home, UID, UID)
        folder = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM scratch\nCOPY . /x/\n", "d/private": F("s",
             0o600), "open": "o"})
        outcome = self.plain(home + "/store", "build", "--progress", "plain", folder)
        self.assertEqual(1, outcome.code, outcome.err)
        self.assertIn("d/private", outcome.err)
        self.assertIn("ermission denied", outcome.err)
        self.assertIn(">>> COPY . /x/", outcome.err)
        self.assertEqual(0, self.plain(home + "/store", "store", "check").code)
        write_tree(folder, {".dockerignore": "**/private\n"})
        outcome = self.plain(home + "/store", "build", "--progress", "plain", folder)
        self.assertEqual(0, outcome.code, outcome.err)
        write_tree(folder, {".dockerignore": "", "Dockerfile": "FROM scratch\nCOPY open /x/\n"})
        self.assertEqual(0, self.plain(home + "/store", "build", folder).code)

    def test_unreadable_folder_in_context(self):
        home = self.new_folder("home")
        os.chown(home, UID, UID)
        folder = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM scratch\nCOPY . /x/\n", "closed/f": "x"})
        os.chmod(folder + "/closed", 0o700)
        outcome = self.plain(home + "/store", "build", folder)
        self.assertEqual(1, outcome.code)
        self.assertIn("closed", outcome.err)
        self.assertIn("ermission denied", outcome.err)

    def listing(self, folder):
        return sorted((where, tuple(sorted(files))) for where, _, files in os.walk(folder))

    def test_store_of_somebody_else(self):
        folder = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"})
        # A store that another user could change is not trusted, not even by root.
        root = self.path("foreign", "store")
        Kasane(root).import_busybox(self.base)
        subprocess.run(["chown", "-R", str(UID), root], check=True)
        before = self.listing(root)
        self.fails(Kasane(root), [root, str(UID)], "build", folder)
        self.assertEqual(before, self.listing(root))
        # And a plain user cannot use root's.
        mine = self.path("roots", "store")
        Kasane(mine).import_busybox(self.base)
        outcome = self.plain(mine, "build", folder)
        self.assertEqual(1, outcome.code, outcome.err)
        self.assertIn(mine, outcome.err)
        Kasane(mine).check_store(self)

    def test_folder_that_is_no_store(self):
        folder = write_tree(self.new_folder("ctx"), {"Dockerfile": "FROM scratch\nCOPY a /a\n", "a": "a"})
        root = write_tree(self.path("photos"), {"cat.jpg": "meow"})
        self.fails(Kasane(root), [root, "not a kasane store", "cat.jpg"], "build", folder)
        self.fails(Kasane(root), [root, "not a kasane store"], "import", self.base, "x")
        self.assertEqual([(root, ("cat.jpg",))], self.listing(root))

    # Full disk

    def small_disk(self, options):
        disk = self.new_folder("disk")
        outcome = run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=False)
        if outcome.code != 0:
            self.skipTest(f"cannot mount a tmpfs: {outcome.err}")
        self.addCleanup(subprocess.run, ["umount", "-l", disk], check=False)
        return disk

    def check_full_disk(self, options, enough, context):
        """Something fails on the small disk, clearly; with more space the same commands succeed."""
        disk = self.small_disk(options)
        kasane = Kasane(os.path.join(disk, "store"))
        commands = [("import", self.base, "busybox"), ("build", "--progress", "plain", context)]
        failed = 0
        for command in commands:
            outcome = kasane(*command, check=False)
            if outcome.code != 0:
                failed += 1
                self.assertRegex(outcome.err, r"o space left on device|disk is full|not in the store|not found", options)
                if command[0] == "import":
                    self.assertRegex(outcome.err, "o space left on device|disk is full")
            self.assertEqual([], mount_lines_naming(kasane.root))
            outcome = kasane("store", "check", check=False)
            self.assertEqual(0, outcome.code, f"{options}: {outcome.out}{outcome.err}")
        run(["mount", "-o", f"remount,{enough}", disk])
        for command in commands:
            kasane(*command)
        kasane.check_store(self)
        kasane("store", "sweep")
        self.assertIn(" 0 leftovers", kasane("store", "check").err)
        return failed

    def test_full_disk_at_many_points(self):
        context = write_tree(self.new_folder("ctx"), {
            "Dockerfile": B + "COPY big /big\nRUN dd if=/dev/zero of=/zero bs=1024 count=2000 && echo x > /x\n"
            "COPY big /again\n",
            "big": bytes(range(256)) * 8000})
        failed = 0
        for kilobytes in (500, 1500, 2500, 4200, 5000, 7000, 8500, 10500):
            with self.subTest(kilobytes=kilobytes):
                failed += self.check_full_disk(f"size={kilobytes}k", "size=200m", context)
        self.assertGreater(failed, 5)

    def test_no_inodes_left(self):
        context = write_tree(self.new_folder("ctx"),
             {"Dockerfile": B + "RUN for i in $(seq 1 500); do echo > /f$i || exit 9; done\n"})
        for inodes in (20, 100, 700):
            with self.subTest(inodes=inodes):
                self.assertGreater(self.check_full_disk(f"size=100m,nr_inodes={inodes}", "nr_inodes=10000", context), 0)

    def test_save_to_a_full_disk_leaves_no_file(self):
        disk = self.small_disk("size=100k")
        path = os.path.join(disk, "out.tar")
        self.fails(self.kasane, ["o space left on device", path], "save", "-o", path, "busybox")
        self.assertEqual([], os.listdir(disk))
        self.assertEqual(1, self.kasane("save", "busybox", "-o", "/dev/full", check=False).code)


def add_case(name):
    def test(self):
        self.build_fails(*CASES[name][:3], *(CASES[name][3] if len(CASES[name]) > 3 else ()))
    setattr(Errors, f"test_build_{name}", test)


for case in CASES:
    add_case(case)

if __name__ == "__main__":
    support.main()
