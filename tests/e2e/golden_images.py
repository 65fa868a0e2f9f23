"""The images that the golden tests look at: docker-archives with fixed dates, labels, many tags, shared layers, a long
history. Same bytes on every machine, so that ids may stand in the expectations."""

import datetime
import hashlib
import io
import json
import os
import tarfile

from contexts import F, make_tar

# Years whose ages have two digits until 2095, so that the columns of a table keep their width; no two the same.
DATES = {"dangling": "1995-03-04T05:06:07Z", "base": "1998-01-01T00:00:00Z", "app": "1999-06-15T12:30:45.123456789Z",
         "tool": "2001-09-09T01:46:40Z", "long": "2003-02-20T20:02:00Z", "arm": "2004-12-31T23:59:59Z",
         "meta": "2008-02-29T12:00:00Z"}


def layer(name, size):
    return make_tar({name: F(b"x" * size)})


BASE, APP, BIG = layer("base", 4261574), layer("app", 1234), layer("big", 999500)
OCTET = layer("octet", 8)


def image(created, layers, config=None, history=None, **more):
    """(config, layers) of one image; `history` is [(created_by, empty, comment)]."""
    entries = history if history is not None else [(f"/bin/sh -c #(nop) ADD file:{i}", False, "") for i in range(len(layers))]
    made = {"architecture": "amd64", "config": config or {}, "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(l).hexdigest() for l in layers]}, **more}
    if created:
        made["created"] = created
    made["history"] = []
    for by, empty, comment in entries:
        entry = {"created": created or "0001-01-01T00:00:00Z", "created_by": by}
        if comment:
            entry["comment"] = comment
        if empty:
            entry["empty_layer"] = True
        made["history"].append(entry)
    return json.dumps(made, sort_keys=True).encode(), layers


def images():
    """{name: (tags, config, layers)}"""
    path = "PATH=/usr/local/bin:/usr/bin:/bin"
    app_config = {"Env": [path, "GREETING=hello world", "EMPTY="], "Cmd": ["serve", "--port", "80 80"],
                  "Entrypoint": ["/app", "<&>"], "WorkingDir": "/srv", "User": "app:app",
                  "Labels": {"team": "core", "a.b": "x & <y>", "empty": "", "version": "1.0"},
                  "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/data": {}}, "StopSignal": "SIGINT",
                  "OnBuild": ["RUN true"], "Shell": ["/bin/bash", "-c"],
                  "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30000000000, "Retries": 3}}
    long_history = [("/bin/sh -c #(nop) ADD file:base in / ", False, "imported")]
    for i in range(36):
        long_history.append((f"RUN /bin/sh -c step {i:02} # buildkit", True, "buildkit.dockerfile.v0"))
    long_history += [("RUN\ttabs\tand a line that is very long so that it is cut somewhere", False, ""),
                     ("LABEL maintainer=日本語のとても長い名前は列の幅で切られるはずです", True, ""),
                     ("ENV A=1\nENV B=2", True, "two lines"),
                     ("exactly forty-five columns are not cut, I see", True, ""),
                     ("exactly forty-six columns, and one too much !!", True, "a comment that is not cut, however long it may become: 0123456789 0123456789")]
    return {
        "base": (["base:1"], *image(DATES["base"], [BASE], {"Cmd": ["sh"], "Env": [path]})),
        "app": (["app:1.0", "app:latest", "localhost:5000/team/app:1.0"],
                *image(DATES["app"], [BASE, APP], app_config, author="A. U. Thor <a@example.com>", comment="made by hand",
                       history=[("/bin/sh -c #(nop) ADD file:base in / ", False, ""), ("ENV GREETING=hello world", True, ""),
                                ("COPY app / # buildkit", False, "buildkit.dockerfile.v0")])),
        "tool": ([f"tool:{i}" for i in range(1, 13)] + ["reg.example.com/x/tool:stable", "quay.io/y/z/tool:stable", "ツ/x:1"][:2],
                 *image(DATES["tool"], [BASE, BIG], {"Labels": {"team": "tools", "version": "2.0"}})),
        "dangling": ([], *image(DATES["dangling"], [OCTET], {"Labels": {"stage": "build"}})),
        "long": (["long:latest"], *image(DATES["long"], [BASE, OCTET], history=long_history)),
        "arm": (["arm:v8"], *image(DATES["arm"], [APP], architecture="arm64", variant="v8")),
        "meta": (["meta:only"], *image(DATES["meta"], [], {"Labels": {"team": "core"}}, history=[("LABEL team=core", True, "")])),
        "bare": (["bare:latest"], *image(None, [OCTET])),
    }


def digest_of(config):
    return hashlib.sha256(config).hexdigest()


def write_archive(path, chosen):
    """A docker-archive of [(tags, config, layers)] as docker wrote them before version 25."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        seen = set()

        def add(name, data):
            if name not in seen:
                seen.add(name)
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))

        manifest = []
        for tags, config, layers in chosen:
            names = []
            for data in layers:
                names.append(hashlib.sha256(data).hexdigest() + "/layer.tar")
                add(names[-1], data)
            add(digest_of(config) + ".json", config)
            manifest.append({"Config": digest_of(config) + ".json", "RepoTags": tags or None, "Layers": names})
        add("manifest.json", json.dumps(manifest).encode())
    return path


def aged(seconds):
    then = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    return then.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# Tag → age in seconds, far enough from the borders for a slow machine.
AGES = {"45m": 45 * 60 + 5, "60m": 61 * 60, "89m": 80 * 60, "2h": 95 * 60, "26h": 26 * 3600, "47h": 47 * 3600, "2d": 172000 + 1800,
        "13d": 13 * 86400 + 3600, "14d": 14 * 86400 + 60, "59d": 59 * 86400 + 60, "60d": 60 * 86400 + 60,
        "700d": 700 * 86400, "731d": 731 * 86400, "3600d": 3600 * 86400}


def write_all(folder):
    """One archive per image, `all.tar` of those that the lists show, `ages.tar`, `replaced.tar`."""
    made = images()
    for name, one in made.items():
        write_archive(os.path.join(folder, name + ".tar"), [one])
    write_archive(os.path.join(folder, "all.tar"), list(made.values()))
    write_archive(os.path.join(folder, "ages.tar"),
                  [([f"age:{tag}"], *image(aged(seconds), [OCTET])) for tag, seconds in AGES.items()])
    tags, _, _ = made["app"]
    write_archive(os.path.join(folder, "replaced.tar"), [([tags[0]], *image("2005-05-05T05:05:05Z", [OCTET]))])
    with open(os.path.join(folder, "root.tar"), "wb") as f:
        f.write(make_tar({"etc/hostname": "golden\n"}))
    return made
