"""Registries to test against: kasane's own and Debian's docker-registry, each on a free port with a folder of its own."""

import os
import select
import shutil
import socket
import subprocess
import time
import urllib.request

import support


class Server:
    """A process with a URL; stop() ends it (sign=0: waits for its end) and returns its exit code."""

    def __init__(self, process, url):
        self.process, self.url = process, url
        self.host = url.split("://", 1)[1]

    def stop(self, sign=15, timeout=20):
        if self.process.poll() is None:
            self.process.send_signal(sign)
        code = self.process.wait(timeout)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def serve(root, *flags, stderr=None):
    """kasane registry serve on a free port; returns when it listens."""
    process = subprocess.Popen([support.KASANE, "registry", "serve", "--addr", "127.0.0.1:0", "--root", root, *flags],
                               stdout=subprocess.PIPE, stderr=stderr, env=support.clean_environment())
    ready, _, _ = select.select([process.stdout], [], [], 30)
    line = process.stdout.readline().decode() if ready else ""
    if not line.startswith("listening on "):
        process.kill()
        raise AssertionError(f"kasane registry serve did not start: {line!r} {process.wait()}")
    return Server(process, line.split()[-1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


needs_docker_registry = support.needs("docker-registry")


def docker_registry(work):
    """Debian's docker-registry with deletion enabled."""
    port, config = free_port(), os.path.join(work, "docker-registry.yml")
    with open(config, "w", encoding="ascii") as f:
        f.write(f"version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  delete:\n    enabled: true\n"
                f"  filesystem:\n    rootdirectory: {work}/docker-registry\nhttp:\n  addr: 127.0.0.1:{port}\n")
    process = subprocess.Popen([shutil.which("docker-registry"), "serve", config], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url + "/v2/", timeout=5).close()
            return Server(process, url)
        except OSError:
            if time.monotonic() > end or process.poll() is not None:
                process.kill()
                raise
            time.sleep(0.1)
