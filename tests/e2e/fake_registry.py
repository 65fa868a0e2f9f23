"""A registry in memory whose answers tests can bend: every fault of R9-R22, and a token server.

FakeRegistry keeps blobs and manifests, records each request, and asks `hooks` first: a hook gets the handler and
returns True when it answered by itself.
"""

import base64
import gzip
import hashlib
import http.server
import io
import itertools
import json
import re
import socket
import ssl
import struct
import tarfile
import threading
import urllib.parse

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Image:
    """Bytes of an image: config, layers (compressed), manifest."""

    def __init__(self, layers, architecture="amd64", variant=None, compress=None, media_type=MANIFEST, layer_type=LAYER):
        compress = compress or (lambda tar: gzip.compress(tar, 1, mtime=0))
        self.tars = [layer_tar(files) for files in layers]
        self.blobs = [compress(tar) for tar in self.tars]
        config = {"architecture": architecture, "os": "linux", "config": {"Cmd": ["/x"]},
                  "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in self.tars]},
                  "history": [{"created_by": "test"} for _ in layers]}
        if variant:
            config["variant"] = variant
        self.config = json.dumps(config).encode()
        self.platform = {"architecture": architecture, "os": "linux", **({"variant": variant} if variant else {})}
        self.media_type = media_type
        self.document = {"schemaVersion": 2, "mediaType": media_type, "config": self.descriptor(CONFIG, self.config),
                         "layers": [self.descriptor(layer_type, blob) for blob in self.blobs]}

    @staticmethod
    def descriptor(media_type, data):
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    @property
    def manifest(self):
        return json.dumps(self.document).encode()

    @property
    def digest(self):
        return digest_of(self.manifest)


def index_of(images, extra=()):
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(extra) + [
        {**Image.descriptor(image.media_type, image.manifest), "platform": image.platform} for image in images]}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    # -- answers
    def answer(self, status, body=b"", headers=None, media_type="application/json"):
        self.send_response(status)
        for name, value in (headers or {}).items():
            for one in value if isinstance(value, list) else [value]:
                self.send_header(name, one)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        if body and "Content-Type" not in (headers or {}):
            self.send_header("Content-Type", media_type)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status, code, message=None):
        self.answer(status, json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode())

    def raw(self, data, close=True):
        """Bytes as they are; afterwards the connection ends."""
        self.wfile.write(data)
        self.wfile.flush()
        self.close_connection = close

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def serve_silently(self):
        """Does what is asked, and says nothing."""
        self.wfile, kept = io.BytesIO(), self.wfile
        try:
            self.serve()
        finally:
            self.wfile = kept

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            out = b""
            while True:
                size = int(self.rfile.readline().strip() or b"0", 16)
                out += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return out
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    # -- routing
    def handle_any(self):
        registry = self.server.registry
        self.parts = urllib.parse.urlsplit(self.path)
        self.query = urllib.parse.parse_qs(self.parts.query, keep_blank_values=True)
        registry.record(self)
        try:
            for hook in list(registry.hooks):
                if hook(self):
                    return
            if self.parts.path == "/token":
                return registry.token(self)
            if not registry.allowed(self):
                return None
            self.serve()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def serve(self):
        registry, path = self.server.registry, self.parts.path
        if path == "/v2/":
            return self.answer(200, b"{}")
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs|tags)/(.*)", path)
        if not match:
            return self.error(404, "NAME_UNKNOWN")
        self.repository, kind, name = match.groups()
        if kind == "tags":
            return self.tags()
        if kind == "manifests":
            return self.put_manifest(name) if self.command == "PUT" else self.get_manifest(name)
        if name.startswith("uploads"):
            return self.upload(name[8:])
        blob = registry.blobs.get(name)
        if blob is None or (self.repository, name) not in registry.links and registry.strict_links:
            return self.error(404, "BLOB_UNKNOWN")
        return self.send_blob(name, blob)

    def tags(self):
        names = sorted({ref for repo, ref in self.server.registry.manifests if repo == self.repository and ":" not in ref})
        if not names:
            return self.error(404, "NAME_UNKNOWN")
        last, size = self.query.get("last", [""])[0], self.server.registry.page_size
        names = [n for n in names if n > last]
        headers = {}
        if len(names) > size:
            names = names[:size]
            headers["Link"] = f'</v2/{self.repository}/tags/list?n={size}&last={names[-1]}>; rel="next"'
        return self.answer(200, json.dumps({"name": self.repository, "tags": names}).encode(), headers)

    def get_manifest(self, name):
        found = self.server.registry.manifests.get((self.repository, name))
        if not found:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, data = found
        return self.answer(200, data, {"Docker-Content-Digest": digest_of(data), "Content-Type": media_type})

    def send_blob(self, name, blob):
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match and self.server.registry.ranges:
            start = int(match.group(1))
            if start >= len(blob):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(blob)}"})
            return self.answer(206, blob[start:], {"Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}",
                                                   "Content-Type": "application/octet-stream"})
        return self.answer(200, blob, {"Docker-Content-Digest": name, "Content-Type": "application/octet-stream"})

    # -- uploads
    def upload(self, session):
        registry = self.server.registry
        if self.command == "POST":
            data = self.body()
            source, wanted = self.query.get("from", [""])[0], self.query.get("mount", [""])[0]
            if wanted and registry.mounts and (source, wanted) in registry.links:
                registry.links.add((self.repository, wanted))
                return self.answer(201, b"", {"Location": f"/v2/{self.repository}/blobs/{wanted}",
                                              "Docker-Content-Digest": wanted})
            session = f"s{next(registry.sessions)}"
            registry.uploads[session] = b""
            return self.answer(202, b"", {"Location": registry.location(self.repository, session), "Range": "0-0"})
        if session not in registry.uploads:
            self.body()
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        have = registry.uploads[session]
        if self.command == "GET":
            return self.answer(204, b"", {"Location": registry.location(self.repository, session),
                                          "Range": f"0-{max(0, len(have) - 1)}"})
        if self.command == "DELETE":
            del registry.uploads[session]
            return self.answer(204)
        match = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        if match and int(match.group(1)) != len(have):
            self.body()
            return self.answer(416, b"", {"Location": registry.location(self.repository, session),
                                          "Range": f"0-{max(0, len(have) - 1)}"})
        have = registry.uploads[session] = have + self.body()
        if self.command == "PATCH":
            return self.answer(202, b"", {"Location": registry.location(self.repository, session),
                                          "Range": f"0-{max(0, len(have) - 1)}"})
        digest = self.query.get("digest", [""])[0]
        del registry.uploads[session]
        if digest_of(have) != digest:
            return self.error(400, "DIGEST_INVALID")
        registry.blobs[digest] = have
        registry.links.add((self.repository, digest))
        return self.answer(201, b"", {"Location": f"/v2/{self.repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def put_manifest(self, name):
        registry, data = self.server.registry, self.body()
        document = json.loads(data)
        for one in document.get("layers", []) + ([document["config"]] if "config" in document else []):
            if (self.repository, one["digest"]) not in registry.links and not one.get("urls"):
                registry.too_early.append((name, one["digest"]))
                return self.error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
        for one in document.get("manifests", []):
            if (self.repository, one["digest"]) not in registry.manifests:
                return self.error(400, "MANIFEST_BLOB_UNKNOWN", "manifest unknown to registry")
        for ref in {name, digest_of(data)}:
            registry.manifests[(self.repository, ref)] = (self.headers.get("Content-Type"), data)
        return self.answer(201, b"", {"Location": f"/v2/{self.repository}/manifests/{name}",
                                      "Docker-Content-Digest": digest_of(data)})


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Connections that the client breaks off are part of the tests."""


class FakeRegistry:
    def __init__(self, tls=None):
        """tls: an ssl.SSLContext for https."""
        self.blobs, self.manifests, self.links, self.uploads = {}, {}, set(), {}
        self.requests, self.hooks, self.sessions = [], [], itertools.count()
        self.too_early = []  # manifests that came before what they name
        self.ranges, self.mounts, self.strict_links, self.page_size = True, True, False, 100
        self.absolute_locations = True
        self.auth, self.users, self.tokens = None, {}, {}  # auth: None, "basic", "bearer"
        self.realm, self.token_answer = None, None
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.registry = self
        scheme = "http"
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{scheme}://{self.host}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # -- content
    def add(self, repository, reference, image):
        """An Image, with all its blobs."""
        for blob in [image.config] + image.blobs:
            self.blobs[digest_of(blob)] = blob
            self.links.add((repository, digest_of(blob)))
        return self.add_document(repository, reference, image.media_type, image.manifest)

    def add_document(self, repository, reference, media_type, data):
        for ref in {reference, digest_of(data)}:
            self.manifests[(repository, ref)] = (media_type, data)
        return digest_of(data)

    def location(self, repository, session):
        path = f"/v2/{repository}/blobs/uploads/{session}?state=x"
        return self.url + path if self.absolute_locations else path

    # -- records
    def record(self, handler):
        with self.lock:
            self.requests.append((handler.command, handler.path, dict(handler.headers)))

    def count(self, method, part):
        return sum(1 for m, path, _ in self.requests if m == method and part in path)

    def headers_seen(self, name):
        return [headers.get(name) for _, _, headers in self.requests if headers.get(name)]

    # -- authentication
    def allowed(self, handler):
        if self.auth is None:
            return True
        sent = handler.headers.get("Authorization", "")
        if self.auth == "basic":
            if sent.startswith("Basic ") and self.user_of(sent):
                return True
            handler.body()
            handler.answer(401, b"", {"WWW-Authenticate": 'Basic realm="fake"'})
            return False
        scopes = self.tokens.get(sent[7:], None) if sent.startswith("Bearer ") else None
        match = re.match(r"/v2/(.+?)/(manifests|blobs|tags)/", handler.path)
        want = f"repository:{match.group(1)}:" + ("pull" if handler.command in ("GET", "HEAD") else "push") if match else None
        if scopes is not None and (want is None or any(
                s.rpartition(":")[0] == want.rpartition(":")[0] and want.rpartition(":")[2] in s.rpartition(":")[2].split(",")
                for s in scopes)):
            return True
        handler.body()
        scope = f',scope="{want}"' if want else ""
        handler.answer(401, b"", {"WWW-Authenticate": f'Bearer realm="{self.realm or self.url + "/token"}",service="fake"{scope}'})
        return False

    def user_of(self, header):
        user, _, password = base64.b64decode(header[6:]).decode().partition(":")
        return user if self.users.get(user) == password and user else None

    def token(self, handler):
        body = handler.body().decode()
        if self.token_answer:
            return self.token_answer(handler, body)
        sent = handler.headers.get("Authorization", "")
        if sent and not self.user_of(sent):
            return handler.error(401, "UNAUTHORIZED", "wrong password")
        if self.users and not sent:
            scopes = []  # anonymous: a token that opens nothing
        else:
            scopes = handler.query.get("scope", [])
        token = f"tok{len(self.tokens)}"
        self.tokens[token] = scopes
        return handler.answer(200, json.dumps({"token": token, "expires_in": 300}).encode())


def server_context(certificate, key, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
