#!/usr/bin/env python3
"""examples/kubernetes: valid YAML whose parts fit together, flags that kasane knows, a registry configuration that runs."""

import os
import re
import subprocess
import sys
import unittest

import registries
import support
from support import run

try:
    import yaml
except ImportError:
    yaml = None

FOLDER = os.path.join(support.SOURCE, "examples", "kubernetes")
MADE_BY_THE_USER = {"registry-tls", "build-secrets"}  # README.md says how


@unittest.skipIf(yaml is None, "not installed: python3-yaml")
class KubernetesTest(support.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.objects = []
        for name in sorted(os.listdir(FOLDER)):
            if name.endswith(".yaml"):
                with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
                    cls.objects += list(yaml.safe_load_all(f))

    def of(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def test_objects(self):
        """Every document is an object of a known kind, in the namespace that the files make."""
        versions = {"Namespace": "v1", "ConfigMap": "v1", "Secret": "v1", "Service": "v1", "Deployment": "apps/v1", "Job": "batch/v1"}
        self.assertEqual(set(versions), {o["kind"] for o in self.objects})
        space = self.of("Namespace")[0]["metadata"]["name"]
        for o in self.objects:
            self.assertEqual(versions[o["kind"]], o["apiVersion"])
            self.assertRegex(o["metadata"].get("name") or o["metadata"]["generateName"] + "x", "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
            if o["kind"] != "Namespace":
                self.assertEqual(space, o["metadata"]["namespace"])

    def test_references(self):
        """Secrets, keys, volumes, labels and ports that are named exist."""
        secrets = {o["metadata"]["name"]: set(o["stringData"]) for o in self.of("Secret")}
        maps = {o["metadata"]["name"] for o in self.of("ConfigMap")}
        for o in self.of("Deployment") + self.of("Job"):
            pod = o["spec"]["template"]["spec"]
            volumes = {v["name"] for v in pod["volumes"]}
            for volume in pod["volumes"]:
                if "configMap" in volume:
                    self.assertIn(volume["configMap"]["name"], maps)
                if "secret" in volume and (name := volume["secret"]["secretName"]) not in MADE_BY_THE_USER:
                    for item in volume["secret"].get("items", []):
                        self.assertIn(item["key"], secrets[name])
                    self.assertIn(name, secrets)
            for container in pod["containers"]:
                self.assertEqual(volumes, {m["name"] for m in container["volumeMounts"]})
                for variable in container["env"]:
                    if source := variable.get("valueFrom"):
                        self.assertIn(source["secretKeyRef"]["key"], secrets[source["secretKeyRef"]["name"]])
        deployment, service = self.of("Deployment")[0], self.of("Service")[0]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        self.assertEqual(labels, deployment["spec"]["selector"]["matchLabels"])
        self.assertEqual(labels, service["spec"]["selector"])
        ports = {p["name"] for p in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
        self.assertLessEqual({p["targetPort"] for p in service["spec"]["ports"]}, ports)

    def test_the_builder_is_rootless(self):
        """The Job runs as a plain user, and its arguments are ones that kasane takes."""
        pod = self.of("Job")[0]["spec"]["template"]["spec"]
        self.assertNotEqual(0, pod["securityContext"]["runAsUser"])
        self.assertNotIn("privileged", pod["containers"][0]["securityContext"])
        command, *args = pod["containers"][0]["args"]
        known = run([support.KASANE, command, "--help"], env=support.clean_environment()).out
        for arg in args[:-1]:
            self.assertRegex(known, re.escape(arg.split("=")[0]) + r"\b")
        # The flags are read before the context is: what is wrong is the address alone.
        secret = self.path("npm-token")
        with open(secret, "w", encoding="ascii") as f:
            f.write("token-of-a-test\n")
        words = [a.replace("/secrets/npm-token", secret) for a in args[:-1]]
        done = support.Kasane(self.path("store"), HOME=self.work)(command, *words, self.path("nowhere"), check=False)
        self.assertIn("unable to prepare context", done.err)

    def test_dockerfile(self):
        """The builder's image passes the checks."""
        run([support.KASANE, "build", "--check", FOLDER], env=support.clean_environment())

    @registries.needs_docker_registry
    def test_registry_configuration(self):
        """docker-registry takes the configuration: it gets as far as the storage driver, whose keys are not there."""
        with open(self.path("config.yml"), "w", encoding="utf-8") as f:
            f.write(self.of("ConfigMap")[0]["data"]["config.yml"])
        done = subprocess.run(["docker-registry", "serve", self.path("config.yml")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=120, check=False, env=support.clean_environment(REGISTRY_HTTP_ADDR="127.0.0.1:0",
                                                                                      REGISTRY_STORAGE_S3_REGION="no-such-region"))
        self.assertNotEqual(0, done.returncode)
        self.assertIn("no-such-region", done.stdout.decode())


if __name__ == "__main__":
    sys.exit(support.main())
