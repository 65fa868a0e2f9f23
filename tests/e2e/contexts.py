"""Makes build contexts and root file systems from dictionaries: {"a/b.txt": "text", "bin/": D(0o700)}."""

import dataclasses
import io
import os
import stat
import subprocess
import tarfile

from support import static_busybox

MTIME = 1577836800  # 2020-01-01, for everything that a test does not date


@dataclasses.dataclass
class F:
    """Regular file."""
    data: object = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    xattrs: dict = dataclasses.field(default_factory=dict)
    mtime: float = MTIME


@dataclasses.dataclass
class D:
    """Directory."""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    xattrs: dict = dataclasses.field(default_factory=dict)
    mtime: float = MTIME


@dataclasses.dataclass
class L:
    """Symbolic link."""
    target: str
    mtime: float = MTIME


@dataclasses.dataclass
class H:
    """Hard link to a path that comes earlier in the dictionary."""
    target: str


@dataclasses.dataclass
class Special:
    """FIFO (the default), character or block device."""
    kind: int = stat.S_IFIFO
    mode: int = 0o644
    device: tuple = (0, 0)
    mtime: float = MTIME


def as_bytes(data):
    return data.encode() if isinstance(data, str) else bytes(data)


def _own(path, entry):
    if os.geteuid() == 0:
        os.chown(path, entry.uid, entry.gid)
    for name, value in entry.xattrs.items():
        os.setxattr(path, name, value)
    os.chmod(path, entry.mode)


def _make(path, entry):
    if isinstance(entry, F):
        with open(path, "wb") as f:
            f.write(as_bytes(entry.data))
        _own(path, entry)
    elif isinstance(entry, D):
        os.makedirs(path, exist_ok=True)
    elif isinstance(entry, L):
        os.symlink(entry.target, path)
    else:
        os.mknod(path, entry.kind | entry.mode, os.makedev(*entry.device))
        os.chmod(path, entry.mode)


def write_tree(folder, spec):
    """Writes `spec` below `folder`. Values: text or bytes (a file), F, D, L, H, Special; D's keys end in a slash."""
    os.makedirs(folder, exist_ok=True)
    folders = {}
    for name, value in spec.items():
        path = os.path.join(folder, name.rstrip("/"))
        parent = os.path.dirname(name.rstrip("/"))
        while parent:
            folders.setdefault(parent, D())
            parent = os.path.dirname(parent)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if isinstance(value, H):
            os.link(os.path.join(folder, value.target), path)
            continue
        entry = value if not isinstance(value, (str, bytes)) else F(value)
        _make(path, entry)
        if isinstance(entry, D):
            folders[name.rstrip("/")] = entry
        else:
            os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)
    # Times and modes of directories last: making their entries needs and changes them.
    for name in sorted(folders, reverse=True):
        path = os.path.join(folder, name)
        _own(path, folders[name])
        os.utime(path, (folders[name].mtime, folders[name].mtime))
    return folder


def make_tar(spec, compress=None):
    """Bytes of a tar with `spec`'s entries, in order; compress: gz, xz, bz2, zst."""
    buffer = io.BytesIO()
    mode = "w" if compress in (None, "zst") else f"w:{compress}"
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as tar:
        for name, value in spec.items():
            entry = value if not isinstance(value, (str, bytes)) else F(value)
            info = tarfile.TarInfo(name.rstrip("/"))
            # A hard link repeats the metadata of its file, as tar(1) writes it.
            metadata = spec[entry.target] if isinstance(entry, H) else entry
            info.mtime = getattr(metadata, "mtime", MTIME)
            data = b""
            if isinstance(metadata, (F, D)):
                info.mode, info.uid, info.gid = metadata.mode, metadata.uid, metadata.gid
            if isinstance(entry, (F, D)):
                for key, content in entry.xattrs.items():
                    info.pax_headers[f"SCHILY.xattr.{key}"] = content.decode("utf-8", "surrogateescape")
            if isinstance(entry, F):
                data = as_bytes(entry.data)
                info.size = len(data)
            elif isinstance(entry, D):
                info.type = tarfile.DIRTYPE
            elif isinstance(entry, L):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
            elif isinstance(entry, H):
                info.type, info.linkname = tarfile.LNKTYPE, entry.target
            else:
                info.type = {stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE}[entry.kind]
                info.mode = entry.mode
                info.devmajor, info.devminor = entry.device
            tar.addfile(info, io.BytesIO(data))
    data = buffer.getvalue()
    if compress == "zst":
        data = subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def busybox_spec():
    """Root file system: a static busybox with its applets, three users, the usual folders."""
    path = static_busybox()
    with open(path, "rb") as f:
        program = f.read()
    applets = subprocess.run([path, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    spec = {"./": D(), "bin/": D(), "bin/busybox": F(program, 0o755)}
    spec.update({f"bin/{a}": L("busybox") for a in sorted(applets) if a != "busybox"})
    spec.update({f"{d}/": D() for d in ("dev", "etc", "home", "proc", "run", "sys", "usr", "usr/lib", "var",
         "var/lib")})
    spec.update({"root/": D(0o700), "tmp/": D(0o1777), "var/run": L("/run"), "home/app/": D(0o750, 1000, 1000)})
    spec["etc/passwd"] = ("root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
                          "app:x:1000:1000:app:/home/app:/bin/sh\n")
    spec["etc/group"] = "root:x:0:\ndaemon:x:1:\napp:x:1000:\nextra:x:2000:app\n"
    spec["etc/os-release"] = "NAME=busybox\n"
    spec["usr/lib/old/"] = D()
    spec["usr/lib/old/a"] = "a\n"
    spec["usr/lib/old/sub/"] = D()
    spec["usr/lib/old/sub/b"] = "b\n"
    return spec


def write_busybox_tar(path):
    with open(path, "wb") as f:
        f.write(make_tar(busybox_spec()))
    return path
