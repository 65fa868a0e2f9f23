"""Registries to test against: kasane's own and Debian's docker-registry, each on a free port with a folder of its own."""

import os
import select
import socket
import subprocess

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


class DockerRegistry:
    """docker-registry over a folder, with deletion. `extra` goes into the http section, `auth` behind it."""

    def __init__(self, folder, extra="", auth="", address="127.0.0.1"):
        self.host = f"{address}:{free_port()}"
        os.makedirs(folder, exist_ok=True)
        config = os.path.join(folder, "config.yml")
        with open(config, "w", encoding="ascii") as f:
            f.write(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
                    f"http: {{addr: '{self.host}'{extra}}}\nlog: {{level: error}}\n{auth}")
        with open(os.path.join(folder, "log"), "wb") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", config], stdout=log, stderr=log)
        assert support.wait_until(self.answers, 20), "docker-registry does not start"

    def answers(self):
        try:
            socket.create_connection(self.host.split(":"), 1).close()
            return True
        except OSError:
            return False

    def close(self):
        self.process.terminate()
        self.process.wait(20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"http://{self.host}"
