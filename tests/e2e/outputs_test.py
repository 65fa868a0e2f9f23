#!/usr/bin/env python3
"""Outputs of a build: what `-o` writes is what other tools read, and says what was asked for."""

import hashlib
import io
import json
import os
import pty
import subprocess
import tarfile

import support
from contexts import D, F, H, L, write_busybox_tar, write_tree
from imagetree import differences, read_docker_archive, walk
from layouts import Layout
from peers import policy_file
from support import Kasane, needs, run

EPOCH = 1600000000
NOTE = "org.example.note"
DOCKERFILE = """FROM busybox AS build
RUN echo made > /made
FROM scratch AS files
COPY --from=build /made /bin/made
COPY --chown=5:6 src /src/
FROM busybox AS app
COPY src /app/
RUN rm -r /usr/lib/old && echo done > /app/done && touch /gone
RUN rm /gone && ln /app/done /app/done2
CMD ["/app/x"]
"""
SOURCES = {"src/x": F("x\n" * 5000, 0o755), "src/d/": D(0o2750), "src/d/y": "y\n", "src/z": H("src/x"), "src/l": L("d/y")}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@support.needs_root
@support.needs_busybox
class Outputs(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.k = Kasane(os.path.join(cls.work, "store"))
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "base.tar")))
        cls.context = write_tree(os.path.join(cls.work, "ctx"), {**SOURCES, "Dockerfile": DOCKERFILE})
        cls.id = cls.k.build_id(cls.context, "-t", "whole")
        archive = os.path.join(cls.work, "whole.tar")
        cls.k("save", "-o", archive, "whole")
        cls.whole = read_docker_archive(archive)

    def build(self, *args, **kwargs):
        return self.k.build(self.context, *args, **kwargs)

    def files(self, *args, **kwargs):
        return self.build("--target", "files", *args, **kwargs)

    def output(self, *options, args=(), form="oci", **kwargs):
        """Builds the whole image into a layout tar; its Layout."""
        path = os.path.join(self.new_folder("o"), "o.tar")
        self.build("-o", ",".join([f"type={form}", f"dest={path}", *options]), *args, **kwargs)
        return Layout(path)

    def refused(self, words, *args, **kwargs):
        outcome = self.build(*args, check=False, **kwargs)
        self.assertNotEqual(0, outcome.code)
        self.assertIn(words, outcome.err)

    def bytes_of(self, *args):
        """stdout of a build, as bytes."""
        done = subprocess.run([support.KASANE, "build", *args, self.context], env=self.k.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, check=False)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    # files

    def test_local(self):
        """O01, L05: the files of the result in a directory, as they are in the image."""
        out = self.path("local")
        self.files("-o", f"type=local,dest={out}")
        self.assertEqual({"bin/made", "src/x", "src/d/y", "src/z", "src/l"},
                         {os.path.relpath(os.path.join(d, f), out) for d, _, fs in os.walk(out) for f in fs})
        self.assertTrue(os.path.samefile(out + "/src/x", out + "/src/z"))
        self.assertEqual("d/y", os.readlink(out + "/src/l"))
        # Twice is no error, and what else is there stays; mode=delete removes it.
        with open(out + "/mine", "w", encoding="ascii"):
            pass
        self.files("-o", f"type=local,dest={out}")
        self.assertTrue(os.path.exists(out + "/mine"))
        self.files("-o", "type=local,mode=delete,dest=local", cwd=self.work)
        self.assertFalse(os.path.exists(out + "/mine"))
        self.refused("requires --allow", "-o", f"type=local,mode=delete,dest={out}", cwd=self.new_folder())

    def test_local_of_the_whole_image(self):
        """O01: kasane's directory is the merged root of the image."""
        out = self.path("root")
        self.build("-o", f"type=local,dest={out}")
        want = self.whole.tree.describe()
        # All is the caller's; the rest is as in the image.
        self.assertEqual({0}, {os.lstat(os.path.join(d, f)).st_uid for d, ds, fs in os.walk(out) for f in ds + fs})
        found = [d for d in differences(want, walk(out).describe()) if d[0] != "/" and d[1] not in ("uid", "gid")]
        self.assertFalse(found)

    def test_tar(self):
        """O02: the same as a tar, which GNU tar unpacks to the image's root."""
        path = self.path("files.tar")
        self.build("-o", f"type=tar,dest={path}")
        out = self.path("unpacked")
        os.mkdir(out)
        run(["tar", "--xattrs", "--numeric-owner", "-xpf", path, "-C", out])
        self.assertFalse([d for d in differences(self.whole.tree.describe(), walk(out).describe()) if d[0] != "/"])
        with tarfile.open(path) as tar:
            owners = {m.name: (m.uid, m.gid) for m in tar}
        self.files("-o", f"type=tar,dest={path}")
        with tarfile.open(path) as tar:
            self.assertEqual((5, 6), (tar.getmember("src/x").uid, tar.getmember("src/x").gid))
        self.assertEqual((0, 0), owners["app/x"])

    def test_short_forms(self):
        """O09: `-o DIR` is local, `-o -` a tar on standard output."""
        self.files("-o", self.path("short"))
        self.assertTrue(os.path.isfile(self.path("short/bin/made")))
        self.files("-o", "here", cwd=self.work)
        self.assertTrue(os.path.isfile(self.path("here/bin/made")))
        data = self.bytes_of("--target", "files", "-o", "-")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            self.assertIn("bin/made", tar.getnames())
        self.assertEqual(data, self.bytes_of("--target", "files", "-o", "type=tar,dest=-"))
        self.assertEqual(data, self.bytes_of("-q", "--target", "files", "-o", "type=tar"))

    def test_nothing_half_written(self):
        """A build that fails, and a destination that cannot be made, leave nothing."""
        out = self.path("never.tar")
        for dest in (out, self.path("whole.tar/x")):
            outcome = self.build("--build-arg", "X=1", "--target", "nope", "-o", f"type=oci,dest={dest}", check=False)
            self.assertNotEqual(0, outcome.code)
        self.refused("whole.tar", "-o", f"type=oci,dest={self.path('whole.tar/x')}")
        self.assertFalse(os.path.exists(out))

    def test_several_outputs(self):
        """O08, L05: one build, three outputs, the image in the store too."""
        folder = self.new_folder("several")
        self.build("-o", f"type=oci,dest={folder}/a.tar", "-o", f"{folder}/d", "-o", f"type=docker,dest={folder}/b.tar",
                   "-o", "type=image,name=stored:1", "--metadata-file", folder + "/m.json")
        self.assertEqual(self.id, Layout(folder + "/a.tar").manifest()["config"]["digest"])
        self.assertEqual(self.whole.config, read_docker_archive(folder + "/b.tar").config)
        self.assertTrue(os.path.isfile(folder + "/d/app/done"))
        self.assertEqual(self.id, self.k.config("stored:1")["Id"])
        with open(folder + "/m.json", encoding="ascii") as f:
            self.assertEqual(self.id, json.load(f)["containerimage.config.digest"])

    # images

    def test_oci(self):
        """O03, O10, MP4: a layout with one plain manifest, OCI types, gzip; read by skopeo and umoci."""
        layout = self.output("name=app:7")
        manifest = layout.manifest()
        self.assertEqual("application/vnd.oci.image.manifest.v1+json", manifest["mediaType"])
        self.assertEqual(self.id, manifest["config"]["digest"])
        self.assertEqual({"application/vnd.oci.image.layer.v1.tar+gzip"}, {m["mediaType"] for m in manifest["layers"]})
        self.assertFalse(differences(self.whole.tree.describe(), layout.image().tree.describe()))
        self.assertEqual({"io.containerd.image.name": "docker.io/library/app:7", "org.opencontainers.image.ref.name": "7"},
                         {k: v for k, v in layout.top["annotations"].items() if "created" not in k})
        for data in (layout.blob(m) for m in manifest["layers"]):
            self.assertEqual(bytes(4), data[4:8], "a time in the gzip header")
        for number in range(len(manifest["layers"])):
            names = layout.image().layer_names(number)
            self.assertEqual(len(names), len(set(names)))

    @needs("skopeo", "umoci")
    def test_oci_directory_for_other_tools(self):
        """O03, O06: tar=false; two names; skopeo copies it, umoci unpacks it."""
        folder = self.path("layout")
        for name, more in (("one", ()), ("zst", ("compression=zstd", "compression-level=7")),
                           ("none", ("compression=uncompressed",))):
            self.build("-o", ",".join(["type=oci", "tar=false", f"dest={folder}", f"name=app:{name}", *more]))
        self.assertEqual(["one", "zst", "none"],
                         [m["annotations"]["org.opencontainers.image.ref.name"] for m in Layout(folder).index["manifests"]])
        for name in ("one", "zst"):
            bundle = self.path("bundle-" + name)
            run(["umoci", "unpack", "--image", f"{folder}:{name}", bundle]) if name == "one" else run(
                ["skopeo", "--policy", policy_file(self.work), "copy", f"oci:{folder}:{name}", f"dir:{bundle}"])
        root = walk(self.path("bundle-one/rootfs")).describe()
        self.assertFalse([d for d in differences(self.whole.tree.describe(), root) if d[0] != "/"])
        fresh = Kasane(os.path.join(self.new_folder("fresh"), "store"))
        for name in ("one", "zst", "none"):
            copy = os.path.join(self.new_folder("c"), "o.tar")
            run(["skopeo", "--policy", policy_file(self.work), "copy", f"oci:{folder}:{name}", f"oci-archive:{copy}:{name}:x"])
            fresh("load", "-i", copy)
        self.assertEqual({self.id}, set(fresh("images", "-q", "--no-trunc").out.split()))

    def test_oci_to_stdout(self):
        """O03: without dest the layout goes to standard output; progress does not."""
        data = self.bytes_of("-o", "type=oci")
        path = self.path("stdout.tar")
        with open(path, "wb") as f:
            f.write(data)
        self.assertEqual(self.id, Layout(path).manifest()["config"]["digest"])
        self.assertEqual(data, self.bytes_of("-o", "type=oci,dest=-"))
        for args in (("-q",), ("--explain",), ("--resources",)):
            self.assertEqual(data, self.bytes_of("-o", "type=oci", *args))
        self.refused("only one output can go to standard output", "-o", "-", "-o", "type=oci")
        master, slave = pty.openpty()
        done = subprocess.run([support.KASANE, "build", "-o", "-", self.context], env=self.k.env, stdout=slave,
                              stderr=subprocess.PIPE, check=False)
        os.close(slave)
        os.close(master)
        self.assertIn(b"refusing to write to console", done.stderr)

    @needs("skopeo")
    def test_docker(self):
        """O04: an archive for `docker load` that is also an OCI layout; one platform only."""
        path = self.path("docker.tar")
        self.build("-t", "app:d", "-t", "reg.example:5000/x/app", "-o", f"type=docker,dest={path}")
        with tarfile.open(path) as tar:
            manifest = json.load(tar.extractfile("manifest.json"))[0]
        self.assertEqual(["app:d", "reg.example:5000/x/app:latest"], manifest["RepoTags"])
        self.assertEqual(self.id, Layout(path).manifest()["config"]["digest"])
        shown = run(["skopeo", "inspect", "--config", f"docker-archive:{path}:app:d"]).out
        self.assertEqual(self.whole.config["rootfs"]["diff_ids"], json.loads(shown)["rootfs"]["diff_ids"])
        fresh = Kasane(os.path.join(self.new_folder("fresh"), "store"))
        self.assertIn("app:d", fresh("load", "-i", path).out)
        self.assertEqual(self.id, fresh.config("app:d")["Id"])
        self.refused("does not support exporting manifest lists", "--platform", "linux/amd64,linux/arm64", "--target",
                     "empty", "-f", self.empty_dockerfile(), "-o", f"type=docker,dest={path}")

    def empty_dockerfile(self):
        path = self.path("empty.Dockerfile")
        with open(path, "w", encoding="ascii") as f:
            f.write("FROM scratch AS empty\nCOPY src /\n")
        return path

    def test_load(self):
        """L06: --load is the store, under the names of -t."""
        self.build("--load", "-t", "loaded:1")
        self.assertEqual(self.id, self.k.config("loaded:1")["Id"])
        self.build("-o", "type=docker", "-t", "loaded:2")
        self.assertEqual(self.id, self.k.config("loaded:2")["Id"])

    def test_names(self):
        """O05, L01: name= holds several; -t wins; bad names are refused before anything is built."""
        layout = self.output('"name=a:1,reg.io/b"')
        self.assertEqual(["docker.io/library/a:1", "reg.io/b:latest"],
                         [m["annotations"]["io.containerd.image.name"] for m in layout.index["manifests"]])
        layout = self.output("name=a:1", args=("-t", "c:2"))
        self.assertEqual("docker.io/library/c:2", layout.top["annotations"]["io.containerd.image.name"])
        self.build("-o", "type=image,name=store:1,unpack=true,store=true,push=false,name-canonical=true")
        self.assertEqual(self.id, self.k.config("store:1")["Id"])
        self.refused("A:1", "-o", "type=oci,name=A:1,dest=" + self.path("x"))
        self.refused("NOPE", "-t", "NOPE", "-o", self.path("x"))
        self.assertFalse(os.path.exists(self.path("x")))

    def test_compression(self):
        """O06: gzip, zstd and uncompressed with levels; the same bytes every time (T09)."""
        kinds = {"gzip": "+gzip", "zstd": "+zstd", "uncompressed": ""}
        for kind, suffix in kinds.items():
            with self.subTest(kind):
                layout = self.output("compression=" + kind)
                self.assertEqual({"application/vnd.oci.image.layer.v1.tar" + suffix},
                                 {m["mediaType"] for m in layout.manifest()["layers"]})
                self.assertFalse(differences(self.whole.tree.describe(), layout.image().tree.describe()))
                self.assertEqual(layout.top["digest"], self.output("compression=" + kind).top["digest"])
        sizes = {level: sum(m["size"] for m in self.output("compression=gzip", f"compression-level={level}",
                 "force-compression=true").manifest()["layers"]) for level in (1, 9)}
        self.assertLess(sizes[9], sizes[1])
        self.refused("compression-level", "-o", f"type=oci,compression=zstd,compression-level=99,dest={self.path('x')}")
        self.refused("estargz", "-o", f"type=oci,compression=estargz,dest={self.path('x')}")

    def test_docker_media_types(self):
        """O07: docker's types on request; what needs OCI is refused with them."""
        manifest = self.output("oci-mediatypes=false").manifest()
        self.assertEqual("application/vnd.docker.distribution.manifest.v2+json", manifest["mediaType"])
        self.assertEqual("application/vnd.docker.container.image.v1+json", manifest["config"]["mediaType"])
        self.refused("conflicts with oci-mediatypes=false", "-o",
                     f"type=oci,oci-mediatypes=false,compression=zstd,dest={self.path('x')}")
        self.refused("oci-mediatypes=false", "--provenance=true", "-o",
                     f"type=oci,oci-mediatypes=false,dest={self.path('x')}")

    def test_annotations(self):
        """T05, L02: the four places of an annotation; an index annotation without an index is an error."""
        folder = self.new_folder("notes")
        args = ("-f", self.empty_dockerfile(), "--platform", "linux/amd64,linux/arm64")
        self.build(*args, "--annotation", f"{NOTE}=all", "--annotation", f"manifest[linux/arm64]:{NOTE}=arm",
                   "--annotation", f"manifest-descriptor:{NOTE}=md", "--annotation", f"index,index-descriptor:{NOTE}=ix",
                   "-o", f"type=oci,dest={folder}/o.tar,annotation.org.example.more=m")
        layout = Layout(folder + "/o.tar")
        self.assertEqual("ix", layout.top["annotations"][NOTE])
        self.assertEqual({NOTE: "ix"}, layout.document(layout.top)["annotations"])
        platforms = layout.platforms()
        self.assertEqual({"md"}, {d["annotations"][NOTE] for d in platforms.values()})
        self.assertEqual({NOTE: "all", "org.example.more": "m"}, layout.document(platforms["linux/amd64"])["annotations"])
        self.assertEqual("arm", layout.document(platforms["linux/arm64"])["annotations"][NOTE])
        one = self.output(args=("--annotation", f"{NOTE}=1"))
        self.assertEqual({NOTE: "1"}, one.manifest()["annotations"])
        self.refused("index annotations", "--annotation", "index:a=b", "-o", f"type=oci,dest={self.path('x')}")
        self.refused("no platform linux/s390x", "--annotation", "manifest[linux/s390x]:a=b", "-o",
                     f"type=oci,dest={self.path('x')}")
        self.refused("expected key=value", "--annotation", "a")

    def test_rewrite_timestamp(self):
        """T06, T07: times of new layers are at most the epoch, those of the base stay; configuration has the epoch."""
        env = {"SOURCE_DATE_EPOCH": str(EPOCH)}
        layout = self.output("rewrite-timestamp=true", env=env)
        image = layout.image()
        base = len(self.k.config("busybox")["RootFS"]["Layers"])
        self.assertEqual(self.whole.config["rootfs"]["diff_ids"][:base], image.config["rootfs"]["diff_ids"][:base])
        stamp = "2020-09-13T12:26:40Z"
        self.assertEqual(stamp, image.config["created"])
        self.assertEqual({stamp}, {h["created"] for h in image.config["history"][1:]})
        self.assertEqual(stamp, layout.top["annotations"]["org.opencontainers.image.created"])
        for data, descriptor in list(zip(image.layers, layout.manifest()["layers"]))[base:]:
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                self.assertLessEqual(max(m.mtime for m in tar), EPOCH)
        notes = [m.get("annotations", {}) for m in layout.manifest()["layers"]]
        self.assertIn({"buildkit/rewritten-timestamp": str(EPOCH)}, notes)
        self.assertEqual({}, notes[0])
        again = self.output("rewrite-timestamp=true", args=("--no-cache",), env=env)
        self.assertEqual(layout.top["digest"], again.top["digest"], "not reproducible")
        data = self.path("epoch.tar")
        self.files("-o", f"type=tar,dest={data}", env=env)
        with tarfile.open(data) as tar:
            self.assertEqual({EPOCH}, {m.mtime for m in tar})

    def test_squash(self):
        """L24: the new layers become one, the base stays, the files are the same; steps stay cached."""
        layout = self.output(args=("--squash",))
        image = layout.image()
        self.assertEqual(2, len(image.layers))
        self.assertEqual(self.whole.config["rootfs"]["diff_ids"][0], image.config["rootfs"]["diff_ids"][0])
        self.assertNotIn("/gone", image.layer_names(1))
        self.assertIn("/usr/lib/.wh.old", image.layer_names(1))
        self.assertFalse(differences(self.whole.tree.describe(), image.tree.describe()))
        self.assertEqual(layout.manifest()["config"]["digest"], self.k.build_id(self.context, "--squash", "-t", "squashed"))
        self.k.check_store(self)

    def test_legacy_flags(self):
        """L24: flags of the classic builder are taken; those without meaning are noted."""
        outcome = self.build("--rm", "--force-rm", "--compress", "--cpu-shares", "5", "--isolation", "default", "--memory", "1g")
        self.assertIn("--cpu-shares has no meaning for kasane", outcome.err)

    # what is told about the result

    def test_iidfile(self):
        """L18: the image id without a newline; gone when the build fails; no use with local and tar."""
        path = self.path("iid")
        self.build("--iidfile", path, "-o", f"type=oci,dest={self.path('i.tar')}")
        with open(path, encoding="ascii") as f:
            self.assertEqual(self.id, f.read())
        self.build("--iidfile", path, "-f", self.empty_dockerfile(), "--platform", "linux/amd64,linux/arm64", "-o",
                   f"type=oci,dest={self.path('i.tar')}")
        with open(path, encoding="ascii") as f:
            self.assertEqual(Layout(self.path("i.tar")).top["digest"], f.read())
        self.refused("nope", "--iidfile", path, "--target", "nope")
        self.assertFalse(os.path.exists(path))
        for output in (self.path("x"), "-", f"type=tar,dest={self.path('x')}"):
            self.refused("local and tar exporters are incompatible with image ID file", "--iidfile", path, "-o", output)

    def test_metadata_file(self):
        """L19: digests, descriptor and names as JSON; provenance when one was made."""
        path = self.path("meta.json")
        self.build("--metadata-file", path, "-t", "app:1", "-t", "app:2", "-o", f"type=oci,dest={self.path('m.tar')}")
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
        layout = Layout(self.path("m.tar"))
        self.assertEqual(layout.top["digest"], data["containerimage.digest"])
        self.assertEqual(self.id, data["containerimage.config.digest"])
        self.assertEqual(layout.top["digest"], data["containerimage.descriptor"]["digest"])
        self.assertEqual(layout.top["size"], data["containerimage.descriptor"]["size"])
        self.assertEqual("docker.io/library/app:1,docker.io/library/app:2", data["image.name"])
        self.assertFalse([k for k in data if "provenance" in k])
        self.build("--metadata-file", path, "-t", "app:1")
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
        self.assertEqual(self.id, data["containerimage.digest"])
        self.build("--metadata-file", path, "--provenance=mode=max", "-o", f"type=oci,dest={self.path('m.tar')}")
        with open(path, encoding="utf-8") as f:
            self.assertIn("buildDefinition", json.load(f)["buildx.build.provenance"])

    def test_quiet(self):
        """L17, E05: only the id."""
        outcome = self.k("build", "-q", self.context)
        self.assertEqual((self.id + "\n", ""), (outcome.out, outcome.err))

    def test_refusals(self):
        """L06, O05: a push needs a name and a registry that answers; words that are not known are named."""
        self.refused("tag is needed when pushing to registry", "--push")
        self.refused("connect to 127.0.0.1:1", "-o", "type=registry,name=127.0.0.1:1/a")
        self.refused("did you mean", "-o", "type=locla,dest=x")
        self.refused("dest is required", "-o", "type=local")
        self.refused("annotaion", "-o", f"type=oci,annotaion.x=y,dest={self.path('x')}")
        self.refused("sbom", "--sbom=true")
        self.build("--sbom=false", "--provenance=false", "--attest", "type=sbom,disabled=true")


@support.needs_root
@support.needs_busybox
class Provenance(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.k = Kasane(os.path.join(cls.work, "store"), TOKEN="hunter2-secret-value")
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "base.tar")))
        cls.context = write_tree(os.path.join(cls.work, "ctx"), {"f": "f\n", "Dockerfile": (
            "FROM busybox AS build\nARG WHO\nRUN --mount=type=secret,id=TOKEN test -s /run/secrets/TOKEN && echo $WHO > /who\n"
            "FROM busybox\nCOPY --from=build /who /app/\nCOPY f /app/\nFROM scratch AS files\nCOPY f /x/\nCOPY f /y\n")})

    def build(self, *args, target=1, **kwargs):
        return self.k.build(self.context, "--secret", "id=TOKEN", "--build-arg", "WHO=me", "--label", "l=v",
                            "--target", str(target), *args, **kwargs)

    def attested(self, *args, options=""):
        path = os.path.join(self.new_folder("p"), "o.tar")
        self.build("-o", f"type=oci,dest={path}{options}", *args)
        return Layout(path)

    def test_off_by_default(self):
        """T01: nothing is attested unless it is asked for."""
        for args in ((), ("--provenance=false",), ("--attest", "type=provenance,disabled=true")):
            self.assertIn("layers", self.attested(*args).manifest())

    def test_in_the_index(self):
        """T01, T02, L21: a statement per platform about the manifest, stored as BuildKit stores it."""
        layout = self.attested("--provenance=true", "-t", "app:1", "-t", "reg.io/b:2")
        self.assertEqual("application/vnd.oci.image.index.v1+json", layout.top["mediaType"])
        (name, image), = layout.platforms().items()
        (descriptor, manifest, (statement,)), = layout.attestations()
        self.assertEqual({"os": "unknown", "architecture": "unknown"}, descriptor["platform"])
        self.assertEqual({"vnd.docker.reference.type": "attestation-manifest",
                          "vnd.docker.reference.digest": image["digest"]}, descriptor["annotations"])
        self.assertEqual("application/vnd.docker.attestation.manifest.v1+json", manifest["artifactType"])
        self.assertEqual(image["digest"], manifest["subject"]["digest"])
        self.assertEqual({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}, manifest["layers"][0]["annotations"])
        self.assertEqual("application/vnd.in-toto+json", manifest["layers"][0]["mediaType"])
        self.assertEqual(["_type", "predicateType", "subject", "predicate"], list(statement))
        self.assertEqual("https://in-toto.io/Statement/v1", statement["_type"])
        purl = name.replace("/", "%2F")
        sha = {"sha256": image["digest"][7:]}
        self.assertEqual([{"name": f"pkg:docker/app@1?platform={purl}", "digest": sha},
                          {"name": f"pkg:docker/reg.io/b@2?platform={purl}", "digest": sha}], statement["subject"])
        predicate = statement["predicate"]
        base = self.k.config("busybox")["Id"][7:]
        self.assertEqual([{"uri": f"pkg:docker/busybox@latest?platform={purl}", "digest": {"sha256": base}}],
                         predicate["buildDefinition"]["resolvedDependencies"])
        self.assertEqual("https://mobyproject.org/buildkit@v1", predicate["buildDefinition"]["buildType"])
        self.assertNotIn("me", json.dumps(predicate["buildDefinition"]["externalParameters"]["request"]["args"]))
        old = self.attested("--provenance=mode=min", options=",oci-artifact=false")
        (_, manifest, (statement,)), = old.attestations()
        self.assertNotIn("artifactType", manifest)
        self.assertEqual([digest(old.blob(manifest["layers"][0]))],
                         old.document(manifest["config"])["rootfs"]["diff_ids"])
        self.assertEqual("_", statement["subject"][0]["name"])

    def test_modes(self):
        """T01: mode=max tells arguments, labels and steps; neither tells a secret."""
        texts = {}
        for mode in ("min", "max"):
            layout = self.attested(f"--provenance=mode={mode},builder-id=https://ci.example/7")
            (_, manifest, (statement,)), = layout.attestations()
            texts[mode] = json.dumps(statement)
            self.assertEqual("https://ci.example/7", statement["predicate"]["runDetails"]["builder"]["id"])
            self.assertNotIn("hunter2", texts[mode])
            self.assertFalse([n for n, data in layout.files.items() if b"hunter2" in data])
        definition = json.loads(texts["max"])["predicate"]["buildDefinition"]
        args = definition["externalParameters"]["request"]["args"]
        self.assertEqual(("me", "v"), (args["build-arg:WHO"], args["label:l"]))
        self.assertEqual("TOKEN", definition["externalParameters"]["request"]["secrets"][0]["id"])
        self.assertTrue([s for s in definition["internalParameters"]["steps"] if "RUN --mount=type=secret" in s["name"]])
        self.assertLess(len(texts["min"]), len(texts["max"]))
        outcome = self.build("--provenance=mode=max", "--build-arg", "OTHER=hunter2-secret-value", "-o", self.path("leak"), check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertFalse(os.path.exists(self.path("leak")))
        outcome = self.build("--provenance=mode=mid", check=False)
        self.assertIn("use mode=min or mode=max", outcome.err)

    def test_beside_files(self):
        """T04: local and tar outputs hold the statement as a file; its subjects are the files."""
        out = self.path("out")
        self.build("--provenance=true", "-o", out, target="files")
        with open(out + "/provenance.json", encoding="utf-8") as f:
            statement = json.load(f)
        sha = {"sha256": hashlib.sha256(b"f\n").hexdigest()}
        self.assertEqual([{"name": "x/f", "digest": sha}, {"name": "y", "digest": sha}], statement["subject"])
        self.assertEqual("https://slsa.dev/provenance/v1", statement["predicateType"])
        self.build("--provenance=true", "--platform", "linux/amd64,linux/arm64", "-o",
                   f"type=tar,dest={self.path('o.tar')}", target="files")
        with tarfile.open(self.path("o.tar")) as tar:
            names = tar.getnames()
        self.assertEqual(["linux_amd64/provenance.json", "linux_arm64/provenance.json"],
                         [n for n in names if "provenance" in n])

    @needs("skopeo")
    def test_other_tools_see_the_image(self):
        """T02: an index with attestations is still an image for skopeo."""
        path = self.path("s.tar")
        self.build("--provenance=mode=max", "-t", "app:1", "-o", f"type=oci,dest={path}")
        out = self.path("copied")
        run(["skopeo", "--policy", policy_file(self.work), "copy", f"oci-archive:{path}", f"dir:{out}"])
        with open(out + "/manifest.json", "rb") as f:
            (_, image), = Layout(path).platforms().items()
            self.assertEqual(image["digest"], digest(f.read()))


if __name__ == "__main__":
    support.main()
