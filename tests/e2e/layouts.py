"""OCI layouts that kasane writes, read by plain Python: every blob is checked against its descriptor."""

import hashlib
import json
import os
import tarfile

from imagetree import Image


class Layout:
    """A layout directory, or a tar of one."""

    def __init__(self, path):
        self.files = {}
        if os.path.isdir(path):
            for folder, _, names in os.walk(path):
                for name in names:
                    full = os.path.join(folder, name)
                    with open(full, "rb") as f:
                        self.files[os.path.relpath(full, path)] = f.read()
        else:
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile():
                        self.files[member.name] = tar.extractfile(member).read()
        if json.loads(self.files["oci-layout"]) != {"imageLayoutVersion": "1.0.0"}:
            raise AssertionError(f"{path}: oci-layout")
        self.index = json.loads(self.files["index.json"])

    def blob(self, descriptor):
        data = self.files["blobs/" + descriptor["digest"].replace(":", "/")]
        if len(data) != descriptor["size"] or hashlib.sha256(data).hexdigest() != descriptor["digest"][7:]:
            raise AssertionError(f"blob {descriptor['digest']} is not what its descriptor says")
        return data

    def document(self, descriptor):
        return json.loads(self.blob(descriptor))

    @property
    def top(self):
        """Descriptor of the only thing that the layout holds (under perhaps several names)."""
        if len({m["digest"] for m in self.index["manifests"]}) != 1:
            raise AssertionError(f"{len(self.index['manifests'])} entries")
        return self.index["manifests"][0]

    def manifest(self):
        """Of a layout with one image and no nested index."""
        return self.document(self.top)

    def image(self, descriptor=None):
        """The image with its files; `descriptor` is of its manifest."""
        manifest = self.document(descriptor or self.top)
        return Image(self.document(manifest["config"]), [self.blob(layer) for layer in manifest["layers"]])

    def platforms(self):
        """Of a nested index: {"linux/arm64": descriptor}, in its order, without attestations."""
        found = {}
        for descriptor in self.document(self.top)["manifests"]:
            p = descriptor["platform"]
            if p["os"] != "unknown":
                found["/".join(p[k] for k in ("os", "architecture", "variant") if k in p)] = descriptor
        return found

    def attestations(self):
        """[(descriptor, manifest, [statement])] of the nested index."""
        found = []
        for descriptor in self.document(self.top)["manifests"]:
            if descriptor["platform"]["os"] == "unknown":
                manifest = self.document(descriptor)
                found.append((descriptor, manifest, [self.document(layer) for layer in manifest["layers"]]))
        return found
