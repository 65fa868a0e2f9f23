"""Differential cases: RUN, WORKDIR, USER, variables, metadata and stages (reference/dockerfile.md 1.3-1.8, 1.12, 1.13)."""

from cases import ANY, Case, Known
from cases_copy import B, NO_BUILDAH, OLD_BUILDKIT
from contexts import F

CASES = [
    # RUN and what it leaves
    Case("run_creates", "R01 R06",
         B + "RUN mkdir -p /n/a && echo hi > /n/a/f && chmod 640 /n/a/f && ln -s f /n/a/l && touch /n/empty"),
    Case("run_deletes_base_files", "O10", B + "RUN rm /etc/os-release && rm -r /usr/lib/old && rm /bin/vi"),
    Case("run_deletes_earlier_layer", "O10", B + "COPY . /x/\nRUN rm -r /x/a /x/b/c\nRUN rm -r /x/b", {"a/f": "f\n",
         "b/c": "c\n", "b/d": "d\n"}),
    Case("run_replaces_folder", "O10", B + "RUN rm -r /usr/lib/old && mkdir /usr/lib/old && echo n > /usr/lib/old/new",
         expect={"/usr/lib/old/a": None, "/usr/lib/old/new": {"text": "n\n"}}),
    Case("run_replaces_nested_folder", "O10",
         B + "RUN rm -r /usr/lib/old/sub && mkdir /usr/lib/old/sub && chmod 700 /usr/lib/old/sub"),
    Case("run_changes_types", "O10", B +
         "RUN rm -r /usr/lib/old && echo f > /usr/lib/old && rm /etc/os-release && mkdir -p /etc/os-release/d && "
         "rm /etc/group && ln -s passwd /etc/group\n"
         "RUN rm /usr/lib/old && mkdir /usr/lib/old && rm -r /etc/os-release && echo x > /etc/os-release"),
    Case("run_renames_folder", "O10", B + "RUN mv /usr/lib/old /usr/lib/new && mv /etc/os-release /etc/release"),
    Case("run_recreates_deleted", "O10", B + "COPY a /x/a\nRUN rm /x/a\nRUN echo again > /x/a\nRUN rm -r /x\n"
         "COPY a /x/b", {"a": "a\n"}),
    Case("run_changes_metadata", "O10",
         B + "RUN chmod 600 /etc/passwd && chown 5:6 /usr/lib/old && chmod 2750 /usr/lib/old/sub && chown -h 7:7 /bin/vi"),
    Case("run_chmod_twice", "O10", B + "RUN chmod 4755 /bin/busybox\n"
         "RUN chown 1:1 /bin/busybox && chmod 755 /bin/busybox"),
    Case("run_hard_links", "K14",
         B + "RUN echo a > /a && ln /a /b && mkdir /d && ln /b /d/c && ln /etc/passwd /etc/pw2"),
    Case("run_special_files", "K19",
         B + "RUN mkfifo -m 600 /p && mknod -m 666 /zero c 1 5 && mkdir -m 1777 /t && touch /s && chmod 6755 /s"),
    Case("run_odd_names", "O10", B + "RUN mkdir -p /x/$(printf 'n%.0s' $(seq 100))/$(printf 'm%.0s' $(seq 150)) && "
         "touch \"/x/a b\" '/x/ü' '/x/-' && mkdir /x/.wh-like"),
    Case("run_big_file", "R06", B + "RUN dd if=/dev/zero of=/z bs=1024 count=3000 2>/dev/null && seq 1 20000 > /n && "
         "dd if=/dev/zero of=/hole bs=1 count=1 seek=1000000 2>/dev/null"),
    Case("run_changes_nothing", "R06", B + "RUN true\nRUN :"),
    Case("run_exec_form", "R02", B + 'RUN ["touch", "/a b", "/$HOME"]\n'
         'RUN ["/bin/sh", "-c", "echo $HOME > /home.txt"]'),
    Case("run_environment", "R03 A06", B + "ENV E1=one E2=\"t w o\"\nARG A1=x\nARG A2\nARG A3=\n"
         "RUN env | grep -E '^(E1|E2|A1|A2|A3|PATH|HOME|PWD)=' | sort > /env && pwd > /pwd && umask > /umask && id > /id",
         known=(Known("docker", "/id", "s*", ANY, "I06",
         "its runtime does not add the primary group to the supplementary ones"),)),
    Case("run_as_user", "I05 I06 R04", B + "USER app\nWORKDIR /home/app\n"
         "RUN id > id && touch f && mkdir -m 0700 d && env | grep ^HOME= > home\n"
         "USER 1000:2000\nRUN id > id2\nUSER 4321\nRUN touch /tmp/f && id > /tmp/id",
         known=(Known("docker", "*/id*", "s*", ANY, "I06",
         "its runtime does not add the primary group to the supplementary ones"),)),
    Case("run_mount_stubs_absent", "N02 RM7", "FROM scratch\nCOPY bin /bin\nRUN [\"/bin/busybox\", \"touch\", \"/f\"]",
         lambda: {"bin/busybox": F(busybox(), 0o755)},
         known=(Known("docker", "/*", "present", False, "RM7", OLD_BUILDKIT),
                Known("buildah", "/*", "present", False, "RM7", "it keeps mount stubs"),)),
    Case("run_resolver_files_not_kept", "N02", B + "RUN test -e /etc/resolv.conf && test -e /etc/hosts && touch /done",
         expect={"/etc/resolv.conf": None, "/etc/hosts": None}),
    Case("run_stdin_is_empty", "R10", B + "RUN cat > /in; echo done > /out"),
    Case("run_continuations", "P06 P08 P09", "# c\n" + B + "RUN echo a > /a && \\\n# comment\n\n   echo \"b \\\n"
         "  c\" > /b \\\n  && echo d > /d\n"),
    Case("run_cache_and_tmpfs_mount", "RM2 RM3", B + "RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t "
         "echo 1 > /c/f && echo 2 > /t/f && cat /c/f /t/f > /out",
         known=(Known("docker", "/[ct]", "present", False, "RM7", OLD_BUILDKIT),)),
    Case("heredoc_run", "H08 H09 H10", B + "RUN <<E\necho one > /one\necho $((1+1)) > /two\nE\n"
         "RUN <<E\n#!/bin/busybox sh\necho $0 > /self\nE\nRUN cat <<A > /a && cat <<B > /b\nin a\nA\nin b\nB\n",
         skip={"docker": OLD_BUILDKIT, "buildah": NO_BUILDAH},
         expect={"/two": {"text": "2\n"}, "/a": {"text": "in a\n"}, "/b": {"text": "in b\n"},
         "/self": {"text": "/dev/pipes/E\n"}}),
    # WORKDIR, USER
    Case("workdir_creates", "I07 I08", B + "WORKDIR /a/b\nWORKDIR c\nWORKDIR ../d\nRUN pwd > /pwd"),
    Case("workdir_existing_keeps", "I08", B + "WORKDIR /home/app\nWORKDIR /root"),
    Case("workdir_through_link", "I08", B + "RUN mkdir /real && ln -s /real /lnk\nWORKDIR /lnk/sub\nRUN touch f"),
    Case("workdir_of_user", "I08", B + "USER app\nWORKDIR /srv/app/x\n", expect={"/srv": {"uid": 1000},
         "/srv/app/x": {"uid": 1000, "mode": "0o755"}}),
    Case("workdir_variable", "V13 V14", B + "ENV D=/v/w\nWORKDIR $D\nWORKDIR ${E:-x}\nCOPY a .", {"a": "a\n"}),
    # ENV, ARG
    Case("env_forms", "I01 P16", B + "ENV A=1 B=\"2 3\" C='4  5' D=6\\ 7\nENV LEGACY some  text here\nENV A=again\n"
         "ENV E= F=\"\"",
         config={"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "A=again", "B=2 3",
         "C=4  5", "D=6 7",
                         "LEGACY=some  text here", "E=", "F="]}),
    Case("env_expansion", "V01 V02 V03", B + "ENV S=set N=\n"
         "ENV A=${S:-d} B=${N:-d} C=${U:-d} D=${S:+a} E=${N:+a} F=${U:+a} G=$S-$U-$N H=${S}x"),
    Case("env_expansion_colonless", "V02 V03", B + "ENV S=set N=\n"
         "ENV A=${S-d} B=${N-d} C=${U-d} D=${S+a} E=${N+a} F=${U+a}",
         skip={"buildah": "V02: no colonless forms there", "docker": OLD_BUILDKIT},
         config={"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "S=set", "N=", "A=set",
         "B=", "C=d", "D=a",
                         "E=a", "F="]}),
    Case("env_expansion_patterns", "V05 V06", B + "ENV V=1.22.333 T=feat/a/b\n"
         "ENV A=${V#*.} B=${V##*.} C=${V%.*} D=${V%%.*} E=${T/\\//-} F=${T//\\//-}",
         skip={"buildah": NO_BUILDAH, "docker": OLD_BUILDKIT},
         config={"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "V=1.22.333",
         "T=feat/a/b", "A=22.333",
                         "B=333", "C=1.22", "D=1", "E=feat-a/b", "F=feat-a-b"]}),
    Case("env_quotes", "V09 V10 V11", B + "ENV X=v\n"
         "ENV A='$X' B=\"$X\" C=\\$X D=\"\\$X\" E=\"a\\\"b\" F=a\\nb G=\"a\\nb\""),
    Case("env_nested_default", "V07", B + "ENV X=v\nENV A=${U:-${X}y} B=${U:-\"q ${W:-z}\"}"),
    Case("env_snapshot", "V17", B + "ENV abc=hello\nENV abc=bye def=$abc\nENV ghi=$abc"),
    Case("env_reaches_other_instructions", "V14", B + "ENV U=app P=8080 L=lab D=/data S=9\n"
         "USER $U\nEXPOSE $P\nLABEL $L=$P\nVOLUME $D\nSTOPSIGNAL $S\nCOPY a $D/", {"a": "a\n"}),
    Case("arg_scopes", "A01 A02 A03", "ARG TAG=latest\nARG G=global\nFROM busybox:$TAG\nARG G\nARG L=local\n"
         "ARG O=default\nARG N\n"
         "RUN echo \"$G|$L|$O|$N\" > /args\nLABEL g=$G o=$O", args=("--build-arg", "O=over", "--build-arg", "N=now")),
    Case("arg_overrides_global", "A03", "ARG G=one\nFROM busybox\nARG G=two\nRUN echo $G > /g\n"),
    Case("arg_and_env", "A04", B + "ARG X=arg\nENV X=env\nRUN echo $X > /x\nENV Y=$X"),
    Case("arg_of_stage_only", "A05", B.replace("\n", " AS a\n") + "ARG X=1\nRUN echo $X > /a\nFROM busybox\n"
         "RUN echo \"[$X]\" > /b\nCOPY --from=a /a /"),
    # Metadata
    Case("meta_many", "I02 I03 I04 I05 I09 I15", B + "LABEL a=1 \"b c\"=\"d e\" a=2\nEXPOSE 80 53/UDP 9000-9002\n"
         "EXPOSE 80/tcp\nVOLUME /v1 /v2\n"
         "VOLUME [\"/v 3\"]\nUSER app:extra\nSTOPSIGNAL SIGTERM",
         known=(Known("buildah", "config", "ExposedPorts", ["53/udp", "80/tcp", "9000/tcp", "9001/tcp", "9002/tcp"],
         "I03",
                      "it keeps ranges and case as written"),)),
    Case("meta_healthcheck", "I10",
         B + "HEALTHCHECK --interval=5m --timeout=3s --start-period=10s --retries=4 CMD test -e / || exit 1"),
    Case("meta_healthcheck_exec", "I10", B + 'HEALTHCHECK CMD ["/bin/true", "x"]'),
    Case("meta_healthcheck_none", "I11", B + "HEALTHCHECK CMD true\nHEALTHCHECK none"),
    Case("meta_cmd_exec", "C01 C04", B + 'CMD ["a"]\nCMD ["b", "c d"]'),
    Case("meta_cmd_shell", "C02", B + "CMD echo $HOME && ls"),
    Case("meta_entrypoint_clears_base_cmd", "C03", B + 'ENTRYPOINT ["/e"]'),
    Case("meta_entrypoint_keeps_stage_cmd", "C03", B + 'CMD ["c"]\nENTRYPOINT ["/e", "x"]'),
    Case("meta_entrypoint_shell", "C02", B + "ENTRYPOINT exec top -b\nCMD [\"x\"]"),
    Case("meta_shell", "C07", B + 'SHELL ["/bin/sh", "-ec"]\nRUN echo $0 $- > /s\nCMD echo hi\nHEALTHCHECK CMD true',
         known=(Known("buildah", "config", "Cmd", ["/bin/sh", "-ec", "echo hi"], "C07", "its CMD ignores SHELL"),)),
    Case("meta_maintainer", "I14", B + "MAINTAINER Some Body <s@example.com>"),
    Case("meta_onbuild_stored", "I12", B + "ONBUILD COPY . /app\nONBUILD RUN echo $X"),
    Case("meta_label_flag", "I02", B + "LABEL a=1 b=2", args=("--label", "b=3", "--label", "c=4")),
    Case("onbuild_fires", "I13 F07", B.replace("\n", " AS base\n") + "ONBUILD RUN echo 1 >> /t\nONBUILD COPY a /onb\n"
         "ONBUILD ENV K=v\n"
         "FROM base\nRUN echo 2 >> /t", {"a": "a\n"}, expect={"/t": {"text": "1\n2\n"}, "/onb": {"text": "a\n"}}),
    # Stages
    Case("stage_inherits", "F07 F08", B.replace("\n", " AS one\n") + "ENV A=1\nWORKDIR /w\nUSER app\nLABEL l=1\n"
         "EXPOSE 1\nRUN touch /tmp/1\n"
         "FROM one\nRUN id -u > /tmp/2 && pwd >> /tmp/2 && echo $A >> /tmp/2"),
    Case("stage_target", "S02", B.replace("\n", " AS one\n") + "RUN touch /1\nFROM busybox AS two\nRUN touch /2\n"
         "FROM one AS three\nRUN touch /3",
         args=("--target", "one"), expect={"/1": {"type": "file"}, "/3": None}),
    Case("stage_unreached", "S01", "FROM no-such-image-anywhere AS never\nRUN false\nFROM busybox\nRUN touch /ok",
         skip={"buildah": "S01: it looks up images of unreached stages"}, expect={"/ok": {"type": "file"}}),
    Case("stage_chain", "F07 K40", "FROM busybox AS a\nRUN echo a > /a\nFROM a AS b\nRUN echo b > /b && rm /a\n"
         "FROM b AS c\n"
         "COPY --from=a /a /from-a\nRUN cat /b /from-a > /c\nFROM busybox\nCOPY --from=c /c /b /res/"),
    Case("from_scratch_files", "F06", "FROM scratch\nCOPY a /a\nCOPY a /etc/x/\nCMD [\"/a\"]", {"a": F("a\n", 0o755)}),
    Case("from_only", "F15", B),
    Case("directive_escape", "D04", "# escape=`\nFROM busybox\nRUN echo a `\n > /a && echo 'b`\\' > /b\nENV A=x`\n"),
    Case("lower_case_file", "P11 P02", "from busybox\r\nrun touch /a\r\nenv X=1\r\ncopy a /\r\n", {"a": "a\n"}),
]


def busybox():
    from support import static_busybox
    with open(static_busybox(), "rb") as f:
        return f.read()
