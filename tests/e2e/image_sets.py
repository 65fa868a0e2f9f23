"""Images of every form for tests that move them: an index of two platforms with attestations as BuildKit writes them,
zstd and gzip layers, docker's schema 2; written as an OCI layout, byte for byte."""

import base64
import json
import os
import struct

import fake_registry
from fake_registry import INDEX, MANIFEST, Image, digest_of

ZSTD_LAYER = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


def zstd_frame(data):
    """A frame of raw blocks: valid zstd without a compressor."""
    out = b"\x28\xb5\x2f\xfd\x00\x58"
    for at in range(0, len(data), 1 << 17):
        block = data[at:at + (1 << 17)]
        last = at + len(block) == len(data)
        out += struct.pack("<I", int(last) | len(block) << 3)[:3] + block
    return out


class Bundle:
    """Documents and blobs by digest, and what the names mean."""

    def __init__(self):
        self.blobs, self.types, self.names = {}, {}, {}

    def add(self, data, media_type=None):
        self.blobs[digest_of(data)] = data
        if media_type:
            self.types[digest_of(data)] = media_type
        return digest_of(data)

    def add_image(self, image, name=None):
        for blob in [image.config, *image.blobs]:
            self.add(blob)
        digest = self.add(image.manifest, image.media_type)
        if name:
            self.names[name] = digest
        return digest

    def add_index(self, entries, name=None, media_type=INDEX):
        digest = self.add(json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}, indent=3).encode(),
                          media_type)
        if name:
            self.names[name] = digest
        return digest

    def descriptor(self, digest, **more):
        return {"mediaType": self.types[digest], "digest": digest, "size": len(self.blobs[digest]), **more}

    def attestation(self, image):
        """What BuildKit puts beside an image: a manifest of in-toto statements for it."""
        statement = json.dumps({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v0.2",
                                "subject": [{"name": "_", "digest": {"sha256": image[7:]}}], "predicate": {"of": image}}).encode()
        config = json.dumps({"architecture": "unknown", "os": "unknown", "config": {},
                             "rootfs": {"type": "layers", "diff_ids": [digest_of(statement)]}}).encode()
        layer = {**Image.descriptor("application/vnd.in-toto+json", statement),
                 "annotations": {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}}
        self.add(statement)
        self.add(config)
        digest = self.add(json.dumps({"schemaVersion": 2, "mediaType": MANIFEST,
                                      "config": Image.descriptor(fake_registry.CONFIG, config), "layers": [layer]}).encode(), MANIFEST)
        return self.descriptor(digest, platform={"architecture": "unknown", "os": "unknown"},
                               annotations={"vnd.docker.reference.type": "attestation-manifest",
                                            "vnd.docker.reference.digest": image})

    def layout(self, folder):
        """As an OCI layout with its names; returns the folder."""
        os.makedirs(folder + "/blobs/sha256", exist_ok=True)
        for digest, data in self.blobs.items():
            with open(f"{folder}/blobs/sha256/{digest[7:]}", "wb") as f:
                f.write(data)
        entries = [self.descriptor(d, annotations={"org.opencontainers.image.ref.name": n}) for n, d in self.names.items()]
        for name, text in (("index.json", {"schemaVersion": 2, "manifests": entries}), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
            with open(f"{folder}/{name}", "w", encoding="ascii") as f:
                json.dump(text, f)
        return folder

    def reach(self, digest):
        """All digests that one leads to, with itself."""
        out = {digest}
        if digest in self.types:
            document = json.loads(self.blobs[digest])
            for one in document.get("manifests", []) + document.get("layers", []) + ([document["config"]] if "config" in document else []):
                out |= self.reach(one["digest"])
        return out

    def check_layout(self, case, folder, name, digest):
        """That a layout directory means `digest` by `name` and has all of it, byte for byte."""
        with open(folder + "/index.json", encoding="utf-8") as f:
            entries = json.load(f)["manifests"]
        found = [e["digest"] for e in entries if e.get("annotations", {}).get("org.opencontainers.image.ref.name", "") == name]
        case.assertEqual([digest], found, entries)
        for one in self.reach(digest):
            with open(f"{folder}/blobs/sha256/{one[7:]}", "rb") as f:
                case.assertEqual(self.blobs[one], f.read(), one)


def bundle(seed=b"", size=200_000):
    """names: single (gzip), zstd, docker (schema 2), multi (index, two platforms, attestations, a shared layer)."""
    out = Bundle()
    body = {"bin/tool": base64.b64encode(os.urandom(size)) + seed}
    out.add_image(Image([body, {"etc/x": b"1" + seed}]), "single")
    out.add_image(Image([body, {"etc/x": b"2" + seed}], compress=zstd_frame, layer_type=ZSTD_LAYER), "zstd")
    docker = Image([{"d": b"3" + seed}], media_type=fake_registry.DOCKER_MANIFEST, layer_type=DOCKER_LAYER)
    docker.document["config"]["mediaType"] = DOCKER_CONFIG
    out.add_image(docker, "docker")
    entries, attestations = [], []
    for architecture, variant in (("amd64", None), ("arm64", "v8")):
        image = Image([body, {"etc/arch": architecture.encode() + seed}], architecture=architecture, variant=variant)
        digest = out.add_image(image)
        entries.append(out.descriptor(digest, platform=image.platform))
        attestations.append(out.attestation(digest))
    out.add_index(entries + attestations, "multi")
    return out
