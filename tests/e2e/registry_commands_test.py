"""digest, tags, delete, referrers, imagetools, manifest and push --add-to-index: against kasane's own registry,
Debian's docker-registry and registries that misbehave."""

import json
import os
import re
import subprocess
import unittest

import fake_registry
import image_sets
import registries
import registry_support
import support
from fake_registry import INDEX, MANIFEST, FakeRegistry, Image, digest_of

ACCEPT = f"{fake_registry.INDEX}, {fake_registry.MANIFEST}, {fake_registry.DOCKER_MANIFEST}, application/vnd.docker.distribution.manifest.list.v2+json"
SBOM = "application/spdx+json"


class CommandsTestCase(registry_support.RegistryTestCase):
    def setUp(self):
        super().setUp()
        self.images = image_sets.bundle(size=1000)
        self.source = self.images.layout(self.new_folder("source"))

    def own(self, *flags):
        server = registries.serve(self.new_folder("served"), *flags)
        self.addCleanup(server.stop)
        return server.host

    def debian(self):
        if not subprocess.run(["sh", "-c", "command -v docker-registry"], stdout=subprocess.DEVNULL, check=False).returncode == 0:
            self.skipTest("not installed: docker-registry")
        return self.serve(registries.DockerRegistry(self.new_folder("registry"))).host

    def put(self, host, repository="app"):
        self.k("copy", "-q", "-a", f"oci:{self.source}", f"{host}/{repository}")

    def manifest(self, host, repository, reference):
        return registry_support.fetch(f"http://{host}/v2/{repository}/manifests/{reference}", ACCEPT)

    def fails(self, *args, text, code=1, **kwargs):
        done = self.k(*args, check=False, **kwargs)
        self.assertEqual(code, done.code, done)
        self.assertIn(text, done.err)


class LookTest(CommandsTestCase):
    def test_digest(self):
        registry = self.serve(FakeRegistry())
        self.put(registry.host)
        registry.requests.clear()
        for name, digest in self.images.names.items():
            self.assertEqual(digest + "\n", self.k("digest", f"{registry.host}/app:{name}").out)
            self.assertEqual(digest + "\n", self.k("digest", f"oci:{self.source}:{name}").out)
        self.assertEqual(0, registry.count("GET", "/manifests/"), "a HEAD is enough")
        entries = json.loads(self.images.blobs[self.images.names["multi"]])["manifests"]
        self.assertEqual(entries[1]["digest"] + "\n", self.k("digest", "--platform", "linux/arm64", f"{registry.host}/app:multi").out)
        found = json.loads(self.k("digest", "--format", "json", f"docker://{registry.host}/app:multi").out)
        self.assertEqual({"reference": f"docker://{registry.host}/app:multi", "digest": self.images.names["multi"], "mediaType": INDEX,
                          "size": len(self.images.blobs[self.images.names["multi"]]), "platforms": ["linux/amd64", "linux/arm64/v8"]}, found)
        # A registry whose HEAD says nothing.
        registry.hooks.append(lambda h: h.command == "HEAD" and "/manifests/" in h.path and (h.answer(200, b"x"), True)[1])
        self.assertEqual(self.images.names["single"] + "\n", self.k("digest", f"{registry.host}/app:single").out)
        self.fails("digest", f"{registry.host}/app:nope", text="not found")

    def test_tags_in_pages(self):
        registry = self.serve(FakeRegistry())
        image, names = Image([{"a": b"a"}]), sorted(f"v{n}" for n in range(250))
        for name in names:
            registry.add("app", name, image)
        self.assertEqual(names, self.k("tags", registry.host + "/app").out.split())
        self.assertEqual(3, registry.count("GET", "/tags/list"))
        self.assertEqual({"name": f"{registry.host}/app", "tags": names}, json.loads(self.k("tags", "--format", "json", registry.host + "/app").out))
        self.fails("tags", registry.host + "/app:1", text="leave the tag away")
        self.fails("tags", registry.host + "/none", text="not found")
        self.assertEqual(set(self.images.names), set(self.k("tags", "oci:" + self.source).out.split()))
        other = self.serve(FakeRegistry())
        registry.hooks.append(lambda h: "/tags/" in h.path and (h.answer(200, b'{"tags":["a"]}', {"Link": f'<{other.url}/v2/app/tags/list?last=a>; rel="next"'}), True)[1])
        self.fails("tags", registry.host + "/app", text="another server")
        registry.hooks[:] = [lambda h: "/tags/" in h.path and (h.answer(200, b'{"tags":["a"]}', {"Link": f'<{h.path}>; rel="next"'}), True)[1]]
        self.fails("tags", registry.host + "/app", text="does not end")
        self.assertEqual([], other.requests)

    def refer(self, host, subject, number, artifact_type=SBOM):
        document = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
                               "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(b"{}"), "size": 2},
                               "layers": [], "subject": {"mediaType": MANIFEST, "digest": subject, "size": len(self.images.blobs[subject])},
                               "annotations": {"n": str(number)}}).encode()
        return digest_of(document), document

    def test_referrers(self):
        host = self.own()
        self.put(host)
        subject = self.images.names["single"]
        self.assertEqual({"subject": f"{host}/app@{subject}", "source": "api", "referrers": []},
                         json.loads(self.k("referrers", "--format", "json", f"{host}/app:single").out))
        extra = image_sets.Bundle()
        extra.add(b"{}")
        expected = {}
        for number, kind in enumerate((SBOM, "application/x-signature")):
            digest, document = self.refer(host, subject, number, kind)
            extra.add(document, MANIFEST)
            extra.names[f"r{number}"] = expected[kind] = digest
        # The subject is there already: copied as what they are.
        self.k("copy", "-q", "-a", f"oci:{extra.layout(self.new_folder('r'))}", f"{host}/app")
        found = json.loads(self.k("referrers", "--format", "json", f"{host}/app:single").out)
        self.assertEqual(expected, {r["artifactType"]: r["digest"] for r in found["referrers"]})
        lines = self.k("referrers", "--artifact-type", SBOM, f"{host}/app@{subject}").out.splitlines()
        self.assertEqual([f"Subject: {host}/app@{subject}", "DIGEST ARTIFACT TYPE SIZE"], [lines[0], " ".join(lines[1].split())])
        self.assertEqual([expected[SBOM], SBOM], lines[2].split()[:2])
        self.assertEqual(3, len(lines))

    def test_referrers_from_the_tag(self):
        registry = self.serve(FakeRegistry())
        self.put(registry.host)
        subject = self.images.names["single"]
        digest, document = self.refer(registry.host, subject, 1)
        entries = [{"mediaType": MANIFEST, "digest": digest, "size": len(document), "artifactType": SBOM},
                   {"mediaType": MANIFEST, "digest": subject, "size": 5, "artifactType": "application/y"}]
        self.assertEqual([], json.loads(self.k("referrers", "--format", "json", f"{registry.host}/app:single").out)["referrers"])
        registry.add_document("app", "sha256-" + subject[7:], INDEX, json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode())
        found = json.loads(self.k("referrers", "--artifact-type", SBOM, "--format", "json", f"{registry.host}/app:single").out)
        self.assertEqual(("tag", [digest]), (found["source"], [r["digest"] for r in found["referrers"]]))


class DeleteTest(CommandsTestCase):
    def check_deletion(self, host):
        self.put(host)
        self.k("copy", "-q", f"{host}/app:single", f"{host}/app:other")
        self.assertEqual(f"Untagged: {host}/app:single\n", self.k("delete", f"{host}/app:single").out)
        tags = self.k("tags", f"{host}/app").out.split()
        self.assertNotIn("single", tags)
        self.assertIn("other", tags)
        self.assertEqual(self.images.names["single"] + "\n", self.k("digest", f"{host}/app:other").out)
        whole = self.new_folder("still-whole")
        self.k("copy", "-q", f"{host}/app:other", "oci:" + whole)
        self.images.check_layout(self, whole, "", self.images.names["single"])
        digest = self.images.names["zstd"]
        self.assertEqual(f"Deleted: {host}/app@{digest}\n", self.k("delete", f"{host}/app@{digest}").out)
        self.fails("digest", f"{host}/app:zstd", text="not found")
        self.fails("delete", f"{host}/app:zstd", text="not found")
        self.fails("delete", f"{host}/app", text="needs a tag or a digest")

    def test_own_registry(self):
        self.check_deletion(self.own())

    def test_docker_registry(self):
        self.check_deletion(self.debian())

    def test_registries_that_do_not_delete(self):
        registry = self.serve(FakeRegistry())
        self.put(registry.host)
        registry.hooks.append(lambda h: h.command == "DELETE" and (h.error(405, "UNSUPPORTED"), True)[1])
        before = self.manifest(registry.host, "app", "single")
        self.fails("delete", f"{registry.host}/app:single", text="does not delete")
        self.assertEqual(before, self.manifest(registry.host, "app", "single"))
        # The tag was moved and then deletion fails: it is moved back.
        digests = []

        def second(h):
            if h.command != "DELETE":
                return False
            digests.append(h.path.rpartition("/")[2])
            if ":" not in digests[-1] or len(digests) > 2:
                h.error(405, "UNSUPPORTED")
            else:
                h.answer(202)
            return True
        registry.hooks[:] = [second]
        self.fails("delete", f"{registry.host}/app:single", text="does not delete")
        self.assertEqual(3, len(digests))
        self.assertEqual(before, self.manifest(registry.host, "app", "single"))
        read_only = self.own("--immutable", "si*")
        self.put(read_only)
        self.fails("delete", f"{read_only}/app:single", text="denied")


if __name__ == "__main__":
    support.main()
