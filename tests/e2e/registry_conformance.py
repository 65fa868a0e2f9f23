"""The cases of the distribution-spec's conformance suite (the program in its repository, of 1.1 and later), in
Python, for any registry: Suite(base URL).run() returns [Case(name, problem)], problem "" for a pass.

Groups in the order of the original: ping, empty, sha256 and sha512 blobs, one group for each set of data
(push, tag list, head, pull, referrers, delete), missing manifests, malformed digests. Cases that only the
development version of the specification asks for (upload cancel, tag parameters) are in it and marked "[dev]".
"""

import base64
import collections
import gzip
import hashlib
import http.client
import io
import json
import os
import tarfile
import urllib.parse

Case = collections.namedtuple("Case", "name problem")
Answer = collections.namedtuple("Answer", "status headers body")

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
OCTETS = "application/octet-stream"
EXAMPLE1 = "application/vnd.example.oci.conformance.v1"
EXAMPLE2 = "application/vnd.example.oci.conformance.v2"
PLATFORMS = ({"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"})


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def digest_of(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Client:
    def __init__(self, base, user=None, context=None):
        self.parts = urllib.parse.urlsplit(base)
        self.user, self.context, self.connection = user, context, None

    def connect(self):
        if self.parts.scheme == "https":
            return http.client.HTTPSConnection(self.parts.netloc, timeout=60, context=self.context)
        return http.client.HTTPConnection(self.parts.netloc, timeout=60)

    def __call__(self, method, url, body=None, params=(), **headers):
        """url: a path, or a Location. params: pairs for the query. A body that is a list is sent chunked."""
        parts = urllib.parse.urlsplit(url)
        query = "&".join(filter(None, [parts.query, urllib.parse.urlencode(params, safe=":/")]))
        target = parts.path + ("?" + query if query else "")
        headers = {k.replace("_", "-"): v for k, v in headers.items() if v is not None}
        if self.user:
            headers["Authorization"] = "Basic " + base64.b64encode(self.user.encode()).decode()
        if body is None and method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
        for attempt in (0, 1):
            reused = self.connection is not None
            self.connection = self.connection or self.connect()
            try:
                self.connection.request(method, target, body=iter(body) if isinstance(body, list) else body, headers=headers,
                                        encode_chunked=isinstance(body, list))
                response = self.connection.getresponse()
                answer = Answer(response.status, response.headers, response.read())
                if response.will_close:
                    self.close()
                return answer
            except (http.client.HTTPException, OSError):
                self.close()
                if not reused or attempt:
                    raise
        raise AssertionError

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    __del__ = close


class Data:
    """A set of blobs, manifests and tags to push."""

    def __init__(self, algorithm="sha256", with_data=False, extra=False):
        self.algorithm, self.with_data, self.extra = algorithm, with_data, extra
        self.blobs, self.manifests, self.order, self.tags, self.referrers = {}, {}, [], {}, {}
        self.tag_parameters = False

    def descriptor(self, data, media_type):
        out = {"mediaType": media_type, "digest": digest_of(data, self.algorithm), "size": len(data)}
        if self.with_data:
            out["data"] = base64.b64encode(data).decode()
        return out

    def blob(self, data, media_type=OCTETS):
        out = self.descriptor(data, media_type)
        self.blobs[out["digest"]] = data
        return out

    def layer(self, number, compress=True):
        tar, text = io.BytesIO(), f"Conformance test file {number}, {os.urandom(8).hex()}\n".encode()
        with tarfile.open(fileobj=tar, mode="w") as out:
            member = tarfile.TarInfo(f"./conformance-{number}.txt")
            member.size = len(text)
            out.addfile(member, io.BytesIO(text))
        plain = tar.getvalue()
        data = gzip.compress(plain, mtime=0) if compress else plain
        return self.blob(data, LAYER + ("+gzip" if compress else "")), digest_of(plain)

    def document(self, value, media_type, tag=None, subject=None, artifact_type=None):
        if artifact_type:
            value["artifactType"] = artifact_type
        if subject:
            value["subject"] = subject
        if self.extra:
            value["org." + os.urandom(4).hex()] = os.urandom(8).hex()
        data = json.dumps(value, separators=(",", ":")).encode()
        out = self.descriptor(data, media_type)
        self.manifests[out["digest"]] = (data, media_type, subject)
        self.order.append(out["digest"])
        if tag:
            self.tags[tag] = out["digest"]
        if subject:
            entry = {k: out[k] for k in ("mediaType", "digest", "size")}
            entry["artifactType"] = artifact_type or value.get("config", {}).get("mediaType", "")
            entry["annotations"] = value.get("annotations", {})
            self.referrers.setdefault(subject["digest"], []).append(entry)
        return out

    def image(self, tag=None, layers=2, compress=True, platform=PLATFORMS[0], annotations=None, subject=None):
        made = [self.layer(n, compress) for n in range(layers)]
        config = {"author": "conformance", **platform, "rootfs": {"type": "layers", "diff_ids": [d for _, d in made]}}
        if self.extra:
            config["org." + os.urandom(4).hex()] = os.urandom(8).hex()
        value = {"schemaVersion": 2, "mediaType": IMAGE, "config": self.blob(json.dumps(config).encode(), CONFIG),
                 "layers": [d for d, _ in made]}
        if annotations:
            value["annotations"] = annotations
        return self.document(value, IMAGE, tag, subject)

    def artifact(self, tag=None, artifact_type=EXAMPLE1, layer_type=EXAMPLE1, layer=None, subject=None, annotations=None):
        value = {"schemaVersion": 2, "mediaType": IMAGE, "config": self.blob(b"{}", EMPTY),
                 "layers": [self.blob(layer or os.urandom(2048), layer_type)]}
        if annotations:
            value["annotations"] = {**annotations, "org.example." + os.urandom(4).hex(): os.urandom(8).hex()}
        return self.document(value, IMAGE, tag, subject, artifact_type)

    def index(self, tag=None, children=None, subject=None, artifact_type=None, annotations=None, platforms=PLATFORMS):
        if children is None:
            children = [{**(self.artifact() if artifact_type else self.image(platform=p)), "platform": p} for p in platforms]
        value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": children}
        if annotations:
            value["annotations"] = {**annotations, "org.example." + os.urandom(4).hex(): os.urandom(8).hex()}
        return self.document(value, INDEX, tag, subject, artifact_type)


def plain_descriptor(descriptor):
    return {k: descriptor[k] for k in ("mediaType", "digest", "size")}


def data_sets():
    """name → Data, in the order of the original."""
    sets, note = {}, {"org.opencontainers.conformance": "hello conformance test"}

    def make(name, **kwargs):
        sets[name] = Data(**kwargs)
        return sets[name]

    make("image").image("image")
    make("image-uncompressed").image("image-uncompressed", compress=False)
    make("large-manifest").image("large-manifest", annotations={f"large-annotation-{n}": "A" * 10000 for n in range(390)})
    make("index").index("index")
    data = make("nested-index")
    data.index("index-of-index", [data.index(), data.index()])
    make("empty-index").index("index", [])
    make("artifact").artifact("artifact")
    make("artifact-index").index("artifact-index", artifact_type=EXAMPLE1)
    make("artifact-without-layers").artifact("artifact-without-layers", layer_type=EMPTY, layer=b"{}")
    data = make("artifacts-with-subject")
    subject = plain_descriptor(data.image("image"))
    data.image(subject=subject)
    data.artifact("tagged-artifact1", subject=subject, annotations=note)
    data.artifact("tagged-artifact2", EXAMPLE2, OCTETS, subject=subject, annotations=note)
    data = make("index-with-subject")
    subject = plain_descriptor(data.index("index"))
    data.index("tagged-artifact", artifact_type=EXAMPLE1, subject=subject, annotations=note)
    data = make("missing-subject")
    data.artifact("tagged-artifact", annotations=note,
                  subject={"mediaType": IMAGE, "size": 123, "digest": digest_of(os.urandom(64))})
    make("data-field", with_data=True).image("data-field")
    data = make("non-distributable-layers")
    foreign = [{"mediaType": t, "digest": digest_of(os.urandom(64)), "size": 123456,
                "urls": ["https://store.example.com/blobs/x"]} for t in (FOREIGN + "+gzip", FOREIGN)]
    layer, diff_id = data.layer(1)
    config = data.blob(json.dumps({**PLATFORMS[0], "rootfs": {"type": "layers", "diff_ids": [diff_id] * 3}}).encode(), CONFIG)
    data.document({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": [*foreign, layer]}, IMAGE,
                  "non-distributable-image")
    make("custom-fields", extra=True).index("custom-fields")
    make("no-layers").image("no-layers", layers=0)
    make("sha512", algorithm="sha512").index()
    for algorithm in ("sha256", "sha512"):
        data = make(f"tag-param-{algorithm} [dev]", algorithm=algorithm)
        data.index(f"tag-param-{algorithm}")
        data.tag_parameters = True
        for number, digest in enumerate(data.order):
            data.tags[f"tag-param-{algorithm}-{number}"] = digest
    return sets


class Suite:
    def __init__(self, base, user=None, context=None, repository=None):
        self.call = Client(base, user, context)
        self.repo = repository or "conformance/" + os.urandom(4).hex()
        self.repo2 = self.repo + "-2"
        self.cases = []

    def run(self):
        self.case("ping", lambda: check(self.call("GET", "/v2/").status == 200, "not 200"))
        self.case("empty/tag list", self.empty_tag_list)
        self.case("empty/referrers", lambda: self.referrers(digest_of(os.urandom(32))))
        for algorithm in ("sha256", "sha512"):
            Blobs(self, algorithm).run()
        for name, data in data_sets().items():
            Set(self, name, data).run()
        self.bad_digest_image()
        self.manifest_errors()
        self.call.close()
        return self.cases

    def case(self, name, work):
        problem = ""
        try:
            work()
        except Failed as failed:
            problem = str(failed)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            problem = f"{type(error).__name__}: {error}"
        self.cases.append(Case(name, problem))
        return not problem

    def path(self, kind, reference, repo=None):
        return f"/v2/{repo or self.repo}/{kind}/{reference}"

    def expect(self, statuses, method, url, *args, **kwargs):
        answer = self.call(method, url, *args, **kwargs)
        statuses = statuses if isinstance(statuses, tuple) else (statuses,)
        check(answer.status in statuses, f"{method} {url[:90]}: {answer.status}, not {statuses}: {answer.body[:200]!r}")
        return answer

    def location(self, answer):
        location = answer.headers.get("Location")
        check(location, "no Location")
        return location

    def empty_tag_list(self):
        answer = self.expect((200, 404), "GET", self.path("tags", "list"))
        if answer.status == 200:
            check(not json.loads(answer.body).get("tags"), "there are tags")

    def tag_list(self, **params):
        answer = self.expect(200, "GET", self.path("tags", "list"), params=tuple(params.items()))
        return json.loads(answer.body)["tags"] or [], answer

    def referrers(self, digest, artifact_type=None):
        params = (("artifactType", artifact_type),) if artifact_type else ()
        answer = self.expect(200, "GET", self.path("referrers", digest), params=params)
        check(answer.headers.get("Content-Type") == INDEX, f"Content-Type {answer.headers.get('Content-Type')}")
        return json.loads(answer.body), answer

    def check_blob(self, url, data, method="GET"):
        answer = self.expect(200, method, url)
        check(answer.headers.get("Content-Length") == str(len(data)), f"Content-Length {answer.headers.get('Content-Length')}")
        check(method == "HEAD" or answer.body == data, "other content")
        return answer

    def check_digest_header(self, answer, digest, required=False):
        header = answer.headers.get("Docker-Content-Digest")
        check(header == digest or (header is None and not required), f"Docker-Content-Digest is {header}")

    def put_manifest(self, reference, digest, data, media_type, subject=None, params=()):
        answer = self.expect(201, "PUT", self.path("manifests", reference), data, params=params, Content_Type=media_type)
        self.check_digest_header(answer, digest)
        if subject:
            check(answer.headers.get("OCI-Subject") == subject["digest"], f"OCI-Subject is {answer.headers.get('OCI-Subject')}")
        self.check_manifest("GET", self.location(answer), data, media_type)
        return answer

    def check_manifest(self, method, url, data, media_type):
        answer = self.expect(200, method, url, Accept=f"{INDEX}, {IMAGE}")
        check(answer.headers.get("Content-Type") == media_type, f"Content-Type {answer.headers.get('Content-Type')}")
        check(answer.headers.get("Content-Length") == str(len(data)), f"Content-Length {answer.headers.get('Content-Length')}")
        check(method == "HEAD" or answer.body == data, "other content")
        return answer

    def push_blob(self, digest, data, repo=None):
        start = self.expect(202, "POST", self.path("blobs", "uploads/", repo), params=algorithm_of(digest))
        return self.expect(201, "PUT", self.location(start), data, params=(("digest", digest),), Content_Type=OCTETS)

    def bad_digest_image(self):
        data = Data()
        data.image()
        for digest, blob in data.blobs.items():
            self.case("bad-digest-image/push blob", lambda d=digest, b=blob: self.push_blob(d, b))
        (body, media_type, _), = data.manifests.values()
        wrong = digest_of(os.urandom(32))
        self.case("bad-digest-image/manifest-by-digest",
                  lambda: self.expect(400, "PUT", self.path("manifests", wrong), body, Content_Type=media_type))
        self.case("bad-digest-image/get", lambda: self.expect(404, "GET", self.path("manifests", wrong)))

    def manifest_errors(self):
        self.case("missing-manifest/by-digest", lambda: self.expect(404, "GET", self.path("manifests", digest_of(os.urandom(9)))))
        self.case("missing-manifest/by-tag", lambda: self.expect(404, "GET", self.path("manifests", "missing-" + os.urandom(8).hex())))
        data = Data()
        data.image(layers=1)
        for digest, blob in data.blobs.items():
            self.case("invalid-digest-format/push blob", lambda d=digest, b=blob: self.push_blob(d, b))
        (body, media_type, _), = data.manifests.values()
        bad = self.path("manifests", "sha256:baddigeststring")
        self.case("invalid-digest-format/manifest-put", lambda: self.expect(400, "PUT", bad, body, Content_Type=media_type))
        self.case("invalid-digest-format/manifest-get", lambda: self.expect((400, 404), "GET", bad))


def algorithm_of(digest):
    return () if digest.startswith("sha256") else (("digest-algorithm", digest.split(":", 1)[0]),)


class Blobs:
    """The blob endpoints with one digest algorithm."""

    def __init__(self, suite, algorithm):
        self.suite, self.algorithm, self.name = suite, algorithm, f"{algorithm} blobs"

    def run(self):
        missing = digest_of(os.urandom(512), self.algorithm)
        self.suite.case(f"{self.name}/get-missing", lambda: self.suite.expect(404, "GET", self.suite.path("blobs", missing)))
        cancelled = os.urandom(512)
        for name, size, push in (
                ("post only", 512, self.post_only), ("post+put", 512, self.post_put), ("chunked single", 512, self.chunked),
                ("stream", 512, self.stream), ("mount", 512, self.mount), ("mount anonymous", 512, self.mount_anonymous),
                ("mount missing", 512, self.mount_missing), ("chunked multi", 3 * 1024 - 5, self.chunked),
                ("chunked multi and put chunk", 3 * 1024 - 5, lambda d, b: self.chunked(d, b, put_last=True)),
                ("chunked out-of-order", 3 * 1024 - 5, lambda d, b: self.chunked(d, b, disorder=True)),
                ("chunked out-of-order and put chunk", 3 * 1024 - 5, lambda d, b: self.chunked(d, b, True, True))):
            data = os.urandom(size)
            self.pushed(name, data, push)
        self.suite.case(f"{self.name}/post cancel [dev]", lambda: self.cancel(cancelled))
        self.ranges()
        for name, data in (("empty blob", b""), ("empty JSON", b"{}")):
            self.pushed(name, data, lambda d, b: self.suite.push_blob(d, b))
        for name, push in (("post only", self.post_only), ("post+put", self.post_put), ("chunked", self.chunked),
                           ("chunked and put chunk", lambda d, b, **k: self.chunked(d, b, put_last=True, **k)),
                           ("stream", self.stream)):
            wrong = digest_of(os.urandom(512), self.algorithm)
            self.suite.case(f"{self.name}/bad digest {name}", lambda p=push, w=wrong: p(w, os.urandom(3 * 1024 - 5), bad=True))
            self.suite.case(f"{self.name}/bad digest {name}/get",
                            lambda w=wrong: self.suite.expect(404, "GET", self.suite.path("blobs", w)))

    def pushed(self, name, data, push):
        digest = digest_of(data, self.algorithm)
        url = self.suite.path("blobs", digest)
        if not self.suite.case(f"{self.name}/{name}", lambda: push(digest, data)):
            return
        self.suite.case(f"{self.name}/{name}/blob-head", lambda: self.suite.check_blob(url, data, "HEAD"))
        self.suite.case(f"{self.name}/{name}/blob-get",
                        lambda: self.suite.check_digest_header(self.suite.check_blob(url, data), digest))
        self.suite.case(f"{self.name}/{name}/blob-delete", lambda: self.suite.expect(202, "DELETE", url))
        self.suite.case(f"{self.name}/{name}/blob-delete atomic", lambda: self.suite.expect(404, "HEAD", url))

    def start(self, digest):
        return self.suite.location(self.suite.expect(202, "POST", self.suite.path("blobs", "uploads/"), params=algorithm_of(digest)))

    def finish(self, digest, data, answer, bad):
        """The answer to the last request of an upload."""
        if bad:
            check(answer.status == 400, f"{answer.status}, not 400")
            return
        check(answer.status == 201, f"{answer.status}, not 201: {answer.body[:200]!r}")
        self.suite.check_digest_header(answer, digest)
        self.suite.check_blob(self.suite.location(answer), data)

    def post_only(self, digest, data, bad=False):
        answer = self.suite.call("POST", self.suite.path("blobs", "uploads/"), data, params=(("digest", digest),), Content_Type=OCTETS)
        check(answer.status != 202, "single POST is not supported: 202")
        self.finish(digest, data, answer, bad)

    def post_put(self, digest, data, bad=False):
        self.finish(digest, data, self.suite.call("PUT", self.start(digest), data, params=(("digest", digest),), Content_Type=OCTETS), bad)

    def stream(self, digest, data, bad=False):
        answer = self.suite.expect(202, "PATCH", self.start(digest), [data[:100], data[100:]], Content_Type=OCTETS)
        self.finish(digest, data, self.suite.call("PUT", self.suite.location(answer), params=(("digest", digest),)), bad)

    def chunked(self, digest, data, put_last=False, disorder=False, bad=False):
        location, done, size = self.start(digest), 0, min(max(len(data) // 3 + 1, 1024), len(data))
        answer = None
        while done < len(data):
            if disorder:
                location = self.out_of_order(location, digest, data, done, size, put_last)
            chunk, last = data[done:done + size], done + size >= len(data)
            end = done + len(chunk) - 1
            if last and put_last:
                answer = self.suite.call("PUT", location, chunk, params=(("digest", digest),), Content_Type=OCTETS,
                                         Content_Range=f"{done}-{end}")
            else:
                answer = self.suite.expect(202, "PATCH", location, chunk, Content_Type=OCTETS, Content_Range=f"{done}-{end}")
                check(answer.headers.get("Range") == f"0-{end}", f"Range {answer.headers.get('Range')}, not 0-{end}")
                location = self.suite.location(answer)
            done += len(chunk)
        if not put_last:
            answer = self.suite.call("PUT", location, params=(("digest", digest),), Content_Type=OCTETS)
        self.finish(digest, data, answer, bad)

    def out_of_order(self, location, digest, data, done, size, put_last):
        first = done + size if done + size < len(data) else 0
        end = min(first + size, len(data)) - 1
        put = put_last and end == len(data) - 1
        self.suite.expect(416, "PUT" if put else "PATCH", location, data[first:end + 1],
                          params=(("digest", digest),) if put else (), Content_Type=OCTETS, Content_Range=f"{first}-{end}")
        answer = self.suite.expect(204, "GET", location)
        check((answer.headers.get("Range") or "").startswith("0-"), f"Range {answer.headers.get('Range')}")
        check(not done or answer.headers["Range"] == f"0-{done - 1}", f"Range {answer.headers['Range']}, not 0-{done - 1}")
        return self.suite.location(answer)

    def mount(self, digest, data):
        self.suite.push_blob(digest, data, self.suite.repo2)
        answer = self.suite.expect(201, "POST", self.suite.path("blobs", "uploads/"),
                                   params=(("mount", digest), ("from", self.suite.repo2)))
        self.finish(digest, data, answer, False)

    def mount_anonymous(self, digest, data):
        """Both answers are right: the blob, or a session to send it in."""
        self.suite.push_blob(digest, data, self.suite.repo2)
        self.mount_or_push(digest, data, (("mount", digest),))

    def mount_missing(self, digest, data):
        answer = self.suite.expect(202, "POST", self.suite.path("blobs", "uploads/"),
                                   params=(("mount", digest), ("from", self.suite.repo2)))
        self.finish(digest, data, self.suite.call("PUT", self.suite.location(answer), data, params=(("digest", digest),)), False)

    def mount_or_push(self, digest, data, params):
        answer = self.suite.expect((201, 202), "POST", self.suite.path("blobs", "uploads/"), params=params)
        if answer.status == 202:
            answer = self.suite.call("PUT", self.suite.location(answer), data, params=(("digest", digest),))
        self.finish(digest, data, answer, False)

    def cancel(self, data):
        digest = digest_of(data, self.algorithm)
        location = self.start(digest)
        self.suite.expect(204, "DELETE", location)
        self.suite.expect(404, "GET", location)
        self.suite.expect(404, "HEAD", self.suite.path("blobs", digest))

    def ranges(self):
        data = os.urandom(2048)
        digest = digest_of(data, self.algorithm)
        url = self.suite.path("blobs", digest)
        if not self.suite.case(f"{self.name}/range requests/push", lambda: self.suite.push_blob(digest, data)):
            return
        for asked, first, end in (("500-1499", 500, 1499), ("500-", 500, 2047), ("-500", 1548, 2047), ("2000-5000", 2000, 2047)):
            self.suite.case(f"{self.name}/range requests/{asked}", lambda a=asked, f=first, e=end: self.one_range(url, a, data, f, e))
        for asked in ("500-0", "5000-10000"):
            self.suite.case(f"{self.name}/range requests/{asked}",
                            lambda a=asked: self.suite.expect(416, "GET", url, Range=f"bytes={a}"))
        self.suite.case(f"{self.name}/range requests/delete", lambda: self.suite.expect(202, "DELETE", url))

    def one_range(self, url, asked, data, first, end):
        answer = self.suite.expect(206, "GET", url, Range=f"bytes={asked}")
        check(answer.body == data[first:end + 1], "other content")
        check(answer.headers.get("Content-Length") == str(end - first + 1), "Content-Length")
        check(answer.headers.get("Content-Range") in (f"bytes {first}-{end}/{len(data)}", f"bytes {first}-{end}/*"), "Content-Range")


class Set:
    """One set of data: push → tag-list → head → pull → referrers → delete."""

    def __init__(self, suite, name, data):
        self.suite, self.name, self.data = suite, name, data

    def case(self, name, work):
        return self.suite.case(f"{self.name}/{name}", work)

    def run(self):
        for digest, blob in self.data.blobs.items():
            self.case("push/blob", lambda d=digest, b=blob: self.suite.push_blob(d, b))
        for digest in self.data.order:
            self.case("push/manifest-by-digest", lambda d=digest: self.push(d))
        if not self.data.tag_parameters:
            for tag, digest in self.data.tags.items():
                self.case("push/manifest-by-tag", lambda t=tag, d=digest: self.suite.put_manifest(t, d, *self.data.manifests[d]))
        self.case("tag-list", self.tag_list)
        for method in ("HEAD", "GET"):
            self.read(method)
        for subject, entries in self.data.referrers.items():
            self.case("referrers", lambda s=subject, e=entries: self.referrers(s, e, None))
            for artifact_type in sorted({e["artifactType"] for e in entries}):
                self.case("referrers by artifactType", lambda s=subject, e=entries, a=artifact_type: self.referrers(s, e, a))
        self.delete()

    def push(self, digest):
        tags = [t for t, d in self.data.tags.items() if d == digest] if self.data.tag_parameters else []
        answer = self.suite.put_manifest(digest, digest, *self.data.manifests[digest], params=tuple(("tag", t) for t in tags))
        accepted = [t.strip() for value in answer.headers.get_all("OCI-Tag", []) for t in value.split(",")]
        check(sorted(accepted) == sorted(tags), f"OCI-Tag: {accepted}, not {tags}")

    def tag_list(self):
        tags, _ = self.suite.tag_list()
        for tag in self.data.tags:
            check(tag in tags, f"{tag} is not in the list")
        if len(tags) >= 2:
            ordered = sorted(tags)
            half = len(ordered) // 2
            rest, _ = self.suite.tag_list(last=ordered[half - 1])
            check(sorted(rest) == ordered[half:], f"after {ordered[half - 1]}: {rest}")
            page, answer = self.suite.tag_list(n=1)
            check(page == ordered[:1], f"n=1: {page}")
            check('rel="next"' in (answer.headers.get("Link") or ""), "n=1: no Link")
            following = self.suite.expect(200, "GET", answer.headers["Link"].split("<")[1].split(">")[0])
            check(json.loads(following.body)["tags"] == ordered[1:2], "the Link leads to another page")
        page, answer = self.suite.tag_list(n=0)
        check(not page and not answer.headers.get("Link"), "n=0 is not empty")

    def read(self, method):
        step = "head" if method == "HEAD" else "pull"
        for digest, blob in self.data.blobs.items():
            self.case(f"{step}/blob", lambda d=digest, b=blob: self.suite.check_blob(self.suite.path("blobs", d), b, method))
        references = {**{d: d for d in self.data.order}, **self.data.tags}
        for reference, digest in references.items():
            body, media_type, _ = self.data.manifests[digest]
            self.case(f"{step}/manifest-by-{'digest' if reference == digest else 'tag'}",
                      lambda r=reference, d=digest, b=body, t=media_type: self.suite.check_digest_header(
                          self.suite.check_manifest(method, self.suite.path("manifests", r), b, t), d, method == "HEAD"))

    def referrers(self, subject, entries, artifact_type):
        index, answer = self.suite.referrers(subject, artifact_type)
        found = {e["digest"]: e for e in index["manifests"]}
        if artifact_type:
            check("artifactType" in (answer.headers.get("OCI-Filters-Applied") or ""), "no OCI-Filters-Applied")
            check(all(e.get("artifactType") == artifact_type for e in found.values()), "others pass the filter")
        for entry in entries:
            if artifact_type in (None, entry["artifactType"]):
                have = found.get(entry["digest"], {})
                check(all(have.get(k, "") == entry[k] for k in ("mediaType", "digest", "size", "artifactType")), f"{entry} but {have}")
                check(entry["annotations"].items() <= have.get("annotations", {}).items(), "annotations are missing")

    def delete(self):
        def gone(kind, name, reference):
            url = self.suite.path(kind, reference)
            self.case(f"delete/{name}", lambda: self.suite.expect(202, "DELETE", url))
            self.case(f"delete/{name} atomic", lambda: self.suite.expect(404, "HEAD", url))

        for tag in self.data.tags:
            gone("manifests", "tag", tag)
        for digest in reversed(self.data.order):
            gone("manifests", "manifest", digest)
        for digest in self.data.blobs:
            gone("blobs", "blob", digest)
