"""The recipes and single-input mutations of mutation_test.py."""

import dataclasses
import os
import shutil

from contexts import D, F, H, L, make_tar

# What a mutation does to a build with a cache. The image is always that of a build without one.
NOTHING = "nothing"   # no step runs, and the image is the same
CONFIG = "config"     # no step runs; the config or its history is another
SAME = "same"         # steps may run; the image is the same
DIFFERS = "differs"   # the image is another
ANY = "any"


@dataclasses.dataclass
class Recipe:
    name: str
    dockerfile: str
    files: dict
    args: tuple = ()
    table: tuple = ()   # (name, effect, change): see change_of()
    # {path: effect of a change of what it holds}; folders end in a slash. Paths that are left out get no mutation.
    watched: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Change:
    """`apply` takes the context folder and changes it; the whole folder is put back afterwards."""
    name: str
    recipe: Recipe
    effect: str
    change: object = None
    args: tuple = ()
    env: dict = None

    def apply(self, folder):
        """Makes the change in place. Returns what takes it back."""
        backup = folder + ".backup"
        shutil.rmtree(backup, ignore_errors=True)
        os.system(f"cp -a '{folder}' '{backup}'")
        if self.change:
            self.change(folder)

        def undo():
            shutil.rmtree(folder)
            os.rename(backup, folder)
        return undo


def line(old, new):
    """Replaces text of the Dockerfile; it must be there once."""
    def change(folder):
        path = f"{folder}/Dockerfile"
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if text.count(old) != 1:
            raise AssertionError(f"{old!r} is in the Dockerfile {text.count(old)} times")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
    return change


def write(path, data):
    def change(folder):
        target = os.path.join(folder, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as f:
            f.write(data if isinstance(data, bytes) else data.encode())
    return change


def on(path, function):
    return lambda folder: function(os.path.join(folder, path))


def same_size(path):
    """Other bytes, same size and times: only ctime tells."""
    def change(folder):
        target = os.path.join(folder, path)
        before = os.stat(target)
        with open(target, "r+b") as f:
            first = f.read(1)
            f.seek(0)
            f.write(bytes([first[0] ^ 1]))
        os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    return change


def relink(target):
    return lambda path: (os.unlink(path), os.symlink(target, path))


def renamed(old, new):
    return lambda folder: os.rename(os.path.join(folder, old), os.path.join(folder, new))


def replaced_by_copy(path):
    shutil.copy2(path, path + ".new")
    os.rename(path + ".new", path)


COPY = Recipe("copy", """FROM busybox
ARG UNUSED=1
ARG DIR=/x
ENV MODE=dev
LABEL l=1
WORKDIR /w
COPY . $DIR/
COPY --chown=1:2 src/a b /y/
COPY --chmod=640 exe /z/exe
USER app
EXPOSE 1
VOLUME /v
STOPSIGNAL 9
CMD ["c"]
""", {"src/a": "a\n", "src/b": F("b\n", 0o600), "src/sub/c": "c\n", "src/sub/d": F("d\n", 0o755), "b": "bb\n", "lnk": L("src/a"),
      "exe": F("#!/bin/sh\n", 0o755), "one": "shared\n", "two": H("one"), "dir/": D(0o750), "dir/in": "in\n", "void/": D(),
      ".dockerignore": "ignored\n*.log\nDockerfile\n.dockerignore\n", "ignored/f": "i\n", "n.log": "n\n"},
      watched={"src/a": DIFFERS, "src/b": DIFFERS, "src/sub/c": DIFFERS, "src/sub/d": DIFFERS, "b": DIFFERS, "exe": DIFFERS,
               "dir/in": DIFFERS, "dir/": DIFFERS, "src/": DIFFERS, "src/sub/": DIFFERS, "void/": DIFFERS,
               "ignored/f": NOTHING, "n.log": NOTHING, "ignored/": NOTHING},
      table=(
          ("env_value", CONFIG, line("MODE=dev", "MODE=prod")),
          ("env_name", CONFIG, line("MODE=dev", "MODUS=dev")),
          ("env_more", CONFIG, line("MODE=dev", "MODE=dev MORE=1")),
          ("label", CONFIG, line("LABEL l=1", "LABEL l=2")),
          ("workdir", DIFFERS, line("WORKDIR /w", "WORKDIR /ww")),
          ("destination", DIFFERS, line("COPY . $DIR/", "COPY . $DIR/deeper/")),
          ("destination_spelling", ANY, line("COPY . $DIR/", "COPY . $DIR")),
          ("chown", DIFFERS, line("--chown=1:2", "--chown=1:3")),
          ("chown_none", DIFFERS, line("--chown=1:2 ", "")),
          ("chown_name", DIFFERS, line("--chown=1:2", "--chown=app")),
          ("chmod", DIFFERS, line("--chmod=640", "--chmod=600")),
          ("source_order", ANY, line("src/a b /y/", "b src/a /y/")),
          ("source_less", DIFFERS, line("src/a b /y/", "src/a /y/")),
          ("copy_gone", DIFFERS, line("COPY --chmod=640 exe /z/exe\n", "")),
          ("link_flag", ANY, line("COPY . $DIR/", "COPY --link . $DIR/")),
          ("user", CONFIG, line("USER app", "USER daemon")),
          ("user_before_copy", ANY, line("LABEL l=1\n", "LABEL l=1\nUSER 5\n")),
          ("expose", CONFIG, line("EXPOSE 1", "EXPOSE 2")),
          ("volume", CONFIG, line("VOLUME /v", "VOLUME /u")),
          ("stop_signal", CONFIG, line("STOPSIGNAL 9", "STOPSIGNAL 15")),
          ("cmd", CONFIG, line('CMD ["c"]', 'CMD ["d"]')),
          ("entrypoint", CONFIG, line('CMD ["c"]', 'ENTRYPOINT ["c"]')),
          ("healthcheck", CONFIG, line('CMD ["c"]', 'CMD ["c"]\nHEALTHCHECK CMD true')),
          ("onbuild", CONFIG, line('CMD ["c"]', 'CMD ["c"]\nONBUILD RUN true')),
          ("shell", CONFIG, line('CMD ["c"]', 'CMD ["c"]\nSHELL ["/bin/sh", "-ec"]')),
          ("maintainer", CONFIG, line('CMD ["c"]', 'CMD ["c"]\nMAINTAINER me')),
          ("comment", NOTHING, line("LABEL l=1", "# new\n\nLABEL l=1")),
          ("case_of_keyword", NOTHING, line("LABEL l=1", "label l=1")),
          ("stage_name", NOTHING, line("FROM busybox", "FROM busybox AS named")),
          ("unreached_stage", NOTHING, line("FROM busybox", "FROM other AS never\nCOPY b /\nFROM busybox")),
          ("base", DIFFERS, line("FROM busybox", "FROM other")),
          ("arg_unused_default", CONFIG, line("UNUSED=1", "UNUSED=2")),
          ("arg_unused", CONFIG, ("--build-arg", "UNUSED=3")),
          ("arg_used", DIFFERS, ("--build-arg", "DIR=/elsewhere")),
          ("arg_used_same_value", NOTHING, ("--build-arg", "DIR=/x")),
          ("arg_undeclared", NOTHING, ("--build-arg", "NOBODY=1")),
          ("label_flag", CONFIG, ("--label", "m=1")),
          ("tag", NOTHING, ("-t", "some:tag")),
          ("jobs", NOTHING, ("--jobs", "1")),
          ("epoch", DIFFERS, {"SOURCE_DATE_EPOCH": "1400000000"}),
          ("link_target", DIFFERS, on("lnk", relink("src/b"))),
          ("link_becomes_file", DIFFERS, lambda d: (os.unlink(d + "/lnk"), write("lnk", "a\n")(d))),
          ("file_becomes_link", DIFFERS, on("dir/in", relink("../b"))),
          ("file_becomes_folder", DIFFERS, lambda d: (os.unlink(d + "/dir/in"), os.mkdir(d + "/dir/in"))),
          ("folder_becomes_file", DIFFERS, lambda d: (os.rmdir(d + "/void"), write("void", "")(d))),
          ("empty_folder_gone", DIFFERS, on("void", os.rmdir)),
          ("hard_link_cut", ANY, on("two", replaced_by_copy)),
          ("hard_link_more", ANY, lambda d: os.link(d + "/one", d + "/dir/three")),
          ("xattr", ANY, on("b", lambda p: os.setxattr(p, "user.note", b"1"))),
          ("setuid", DIFFERS, on("exe", lambda p: os.chmod(p, 0o4755))),
          ("fifo", DIFFERS, on("dir/fifo", os.mkfifo)),
          ("owner_of_file", NOTHING, on("b", lambda p: os.chown(p, 7, 8))),
          ("ignore_comment", NOTHING, write(".dockerignore", "# c\nignored\n*.log\nDockerfile\n.dockerignore\n")),
          ("ignore_pattern_without_match", NOTHING, write(".dockerignore", "ignored\n*.log\nDockerfile\n.dockerignore\n*.o\n")),
          ("ignore_more", DIFFERS, write(".dockerignore", "ignored\n*.log\nDockerfile\n.dockerignore\nsrc/sub\n")),
          ("ignore_less", DIFFERS, write(".dockerignore", "ignored\nDockerfile\n.dockerignore\n")),
          ("ignore_exception", DIFFERS, write(".dockerignore", "ignored\n*.log\n!n.log\nDockerfile\n.dockerignore\n")),
          ("ignore_gone", DIFFERS, on(".dockerignore", os.unlink)),
          ("ignore_of_dockerfile", DIFFERS, write("Dockerfile.dockerignore", "void\nDockerfile*\n.dockerignore\n")),
          ("ignored_more", NOTHING, write("ignored/more", "m\n")),
          ("ignored_gone", NOTHING, on("ignored", shutil.rmtree)),
          ("ignored_log", NOTHING, write("new.log", "m\n")),
      ))

FLAGS = Recipe("flags", """FROM scratch
ARG V=1
COPY foo* /f/
COPY --link src /s
ADD a.tar /t/
COPY --parents src/**/*.txt /p/
COPY --exclude=*.md docs /d/
COPY <<E /h
body $V
E
ENTRYPOINT ["x"]
""", {"foo1": "1\n", "foo2": "2\n", "src/a.txt": "a\n", "src/sub/b.txt": "b\n", "src/sub/c": "c\n",
      "a.tar": make_tar({"in": "in\n", "d/": D(0o700)}), "docs/x.md": "x\n", "docs/y": "y\n", "elsewhere": "e\n"},
      watched={"foo1": DIFFERS, "src/a.txt": DIFFERS, "src/sub/b.txt": DIFFERS, "src/sub/c": DIFFERS, "src/sub/": DIFFERS,
               "docs/y": DIFFERS, "docs/x.md": NOTHING, "elsewhere": NOTHING},
      table=(
          ("wildcard_rename", DIFFERS, renamed("foo1", "foo3")),
          ("wildcard_more", DIFFERS, write("foo9", "9\n")),
          ("wildcard_less", DIFFERS, on("foo1", os.unlink)),
          ("wildcard_no_match", NOTHING, write("fo", "9\n")),
          ("wildcard_pattern", CONFIG, line("foo*", "foo?")),
          ("parents_more", DIFFERS, write("src/sub/deep/n.txt", "n\n")),
          ("excluded_more", NOTHING, write("docs/new.md", "n\n")),
          ("excluded_gone", NOTHING, on("docs/x.md", os.unlink)),
          ("excluded_below", DIFFERS, write("docs/sub/new.md", "n\n")),
          ("exclude_flag", DIFFERS, line("--exclude=*.md", "--exclude=*.txt")),
          ("exclude_none", DIFFERS, line("--exclude=*.md ", "")),
          ("exclude_same_effect", SAME, line("--exclude=*.md", "--exclude=x.md")),
          ("parents_none", DIFFERS, line("--parents src/**/*.txt", "src/*.txt")),
          ("parents_pivot", DIFFERS, line("src/**/*.txt", "src/./**/*.txt")),
          ("archive_member", DIFFERS, write("a.tar", make_tar({"in": "other\n", "d/": D(0o700)}))),
          ("archive_member_mode", DIFFERS, write("a.tar", make_tar({"in": F("in\n", 0o600), "d/": D(0o700)}))),
          ("archive_member_owner", DIFFERS, write("a.tar", make_tar({"in": F("in\n", uid=5), "d/": D(0o700)}))),
          ("archive_member_time", SAME, write("a.tar", make_tar({"in": F("in\n", mtime=1600000000), "d/": D(0o700)}))),
          ("archive_compressed", SAME, write("a.tar", make_tar({"in": "in\n", "d/": D(0o700)}, "xz"))),
          ("archive_not", DIFFERS, write("a.tar", "text\n")),
          ("archive_not_unpacked", DIFFERS, line("ADD a.tar", "ADD --unpack=false a.tar")),
          ("heredoc_body_copy", DIFFERS, line("body $V", "text $V")),
          ("heredoc_quoted", DIFFERS, line("COPY <<E", "COPY <<'E'")),
          ("heredoc_name", ANY, lambda d: (line("COPY <<E", "COPY <<F")(d), line("$V\nE", "$V\nF")(d))),
          ("heredoc_mode", DIFFERS, line("COPY <<E", "COPY --chmod=600 <<E")),
          ("arg_in_heredoc", DIFFERS, ("--build-arg", "V=2")),
          ("link_flag_gone", SAME, line("--link ", "")),
          ("platform", DIFFERS, ("--platform", "linux/arm64")),
          ("platform_variant", DIFFERS, ("--platform", "linux/arm/v6")),
          ("file_not_needed", NOTHING, write("also/elsewhere", "e\n")),
          ("dockerfile_name", NOTHING, lambda d: shutil.copy(d + "/Dockerfile", d + "/unused.Dockerfile")),
      ))

STAGES = Recipe("stages", """ARG WHICH=one
FROM scratch AS one
COPY one /one
COPY two /two
FROM scratch AS b
ARG B=1
ENV B=$B
COPY three /
FROM scratch AS unused
COPY four /
FROM busybox
COPY --from=one /one /o
COPY --from=b / /b/
COPY --from=other /etc/extra /extra
COPY --from=named /file /named
""", {"one": "1\n", "two": "2\n", "three": "3\n", "four": "4\n", "named/file": "n\n", "named/spare": "s\n"},
      args=("--build-context", "named=named"),
      watched={"one": DIFFERS, "two": SAME, "three": DIFFERS, "four": NOTHING, "named/file": DIFFERS, "named/spare": NOTHING},
      table=(
          ("stage_order", SAME, line("COPY one /one\nCOPY two /two", "COPY two /two\nCOPY one /one")),
          ("stage_more", SAME, line("COPY two /two", "COPY two /two\nCOPY three /three")),
          ("stage_label", NOTHING, line("COPY two /two", "COPY two /two\nLABEL a=1")),
          ("stage_env", NOTHING, line("ENV B=$B", "ENV B=$B C=1")),
          ("stage_arg", NOTHING, ("--build-arg", "B=2")),
          ("stage_renamed", NOTHING, lambda d: (line("AS b\n", "AS c\n")(d), line("--from=b", "--from=c")(d))),
          ("stage_by_number", NOTHING, line("--from=b", "--from=1")),
          ("stage_of_copy", DIFFERS, line("--from=one /one", "--from=b /three")),
          ("global_arg", NOTHING, ("--build-arg", "WHICH=two")),
          ("other_image", DIFFERS, line("--from=other /etc/extra", "--from=busybox /etc/group")),
          ("target", DIFFERS, ("--target", "b")),
          ("stage_without_use", NOTHING, line("FROM busybox\n", "FROM other AS last\nFROM busybox\n")),
      ))

RUN = Recipe("run", """FROM busybox
ARG A=1
ARG LATE
ENV E=1
WORKDIR /w
COPY in .
RUN cat in > out; echo $E $A >> out
LABEL x=1
RUN id > /tmp/id && umask > /tmp/umask
USER app
RUN --mount=type=bind,source=src,target=/m cat /m/a > /tmp/m
RUN --mount=type=secret,id=s,target=/tmp/k --mount=type=cache,target=/tmp/c,id=i,mode=0777 --mount=type=tmpfs,target=/tmp/t true > /tmp/n
RUN <<E
echo body > /tmp/h
E
CMD ["x"]
""", {"in": "in\n", "src/a": "a\n", "src/b": "b\n", "secret": "hush\n", "unrelated": "u\n"},
      args=("--secret", "id=s,src=secret"),
      watched={"in": DIFFERS, "src/a": DIFFERS, "unrelated": NOTHING},
      table=(
          ("run_command", DIFFERS, line("cat in > out;", "cat in in > out;")),
          ("run_command_same_result", ANY, line("cat in > out;", "cat < in > out;")),
          ("run_more", DIFFERS, line("LABEL x=1", "RUN echo more > /more")),
          ("run_gone", DIFFERS, line("RUN id > /tmp/id && umask > /tmp/umask\n", "")),
          ("run_exec_form", ANY, line("RUN id > /tmp/id && umask > /tmp/umask", 'RUN ["touch", "/touched"]')),
          ("env_used", DIFFERS, line("ENV E=1", "ENV E=2")),
          ("env_more", DIFFERS, line("ENV E=1", "ENV E=1 F=1")),
          ("arg_used_by_run", DIFFERS, ("--build-arg", "A=2")),
          ("arg_without_value", DIFFERS, ("--build-arg", "LATE=1")),
          ("arg_undeclared", NOTHING, ("--build-arg", "NOBODY=1")),
          ("proxy_value", NOTHING, ("--build-arg", "HTTP_PROXY=http://proxy:3128")),
          ("label", CONFIG, line("LABEL x=1", "LABEL x=2")),
          ("label_more", CONFIG, line("LABEL x=1", "LABEL x=1\nEXPOSE 5\nVOLUME /v")),
          ("cwd", DIFFERS, line("WORKDIR /w", "WORKDIR /v")),
          ("cwd_later", DIFFERS, line("USER app", "USER app\nWORKDIR /tmp")),
          ("user", DIFFERS, line("USER app", "USER daemon")),
          ("user_with_group", ANY, line("USER app", "USER app:extra")),
          ("shell", ANY, line("LABEL x=1", 'SHELL ["/bin/sh", "-ec"]')),
          ("cmd", CONFIG, line('CMD ["x"]', 'CMD ["y"]')),
          ("bind_mount_content", DIFFERS, write("src/a", "changed\n")),
          ("bind_mount_other_file", SAME, write("src/b", "changed\n")),
          ("bind_mount_new_file", SAME, write("src/new", "n\n")),
          ("bind_mount_time", NOTHING, on("src/b", lambda p: os.utime(p, (1600000000, 1600000000)))),
          ("bind_mount_mode", SAME, on("src/b", lambda p: os.chmod(p, 0o600))),
          ("bind_mount_target", ANY, line("target=/m cat /m/a", "target=/mm cat /mm/a")),
          ("bind_mount_source", ANY, line("source=src,target=/m cat /m/a", "source=.,target=/m cat /m/src/a")),
          ("bind_mount_from_image", DIFFERS, line("source=src,target=/m cat /m/a",
                                                  "from=other,source=/etc,target=/m cat /m/extra")),
          ("bind_mount_writable", SAME, line("source=src,target=/m", "source=src,target=/m,rw")),
          ("secret_value", NOTHING, write("secret", "other\n")),
          ("secret_id", SAME, line("id=s,target=/tmp/k", "id=z,target=/tmp/k")),
          ("secret_target", SAME, line("target=/tmp/k", "target=/tmp/kk")),
          ("secret_mode", SAME, line("target=/tmp/k", "target=/tmp/k,mode=0440")),
          ("cache_mount_id", SAME, line("id=i", "id=j")),
          ("cache_mount_target", SAME, line("target=/tmp/c", "target=/tmp/cc")),
          ("cache_mount_sharing", SAME, line("id=i", "id=i,sharing=locked")),
          ("tmpfs_size", SAME, line("type=tmpfs,target=/tmp/t", "type=tmpfs,target=/tmp/t,size=1m")),
          ("mount_gone", SAME, line(" --mount=type=tmpfs,target=/tmp/t", "")),
          ("heredoc_body_run", DIFFERS, line("echo body", "echo text")),
          ("network_of_step", SAME, line("RUN id", "RUN --network=none id")),
          ("network_of_build", SAME, ("--network", "none")),
          ("host_address_added", SAME, ("--add-host", "name:10.1.1.1")),
          ("ulimit", SAME, ("--ulimit", "nofile=512:512")),
          ("shm_size", SAME, ("--shm-size", "1m")),
          ("jobs", NOTHING, ("--jobs", "1")),
          ("base", DIFFERS, line("FROM busybox", "FROM other")),
          ("base_by_stage", NOTHING, line("FROM busybox", "FROM busybox AS base\nFROM base")),
          ("arg_default", DIFFERS, line("ARG A=1", "ARG A=5")),
          ("arg_before_use", ANY, line("RUN id", "ARG M=1\nRUN id")),
          ("continuation", ANY, line("cat in > out; echo", "cat in > out; \\\n echo")),
          ("comment", NOTHING, line("LABEL x=1", "# comment\nLABEL x=1")),
      ))

RECIPES = (COPY, FLAGS, STAGES, RUN)


def of_files(recipe, rng):
    """Mutations of every watched path, with values of `rng`."""
    for path, effect in recipe.watched.items():
        name = path.strip("/").replace("/", "_").replace(".", "_")
        whole = path.rstrip("/")
        mode = rng.choice((0o604, 0o757, 0o775, 0o664))
        when = rng.randrange(1550000000, 1900000000)
        yield Change(f"time_of_{name}", recipe, NOTHING, on(whole, lambda p, t=when: os.utime(p, (t, t))))
        seen = SAME if recipe is RUN and path == "src/a" else effect  # a mount's mode is in the key, not in the result
        yield Change(f"mode_of_{name}", recipe, seen, on(whole, lambda p, m=mode: os.chmod(p, m)))
        if path.endswith("/"):
            new = f"{path}new{rng.randrange(1000)}"
            yield Change(f"new_in_{name}", recipe, effect, write(new, rng.randbytes(rng.randrange(1, 5000))))
            yield Change(f"new_folder_in_{name}", recipe, effect, on(new, os.mkdir))
            continue
        yield Change(f"content_of_{name}", recipe, effect, write(path, rng.randbytes(rng.randrange(1, 20000))))
        yield Change(f"emptied_{name}", recipe, effect, write(path, ""))
        yield Change(f"same_size_{name}", recipe, effect, same_size(path))
        yield Change(f"replaced_{name}", recipe, NOTHING, on(path, replaced_by_copy))


def all_mutations(rng):
    """Every mutation there is; the values of some are `rng`'s."""
    found = []
    for recipe in RECIPES:
        for name, effect, change in recipe.table:
            if isinstance(change, tuple):
                found.append(Change(name, recipe, effect, args=change))
            elif isinstance(change, dict):
                found.append(Change(name, recipe, effect, env=change))
            else:
                found.append(Change(name, recipe, effect, change))
        found += of_files(recipe, rng)
    return found
