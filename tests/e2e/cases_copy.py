"""Differential cases: COPY, ADD, wildcards and ignore files (reference/dockerfile.md 1.9-1.11)."""

import stat

from cases import ANY, Case, Known
from contexts import D, F, H, L, Special, make_tar

B = "FROM busybox\n"
TREE = {"d/": D(0o700), "d/f": F("f\n", 0o640), "d/sub/": D(0o711), "d/sub/g": F("g\n", 0o755), "d/sub/empty": "",
        "d/void/": D(0o750)}
ROOTFS = {"./": D(0o755), "etc/": D(0o755), "etc/conf": F("conf\n", 0o640, 10, 20), "bin/": D(0o2755, 3, 4),
          "bin/tool": F("#!/bin/sh\n", 0o4755, 7, 8), "bin/same": H("bin/tool"), "bin/link": L("tool"),
          "deep/er/file": "deep\n"}
OLD_BUILDKIT = "its BuildKit predates this"
OLD_CHMOD = "octal --chmod reaches created parents only in later versions"
NO_BUILDAH = "buildah 1.28 does not know this"

CASES = [
    Case("copy_file_to_name", "K03 K05", B + "COPY a.txt /x/y/b.txt", {"a.txt": F("a\n", 0o600)}),
    Case("copy_file_into_new_folder", "K03 K05", B + "COPY a.txt /x/y/", {"a.txt": "a\n"}),
    Case("copy_file_into_existing_folder", "K03", B + "COPY a.txt /etc", {"a.txt": "a\n"}),
    Case("copy_file_over_file", "K03 K10", B + "COPY a.txt /etc/passwd", {"a.txt": F("new\n", 0o604)}),
    Case("copy_folder_to_new", "K04", B + "COPY d /new/d", TREE,
         expect={"/new/d": {"mode": "0o755"}, "/new/d/sub": {"mode": "0o711"}, "/new/d/void": {"mode": "0o750"}}),
    Case("copy_folder_slash_variants", "K04", B + "COPY d/ /a\nCOPY d/. /b/\nCOPY ./d /c", TREE),
    Case("copy_folder_to_existing", "K06 K07",
         B + "RUN mkdir -p -m 0731 /t && mkdir -m 0777 /t/sub && chown 5:6 /t /t/sub\nCOPY d /t", TREE,
         expect={"/t": {"mode": "0o731", "uid": 5}, "/t/sub": {"mode": "0o711", "uid": 0}}),
    Case("copy_everything", "K04", B + "COPY . /ctx/", {**TREE, "top": "top\n"}),
    Case("copy_several_sources", "K24 K23", B + "COPY a b d /x/", {**TREE, "a": "a\n", "b": "b\n"}),
    Case("copy_later_source_wins", "K23", B + "COPY one/f two/f /x/", {"one/f": "1\n", "two/f": "2\n"},
         expect={"/x/f": {"text": "2\n"}}),
    Case("copy_json_form", "K01", B + 'COPY ["a b.txt", "c d/", "/x y/"]', {"a b.txt": "a\n", "c d/e f": "e\n"}),
    Case("copy_source_above_root", "K22", B + "COPY ../../a.txt /x1\nCOPY /a.txt /x2", {"a.txt": "a\n"}),
    Case("copy_relative_destination", "K02", B + "WORKDIR /w\nCOPY a .\nCOPY a sub/\nCOPY a ./name\nCOPY a ../up",
         {"a": "a\n"}),
    Case("copy_replaces_links_in_tree", "K10", B + "RUN mkdir /t && ln -s /etc/passwd /t/f && echo x > /t/g\n"
         "COPY d /t/",
         {"d/f": "new f\n", "d/g": L("f")}, expect={"/t/f": {"type": "file"}, "/t/g": {"type": "link"}}),
    Case("copy_through_links", "K11",
         B + "RUN mkdir /real /real/sub && ln -s /real /abs && ln -s real/sub rel && ln -s ../../real /home/esc\n"
         "COPY a /abs/a\nCOPY a /rel/\nCOPY a /home/esc/sub/b\nCOPY a /var/run/c", {"a": "a\n"}),
    Case("copy_to_dangling_link", "K11", B + "RUN ln -s /t/x /y\nCOPY a /y", {"a": "a\n"},
         expect={"/t/x": {"text": "a\n"}},
         known=(Known("buildah", "/t/x*", "*", ANY, "K11", "it makes the missing target a folder"),)),
    Case("copy_source_link_followed", "K12", B + "COPY lf /x/\nCOPY ld /y/\nCOPY ld/g /z", {
        "real/g": "g\n", "real/f": "f\n", "lf": L("real/f"), "ld": L("real")}, expect={"/x/lf": {"type": "file"}}),
    Case("copy_links_in_tree_kept", "K13", B + "COPY d /x/", {
        "d/abs": L("/etc/passwd"), "d/rel": L("sub/g"), "d/dangling": L("nowhere"), "d/sub/g": "g\n",
             "d/up": L("../..")}),
    Case("copy_hard_links", "K14", B + "COPY d /x/\nCOPY d/a d/b /y/", {
        "d/a": "same\n", "d/b": H("d/a"), "d/sub/c": H("d/a"), "d/other": "same\n"}),
    Case("copy_xattrs", "K15", B + "COPY d /x/\nCOPY d/f /y", {
        "d/f": F("f\n", xattrs={"user.note": b"one"}), "d/sub/": D(xattrs={"user.dir": b"two"}), "d/sub/g": "g\n"},
         known=(Known("docker", "/*", "xattrs", ANY, "K15", OLD_BUILDKIT),)),
    Case("copy_file_capabilities", "K15", B + "COPY f /x/f", {
        "f": F("f\n", 0o755,
             xattrs={"security.capability": bytes.fromhex("0100000200040000000000000000000000000000")})},
         known=(Known("docker", "/x/f", "xattrs", ANY, "K15", OLD_BUILDKIT),)),
    Case("copy_modes", "K18", B + "COPY d /x/", {
        "d/suid": F("s\n", 0o4755), "d/sgid": F("s\n", 0o2711), "d/sticky/": D(0o1777), "d/sgd/": D(0o2775),
        "d/none": F("n\n", 0o000), "d/wx": F("w\n", 0o333)},
         known=(Known("buildah", "/x/s*", "mode", ANY, "K18", "it drops setuid and setgid"),)),
    Case("copy_special_files", "K19", B + "COPY d /x/", {
        "d/fifo": Special(mode=0o620), "d/null": Special(stat.S_IFCHR, 0o666, (1, 3)),
        "d/disk": Special(stat.S_IFBLK, 0o660, (8, 16))},
         known=(Known("docker", "/x/*", "*", ANY, "K19", "its context transfer knows regular files only"),)),
    Case("copy_owner_is_root", "K17", B + "COPY d /x/\nCOPY d/f /y", {
        "d/": D(0o755, 11, 12), "d/f": F("f\n", 0o644, 33, 44), "d/sub/": D(0o755, 5, 6)},
        expect={"/x/f": {"uid": 0, "gid": 0}, "/x/sub": {"uid": 0, "gid": 0}}),
    Case("copy_chown_numbers", "K25 K05", B + "COPY --chown=123:456 d /p/q/\nCOPY --chown=77 d/f /r/s/", TREE,
         expect={"/p": {"uid": 123, "gid": 456}, "/r/s/f": {"uid": 77, "gid": 77}}),
    Case("copy_chown_names", "K25", B + "COPY --chown=app d /a/\nCOPY --chown=app:extra d/f /b/\n"
         "COPY --chown=daemon:0 d/f /c/",
         TREE, expect={"/a/f": {"uid": 1000, "gid": 1000}, "/b/f": {"uid": 1000, "gid": 2000}, "/c/f": {"uid": 1,
         "gid": 0}}),
    Case("copy_chown_existing_folder", "K06", B + "COPY --chown=9:9 d /etc/", TREE, expect={"/etc": {"uid": 0,
         "mode": "0o755"}}),
    Case("copy_chown_keeps_setuid", "K18", B + "COPY --chown=9:9 s /x/", {"s": F("s\n", 0o4755)},
         expect={"/x/s": {"mode": "0o4755", "uid": 9}},
         known=(Known("buildah", "/x/s", "mode", "0o4755", "K18", "it drops setuid"),)),
    Case("copy_chmod_octal", "K26", B + "COPY --chmod=0741 f /x/f\nCOPY --chmod=4755 f /y", {"f": F("f\n", 0o600)},
         expect={"/x/f": {"mode": "0o741"}, "/y": {"mode": "0o4755"}},
         known=(Known("buildah", "/x", "mode", "0o741", "K05", OLD_CHMOD), Known("docker", "/x", "mode", "0o741", "K05",
         OLD_CHMOD),
                Known("docker", "/y", "mode", "0o4755", "K26", "it drops setuid"),)),
    Case("copy_chmod_folder", "K26", B + "COPY --chmod=711 d /x/", {**TREE, "d/l": L("f")},
         expect={"/x/f": {"mode": "0o711"}, "/x/sub": {"mode": "0o711"}, "/x": {"mode": "0o711"}},
         known=(Known("buildah", "/x", "mode", "0o711", "K05", OLD_CHMOD), Known("docker", "/x", "mode", "0o711", "K05",
         OLD_CHMOD),)),
    Case("copy_chmod_symbolic", "K26", B + "COPY --chmod=u=rwX,go=rX d /x/", TREE,
         skip={"docker": OLD_BUILDKIT, "buildah": NO_BUILDAH},
         expect={"/x/f": {"mode": "0o644"}, "/x/sub/g": {"mode": "0o755"}, "/x/sub": {"mode": "0o755"}}),
    Case("copy_from_stage", "K40 K17", B.replace("\n", " AS one\n") +
         "WORKDIR /w\n"
         "RUN echo 1 > f && chown 7:8 f && chmod 4711 f && mkdir -m 0700 d && echo x > d/e && chown -R 3:4 d\n"
         "FROM busybox\nCOPY --from=one /w/f /x/\nCOPY --from=0 w/d /y\nCOPY --from=one /w /z/",
         expect={"/x/f": {"uid": 7, "gid": 8, "mode": "0o4711"}, "/y": {"mode": "0o755", "uid": 0},
         "/z/d": {"uid": 3}}),
    Case("copy_from_stage_any_case", "K40 F03", "FROM busybox AS One\nRUN echo 1 > /f\nFROM busybox\n"
         "COPY --from=oNE /f /g",
         skip={"buildah": "K40: it wants the exact case"}, expect={"/g": {"text": "1\n"}}),
    Case("copy_from_image", "K40", B + "COPY --from=busybox /etc/group /home/app /x/"),
    Case("copy_from_stage_links", "K12 K13 K14", B.replace("\n", " AS one\n") +
         "RUN mkdir /s && cd /s && echo a > a && ln a b && ln -s a l && ln -s /s/a abs && mkdir d && ln -s ../a d/up\n"
         "FROM busybox\nCOPY --from=one /s /t/\nCOPY --from=one /s/abs /u/\nCOPY --from=one /var/run /v/"),
    Case("copy_link_flag", "K27", B + "RUN mkdir /real && ln -s /real /lnk\nCOPY --link a /lnk/a\nCOPY --link d /etc/",
         {**TREE, "a": "a\n"},
         skip={"docker": OLD_BUILDKIT, "buildah": NO_BUILDAH},
         expect={"/lnk": {"type": "dir"}, "/lnk/a": {"text": "a\n"}, "/etc/f": {"text": "f\n"},
         "/etc/passwd": {"type": "file"}}),
    Case("copy_parents", "K28", B + "COPY --parents a/b/c.txt a/*/d.txt /x/\nCOPY --parents a/./b/c.txt /y/",
         {"a/": D(0o700), "a/b/": D(0o711), "a/b/c.txt": "c\n", "a/b/d.txt": "d\n"},
         skip={"docker": OLD_BUILDKIT, "buildah": NO_BUILDAH},
         expect={"/x/a": {"mode": "0o700"}, "/x/a/b": {"mode": "0o711"}, "/x/a/b/c.txt": {"text": "c\n"},
                 "/x/a/b/d.txt": {"text": "d\n"}, "/y/b/c.txt": {"text": "c\n"}, "/y/a": None}),
    Case("copy_exclude", "K29", B + "COPY --exclude=*.log --exclude=sub/g d /x/", {**TREE, "d/a.log": "",
         "d/sub/b.log": ""},
         skip={"docker": OLD_BUILDKIT, "buildah": NO_BUILDAH},
         expect={"/x/a.log": None, "/x/sub/g": None, "/x/sub/b.log": {"type": "file"}, "/x/f": {"text": "f\n"}}),
    Case("copy_odd_names", "K01 K03", B + "COPY . /x/", {
        "ünï/ço dé": "u\n", "tab\there": "t\n", "n" * 120 + "/" + "m" * 130: "long\n", "-dash": "",
             "back\\slash": "b\n",
        "new\nline": "n\n"}),
    Case("copy_many_and_big", "K24", B + "COPY . /x/", {
        **{f"many/{i:03}": f"{i}\n" for i in range(200)}, "big": bytes(range(256)) * 8192, "zero": b"\0" * 300000}),
    # Wildcards
    Case("wildcard_star_question", "W01", B + "COPY *.txt /x/\nCOPY ?.md /y/\nCOPY d*/f /z/", {
        "a.txt": "a\n", ".h.txt": "h\n", "b.md": "b\n", "cc.md": "c\n", "d1/f": "1\n"}),
    Case("wildcard_classes", "W01", B + "COPY [a-c].t /x/\nCOPY [^a].t /y/\nCOPY l\\*t /z/", {
        "a.t": "a\n", "b.t": "b\n", "d.t": "d\n", "l*t": "star\n", "lit": "lit\n"}),
    Case("wildcard_folders_flatten", "W03", B + "COPY p* /x/", {"p1/a": "1\n", "p2/b": "2\n", "p3": "3\n",
         "p1/s/c": "c\n"}),
    Case("wildcard_middle", "W01 W04", B + "COPY src/*/*.c /x/", {
        "src/a/x.c": "x\n", "src/b/y.c": "y\n", "src/z.c": "z\n", "src/a/b/n.c": "n\n"}),
    Case("wildcard_double_star", "W02", B + "COPY **/*.txt /q/", {"a/x.txt": "x\n", "r.txt": "r\n", "a/b/y.txt": "y\n"},
         expect={"/q/x.txt": {"text": "x\n"}, "/q/r.txt": None, "/q/y.txt": None}),
    Case("wildcard_no_match_beside_file", "K21", B + "COPY a no*such /x/", {"a": "a\n"},
         skip={"buildah": "K21: an error there"},
         expect={"/x/a": {"text": "a\n"}}),
    # .dockerignore
    Case("ignore_simple", "G03 G04", B + "COPY . /x/", {
        ".dockerignore": "foo\n/bar\ndir/\n", "foo": "", "bar": "", "x/foo": "x\n", "dir/a": "", "dirt": "",
             "keep": "k\n"}),
    Case("ignore_globs", "G03", B + "COPY . /x/", {
        ".dockerignore": "*.log\n**/*.tmp\n?.o\nlib[0-9]\na/*/c\n", "a.log": "", "s/a.log": "s\n", "b.tmp": "",
             "s/t/c.tmp": "",
        "x.o": "", "xx.o": "", "lib1": "", "libx": "", "a/b/c": "", "a/b/d": "", "a/c": ""}),
    Case("ignore_exceptions", "G05", B + "COPY . /x/", {
        ".dockerignore": "*\n!src/*.c\n!README*\nREADME-secret.md\n", "src/a.c": "a\n", "src/b.h": "b\n",
             "src/d/e.c": "e\n",
        "README.md": "r\n", "README-secret.md": "s\n", "other": ""}),
    Case("ignore_exception_order", "G05", B + "COPY . /x/", {
        ".dockerignore": "!keep.md\n*.md\n!late.md\nd\n!d/in\n", "keep.md": "", "late.md": "l\n", "d/in": "in\n",
             "d/out": ""}),
    Case("ignore_syntax", "G02", B + "COPY . /x/", {
        ".dockerignore": "\ufeff# comment\n  spaced  \n\n./dotted\n\\#hash\na/../b\n# no\n", "spaced": "", "dotted": "",
        "#hash": "", "b": "", "a/c": "c\n", "# no": "keep\n"}),
    Case("ignore_contents_only", "G06", B + "COPY . /x/", {".dockerignore": "a/**\nb/*\n", "a/x/y": "", "a/z": "",
         "b/c/d": "", "e": ""}),
    Case("ignore_build_files", "G08", B + "COPY . /x/", {".dockerignore": "Dockerfile\n.dockerignore\n", "a": "a\n"},
         expect={"/x/Dockerfile": None, "/x/.dockerignore": None}),
    Case("ignore_of_the_dockerfile", "G01", B + "COPY . /x/", {
        ".dockerignore": "a\n", "sub/My.Dockerfile.dockerignore": "b\n", "a": "", "b": ""}, file="sub/My.Dockerfile",
        skip={}, expect={"/x/a": {"type": "file"}, "/x/b": None}),
    Case("ignore_spares_other_sources", "G09", B.replace("\n", " AS s\n") + "RUN mkdir /o && echo 1 > /o/a.log\n"
         "FROM busybox\nCOPY --from=s /o /x/", {".dockerignore": "*.log\n**/*.log\no\n"}),
    # ADD
    *[Case(f"add_archive_{name}", "AD1 AD2 AD3", B + f"ADD rootfs.{name} /x/", {f"rootfs.{name}": make_tar(ROOTFS,
         kind)})
      for name, kind in (("tar", None), ("tgz", "gz"), ("xz", "xz"), ("bz2", "bz2"))],
    Case("add_archive_zst", "AD1", B + "ADD rootfs.zst /x/", lambda: {"rootfs.zst": make_tar(ROOTFS, "zst")},
         skip={"docker": OLD_BUILDKIT}, expect={"/x/bin/tool": {"mode": "0o4755", "uid": 7}}),
    Case("add_archive_name_is_no_matter", "AD1", B + "ADD notes.txt /x/\nADD plain.tar.gz /y/", {
        "notes.txt": make_tar({"in/side": "i\n"}, "gz"), "plain.tar.gz": "just text\n"}),
    Case("add_archive_over_existing", "AD2", B + "ADD a.tar /", {
        "a.tar": make_tar({"etc/passwd": "replaced\n", "etc/": D(0o700), "var/run/x": "through link\n",
             "usr/lib/old": "now a file\n"})}),
    Case("add_archive_chown", "AD3", B + "ADD --chown=21:22 rootfs.tar /x/", {"rootfs.tar": make_tar(ROOTFS)},
         known=(Known("docker", "/x/*", "[ug]id", ANY, "AD3", OLD_BUILDKIT),
                Known("buildah", "/x*", "[ug]id", ANY, "AD3", "it gives the owner to no entry of the archive"),)),
    Case("add_archive_wildcard", "AD4", B + "ADD *.tar /x/", {"a.tar": make_tar({"a": "a\n"}),
         "b.tar": make_tar({"b": "b\n"})}),
    Case("add_broken_archive", "AD13", B + "ADD bad.tar cut.tar.gz /x/", {
        "bad.tar": b"ustar but no" * 100, "cut.tar.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\3nothing"}),
    Case("add_plain_files", "K03 K04", B + "ADD a d /x/\nADD --chown=5:6 a /y", {**TREE, "a": "a\n"}),
    Case("copy_does_not_unpack", "AD1", B + "COPY a.tar /x/", {"a.tar": make_tar({"a": "a\n"})}, expect={"/x/a": None}),
    Case("heredoc_copy", "H05 H06 H07 H11", B + "ARG V=1\nCOPY <<A <<\"B\" /x/\nv=$V \\$V\nA\nv=$V\nB\n"
         "COPY --chmod=0755 --chown=3:4 <<-E /y/run.sh\n\t#!/bin/sh\n\techo $V\n\tE\n",
         skip={"docker": OLD_BUILDKIT, "buildah": NO_BUILDAH},
         expect={"/x/A": {"text": "v=1 $V\n", "mode": "0o644"}, "/x/B": {"text": "v=$V\n"},
                 "/y/run.sh": {"text": "#!/bin/sh\necho 1\n", "mode": "0o755", "uid": 3, "gid": 4}}),
]
