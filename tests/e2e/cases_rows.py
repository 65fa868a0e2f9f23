"""Differential cases: mounts, newer flags of COPY, arguments, stages and triggers (reference/dockerfile.md 1.3-1.13)."""

from cases import ANY, Case, Known
from cases_copy import B, NO_BUILDAH, OLD_BUILDKIT, TREE
from contexts import D, F, L, make_tar

# Of these only the result that is written down can be held against kasane.
NEW = {"docker": OLD_BUILDKIT, "buildah": NO_BUILDAH}
STUBS = tuple(Known(builder, "/[mcst]*", "present", False, "RM7", "it keeps mount stubs")
              for builder in ("docker",))
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CASES = [
    # RUN --mount
    Case("mount_bind_context", "RM1 RM7", B + "RUN --mount=type=bind,source=d,target=/m cat /m/f /m/sub/g > /out; "
         "touch /m/x 2>/dev/null || echo read-only >> /out", TREE, known=STUBS,
         expect={"/out": {"text": "f\ng\nread-only\n"}, "/m": None}),
    Case("mount_bind_file", "RM1", B + "WORKDIR /w\nRUN --mount=type=bind,source=d/f,target=/w/given cat given > /out",
         TREE, expect={"/out": {"text": "f\n"}, "/w/given": None}),
    Case("mount_bind_stage", "RM1 S01", B.replace("\n", " AS one\n") + "RUN mkdir /o && echo 1 > /o/f\nFROM busybox\n"
         "RUN --mount=type=bind,from=one,source=/o,target=/m cp /m/f /f", known=STUBS, expect={"/f": {"text": "1\n"}}),
    Case("mount_bind_writes_are_lost", "RM1", B + "RUN --mount=type=bind,source=d,target=/m,rw echo new > /m/f && "
         "cp /m/f /first\nRUN --mount=type=bind,source=d,target=/m cp /m/f /second", TREE, known=STUBS +
         (Known("buildah", "/second", "s*", ANY, "RM1", "it writes into the context"),),
         expect={"/first": {"text": "new\n"}, "/second": {"text": "f\n"}}),
    Case("mount_bind_over_existing", "RM1", B + "RUN --mount=type=bind,source=d,target=/usr/lib/old "
         "ls /usr/lib/old > /ls\nRUN ls /usr/lib/old > /ls2", TREE,
         skip={"buildah": "RM7: it removes the image's own folder after the step"},
         expect={"/ls": {"text": "f\nsub\nvoid\n"}, "/ls2": {"text": "a\nsub\n"}}),
    Case("mount_bind_twice", "RM8", B + "RUN --mount=type=bind,source=d/f,target=/m1 "
         "--mount=type=bind,source=d/sub,target=/m2 cat /m1 /m2/g > /out", TREE, known=STUBS,
         expect={"/out": {"text": "f\ng\n"}}),
    Case("mount_cache_is_shared", "RM2", B + "RUN --mount=type=cache,target=/c,id=differential echo 1 > /c/f\n"
         "RUN --mount=type=cache,target=/c,id=differential cat /c/f > /out && stat -c '%a %u %g' /c >> /out",
         expect={"/out": {"text": "1\n755 0 0\n"}, "/c": None}, known=STUBS),
    Case("mount_cache_owner", "RM2", B + "USER app\n"
         "RUN --mount=type=cache,target=/c,uid=1000,gid=1000,mode=0700,id=differential2 "
         "touch /c/f && stat -c '%a %u %g' /c > /tmp/out", known=STUBS, expect={"/tmp/out": {"text": "700 1000 1000\n"}}),
    Case("mount_tmpfs", "RM3", B + "RUN --mount=type=tmpfs,target=/t echo x > /t/f && "
         "stat -f -c %T /t > /out\nRUN test ! -e /t/f", known=STUBS),
    Case("mount_tmpfs_hides_files", "RM3", B + "RUN --mount=type=tmpfs,target=/usr/lib/old ls /usr/lib/old > /ls",
         known=(Known("buildah", "/usr/lib/old*", "present", True, "RM7", "it removes the image's own folder after the step"),),
         expect={"/ls": {"text": ""}, "/usr/lib/old/a": {"type": "file"}}),
    Case("mount_secret", "RM4", B + "RUN --mount=type=secret,id=s cat /run/secrets/s > /copied && "
         "stat -c '%a %u %g' /run/secrets/s > /stat", {"token": "hush\n"}, args=("--secret", "id=s,src=token"),
         expect={"/copied": {"text": "hush\n"}, "/stat": {"text": "400 0 0\n"}, "/run/secrets": None},
         known=(Known("docker", "/run/secrets*", "present", False, "RM7", OLD_BUILDKIT),
                Known("buildah", "/run/secrets*", "present", False, "RM7", "it keeps mount stubs"))),
    Case("mount_secret_elsewhere", "RM4", B + "USER app\nRUN --mount=type=secret,id=s,target=/tmp/key,uid=1000,mode=0440 "
         "cp /tmp/key /tmp/out && stat -c '%a %u %g' /tmp/key > /tmp/stat", {"token": "hush\n"},
         args=("--secret", "id=s,src=token"),
         expect={"/tmp/stat": {"text": "440 1000 0\n"}, "/tmp/key": None},
         known=(Known("buildah", "/tmp/key", "present", False, "RM7", "it keeps mount stubs"),)),
    Case("mount_secret_missing", "RM4", B + "RUN --mount=type=secret,id=none test ! -e /run/secrets/none && touch /ok",
         expect={"/ok": {"type": "file"}}),
    Case("mount_secret_in_environment", "RM4", B + "RUN --mount=type=secret,id=s,env=KEY echo $KEY > /out; "
         "test ! -e /run/secrets/s && touch /ok\nRUN echo [$KEY] > /after", {"token": "hush"},
         args=("--secret", "id=s,src=token"), skip=NEW,
         expect={"/out": {"text": "hush\n"}, "/ok": {"type": "file"}, "/after": {"text": "[]\n"}}),
    # COPY: --parents, --exclude, --link
    Case("copy_parents_any_depth", "K28", B + "COPY --parents **/*.txt /x/\nCOPY --parents a/**/y.txt /y/\n"
         "COPY --parents a/./**/*.txt /z/",
         {"r.txt": "r\n", "a/x.txt": "x\n", "a/b/": D(0o710), "a/b/y.txt": "y\n", "a/b/y.md": "m\n"}, skip=NEW,
         expect={"/x/r.txt": {"text": "r\n"}, "/x/a/x.txt": {"text": "x\n"}, "/x/a/b/y.txt": {"text": "y\n"},
                 "/x/a/b": {"mode": "0o710"}, "/x/a/b/y.md": None, "/y/a/b/y.txt": {"text": "y\n"}, "/y/a/x.txt": None,
                 "/z/b/y.txt": {"text": "y\n"}, "/z/x.txt": {"text": "x\n"}, "/z/a": None}),
    Case("copy_parents_folder", "K28", B + "COPY --parents d/sub /x/\nCOPY --parents ./d/./sub/g /y/", TREE, skip=NEW,
         expect={"/x/d": {"mode": "0o700"}, "/x/d/sub": {"mode": "0o711"}, "/x/d/sub/g": {"mode": "0o755"},
                 "/x/d/f": None, "/y/sub/g": {"type": "file"}, "/y/d": None}),
    Case("copy_parents_from_stage", "K28 K17", B.replace("\n", " AS one\n") + "RUN mkdir -p /o/p && echo 1 > /o/p/f && "
         "chown 5:6 /o/p && chmod 700 /o/p\nFROM busybox\nCOPY --parents --from=one /o/p/f /x/", skip=NEW,
         expect={"/x/o/p": {"mode": "0o700", "uid": 5, "gid": 6}, "/x/o/p/f": {"text": "1\n"}}),
    Case("copy_parents_chown", "K28 K25", B + "COPY --parents --chown=7:8 d/sub/g /x/", TREE, skip=NEW,
         expect={"/x": {"uid": 7}, "/x/d": {"uid": 7, "gid": 8}, "/x/d/sub/g": {"uid": 7}}),
    Case("copy_parents_exclude", "K28 K29", B + "COPY --parents --exclude=**/*.md a/b /x/",
         {"a/b/y.txt": "y\n", "a/b/y.md": "m\n", "a/b/c/z.md": "z\n"}, skip=NEW,
         expect={"/x/a/b/y.txt": {"text": "y\n"}, "/x/a/b/y.md": None, "/x/a/b/c/z.md": None}),
    Case("copy_exclude_named_sources", "K29", B + "COPY --exclude=*.txt hom* /x/", {"home.txt": "t\n", "home.md": "m\n"},
         skip=NEW, expect={"/x/home.txt": None, "/x/home.md": {"text": "m\n"}}),
    Case("copy_exclude_any_depth", "K29", B + "COPY --exclude=**/*.log --exclude=!sub/keep.log d /x/",
         {"d/a.log": "", "d/sub/b.log": "", "d/sub/keep.log": "k\n", "d/f": "f\n"}, skip=NEW,
         expect={"/x/a.log": None, "/x/sub/b.log": None, "/x/sub/keep.log": {"text": "k\n"}, "/x/f": {"text": "f\n"}}),
    Case("add_exclude", "K29", B + "ADD --exclude=sub d /x/", TREE, skip=NEW,
         expect={"/x/sub": None, "/x/f": {"text": "f\n"}}),
    Case("copy_link_owner", "K27 K25", B + "COPY --link --chown=5:6 d /new/deep/", TREE, skip=NEW,
         expect={"/new": {"uid": 5, "mode": "0o755"}, "/new/deep/f": {"uid": 5, "gid": 6}}),
    Case("copy_link_chmod", "K27 K26", B + "COPY --link --chmod=0600 d/f /root/f", TREE, skip=NEW,
         expect={"/root/f": {"mode": "0o600"}}),
    Case("copy_link_from_stage", "K27 K40", B.replace("\n", " AS one\n") + "RUN echo 1 > /f && chown 3:4 /f\n"
         "FROM busybox\nRUN mkdir /real && ln -s real /lnk\nCOPY --link --from=one /f /lnk/", skip=NEW,
         expect={"/lnk": {"type": "dir"}, "/lnk/f": {"uid": 3, "gid": 4}, "/real/f": None}),
    Case("copy_link_workdir", "K27 K02", B + "WORKDIR /w\nCOPY --link d/f .\nCOPY --link d sub", TREE, skip=NEW,
         expect={"/w/f": {"text": "f\n"}, "/w/sub/sub/g": {"mode": "0o755"}}),
    # COPY, ADD
    Case("add_archive_zst_frames", "AD1", B + "ADD two.zst /x/", lambda: {
        "two.zst": b"\x50\x2a\x4d\x18\x04\0\0\0skip" + make_tar({"a": "a\n", "b/": D(0o700)}, "zst")}, skip=NEW,
        expect={"/x/a": {"text": "a\n"}, "/x/b": {"mode": "0o700"}}),
    Case("add_unpack_false", "AD5", B + "ADD --unpack=false a.tar /x/\nADD --unpack=true a.tar /y/",
         {"a.tar": make_tar({"in": "i\n"})}, skip=NEW,
         expect={"/x/a.tar": {"type": "file"}, "/x/in": None, "/y/in": {"text": "i\n"}}),
    Case("add_archive_by_link", "AD1 K12", B + "ADD lnk /x/", {"real.tar": make_tar({"in": "i\n"}), "lnk": L("real.tar")}),
    Case("copy_empty_folder", "K04", B + "COPY e /x\nCOPY e /y/z/", {"e/": D(0o700)},
         expect={"/x": {"mode": "0o755"}, "/y/z": {"mode": "0o755"}}),
    Case("copy_from_workdir_is_ignored", "K40", B.replace("\n", " AS one\n") + "WORKDIR /w\nRUN echo 1 > f\nFROM busybox\n"
         "WORKDIR /v\nCOPY --from=one w/f .\nCOPY --from=one w .", expect={"/v/f": {"text": "1\n"}}),
    Case("copy_over_user_folder", "K06 I05", B + "USER app\nWORKDIR /home/app\nCOPY d .\nCOPY d/f made/f", TREE,
         expect={"/home/app": {"uid": 1000, "mode": "0o750"}, "/home/app/f": {"uid": 0},
                 "/home/app/made": {"uid": 0}}),
    Case("copy_name_with_comma_and_spaces", "K01", B + 'COPY ["a, b", "/x/c, d"]\nCOPY a*b /y/', {"a, b": "ab\n"}),
    Case("wildcard_behind_link", "W04 K12", B + "COPY lnk/*.t /x/", {"real/a.t": "a\n", "real/b.t": "b\n", "lnk": L("real")},
         expect={"/x/a.t": {"text": "a\n"}, "/x/b.t": {"text": "b\n"}}),
    Case("wildcard_in_folder_name", "W01 W03", B + "COPY v[0-9]/sub* /x/", {"v1/sub1/a": "a\n", "v2/sub2": "s\n", "vx/sub": ""}),
    Case("copy_from_global_arg", "V16", "ARG WHICH=two\nFROM busybox AS one\nRUN echo 1 > /f\nFROM busybox AS two\n"
         "RUN echo 2 > /f\nFROM busybox\nCOPY --from=$WHICH /f /g", expect={"/g": {"text": "2\n"}},
         skip={"docker": "V16: it refuses", "buildah": NO_BUILDAH}),
    Case("stage_names_twice", "K42", "FROM busybox AS one\nRUN echo 1 > /f\nFROM one AS one\nRUN echo 2 >> /f\n"
         "FROM busybox\nCOPY --from=one /f /f", skip={"buildah": "K42: it refuses or takes the first"},
         expect={"/f": {"text": "1\n2\n"}}),
    # Variables
    Case("expand_not_commands", "V15", B + "ENV A=env\nARG B=arg\nCMD echo $A ${B} \\$A\nENTRYPOINT [\"$A\", \"${B:-x}\"]\n"
         "HEALTHCHECK CMD test $A\nRUN A=shell; echo $A > /a", expect={"/a": {"text": "shell\n"}},
         config={"Entrypoint": ["$A", "${B:-x}"]}),
    Case("expand_special_parameters", "V12", B + "ENV A=[$1] B=[$@] C=[${1:-x}] D=a$",
         config={"Env": [PATH, "A=[]", "B=[]", "C=[x]", "D=a$"]}, skip={"buildah": "V12: positional names stay there"}),
    Case("expose_splits", "V18", B + "ARG P=\"3000 4000/udp\"\nEXPOSE $P 80",
         config={"ExposedPorts": ["3000/tcp", "4000/udp", "80/tcp"]}, skip={"docker": OLD_BUILDKIT,
         "buildah": "V18: one port with a space there"}),
    Case("expand_keys", "V19", B + "ARG K=name\nENV $K=v\nLABEL $K.x=w\nENV after=$name",
         config={"Env": [PATH, "name=v", "after=v"], "Labels": {"name.x": "w"}}),
    Case("expand_base_env", "V20", B.replace("\n", " AS one\n") + "ENV A=base\nFROM one\nENV PATH=$PATH:/more B=$A-$A\nCOPY a /$A/",
         {"a": "a\n"}, known=(Known("buildah", "config", "Env", ANY, "I01", "it moves changed variables to the end"),),
         config={"Env": [PATH + ":/more", "A=base", "B=base-base"]}, expect={"/base/a": {"text": "a\n"}}),
    Case("arg_default_lazy", "A07", B + "ARG A\nARG C=${A:?must be given}\nRUN echo $C > /c", args=("--build-arg", "C=1"),
         expect={"/c": {"text": "1\n"}}, skip=NEW),
    Case("arg_proxy", "A10", B + "RUN env | grep -i 'ftp_proxy' | sort > /env", args=("--build-arg", "FTP_PROXY=http://p:1"),
         expect={"/env": {"text": "FTP_PROXY=http://p:1\nftp_proxy=http://p:1\n"}},
         known=(Known("buildah", "/env", "s*", ANY, "A10", "it sets the spelling that was given"),)),
    Case("arg_platform", "A11", B + "ARG TARGETOS\nARG TARGETPLATFORM BUILDOS\nRUN echo $TARGETOS $BUILDOS $TARGETARCH > /p",
         args=("--platform", "linux/amd64"), expect={"/p": {"text": "linux linux\n"}}),
    Case("arg_platform_global", "A11 F04", "FROM --platform=$BUILDPLATFORM busybox\nARG TARGETOS\nRUN echo $TARGETOS > /p",
         expect={"/p": {"text": "linux\n"}}, skip={"buildah": "its short names do not reach a platform here"}),
    Case("arg_target_stage", "A12", "ARG TARGETSTAGE\nFROM busybox AS last\nARG TARGETSTAGE\nRUN echo $TARGETSTAGE > /p",
         expect={"/p": {"text": "last\n"}}, skip=NEW),
    Case("arg_builder_settings", "A13", B + "RUN env | grep -c BUILDKIT_ > /n || true", args=(
        "--build-arg", "BUILDKIT_INLINE_CACHE=0", "--build-arg", "BUILDKIT_CACHE_MOUNT_NS=x"),
        expect={"/n": {"text": "0\n"}}),
    Case("arg_quotes", "A17", "ARG IMAGE=\"busybox\"\nARG TAG='latest'\nFROM $IMAGE:${TAG}\nARG Q=\"a b\" R='c d' S=e\\ f\n"
         "RUN echo \"$Q|$R|$S\" > /q", expect={"/q": {"text": "a b|c d|e f\n"}}),
    Case("arg_in_workdir_and_user", "V14", B + "ARG U=app\nARG D=srv\nWORKDIR /$D/${U}\nUSER ${U}:extra\nRUN id -g > /tmp/g && pwd >> /tmp/g",
         expect={"/tmp/g": {"text": "2000\n/srv/app\n"}}),
    Case("directive_syntax", "D05", "# syntax=docker/dockerfile:1\nFROM busybox\nRUN touch /a\n",
         expect={"/a": {"type": "file"}}, skip={"docker": "it fetches the front end"}),
    # Stages, triggers, metadata
    Case("onbuild_copies_from_stage", "I13 K40", "FROM busybox AS files\nRUN echo 1 > /f\nFROM busybox AS parent\n"
         "ONBUILD COPY --from=files /f /given\nONBUILD RUN cat /given > /twice\nFROM parent\nRUN cat /given >> /twice",
         skip={"docker": OLD_BUILDKIT, "buildah": "I13: it looks for an image of the stage's name"},
         expect={"/twice": {"text": "1\n1\n"}}),
    Case("onbuild_heredoc", "H13", "FROM busybox AS parent\nONBUILD COPY <<E /given\nline\nE\nFROM parent\nRUN cat /given > /out",
         skip=NEW, expect={"/given": {"text": "line\n"}, "/out": {"text": "line\n"}}, config={}),
    Case("onbuild_not_inherited_twice", "I13", "FROM busybox AS a\nONBUILD RUN echo x >> /t\nFROM a AS b\nFROM b\nRUN echo y >> /t",
         expect={"/t": {"text": "x\ny\n"}}),
    Case("base_configuration", "F08", "FROM busybox AS base\nENV A=1\nLABEL a=1\nEXPOSE 1\nVOLUME /v\nUSER app\nWORKDIR /w\n"
         "STOPSIGNAL 9\nHEALTHCHECK CMD true\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\nFROM base\nLABEL b=2\nEXPOSE 2",
         config={"Labels": {"a": "1", "b": "2"}, "ExposedPorts": ["1/tcp", "2/tcp"], "Entrypoint": ["e"], "Cmd": ["c"]}),
    Case("meta_empty_forms", "C05", B + "ENTRYPOINT [\"x\"]\nCMD [\"y\"]\nENTRYPOINT []\nCMD []",
         config={"Entrypoint": None, "Cmd": None}),
    Case("volume_keeps_changes", "I04", B + "RUN mkdir /data && echo 1 > /data/f\nVOLUME /data\nRUN echo 2 >> /data/f\nCOPY a /data/a",
         {"a": "a\n"}, expect={"/data/f": {"text": "1\n2\n"}, "/data/a": {"text": "a\n"}},
         known=(Known("buildah", "/data*", "*", ANY, "I04", "it may discard changes below a volume"),)),
    Case("workdir_dots_and_slashes", "I07", B + "WORKDIR /a//b/../c/\nWORKDIR ./d/.\nRUN pwd > /pwd",
         expect={"/pwd": {"text": "/a/c/d\n"}}),
    Case("workdir_then_user_owner", "I08", B + "WORKDIR /one\nUSER 77:88\nWORKDIR /two/three\nUSER root\nWORKDIR /two/four",
         expect={"/one": {"uid": 0}, "/two": {"uid": 77, "gid": 88}, "/two/three": {"uid": 77}, "/two/four": {"uid": 0}}),
    Case("user_by_number_with_groups", "I06", B + "USER 1000\nRUN id -u > /tmp/i && id -g >> /tmp/i\nUSER app:1\nRUN id -g >> /tmp/i",
         expect={"/tmp/i": {"text": "1000\n1000\n1\n"}}),
]
