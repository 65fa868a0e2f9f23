#!/usr/bin/env python3
"""kasane registry serve: other tools' pushes and pulls, concurrency, crashes, access control, garbage, hostile HTTP."""

import concurrent.futures
import fcntl
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import registries
import support
from registry_conformance import IMAGE, INDEX, Client, Data, Failed, Suite, digest_of
from support import needs, run


def digests_in(folder):
    """Checks that every file below blobs/ has the digest that names it; {digest: size}."""
    found = {}
    for parent, _, names in os.walk(os.path.join(folder, "blobs")):
        for name in names:
            algorithm = os.path.relpath(parent, os.path.join(folder, "blobs")).split(os.sep)[0]
            with open(os.path.join(parent, name), "rb") as f:
                data = f.read()
            if hashlib.new(algorithm, data).hexdigest() != name:
                raise AssertionError(f"{parent}/{name} holds {len(data)} other bytes")
            found[f"{algorithm}:{name}"] = len(data)
    return found


def walk_registry(client):
    """Reads everything that can be reached: {repository: {tag: digest}}. Anything missing or wrong fails."""
    out = {}
    for name in json.loads(client("GET", "/v2/_catalog").body)["repositories"]:
        out[name] = {}
        for tag in json.loads(client("GET", f"/v2/{name}/tags/list").body)["tags"]:
            answer = client("GET", f"/v2/{name}/manifests/{tag}")
            if answer.status != 200:
                raise AssertionError(f"tag {name}:{tag} leads nowhere: {answer}")
            out[name][tag] = answer.headers["Docker-Content-Digest"]
            read_manifest(client, name, answer)
    return out


def read_manifest(client, name, answer):
    if digest_of(answer.body) != answer.headers["Docker-Content-Digest"]:
        raise AssertionError("a manifest is not what its digest says")
    document = json.loads(answer.body)
    for child in document.get("manifests", []):
        read_manifest(client, name, client("GET", f"/v2/{name}/manifests/{child['digest']}"))
    for blob in [document["config"], *document["layers"]] if "config" in document else []:
        got = client("GET", f"/v2/{name}/blobs/{blob['digest']}")
        if got.status != 200 or digest_of(got.body) != blob["digest"]:
            raise AssertionError(f"blob {blob['digest']} of {name}: {got.status}")


def push(client, name, data, tag=None):
    """Pushes a Data with plain requests; raises when an answer is not the right one."""
    suite = Suite.__new__(Suite)
    suite.call, suite.repo = client, name
    for digest, blob in data.blobs.items():
        suite.push_blob(digest, blob)
    for digest in data.order:
        suite.expect(201, "PUT", f"/v2/{name}/manifests/{digest}", data.manifests[digest][0],
                     Content_Type=data.manifests[digest][1])
    for known, digest in [(tag, data.order[-1])] if tag else data.tags.items():
        suite.expect(201, "PUT", f"/v2/{name}/manifests/{known}", data.manifests[digest][0],
                     Content_Type=data.manifests[digest][1])


def write_layout(folder, data):
    """A Data as an OCI layout with its last document under the name "x"."""
    os.makedirs(folder + "/blobs/sha256")
    for digest, blob in [*data.blobs.items(), *((d, m[0]) for d, m in data.manifests.items())]:
        with open(f"{folder}/blobs/{digest.replace(':', '/')}", "wb") as f:
            f.write(blob)
    body, media_type, _ = data.manifests[data.order[-1]]
    entry = {"mediaType": media_type, "digest": data.order[-1], "size": len(body),
             "annotations": {"org.opencontainers.image.ref.name": "x"}}
    for name, value in (("index.json", {"schemaVersion": 2, "manifests": [entry]}), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
        with open(f"{folder}/{name}", "w", encoding="ascii") as f:
            json.dump(value, f)
    return data.order[-1]


def zstd_image(tag=None):
    data = Data()
    layer, diff_id = data.layer(1, compress=False)
    squeezed = subprocess.run(["zstd", "-q", "-c"], input=data.blobs.pop(layer["digest"]), stdout=subprocess.PIPE, check=True).stdout
    layer = data.blob(squeezed, "application/vnd.oci.image.layer.v1.tar+zstd")
    config = data.blob(json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}).encode(),
                       "application/vnd.oci.image.config.v1+json")
    data.document({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer]}, IMAGE, tag)
    return data


class RegistryCase(support.TestCase):
    def registry(self, *flags, root=None, **kwargs):
        """(folder, running server); ended with the test."""
        folder = root or self.new_folder("registry")
        server = registries.serve(folder, *flags, **kwargs)
        self.addCleanup(server.__exit__)
        return folder, server

    def errors(self, answer):
        return [e["code"] for e in json.loads(answer.body)["errors"]]


class ToolsTest(RegistryCase):
    """What one tool pushes another pulls, with the same digests."""

    def skopeo(self, *args):
        policy = self.path("policy.json")
        with open(policy, "w", encoding="ascii") as f:
            json.dump({"default": [{"type": "insecureAcceptAnything"}]}, f)
        return run(["skopeo", "--policy", policy, "--tmpdir", self.work, *args], env=support.clean_environment())

    def round_trip(self, data, *flags):
        _, server = self.registry()
        source, back = self.new_folder("layout") + "/l", self.new_folder("back") + "/l"
        digest = write_layout(source, data)
        started = time.monotonic()
        self.skopeo("copy", "-q", *flags, "--dest-tls-verify=false", f"oci:{source}:x", f"docker://{server.host}/team/app:1")
        self.skopeo("copy", "-q", *flags, "--src-tls-verify=false", f"docker://{server.host}/team/app:1", f"oci:{back}:x")
        # skopeo says hello in TLS first and must be told at once that this is plain http.
        self.assertLess(time.monotonic() - started, 8)
        with open(back + "/index.json", encoding="ascii") as f:
            self.assertEqual(digest, json.load(f)["manifests"][0]["digest"])
        for blob in data.blobs:
            self.assertTrue(os.path.exists(f"{back}/blobs/{blob.replace(':', '/')}"), blob)
        self.assertEqual({"team/app": {"1": digest}}, walk_registry(Client(server.url)))

    @needs("skopeo")
    def test_skopeo_single_image(self):
        data = Data()
        data.image()
        self.round_trip(data)

    @needs("skopeo")
    def test_skopeo_index(self):
        data = Data()
        data.index()
        self.round_trip(data, "--all")

    @needs("skopeo", "zstd")
    def test_skopeo_zstd_layer(self):
        self.round_trip(zstd_image())

    @needs("skopeo")
    def test_skopeo_lists_and_deletes(self):
        _, server = self.registry()
        data = Data()
        data.image("one")
        push(Client(server.url), "team/app", data)
        push(Client(server.url), "team/app", data, "two")
        found = json.loads(self.skopeo("list-tags", "--tls-verify=false", f"docker://{server.host}/team/app").out)
        self.assertEqual(["one", "two"], found["Tags"])
        self.skopeo("delete", "--tls-verify=false", f"docker://{server.host}/team/app:one")
        self.assertEqual({"team/app": {}}, walk_registry(Client(server.url)))

    @support.needs_root
    @needs("buildah", "skopeo")
    def test_buildah_pushes_and_pulls(self):
        _, server = self.registry()
        storage = self.new_folder("buildah")
        buildah = ["buildah", "--root", storage + "/root", "--runroot", storage + "/run", "--storage-driver", "vfs"]
        with open(storage + "/file", "w", encoding="ascii") as f:
            f.write("content\n")
        env = support.clean_environment(BUILDAH_ISOLATION="chroot")
        container = run([*buildah, "from", "scratch"], env=env).out.strip()
        run([*buildah, "copy", container, storage + "/file", "/file"], env=env)
        run([*buildah, "commit", "-q", container, "made"], env=env)
        for compression in ("gzip", "zstd"):
            digest_file = storage + "/digest"
            run([*buildah, "push", "-q", "--tls-verify=false", "--compression-format", compression, "--format", "oci",
                 "--digestfile", digest_file, "made", f"docker://{server.host}/b/app:{compression}"], env=env)
            with open(digest_file, encoding="ascii") as f:
                self.assertEqual(f.read().strip(), walk_registry(Client(server.url))["b/app"][compression])
            pulled = run([*buildah, "pull", "-q", "--tls-verify=false", f"docker://{server.host}/b/app:{compression}"], env=env).out.strip()
            self.assertRegex(pulled, "^[0-9a-f]{64}$")

    def test_kasanes_layout_by_skopeo(self):
        """Docker schema 2 documents are kept as they come."""
        _, server = self.registry()
        data = Data()
        config = data.blob(b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}',
                           "application/vnd.docker.container.image.v1+json")
        layer = data.layer(1)[0] | {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
        docker = "application/vnd.docker.distribution.manifest.v2+json"
        data.document({"schemaVersion": 2, "mediaType": docker, "config": config, "layers": [layer]}, docker, "v2")
        push(Client(server.url), "docker", data)
        answer = Client(server.url)("GET", "/v2/docker/manifests/v2")
        self.assertEqual((docker, data.manifests[data.order[0]][0]), (answer.headers["Content-Type"], answer.body))


class ConcurrencyTest(RegistryCase):
    def test_32_pushers_of_one_tag_and_shared_blobs(self):
        folder, server = self.registry()
        shared = os.urandom(300_000)
        images = []
        for _ in range(32):
            data = Data()
            layer = data.blob(shared, "application/vnd.oci.image.layer.v1.tar")
            config = data.blob(json.dumps({"x": os.urandom(8).hex()}).encode(), "application/vnd.oci.image.config.v1+json")
            data.document({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [layer]}, IMAGE, "latest")
            images.append(data)
        barrier = threading.Barrier(32)

        def one(data):
            client = Client(server.url)
            client("GET", "/v2/")
            barrier.wait(30)
            push(client, "shared/app", data)
            client.close()

        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            list(pool.map(one, images))
        client = Client(server.url)
        final = walk_registry(client)["shared/app"]["latest"]
        self.assertIn(final, [d.order[0] for d in images])
        for data in images:  # every push was answered with 201, so every manifest is there
            answer = client("GET", f"/v2/shared/app/manifests/{data.order[0]}")
            self.assertEqual((200, data.manifests[data.order[0]][0]), (answer.status, answer.body))
        digests_in(folder)
        self.assertEqual([], os.listdir(folder + "/tmp"))

    def test_more_connections_than_threads(self):
        """Idle connections give way: 300 of them do not keep the 301st out."""
        _, server = self.registry()
        host, port = server.host.split(":")
        idle = []
        try:
            for _ in range(300):
                idle.append(socket.create_connection((host, int(port)), 10))
            started = time.monotonic()
            self.assertEqual(200, Client(server.url)("GET", "/v2/").status)
            self.assertLess(time.monotonic() - started, 20)
        finally:
            for s in idle:
                s.close()


class CrashTest(RegistryCase):
    ROUNDS = 20 if support.LONG else 6

    def test_kill_9_while_32_push(self):
        folder = self.new_folder("registry")
        acknowledged = []  # (repository, manifest digest, bytes) answered with 201
        lock = threading.Lock()
        chance = random.Random(os.environ.get("KASANE_SEED", "5"))
        for number in range(self.ROUNDS):
            server = registries.serve(folder)
            stop = threading.Event()

            def pusher(me, url=server.url, ended=stop):
                while not ended.is_set():
                    try:
                        data = Data()
                        data.blob(b"shared" * 1000)
                        data.image("t")
                        push(Client(url), f"crash/{me % 4}", data)
                        with lock:
                            acknowledged.append((f"crash/{me % 4}", data.order[0], data.manifests[data.order[0]][0]))
                    except (OSError, http.client.HTTPException):
                        return

            threads = [threading.Thread(target=pusher, args=(n,)) for n in range(32)]
            for t in threads:
                t.start()
            time.sleep(chance.uniform(0.2, 1.5))
            server.stop(signal.SIGKILL)
            stop.set()
            for t in threads:
                t.join(60)
            digests_in(folder)
            with registries.serve(folder) as again:
                client = Client(again.url)
                walk_registry(client)
                for name, digest, body in acknowledged:
                    answer = client("GET", f"/v2/{name}/manifests/{digest}")
                    self.assertEqual((200, body), (answer.status, answer.body), f"round {number}: {digest} was answered with 201")
        self.assertGreater(len(acknowledged), self.ROUNDS)

    @support.needs_root
    @needs("mkfs.ext4")
    def test_power_cut(self):
        """The file system stops without writing its journal, as a cut of the power would: every 201 was the truth."""
        image, folder = self.path("disk.img"), self.new_folder("disk")
        with open(image, "wb") as f:
            f.truncate(128 << 20)
        run(["mkfs.ext4", "-q", image])
        if run(["mount", "-o", "loop", image, folder], check=False).code != 0:
            self.skipTest("no loop devices here")
        self.addCleanup(run, ["umount", "-l", folder], check=False)
        acknowledged, lock = [], threading.Lock()
        chance = random.Random(os.environ.get("KASANE_SEED", "6"))
        for number in range(self.ROUNDS):
            server = registries.serve(folder + "/registry", stderr=subprocess.DEVNULL)

            def pusher(me, url=server.url):
                try:
                    while True:
                        data = Data()
                        data.image("t")
                        push(Client(url), f"power/{me}", data)
                        with lock:
                            acknowledged.append((f"power/{me}", data.order[0], data.manifests[data.order[0]][0]))
                except (OSError, http.client.HTTPException, Failed):
                    return

            threads = [threading.Thread(target=pusher, args=(n,)) for n in range(4)]
            for t in threads:
                t.start()
            time.sleep(chance.uniform(0.3, 1.2))
            fd = os.open(folder, os.O_RDONLY)
            fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))  # EXT4_IOC_SHUTDOWN, without flushing the log
            os.close(fd)
            server.stop(signal.SIGKILL)
            for t in threads:
                t.join(60)
            run(["umount", folder])
            # A copy: while the mount namespace of some step elsewhere still knows the old mount, the image
            # would come back as the file system that was stopped.
            image = shutil.copyfile(image, self.path(f"disk-{number}.img"))
            run(["mount", "-o", "loop", image, folder])
            digests_in(folder + "/registry")
            with registries.serve(folder + "/registry") as again:
                client = Client(again.url)
                walk_registry(client)
                for name, digest, body in acknowledged:
                    answer = client("GET", f"/v2/{name}/manifests/{digest}")
                    self.assertEqual((200, body), (answer.status, answer.body), f"round {number}: {digest} was answered with 201")
        self.assertGreater(len(acknowledged), self.ROUNDS)

    def test_upload_goes_on_after_a_crash(self):
        folder = self.new_folder("registry")
        data = os.urandom(3 << 20)
        server = registries.serve(folder)
        location = Client(server.url)("POST", "/v2/a/blobs/uploads/").headers["Location"]
        self.assertEqual(202, Client(server.url)("PATCH", location, data[:1 << 20]).status)
        # The second piece is cut in the middle: what came before stays.
        host, port = server.host.split(":")
        with socket.create_connection((host, int(port)), 10) as s:
            s.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[1 << 20:3 << 19])
            upload = os.path.join(folder, "repos/a/_uploads", location.rsplit("/", 1)[1])
            self.assertTrue(support.wait_until(lambda: os.path.getsize(upload) >= 3 << 19, 10))
            server.stop(signal.SIGKILL)
        with registries.serve(folder) as again:
            client = Client(again.url)
            answer = client("GET", location)
            self.assertEqual((204, f"0-{(3 << 19) - 1}"), (answer.status, answer.headers["Range"]))
            self.assertEqual(202, client("PATCH", location, data[3 << 19:], Content_Range=f"{3 << 19}-{len(data) - 1}").status)
            self.assertEqual(201, client("PUT", location, params=(("digest", digest_of(data)),)).status)
            self.assertEqual(data, client("GET", f"/v2/a/blobs/{digest_of(data)}").body)
        self.assertEqual([], os.listdir(folder + "/repos/a/_uploads"))

    def test_damaged_blob_counts_as_missing_and_is_repaired(self):
        """R7: a blob that lost its bytes is not offered, and a new push puts it right."""
        folder, server = self.registry()
        data, client = Data(), Client(server.url)
        data.image("t")
        push(client, "a", data)
        digest = next(iter(data.blobs))
        path = f"{folder}/blobs/sha256/{digest[7:9]}/{digest[7:]}"
        os.truncate(path, 0)
        self.assertEqual(404, client("HEAD", f"/v2/a/blobs/{digest}").status)
        self.assertEqual(["MANIFEST_BLOB_UNKNOWN"], self.errors(
            client("PUT", "/v2/a/manifests/new", data.manifests[data.order[0]][0], Content_Type=IMAGE)))
        push(client, "a", data)
        walk_registry(client)


class FullDiskTest(RegistryCase):
    @support.needs_root
    def test_a_full_disk_is_an_answer_and_not_an_end(self):
        folder = self.new_folder("full")
        run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder])
        self.addCleanup(run, ["umount", "-l", folder])
        _, server = self.registry(root=folder, stderr=subprocess.PIPE)
        client, data = Client(server.url), os.urandom(6 << 20)
        answer = client("POST", "/v2/a/blobs/uploads/", data, params=(("digest", digest_of(data)),))
        self.assertEqual((507, ["UNKNOWN"]), (answer.status, self.errors(answer)))
        location = client("POST", "/v2/a/blobs/uploads/").headers.get("Location")
        if location:  # there was room for a name
            client("DELETE", location)
        for upload in os.listdir(folder + "/repos/a/_uploads"):
            self.assertEqual(204, client("DELETE", f"/v2/a/blobs/uploads/{upload}").status)
        image = Data()
        image.image("t")
        push(client, "a", image)
        walk_registry(client)
        server.process.send_signal(signal.SIGTERM)
        self.assertIn(b"No space left", server.process.stderr.read())
        self.assertEqual(0, server.stop(sign=0))


class AccessTest(RegistryCase):
    def htpasswd(self, *lines):
        path = self.new_folder("auth") + "/users"
        with open(path, "w", encoding="ascii") as f:
            f.write("\n".join(lines) + "\n")
        return path

    @needs("htpasswd")
    def users(self):
        line = run(["htpasswd", "-nbBC", "5", "alice", "se:cret"]).out.strip()
        return self.htpasswd("# people", line, "", run(["htpasswd", "-nbBC", "4", "bob", "b"]).out.strip())

    @needs("htpasswd")
    def test_basic_authentication(self):
        _, server = self.registry("--htpasswd", self.users())
        for wrong in (None, "alice:wrong", "alice:", "nobody:se:cret", "alice:se:cret\0x", "alice:se:cret "):
            for path in ("/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/a/blobs/uploads/"):
                answer = Client(server.url, wrong)("GET", path)
                self.assertEqual((401, ["UNAUTHORIZED"]), (answer.status, self.errors(answer)), (wrong, path))
                self.assertTrue(answer.headers["WWW-Authenticate"].startswith("Basic realm="))
        for odd in ("Basic", "Basic ", "Basic !!!!", "Bearer abc", "Basic " + "A" * 5000, "Basic YWxpY2U="):
            self.assertEqual(401, Client(server.url)("GET", "/v2/", Authorization=odd).status, odd)
        for right in ("alice:se:cret", "bob:b"):
            for _ in range(3):
                self.assertEqual(200, Client(server.url, right)("GET", "/v2/").status)
        self.assertEqual(401, Client(server.url)("POST", "/v2/a/blobs/uploads/", b"x" * 5_000_000).status)

    @needs("htpasswd", "skopeo")
    def test_skopeo_logs_in(self):
        _, server = self.registry("--htpasswd", self.users())
        data = Data()
        data.image()
        layout = self.new_folder("layout") + "/l"
        write_layout(layout, data)
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://{server.host}/a:1"]
        self.assertNotEqual(0, run(command, check=False, env=support.clean_environment()).code)
        run([*command, "--dest-creds", "alice:se:cret"], env=support.clean_environment())

    def test_other_hashes_are_refused_at_start(self):
        for line in ("u:$apr1$abcdefgh$0123456789012345678901", "u:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "u:hunter2",
                     "u:$2y$05$tooshort", "u:$2y$31$" + "a" * 53, "nocolon", ":$2y$05$" + "a" * 53):
            outcome = run([support.KASANE, "registry", "serve", "--addr", "127.0.0.1:0", "--root", self.new_folder(),
                           "--htpasswd", self.htpasswd("# c", line)], check=False, env=support.clean_environment(), timeout=20)
            self.assertEqual(1, outcome.code, line)
            self.assertRegex(outcome.err, r"users:2: ")
            self.assertNotIn(line.split(":")[-1], outcome.err.replace("nocolon", ""))
        outcome = run([support.KASANE, "registry", "serve", "--addr", "127.0.0.1:0", "--root", self.new_folder(),
                       "--htpasswd", self.htpasswd("# nobody")], check=False, env=support.clean_environment(), timeout=20)
        self.assertIn("names no user", outcome.err)

    def certificate(self):
        folder = self.new_folder("tls")
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-keyout", folder + "/key.pem", "-out", folder + "/cert.pem", "-subj", "/CN=127.0.0.1",
             "-addext", "subjectAltName=IP:127.0.0.1"])
        return folder

    @needs("openssl", "htpasswd")
    def test_conformance_over_tls_with_a_password(self):
        tls = self.certificate()
        _, server = self.registry("--tls-cert", tls + "/cert.pem", "--tls-key", tls + "/key.pem", "--htpasswd", self.users())
        self.assertTrue(server.url.startswith("https://127.0.0.1:"))
        cases = Suite(server.url, "bob:b", ssl.create_default_context(cafile=tls + "/cert.pem")).run()
        self.assertEqual([], [c for c in cases if c.problem])

    @needs("openssl")
    def test_tls_details(self):
        tls = self.certificate()
        _, server = self.registry("--tls-cert", tls + "/cert.pem", "--tls-key", tls + "/key.pem")
        context = ssl.create_default_context(cafile=tls + "/cert.pem")
        data = os.urandom(20 << 20)
        client = Client(server.url, context=context)
        self.assertEqual(201, client("POST", "/v2/a/blobs/uploads/", data, params=(("digest", digest_of(data)),)).status)
        self.assertEqual(data, client("GET", f"/v2/a/blobs/{digest_of(data)}").body)
        host, port = server.host.split(":")
        with socket.create_connection((host, int(port)), 10) as s:  # plain http is not answered
            s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                self.assertNotIn(b"HTTP/1.1 200", s.recv(1000))
            except ConnectionResetError:
                pass
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.maximum_version = old.minimum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, OSError)), socket.create_connection((host, int(port)), 10) as s:
            old.wrap_socket(s)
        self.assertEqual(200, client("GET", "/v2/").status)
        self.assertEqual(0, server.stop())

    @needs("openssl")
    def test_wrong_tls_files(self):
        one, other = self.certificate(), self.certificate()
        for flags, text in ((["--tls-cert", one + "/cert.pem"], "go together"),
                            (["--tls-cert", one + "/cert.pem", "--tls-key", other + "/key.pem"], "private key"),
                            (["--tls-cert", one + "/nothing", "--tls-key", one + "/key.pem"], "No such file"),
                            (["--tls-cert", one + "/key.pem", "--tls-key", one + "/key.pem"], "certificate")):
            outcome = run([support.KASANE, "registry", "serve", "--addr", "127.0.0.1:0", "--root", self.new_folder(), *flags],
                          check=False, env=support.clean_environment(), timeout=20)
            self.assertEqual(1, outcome.code)
            self.assertIn(text, outcome.err)

    def test_immutable_tags(self):
        _, server = self.registry("--immutable", "v*", "--immutable", "prod/*:stable")
        client, first, second = Client(server.url), Data(), Data()
        first.image()
        second.image()
        for name, tag, fixed in (("a", "v1", True), ("a", "latest", False), ("prod/x", "stable", True), ("a", "stable", False),
                                 ("prod/x/y", "stable", False)):
            push(client, name, first, tag)
            push(client, name, first, tag)  # the same again is no change
            push(client, name, second, "other")
            answer = client("PUT", f"/v2/{name}/manifests/{tag}", second.manifests[second.order[0]][0], Content_Type=IMAGE)
            self.assertEqual(403 if fixed else 201, answer.status, (name, tag))
            if not fixed:
                continue
            self.assertEqual(["DENIED"], self.errors(answer))
            put = client("PUT", f"/v2/{name}/manifests/{second.order[0]}", second.manifests[second.order[0]][0],
                         params=(("tag", "free"), ("tag", tag)), Content_Type=IMAGE)
            self.assertEqual(403, put.status)
            for reference in (tag, first.order[0]):
                answer = client("DELETE", f"/v2/{name}/manifests/{reference}")
                self.assertEqual((403, ["DENIED"]), (answer.status, self.errors(answer)))
            tags = walk_registry(client)[name]
            self.assertEqual(first.order[0], tags[tag])
            self.assertNotIn("free", tags)  # all or nothing
        outcome = run([support.KASANE, "registry", "serve", "--root", self.new_folder(), "--immutable", "a:b:c"], check=False,
                      env=support.clean_environment(), timeout=20)
        self.assertIn("is not a pattern of tags", outcome.err)

    def test_read_only(self):
        folder, writer = self.registry()
        data = Data()
        data.image("t")
        push(Client(writer.url), "a", data)
        _, reader = self.registry("--read-only", root=folder)  # beside the writer
        client = Client(reader.url)
        self.assertEqual({"a": {"t": data.order[0]}}, walk_registry(client))
        before = sorted(os.path.join(p, n) for p, _, names in os.walk(folder) for n in names)
        for method, path in (("POST", "/v2/a/blobs/uploads/"), ("PUT", "/v2/a/manifests/x"), ("DELETE", "/v2/a/manifests/t"),
                             ("DELETE", f"/v2/a/blobs/{next(iter(data.blobs))}"), ("PATCH", "/v2/a/blobs/uploads/" + "0" * 32)):
            answer = client(method, path, b"{}")
            self.assertEqual((405, ["UNSUPPORTED"]), (answer.status, self.errors(answer)), method)
            self.assertEqual("GET, HEAD", answer.headers["Allow"])
        self.assertEqual(before, sorted(os.path.join(p, n) for p, _, names in os.walk(folder) for n in names))


class StartAndStopTest(RegistryCase):
    def refused(self, *flags, **env):
        outcome = run([support.KASANE, "registry", "serve", *flags], check=False, timeout=20, env={**support.clean_environment(), **env})
        self.assertEqual((1, ""), (outcome.code, outcome.out))
        return outcome.err

    def test_one_line_and_clean_stop(self):
        for sign in (signal.SIGTERM, signal.SIGINT):
            _, server = self.registry()
            client = Client(server.url)
            self.assertEqual(200, client("GET", "/v2/").status)  # stays connected
            started = time.monotonic()
            server.process.send_signal(sign)
            self.assertEqual(b"", server.process.stdout.read())
            self.assertEqual(0, server.stop(sign=0))
            self.assertLess(time.monotonic() - started, 1.5)

    def test_a_request_in_hand_is_finished(self):
        _, server = self.registry()
        host, port = server.host.split(":")
        data = os.urandom(100_000)
        with socket.create_connection((host, int(port)), 10) as s:
            s.sendall(f"POST /v2/a/blobs/uploads/?digest={digest_of(data)} HTTP/1.1\r\nHost: x\r\n"
                      f"Content-Length: {len(data)}\r\n\r\n".encode() + data[:50_000])
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(1)
            s.sendall(data[50_000:])
            self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 201 "))
        self.assertEqual(0, server.stop(sign=0))

    def test_a_request_that_does_not_end_is_cut(self):
        _, server = self.registry()
        host, port = server.host.split(":")
        with socket.create_connection((host, int(port)), 10) as s:
            s.sendall(b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12")
            time.sleep(0.3)
            started = time.monotonic()
            self.assertEqual(0, server.stop())
            self.assertLess(time.monotonic() - started, 5)
            self.assertGreater(time.monotonic() - started, 2)

    def test_one_writer_for_a_folder(self):
        folder, _ = self.registry()
        self.assertIn("another kasane registry serves", self.refused("--addr", "127.0.0.1:0", "--root", folder))

    def test_a_folder_of_something_else(self):
        folder = self.new_folder()
        with open(folder + "/precious", "w", encoding="ascii"):
            pass
        self.assertIn("holds other files", self.refused("--addr", "127.0.0.1:0", "--root", folder))
        self.assertEqual(["precious"], os.listdir(folder))

    def test_addresses(self):
        _, server = self.registry()
        self.assertIn("Address already in use", self.refused("--addr", server.host, "--root", self.new_folder()))
        for wrong in ("5000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:5000", "[]:1", "127.0.0.1:5x", ":-1"):
            self.assertIn("is not an address", self.refused("--addr", wrong, "--root", self.new_folder()), wrong)

    def test_default_folder(self):
        data_home = self.new_folder()
        process = subprocess.Popen([support.KASANE, "registry", "serve", "--addr", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                   env=support.clean_environment(XDG_DATA_HOME=data_home))
        with registries.Server(process, process.stdout.readline().decode().split()[-1]) as server:
            self.assertEqual(200, Client(server.url)("GET", "/v2/").status)
        self.assertTrue(os.path.isdir(data_home + "/kasane/registry/blobs"))


class GarbageTest(RegistryCase):
    def gc(self, folder, *flags, check=True, timeout=300):
        return run([support.KASANE, "registry", "gc", "--root", folder, *flags], check=check, timeout=timeout,
                   env=support.clean_environment())

    def test_unused_content_goes(self):
        folder, server = self.registry()
        client, kept, gone = Client(server.url), Data(), Data()
        kept.index("keep")
        gone.image("drop")
        gone.blob(b"never referred to")
        push(client, "a", kept)
        push(client, "a", gone)
        push(client, "b/c", kept)
        self.assertEqual(202, client("DELETE", f"/v2/a/manifests/{gone.order[0]}").status)
        self.assertEqual(0, server.stop())
        before = digests_in(folder)
        dry = self.gc(folder, "--dry-run")
        self.assertEqual(before, digests_in(folder))
        wet = self.gc(folder)
        self.assertEqual(dry.out, wet.out)
        after = digests_in(folder)
        self.assertEqual(set(kept.blobs) | set(kept.manifests), set(after))
        self.assertEqual(set(gone.blobs) | set(gone.manifests), set(before) - set(after))
        self.assertEqual("", self.gc(folder).out)
        with registries.serve(folder) as again:
            self.assertEqual({"a": {"keep": kept.order[-1]}, "b/c": {"keep": kept.order[-1]}}, walk_registry(Client(again.url)))
            self.assertEqual(404, Client(again.url)("HEAD", f"/v2/a/blobs/{digest_of(b'never referred to')}").status)

    def test_beside_a_running_server_new_content_stays(self):
        folder, server = self.registry()
        client, data = Client(server.url), Data()
        data.image()
        suite = Suite(server.url, repository="a")
        for digest, blob in data.blobs.items():
            suite.push_blob(digest, blob)
        location = client("POST", "/v2/a/blobs/uploads/").headers["Location"]
        self.assertIn("too young", self.gc(folder).err)
        self.assertEqual(204, client("GET", location).status)
        push(client, "a", data, "t")
        walk_registry(client)
        # Content that is old, and that a client was told about a moment ago.
        for parent, _, names in os.walk(folder):
            for name in names:
                os.utime(os.path.join(parent, name), (1, 1))
        self.assertEqual(202, client("DELETE", f"/v2/a/manifests/{data.order[0]}").status)
        asked, *others = data.blobs
        self.assertEqual(200, client("HEAD", f"/v2/a/blobs/{asked}").status)
        self.gc(folder)
        self.assertEqual([200] + [404] * len(others), [client("HEAD", f"/v2/a/blobs/{d}").status for d in data.blobs])
        self.assertEqual({asked}, set(digests_in(folder)))
        self.assertEqual(404, client("GET", location).status)  # older than a week

    def test_untagged(self):
        folder, server = self.registry()
        client, kept, loose = Client(server.url), Data(), Data()
        kept.index("keep")
        kept.artifact(subject={"mediaType": INDEX, "digest": kept.order[-1], "size": len(kept.manifests[kept.order[-1]][0])})
        loose.image()
        push(client, "a", kept)
        push(client, "a", loose)
        self.assertEqual(0, server.stop())
        self.assertEqual("", self.gc(folder).out)
        self.gc(folder, "--untagged")
        self.assertEqual(set(kept.blobs) | set(kept.manifests), set(digests_in(folder)))

    def test_pushes_during_collection(self):
        folder, server = self.registry()
        stop, problems = threading.Event(), []

        def pusher(number):
            while not stop.is_set():
                data = Data()
                data.image("t")
                try:
                    push(Client(server.url), f"r{number}", data)
                except Exception as error:  # pylint: disable=broad-except
                    problems.append(error)
                    return

        threads = [threading.Thread(target=pusher, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for _ in range(6):
            self.gc(folder, "--untagged", timeout=60)
        stop.set()
        for t in threads:
            t.join(60)
        self.assertEqual([], problems)
        walk_registry(Client(server.url))

    def test_a_damaged_manifest_stops_it(self):
        folder, server = self.registry()
        data = Data()
        data.image("t")
        data.blob(b"unused")
        push(Client(server.url), "a", data)
        self.assertEqual(0, server.stop())
        digest = data.order[0]
        os.truncate(f"{folder}/blobs/sha256/{digest[7:9]}/{digest[7:]}", 5)
        outcome = self.gc(folder, check=False)
        self.assertEqual(1, outcome.code)
        self.assertIn(digest, outcome.err)
        self.assertTrue(os.path.exists(f"{folder}/blobs/sha256/{digest_of(b'unused')[7:9]}/{digest_of(b'unused')[7:]}"))
        self.assertEqual(1, self.gc(self.new_folder(), check=False).code)


class HostileTest(RegistryCase):
    """R1-R6 and R24: what is malformed gets an error, closes the connection, and changes nothing."""

    def setUp(self):
        self.folder, self.server = self.registry()
        host, port = self.server.host.split(":")
        self.address = (host, int(port))

    def raw(self, data, finish=True):
        """Everything that comes back until the server closes the connection."""
        with socket.create_connection(self.address, 15) as s:
            s.settimeout(15)
            try:
                s.sendall(data)
                if finish:
                    s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            out = b""
            try:
                while piece := s.recv(65536):
                    out += piece
            except ConnectionResetError:
                pass
            return out

    def test_malformed_requests(self):
        get = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n"
        post = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n"
        smuggled = b"GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n"
        for name, request, status in (
                ("CL and TE", post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, b"400"),
                ("TE and CL", post + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + smuggled, b"400"),
                ("two lengths", post + b"Content-Length: 0\r\nContent-Length: 41\r\n\r\n" + smuggled, b"400"),
                ("two equal lengths", post + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + smuggled, b"400"),
                ("list of lengths", post + b"Content-Length: 0, 0\r\n\r\n" + smuggled, b"400"),
                ("negative length", post + b"Content-Length: -1\r\n\r\n", b"400"),
                ("plus length", post + b"Content-Length: +5\r\n\r\n12345" + smuggled, b"400"),
                ("huge length", post + b"Content-Length: 99999999999999999999999\r\n\r\n", b"400"),
                ("hex length", post + b"Content-Length: 0x5\r\n\r\n12345", b"400"),
                ("folded line", get + b"X: a\r\n b\r\n\r\n" + smuggled, b"400"),
                ("bare LF", b"GET /v2/ HTTP/1.1\nHost: x\n\n", b"400"),
                ("bare CR", get + b"X: a\rb\r\n\r\n" + smuggled, b"400"),
                ("NUL in a name", get + b"X\0Y: a\r\n\r\n" + smuggled, b"400"),
                ("NUL in a value", get + b"X: a\0b\r\n\r\n" + smuggled, b"400"),
                ("space before the colon", get + b"Content-Length : 0\r\n\r\n" + smuggled, b"400"),
                ("no colon", get + b"nonsense\r\n\r\n" + smuggled, b"400"),
                ("empty name", get + b": x\r\n\r\n" + smuggled, b"400"),
                ("no host", b"GET /v2/ HTTP/1.1\r\n\r\n" + smuggled, b"400"),
                ("two hosts", get + b"Host: y\r\n\r\n" + smuggled, b"400"),
                ("unknown coding", post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled, b"501"),
                ("chunked twice", post + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, b"400"),
                ("xchunked", post + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled, b"501"),
                ("TE in HTTP/1.0", b"POST /v2/a/blobs/uploads/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
                ("HTTP/2.0", b"GET /v2/ HTTP/2.0\r\nHost: x\r\n\r\n", b"505"),
                ("HTTP/0.9", b"GET /v2/\r\n\r\n", b"400"),
                ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
                ("other protocol", b"SSH-2.0-x\r\n\r\n", b"400"),
                ("absolute target", b"GET http://evil/v2/ HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, b"400"),
                ("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" + smuggled, b"400"),
                ("strange expectation", post + b"Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx", b"417"),
                ("large header", get + b"X: " + b"a" * 100_000 + b"\r\n\r\n", b"431"),
                ("many headers", get + b"".join(b"X%d: y\r\n" % n for n in range(20_000)) + b"\r\n", b"431")):
            with self.subTest(name):
                out = self.raw(request)
                self.assertTrue(out.startswith(b"HTTP/1.1 " + status + b" "), out[:200])
                self.assertEqual(1, out.count(b"HTTP/1.1 "), "a second request was answered")
                self.assertIn(b"Connection: close", out)
        self.assertEqual(200, Client(self.server.url)("GET", "/v2/").status)

    def test_malformed_chunks(self):
        for chunks in (b"FFFFFFFFFFFFFFFFF\r\nx", b"-1\r\nx\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b" 5\r\nhello\r\n0\r\n\r\n",
                       b"5\nhello\n0\n\n", b"5\r\nhelloo\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"zz\r\n", b"5;" + b"a" * 300_000 + b"\r\nhello",
                       b"5\r\nhel", b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\nX: a\0b\r\n\r\n"):
            with self.subTest(chunks[:30]):
                data = b"hello"
                out = self.raw(f"POST /v2/a/blobs/uploads/?digest={digest_of(data)} HTTP/1.1\r\nHost: x\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)
                self.assertFalse(out.startswith(b"HTTP/1.1 201"), out[:200])
                self.assertLessEqual(out.count(b"HTTP/1.1 "), 1)
        self.assertEqual(404, Client(self.server.url)("HEAD", f"/v2/a/blobs/{digest_of(b'hello')}").status)
        self.assertEqual({}, digests_in(self.folder))
        # Chunk extensions and trailers are legal.
        out = self.raw(f"POST /v2/a/blobs/uploads/?digest={digest_of(b'hello')} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n".encode())
        self.assertTrue(out.startswith(b"HTTP/1.1 201"), out[:200])

    def test_a_short_body_is_not_stored(self):
        data = os.urandom(1000)
        self.raw(f"POST /v2/a/blobs/uploads/?digest={digest_of(data[:500])} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode()
                 + data[:500])
        self.assertEqual({}, digests_in(self.folder))

    def test_pipelined_requests(self):
        out = self.raw(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        self.assertEqual(20, out.count(b"HTTP/1.1 200 OK"))

    def test_expect_continue(self):
        with socket.create_connection(self.address, 15) as s:
            s.sendall(f"POST /v2/a/blobs/uploads/?digest={digest_of(b'hello')} HTTP/1.1\r\nHost: x\r\n"
                      "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n".encode())
            self.assertEqual(b"HTTP/1.1 100 Continue\r\n\r\n", s.recv(1000))
            s.sendall(b"hello")
            self.assertTrue(s.recv(1000).startswith(b"HTTP/1.1 201"))
        out = self.raw(b"PUT /v2/UPPER/manifests/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n", False)
        self.assertTrue(out.startswith(b"HTTP/1.1 400"))  # no "continue" for what is refused anyway

    def test_names_and_digests_never_become_paths(self):
        before = sorted(os.listdir(os.path.dirname(self.folder)))
        client, body = Client(self.server.url), b"x"
        for name in ("..", "../x", "a/../b", "a//b", "A", "a_", "_tags", "a/_uploads", "-a", "a/.b", "%2e%2e", "a%2f..%2fb", "a%00b",
                     "a" * 256, "a/" * 200 + "a", "%ff", "a b", "a\\b"):
            for kind in ("blobs/uploads/", "manifests/x", "blobs/" + digest_of(b"x"), "tags/list"):
                answer = client("POST" if kind.endswith("/") else "GET", f"/v2/{name.replace(' ', '%20')}/{kind}", None)
                self.assertIn(answer.status, (400, 404), (name, kind))
        for digest in ("sha256:" + "A" * 64, "sha256:" + "a" * 63, "sha256:../../../x", "md5:" + "a" * 32, "sha256:", "sha256",
                       "sha384:" + "a" * 96, "sha512:" + "a" * 64, "sha256+b64:" + "a" * 64, "sha256:" + "a" * 64 + "%2f.."):
            self.assertIn(client("GET", f"/v2/a/blobs/{digest}").status, (400, 404), digest)
            self.assertIn(client("POST", f"/v2/a/blobs/uploads/?digest={digest}", body).status, (400,), digest)
            self.assertIn(client("POST", f"/v2/a/blobs/uploads/?mount={digest}&from=b", body).status, (400,), digest)
            self.assertIn(client("GET", f"/v2/a/referrers/{digest}").status, (400, 404), digest)
        for tag in ("..", ".x", "-x", "a%2fb", "a" * 129, "a%0ab", "a:b"):
            self.assertIn(client("PUT", f"/v2/a/manifests/{tag}", b"{}", Content_Type=IMAGE).status, (400, 404), tag)
        for upload in ("..", "0" * 31, "0" * 33, "Z" * 32, "../../x", "%2e%2e%2f"):
            self.assertEqual(404, client("GET", f"/v2/a/blobs/uploads/{upload}").status, upload)
        self.assertEqual(400, client("POST", "/v2/a/blobs/uploads/?mount=" + digest_of(b"x") + "&from=../b").status)
        self.assertEqual(before, sorted(os.listdir(os.path.dirname(self.folder))))
        self.assertEqual({}, digests_in(self.folder))

    def test_header_injection_through_a_name(self):
        out = self.raw(b"POST /v2/a/blobs/uploads/?mount=%0d%0aEvil:%20yes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertNotIn(b"\r\nEvil", out)

    def test_manifests_that_mislead(self):
        client, data = Client(self.server.url), Data()
        image = data.image()
        push(client, "a", data)
        good = json.loads(data.manifests[data.order[0]][0])
        unknown = {**good["config"], "digest": digest_of(b"nowhere")}
        cases = {
            "both kinds": ({**good, "manifests": []}, IMAGE, "MANIFEST_INVALID"),
            "index with layers": ({"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "layers": []}, INDEX, "MANIFEST_INVALID"),
            "type and header differ": (good, INDEX, "MANIFEST_INVALID"),
            "no type": ({k: v for k, v in good.items() if k != "mediaType"}, None, "MANIFEST_INVALID"),
            "unknown type": ({**good, "mediaType": "application/x"}, "application/x", "MANIFEST_INVALID"),
            "schema 1": ({"schemaVersion": 1, "fsLayers": []}, "application/vnd.docker.distribution.manifest.v1+json", "MANIFEST_INVALID"),
            "negative size": ({**good, "config": {**good["config"], "size": -1}}, IMAGE, "MANIFEST_INVALID"),
            "huge size": ({**good, "config": {**good["config"], "size": 1 << 63}}, IMAGE, "MANIFEST_INVALID"),
            "wrong size": ({**good, "config": {**good["config"], "size": good["config"]["size"] + 1}}, IMAGE, "SIZE_INVALID"),
            "size as float": ({**good, "config": {**good["config"], "size": 1.5}}, IMAGE, "MANIFEST_INVALID"),
            "path as digest": ({**good, "config": {**good["config"], "digest": "sha256:../../x"}}, IMAGE, "MANIFEST_INVALID"),
            "unknown config": ({**good, "config": unknown}, IMAGE, "MANIFEST_BLOB_UNKNOWN"),
            "unknown layer": ({**good, "layers": [unknown]}, IMAGE, "MANIFEST_BLOB_UNKNOWN"),
            "unknown child": ({"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**image, "digest": unknown["digest"]}]}, INDEX,
                              "MANIFEST_BLOB_UNKNOWN"),
            "other algorithm": ({**good, "layers": [{**unknown, "digest": "sha384:" + "a" * 96}]}, IMAGE, "MANIFEST_BLOB_UNKNOWN"),
            "wrong data": ({**good, "config": {**good["config"], "data": "e30="}}, IMAGE, "MANIFEST_INVALID"),
            "case variant": (json.dumps(good)[:-1] + ', "Layers": []}', IMAGE, "MANIFEST_INVALID"),
            "duplicate member": (json.dumps(good)[:-1] + ', "layers": []}', IMAGE, "MANIFEST_INVALID"),
            "byte order mark": ("\ufeff" + json.dumps(good), IMAGE, "MANIFEST_INVALID"),
            "trailing data": (json.dumps(good) + "{}", IMAGE, "MANIFEST_INVALID"),
            "deep": ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", IMAGE, "MANIFEST_INVALID"),
            "NaN": ('{"schemaVersion": NaN}', IMAGE, "MANIFEST_INVALID"),
            "empty": ("", IMAGE, "MANIFEST_INVALID"),
            "no object": ("[]", IMAGE, "MANIFEST_INVALID"),
        }
        for name, (document, media_type, code) in cases.items():
            with self.subTest(name):
                body = (document if isinstance(document, str) else json.dumps(document)).encode()
                answer = client("PUT", "/v2/a/manifests/t", body, Content_Type=media_type)
                self.assertEqual((400, [code]), (answer.status, self.errors(answer)))
        self.assertEqual({"a": {}}, walk_registry(client))
        exact = json.dumps({**good, "annotations": {"x": ""}}).encode()
        pad = (4 << 20) - len(exact)
        for extra, status in ((0, 201), (1, 413)):
            body = json.dumps({**good, "annotations": {"x": "a" * (pad + extra)}}).encode()
            for sent in (body, [body[:1000], body[1000:]]):
                self.assertEqual(status, client("PUT", "/v2/a/manifests/t", sent, Content_Type=IMAGE).status)

    def test_tags_that_look_like_temporary_files_or_digests(self):
        client, data = Client(self.server.url), Data()
        data.image()
        for tag in ("t.tmp.abcdef", "sha256-" + "a" * 64, "_x", "0", "a" * 128):
            push(client, "a", data, tag)
        self.assertEqual(5, len(walk_registry(client)["a"]))

    def test_conditions(self):
        client, data = Client(self.server.url), Data()
        data.image("t")
        push(client, "a", data)
        for url in ("/v2/a/manifests/t", f"/v2/a/blobs/{next(iter(data.blobs))}"):
            etag = client("GET", url).headers["ETag"]
            for condition in (etag, f'"x", {etag}', "W/" + etag, "*"):
                answer = client("GET", url, If_None_Match=condition)
                self.assertEqual((304, b""), (answer.status, answer.body))
            self.assertEqual(200, client("GET", url, If_None_Match='"x"').status)
        self.assertEqual(206, client("GET", url, Range="bytes=0-1", If_Range=etag).status)
        self.assertEqual(200, client("GET", url, Range="bytes=0-1", If_Range='"x"').status)
        self.assertEqual(200, client("GET", url, Range="bytes=0-1,3-4").status)
        self.assertEqual(405, client("POST", url, b"").status)
        self.assertEqual(404, client("GET", "/").status)
        self.assertEqual(404, client("GET", "/v1/search").status)

    def test_an_upload_in_use(self):
        client = Client(self.server.url)
        location = client("POST", "/v2/a/blobs/uploads/").headers["Location"]
        with socket.create_connection(self.address, 15) as s:
            s.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode())
            time.sleep(0.3)
            answer = client("PATCH", location, b"def")
            self.assertEqual((409, ["BLOB_UPLOAD_INVALID"]), (answer.status, self.errors(answer)))
        # The connection is gone: the rest may come through another.
        self.assertTrue(support.wait_until(lambda: client("GET", location).headers["Range"] == "0-2", 5))
        self.assertEqual(404, client("PATCH", location.replace("/a/", "/b/"), b"x").status)
        self.assertEqual(202, client("PATCH", location, b"def", Content_Range="3-5").status)
        self.assertEqual(201, client("PUT", location, params=(("digest", digest_of(b"abcdef")),)).status)


if __name__ == "__main__":
    support.main()
