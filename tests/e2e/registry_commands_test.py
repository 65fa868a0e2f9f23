"""digest, tags, delete, referrers, imagetools, manifest and push --add-to-index: against kasane's own registry,
Debian's docker-registry and registries that misbehave."""

import json
import os
import subprocess

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


class ManifestTest(CommandsTestCase):
    """docker manifest: its files, words and bytes."""

    def test_create_annotate_inspect_push_rm(self):
        host = self.own()
        entries = json.loads(self.images.blobs[self.images.names["multi"]])["manifests"]
        for name, entry in zip(("amd", "arm"), entries):
            self.k("copy", "-q", f"oci:{self.source}@{entry['digest']}", f"{host}/{name}/app:1")
        made = f"{host}/team/app:1"
        self.assertEqual(f"Created manifest list {made}\n", self.k("manifest", "create", made, f"{host}/amd/app:1").out)
        self.fails("manifest", "create", made, f"{host}/arm/app:1", text="refusing to amend an existing manifest list with no --amend flag")
        self.k("manifest", "create", "--amend", made, f"{host}/arm/app:1")
        folder = os.path.join(self.home, ".docker", "manifests", made.replace(":", "-").replace("/", "_"))
        self.assertEqual({f"{host}/{n}/app:1".replace(":", "-").replace("/", "_") for n in ("amd", "arm")}, set(os.listdir(folder)))
        self.k("manifest", "annotate", "--variant", "v8", "--os-features", "x", made, f"{host}/arm/app:1")
        self.fails("manifest", "annotate", "--arch", "nope", made, f"{host}/arm/app:1",
                   text="manifest entry for image has unsupported os/arch combination: linux/nope")
        self.fails("manifest", "annotate", made, f"{host}/other:1", text=f"manifest for image {host}/other:1 does not exist in {made}")
        local = self.k("manifest", "inspect", made).out
        self.assertTrue(local.startswith('{\n   "schemaVersion": 2,\n   "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",\n   "manifests": [\n      {\n'), local)
        verbose = json.loads(self.k("manifest", "inspect", "-v", made).out)
        self.assertEqual([["Ref", "Descriptor", "Raw", "OCIManifest"]] * 2, [list(one) for one in verbose])
        one = json.loads(self.k("manifest", "inspect", made, f"{host}/amd/app:1").out)
        self.assertEqual(json.loads(self.images.blobs[entries[0]["digest"]]), one)
        pushed = self.k("manifest", "push", made).out.splitlines()
        self.assertEqual([f"Pushed ref {host}/team/app@{e['digest']} with digest: {e['digest']}" for e in entries[:2]], pushed[:2])
        there = self.manifest(host, "team/app", "1")
        self.assertEqual((digest_of(there), local.rstrip("\n").encode()), (pushed[2], there))
        self.assertEqual({"architecture": "arm64", "os": "linux", "variant": "v8", "os.features": ["x"]}, json.loads(there)["manifests"][1]["platform"])
        self.k("manifest", "push", "--purge", made)
        self.fails("manifest", "rm", made, text=f"No such manifest: {made}")
        self.assertEqual(entries[1]["digest"], json.loads(self.k("manifest", "inspect", made).out)["manifests"][1]["digest"])
        self.k("pull", made)
        self.fails("manifest", "inspect", f"{host}/nope:1", text=f"No such manifest: {host}/nope:1")
        self.fails("manifest", "create", "x:1", f"{host}/team/app:1", text=f"{host}/team/app:1 is a manifest list")
        self.k("manifest", "create", "localhost:1/x:1", f"{host}/amd/app:1")
        self.fails("manifest", "push", "localhost:1/x:1", text=f"cannot use source images from a different registry than the target image: {host} != localhost:1")
        with open(os.path.join(self.home, ".docker", "manifests", "localhost-1_x-1", os.listdir(
                os.path.join(self.home, ".docker", "manifests", "localhost-1_x-1"))[0]), "w", encoding="ascii") as f:
            f.write('{"Ref":"x","Descriptor":{}}')
        self.fails("manifest", "inspect", "localhost:1/x:1", text="is not that of its digest")
        self.k("manifest", "rm", "localhost:1/x:1")


class ImagetoolsTest(CommandsTestCase):
    def test_inspect(self):
        host = self.own()
        self.put(host)
        name, digest = f"{host}/app:multi", self.images.names["multi"]
        self.assertEqual(self.images.blobs[digest].decode(), self.k("imagetools", "inspect", "--raw", name).out)
        lines = self.k("imagetools", "inspect", name).out.splitlines()
        self.assertEqual([f"Name:      {name}", f"MediaType: {INDEX}", f"Digest:    {digest}", "           ", "Manifests: "], lines[:5])
        entries = json.loads(self.images.blobs[digest])["manifests"]
        self.assertEqual([f"  Name:        {name}@{entries[0]['digest']}", f"  MediaType:   {MANIFEST}", "  Platform:    linux/amd64", "               "], lines[5:9])
        self.assertIn("  Platform:    unknown/unknown", lines)
        self.assertIn(f"    vnd.docker.reference.digest: {entries[0]['digest']}", lines)
        shown = lambda f, n=name: self.k("imagetools", "inspect", "--format", f, n).out
        manifest = shown("{{json .Manifest}}")
        self.assertTrue(manifest.startswith('{\n  "schemaVersion": 2,\n  "mediaType": '), manifest)
        self.assertEqual((digest, entries), (json.loads(manifest)["digest"], json.loads(manifest)["manifests"]))
        self.assertEqual(f"{name} {digest} 4 linux", shown("{{.Name}} {{.Manifest.Digest}} {{len .Manifest.Manifests}} {{(index .Manifest.Manifests 0).Platform.OS}}"))
        self.assertEqual("arm64", shown('{{(index .Image "linux/arm64/v8").Architecture}}'))
        self.assertEqual(entries[0]["digest"], shown('{{(index .Provenance "linux/amd64").SLSA.of}}'))
        self.assertEqual("amd64 [/x]", shown("{{.Image.Architecture}} {{.Image.Config.Cmd}}", f"{host}/app:single"))
        self.fails("imagetools", "inspect", "--raw", "--format", "x", name, text="format and raw cannot be used together")
        self.fails("imagetools", "inspect", "--format", "{{", name, text="template parsing error")

    def test_create(self):
        host = self.own()
        entries = json.loads(self.images.blobs[self.images.names["multi"]])["manifests"]
        for name, entry in zip(("amd", "arm"), entries):
            self.k("copy", "-q", f"oci:{self.source}@{entry['digest']}", f"{host}/{name}:1")
        self.k("imagetools", "create", "-t", f"{host}/both:1", "-t", f"{host}/both:latest", f"{host}/amd:1", f"{host}/arm:1")
        made = self.manifest(host, "both", "1")
        self.assertEqual(made, self.manifest(host, "both", "latest"))
        self.assertEqual([(INDEX, [entries[0]["digest"], entries[1]["digest"]], ["amd64", "arm64"])],
                         [(d["mediaType"], [m["digest"] for m in d["manifests"]], [m["platform"]["architecture"] for m in d["manifests"]]) for d in [json.loads(made)]])
        # An index alone is a carbon copy, with attestations, into another repository.
        self.put(host)
        self.k("imagetools", "create", "-t", f"{host}/carbon:1", f"{host}/app:multi")
        self.assertEqual(self.images.blobs[self.images.names["multi"]], self.manifest(host, "carbon", "1"))
        # Appending, by a digest of the repository and a descriptor from a file.
        self.k("copy", "-q", f"{host}/arm:1", f"{host}/amd:arm")
        self.k("imagetools", "create", "--append", "-t", f"{host}/amd:1", entries[1]["digest"])
        self.assertEqual(2, len(json.loads(self.manifest(host, "amd", "1"))["manifests"]))
        with open(self.path("descriptor"), "w", encoding="ascii") as f:
            json.dump({**entries[1], "annotations": {"k": "v"}}, f)
        dry = json.loads(self.k("imagetools", "create", "--dry-run", "-t", f"{host}/amd:x", "-f", self.path("descriptor"), "--annotation", "index:a=b",
                                "--annotation", "manifest-descriptor[linux/arm64]:c=d").out)
        self.assertEqual(({"a": "b"}, {"k": "v", "c": "d"}), (dry["annotations"], dry["manifests"][0]["annotations"]))
        self.assertEqual(404, registry_support.status_of(f"http://{host}/v2/amd/manifests/x"))
        docker = json.loads(self.k("imagetools", "create", "--dry-run", f"{host}/app:docker").out)
        self.assertEqual("application/vnd.docker.distribution.manifest.list.v2+json", docker["mediaType"])
        self.fails("imagetools", "create", f"{host}/amd:1", text="can't push with no tags specified, please set --tag or --dry-run")
        self.fails("imagetools", "create", "--dry-run", text="no sources specified")
        self.fails("imagetools", "create", "--dry-run", "--annotation", "a=b", f"{host}/amd:1", text="annotations are not supported yet")


class JoinTest(CommandsTestCase):
    """push --add-to-index, alone and by sixteen at once."""

    PLATFORMS = [f"linux/{a}" for a in ("amd64", "arm64", "386", "riscv64", "ppc64le", "s390x", "mips64le", "loong64", "arm/v5", "arm/v6", "arm/v7", "mips64")] + [
        f"freebsd/{a}" for a in ("amd64", "arm64", "386", "riscv64")]

    def stores(self, host, tag, count):
        """A store for each platform, with an image under the tag; their digests by platform."""
        out = {}
        context = self.new_folder("context")
        with open(context + "/Dockerfile", "w", encoding="ascii") as f:
            f.write("FROM scratch\nARG TARGETPLATFORM\nLABEL platform=$TARGETPLATFORM\nCOPY Dockerfile /x\n")
        for platform in self.PLATFORMS[:count]:
            k = self.kasane()
            k("build", "-q", "--platform", platform, "-t", f"{host}/{tag}", context)
            out[platform] = k
        return out

    def platforms(self, host, repository, tag):
        document = json.loads(self.manifest(host, repository, tag))
        return ["/".join(filter(None, (m["platform"]["os"], m["platform"]["architecture"], m["platform"].get("variant")))) for m in document["manifests"]]

    def check_one_after_the_other(self, host):
        stores = self.stores(host, "app:1", 3)
        for platform, k in stores.items():
            lines = k("push", "--add-to-index", f"{host}/app:1").out.splitlines()
            self.assertEqual(digest_of(self.manifest(host, "app", "1")), lines[-1].split()[2])
            again = k("push", "-q", "--add-to-index", f"{host}/app:1").out
            self.assertEqual(f"{host}/app:1\n", again)
            self.assertEqual(digest_of(self.manifest(host, "app", "1")), lines[-1].split()[2], "joining twice changes nothing")
        self.assertEqual(list(stores), self.platforms(host, "app", "1"))
        # An image that the tag is becomes an entry; an index of others keeps its attestations.
        amd, arm = list(stores.values())[:2]
        amd("tag", f"{host}/app:1", f"{host}/app:plain")
        amd("push", "-q", f"{host}/app:plain")
        arm("tag", f"{host}/app:1", f"{host}/app:plain")
        arm("push", "-q", "--add-to-index", f"{host}/app:plain")
        self.assertEqual(["linux/amd64", "linux/arm64"], self.platforms(host, "app", "plain"))
        self.put(host)
        before = json.loads(self.images.blobs[self.images.names["multi"]])["manifests"]
        arm("tag", f"{host}/app:1", f"{host}/app:multi")
        arm("push", "-q", "--add-to-index", f"{host}/app:multi")
        after = json.loads(self.manifest(host, "app", "multi"))["manifests"]
        self.assertEqual([before[0], before[2]], [after[0], after[2]])
        self.assertEqual(("arm64", 3), (after[1]["platform"]["architecture"], len(after)), "the old arm64 is gone with its attestation")
        self.assertNotEqual(before[1]["digest"], after[1]["digest"])
        self.assertEqual([], [t for t in self.k("tags", f"{host}/app").out.split() if ".join-" in t], "no marker is left")
        arm("tag", f"{host}/app:1", f"{host}/app:none")
        self.assertIn("can't be used with --all-tags", arm("push", "-a", "--add-to-index", f"{host}/app", check=False).err)

    def test_own_registry(self):
        self.check_one_after_the_other(self.own())

    def test_docker_registry(self):
        self.check_one_after_the_other(self.debian())

    def check_sixteen(self, host):
        stores = self.stores(host, "many:1", 16)
        running = [subprocess.Popen([support.KASANE, "push", "-q", "--add-to-index", f"{host}/many:1"], env=k.env, stdout=subprocess.DEVNULL,
                                    stderr=subprocess.PIPE) for k in stores.values()]
        for process in running:
            self.assertEqual((0, b""), (process.wait(600), process.stderr.read()))
            process.stderr.close()
        self.assertEqual(sorted(stores), sorted(self.platforms(host, "many", "1")))
        for platform in ("linux/arm/v7", "freebsd/riscv64"):
            self.k("copy", "-q", "--platform", platform, f"{host}/many:1", "oci:" + self.new_folder("one"))

    def test_sixteen_at_once_own(self):
        self.check_sixteen(self.own())

    def test_sixteen_at_once_docker_registry(self):
        host = self.debian()
        self.check_sixteen(host)
        self.assertEqual(["1"], self.k("tags", f"{host}/many").out.split(), "the last one took the markers away")

    def test_no_deletion_and_a_joiner_that_died(self):
        registry = self.serve(FakeRegistry())
        registry.hooks.append(lambda h: h.command == "DELETE" and (h.error(405, "UNSUPPORTED"), True)[1])
        stores = list(self.stores(registry.host, "app:1", 3).values())
        stores[0]("push", "-q", "--add-to-index", f"{registry.host}/app:1")
        # The second undoes... nothing, but the index is overwritten by a writer with an old view.
        old = registry.manifests[("app", "1")]
        stores[1]("push", "-q", "--add-to-index", f"{registry.host}/app:1")
        registry.manifests[("app", "1")] = old
        stores[2]("push", "-q", "--add-to-index", f"{registry.host}/app:1")
        self.assertEqual(sorted(self.PLATFORMS[:3]), sorted(self.platforms(registry.host, "app", "1")), "its marker brings it back")
        self.assertEqual(3, sum(1 for repo, ref in registry.manifests if ".join-" in ref))


if __name__ == "__main__":
    support.main()
