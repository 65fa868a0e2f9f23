"""An HTTP server for the tests of sources and contexts: bodies from a dictionary or a folder, requests on record."""

import email.utils
import http.server
import os
import threading


class WebServer:
    """files: {path: bytes}, changed at will; folder: what else is served. `requests`: (method, path, headers, status)."""

    def __init__(self, folder=None):
        self.files, self.headers, self.statuses, self.requests, self.folder = {}, {}, {}, [], folder
        self.wants = None  # Authorization without which everything is 401
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self):
                path, headers = self.path.partition("?")[0], web.headers.get(self.path.partition("?")[0], {})
                body = web.body(path)
                status = web.statuses.get(path, 200 if body is not None else 404)
                if web.wants and self.headers.get("Authorization") != web.wants:
                    status = 401
                elif status == 401 and "X-Wants" in headers and self.headers.get("Authorization") == headers.get("X-Wants"):
                    status = 200
                if status == 200 and headers.get("ETag") and headers["ETag"] in (self.headers.get("If-None-Match") or ""):
                    status, body = 304, b""
                web.requests.append((self.command, self.path, dict(self.headers), status))
                self.send_response(status)
                body = body if status == 200 else b""
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.host = self.url[7:]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def body(self, path):
        if path in self.files:
            data = self.files[path]
            return data.encode() if isinstance(data, str) else data
        if self.folder:
            where = os.path.normpath(self.folder + "/" + path)
            if where.startswith(self.folder + "/") and os.path.isfile(where):
                with open(where, "rb") as f:
                    return f.read()
        return None

    def dated(self, path, seconds):
        self.headers.setdefault(path, {})["Last-Modified"] = email.utils.formatdate(seconds, usegmt=True)

    def bodies_sent(self, path):
        return sum(1 for method, p, _, status in self.requests if method == "GET" and p == path and status == 200)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
