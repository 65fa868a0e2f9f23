"""Faults of R14-R24 for a FakeRegistry, one by one and in seeded mixtures.

Three kinds, by what a client that knows its trade makes of them:

  HARMLESS   unusual and allowed, or slow: the run succeeds
  TRANSIENT  passes when it is asked again: the run succeeds while no request meets more than a few
  HOSTILE    lies, endless or hopeless answers: the run may fail, cleanly

A fault is a function of the handler; it answers (or breaks the connection) in place of the honest registry and
returns True, or False where it does not apply. Those of PUSH act on requests with a body.
"""

import email.utils
import gzip
import random
import threading
import time

from fake_registry import digest_of

TRANSIENT_STATUS = (408, 429, 499, 500, 502, 503, 504, 522)
LONG_PAGE = b"<html>" + b"x" * 3_000_000


def content(handler):
    """(headers, whole body, offset asked for) of a manifest or blob; None for other requests."""
    registry, path = handler.server.registry, handler.parts.path
    if handler.command != "GET" or "/uploads/" in path:
        return None
    repository, kind, name = path[4:].rpartition("/")[0].rpartition("/")[::2] + (path.rpartition("/")[2],)
    if kind == "blobs" and name in registry.blobs:
        asked = handler.headers.get("Range", "")
        start = int(asked[6:].rstrip("-")) if asked.startswith("bytes=") and registry.ranges else 0
        body = registry.blobs[name]
        return {"Content-Type": "application/octet-stream"}, body, start if start < len(body) else 0
    found = registry.manifests.get((repository, name)) if kind == "manifests" else None
    return None if found is None else ({"Content-Type": found[0], "Docker-Content-Digest": digest_of(found[1])}, found[1], 0)


def head_of(headers, body, start, more=""):
    """Status line and headers for the bytes of `body` from `start` on; the blank line is not there yet."""
    lines = ["HTTP/1.1 206 Partial Content" if start else "HTTP/1.1 200 OK"]
    if start:
        lines.append(f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}")
    return ("\r\n".join(lines + [f"{k}: {v}" for k, v in headers.items()]) + "\r\n" + more).encode()


# -- for every request

def status(code, headers=None, body=b""):
    def fault(handler):
        handler.body()
        handler.answer(code, body, headers)
        return True
    fault.__name__ = f"status {code} {headers or ''} {len(body)} bytes"
    return fault


def status_unread(handler):
    """An early answer: the request's body is left in the connection, which ends."""
    handler.raw(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    return True


def reset_at_once(handler):
    handler.reset()
    return True


def end_at_once(handler):
    handler.close_connection = True
    return True


def half_a_status_line(handler):
    handler.body()
    handler.raw(b"HTTP/1.1 20")
    return True


def half_the_headers(handler):
    handler.body()
    handler.raw(b"HTTP/1.1 200 OK\r\nContent-Type: te")
    return True


def raw_headers(name, lines):
    """Answers that two programs may read differently (R24)."""
    def fault(handler):
        handler.body()
        handler.raw(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\n{}")
        return True
    fault.__name__ = name
    return fault


AMBIGUOUS = [
    raw_headers("length and chunks", b"Content-Length: 3\r\nTransfer-Encoding: chunked"),
    raw_headers("two lengths", b"Content-Length: 2\r\nContent-Length: 9"),
    raw_headers("negative length", b"Content-Length: -2"),
    raw_headers("length in words", b"Content-Length: two"),
    raw_headers("huge length", b"Content-Length: 99999999999999999999999"),
    raw_headers("folded header", b"X-A: b\r\n Content-Length: 2"),
    raw_headers("space before the colon", b"Content-Length : 2"),
    raw_headers("header without colon", b"Content-Length 2"),
    raw_headers("NUL in a header", b"X-A: a\0b\r\nContent-Length: 2"),
    raw_headers("giant chunk", b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nxx"),
    raw_headers("negative chunk", b"Transfer-Encoding: chunked\r\n\r\n-2\r\nxx"),
    raw_headers("unknown coding", b"Transfer-Encoding: rot13"),
]


def header_flood(handler):
    handler.body()
    handler.raw(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 1000) for i in range(2000)) + b"\r\n")
    return True


def interim_flood(handler):
    handler.body()
    handler.raw(b"HTTP/1.1 102 Processing\r\nX-A: %s\r\n\r\n" % (b"z" * 100) * 5000)
    return True


def redirect(location, code=307):
    def fault(handler):
        handler.body()
        handler.answer(code, b"", {"Location": location if location else handler.path})
        return True
    fault.__name__ = f"redirect {code} to {location or 'itself'}"
    return fault


# -- for the content of manifests and blobs

def of_content(function):
    def fault(handler):
        found = content(handler)
        if found is None or not found[1]:
            return False
        function(handler, *found)
        return True
    fault.__name__ = function.__name__
    fault.__doc__ = function.__doc__
    return fault


def cut(at, how):
    """Right headers; the body ends after `at` (0 to 1; negative: so many bytes before the end)."""
    @of_content
    def fault(handler, headers, body, start):
        rest = body[start:]
        end = int(len(rest) * at) if at >= 0 else max(0, len(rest) + at)
        handler.raw(head_of(headers, body, start, f"Content-Length: {len(rest)}\r\n\r\n") + rest[:end])
        if how == "reset":
            handler.reset()
    fault.__name__ = f"cut at {at} by {how}"
    return fault


def chunked_cut(closing):
    @of_content
    def fault(handler, headers, body, start):
        rest = body[start:]
        half = max(1, len(rest) // 2)
        handler.raw(head_of(headers, body, start, "Transfer-Encoding: chunked\r\n\r\n") + b"%x\r\n" % half + rest[:half] + b"\r\n" +
                    closing + (rest[half:half + 2] if closing == b"5\r\n" else b""))
    fault.__name__ = f"chunked, cut, then {closing!r}"
    return fault


@of_content
def whole_in_odd_chunks(handler, headers, body, start):
    rest, out, at, size = body[start:], b"", 0, 1
    while at < len(rest):
        out += b"%x;ext=\"a;b\"\r\n" % len(rest[at:at + size]) + rest[at:at + size] + b"\r\n"
        at, size = at + size, size * 3
    handler.raw(head_of(headers, body, start, "Transfer-Encoding: chunked\r\n\r\n") + out + b"0\r\nX-Trailer: 1\r\n\r\n")


@of_content
def whole_until_the_end(handler, headers, body, start):
    handler.raw(head_of(headers, body, start, "Connection: close\r\n\r\n") + body[start:])


@of_content
def whole_after_interim_answers(handler, headers, body, start):
    handler.raw(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" +
                head_of(headers, body, start, f"Content-Length: {len(body) - start}\r\n\r\n") + body[start:])


@of_content
def whole_in_drops(handler, headers, body, start):
    handler.raw(head_of(headers, body, start, f"Content-Length: {len(body) - start}\r\n\r\n"), close=False)
    rest = body[start:]
    for i in range(4):
        time.sleep(0.05)
        handler.raw(rest[i * len(rest) // 4:(i + 1) * len(rest) // 4])


@of_content
def whole_without_headers(handler, headers, body, _):
    """No digest, no type, no ranges."""
    if body[:1] == b"{" and b"mediaType" not in body:
        return handler.answer(200, body, headers)
    return handler.answer(200, body, {"Content-Type": ""})


@of_content
def redirected_here(handler, *_):
    """As a registry that keeps its blobs elsewhere: the same under another path, with a redirect."""
    if "hop" in handler.query:
        return handler.serve()
    return handler.answer(307, b"moved", {"Location": handler.path + ("&" if handler.query else "?") + "hop=1"})


@of_content
def range_refused(handler, headers, body, start):
    if start:
        return handler.answer(416)
    return handler.answer(200, body, headers)


def lying_range(name, make):
    @of_content
    def fault(handler, headers, body, start):
        if not start:
            return handler.answer(200, body, headers)
        content_range, data = make(body, start)
        return handler.answer(206, data, {**headers, **({"Content-Range": content_range} if content_range else {})})
    fault.__name__ = name
    return fault


RANGES = [
    lying_range("range of another start", lambda b, s: (f"bytes {s - 1}-{len(b) - 1}/{len(b)}", b[s - 1:])),
    lying_range("range of another size", lambda b, s: (f"bytes {s}-{len(b)}/{len(b) + 1}", b[s:] + b"x")),
    lying_range("range without header", lambda b, s: (None, b[s:])),
    lying_range("garbage for a range", lambda b, s: ("bytes x-y/z", b[s:])),
    lying_range("overlapping range", lambda b, s: (f"bytes 0-{len(b) - 1}/{len(b)}", b)),
    lying_range("range of other bytes", lambda b, s: (f"bytes {s}-{len(b) - 1}/{len(b)}", bytes(x ^ 1 for x in b[s:]))),
    range_refused,
]


@of_content
def flipped_bit(handler, headers, body, _):
    middle = len(body) // 2
    handler.answer(200, body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1:], headers)


@of_content
def other_content(handler, headers, body, _):
    handler.answer(200, b"{}" if body[:1] == b"{" else gzip.compress(b"other"), headers)


@of_content
def longer(handler, headers, body, _):
    handler.answer(200, body + b" ", headers)


@of_content
def encoded(handler, headers, body, _):
    handler.answer(200, gzip.compress(body), {**headers, "Content-Encoding": "gzip"})


@of_content
def endless(handler, headers, body, start):
    handler.raw(head_of(headers, body, start, "Transfer-Encoding: chunked\r\n\r\n"), close=False)
    for _ in range(200):  # ends for the sake of the test's memory; nobody has read so far
        handler.raw(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@of_content
def wrong_length(handler, headers, body, _):
    handler.raw(head_of(headers, body, 0, f"Content-Length: {len(body) * 2 + 5}\r\n\r\n") + body)


@of_content
def endless_redirect_body(handler, *_):
    handler.raw(b"HTTP/1.1 302 Found\r\nLocation: /v2/\r\nConnection: close\r\n\r\n" + b"x" * 8_000_000)


def other_digest_header(handler):
    found = content(handler)
    if found is None or "/manifests/" not in handler.path:
        return False
    handler.answer(200, found[1], {**found[0], "Docker-Content-Digest": digest_of(b"another")})
    return True


# -- for uploads

def uploading(function):
    def fault(handler):
        if handler.command not in ("POST", "PATCH", "PUT"):
            return False
        return function(handler) is not False
    fault.__name__ = function.__name__
    return fault


def session_of(handler):
    found = handler.parts.path.partition("/blobs/uploads/")[2]
    return found if found in handler.server.registry.uploads else None


@uploading
def half_then_reset(handler):
    """Half of the body arrives and is kept, as in an upload that can be continued."""
    length, session = int(handler.headers.get("Content-Length") or 0), session_of(handler)
    data = handler.rfile.read(length // 2)
    if handler.command == "PATCH" and session:
        handler.server.registry.uploads[session] += data
    handler.reset()


@uploading
def done_but_not_answered(handler):
    handler.serve_silently()
    handler.reset()


@uploading
def session_forgotten(handler):
    session = session_of(handler)
    if session is None:
        return False
    handler.body()
    del handler.server.registry.uploads[session]
    handler.error(404, "BLOB_UPLOAD_UNKNOWN")
    return True


@uploading
def out_of_order(handler):
    session = session_of(handler)
    if session is None or handler.command != "PATCH":
        return False
    handler.body()
    have = len(handler.server.registry.uploads[session])
    handler.answer(416, b"", {"Location": handler.path, "Range": f"0-{max(0, have - 1)}"})
    return True


def no_mounts(handler):
    if handler.command != "POST" or "mount" not in handler.query:
        return False
    handler.answer(405)
    return True


def head_refused(handler):
    if handler.command != "HEAD" or "/blobs/" in handler.path:
        return False
    handler.answer(405)
    return True


@uploading
def no_location(handler):
    handler.body()
    handler.answer(202 if "/uploads/" in handler.path else 201)


def location(target):
    def fault(handler):
        if handler.command != "POST":
            return False
        handler.body()
        handler.answer(202, b"", {"Location": target})
        return True
    fault.__name__ = f"Location {target[:40]}"
    return fault


@uploading
def accepted_and_lost(handler):
    if handler.command != "PUT":
        return False
    handler.body()
    handler.answer(201, b"", {"Location": "/v2/x"})
    return True


@uploading
def refused(handler):
    handler.body()
    handler.error(400, "MANIFEST_INVALID" if "/manifests/" in handler.path else "BLOB_UPLOAD_INVALID")


@uploading
def too_large(handler):
    handler.body()
    handler.error(413, "SIZE_INVALID")


def lying_offset(handler):
    """More or less of an upload is said to be there than is."""
    session = session_of(handler)
    if handler.command != "GET" or session is None:
        return False
    handler.answer(204, b"", {"Location": handler.path, "Range": random.choice(["0-5", "0-99999999999", "0-x", "5-2", ""])})
    return True


STATUSES = [status(code) for code in TRANSIENT_STATUS] + [
    status(429, {"Retry-After": "0"}), status(503, {"Retry-After": "1"}), status(503, {"Retry-After": "-5"}),
    status(429, {"Retry-After": email.utils.formatdate(time.time() - 100, usegmt=True)}),
    status(503, {"Retry-After": "soon"}), status(500, None, LONG_PAGE), status(502, {"Content-Type": "text/html"}, b"<html>")]
BROKEN = [reset_at_once, end_at_once, half_a_status_line, half_the_headers]
CUTS = [cut(at, how) for at in (0, 0.5, -1) for how in ("end", "reset")] + [
    chunked_cut(closing) for closing in (b"", b"0\r\n\r\n", b"5\r\n")]

HARMLESS_PULL = [whole_in_odd_chunks, whole_until_the_end, whole_after_interim_answers, whole_in_drops, whole_without_headers,
                 redirected_here, head_refused]
TRANSIENT_PULL = STATUSES + BROKEN + CUTS + RANGES
HOSTILE_PULL = AMBIGUOUS + [flipped_bit, other_content, longer, encoded, endless, wrong_length, header_flood, interim_flood,
                            endless_redirect_body, other_digest_header, redirect(None), redirect("file:///etc/passwd", 302),
                            redirect("http://127.0.0.1:1/", 301), redirect("gopher://127.0.0.1/x", 308),
                            redirect("//", 302), status(404), status(403), status(200), status(204), status(301)]

HARMLESS_PUSH = [no_mounts, head_refused]
TRANSIENT_PUSH = STATUSES + BROKEN + [status_unread, half_then_reset, done_but_not_answered, session_forgotten, out_of_order]
HOSTILE_PUSH = AMBIGUOUS + [no_location, location("file:///etc/passwd"), location("http://127.0.0.1:1/x"), location("x" * 20000),
                            location("?"), location("//"), accepted_and_lost, refused, too_large, lying_offset, header_flood,
                            interim_flood, redirect(None), redirect("http://127.0.0.1:1/", 307), status(404), status(403),
                            status(200), status(204), status(301)]


class Mixture:
    """A hook that lets faults happen at random, the same ones for the same seed and order of requests.

    faults: what to draw from. chance: of each request. at_most: faults of one method and path in a row, so that
    transient ones pass within the tries of a client.
    """

    def __init__(self, seed, faults, chance=0.4, at_most=2, spare=()):
        self.random, self.faults, self.chance, self.at_most, self.spare = random.Random(seed), faults, chance, at_most, spare
        self.row, self.lock, self.log = {}, threading.Lock(), []

    def __call__(self, handler):
        key = (handler.command, handler.parts.path if "/uploads/" not in handler.parts.path else "uploads")
        if handler.parts.path in self.spare:
            return False
        with self.lock:
            struck = self.row.get(key, 0) < self.at_most and self.random.random() < self.chance
            fault = self.random.choice(self.faults)
        if not struck:
            self.row[key] = 0
            return False
        self.row[key] = self.row.get(key, 0) + 1
        self.log.append(f"{handler.command} {handler.path[:80]}: {fault.__name__}")
        return fault(handler)
