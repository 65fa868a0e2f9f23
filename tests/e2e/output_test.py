#!/usr/bin/env python3
"""What kasane writes is read by other tools, and what they write is read by kasane."""

import json
import os
import shutil
import subprocess
import tarfile
import warnings

import support
from contexts import D, F, H, L, Special, write_busybox_tar, write_tree
from imagetree import describe_config, differences, read_docker_archive, read_oci_layout, walk
from peers import Buildah, Missing, policy_file
from support import Kasane, needs, run

CONTEXT = {
    "app/main.sh": F("#!/bin/sh\necho hello\n", 0o755), "app/data/": D(0o2750), "app/data/x": F("x\n", 0o640, 5, 6),
    "app/data/y": H("app/data/x"), "app/link": L("data/x"), "app/long" + "g" * 150 + "/file": "long\n",
    "app/cap": F("cap\n", 0o755, xattrs={"user.note": b"hello"}), "app/ünï": "u\n", "app/pipe": Special(),
}
DOCKERFILE = """FROM busybox
LABEL org.example.a=1 b="two words"
WORKDIR /app
COPY --chown=app:extra app .
COPY app/main.sh /setuid
RUN rm -r /usr/lib/old && mkdir /usr/lib/old && echo new > /usr/lib/old/new && chmod 4755 /setuid && ln main.sh main2.sh
RUN rm /etc/os-release && echo $PATH > /path
EXPOSE 8080/tcp
VOLUME /data
USER app
HEALTHCHECK --interval=1m CMD true
STOPSIGNAL SIGTERM
ENTRYPOINT ["/app/main.sh"]
CMD ["a", "b"]
"""


def without_ids(schema):
    if isinstance(schema, list):
        return [without_ids(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: without_ids(v) for k, v in schema.items() if not (k == "id" and isinstance(v, str))}


@support.needs_root
@support.needs_busybox
class Output(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kasane = Kasane(os.path.join(cls.work, "store"))
        cls.kasane.import_busybox(write_busybox_tar(os.path.join(cls.work, "base.tar")))
        if not support.xattrs_work(cls.work):
            CONTEXT["app/cap"] = "no attributes here\n"
        cls.context = write_tree(os.path.join(cls.work, "ctx"), {**CONTEXT, "Dockerfile": DOCKERFILE})
        cls.id = cls.kasane.build_id(cls.context, "-t", "app:1")
        cls.archive = os.path.join(cls.work, "app.tar")
        cls.kasane("save", "-o", cls.archive, "app:1")
        cls.image = read_docker_archive(cls.archive)
        cls.layout = os.path.join(cls.work, "saved")
        with tarfile.open(cls.archive) as tar:
            tar.extractall(cls.layout)
        cls.policy = policy_file(cls.work)

    def skopeo(self, *args):
        return run(["skopeo", "--policy", self.policy, "--tmpdir", self.work, *args], env=support.clean_environment())

    def assert_same_image(self, other, ignore=()):
        """Config and, when there is one, tree are those of the built image."""
        self.assertEqual(describe_config(self.image.config), describe_config(other.config))
        self.assert_same_tree(other.tree, ignore)

    def assert_same_tree(self, tree, ignore=()):
        found = [d for d in differences(self.image.tree.describe(), tree.describe()) if d[0] not in ignore]
        self.assertFalse(found)

    def test_config_holds_what_the_dockerfile_says(self):
        config = describe_config(self.image.config)
        self.assertEqual(["/app/main.sh"], config["Entrypoint"])
        self.assertEqual({"org.example.a": "1", "b": "two words"}, config["Labels"])
        self.assertEqual("buildkit.dockerfile.v0", self.image.config["history"][-1]["comment"])

    # Other tools read it

    @needs("skopeo")
    def test_skopeo_inspects_docker_archive(self):
        found = json.loads(self.skopeo("inspect", f"docker-archive:{self.archive}").out)
        self.assertEqual(len(self.image.layers), len(found["Layers"]))
        self.assertEqual("1", found["Labels"]["org.example.a"])
        config = json.loads(self.skopeo("inspect", "--config", f"docker-archive:{self.archive}:app:1").out)
        self.assertEqual(self.image.config["rootfs"], config["rootfs"])

    @needs("skopeo")
    def test_skopeo_copies_to_oci_layout(self):
        layout = self.path("skopeo-oci")
        self.skopeo("copy", f"docker-archive:{self.archive}", f"oci:{layout}:app")
        self.assert_same_tree(read_oci_layout(layout).tree)

    @needs("skopeo")
    def test_skopeo_reads_the_oci_side(self):
        for source in (f"oci:{self.layout}:1", f"oci-archive:{self.archive}:1"):
            target = self.path("side-" + source.partition(":")[0])
            self.skopeo("copy", source, f"oci:{target}:app")
            self.assert_same_image(read_oci_layout(target))

    @needs("umoci")
    def test_umoci_unpacks(self):
        bundle = self.path("bundle")
        run(["umoci", "unpack", "--image", f"{self.layout}:1", bundle])
        self.assert_same_tree(walk(f"{bundle}/rootfs"))

    @needs("buildah")
    def test_buildah_takes_it_as_base(self):
        try:
            buildah = Buildah(self.path("buildah"))
        except Missing as why:
            self.skipTest(str(why))
        name = run(["buildah", "from", *buildah.policy, f"docker-archive:{self.archive}"],
             env=buildah.env).out.split()[-1]
        mounted = run(["buildah", "mount", name], env=buildah.env).out.strip()
        try:
            # containers/storage gives the root itself a mode of its own.
            self.assert_same_tree(walk(mounted), ignore=("/",))
            inspected = json.loads(run(["buildah", "inspect", name], env=buildah.env).out)
            self.assertEqual("app", inspected["OCIv1"]["config"]["User"])
        finally:
            run(["buildah", "rm", name], env=buildah.env)

    def test_docker_loads_it(self):
        host = os.environ.get("DOCKER_HOST")
        if not host or not os.access("/usr/bin/docker", os.X_OK):
            self.skipTest("DOCKER_HOST is not set, or /usr/bin/docker not installed")
        env = support.clean_environment(DOCKER_HOST=host, DOCKER_CONFIG=self.work)
        try:
            self.assertIn("Loaded image: app:1", run(["/usr/bin/docker", "load", "-i", self.archive], env=env).out)
            self.assertEqual(self.id, run(["/usr/bin/docker", "image", "inspect", "-f", "{{.Id}}", "app:1"],
            env=env).out.strip())
        finally:
            run(["/usr/bin/docker", "rmi", "-f", "app:1"], check=False, env=env)

    # Standards

    def schemas(self):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                from jsonschema import Draft4Validator, RefResolver
        except ImportError:
            self.skipTest("not installed: python3-jsonschema")
        folder = self.path("schemas")
        with tarfile.open(support.corpus("oci-schema.tar.xz")) as tar:
            tar.extractall(folder)
        # They name each other by file, but their ids lie in different folders: without ids all is in one.
        base = "https://schemas.invalid/"
        store = {}
        for name in os.listdir(f"{folder}/oci-schema"):
            with open(f"{folder}/oci-schema/{name}", encoding="utf-8") as f:
                store[base + name] = without_ids(json.load(f))

        def validate(name, document):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                resolver = RefResolver(base + name, store[base + name], store=store)
                validator = Draft4Validator(store[base + name], resolver=resolver)
                errors = [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(document)]
            self.assertFalse(errors, name)
        return validate

    def test_documents_follow_the_oci_schemas(self):
        validate = self.schemas()

        def document(path):
            with open(os.path.join(self.layout, path), encoding="utf-8") as f:
                return json.load(f)
        validate("image-layout-schema.json", document("oci-layout"))
        index = document("index.json")
        validate("image-index-schema.json", index)
        for descriptor in index["manifests"]:
            manifest = document("blobs/" + descriptor["digest"].replace(":", "/"))
            validate("image-manifest-schema.json", manifest)
            validate("config-schema.json", document("blobs/" + manifest["config"]["digest"].replace(":", "/")))
        with self.assertRaises(AssertionError):  # the validator is not asleep
            validate("image-manifest-schema.json", {"schemaVersion": 2, "layers": [{}]})

    def test_layers_are_in_canonical_order(self):
        for number in range(len(self.image.layers)):
            names = [n.split("/") for n in self.image.layer_names(number)]
            whole = [[part.encode() for part in n] for n in names]
            self.assertEqual(len(names), len({tuple(n) for n in whole}), "an entry twice")
            parents = {tuple(n) for n in whole}
            for n in whole[1:]:
                self.assertTrue(len(n) <= 2 or tuple(n[:-1]) in parents or number == 0, f"{n} without its folder")

    # kasane reads it again

    def load(self, *args, **kwargs):
        """Loads into a new store; returns (kasane, id of the only image)."""
        fresh = Kasane(os.path.join(self.new_folder("load"), "store"))
        fresh("load", *args, **kwargs)
        ids = fresh("images", "-q", "--no-trunc").out.split()
        self.assertEqual(1, len(set(ids)))
        fresh.check_store(self)
        return fresh, ids[0]

    def test_load_of_save_is_the_same_image(self):
        fresh, image = self.load("-i", self.archive)
        self.assertEqual(self.id, image)
        again = self.path("again.tar")
        fresh("save", "-o", again, "app:1")
        with open(again, "rb") as a, open(self.archive, "rb") as b:
            self.assertEqual(a.read(), b.read())

    def test_load_from_standard_input_and_folder(self):
        with open(self.archive, "rb") as f:
            self.assertEqual(self.id, self.load(stdin=f)[1])
        self.assertEqual(self.id, self.load("-i", self.layout)[1])

    def test_save_is_deterministic(self):
        one = self.kasane("save", "app:1").out
        self.assertEqual(one, self.kasane("save", "app:1").out)

    def test_load_compressed(self):
        for program, *options in (("gzip", "-c"), ("zstd", "-qc"), ("xz", "-0c"), ("bzip2", "-c")):
            with self.subTest(program=program):
                if shutil.which(program) is None:
                    self.skipTest(f"not installed: {program}")
                path = self.path("app.tar." + program)
                with open(path, "wb") as f:
                    subprocess.run([program, *options, self.archive], stdout=f, check=True)
                self.assertEqual(self.id, self.load("-i", path)[1])

    @needs("skopeo")
    def test_load_of_skopeo_archives(self):
        for target in ("oci-archive", "docker-archive"):
            with self.subTest(target=target):
                path = self.path(f"skopeo.{target}.tar")
                self.skopeo("copy", f"docker-archive:{self.archive}", f"{target}:{path}:app:1")
                fresh, image = self.load("-i", path)
                out = self.path("round.tar")
                fresh("save", "-o", out, image)
                self.assert_same_tree(read_docker_archive(out).tree)

    @needs("buildah")
    def test_load_of_buildah_layout(self):
        try:
            buildah = Buildah(self.path("buildah-out"))
        except Missing as why:
            self.skipTest(str(why))
        context = write_tree(self.path("bctx"), {"a": "a\n", "d/b": H("a"), "s": F("s\n", 0o4711), "Dockerfile":
                                                 "FROM scratch\nCOPY . /x/\nCMD [\"/x/s\"]\n"})
        self.assertEqual(0, buildah.build(context, "made").code)
        layout = self.path("made")
        run(["buildah", "push", *buildah.policy, "made", f"oci:{layout}:made"], env=buildah.env)
        made = read_oci_layout(layout)
        fresh, image = self.load("-i", layout)
        out = self.path("made.tar")
        fresh("save", "-o", out, image)
        mine = read_docker_archive(out)
        self.assertEqual(made.config["rootfs"], mine.config["rootfs"])
        self.assertFalse(differences(made.tree.describe(), mine.tree.describe()))

    def test_loaded_image_serves_as_base(self):
        fresh, _ = self.load("-i", self.archive)
        context = write_tree(self.new_folder("child"), {"Dockerfile": "FROM app:1\nUSER root\n"
             "RUN /app/main.sh > /said && stat -c %a /setuid >> /said\n"})
        fresh.build(context, "-t", "child")
        out = self.path("child.tar")
        fresh("save", "-o", out, "child")
        self.assertEqual("hello\n4755\n", read_docker_archive(out).tree.text("/said"))

    def test_import_of_the_exported_root(self):
        """A root file system that another program packed comes back as it was."""
        tar = self.path("root.tar")
        folder = write_tree(self.path("rootfs"), {k: v for k, v in CONTEXT.items()})
        run(["tar", "--xattrs", "-C", folder, "-cf", tar, "."])
        fresh = Kasane(self.path("import-store"))
        fresh("import", tar, "imported")
        out = self.path("imported.tar")
        fresh("save", "-o", out, "imported")
        self.assertFalse(differences(walk(folder).describe(), read_docker_archive(out).tree.describe()))

    def test_store_is_clean(self):
        self.kasane.check_store(self)


if __name__ == "__main__":
    support.main()
