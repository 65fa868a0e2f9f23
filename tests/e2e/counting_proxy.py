"""A TCP proxy that counts, and that kills a process when a given number of bytes has passed."""

import os
import socket
import threading


class CountingProxy:
    """Passes everything on unchanged. up, down: bytes to and from the server since the start."""

    def __init__(self, target):
        host, port = target.split(":")
        self.target = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.lock = threading.Lock()
        self.up = self.down = self.open = 0
        self.victim = self.direction = self.limit = None
        threading.Thread(target=self.accept, daemon=True).start()

    def kill_at(self, process, direction, limit):
        with self.lock:
            self.victim, self.direction, self.limit = process, direction, limit

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            # Small: what is under way and neither here nor there is nobody's.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
            server = socket.create_connection(self.target)
            with self.lock:
                self.open += 1
            threading.Thread(target=self.serve, args=(client, server), daemon=True).start()

    def serve(self, client, server):
        with client, server:
            answers = threading.Thread(target=self.pass_on, args=(server, client, "down"), daemon=True)
            answers.start()
            self.pass_on(client, server, "up")
            answers.join()
        with self.lock:
            self.open -= 1

    def pass_on(self, source, target, direction):
        try:
            while True:
                data = source.recv(32 << 10)
                if not data:
                    break
                target.sendall(data)
                self.count(direction, len(data))
        except OSError:
            pass
        try:
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def count(self, direction, size):
        with self.lock:
            setattr(self, direction, getattr(self, direction) + size)
            if self.victim and direction == self.direction and getattr(self, direction) >= self.limit:
                os.kill(self.victim.pid, 9)  # not yet waited for: its own pid
                self.victim = None

    def idle(self):
        with self.lock:
            return self.open == 0

    def close(self):
        self.listener.close()
