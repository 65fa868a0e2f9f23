"""R23 and 2.5: certificates, client certificates, certs.d and proxies, for a registry whose name is not of this machine."""

import base64
import json
import os
import shutil
import ssl
import time
import warnings

import fake_registry
import registry_support
import support
from fake_registry import FakeRegistry, Image, digest_of
from proxy_server import Proxy

NAME = "registry.test"
CANARY = "c4n4ry-0f-the-pr0xy"


class NetworkTestCase(registry_support.RegistryTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certificates = cls.path(cls, "certificates")
        os.mkdir(cls.certificates)
        registry_support.make_certificates(cls.certificates)
        registry_support.sign(cls.certificates, "named", f"subjectAltName=DNS:{NAME}")
        registry_support.sign(cls.certificates, "other", "subjectAltName=DNS:other.test")
        registry_support.sign(cls.certificates, "expired", f"subjectAltName=DNS:{NAME}", "-1")

    def file(self, name):
        return os.path.join(self.certificates, name)

    def https(self, who="named", client_ca=None, context=None):
        """(registry, proxy): the registry is https://registry.test for whom asks through the proxy."""
        context = context or fake_registry.server_context(self.file(who + ".pem"), self.file(who + ".key"), client_ca)
        registry = self.serve(FakeRegistry(tls=context))
        self.image = Image([{"a": os.urandom(100_000)}])
        registry.add("app", "1", self.image)
        return registry, self.serve(Proxy({NAME + ":443": registry.host}))

    def trust(self, *pairs, folder="docker"):
        certs = os.path.join(self.home, f".config/{folder}/certs.d/{NAME}")
        os.makedirs(certs, exist_ok=True)
        for source, target in pairs or (("ca.pem", "ca.crt"),):
            shutil.copy(self.file(source), os.path.join(certs, target))

    def pull(self, check=True, **env):
        return self.k("pull", "-q", f"{NAME}/app:1", check=check, env=env, timeout=200)

    def assert_pulled(self):
        self.assertEqual(digest_of(self.image.config), self.k("inspect", "-f", "{{.Id}}", f"{NAME}/app:1").out.strip())

    def assert_refused(self, registry, proxy, *texts):
        started = time.monotonic()
        failed = self.pull(check=False, HTTPS_PROXY="http://" + proxy.host)
        self.assertEqual(1, failed.code)
        for text in texts:
            self.assertIn(text, failed.err)
        self.assertEqual([], registry.requests, "nothing is asked of a server that is not trusted")
        self.assertEqual("", self.k("images", "-q").out)
        return time.monotonic() - started


class CertificateTest(NetworkTestCase):
    def test_private_authority(self):
        registry, proxy = self.https()
        self.assert_refused(registry, proxy, "certificate")
        for folder in ("docker", "containers"):
            self.trust(folder=folder)
            self.k = self.kasane()
            self.pull(HTTPS_PROXY="http://" + proxy.host)
            self.assert_pulled()
            shutil.rmtree(os.path.join(self.home, ".config", folder))

    def test_certificates_that_are_not_good(self):
        for who, text in (("expired", "expired"), ("other", NAME)):
            with self.subTest(who):
                registry, proxy = self.https(who)
                self.trust()
                self.assert_refused(registry, proxy, "certificate", text)
                self.assertEqual(1, len(proxy.requests), "a certificate does not become good by asking again")

    def test_skip_verify_is_for_the_host_that_is_named(self):
        registry, proxy = self.https("expired")
        self.config(".config/containers/registries.conf", f'[[registry]]\nlocation = "{NAME}"\ninsecure = true\n')
        self.pull(HTTPS_PROXY="http://" + proxy.host)
        self.assert_pulled()
        self.assertTrue(all(path.endswith(":443") for _, path, _ in proxy.requests), "https that answers is kept to")
        self.config(".config/containers/registries.conf", '[[registry]]\nlocation = "other.test"\ninsecure = true\n')
        registry.requests.clear()
        self.k = self.kasane()
        self.assert_refused(registry, proxy, "certificate")

    def test_old_tls(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file("named.pem"), self.file("named.key"))
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        self.trust()
        self.config(".config/docker/daemon.json", '{"max-download-attempts": 1}')
        self.assert_refused(*self.https(context=context))

    def test_client_certificate(self):
        registry, proxy = self.https(client_ca=self.file("ca.pem"))
        self.config(".config/docker/daemon.json", '{"max-download-attempts": 1}')
        self.trust()
        self.assert_refused(registry, proxy)
        self.trust(("client.pem", "me.cert"), ("client.key", "me.key"))
        self.pull(HTTPS_PROXY="http://" + proxy.host)
        self.assert_pulled()


class ProxyTest(NetworkTestCase):
    def test_tunnel_sees_nothing(self):
        registry, proxy = self.https()
        registry.auth, registry.users = "basic", {"bot": CANARY}
        auth = base64.b64encode(f"bot:{CANARY}".encode()).decode()
        self.config(".docker/config.json", json.dumps({"auths": {NAME: {"auth": auth}}}))
        self.trust()
        for variable in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            with self.subTest(variable):
                self.k = self.kasane()
                self.pull(**{variable: "http://" + proxy.host})
                self.assert_pulled()
        self.assertTrue(registry.headers_seen("Authorization"))
        self.assertEqual({"CONNECT"}, {method for method, _, _ in proxy.requests})
        self.assertNotIn(auth, str(proxy.requests))

    def test_plain_http(self):
        registry = self.serve(FakeRegistry())
        self.image = Image([{"a": b"1"}])
        registry.add("app", "1", self.image)
        proxy = self.serve(Proxy({NAME + ":80": registry.host}))
        self.config(".config/docker/daemon.json", json.dumps({"insecure-registries": [NAME]}))
        self.pull(HTTP_PROXY="http://" + proxy.host, HTTPS_PROXY="http://" + proxy.host)
        self.assert_pulled()
        self.assertIn(f"http://{NAME}/v2/app/manifests/1", [path for _, path, _ in proxy.requests])
        self.k("tag", f"{NAME}/app:1", f"{NAME}/app:2")
        self.k("push", "-q", f"{NAME}/app:2", env={"HTTP_PROXY": "http://" + proxy.host, "HTTPS_PROXY": "http://" + proxy.host})
        self.assertIn(("app", "2"), registry.manifests)

    def test_user_and_password(self):
        registry, proxy = self.https()
        proxy.user = "me:" + CANARY
        self.trust()
        for url in ("http://" + proxy.host, f"http://me:wrong-{CANARY}@{proxy.host}"):
            failed = self.pull(check=False, HTTPS_PROXY=url)
            self.assertEqual(1, failed.code)
            self.assertIn("wants a user and password", failed.err)
            self.assertNotIn(CANARY, failed.out + failed.err)
        self.assertEqual(2, len(proxy.requests), "asked once each")
        self.pull(HTTPS_PROXY=f"http://me:{CANARY}@{proxy.host}")
        self.assert_pulled()
        self.assertEqual([], registry.headers_seen("Proxy-Authorization"))

    def test_refusals_and_nonsense_keep_the_password(self):
        _, proxy = self.https()
        proxy.routes, proxy.unknown = {}, 403
        self.config(".config/docker/daemon.json", '{"max-download-attempts": 1}')
        refused = self.pull(check=False, HTTPS_PROXY=f"http://me:{CANARY}@{proxy.host}")
        self.assertIn("refuses the connection (status 403)", refused.err)
        for url in (f"foo://me:{CANARY}@{proxy.host}", f"http://me:{CANARY}@127.0.0.1:1", f"http://me:{CANARY}@[bad",
                    f"http://me:{CANARY}@127.0.0.1:99999"):
            failed = self.pull(check=False, HTTPS_PROXY=url)
            self.assertEqual(1, failed.code)
            self.assertNotIn(CANARY, failed.out + failed.err + refused.err, url)

    def test_exempt_hosts(self):
        registry, proxy = self.https()
        self.config(".config/docker/daemon.json", '{"max-download-attempts": 1}')
        for exempt in (NAME, "*", ".test", NAME + ":443"):
            self.assertEqual(1, self.pull(check=False, HTTPS_PROXY="http://" + proxy.host, NO_PROXY=exempt).code)
        self.assertEqual([], proxy.requests)
        self.trust()
        self.pull(HTTPS_PROXY="http://" + proxy.host, NO_PROXY="other.test,registry.test:5000,10.0.0.0/8")
        self.assert_pulled()
        # This machine itself is never asked through a proxy.
        near = self.serve(FakeRegistry())
        near.add("app", "1", self.image)
        count = len(proxy.requests)
        self.k("pull", "-q", near.host + "/app:1", env={"HTTPS_PROXY": "http://" + proxy.host, "HTTP_PROXY": "http://" + proxy.host})
        self.assertEqual(count, len(proxy.requests))
        self.assertGreater(len(registry.requests), 0)


if __name__ == "__main__":
    support.main()
