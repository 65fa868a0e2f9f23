"""push, build --push and FROM of a registry's image: round trips with other tools, and registries that misbehave."""

import json
import os
import shutil
import subprocess
import time
import unittest

import fake_registry
import registries
import registry_support
import support
from fake_registry import FakeRegistry, Image, digest_of

OCI = fake_registry.MANIFEST


class PushTestCase(registry_support.RegistryTestCase):
    def context(self, dockerfile, **files):
        folder = self.new_folder("context")
        for name, data in {"Dockerfile": dockerfile.encode(), **files}.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        return folder

    def built(self, name, k=None, **files):
        files = files or {"a": b"content", "b": os.urandom(3_000_000)}
        lines = "FROM scratch\n" + "".join(f"COPY {name} /{name}\n" for name in sorted(files))
        (k or self.k)("build", "-q", "-t", name, self.context(lines, **files))
        return files


class RoundTripTest(PushTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for program in ("docker-registry", "skopeo"):
            if not shutil.which(program):
                raise unittest.SkipTest(f"not installed: {program}")
        cls.registry = registries.DockerRegistry(cls.path(cls, "registry"))
        cls.addClassCleanup(cls.registry.close)
        cls.host = cls.registry.host

    def test_dockers_lines_and_another_store_gets_the_same(self):
        name = f"{self.host}/team/app"
        self.built(name + ":1")
        first = self.k("push", name + ":1").out.splitlines()
        self.assertEqual(f"The push refers to repository [{name}]", first[0])
        layers = [layer[7:19] for layer in self.k.config(name + ":1")["RootFS"]["Layers"]]
        for layer in layers:
            states = [line.partition(": ")[2] for line in first if line.startswith(layer)]
            self.assertEqual(["Preparing", "Pushing", "Pushed"], states)
        manifest = registry_support.fetch(f"http://{self.host}/v2/team/app/manifests/1", OCI)
        self.assertEqual(f"1: digest: {digest_of(manifest)} size: {len(manifest)}", first[-1])
        again = self.k("push", name + ":1").out.splitlines()
        self.assertEqual(first[-1], again[-1])
        self.assertEqual({"Layer already exists"}, {line.partition(": ")[2] for line in again[1:-1]})
        self.assertEqual(name + ":1\n", self.k("push", "-q", name + ":1").out)
        other = self.kasane()
        other("pull", name + ":1")
        self.assertEqual(self.k.config(name + ":1")["Id"], other.config(name + ":1")["Id"])
        # What was pulled goes back as the very bytes that came, under any name.
        other("tag", name + ":1", f"{self.host}/copy:2")
        mounted = other("push", f"{self.host}/copy:2").out
        self.assertIn("Mounted from team/app", mounted)
        self.assertEqual(manifest, registry_support.fetch(f"http://{self.host}/v2/copy/manifests/2", OCI))
        other.check_store(self)

    def test_skopeo_and_buildah_read_it(self):
        name = f"{self.host}/peers:1"
        files = self.built(name)
        self.k("push", name)
        folder = self.new_folder("dir")
        support.run(["skopeo", "copy", "-q", "--src-tls-verify=false", "docker://" + name, "dir:" + folder])
        digest = support.run(["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://" + name]).out.strip()
        with open(folder + "/manifest.json", "rb") as f:
            self.assertEqual(digest, digest_of(f.read()))
        if shutil.which("buildah") and support.is_root():
            root = ["--root", self.new_folder("b"), "--runroot", self.new_folder("r"), "--storage-driver", "vfs"]
            support.run(["buildah", *root, "pull", "-q", "--tls-verify=false", name])
            config = json.loads(support.run(["buildah", *root, "inspect", "--type", "image", name]).out)
            self.assertEqual(self.k.config(name)["Id"][7:], config["FromImageID"])
        self.assertEqual({"a", "b"}, set(files))

    def test_what_others_pushed_comes_back_unchanged(self):
        image = Image([{"x": os.urandom(100_000)}], media_type=fake_registry.DOCKER_MANIFEST,
                      layer_type="application/vnd.docker.image.rootfs.diff.tar.gzip")
        image.document["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
        source = self.serve(FakeRegistry())
        source.add("app", "1", image)
        self.k("pull", source.host + "/app:1")
        self.k("tag", source.host + "/app:1", self.host + "/again:1")
        self.k("push", self.host + "/again:1")
        self.assertEqual(image.manifest, registry_support.fetch(f"http://{self.host}/v2/again/manifests/1", fake_registry.DOCKER_MANIFEST))
        self.assertEqual(image.blobs[0], registry_support.fetch(f"http://{self.host}/v2/again/blobs/{digest_of(image.blobs[0])}"))

    def test_foreign_layers_go_by_request_only(self):
        image = Image([{"x": b"x" * 1000}], layer_type="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")
        image.document["layers"][0]["urls"] = ["https://layers.example/1"]  # without, a registry wants the blob
        source, target = self.serve(FakeRegistry()), self.serve(FakeRegistry())
        source.add("app", "1", image)
        self.k("pull", source.host + "/app:1")
        self.k("tag", source.host + "/app:1", target.host + "/app:1")
        self.assertIn(": Skipped foreign layer", self.k("push", target.host + "/app:1").out)
        self.assertNotIn(digest_of(image.blobs[0]), target.blobs)
        self.k("push", "--allow-nondistributable-artifacts", target.host + "/app:1")
        self.assertEqual(image.blobs[0], target.blobs[digest_of(image.blobs[0])])
        self.assertEqual(image.manifest, target.manifests[("app", "1")][1])

    def test_zstd_and_all_tags(self):
        name = f"{self.host}/z"
        self.built(name + ":1")
        self.k("tag", name + ":1", name + ":2")
        out = self.k("push", "--all-tags", "--compression", "zstd", name).out
        self.assertIn("1: digest: ", out)
        self.assertIn("2: digest: ", out)
        manifest = json.loads(registry_support.fetch(f"http://{self.host}/v2/z/manifests/2", OCI))
        self.assertEqual({"application/vnd.oci.image.layer.v1.tar+zstd"}, {layer["mediaType"] for layer in manifest["layers"]})
        other = self.kasane()
        other("pull", name + ":2")
        other.check_store(self)

    def test_memory(self):
        """Streams do not grow with the image: less than 40 MiB for layers of 96 MiB."""
        name = f"{self.host}/large:1"
        self.built(name, one=os.urandom(96 << 20), two=(b"%d " % 7) * (48 << 20))
        for k, *command in ((self.k, "push", name), (self.kasane(), "pull", name)):
            process = subprocess.Popen([support.KASANE, *command], env=k.env, stdout=subprocess.DEVNULL)
            peak = 0
            while process.poll() is None:
                try:
                    with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
                        peak = max([peak] + [int(line.split()[1]) for line in f if line.startswith("VmHWM:")])
                except OSError:
                    pass
                time.sleep(0.01)
            self.assertEqual(0, process.returncode)
            print(f"{command[0]}: {peak / 1024:.1f} MiB")
            self.assertTrue(0 < peak < 40 << 10, f"{command[0]}: {peak} KiB")

    def test_same_bytes_from_two_stores(self):
        name = f"{self.host}/same:1"
        folder = self.context("FROM scratch\nCOPY a /a\n", a=b"x" * 100_000)
        digests = set()
        for k in (self.k, self.kasane()):
            k("build", "-q", "-t", name, folder, env={"SOURCE_DATE_EPOCH": "1"})
            digests.add(k("push", name).out.splitlines()[-1])
        self.assertEqual(1, len(digests), digests)

    def test_build_push_and_base_from_the_registry(self):
        base, name = f"{self.host}/base:1", f"{self.host}/top:1"
        self.built(base)
        self.k("push", base)
        other = self.kasane()
        context = self.context(f"FROM {base}\nCOPY c /c\n", c=b"new")
        other("build", "--push", "-q", "-t", name, context)
        manifest = json.loads(registry_support.fetch(f"http://{self.host}/v2/top/manifests/1", OCI))
        self.assertEqual(3, len(manifest["layers"]))
        self.assertEqual(json.loads(registry_support.fetch(f"http://{self.host}/v2/base/manifests/1", OCI))["layers"], manifest["layers"][:2])
        # A newer base is seen with --pull only.
        self.built(base, a=b"changed", b=b"small")
        self.k("push", base)
        before = other.config(base)["Id"]
        other("build", "-q", context)
        self.assertEqual(before, other.config(base)["Id"])
        other("build", "-q", "--pull", context)
        self.assertEqual(self.k.config(base)["Id"], other.config(base)["Id"])
        missing = other("build", "-q", self.context(f"FROM {self.host}/nothing:1\n"), check=False)
        self.assertEqual(1, missing.code)
        self.assertIn("not found in the store, and not pulled: manifest for", missing.err)

    def test_build_push_with_annotations_and_attestations(self):
        name = f"{self.host}/attested"
        context = self.context("FROM scratch\nCOPY a /a\n", a=b"a" * 3_000_000)
        metadata = os.path.join(self.new_folder("meta"), "m.json")
        self.k("build", "-q", "--push", "--platform", "linux/amd64,linux/arm64", "--provenance=true", "--metadata-file", metadata,
               "--annotation", "manifest:who=me", "--annotation", "index:all=us", "-t", name + ":1", context)
        raw = registry_support.fetch(f"http://{self.host}/v2/attested/manifests/1", fake_registry.INDEX)
        index = json.loads(raw)
        self.assertEqual({"all": "us"}, index["annotations"])
        images, attestations = index["manifests"][:2], index["manifests"][2:]
        self.assertEqual(["amd64", "arm64"], sorted(one["platform"]["architecture"] for one in images))
        for image, attestation in zip(images, attestations, strict=True):
            self.assertEqual(image["digest"], attestation["annotations"]["vnd.docker.reference.digest"])
            manifest = json.loads(registry_support.fetch(f"http://{self.host}/v2/attested/manifests/{image['digest']}", OCI))
            self.assertEqual({"who": "me"}, manifest["annotations"])
            statement = json.loads(registry_support.fetch(f"http://{self.host}/v2/attested/manifests/{attestation['digest']}", OCI))
            body = json.loads(registry_support.fetch(f"http://{self.host}/v2/attested/blobs/{statement['layers'][0]['digest']}"))
            self.assertEqual(image["digest"][7:], body["subject"][0]["digest"]["sha256"])
        with open(metadata, encoding="utf-8") as f:
            told = json.load(f)
        self.assertEqual(digest_of(raw), told["containerimage.digest"])
        self.assertEqual(digest_of(raw), told["containerimage.descriptor"]["digest"])
        # Another tool takes all of it.
        folder = self.new_folder("layout")
        support.run(["skopeo", "copy", "-q", "--all", "--src-tls-verify=false", f"docker://{name}:1", f"oci:{folder}:1"])
        other = self.kasane()
        other("pull", name + ":1")
        self.assertEqual(self.k.config(name + ":1")["Id"], other.config(name + ":1")["Id"])
        self.k.check_store(self)

    def test_a_pulled_index_goes_back_whole(self):
        name = f"{self.host}/whole"
        context = self.context("FROM scratch\nCOPY a /a\n", a=os.urandom(100_000))
        self.k("build", "-q", "--push", "--platform", "linux/amd64,linux/arm64", "--provenance=true", "-t", name + ":1", context)
        index = registry_support.fetch(f"http://{self.host}/v2/whole/manifests/1", fake_registry.INDEX)
        target = self.serve(FakeRegistry())
        target.strict_links = True
        other = self.kasane()
        other("pull", "--platform", "linux/arm64", name + ":1")
        other("tag", name + ":1", target.host + "/part:1")
        other("push", target.host + "/part:1")  # the other platform is not here
        self.assertEqual(OCI, target.manifests[("part", "1")][0])
        other("pull", "--platform", "linux/amd64", name + ":1")
        other("system", "prune", "-f", check=False)  # does not take what belongs to the images
        other("tag", name + ":1", target.host + "/app:1")
        self.assertIn(digest_of(index), other("push", target.host + "/app:1").out)
        self.assertEqual((fake_registry.INDEX, index), target.manifests[("app", "1")])
        last = [path for method, path, _ in target.requests if method == "PUT"][-1]
        self.assertTrue(last.endswith("/manifests/1"), last)
        self.assertEqual(4, sum(("app", one["digest"]) in target.manifests for one in json.loads(index)["manifests"]))
        refused = other("push", "--platform", "linux/s390x", target.host + "/app:1", check=False)
        self.assertIn("names no image for linux/s390x", refused.err)
        other("push", "--platform", "linux/amd64", target.host + "/app:1")
        self.assertEqual(OCI, target.manifests[("app", "1")][0])
        other.check_store(self)

    def test_build_push_by_digest_and_other_forms(self):
        name = f"{self.host}/forms"
        context = self.context("FROM scratch\nCOPY a /a\n", a=b"a" * 3_000_000)
        metadata = os.path.join(self.new_folder("meta"), "m.json")
        self.k("build", "-q", "-o", f"type=image,name={name},push=true,push-by-digest=true,registry.insecure=true",
               "--metadata-file", metadata, context)
        with open(metadata, encoding="utf-8") as f:
            digest = json.load(f)["containerimage.digest"]
        manifest = registry_support.fetch(f"http://{self.host}/v2/forms/manifests/{digest}", OCI)
        self.assertEqual(digest, digest_of(manifest))
        with self.assertRaises(OSError):  # no tag was set
            registry_support.fetch(f"http://{self.host}/v2/forms/manifests/latest", OCI)
        self.k("build", "-q", "-o", f"type=registry,name={name}:z,compression=zstd,force-compression=true", context)
        zstd = json.loads(registry_support.fetch(f"http://{self.host}/v2/forms/manifests/z", OCI))
        self.assertEqual({"application/vnd.oci.image.layer.v1.tar+zstd"}, {layer["mediaType"] for layer in zstd["layers"]})
        self.k("build", "-q", "-o", f"type=image,name={name}:d,push=true,oci-mediatypes=false", context)
        docker = json.loads(registry_support.fetch(f"http://{self.host}/v2/forms/manifests/d", fake_registry.DOCKER_MANIFEST))
        self.assertEqual(fake_registry.DOCKER_MANIFEST, docker["mediaType"])
        for tag in ("z", "d"):
            other = self.kasane()
            other("pull", f"{name}:{tag}")
            other.check_store(self)

    def test_several_platforms_become_an_index(self):
        name = f"{self.host}/multi:1"
        self.k("build", "-q", "--platform", "linux/amd64,linux/arm64", "-t", name, self.context("FROM scratch\nCOPY a /a\n", a=b"a"))
        self.k("push", name)
        index = json.loads(registry_support.fetch(f"http://{self.host}/v2/multi/manifests/1", fake_registry.INDEX))
        self.assertEqual([("linux", "amd64"), ("linux", "arm64")],
                         sorted((m["platform"]["os"], m["platform"]["architecture"]) for m in index["manifests"]))
        other = self.kasane()
        other("pull", "--platform", "linux/arm64", name)
        self.assertEqual("arm64", other.config(name)["Architecture"])


class FakePushTest(PushTestCase):
    def setUp(self):
        super().setUp()
        self.registry = self.serve(FakeRegistry())
        self.registry.strict_links = True
        self.host = self.registry.host
        self.name = self.host + "/app:1"

    def tags(self):
        return sorted(ref for repo, ref in self.registry.manifests if ":" not in ref)

    def assert_pushed(self):
        media_type, manifest = self.registry.manifests[("app", "1")]
        self.assertEqual(OCI, media_type)
        for one in json.loads(manifest)["layers"]:
            self.assertEqual(one["digest"], digest_of(self.registry.blobs[one["digest"]]))
        other = self.kasane()
        other("pull", self.name)
        self.assertEqual(self.k.config(self.name)["Id"], other.config(self.name)["Id"])

    def test_errors(self):
        missing = self.k("push", self.host + "/none", check=False)
        self.assertIn(f"An image does not exist locally with the tag: {self.host}/none", missing.err)
        self.built(self.name)
        self.assertIn(f"tag does not exist: {self.host}/app:2", self.k("push", self.host + "/app:2", check=False).err)
        self.assertIn("cannot push a digest reference", self.k("push", self.host + "/app@sha256:" + "a" * 64, check=False).err)
        self.assertIn("tag can't be used with --all-tags/-a", self.k("push", "-a", self.name, check=False).err)
        self.registry.auth = "basic"
        self.assertIn("no basic auth credentials", self.k("push", self.name, check=False).err)
        self.registry.auth = None
        self.registry.hooks = [lambda handler: handler.command == "POST" and (handler.error(403, "DENIED", "requested access to the resource is denied") or True)]
        self.assertIn("denied: requested access to the resource is denied", self.k("push", self.name, check=False).err)
        self.assertEqual([], self.tags())

    def test_order_and_relative_locations(self):
        self.registry.absolute_locations = False
        self.built(self.name)
        self.k("push", self.name)
        last = [path for method, path, _ in self.registry.requests if method == "PUT"][-1]
        self.assertTrue(last.endswith("/manifests/1"), last)
        self.assert_pushed()

    def test_faults_that_pass(self):
        for method, answers in (("POST", [lambda h: h.answer(503)]), ("PATCH", [lambda h: h.reset(), lambda h: h.answer(500)]),
                                ("PUT", [lambda h: h.answer(502), lambda h: h.reset()])):
            with self.subTest(method):
                self.registry.blobs.clear()
                self.registry.links.clear()
                self.registry.manifests.clear()
                left = list(answers)

                def hook(handler, method=method, left=left):
                    if handler.command != method or not left:
                        return False
                    handler.close_connection = True
                    left.pop(0)(handler)
                    return True
                self.registry.hooks = [hook]
                self.k = self.kasane()
                self.built(self.name)
                self.k("push", self.name, timeout=100)
                self.assertEqual([], left)
                self.assert_pushed()

    def test_registry_that_lies(self):
        self.built(self.name)
        cases = {
            "no Location": (lambda h: h.command == "POST" and (h.body(), h.answer(202))[0] is not None, "no Location"),
            "manifest refused": (lambda h: h.command == "PUT" and "/manifests/" in h.path and
                                 (h.body(), h.error(400, "MANIFEST_INVALID", "no thanks"))[0] is not None, "manifest invalid: no thanks"),
            "blob not there": (lambda h: h.command == "PUT" and "/uploads/" in h.path and
                               (h.body(), h.answer(201))[0] is not None, "does not have it"),
        }
        for name, (hook, text) in cases.items():
            with self.subTest(name):
                self.registry.blobs.clear()
                self.registry.links.clear()
                self.registry.hooks = [hook]
                failed = self.k("push", self.name, check=False, timeout=100)
                self.assertEqual(1, failed.code)
                self.assertIn(text, failed.err)
                self.assertEqual([], self.tags(), "no tag before everything is there")
        self.registry.hooks = []
        self.k("push", self.name)
        self.assert_pushed()

    def test_upload_location_elsewhere_gets_no_credentials(self):
        evil = self.serve(FakeRegistry())
        self.registry.auth, self.registry.users = "basic", {"bot": "c4n4ry"}
        self.k("login", "-u", "bot", "--password-stdin", self.host, input=b"c4n4ry")
        self.built(self.name)
        evil.uploads["x"] = b""

        def lead_away(handler):
            if handler.command != "POST" or not handler.headers.get("Authorization"):
                return False
            handler.body()
            handler.answer(202, b"", {"Location": evil.url + "/v2/app/blobs/uploads/x"})
            return True
        self.registry.hooks = [lead_away]
        self.k("push", self.name, check=False, timeout=100)
        self.assertGreater(len(evil.requests), 0)
        self.assertEqual([], evil.headers_seen("Authorization"))
        self.assertNotIn("c4n4ry", str(evil.requests))

    def test_token_expires_during_the_push(self):
        self.registry.auth, self.registry.users = "bearer", {"bot": "pw"}
        self.k("login", "-u", "bot", "--password-stdin", self.host, input=b"pw")
        self.built(self.name)
        dropped = []

        def expire(handler):
            if handler.command == "PATCH" and not dropped:
                dropped.append(1)
                self.registry.tokens.clear()
            return False
        self.registry.hooks = [expire]
        self.k("push", self.name, timeout=100)
        self.assertTrue(dropped)
        self.assert_pushed()
        scopes = [path for _, path, _ in self.registry.requests if path.startswith("/token")]
        self.assertTrue(any("repository%3Aapp%3Apull%2Cpush" in path for path in scopes), scopes)

    def test_smaller_requests_after_413(self):
        least, most, sizes = 5 << 20, 6 << 20, []

        def strict(handler):
            if handler.command == "POST":
                handler.body()
                session = f"s{len(self.registry.uploads)}"
                self.registry.uploads[session] = b""
                handler.answer(202, b"", {"Location": self.registry.location("app", session), "OCI-Chunk-Min-Length": str(least)})
                return True
            if handler.command not in ("PATCH", "PUT") or "/uploads/" not in handler.path:
                return False
            size = int(handler.headers.get("Content-Length") or most + 1)  # without: in chunks
            if size <= most:
                sizes.append(size)
                return False
            handler.body()
            handler.answer(413)
            return True
        self.registry.hooks = [strict]
        self.built(self.name, big=os.urandom(23 << 20))
        self.k("push", self.name, timeout=100)
        self.assert_pushed()
        large = [size for size in sizes if size > 1 << 20]
        self.assertGreaterEqual(len(large), 4, sizes)
        self.assertTrue(all(size >= least for size in large[:-1]), sizes)

    def test_killed_and_continued(self):
        size = 8_000_000
        self.built(self.name, big=os.urandom(size))
        arrived = []

        def slow(handler):
            if handler.command != "PATCH" or arrived:
                return False
            session = handler.parts.path.rpartition("/")[2]
            chunked = "Transfer-Encoding" in handler.headers  # as long as it is being compressed
            while len(self.registry.uploads[session]) < 5_000_000:
                size = int(handler.rfile.readline(), 16) if chunked else 100_000
                self.registry.uploads[session] += handler.rfile.read(size)
                if chunked:
                    handler.rfile.readline()
            arrived.append(len(self.registry.uploads[session]))
            time.sleep(1.5)  # the client is killed now
            handler.close_connection = True
            return True
        self.registry.hooks = [slow]
        process = subprocess.Popen([support.KASANE, "push", self.name], env=self.k.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertTrue(support.wait_until(lambda: arrived, 30))
        process.kill()
        process.wait()
        self.registry.hooks = []
        self.registry.requests.clear()
        self.k("push", self.name)
        sent = sum(int(headers.get("Content-Length", 0)) for method, _, headers in self.registry.requests if method == "PATCH")
        self.assertLessEqual(sent, size - arrived[0] + (1 << 20))
        self.assert_pushed()
        self.assertEqual([], os.listdir(self.k.root + "/uploads"))


if __name__ == "__main__":
    support.main()
