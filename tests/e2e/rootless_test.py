#!/usr/bin/env python3
"""kasane as a plain user: without any namespace when there is no RUN, with a range of subordinate ids when there is."""

import os

import support
from contexts import D, F, H, L, make_tar
from imagetree import differences
from rootless_support import EPOCH, PlainUser, RootlessCase
from support import needs, run

COPY_ONLY = """FROM busybox
WORKDIR /app
COPY --chown=123:456 src /owned/
COPY --chown=app:extra src/f /named/
COPY src .
COPY --from=busybox /home/app /taken/
ADD files.tar /unpacked/
USER app
WORKDIR /srv/app
CMD ["x"]
"""
SOURCES = {"src/f": F("f\n", 0o4755), "src/d/": D(0o2750), "src/d/g": H("src/f"), "src/l": L("f"), "src/e": F("",
     0o600),
           "files.tar": make_tar({"t/": D(0o700, 7, 8), "t/x": F("x\n", 0o640, 9, 10)})}


@support.needs_root
@support.needs_busybox
class Rootless(RootlessCase):

    # Without RUN

    def test_copy_only_without_user_namespaces(self):
        """Nothing privileged is used, and every owner in the layers is exact."""
        home = self.home()
        context = self.context(COPY_ONLY, SOURCES)
        kasane = PlainUser(os.path.join(home, "store"), "--no-userns", SOURCE_DATE_EPOCH=EPOCH, HOME=home)
        kasane("load", "-i", self.base)
        mine = kasane.build(context, "-t", "plain", "--iidfile", os.path.join(home, "iid"))
        self.assertNotIn("WARN", mine.err)
        image = self.saved(kasane, home, "plain")
        tree = image.tree
        for path, owner, mode in (("/owned", (123, 456), 0o755), ("/owned/f", (123, 456), 0o4755), ("/owned/d", (123,
             456), 0o2750),
                                  ("/named/f", (1000, 2000), 0o4755), ("/app/e", (0, 0), 0o600), ("/unpacked/t", (7, 8),
                                  0o700),
                                  ("/unpacked/t/x", (9, 10), 0o640), ("/srv/app", (1000, 1000), 0o755),
                                  ("/home/app", (1000, 1000), 0o750), ("/tmp", (0, 0), 0o1777)):
            self.assertEqual((owner, oct(mode)), ((tree[path].uid, tree[path].gid), oct(tree[path].mode)), path)
        self.assertIs(tree["/owned/f"], tree["/owned/d/g"])
        kasane.check_store(self)
        # Root makes the same image of it.
        root_id = self.as_root.build_id(context)
        with open(os.path.join(home, "iid"), encoding="ascii") as f:
            self.assertEqual(root_id, f.read())

    def test_other_commands_without_user_namespaces(self):
        home = self.home()
        kasane = PlainUser(os.path.join(home, "store"), "--no-userns", HOME=home)
        kasane("load", "-i", self.base)
        kasane("tag", "busybox", "other:1")
        self.assertIn("other", kasane("images").out)
        kasane("history", "other:1")
        kasane("inspect", "other:1")
        kasane("save", "-o", os.path.join(home, "o.tar"), "other:1")
        kasane("rmi", "busybox")
        kasane("rmi", "other:1")
        self.assertEqual("", kasane("images", "-q").out)
        kasane.check_store(self)

    def test_run_is_refused_with_the_reason(self):
        if run(["unshare", "-U", "true"], check=False).code != 0:
            self.skipTest("even root may make no user namespace here (a chroot?), so its limit is not the reason")
        home = self.home()
        context = self.context("FROM busybox\nCOPY a /a\nRUN echo hi\n", {"a": "a\n"})
        kasane = PlainUser(os.path.join(home, "store"), "--no-userns", HOME=home)
        kasane("load", "-i", self.base)
        outcome = kasane.build(context, check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("user.max_user_namespaces", outcome.err)
        self.assertIn("user.max_user_namespaces", kasane("info").out)
        kasane.check_store(self)

    def test_default_store_is_in_the_home(self):
        home = self.home()
        kasane = PlainUser("unused", "--no-userns", HOME=home)
        del kasane.env["KASANE_ROOT"]
        kasane("load", "-i", self.base)
        self.assertTrue(os.path.isdir(os.path.join(home, ".local/share/kasane")), os.listdir(home))

    # With RUN

    @needs("newuidmap", "newgidmap")
    def test_mounts_with_a_range_of_ids(self):
        """RM1-RM5 without root: views of context and stages, caches, secrets; and a failed step that can be entered."""
        self.need_user_namespaces()
        home = self.home()
        context = self.context("""FROM busybox AS tools
RUN mkdir /tools && echo tool > /tools/t && chown 7:8 /tools/t
FROM busybox
RUN --mount=type=bind,target=/ctx cat /ctx/a > /a
RUN --mount=type=bind,from=tools,source=/tools,target=/tools,rw cat /tools/t >> /a && echo x > /tools/t
RUN --mount=type=bind,from=tools,source=/tools/t,target=/t cat /t >> /a && stat -c %u:%g /t >> /a
RUN --mount=type=cache,target=/cache,uid=1000,mode=0700 echo c >> /cache/f; stat -c %u:%a /cache >> /a
RUN --mount=type=cache,target=/cache,uid=1000,mode=0700 cat /cache/f >> /a
RUN --mount=type=secret,id=s,uid=1000,mode=0440 stat -c %u:%a /run/secrets/s >> /a
RUN --mount=type=tmpfs,target=/tmpfs echo t > /tmpfs/f
""", {"a": "context\n"})
        secret = os.path.join(home, "secret")
        with open(secret, "w", encoding="ascii") as f:
            f.write("rootless-canary\n")
        os.chmod(secret, 0o644)
        kasane = PlainUser(os.path.join(home, "store"), *self.user_with_range(home), HOME=home)
        kasane("load", "-i", self.base)
        kasane.build(context, "-t", "mounts", "--secret", f"id=s,src={secret}")
        text = self.saved(kasane, home, "mounts").tree.text("/a")
        self.assertEqual("context\ntool\ntool\n7:8\n1000:700\nc\n1000:440\n", text)
        kasane.check_store(self)

        broken = self.context("FROM busybox\nENV WHO=me\nRUN echo made > /made && chown 5:6 /made && exit 3\n", {})
        self.assertNotEqual(0, kasane.build(broken, check=False).code)
        outcome = kasane("debug", "--", "/bin/sh", "-c", "cat /made; stat -c %u:%g /made; echo $WHO")
        self.assertEqual("made\n5:6\nme\n", outcome.out)

    @needs("newuidmap", "newgidmap")
    def test_run_with_a_range_of_ids(self):
        self.need_user_namespaces()
        home = self.home()
        dockerfile = COPY_ONLY.replace('USER app\n',
             """RUN chown 1000:2000 /app/f && mkdir -m 0711 /made && touch /made/x && chown -R 77:88 /made && \\
    ln /made/x /made/y && rm -r /usr/lib/old && id > /id && touch -d @0 /etc/passwd
USER app
RUN id > /home/app/id && touch /home/app/f
""")
        context = self.context(dockerfile, SOURCES)
        kasane = PlainUser(os.path.join(home, "store"), *self.user_with_range(home), SOURCE_DATE_EPOCH=EPOCH, HOME=home)
        kasane("load", "-i", self.base)
        self.assertIn("rootless (subordinate ids)", kasane("info").out)
        kasane.build(context, "-t", "ranged")
        image = self.saved(kasane, home, "ranged")
        self.assertEqual((77, 88), (image.tree["/made/x"].uid, image.tree["/made/x"].gid))
        self.assertNotIn("/usr/lib/old", image.tree)
        self.assertEqual("uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n", image.tree.text("/home/app/id"))
        # The same files as root makes them, and the same image.
        root_id = self.as_root.build_id(context, "-t", "by-root")
        by_root = self.saved(self.as_root, home, "by-root")
        self.assertFalse(differences(by_root.tree.describe(), image.tree.describe()))
        self.assertEqual(root_id, kasane("images", "-q", "--no-trunc", "ranged").out.strip())
        again = kasane.explain(context)
        self.assertTrue(all(cached for cached, _, _ in again), again)
        kasane.check_store(self)
        kasane("rmi", "ranged")
        kasane("builder", "prune", "-f")
        kasane.check_store(self)

    @needs("newuidmap", "newgidmap")
    def test_debug_with_a_range_of_ids(self):
        """E06: the files of a failed step belong to whom they did, and debug opens them twice."""
        self.need_user_namespaces()
        home = self.home()
        context = self.context("FROM busybox\nRUN echo made > /made && chown 77:88 /made && rm -r /usr/lib/old && exit 3\n", {})
        kasane = PlainUser(os.path.join(home, "store"), *self.user_with_range(home), HOME=home)
        kasane("load", "-i", self.base)
        self.assertIn("exit code: 3", kasane.build(context, check=False).err)
        for _ in range(2):
            self.assertEqual("77 88\nmade\n", kasane("debug", "--", "sh", "-c", "stat -c '%u %g' /made; cat /made").out)
        kasane.check_store(self)

    def test_run_with_one_id(self):
        """Without a range RUN works as long as everything belongs to root; otherwise the refusal says what is missing."""
        self.need_user_namespaces()
        home = self.home()
        with open(support.static_busybox(), "rb") as f:
            busybox = F(f.read(), 0o755)
        context = self.context("FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n"
             "RUN id -u > /id && mkdir /d\n",
                               {"busybox": busybox})
        kasane = PlainUser(os.path.join(home, "store"), HOME=home)
        outcome = kasane.build(context, "-t", "one", check=False)
        if outcome.code == 0:
            self.assertEqual("0\n", self.saved(kasane, home, "one").tree.text("/id"))
        else:
            self.assertIn("/etc/subuid", outcome.err)
        kasane.check_store(self)


if __name__ == "__main__":
    support.main()
