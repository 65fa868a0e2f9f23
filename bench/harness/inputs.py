"""The inputs, made from a seed: the same bytes, names, modes and mtimes every time, without network."""

import base64
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile

MTIME = 1_700_000_000
WORDS = ("layer blob digest manifest index config stage copy run label image store tree tar stream entry "
         "mode owner size link xattr content offset body cache key graph context ignore").split()

SIZES = {  # what --size means
    "full": {"copy_files": 10_000, "ignored_files": 50_000, "images": 500, "packages": 60},
    "small": {"copy_files": 300, "ignored_files": 1_000, "images": 20, "packages": 6},
}


def text(rng, size):
    words = rng.choices(WORDS, k=size // 4 + 8)
    return " ".join(words).encode()[:size]


def put(path, data, mode=0o644, mtime=MTIME):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    os.chmod(path, mode)
    os.utime(path, (mtime, mtime))


def fix_dirs(root):
    for folder, _, _ in os.walk(root, topdown=False):
        os.chmod(folder, 0o755)
        os.utime(folder, (MTIME, MTIME))


def made_once(path, make):
    """Calls make(path) unless an earlier run (--keep) finished it."""
    stamp = path + ".complete"
    if not os.path.exists(stamp):
        shutil.rmtree(path, ignore_errors=True)
        make(path)
        with open(stamp, "w"):
            pass
    return path


def trivial(path):
    put(f"{path}/Dockerfile", "FROM busybox\nARG NONCE\nRUN true\n")
    put(f"{path}/Dockerfile.norun", "FROM busybox\nARG NONCE\nLABEL nonce=$NONCE\n")
    put(f"{path}/Dockerfile.ten", "FROM busybox\nARG NONCE\n" + "RUN true\n" * 10)
    fix_dirs(path)


def copy_tree(path, seed, files):
    """(c): 10,000 files of 0.8 to 40.8 KB, 208 MB, half text and half random bytes, in 200 folders."""
    rng = random.Random(f"{seed}/copy")
    for i in range(files):
        size = 800 + i * 7919 % 40_001
        put(f"{path}/data/d{i % 200:03d}/f{i:05d}.bin", text(rng, size // 2) + rng.randbytes(size - size // 2),
            0o755 if i % 50 == 0 else 0o644)
    put(f"{path}/Dockerfile", "FROM busybox\nCOPY data /data\n")
    fix_dirs(path)


def ignored_tree(path, seed, ignored):
    """(d): 43 files that count, a .git and a node_modules that .dockerignore leaves out."""
    rng = random.Random(f"{seed}/ignored")
    for i in range(38):
        put(f"{path}/src/{('api', 'lib', 'web')[i % 3]}/m{i:02d}.js", text(rng, rng.randrange(400, 6000)) + b"\n")
    put(f"{path}/package.json", '{"name": "ignored", "version": "1.0.0"}\n')
    put(f"{path}/README.md", "# ignored\n")
    put(f"{path}/main.js", "console.log('one');\n")
    put(f"{path}/Dockerfile", "FROM busybox\nWORKDIR /app\nCOPY . .\nCMD [\"sh\"]\n")
    put(f"{path}/.dockerignore", ".git\nnode_modules\n**/*.log\n")
    put(f"{path}/.git/HEAD", "ref: refs/heads/main\n")
    put(f"{path}/.git/config", "[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
    put(f"{path}/.git/refs/heads/main", "0" * 40 + "\n")
    for i in range(ignored // 25):
        name = hashlib.sha1(f"{seed}/{i}".encode()).hexdigest()
        put(f"{path}/.git/objects/{name[:2]}/{name[2:]}", rng.randbytes(300), 0o444)
    for i in range(ignored):
        put(f"{path}/node_modules/p{i // 100:03d}/lib/{i % 100 // 20}/f{i % 100:02d}.js",
            text(rng, 500 + i * 7919 % 7001))
    fix_dirs(path)


def tar_bytes(entries):
    """A tar of (name, bytes, mode) files and (name, str target, 0) symbolic links, sorted by the caller."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, data, mode in entries:
            info = tarfile.TarInfo(name)
            info.mtime = MTIME
            if data is None:
                info.type, info.mode = tarfile.DIRTYPE, mode
                t.addfile(info)
            elif isinstance(data, str):
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, data, 0o777
                t.addfile(info)
            else:
                info.size, info.mode = len(data), mode
                t.addfile(info, io.BytesIO(data))
    return out.getvalue()


def read(path):
    with open(path, "rb") as f:
        return f.read()


def busybox_entries(busybox):
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    dirs = [(d, None, 0o755) for d in ("bin", "etc", "lib", "lib64", "root", "usr", "usr/bin", "usr/lib", "var")]
    return dirs + [("tmp", None, 0o1777), ("bin/busybox", read(busybox), 0o755),
                   ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644), ("etc/group", b"root:x:0:\n", 0o644)] + [
        (f"bin/{a}", "busybox", 0) for a in sorted(applets) if a != "busybox" and "/" not in a]


def busybox_base(path, busybox):
    put(path, tar_bytes(busybox_entries(busybox)))


def node_base(path, busybox, node, npm, marker):
    """A stand-in for node:20: this machine's node with its libraries, npm, and busybox around them."""
    entries = busybox_entries(busybox) + [("etc/bench-base", marker.encode(), 0o644)]
    seen = {"usr/bin", "usr/lib", "lib", "lib64"}

    def add(target, source):
        parts = target.split("/")[:-1]
        for n in range(1, len(parts) + 1):
            folder = "/".join(parts[:n])
            if folder not in seen and folder not in {e[0] for e in entries[:12]}:
                seen.add(folder)
                entries.append((folder, None, 0o755))
        entries.append((target, read(source), 0o755 if os.access(source, os.X_OK) else 0o644))

    add("usr/bin/node", node)
    ldd = subprocess.run(["ldd", node], capture_output=True, text=True, check=True).stdout
    for lib in sorted({w for line in ldd.splitlines() for w in line.split() if w.startswith("/")}):
        add(lib.lstrip("/"), lib)
    for folder, dirs, files in os.walk(npm):
        dirs.sort()
        for f in sorted(files):
            source = os.path.join(folder, f)
            if not os.path.islink(source):
                add("usr/lib/node_modules/npm/" + os.path.relpath(source, npm), source)
    entries.append(("usr/bin/npm", "../lib/node_modules/npm/bin/npm-cli.js", 0))
    entries.append(("usr/bin/env", "/bin/busybox", 0))
    put(path, tar_bytes(entries))


def node_standin(path, seed, packages):
    """(b) without network: npm ci of generated packages (tarballs in the context), then a small build."""
    rng = random.Random(f"{seed}/node")
    lock = {"name": "lesson", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {}}
    deps = {}
    for p in range(packages):
        name = f"pkg-{p:02d}"
        files = [("package/package.json", json.dumps({"name": name, "version": "1.0.0", "main": "lib/0/m000.js"}).encode(), 0o644)]
        files += [(f"package/lib/{i // 20}/m{i:03d}.js", b"// " + text(rng, 200 + i * 97 % 4000) + b"\n", 0o644)
                  for i in range(100)]
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as z:
            z.write(tar_bytes(files))
        put(f"{path}/vendor/{name}-1.0.0.tgz", packed.getvalue())
        deps[name] = f"file:vendor/{name}-1.0.0.tgz"
        lock["packages"][f"node_modules/{name}"] = {
            "version": "1.0.0", "resolved": deps[name],
            "integrity": "sha512-" + base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()}
    manifest = {"name": "lesson", "version": "1.0.0", "dependencies": deps}
    lock["packages"] = {"": manifest, **lock["packages"]}
    put(f"{path}/package.json", json.dumps({**manifest, "scripts": {"build": "node build.js"}}, indent=1))
    put(f"{path}/package-lock.json", json.dumps(lock, indent=1))
    for i in range(20):
        put(f"{path}/src/m{i:02d}.ts", f"export const n{i}: number = {i};\n// ".encode() + text(rng, 2000) + b"\n")
    put(f"{path}/build.js", "const fs = require('fs');\nfs.mkdirSync('dist', {recursive: true});\n"
        "for (const f of fs.readdirSync('src')) fs.writeFileSync('dist/' + f.replace(/ts$/, 'js'),\n"
        "  fs.readFileSync('src/' + f, 'utf8').replace(/: number/g, ''));\n")
    put(f"{path}/.dockerignore", "node_modules\ndist\n")
    put(f"{path}/Dockerfile", """FROM node:20 AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY vendor ./vendor
RUN npm ci --no-audit --no-fund
COPY . .
RUN npm run build

FROM node:20-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
CMD ["node", "dist/m00.js"]
""")
    fix_dirs(path)


def archive(path, seed, images):
    """(f): one docker-archive with many tiny images, each with a layer and a config of its own."""
    shared = tar_bytes([("shared", f"{seed}\n".encode(), 0o644)])
    shared_hex = hashlib.sha256(shared).hexdigest()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as t:
        def add(name, data):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = len(data), MTIME, 0o644
            t.addfile(info, io.BytesIO(data))

        add(f"{shared_hex}/layer.tar", shared)
        manifest = []
        for i in range(images):
            layer = tar_bytes([(f"file-{i}", f"{seed} {i}\n".encode(), 0o644)])
            layer_hex = hashlib.sha256(layer).hexdigest()
            created = f"2023-11-{1 + i % 28:02d}T{i // 28 % 24:02d}:00:00Z"
            config = json.dumps({
                "architecture": "amd64", "os": "linux", "created": created,
                "config": {"Cmd": ["/bin/true"], "Env": ["PATH=/usr/bin:/bin", f"N={i}"], "Labels": {"n": str(i)}},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{shared_hex}", f"sha256:{layer_hex}"]},
                "history": [{"created": created, "created_by": "COPY shared /"}] + [
                    {"created": created, "created_by": f"ENV V{n}={i}", "empty_layer": True} for n in range(8)] + [
                    {"created": created, "created_by": f"COPY file-{i} /"}]}).encode()
            config_hex = hashlib.sha256(config).hexdigest()
            add(f"{layer_hex}/layer.tar", layer)
            add(f"{config_hex}.json", config)
            manifest.append({"Config": f"{config_hex}.json", "RepoTags": [f"localhost/list-{i // 10:02d}:v{i % 10}"],
                             "Layers": [f"{shared_hex}/layer.tar", f"{layer_hex}/layer.tar"]})
        add("manifest.json", json.dumps(manifest).encode())
    os.utime(path, (MTIME, MTIME))
