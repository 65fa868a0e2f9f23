"""copy between registries, OCI layouts, archives and the store: bytes, counts, names, and what goes wrong."""

import json
import os
import shutil
import subprocess
import tarfile
import unittest

import fake_registry
import image_sets
import registries
import registry_support
import support
from fake_registry import FakeRegistry, digest_of

ACCEPT = f"{fake_registry.INDEX}, {fake_registry.MANIFEST}, {fake_registry.DOCKER_MANIFEST}"


class CopyTestCase(registry_support.RegistryTestCase):
    def setUp(self):
        super().setUp()
        self.images = image_sets.bundle()
        self.source = self.images.layout(self.new_folder("source"))

    def start(self):
        server = registries.serve(self.new_folder("served"))
        self.addCleanup(server.stop)
        return server.host

    def copy(self, *args, **kwargs):
        return json.loads(self.k("copy", "--format", "json", *args, **kwargs).out)

    def manifest(self, host, repository, reference):
        return registry_support.fetch(f"http://{host}/v2/{repository}/manifests/{reference}", ACCEPT)


class PlacesTest(CopyTestCase):
    def test_around_all_places_and_back(self):
        host = self.start()
        folder = self.new_folder("places")
        for name, digest in self.images.names.items():
            way = [f"oci:{self.source}:{name}", f"docker://{host}/a/b:{name}", f"{host}/c:{name}",
                   f"oci-archive:{folder}/{name}.oci.tar:{name}", f"docker-archive:{folder}/{name}.docker.tar:team/app:{name}",
                   f"oci:{folder}/back:{name}"]
            for source, target in zip(way, way[1:]):
                done = self.copy(source, target)
                self.assertEqual([(digest, False)], [(one["digest"], one["upToDate"]) for one in done["images"]], (source, target))
            self.images.check_layout(self, folder + "/back", name, digest)
            self.assertEqual(self.images.blobs[digest], self.manifest(host, "a/b", name))

    def test_what_is_there_is_not_sent(self):
        source, target = FakeRegistry(), FakeRegistry()
        for one in (source, target):
            self.serve(one).strict_links = True
        self.copy(f"oci:{self.source}:multi", f"{source.host}/app:1")
        source.requests.clear()
        first = self.copy(f"{source.host}/app:1", f"{target.host}/app:1")
        blobs = [d for d in self.images.reach(self.images.names["multi"]) if d not in self.images.types]
        self.assertEqual({"copied": len(blobs), "mounted": 0, "existing": 0,
                          "bytes": sum(len(self.images.blobs[d]) for d in blobs)}, first["blobs"])
        for digest in blobs:
            self.assertEqual(1, source.count("GET", f"/blobs/{digest}"), [r[:2] for r in source.requests + target.requests if digest in r[1] or "uploads" in r[1]])
        for host in (source, target):
            host.requests.clear()
        again = self.copy(f"{source.host}/app:1", f"{target.host}/app:1")
        self.assertEqual([True], [one["upToDate"] for one in again["images"]])
        self.assertEqual(0, source.count("GET", "/blobs/") + target.count("PUT", "/") + target.count("POST", "/"))
        # Another tag and one image alone: nothing but documents.
        target.requests.clear()
        other = self.copy("--platform", "linux/arm64", f"{source.host}/app:1", f"{target.host}/app:arm")
        self.assertEqual((0, 0), (other["blobs"]["copied"], source.count("GET", "/blobs/sha256:" + "0")))
        self.assertEqual(["PUT"], [m for m, path, _ in target.requests if m in ("PUT", "POST", "PATCH")])
        arm = json.loads(self.images.blobs[self.images.names["multi"]])["manifests"][1]["digest"]
        self.assertEqual(arm, other["images"][0]["digest"])
        # Into another repository of the same registry: mounted.
        mounted = self.copy(f"{target.host}/app:1", f"{target.host}/neighbour:1")
        self.assertEqual((len(blobs), 0, 0), (mounted["blobs"]["mounted"], mounted["blobs"]["copied"], mounted["blobs"]["bytes"]))
        self.assertEqual(0, target.count("GET", "/blobs/"), "what is mounted is not read")
        self.assertFalse(os.path.exists(self.k.root), "copy makes no store")

    def test_all_tags(self):
        host = self.start()
        done = self.copy("-a", f"oci:{self.source}", f"{host}/all")
        self.assertEqual(self.images.names, {one["destination"].rpartition(":")[2]: one["digest"] for one in done["images"]})
        folder = self.new_folder("x")
        self.copy("--all-tags", f"{host}/all", f"oci:{folder}/layout")
        self.copy("--all-tags", f"{host}/all", f"docker-archive:{folder}/d.tar")
        for name, digest in self.images.names.items():
            self.images.check_layout(self, folder + "/layout", name, digest)
        with tarfile.open(folder + "/d.tar") as tar:
            names = {tag for image in json.load(tar.extractfile("manifest.json")) for tag in image["RepoTags"]}
        self.assertEqual({f"{host}/all:{name}" for name in self.images.names}, names)
        self.assertEqual({False}, {one["upToDate"] for one in self.copy("-a", f"{host}/all", f"{host}/all2")["images"]})
        self.assertEqual({True}, {one["upToDate"] for one in self.copy("-a", f"{host}/all", f"{host}/all2")["images"]})
        refused = self.k("copy", "-a", f"{host}/all:multi", f"{host}/all3", check=False)
        self.assertEqual((1, True), (refused.code, "tag can't be used with --all-tags/-a" in refused.err), refused.err)

    def test_archives_of_others_and_through_pipes(self):
        # A docker archive without manifests: layers are compressed, always to the same bytes.
        old = self.new_folder("old") + "/old.tar"
        image = fake_registry.Image([{"f": b"x" * 5000}, {"g": b"y"}])
        work = self.new_folder("work")
        os.makedirs(work + "/1")
        for path, data in (("config.json", image.config), ("1/layer.tar", image.tars[0]), ("2.tar", image.tars[1]), (
                "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["1/layer.tar", "2.tar"]}]).encode())):
            with open(f"{work}/{path}", "wb") as f:
                f.write(data)
        with tarfile.open(old, "w") as tar:
            for name in ("config.json", "1/layer.tar", "2.tar", "manifest.json"):
                tar.add(f"{work}/{name}", name)
        digests = {self.copy(f"docker-archive:{old}:{name}".rstrip(":"), f"oci:{self.new_folder('t')}:x")["images"][0]["digest"]
                   for name in ("app:1", "docker.io/library/app:1", "")}
        self.assertEqual(1, len(digests))
        host = self.start()
        self.copy(f"docker-archive:{old}", f"{host}/old:1")
        self.assertEqual(digests, {digest_of(self.manifest(host, "old", "1"))})
        self.k("pull", f"{host}/old:1")
        self.assertEqual(digest_of(image.config), self.k.config(f"{host}/old:1")["Id"])
        # Compressed, from a pipe, to a pipe.
        support.run(["gzip", "-k", old])
        with open(old + ".gz", "rb") as packed:
            out = subprocess.run([support.KASANE, "copy", "docker-archive:-", "oci-archive:-"], stdin=packed, check=True,
                                 stdout=subprocess.PIPE, env=support.clean_environment(), timeout=120).stdout
        with open(work + "/out.tar", "wb") as f:
            f.write(out)
        self.assertEqual(digests, {self.copy(f"oci-archive:{work}/out.tar", f"{host}/old:2")["images"][0]["digest"]})
        # What save writes keeps its digests, too.
        self.k("save", "-o", work + "/saved.tar", f"{host}/old:1")
        saved = self.copy(f"docker-archive:{work}/saved.tar", f"{host}/saved:1")["images"][0]["digest"]
        self.assertEqual(saved, digest_of(self.manifest(host, "saved", "1")))


class StoreTest(CopyTestCase):
    def test_into_the_store_and_out_of_it(self):
        host = self.start()
        for name in ("single", "zstd", "docker"):
            digest = self.images.names[name]
            self.copy(f"oci:{self.source}:{name}", f"store:team/app:{name}")
            self.assertEqual(json.loads(self.images.blobs[digest])["config"]["digest"], self.k.config(f"team/app:{name}")["Id"])
            self.assertEqual(digest, self.copy(f"store:team/app:{name}", f"{host}/{name}:1")["images"][0]["digest"])
            self.assertEqual(self.images.blobs[digest], self.manifest(host, name, "1"))
        multi = self.copy(f"oci:{self.source}:multi", "store:multi:1")
        self.assertEqual(self.images.names["multi"], multi["images"][0]["digest"])
        entries = json.loads(self.images.blobs[self.images.names["multi"]])["manifests"]
        self.copy("store:multi:1", f"oci:{self.path('back')}:multi")
        for platform, entry in (("linux/amd64", entries[0]), ("linux/arm64", entries[1])):
            self.assertEqual(entry["digest"] + "\n", self.k("digest", "--platform", platform, "store:multi:1").out)
            self.assertEqual(entry["digest"] + "\n", self.k("digest", "--platform", platform, f"oci:{self.path('back')}:multi").out)
        self.assertEqual({"docker", "single", "zstd"}, set(self.k("tags", "store:team/app").out.split()))
        self.copy("-a", "store:team/app", f"{host}/everything")
        self.assertEqual(self.images.blobs[self.images.names["zstd"]], self.manifest(host, "everything", "zstd"))
        self.k.check_store(self)

    def test_what_was_built_leaves_as_a_push_sends_it(self):
        host, context = self.start(), self.new_folder("context")
        with open(context + "/Dockerfile", "w", encoding="ascii") as f:
            f.write("FROM scratch\nCOPY Dockerfile /x\n")
        self.k("build", "-q", "-t", "built", context)
        copied = self.copy("store:built", f"{host}/copied:1")["images"][0]["digest"]
        self.k("tag", "built", f"{host}/pushed:1")
        self.assertIn(copied, self.k("push", f"{host}/pushed:1").out)
        self.copy("store:built:latest", f"docker-archive:{context}/x.tar:built:2")
        loaded = self.kasane()
        loaded("load", "-i", context + "/x.tar")
        self.assertEqual(self.k.config("built")["Id"], loaded.config("built:2")["Id"])
        refused = self.k("copy", "store:nope", f"{host}/x:1", check=False)
        self.assertEqual((1, True), (refused.code, "No such image" in refused.err), refused.err)
        # What is no image stays out of the store.
        artifact = image_sets.Bundle()
        artifact.add_image(fake_registry.Image([{"a": b"a"}], layer_type="application/x-chart"), "chart")
        folder = artifact.layout(self.new_folder("chart"))
        self.copy(f"oci:{folder}:chart", f"{host}/chart:1")
        refused = self.k("copy", f"{host}/chart:1", "store:chart", check=False)
        self.assertEqual((1, True), (refused.code, "unsupported media type" in refused.err), refused.err)


class WrongTest(CopyTestCase):
    def fails(self, *args, text, code=1):
        done = self.k("copy", *args, check=False)
        self.assertEqual(code, done.code, done)
        self.assertIn(text, done.err)
        return done

    def test_names_and_places(self):
        digest = self.images.names["single"]
        self.fails("oci:" + self.source, "oci:" + self.path("t"), text="holds more than one image")
        self.fails(f"oci:{self.source}:nope", "oci:" + self.path("t"), text="no image named nope")
        self.fails("oci:/does/not/exist", "oci:" + self.path("t"), text="No such file")
        self.fails(f"oci:{self.source}:single", f"localhost:1/x@{digest}", text="not by a digest")
        self.fails(f"oci:{self.source}:single", "containers-storage:x", text="no transport containers-storage:")
        self.fails("--platform", "linux/s390x", f"oci:{self.source}:multi", "oci:" + self.path("t"), text="the index has: linux/amd64, linux/arm64")
        self.fails("--platform", "linux/s390x", f"oci:{self.source}:single", "oci:" + self.path("t"), text="the image is for linux/amd64")
        self.assertFalse(os.path.exists(self.path("t")))
        by_digest = self.copy(f"oci:{self.source}@{digest}", "oci:" + self.path("t"))
        self.assertEqual(digest, by_digest["images"][0]["digest"])
        self.images.check_layout(self, self.path("t"), "", digest)

    def test_damaged_sources_leave_no_name(self):
        host = self.start()
        self.copy(f"oci:{self.source}:multi", f"{host}/good:1")
        reach = self.images.reach(self.images.names["multi"])
        for number, digest in enumerate(sorted(reach)):
            path = f"{self.source}/blobs/sha256/{digest[7:]}"
            with open(path, "r+b") as f:
                f.seek(3)
                f.write(b"\x00\x01")
            for target in (f"{host}/bad{number}:1", f"oci:{self.path('bad', str(number))}:1", f"oci-archive:{self.path('bad.tar')}"):
                self.fails(f"oci:{self.source}:multi", target, text="")
                self.assertFalse(os.path.exists(self.path("bad.tar")))
                self.assertFalse(os.path.exists(self.path("bad", str(number), "index.json")))
            self.assertEqual(404, registry_support.status_of(f"http://{host}/v2/bad{number}/manifests/1"))
            with open(path, "wb") as f:
                f.write(self.images.blobs[digest])

    def test_a_registry_that_lies_or_breaks(self):
        source, host = self.serve(FakeRegistry()), self.start()
        self.copy(f"oci:{self.source}:single", f"{source.host}/app:1")
        layer = json.loads(self.images.blobs[self.images.names["single"]])["layers"][0]["digest"]
        good = source.blobs[layer]
        broken = []

        def breaks(handler):  # the first answer ends in the middle: the rest is asked for, nothing twice
            if layer not in handler.path or handler.command != "GET" or broken:
                return False
            broken.append(True)
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(good)))
            handler.end_headers()
            handler.wfile.write(good[:100_000])
            handler.reset()
            return True
        source.hooks.append(breaks)
        done = self.copy(f"{source.host}/app:1", f"{host}/app:1")
        self.assertEqual(self.images.names["single"], done["images"][0]["digest"])
        ranges = [h for h in source.headers_seen("Range")]
        self.assertEqual(1, len(ranges), ranges)
        self.assertEqual(good, registry_support.fetch(f"http://{host}/v2/app/blobs/{layer}"))
        source.hooks.clear()
        source.blobs[layer] = good[:-5] + b"wrong"
        bad = self.k("copy", f"{source.host}/app:1", f"{host}/lie:1", check=False)
        self.assertEqual((1, True), (bad.code, "digest mismatch" in bad.err), bad.err)
        self.assertEqual(404, registry_support.status_of(f"http://{host}/v2/lie/manifests/1"))
        self.assertEqual(404, registry_support.status_of(f"http://{host}/v2/lie/blobs/{layer}"))

    def test_hostile_layouts(self):
        folder = self.new_folder("hostile")
        outside = self.path("secret")
        with open(outside, "w", encoding="ascii") as f:
            f.write("{}")
        os.makedirs(folder + "/blobs")
        with open(folder + "/oci-layout", "w", encoding="ascii") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        os.symlink(os.path.dirname(outside), folder + "/blobs/sha256")
        for index in ("", "[]", "{", '{"schemaVersion":2,"manifests":[{"digest":"../../secret","size":2}]}',
                      '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":-1}]}' % (fake_registry.MANIFEST, "0" * 64),
                      '{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"sha256:%s","size":2}]}' % (fake_registry.MANIFEST, "0" * 64)):
            with open(folder + "/index.json", "w", encoding="ascii") as f:
                f.write(index)
            self.fails(f"oci:{folder}", "oci:" + self.path("t"), text="")
        # An index that names itself cannot exist; one that is nested too deeply can.
        deep = image_sets.Bundle()
        at = deep.add_image(fake_registry.Image([{"a": b"a"}]))
        for _ in range(12):
            at = deep.add_index([deep.descriptor(at)])
        deep.names["deep"] = at
        self.fails(f"oci:{deep.layout(self.new_folder('deep'))}:deep", "oci:" + self.path("t"), text="nested too deeply")


class PeersTest(CopyTestCase):
    """What one pushes the other pulls, with the same digests, through Debian's docker-registry."""

    def setUp(self):
        super().setUp()
        for program in ("docker-registry", "skopeo"):
            if not shutil.which(program):
                self.skipTest(f"not installed: {program}")
        self.host = self.serve(registries.DockerRegistry(self.new_folder("registry"))).host

    def skopeo(self, *args):
        return support.run(["skopeo", "--insecure-policy", *args]).out

    def test_skopeo(self):
        for name, digest in self.images.names.items():
            # kasane to skopeo
            self.copy(f"oci:{self.source}:{name}", f"{self.host}/k:{name}")
            folder = self.new_folder("s")
            self.skopeo("copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", f"docker://{self.host}/k:{name}", f"oci:{folder}:{name}")
            self.images.check_layout(self, folder, name, digest)
            # skopeo to kasane
            # (its layouts have no schema 2)
            source = f"docker://{self.host}/k:{name}" if name == "docker" else f"oci:{self.source}:{name}"
            self.skopeo("copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", source, f"docker://{self.host}/s:{name}")
            done = self.copy(f"{self.host}/s:{name}", f"oci:{folder}:again")
            self.assertEqual(digest, done["images"][0]["digest"])
            self.images.check_layout(self, folder, "again", digest)
            # Archives in both directions.
            if name != "docker":
                self.copy(f"oci:{self.source}:{name}", f"oci-archive:{folder}/a.tar:{name}")
                self.skopeo("copy", "-q", "--all", "--preserve-digests", f"oci-archive:{folder}/a.tar:{name}", f"oci:{folder}/b:{name}")
                self.images.check_layout(self, folder + "/b", name, digest)
                self.skopeo("copy", "-q", "--all", f"oci:{self.source}:{name}", f"oci-archive:{folder}/c.tar:{name}")
                self.assertEqual(digest, self.copy(f"oci-archive:{folder}/c.tar:{name}", f"{self.host}/c:{name}")["images"][0]["digest"])
            config = json.loads(self.skopeo("inspect", "--tls-verify=false", "--config", f"docker://{self.host}/k:{name}"))
            self.copy(f"oci:{self.source}:{name}", f"docker-archive:{folder}/d.tar:app:{name}")
            self.assertEqual(config, json.loads(self.skopeo("inspect", "--config", f"docker-archive:{folder}/d.tar:app:{name}")))
        self.skopeo("copy", "-q", f"oci:{self.source}:single", f"docker-archive:{folder}/e.tar:app:1")
        self.copy(f"docker-archive:{folder}/e.tar:app:1", f"{self.host}/e:1")
        self.assertEqual(self.skopeo("inspect", "--config", f"oci:{self.source}:single"),
                         self.skopeo("inspect", "--tls-verify=false", "--config", f"docker://{self.host}/e:1"))

    @support.needs_root
    @support.needs("buildah")
    def test_buildah(self):
        root = ["--root", self.new_folder("b"), "--runroot", self.new_folder("r"), "--storage-driver", "vfs"]
        config = lambda digest: json.loads(self.images.blobs[digest])["config"]["digest"]
        entries = json.loads(self.images.blobs[self.images.names["multi"]])["manifests"]
        for name, digest in self.images.names.items():
            self.copy(f"oci:{self.source}:{name}", f"{self.host}/b:{name}")
            image = entries[0]["digest"] if name == "multi" else digest
            support.run(["buildah", *root, "pull", "-q", "--tls-verify=false", "--arch", "amd64", f"{self.host}/b:{name}"])
            found = json.loads(support.run(["buildah", *root, "inspect", "--type", "image", f"{self.host}/b:{name}"]).out)
            self.assertEqual(config(image)[7:], found["FromImageID"])
        support.run(["buildah", *root, "push", "-q", "--tls-verify=false", f"{self.host}/b:single", f"docker://{self.host}/from-buildah:1"])
        folder = self.new_folder("o")
        done = self.copy(f"{self.host}/from-buildah:1", f"oci:{folder}:x")
        pushed = self.manifest(self.host, "from-buildah", "1")
        self.assertEqual(digest_of(pushed), done["images"][0]["digest"])
        self.assertEqual(config(self.images.names["single"]), json.loads(pushed)["config"]["digest"])

    @support.needs("umoci")
    def test_umoci(self):
        host_layout = self.new_folder("u")
        self.copy("-a", f"oci:{self.source}", f"oci:{host_layout}")
        self.assertEqual(set(self.images.names), set(support.run(["umoci", "list", "--layout", host_layout]).out.split()))
        support.run(["umoci", "tag", "--image", f"{host_layout}:single", "renamed"])
        support.run(["umoci", "config", "--image", f"{host_layout}:single", "--tag", "changed", "--config.label", "a=b"])
        for name in ("renamed", "changed"):
            done = self.copy(f"oci:{host_layout}:{name}", f"{self.host}/u:{name}")
            self.assertEqual(done["images"][0]["digest"], digest_of(self.manifest(self.host, "u", name)))
        self.assertEqual(self.images.names["single"], digest_of(self.manifest(self.host, "u", "renamed")))
        back = self.new_folder("back")
        self.copy(f"{self.host}/u:changed", f"oci:{back}:changed")
        self.assertIn('"a": "b"', support.run(["umoci", "stat", "--image", f"{back}:changed", "--json"]).out.replace('":"', '": "') + '"a": "b"')
        unpacked = self.path("rootfs")
        support.run(["umoci", "unpack", *([] if support.is_root() else ["--rootless"]), "--image", f"{back}:changed", unpacked])
        self.assertTrue(os.path.exists(unpacked + "/rootfs/bin/tool"))

    @unittest.skipUnless(shutil.which("docker") and os.path.exists("/var/run/docker.sock"), "no docker daemon runs here")
    def test_docker(self):
        self.copy(f"oci:{self.source}:single", f"{self.host}/d:1")
        support.run(["docker", "pull", "-q", f"{self.host}/d:1"])
        self.addCleanup(support.run, ["docker", "rmi", "-f", f"{self.host}/d:1"])
        support.run(["docker", "tag", f"{self.host}/d:1", f"{self.host}/d:2"])
        support.run(["docker", "push", "-q", f"{self.host}/d:2"])
        done = self.copy(f"{self.host}/d:2", f"oci:{self.new_folder('dd')}:x")
        self.assertEqual(done["images"][0]["digest"], digest_of(self.manifest(self.host, "d", "2")))


if __name__ == "__main__":
    support.main()
