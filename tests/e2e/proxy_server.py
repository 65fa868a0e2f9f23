"""A proxy on 127.0.0.1 that knows a few names: CONNECT, and GET with absolute URLs. What a test calls registry.test is so
reached without any resolver, and with certificates that are checked as those of any other host."""

import base64
import http.server
import select
import socket
import threading
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        proxy = self.server.proxy
        proxy.requests.append((self.command, self.path, dict(self.headers)))
        if proxy.user:
            wanted = "Basic " + base64.b64encode(proxy.user.encode()).decode()
            if self.headers.get("Proxy-Authorization") != wanted:
                return self.refuse(407, 'Proxy-Authenticate: Basic realm="p"\r\n')
        if self.command == "CONNECT":
            target = proxy.routes.get(self.path)
            if target is None:
                return self.refuse(proxy.unknown)
            return self.tunnel(target)
        url = urllib.parse.urlsplit(self.path)
        target = proxy.routes.get(url.netloc if ":" in url.netloc else url.netloc + ":80")
        if target is None:
            return self.refuse(proxy.unknown)
        return self.forward(target, url)

    do_CONNECT = do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def refuse(self, status, more=""):
        self.close_connection = True
        self.wfile.write(f"HTTP/1.1 {status} No\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())

    def tunnel(self, target):
        self.close_connection = True
        host, port = target.split(":")
        with socket.create_connection((host, int(port)), 20) as far:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            self.shovel(self.connection, far)

    def forward(self, target, url):
        self.close_connection = True
        host, port = target.split(":")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = url.path + ("?" + url.query if url.query else "")
        head = f"{self.command} {path} HTTP/1.1\r\nConnection: close\r\n"
        for name, value in self.headers.items():
            if not name.lower().startswith(("proxy-", "connection")):
                head += f"{name}: {value}\r\n"
        with socket.create_connection((host, int(port)), 20) as far:
            far.sendall(head.encode() + b"\r\n" + body)
            while data := far.recv(65536):
                self.wfile.write(data)

    @staticmethod
    def shovel(a, b):
        while True:
            for ready in select.select([a, b], [], [], 60)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                (b if ready is a else a).sendall(data)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Connections that end are part of the tests."""


class Proxy:
    def __init__(self, routes, user=""):
        """routes: "name:port" as clients ask for it → "127.0.0.1:port". user: "name:password" that is wanted."""
        self.routes, self.user, self.requests, self.unknown = routes, user, [], 502
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.proxy = self
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
