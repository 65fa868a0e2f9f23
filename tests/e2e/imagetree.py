"""An oracle of our own: applies the layers of an image, or walks a folder, and lists what is there.

Independent of kasane and of the other builders: it reads archives with Python's tarfile and follows the rules of
the OCI image specification ("Representing Changes"): whiteouts hide lower layers only, an entry that is no
directory replaces what was there, a directory entry over a directory changes its metadata.
"""

import dataclasses
import gzip
import hashlib
import io
import json
import os
import posixpath
import stat
import subprocess
import tarfile

IGNORED_XATTRS = ("trusted.overlay.", "user.overlay.", "security.selinux")


@dataclasses.dataclass(eq=False)
class Node:
    """One inode; hard links share the object."""
    type: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    size: int = 0
    sha256: str = ""
    target: str = ""
    device: tuple = ()
    xattrs: dict = dataclasses.field(default_factory=dict)
    mtime: float = 0
    data: bytes = b""

    def fields(self):
        out = {"type": self.type, "uid": self.uid, "gid": self.gid}
        if self.type != "link":
            out["mode"] = oct(self.mode)
        if self.type == "file":
            out["size"], out["sha256"] = self.size, self.sha256[:16]
        if self.target:
            out["target"] = self.target
        if self.device:
            out["device"] = self.device
        if self.xattrs:
            out["xattrs"] = dict(sorted(self.xattrs.items()))
        return out


class Tree:
    """{absolute path: Node}."""

    def __init__(self):
        self.nodes = {"/": Node("dir")}

    def __getitem__(self, path):
        return self.nodes[path]

    def __contains__(self, path):
        return path in self.nodes

    def text(self, path):
        return self.nodes[path].data.decode()

    def below(self, folder):
        return sorted(p for p in self.nodes if p.startswith(folder.rstrip("/") + "/"))

    def describe(self):
        """{path: {field: value}}; files with several names carry the list of the others."""
        names = {}
        for path, node in self.nodes.items():
            names.setdefault(id(node), []).append(path)
        out = {}
        for path, node in self.nodes.items():
            out[path] = node.fields()
            others = sorted(set(names[id(node)]) - {path})
            if others:
                out[path]["hard links"] = others
        return out

    def remove_below(self, folder):
        for path in self.below(folder):
            del self.nodes[path]

    def apply(self, tar):
        lower = set(self.nodes)
        entries = [(posixpath.normpath("/" + info.name), info) for info in tar]
        for path, _ in entries:
            folder, name = posixpath.split(path)
            if name == ".wh..wh..opq":
                self.remove_below(folder)
            elif name.startswith(".wh."):
                hidden = posixpath.join(folder, name[4:])
                if hidden not in lower:
                    raise AssertionError(f"whiteout of {hidden}, which no lower layer has")
                self.remove_below(hidden)
                self.nodes.pop(hidden, None)
        for path, info in entries:
            if not posixpath.basename(path).startswith(".wh."):
                self._add(path, info, tar)

    def _add(self, path, info, tar):
        parent = posixpath.dirname(path)
        if path != "/" and (parent not in self.nodes or self.nodes[parent].type != "dir"):
            raise AssertionError(f"{path}: the parent is no directory")
        if info.islnk():
            target = posixpath.normpath("/" + info.linkname)
            self.remove_below(path)
            self.nodes[path] = self.nodes[target]
            return
        node = node_of(info, tar)
        if node.type != "dir":
            self.remove_below(path)
        self.nodes[path] = node


def node_of(info, tar):
    node = Node("?", info.mode & 0o7777, info.uid, info.gid, mtime=info.mtime)
    if info.isreg():
        node.type = "file"
        node.data = tar.extractfile(info).read()
        node.size, node.sha256 = len(node.data), hashlib.sha256(node.data).hexdigest()
    elif info.isdir():
        node.type = "dir"
    elif info.issym():
        node.type, node.target = "link", info.linkname
    elif info.isfifo():
        node.type = "fifo"
    elif info.ischr() or info.isblk():
        node.type = "char" if info.ischr() else "block"
        node.device = (info.devmajor, info.devminor)
    else:
        raise AssertionError(f"{info.name}: tar entry of type {info.type!r}")
    for key, value in info.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            name = key[len("SCHILY.xattr."):]
            if not name.startswith(IGNORED_XATTRS):
                node.xattrs[name] = value.encode("utf-8", "surrogateescape").hex()
    return node


def decompress(data):
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


class Image:
    """config: the parsed image config; tree: the merged root file system; layers: uncompressed layer tars."""

    def __init__(self, config, blobs):
        self.config = config
        self.layers = [decompress(b) for b in blobs]
        diff_ids = ["sha256:" + hashlib.sha256(b).hexdigest() for b in self.layers]
        if diff_ids != config["rootfs"]["diff_ids"]:
            raise AssertionError(f"layers are not what rootfs.diff_ids says: {diff_ids}")
        self.tree = Tree()
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                self.tree.apply(tar)

    def layer_names(self, number):
        with tarfile.open(fileobj=io.BytesIO(self.layers[number])) as tar:
            return ["/" + n.lstrip("./") for n in tar.getnames()]


def read_docker_archive(path):
    """The one image of an archive as `docker save`, `kasane save` and skopeo write it."""
    with tarfile.open(path) as tar:
        def content(name):
            return tar.extractfile(name).read()
        manifest = json.loads(content("manifest.json"))
        if len(manifest) != 1:
            raise AssertionError(f"{path} holds {len(manifest)} images")
        return Image(json.loads(content(manifest[0]["Config"])), [content(n) for n in manifest[0]["Layers"]])


def read_dir_transport(path):
    """What `skopeo copy ... dir:PATH` and `buildah push ... dir:PATH` write."""
    def content(name):
        with open(os.path.join(path, name), "rb") as f:
            return f.read()
    manifest = json.loads(content("manifest.json"))
    return Image(json.loads(content(manifest["config"]["digest"].partition(":")[2])),
                 [content(layer["digest"].partition(":")[2]) for layer in manifest["layers"]])


def read_oci_layout(path):
    """The one image of an OCI layout in a folder."""
    def blob(descriptor):
        with open(os.path.join(path, "blobs", *descriptor["digest"].split(":")), "rb") as f:
            data = f.read()
        if len(data) != descriptor["size"] or hashlib.sha256(data).hexdigest() != descriptor["digest"][7:]:
            raise AssertionError(f"blob {descriptor['digest']} is not what its descriptor says")
        return data
    with open(os.path.join(path, "index.json"), "rb") as f:
        manifests = json.load(f)["manifests"]
    if len({m["digest"] for m in manifests}) != 1:
        raise AssertionError(f"{path} holds {len(manifests)} images")
    manifest = json.loads(blob(manifests[0]))
    return Image(json.loads(blob(manifest["config"])), [blob(layer) for layer in manifest["layers"]])


def walk(folder):
    """Tree of a folder on disk (an unpacked or mounted image)."""
    tree = Tree()
    inodes = {}

    def add(path, name):
        st = os.lstat(path)
        key = (st.st_dev, st.st_ino)
        if key not in inodes or stat.S_ISDIR(st.st_mode):
            inodes[key] = node_on_disk(path, st)
        tree.nodes[name] = inodes[key]

    add(folder, "/")
    for where, folders, files in os.walk(folder):
        for entry in folders + files:
            path = os.path.join(where, entry)
            add(path, "/" + os.path.relpath(path, folder))
    return tree


def node_on_disk(path, st):
    node = Node("?", stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, mtime=st.st_mtime)
    kinds = {stat.S_IFDIR: "dir", stat.S_IFREG: "file", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo",
             stat.S_IFCHR: "char", stat.S_IFBLK: "block", stat.S_IFSOCK: "socket"}
    node.type = kinds[stat.S_IFMT(st.st_mode)]
    if node.type == "file":
        with open(path, "rb") as f:
            node.data = f.read()
        node.size, node.sha256 = len(node.data), hashlib.sha256(node.data).hexdigest()
    elif node.type == "link":
        node.target = os.readlink(path)
    elif node.type in ("char", "block"):
        node.device = (os.major(st.st_rdev), os.minor(st.st_rdev))
    for name in os.listxattr(path, follow_symlinks=False):
        if not name.startswith(IGNORED_XATTRS):
            node.xattrs[name] = os.getxattr(path, name, follow_symlinks=False).hex()
    return node


CONFIG_KEYS = ("Env", "Cmd", "Entrypoint", "User", "WorkingDir", "ExposedPorts", "Volumes", "Labels", "StopSignal",
               "Healthcheck", "Shell", "OnBuild")


def describe_config(config):
    """{key: value} of what a container gets; absent, null and empty are the same."""
    inner = config.get("config") or {}
    out = {k: inner[k] for k in CONFIG_KEYS if inner.get(k)}
    for key in ("ExposedPorts", "Volumes"):
        if key in out:
            out[key] = sorted(out[key])
    if config.get("author"):
        out["author"] = config["author"]
    return out


def differences(mine, other):
    """[(where, field, mine, other)] of two {where: {field: value}}."""
    out = []
    for where in sorted(set(mine) | set(other)):
        a, b = mine.get(where), other.get(where)
        if a is None or b is None:
            out.append((where, "present", a is not None, b is not None))
            continue
        for field in sorted(set(a) | set(b)):
            if a.get(field) != b.get(field):
                out.append((where, field, a.get(field), b.get(field)))
    return out
