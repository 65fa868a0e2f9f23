"""pull, login, logout and registry explain: against docker-registry, and against a registry that misbehaves."""

import base64
import gzip
import json
import os
import shutil
import signal
import subprocess
import time
import unittest

import fake_registry
import registries
import registry_support
import support
from fake_registry import FakeRegistry, Image, digest_of


def random_bytes(size, seed):
    out = b""
    while len(out) < size:
        out += digest_of(f"{seed}{len(out)}".encode()).encode() + bytes(range(seed % 50, seed % 50 + 20))
    return out[:size]


class RoundTripTest(registry_support.RegistryTestCase):
    """docker-registry filled by skopeo: what it holds arrives, digests kept."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for program in ("docker-registry", "skopeo"):
            if not shutil.which(program):
                raise unittest.SkipTest(f"not installed: {program}")
        cls.registry = registries.DockerRegistry(cls.path(cls, "registry"))
        cls.addClassCleanup(cls.registry.close)

    def layout(self, image):
        """An OCI layout of a fake image, for skopeo."""
        folder = self.new_folder("layout")
        os.makedirs(folder + "/blobs/sha256")
        for data in [image.config, image.manifest] + image.blobs:
            with open(f"{folder}/blobs/sha256/{digest_of(data)[7:]}", "wb") as f:
                f.write(data)
        with open(folder + "/oci-layout", "w", encoding="ascii") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        with open(folder + "/index.json", "w", encoding="ascii") as f:
            json.dump({"schemaVersion": 2, "manifests": [Image.descriptor(image.media_type, image.manifest)]}, f)
        return folder

    def push(self, image, name):
        support.run(["skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", "oci:" + self.layout(image),
                     f"docker://{self.registry.host}/{name}"])

    def test_pull_prints_dockers_lines_and_keeps_digests(self):
        image = Image([{"a": b"1", "big": random_bytes(300_000, 1)}, {"b": b"2"}])
        self.push(image, "team/app:1")
        name = f"{self.registry.host}/team/app"
        first = self.k("pull", name + ":1").out.splitlines()
        ids = [digest_of(blob)[7:19] for blob in image.blobs]
        self.assertEqual("1: Pulling from team/app", first[0])
        for layer in ids:
            lines = [line.partition(": ")[2] for line in first if line.startswith(layer)]
            self.assertEqual(["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"], lines)
        self.assertEqual([f"Digest: {image.digest}", f"Status: Downloaded newer image for {name}:1", f"{name}:1"], first[-3:])
        again = self.k("pull", name + ":1").out.splitlines()
        self.assertEqual(["1: Pulling from team/app", f"Digest: {image.digest}",
                          f"Status: Image is up to date for {name}:1", f"{name}:1"], again)
        self.assertEqual(f"{name}:1\n", self.k("pull", "-q", name + ":1").out)
        self.assertEqual(digest_of(image.config), self.k("inspect", "-f", "{{.Id}}", name + ":1").out.strip())
        self.assertEqual(f"[{name}@{image.digest}]", self.k("inspect", "-f", "{{.RepoDigests}}", name + ":1").out.strip())
        self.k("pull", f"{name}@{image.digest}")
        self.k.check_store(self)

    def test_default_tag_all_tags_and_errors(self):
        for tag in ("latest", "2", "3"):
            self.push(Image([{"t": tag.encode()}]), f"many:{tag}")
        name = f"{self.registry.host}/many"
        self.assertEqual("Using default tag: latest", self.k("pull", name).out.splitlines()[0])
        every = self.k("pull", "-a", name).out.splitlines()
        self.assertEqual(3, sum(line.startswith("Digest: ") for line in every))
        self.assertEqual(f"Status: Downloaded newer image for {name}", every[-2])
        self.assertEqual(name, every[-1])
        for arguments, text in ((["-a", name + ":2"], "tag can't be used with --all-tags/-a"),
                                ([name + ":none"], f"manifest for {name}:none not found: manifest unknown"),
                                (["scratch"], "'scratch' is a reserved name"),
                                (["--platform", "a/b/c/d", name], "platform")):
            failed = self.k("pull", *arguments, check=False)
            self.assertIn(failed.code, (1, 125))
            self.assertIn(text, failed.err)

    def test_zstd_and_plain_layers(self):
        plain = Image([{"p": b"x" * 1000}], compress=lambda tar: tar,
                      layer_type="application/vnd.oci.image.layer.v1.tar")
        zstd = Image([{"z": b"y" * 1000}], layer_type="application/vnd.oci.image.layer.v1.tar+zstd",
                     compress=lambda tar: subprocess.run(["zstd", "-qc"], input=tar, stdout=subprocess.PIPE, check=True).stdout)
        multi = Image([{"m": b"z" * 1000}], compress=lambda tar: gzip.compress(tar[:700]) + gzip.compress(tar[700:]))
        for number, image in enumerate((plain, zstd, multi)):
            self.push(image, f"forms:{number}")
            self.k("pull", f"{self.registry.host}/forms:{number}")
        self.k.check_store(self)

    def test_basic_authentication_and_login(self):
        if not shutil.which("htpasswd"):
            self.skipTest("not installed: htpasswd (apache2-utils)")
        folder = self.new_folder("auth")
        users = support.run(["htpasswd", "-Bbn", "bot", "s3:cr et"]).out
        with open(folder + "/htpasswd", "w", encoding="ascii") as f:
            f.write(users)
        registry = self.serve(registries.DockerRegistry(folder, auth=f"auth: {{htpasswd: {{realm: r, path: {folder}/htpasswd}}}}\n"))
        image = Image([{"a": b"1"}])
        support.run(["skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", "--dest-creds", "bot:s3:cr et",
                     "oci:" + self.layout(image), f"docker://{registry.host}/p:1"])
        refused = self.k("pull", registry.host + "/p:1", check=False)
        self.assertEqual(1, refused.code)
        self.assertIn(f"pull access denied for {registry.host}/p, repository does not exist or may require 'docker login'", refused.err)
        wrong = self.k("login", "-u", "bot", "--password-stdin", registry.host, input=b"wrong\n", check=False)
        self.assertEqual(1, wrong.code)
        self.assertIn("unauthorized: incorrect username or password", wrong.err)
        good = self.k("login", "-u", "bot", "--password-stdin", registry.host, input=b"s3:cr et\n")
        self.assertEqual("Login Succeeded\n", good.out)
        self.assertIn("WARNING! Your credentials are stored unencrypted in", good.err)
        with open(self.home + "/.docker/config.json", encoding="ascii") as f:
            text = f.read()
        self.assertEqual({"auths": {registry.host: {"auth": base64.b64encode(b"bot:s3:cr et").decode()}}}, json.loads(text))
        self.assertIn('\n\t"auths": {', text)
        self.assertEqual(0o600, os.stat(self.home + "/.docker/config.json").st_mode & 0o777)
        self.k("pull", registry.host + "/p:1")
        self.assertIn("Authenticating with existing credentials... [Username: bot]", self.k("login", registry.host).out)
        explained = json.loads(self.k("registry", "explain", "--format", "json", registry.host + "/p:1").out)
        self.assertEqual({"source": self.home + "/.docker/config.json", "username": "bot", "kind": "password"},
                         explained["pull"][0]["credentials"])
        self.assertEqual(f"Removing login credentials for {registry.host}\n", self.k("logout", registry.host).out)
        self.assertEqual(1, self.k("pull", "-q", registry.host + "/p:1", "--platform", "linux/arm64", check=False).code)
        for arguments, text in ((["-u", "a", "-p", "b", "--password-stdin"], "conflicting options"),
                                (["--password-stdin"], "requires --username"), (["-u", "a"], "non TTY device"),
                                (["-u", "a", "--password-stdin"], "password is empty")):
            self.assertIn(text, self.k("login", *arguments, registry.host, check=False).err)

    def test_private_authority_and_client_certificate(self):
        folder = self.new_folder("tls")
        registry_support.make_certificates(folder)
        tls = f", tls: {{certificate: {folder}/server.pem, key: {folder}/server.key, clientcas: [{folder}/ca.pem]}}"
        registry = self.serve(registries.DockerRegistry(folder, extra=tls))
        # Loopback is trusted without a certificate; another name of it, written as a host, is not.
        host = registry.host
        certs = self.home + f"/.config/docker/certs.d/{host}"
        os.makedirs(certs)
        refused = self.k("pull", host + "/x:1", check=False)
        self.assertNotIn("manifest unknown", refused.err, "no client certificate, no answer")
        for source, target in (("ca.pem", "ca.crt"), ("client.pem", "me.cert"), ("client.key", "me.key")):
            shutil.copy(f"{folder}/{source}", f"{certs}/{target}")
        self.assertIn("manifest unknown", self.k("pull", host + "/x:1", check=False).err)
        os.unlink(certs + "/me.key")
        self.assertIn("me.key is missing", self.k("pull", host + "/x:1", check=False).err)


    def test_certificates_are_checked_off_loopback(self):
        """R23: an address of this machine that is not loopback: refused until its authority is known."""
        found = subprocess.run(["hostname", "-I"], stdout=subprocess.PIPE, check=False).stdout.decode().split()
        address = next((a for a in found if ":" not in a and not a.startswith("127.")), None)
        if address is None:
            self.skipTest("this machine has no address beside loopback")
        folder = self.new_folder("tls2")
        registry_support.make_certificates(folder, address)
        tls = f", tls: {{certificate: {folder}/server.pem, key: {folder}/server.key}}"
        registry = self.serve(registries.DockerRegistry(folder, extra=tls, address=address))
        refused = self.k("pull", registry.host + "/x:1", check=False)
        self.assertEqual(1, refused.code)
        self.assertIn("certificate", refused.err)
        self.assertNotIn("manifest unknown", refused.err)
        certs = self.home + f"/.config/containers/certs.d/{registry.host}"
        os.makedirs(certs)
        shutil.copy(folder + "/ca.pem", certs + "/ca.crt")
        self.assertIn("manifest unknown", self.k("pull", registry.host + "/x:1", check=False).err)


class FakeTestCase(registry_support.RegistryTestCase):
    def setUp(self):
        super().setUp()
        self.registry = self.serve(FakeRegistry())
        self.host = self.registry.host

    def pull(self, name="app:1", **kwargs):
        kwargs.setdefault("timeout", 120)
        return self.k("pull", f"{self.host}/{name}", **kwargs)

    def failed_pull(self, text, name="app:1", **kwargs):
        outcome = self.pull(name, check=False, **kwargs)
        self.assertEqual(1, outcome.code, outcome.out + outcome.err)
        self.assertIn(text, outcome.err)
        self.assertEqual("", self.k("images", "-q").out, "nothing may be named after a failed pull")
        self.k.check_store(self)
        return outcome


class PlatformTest(FakeTestCase):
    def test_index_choice_and_no_match(self):
        images = [Image([{"a": name.encode()}], architecture=arch, variant=variant)
                  for name, arch, variant in (("amd", "amd64", None), ("v6", "arm", "v6"), ("v7", "arm", "v7"), ("a64", "arm64", "v8"))]
        for image in images:
            self.registry.add("app", image.digest, image)
        attestation = {**Image.descriptor(fake_registry.MANIFEST, b"{}"), "platform": {"os": "unknown", "architecture": "unknown"}}
        index = fake_registry.index_of(images, [attestation])
        self.registry.add_document("app", "1", fake_registry.INDEX, index)
        for platform, image in (("linux/arm64", images[3]), ("linux/arm/v7", images[2]), ("linux/arm/v6", images[1]),
                                ("linux/arm/v8", images[2]), ("linux/amd64", images[0])):
            out = self.k("pull", "--platform", platform, f"{self.host}/app:1").out
            self.assertIn("Digest: " + digest_of(index), out)
            self.assertEqual(digest_of(image.config), self.k("inspect", "-f", "{{.Id}}", f"{self.host}/app:1").out.strip(), platform)
        missing = self.k("pull", "--platform", "linux/s390x", f"{self.host}/app:1", check=False)
        self.assertEqual(1, missing.code)
        self.assertIn("no matching manifest for linux/s390x in the manifest list entries", missing.err)
        self.assertEqual(1, self.k("pull", "--platform", "linux/s390x", f"{self.host}/app:1", check=False).code)

    def test_single_image_of_another_platform_warns(self):
        self.registry.add("app", "1", Image([{"a": b"1"}], architecture="arm64"))
        out = self.k("pull", "--platform", "linux/amd64", f"{self.host}/app:1").out
        self.assertIn("WARNING: image with reference", out)
        self.assertIn("(linux/arm64) does not match the specified platform (linux/amd64)", out)


class DocumentTest(FakeTestCase):
    """R1-R6, R20, R21: what is no honest image is refused."""

    def document(self, document, media_type=fake_registry.MANIFEST):
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.registry.add_document("app", "1", media_type, data)

    def test_refused_documents(self):
        image = Image([{"a": b"1"}])
        self.registry.add("app", "good", image)
        good, index = image.document, json.loads(fake_registry.index_of([image]))
        layer = good["layers"][0]
        cases = [
            ({**good, "manifests": []}, fake_registry.MANIFEST, "ambiguous"),
            (good, fake_registry.INDEX, "ambiguous"),
            ({**good, "mediaType": fake_registry.INDEX}, fake_registry.INDEX, "ambiguous"),
            ({**index, "mediaType": fake_registry.MANIFEST}, fake_registry.MANIFEST, "ambiguous"),
            (json.dumps(good).replace('"layers"', '"Layers": [], "layers"').encode(), fake_registry.MANIFEST, "Layers"),
            (json.dumps(good).replace('"layers"', '"layers": [], "layers"').encode(), fake_registry.MANIFEST, "layers"),
            (b"[" * 100_000, fake_registry.MANIFEST, "manifest"),
            (json.dumps(good).encode() + b" {}", fake_registry.MANIFEST, "manifest"),
            (b"\xef\xbb\xbf" + json.dumps(good).encode(), fake_registry.MANIFEST, "manifest"),
            ({"schemaVersion": 1, "name": "x", "fsLayers": []}, "application/vnd.docker.distribution.manifest.v1+prettyjws",
             "schema 1 support has been removed"),
            ({"hello": 1}, "text/plain", "unsupported media type text/plain"),
            ({**good, "layers": [{**layer, "digest": "sha256:../../x"}]}, fake_registry.MANIFEST, "digest"),
            ({**good, "layers": [{**layer, "digest": layer["digest"].upper()}]}, fake_registry.MANIFEST, "digest"),
            ({**good, "layers": [{**layer, "digest": "sha512:" + "a" * 128}]}, fake_registry.MANIFEST, "sha512"),
            ({**good, "layers": [{**layer, "size": -1}]}, fake_registry.MANIFEST, "size"),
            ({**good, "layers": [{**layer, "size": layer["size"] + 1}]}, fake_registry.MANIFEST, "filesystem layer verification failed"),
            ({**good, "layers": [{**layer, "size": layer["size"] - 1}]}, fake_registry.MANIFEST, "filesystem layer verification failed"),
            ({**good, "layers": [{**layer, "mediaType": "application/x-y"}]}, fake_registry.MANIFEST, "unsupported media type application/x-y"),
            ({**good, "layers": [layer, layer]}, fake_registry.MANIFEST, "layers from manifest don't match image configuration"),
            ({**good, "config": {**good["config"], "mediaType": "application/x-helm"}}, fake_registry.MANIFEST, "unsupported media type"),
            ({**good, "config": {**good["config"], "data": "eA=="}}, fake_registry.MANIFEST, "data"),
        ]
        for document, media_type, text in cases:
            with self.subTest(text=text, document=str(document)[:150]):
                self.document(document, media_type)
                self.failed_pull(text)

    def test_wrong_diff_id(self):
        image = Image([{"a": b"1"}])
        image.config = image.config.replace(digest_of(image.tars[0]).encode(), digest_of(b"other").encode())
        image.document["config"] = Image.descriptor(fake_registry.CONFIG, image.config)
        self.registry.add("app", "1", image)
        self.failed_pull("digest")

    def test_headers_that_lie(self):
        image = Image([{"a": b"1"}])
        self.registry.add("app", "1", image)

        def wrong_digest(handler):
            if "/manifests/1" not in handler.path:
                return False
            handler.answer(200, image.manifest, {"Docker-Content-Digest": digest_of(b"x"), "Content-Type": image.media_type})
            return True
        self.registry.hooks = [wrong_digest]
        self.failed_pull("not found")  # the digest that HEAD tells is the one that is fetched, and it does not exist

        def no_headers(handler):
            if "/manifests/1" not in handler.path:
                return False
            if handler.command == "HEAD":
                handler.answer(405)
            else:
                handler.answer(200, image.manifest)
            return True
        self.registry.hooks = [no_headers]
        self.pull()

    def test_moving_tag_is_resolved_once(self):
        images = [Image([{"a": str(i).encode() * 1000}]) for i in range(20)]
        for image in images:
            self.registry.add("app", image.digest, image)
        turn = iter(range(100))

        def moving(handler):
            if not handler.path.endswith("/manifests/1"):
                return False
            image = images[next(turn) % len(images)]
            handler.answer(200, image.manifest, {"Docker-Content-Digest": image.digest, "Content-Type": image.media_type})
            return True
        self.registry.hooks = [moving]
        out = self.pull().out
        self.assertIn("Digest: " + images[0].digest, out)
        self.assertEqual(digest_of(images[0].config), self.k("inspect", "-f", "{{.Id}}", f"{self.host}/app:1").out.strip())


class FaultTest(FakeTestCase):
    """R14-R19: faults that pass are survived, others end in an error; never other content."""

    def setUp(self):
        super().setUp()
        self.image = Image([{"big": os.urandom(400_000)}])
        self.blob = self.image.blobs[0]
        self.digest = digest_of(self.blob)
        self.registry.add("app", "1", self.image)

    def blob_hook(self, answers):
        """One answer (a function of the handler) for each request of the blob; then the honest one."""
        left = list(answers)

        def hook(handler):
            if handler.command != "GET" or self.digest not in handler.path or not left:
                return False
            left.pop(0)(handler)
            return True
        self.registry.hooks = [hook]

    def assert_good(self):
        self.assertEqual(digest_of(self.image.config), self.k("inspect", "-f", "{{.Id}}", f"{self.host}/app:1").out.strip())
        self.k.check_store(self)

    def test_truncation_continues_with_a_range(self):
        def cut(at, how):
            def answer(handler):
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.blob)}\r\n\r\n".encode()
                handler.raw(head + self.blob[:at])
                if how == "reset":
                    handler.reset()
            return answer

        def chunked(at):
            def answer(handler):
                handler.raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" +
                            f"{at:x}\r\n".encode() + self.blob[:at] + b"\r\n0\r\n\r\n")
            return answer
        size = len(self.blob)
        for at, how in ((0, "end"), (1, "end"), (size // 2, "end"), (size // 2, "reset"), (size - 1, "end"), (size // 2, "chunked")):
            with self.subTest(at=at, how=how):
                self.k = self.kasane()
                self.registry.requests.clear()
                self.blob_hook([chunked(at) if how == "chunked" else cut(at, how)])
                self.pull()
                self.assert_good()
                if at > 0 and how == "end":
                    self.assertIn(f"bytes={at}-", self.registry.headers_seen("Range"))

    def test_wrong_bytes(self):
        flipped = self.blob[:1000] + bytes([self.blob[1000] ^ 1]) + self.blob[1001:]
        for wrong in (flipped, os.urandom(len(self.blob)), self.blob + b"x", gzip.compress(fake_registry.layer_tar({"x": b"y"}))):
            self.registry.requests.clear()
            self.blob_hook([lambda handler, data=wrong: handler.answer(200, data)] * 10)
            self.failed_pull("filesystem layer verification failed for digest " + self.digest)
            self.assertLessEqual(self.registry.count("GET", self.digest), 2, "at most one more try")
        self.registry.hooks = []
        self.pull()
        self.assert_good()

    def test_range_lies(self):
        half = len(self.blob) // 2

        def cut(handler):
            handler.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.blob)}\r\n\r\n".encode() + self.blob[:half])

        def ranged(content_range, data, status=206):
            return lambda handler: handler.answer(status, data, {"Content-Range": content_range})
        rest, size = self.blob[half:], len(self.blob)
        lies = {
            "whole blob": lambda handler: handler.answer(200, self.blob),
            "other start": ranged(f"bytes {half - 1}-{size - 1}/{size}", self.blob[half - 1:]),
            "other size": ranged(f"bytes {half}-{size}/{size + 1}", rest + b"x"),
            "no header": lambda handler: handler.answer(206, rest),
            "garbage header": ranged("bytes x-y/z", rest),
            "wrong bytes": ranged(f"bytes {half}-{size - 1}/{size}", os.urandom(len(rest))),
            "416": lambda handler: handler.answer(416),
            "encoded": lambda handler: handler.answer(206, rest, {"Content-Range": f"bytes {half}-{size - 1}/{size}", "Content-Encoding": "gzip"}),
        }
        for name, lie in lies.items():
            with self.subTest(name):
                self.k = self.kasane()
                self.blob_hook([cut, lie])
                self.pull()
                self.assert_good()

    def test_transient_statuses(self):
        def status(code, headers=None, body=b""):
            return lambda handler: handler.answer(code, body, headers)
        start = time.monotonic()
        self.blob_hook([status(503), status(429, {"Retry-After": "1"}), status(500, None, b"<html>" + b"x" * 3_000_000)])
        out = self.pull().out
        self.assertIn("Retrying in 1 second", out)
        self.assertGreaterEqual(time.monotonic() - start, 1.0)
        self.assert_good()
        self.k = self.kasane()
        self.registry.requests.clear()
        self.blob_hook([status(503)] * 50)
        self.failed_pull("503")
        self.assertLessEqual(self.registry.count("GET", self.digest), 5)

    def test_manifest_limits_and_hopeless_answers(self):
        def too_many(handler):
            if "/manifests/" not in handler.path:
                return False
            handler.answer(429, json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).encode(), {"Retry-After": "0"})
            return True
        self.registry.hooks = [too_many]
        self.failed_pull("toomanyrequests: slow down")

        def loop(handler):
            if "/manifests/" not in handler.path:
                return False
            handler.answer(307, b"", {"Location": handler.path})
            return True
        self.registry.hooks = [loop]
        self.failed_pull("redirects more than 10 times")

        def headers(handler):
            if "/manifests/" not in handler.path:
                return False
            handler.answer(200, b"", {f"X-{i}": "y" * 1000 for i in range(100)})
            return True
        self.registry.hooks = [headers]
        self.failed_pull("64 KiB of headers")

        def smuggling(handler):
            if "/manifests/" not in handler.path:
                return False
            handler.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            return True
        self.registry.hooks = [smuggling]
        self.failed_pull("both Content-Length and Transfer-Encoding")

    def test_killed_and_continued(self):
        size = len(self.blob)

        def stall(handler):
            handler.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode() + self.blob[:300_000], close=False)
            handler.wfile.flush()
            time.sleep(20)
        self.blob_hook([stall])
        process = subprocess.Popen([support.KASANE, "pull", f"{self.host}/app:1"], env=self.k.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        partial = f"{self.k.root}/downloads/{self.digest[7:]}"
        self.assertTrue(support.wait_until(lambda: os.path.exists(partial) and os.path.getsize(partial) >= 299_000, 20))
        process.kill()
        process.wait()
        self.registry.hooks = []
        self.registry.requests.clear()
        self.pull()
        self.assert_good()
        ranges = self.registry.headers_seen("Range")
        self.assertEqual(1, len(ranges))
        self.assertGreaterEqual(int(ranges[0][6:-1]), 299_000)
        self.assertEqual([], os.listdir(self.k.root + "/downloads"))

    def test_stop_request_ends_at_once(self):
        def stall(handler):
            handler.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.blob)}\r\n\r\n".encode() + self.blob[:100], close=False)
            time.sleep(20)
        self.blob_hook([stall])
        process = subprocess.Popen([support.KASANE, "pull", f"{self.host}/app:1"], env=self.k.env,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.assertTrue(support.wait_until(lambda: self.registry.count("GET", self.digest), 20))
        time.sleep(0.2)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        self.assertLess(time.monotonic() - start, 3)
        self.assertNotEqual(0, process.returncode)

    def test_a_damaged_stored_blob_is_fetched_again(self):
        self.pull()
        self.k("rmi", f"{self.host}/app:1")
        blobs = self.k.root + "/blobs/sha256/"
        for damage in (b"", os.urandom(len(self.blob))):
            with open(blobs + self.digest[7:], "wb") as f:
                f.write(damage)
            self.pull()
            self.assert_good()
            self.k("rmi", f"{self.host}/app:1")

    def test_two_processes_fetch_a_blob_once(self):
        def slow(handler):
            handler.raw(f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.blob)}\r\n\r\n".encode() + self.blob[:1000], close=False)
            time.sleep(1)
            handler.raw(self.blob[1000:])
        self.blob_hook([slow])
        processes = [subprocess.Popen([support.KASANE, "pull", "-q", f"{self.host}/app:1"], env=self.k.env,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(4)]
        for process in processes:
            out, _ = process.communicate(timeout=60)
            self.assertEqual(0, process.returncode, out)
        self.assertEqual(1, self.registry.count("GET", self.digest))
        self.assert_good()


class MirrorTest(FakeTestCase):
    def mirrors(self, *others):
        """registries.conf: an origin that does not exist, mirrored by the others; the fake is the last."""
        lines = ['[[registry]]', 'prefix = "origin.test"', f'location = "{self.host}"']
        for other in others:
            lines += ["[[registry.mirror]]", f'location = "{other}"']
        self.config(".config/containers/registries.conf", "\n".join(lines) + "\n")

    def test_failover_and_digest_protection(self):
        image = Image([{"a": os.urandom(50_000)}])
        self.registry.add("app", "1", image)
        broken = self.serve(FakeRegistry())
        broken.hooks = [lambda handler: handler.answer(503) or True]
        lying = self.serve(FakeRegistry())
        lying.add("app", "1", image)
        lying.hooks = [lambda handler: "/blobs/" in handler.path and (handler.answer(200, b"x" * len(image.blobs[0])) or True)]
        empty = self.serve(FakeRegistry())
        down = f"127.0.0.1:{registries.free_port()}"
        self.mirrors(down, broken.host, empty.host, lying.host)
        self.k("pull", "origin.test/app:1", timeout=60)
        self.assertEqual(digest_of(image.config), self.k("inspect", "-f", "{{.Id}}", "origin.test/app:1").out.strip())
        self.k.check_store(self)
        self.assertGreater(lying.count("GET", "/blobs/"), 0)

    def test_a_good_mirror_serves_everything(self):
        image = Image([{"a": b"1"}])
        mirror = self.serve(FakeRegistry())
        mirror.add("app", "1", image)
        self.mirrors(mirror.host)
        self.k("pull", "origin.test/app:1")
        self.assertEqual(0, self.registry.count("GET", "/app/"))

    def test_blocked(self):
        self.config(".config/containers/registries.conf", '[[registry]]\nlocation = "127.0.0.1"\nprefix = "' + self.host + '"\nblocked = true\n')
        self.failed_pull("is blocked")


CANARY = "c4n4ry-pa55w0rd"


class AuthTest(FakeTestCase):
    """2.4 and R8-R13: tokens, and where credentials never go."""

    def setUp(self):
        super().setUp()
        self.image = Image([{"a": os.urandom(5000)}])
        self.registry.add("team/app", "1", self.image)
        self.registry.users = {"bot": CANARY}

    def log_in(self, host=None):
        auth = base64.b64encode(f"bot:{CANARY}".encode()).decode()
        self.config(".docker/config.json", json.dumps({"auths": {host or self.host: {"auth": auth}}}))

    def leaked(self, registry):
        text = base64.b64encode(f"bot:{CANARY}".encode()).decode()
        return [r for r in registry.requests if text in str(r) or CANARY in str(r)]

    def test_bearer_token(self):
        self.registry.auth = "bearer"
        self.assertIn("pull access denied", self.pull("team/app:1", check=False).err)
        self.log_in()
        self.pull("team/app:1")
        token = next(path for method, path, _ in self.registry.requests if path.startswith("/token"))
        self.assertIn("scope=repository%3Ateam%2Fapp%3Apull", token)
        last = [path for _, path, headers in self.registry.requests if path.startswith("/token") and "Authorization" in headers]
        self.assertEqual(1, len(last), "one token serves the whole pull")
        self.assertIn("account=bot", last[0])

    def test_token_oddities(self):
        self.registry.auth, self.registry.users = "bearer", {}
        answers = {
            "access_token": lambda token: {"access_token": token},
            "short life": lambda token: {"token": token, "expires_in": 1, "issued_at": "2020-01-01T00:00:00Z"},
            "both": lambda token: {"token": token, "access_token": token, "refresh_token": "r"},
        }
        for name, make in answers.items():
            with self.subTest(name):
                def answer(handler, _, make=make):
                    token = f"odd{len(self.registry.tokens)}"
                    self.registry.tokens[token] = handler.query.get("scope", [])
                    handler.answer(200, json.dumps(make(token)).encode())
                self.registry.token_answer = answer
                self.k = self.kasane()
                self.pull("team/app:1")
        for name, body in {"no token": b"{}", "no json": b"<html>", "line break": b'{"token":"a\\r\\nX: y"}',
                           "huge": b'{"token":"' + b"x" * 2_000_000 + b'"}'}.items():
            with self.subTest(name):
                self.registry.token_answer = lambda handler, _, body=body: handler.answer(200, body)
                self.k = self.kasane()
                failed = self.pull("team/app:1", check=False, timeout=60)
                self.assertEqual(1, failed.code)

    def test_identity_token_is_posted(self):
        self.registry.auth = "bearer"
        posts = []

        def answer(handler, body):
            posts.append((handler.command, body))
            self.registry.tokens["T"] = ["repository:team/app:pull"]
            handler.answer(200, b'{"access_token":"T"}')
        self.registry.token_answer = answer
        self.config(".docker/config.json", json.dumps({"auths": {self.host: {"identitytoken": "idtok"}}}))
        self.pull("team/app:1")
        self.assertEqual("POST", posts[0][0])
        for part in ("grant_type=refresh_token", "refresh_token=idtok", "service=fake", "scope=repository%3Ateam%2Fapp%3Apull"):
            self.assertIn(part, posts[0][1])

    def test_several_challenges_and_unknown_schemes(self):
        self.log_in()

        def challenge(value):
            def hook(handler):
                if handler.headers.get("Authorization", "").startswith("Basic "):
                    return False
                handler.answer(401, b"", {"WWW-Authenticate": value})
                return True
            return hook
        for value in (["Negotiate", 'Basic realm="a, b"'], 'Negotiate abc==, BASIC realm="x"', "basic"):
            with self.subTest(value=value):
                self.registry.hooks = [challenge(value)]
                self.k = self.kasane()
                self.pull("team/app:1")
        for value in ("Digest realm=x", "", 'Basic realm="open', 'Bearer realm="a", realm="b"'):
            with self.subTest(value=value):
                self.registry.hooks = [challenge(value)]
                self.k = self.kasane()
                self.assertEqual(1, self.pull("team/app:1", check=False).code)

    def test_open_ping_and_closed_repository(self):
        self.registry.auth = "basic"
        self.registry.hooks = [lambda handler: handler.path == "/v2/" and (handler.answer(200, b"{}") or True)]
        self.log_in()
        self.pull("team/app:1")

    def test_credentials_never_reach_another_server(self):
        evil = self.serve(FakeRegistry())
        self.log_in()
        blob = digest_of(self.image.blobs[0])
        evil.blobs[blob] = self.image.blobs[0]
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status=status):
                self.registry.auth = "basic"

                def hook(handler, status=status):
                    if blob not in handler.path or not handler.headers.get("Authorization"):
                        return False
                    handler.answer(status, b"", {"Location": f"{evil.url}/v2/x/blobs/{blob}"})
                    return True
                self.registry.hooks = [hook]
                self.k = self.kasane()
                evil.requests.clear()
                self.pull("team/app:1")
                self.assertEqual(1, evil.count("GET", blob))
                self.assertEqual([], evil.headers_seen("Authorization"))
        # A 401 of the other server, with a realm of its own, gets nothing either.
        evil.auth, evil.realm = "bearer", evil.url + "/token"
        self.k = self.kasane()
        failed = self.pull("team/app:1", check=False)
        self.assertEqual(1, failed.code)
        self.assertEqual(0, evil.count("GET", "/token"))
        self.assertEqual([], self.leaked(evil))

    def test_realm_of_another_site_gets_no_credentials(self):
        self.registry.auth = "bearer"
        self.log_in()
        self.registry.realm = "http://example.test/token"
        failed = self.pull("team/app:1", check=False)
        self.assertEqual(1, failed.code)
        self.assertIn("not https", failed.err)
        # A token server that redirects to another origin is not followed.
        evil = self.serve(FakeRegistry())
        self.registry.realm = None
        self.registry.token_answer = lambda handler, _: handler.answer(307, b"", {"Location": evil.url + "/token"})
        failed = self.pull("team/app:1", check=False)
        self.assertEqual(1, failed.code)
        self.assertEqual([], evil.requests)
        self.assertNotIn(CANARY, failed.out + failed.err)

    def test_canary_in_no_output_or_file(self):
        self.registry.auth = "bearer"
        self.log_in()
        outcome = self.k("-D", "pull", f"{self.host}/team/app:1")
        wrong = self.k("-D", "pull", f"{self.host}/team/none:1", check=False)
        explained = self.k("registry", "explain", f"{self.host}/team/app:1")
        encoded = base64.b64encode(f"bot:{CANARY}".encode()).decode()
        for text in (outcome.out, outcome.err, wrong.out, wrong.err, explained.out, explained.err):
            self.assertNotIn(CANARY, text)
            self.assertNotIn(encoded, text)
        for folder, _, names in os.walk(self.k.root):
            for name in names:
                with open(os.path.join(folder, name), "rb") as f:
                    data = f.read()
                self.assertNotIn(CANARY.encode(), data)
                self.assertNotIn(encoded.encode(), data)

    def test_pagination_stays_here(self):
        self.registry.page_size = 2
        for tag in "abcde":
            self.registry.add("many", tag, Image([{"t": tag.encode()}]))
        out = self.k("pull", "-a", f"{self.host}/many").out
        self.assertEqual(5, out.count("Digest: "))
        evil = self.serve(FakeRegistry())

        def lead_away(handler):
            if "/tags/list" not in handler.path:
                return False
            handler.answer(200, b'{"tags":["a"]}', {"Link": f'<{evil.url}/v2/many/tags/list?n=1>; rel="next"'})
            return True
        self.registry.hooks = [lead_away]
        self.assertIn("another server", self.k("pull", "-a", f"{self.host}/many", check=False).err)
        self.assertEqual([], evil.requests)

        def circle(handler):
            if "/tags/list" not in handler.path:
                return False
            handler.answer(200, b'{"tags":["a"]}', {"Link": '</v2/many/tags/list?n=1&last=a>; rel="next"'})
            return True
        self.registry.hooks = [circle]
        self.assertIn("does not end", self.k("pull", "-a", f"{self.host}/many", check=False).err)

    def test_credential_helper(self):
        self.registry.auth = "basic"
        folder = self.new_folder("bin")
        with open(folder + "/docker-credential-tst", "w", encoding="ascii") as f:
            f.write(f"""#!/bin/sh
case $1 in
get) read key; if [ "$key" = {self.host} ] && [ -e {folder}/stored ]; then cat {folder}/stored; else echo credentials not found in native keychain; exit 1; fi;;
store) cat > {folder}/stored;;
erase) rm -f {folder}/stored;;
esac
""")
        os.chmod(folder + "/docker-credential-tst", 0o755)
        path = folder + ":" + os.environ["PATH"]
        self.config(".docker/config.json", '{"credsStore":"tst"}')
        login = self.k("login", "-u", "bot", "--password-stdin", self.host, input=CANARY.encode(), env={"PATH": path})
        self.assertEqual(("Login Succeeded\n", ""), (login.out, login.err))
        with open(self.home + "/.docker/config.json", encoding="ascii") as f:
            self.assertEqual({"credsStore": "tst", "auths": {self.host: {}}}, json.load(f))
        self.k("pull", f"{self.host}/team/app:1", env={"PATH": path})
        self.k("logout", self.host, env={"PATH": path})
        self.assertFalse(os.path.exists(folder + "/stored"))


if __name__ == "__main__":
    support.main()
