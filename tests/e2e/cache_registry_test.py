#!/usr/bin/env python3
"""The build cache in a registry: --cache-to and --cache-from type=registry, with docker-registry, kasane's own and a registry that lies."""

import json
import os
import threading

import support
from contexts import write_busybox_tar, write_tree
from fake_registry import INDEX, FakeRegistry, digest_of
from registries import DockerRegistry, needs_docker_registry, serve
from registry_support import fetch
from support import Kasane

DOCKERFILE = """FROM busybox AS tools
RUN echo tool > /tool && seq 100000 > /heavy
FROM busybox AS build
COPY src /src/
RUN cat /src/a > /out && seq 50000 > /unused
FROM busybox
WORKDIR /app
COPY --from=build /out .
COPY --from=tools /tool .
RUN cat out tool > both
"""
STEPS, LAYERS = 7, 4  # of all stages; of the image above its base
STEP_TYPE = "application/vnd.kasane.step.config.v1+json"


@support.needs_root
@support.needs_busybox
class CacheRegistryTest(support.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        first = Kasane(os.path.join(cls.work, "first"))
        first.import_busybox(write_busybox_tar(os.path.join(cls.work, "root.tar")))
        cls.base = os.path.join(cls.work, "base.tar")
        first("save", "-o", cls.base, "busybox")

    def store(self, **env):
        home = self.new_folder("home")
        k = Kasane(os.path.join(self.new_folder("store"), "root"), HOME=home, DOCKER_CONFIG=home + "/.docker",
                   **{"SOURCE_DATE_EPOCH": "1600000000", **env})
        k("load", "-i", self.base)
        self.addCleanup(lambda: k.check_store(self))
        return k

    def fake(self):
        registry = FakeRegistry()
        registry.strict_links = True
        self.addCleanup(registry.close)
        return registry

    def context(self, text=DOCKERFILE, **files):
        return write_tree(self.new_folder("ctx"), {"Dockerfile": text, "src/a": "a\n", **files})

    @staticmethod
    def ran(kasane, context, *args):
        return [name.split("] ")[1] for cached, name, _ in kasane.explain(context, *args) if not cached and "FROM " not in name]

    @staticmethod
    def steps(registry, repository="cache"):
        return {ref: data for (repo, ref), (_, data) in registry.manifests.items() if repo == repository and ref.startswith("k1-")}

    def exported(self, registry, *options, context=None):
        context = context or self.context()
        image = self.store().build_id(context, "--cache-to", ",".join([f"type=registry,ref={registry.host}/cache", *options]))
        del registry.requests[:]
        return context, image


class RealRegistryTest(CacheRegistryTest):
    def check_registry(self, host):
        context, ref = self.context(DOCKERFILE.replace("seq 50000", "date +%N > /out; seq 50000")), f"{host}/team/app/cache"
        env = {"SOURCE_DATE_EPOCH": ""}
        first = self.store(**env)
        image = first.build_id(context, "--cache-to", f"type=registry,ref={ref},mode=max,oci-mediatypes=true,image-manifest=true")
        tags = json.loads(fetch(f"http://{host}/v2/team/app/cache/tags/list"))["tags"]
        self.assertEqual(STEPS, len(tags))
        for tag in tags:
            self.assertRegex(tag, "^k1-[0-9a-f]{64}$")
            manifest = json.loads(fetch(f"http://{host}/v2/team/app/cache/manifests/{tag}",
                                        "application/vnd.oci.image.manifest.v1+json"))
            self.assertEqual(STEP_TYPE, manifest["config"]["mediaType"])
            self.assertEqual("application/vnd.oci.image.layer.v1.tar+gzip", manifest["layers"][0]["mediaType"])
        second = self.store(**env)
        before = set(os.listdir(second.root + "/layers"))
        self.assertEqual([], self.ran(second, context, "--cache-from", f"type=registry,ref={ref}", "-t", "app"))
        self.assertEqual(image, second.config("app")["Id"])
        # Of the stages that only served others nothing came.
        self.assertEqual(LAYERS, len(set(os.listdir(second.root + "/layers")) - before))

    @needs_docker_registry
    def test_docker_registry(self):
        """Q09: docker-registry: a fresh store runs nothing, gets the same image, and only the layers of that image."""
        with DockerRegistry(self.new_folder("reg")) as registry:
            self.check_registry(registry.host)

    def test_kasane_serve(self):
        """Q09: the same with kasane registry serve."""
        with serve(self.new_folder("reg")) as registry:
            self.check_registry(registry.host)


class LookupTest(CacheRegistryTest):
    def test_lookup_is_lazy(self):
        """Q09: one small document for each step; no blob before bytes are needed, and then only those."""
        registry = self.fake()
        context, image = self.exported(registry, "mode=max")
        cache = ("--cache-from", f"{registry.host}/cache")
        self.assertEqual([], self.ran(self.store(), context, *cache, "-o", "type=cacheonly"))
        self.assertEqual(0, registry.count("GET", "/blobs/"))
        self.assertEqual(STEPS, registry.count("GET", "/manifests/k1-"))
        self.assertEqual(image, self.store().build_id(context, *cache))
        self.assertEqual(LAYERS, registry.count("GET", "/blobs/"))
        # Another last step: it needs what is below it, and no other stage.
        del registry.requests[:]
        changed = self.context(DOCKERFILE.replace("> both", "> other"))
        kasane = self.store()
        self.assertEqual(["RUN cat out tool > other"], self.ran(kasane, changed, *cache, "-t", "app"))
        self.assertEqual(LAYERS - 1, registry.count("GET", "/blobs/"))
        self.assertEqual(self.store().build_id(changed), kasane.config("app")["Id"])

    def test_only_what_changed_runs(self):
        """Q09: another file of the context: its step and what follows run, the other stage stays away."""
        registry = self.fake()
        context, _ = self.exported(registry, "mode=max")
        with open(context + "/src/a", "w", encoding="ascii") as f:
            f.write("changed\n")
        kasane = self.store()
        ran = self.ran(kasane, context, "--cache-from", f"type=registry,ref={registry.host}/cache:any", "-t", "app")
        self.assertEqual({"COPY src /src/", "RUN cat /src/a > /out && seq 50000 > /unused", "COPY --from=build /out .",
                          "RUN cat out tool > both"}, set(ran))
        self.assertEqual(self.store().build_id(context), kasane.config("app")["Id"])

    def test_min(self):
        """Q09: mode=min, the default, has the steps of the result's layers only; a bare reference is the short form."""
        registry = self.fake()
        context = self.context()
        self.store().build(context, "--cache-to", f"{registry.host}/cache")
        self.assertEqual(LAYERS, len(self.steps(registry)))
        self.assertEqual(3, len(self.ran(self.store(), context, "--cache-from", f"{registry.host}/cache")))

    def test_compression(self):
        """Q09: compression=zstd|uncompressed; such layers are found as well."""
        for option, suffix in (("compression=zstd,compression-level=3", "+zstd"), ("compression=uncompressed", ".tar")):
            registry = self.fake()
            context, image = self.exported(registry, option)
            for data in self.steps(registry).values():
                self.assertTrue(json.loads(data)["layers"][0]["mediaType"].endswith(suffix))
            self.assertEqual(image, self.store().build_id(context, "--cache-from", f"{registry.host}/cache"))

    def test_inline_of_a_registry(self):
        """Q08, Q12: an image that was pushed with type=inline is a cache by its name, and is not pulled for that."""
        registry = self.fake()
        context = self.context()
        image = self.store().build_id(context, "--cache-to", "type=inline", "-t", f"{registry.host}/app:1", "--push")
        kasane = self.store()
        ran = self.ran(kasane, context, "--cache-from", f"{registry.host}/app:1", "--cache-to", "type=inline", "-t", "again")
        self.assertEqual(3, len(ran))  # the other stages
        self.assertEqual(kasane.config("again")["RootFS"]["Layers"][-LAYERS:][0][:7], "sha256:")
        self.assertNotIn("RUN cat out tool > both", ran)
        self.assertTrue(image)

    def test_several_sources(self):
        """Q12: each step from the first source that has it; a source that is not there is passed over."""
        one, two = self.fake(), self.fake()
        context, image = self.exported(one, "mode=min")
        self.exported(two, "mode=max", context=context)
        down = self.fake()
        down.close()
        args = [a for r in (down, one, two) for a in ("--cache-from", f"type=registry,ref={r.host}/cache")]
        kasane = self.store()
        outcome = kasane.build(context, *args, "-t", "app")
        self.assertEqual(1, outcome.err.count(f"cache source {down.host}/cache"), outcome.err)
        self.assertEqual(image, kasane.config("app")["Id"])
        self.assertEqual(LAYERS, one.count("GET", "/blobs/"))
        self.assertEqual(STEPS - LAYERS, sum(1 for m, p, _ in two.requests if m == "GET" and "k1-" in p))


class ExportTest(CacheRegistryTest):
    def test_pushed_while_the_build_goes_on(self):
        """Q09: a step is in the registry before the next one ends."""
        registry = self.fake()
        context = self.context("FROM busybox\nRUN echo one > /one\n"
                               f"RUN n=0; until wget -q -O - http://{registry.host}/v2/cache/tags/list | grep -q k1-; do "
                               "n=$((n+1)); [ $n -lt 300 ] || exit 1; sleep 0.2; done\n")
        self.store().build(context, "--network", "host", "--cache-to", f"type=registry,ref={registry.host}/cache")
        self.assertEqual(2, len(self.steps(registry)))

    def test_image_push_does_not_wait(self):
        """Q09: the image is up while the cache still waits; the process ends when the cache is up as well."""
        registry, pushed, early = self.fake(), threading.Event(), []

        def hook(handler):
            if handler.command == "PUT" and handler.path.endswith("/v2/app/manifests/1"):
                early.append(len(self.steps(registry)))
                pushed.set()
            if handler.path.startswith("/v2/cache/blobs/uploads") and handler.command == "POST":
                pushed.wait(120)
            return False
        registry.hooks.append(hook)
        self.store().build(self.context(), "-t", f"{registry.host}/app:1", "--push",
                           "--cache-to", f"type=registry,ref={registry.host}/cache,mode=max")
        self.assertEqual([0], early)
        self.assertEqual(STEPS, len(self.steps(registry)))

    def test_what_is_there_is_not_sent(self):
        """Q09: a second export asks for each step and writes nothing; nor does one of steps that came from there."""
        registry = self.fake()
        context, _ = self.exported(registry, "mode=max")
        cache = f"type=registry,ref={registry.host}/cache"
        for args in ((), ("--cache-from", cache)):
            before = dict(self.steps(registry))
            self.store().build(context, *args, "--cache-to", cache + ",mode=max")
            self.assertEqual(before, self.steps(registry))
        self.assertEqual(0, sum(registry.count(m, "/v2/") for m in ("PUT", "POST", "PATCH")))

    def test_no_cache_renews(self):
        """Q09: what --no-cache made anew takes the place of what was there."""
        registry = self.fake()
        context = self.context("FROM busybox\nRUN cat /proc/sys/kernel/random/uuid > /id\n")
        _, first = self.exported(registry, context=context)
        cache = f"type=registry,ref={registry.host}/cache"
        second = self.store().build_id(context, "--no-cache", "--cache-to", cache)
        self.assertNotEqual(first, second)
        self.assertEqual(1, len(self.steps(registry)))
        self.assertEqual(second, self.store().build_id(context, "--cache-from", cache))

    def test_from_a_registry_to_others(self):
        """Q09: steps found in one cache go on to another and to a folder, which then serve alone."""
        one, two = self.fake(), self.fake()
        context, image = self.exported(one, "mode=max")
        folder = self.path(self.new_folder("cache"), "c")
        self.store().build(context, "--cache-from", f"{one.host}/cache", "--cache-to",
                           f"type=registry,ref={two.host}/cache,mode=max", "--cache-to", f"type=local,dest={folder},mode=max",
                           "-o", "type=cacheonly")
        self.assertEqual(set(self.steps(one)), set(self.steps(two)))
        for source in (f"{two.host}/cache", f"type=local,src={folder}"):
            last = self.store()
            self.assertEqual([], self.ran(last, context, "--cache-from", source, "-t", "app"))
            self.assertEqual(image, last.config("app")["Id"])

    def test_writers_at_once(self):
        """Q09: builders that write the same steps at the same time do not disturb each other."""
        registry, context, outcomes = self.fake(), self.context(), []
        cache = f"type=registry,ref={registry.host}/cache,mode=max"
        stores = [self.store() for _ in range(3)]
        threads = [threading.Thread(target=lambda k=k: outcomes.append(k.build_id(context, "--cache-to", cache))) for k in stores]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(3, len(outcomes))
        self.assertEqual(1, len(set(outcomes)))
        self.assertEqual(STEPS, len(self.steps(registry)))
        self.assertEqual(outcomes[0], self.store().build_id(context, "--cache-from", f"{registry.host}/cache"))

    def test_errors(self):
        """Q09: an export that fails fails the command, once the image is there; ignore-error=true makes it a warning."""
        registry = self.fake()
        registry.auth, registry.users = "basic", {"u": "p"}
        context = self.context("FROM busybox\nRUN true\n")
        kasane, cache = self.store(), f"type=registry,ref={registry.host}/cache"
        outcome = kasane.build(context, "-t", "app", "--cache-to", cache, check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("export the cache to", outcome.err)
        kasane.config("app")
        outcome = kasane.build(context, "--cache-to", cache + ",ignore-error=true")
        self.assertIn("was not exported", outcome.err)
        for bad, words in (("type=registry", "no ref"), (cache + ",mode=mid", "mode=min or mode=max"),
                           (cache + ",compression=lzma", "gzip, zstd or uncompressed"), (cache + ",ignore-error=perhaps", "neither"),
                           (f"type=registry,ref={registry.host}/UPPER", "--cache-to"),
                           (f"type=registry,ref={registry.host}/c@sha256:{'0' * 64}", "has a digest")):
            outcome = kasane.build(context, "--cache-to", bad, check=False)
            self.assertNotEqual(0, outcome.code, bad)
            self.assertIn(words, outcome.err)

    def test_secrets_stay_here(self):
        """B20: a layer that holds the value of a secret is not pushed, though the build is refused only at its end."""
        registry = self.fake()
        context = self.context("FROM busybox AS other\nCOPY leak /leak\nFROM busybox\nCOPY --from=other /leak /l\n", leak="x canary-1234567 x\n")
        with open(self.path("secret"), "w", encoding="ascii") as f:
            f.write("canary-1234567\n")
        outcome = self.store().build(context, "--secret", "id=s,src=" + self.path("secret"), "--cache-to",
                                     f"type=registry,ref={registry.host}/cache,mode=max", check=False)
        self.assertNotEqual(0, outcome.code)
        self.assertIn("is not exported", outcome.err)
        self.assertEqual({}, self.steps(registry))
        self.assertEqual({}, registry.blobs)


class HostileCacheTest(CacheRegistryTest):
    """B18b: whatever the cache says, the image is that of a build without it, and the build succeeds."""

    known = {}  # by Dockerfile: what an export of it leaves in a registry

    def check(self, spoil, warning, text=DOCKERFILE):
        registry = self.fake()
        if text not in self.known:
            context, image = self.exported(registry, "mode=max", context=self.context(text))
            self.known[text] = context, image, dict(registry.blobs), dict(registry.manifests), set(registry.links)
        context, image, blobs, manifests, links = self.known[text]
        registry.blobs, registry.manifests, registry.links = dict(blobs), dict(manifests), set(links)
        spoil(registry)
        kasane = self.store()
        outcome = kasane.build(context, "--cache-from", f"type=registry,ref={registry.host}/cache", "-t", "app")
        self.assertEqual(image, kasane.config("app")["Id"], outcome.err)
        if warning:
            self.assertIn(warning, outcome.err)
        return registry, context, image, outcome

    def rewritten(self, change):
        """A spoiler that replaces the manifest of every step by what change(manifest, registry) makes of it."""
        def spoil(registry):
            for tag, data in self.steps(registry).items():
                manifest = json.loads(data)
                new = change(manifest, registry) or manifest
                registry.add_document("cache", tag, "application/vnd.oci.image.manifest.v1+json",
                                      new if isinstance(new, bytes) else json.dumps(new).encode())
        return spoil

    @staticmethod
    def put(registry, descriptor, data):
        """The descriptor made to name other bytes."""
        registry.blobs[digest_of(data)] = data
        registry.links.add(("cache", digest_of(data)))
        descriptor.pop("data", None)
        descriptor.update(digest=digest_of(data), size=len(data))

    def test_garbage(self):
        """Documents that are no artifacts."""
        for bytes_ in (b"", b"nonsense", b"[]", b"{}", b'{"schemaVersion":2}', b"[" * 100000,
                       json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()):
            with self.subTest(bytes_[:20]):
                self.check(self.rewritten(lambda *_, b=bytes_: b or b" "), "cannot be used")

    def test_artifacts_of_other_steps(self):
        """The manifests of the steps, exchanged."""
        def spoil(registry):
            steps = sorted(self.steps(registry).items())
            for (tag, _), (_, data) in zip(steps, steps[1:] + steps[:1]):
                registry.add_document("cache", tag, "application/vnd.oci.image.manifest.v1+json", data)
        self.check(spoil, "of another step")

    def test_layers_of_other_steps(self):
        """Artifacts that call the layer of another step the result of a COPY: seen before anything is made of it."""
        def spoil(registry):
            by_name = {json.loads(data)["annotations"]["org.opencontainers.image.description"]: (tag, json.loads(data))
                       for tag, data in self.steps(registry).items()}
            tag, copy = by_name["[build 2/3] COPY"]
            other = by_name["[tools 2/2] RUN"][1]
            config = json.loads(registry.blobs[other["config"]["digest"]])
            config["key"] = tag[3:]
            self.put(registry, copy["config"], json.dumps(config).encode())
            copy["layers"] = other["layers"]
            registry.add_document("cache", tag, "application/vnd.oci.image.manifest.v1+json", json.dumps(copy).encode())
        self.check(spoil, "it is not what the step copies")

    def test_wrong_layers(self):
        """Bytes, digests, sizes, DiffIDs that do not fit: the steps that relied on them are made again."""
        def other_bytes(manifest, registry):
            registry.blobs[manifest["layers"][0]["digest"]] = b"x" * manifest["layers"][0]["size"]

        def gone(manifest, registry):
            registry.blobs.pop(manifest["layers"][0]["digest"], None)

        def no_layer(manifest, registry):
            self.put(registry, manifest["layers"][0], b"this is no layer at all")

        def size(value):
            return lambda manifest, _: manifest["layers"][0].update(size=value)

        def diff_id(manifest, registry):
            config = json.loads(registry.blobs[manifest["config"]["digest"]])
            config["diffID"] = "sha256:" + "1" * 64
            self.put(registry, manifest["config"], json.dumps(config).encode())
            del manifest["layers"][1:]
        for change in (other_bytes, gone, no_layer, size(1), size(1 << 62), diff_id):
            with self.subTest(change):
                self.check(self.rewritten(change), "cannot be used")

    def test_wrong_documents(self):
        """Configurations and indexes that are damaged, huge, or not of the layer."""
        def index(data):
            return lambda manifest, registry: self.put(registry, manifest["layers"][1], data)

        def other_index(manifest, registry):
            steps = [json.loads(d) for d in self.steps(registry).values()]
            manifest["layers"][1] = next(s for s in steps if s["layers"][1]["digest"] != manifest["layers"][1]["digest"])["layers"][1]

        def false_data(manifest, _):
            manifest["config"]["data"] = "e30="

        def config(data):
            return lambda manifest, registry: self.put(registry, manifest["config"], data)

        def no_layers(manifest, _):
            manifest["layers"] = []

        def foreign(manifest, _):
            manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
        for change in (index(b"no index at all " * 20), index(b""), other_index, false_data, config(b"{}"), config(b"\xff"),
                       no_layers, foreign):
            with self.subTest(change):
                self.check(self.rewritten(change), "cannot be used")

    def test_an_index_of_another_version(self):
        """An artifact without an index that this kasane reads serves all the same."""
        def change(manifest, _):
            manifest["layers"][1]["mediaType"] = "application/vnd.kasane.layer.index.v9+zstd"
        registry, context, _, outcome = self.check(self.rewritten(change), "")
        self.assertNotIn("cannot be used", outcome.err)
        self.assertEqual([], self.ran(self.store(), context, "--cache-from", f"{registry.host}/cache"))

    def test_a_promise_is_replaced(self):
        """What turned out to be of no use is pushed anew by the build that noticed, and serves the next one."""
        def gone(manifest, registry):
            registry.blobs.pop(manifest["layers"][0]["digest"], None)
            registry.links.discard(("cache", manifest["layers"][0]["digest"]))
        registry = self.fake()
        context, image = self.exported(registry, "mode=min", context=self.context("FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\n"))
        self.rewritten(gone)(registry)
        cache = f"type=registry,ref={registry.host}/cache"
        outcome = self.store().build(context, "--cache-from", cache, "--cache-to", cache)
        self.assertIn("are made again", outcome.err)
        last = self.store()
        self.assertEqual([], self.ran(last, context, "--cache-from", cache, "-t", "app"))
        self.assertEqual(image, last.config("app")["Id"])

    def test_registries_that_do_not_serve(self):
        """401, 403, 429, 500, broken connections, a closed port: one warning, and no further question."""
        def answering(status):
            def spoil(registry):
                registry.hooks.append(lambda h: h.answer(status, b"{}", {"WWW-Authenticate": 'Basic realm="x"'}) or True)
            return spoil

        def reset(registry):
            registry.hooks.append(lambda h: h.reset() or True)
        for spoil in (answering(401), answering(403), answering(500), reset, lambda registry: registry.close()):
            with self.subTest(spoil):
                registry, _, _, outcome = self.check(spoil, "cannot be used", text="FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\n")
                self.assertEqual(1, outcome.err.count("cannot be used"), outcome.err)
                self.assertLessEqual(len(registry.requests), 6)


del CacheRegistryTest  # its own tests are those of the classes above

if __name__ == "__main__":
    support.main()
