"""What the tests of the registry client share: certificates, a kasane with a clean HOME, looking into a registry."""

import os
import urllib.error
import urllib.request

import support


def status_of(url):
    """The status of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


class RegistryTestCase(support.TestCase):
    def setUp(self):
        self.home = self.new_folder("home")
        self.k = self.kasane()
        self.closing = []

    def kasane(self, **env):
        """A new store; docker's and containers' configuration of nobody."""
        env.setdefault("HOME", self.home)
        return support.Kasane(os.path.join(self.new_folder("store"), "s"),
                              DOCKER_CONFIG=os.path.join(self.home, ".docker"), **env)

    def serve(self, registry):
        self.addCleanup(registry.close)
        return registry

    def config(self, below, text):
        path = os.path.join(self.home, below)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path


def openssl(folder, *args):
    support.run(["openssl", *args], cwd=folder)


def sign(folder, who, extensions, days="2"):
    """who.pem and who.key of the authority in the folder. A negative number of days: it is over."""
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", f"/CN={who}", "-keyout", f"{who}.key", "-out", f"{who}.csr")
    with open(os.path.join(folder, f"{who}.ext"), "w", encoding="ascii") as f:
        f.write(extensions)
    openssl(folder, "x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", days, "-extfile", f"{who}.ext", "-out", f"{who}.pem")


def make_certificates(folder, name="127.0.0.1"):
    """ca.pem, server.pem/.key for an address (127.0.0.1) and localhost, client.pem/.key."""
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=test ca", "-keyout", "ca.key", "-out", "ca.pem")
    sign(folder, "server", f"subjectAltName=IP:{name},DNS:localhost")
    sign(folder, "client", "extendedKeyUsage=clientAuth")


def fetch(url, accept="*/*"):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


def digest_at(host, repository, tag, accept):
    request = urllib.request.Request(f"http://{host}/v2/{repository}/manifests/{tag}", method="HEAD",
                                     headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers["Docker-Content-Digest"]
