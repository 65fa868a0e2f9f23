#!/usr/bin/env python3
"""Several platforms in one build: indexes that other tools read, platform arguments, bases, shared work."""

import json
import os
import platform

import support
from contexts import write_busybox_tar, write_tree
from layouts import Layout
from support import Kasane, needs, run

HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
FOREIGN = "arm64" if HOST == "amd64" else "amd64"
BOTH = f"linux/{HOST},linux/{FOREIGN}"
COPIES = "FROM scratch\nARG TARGETARCH\nCOPY bin-$TARGETARCH /bin/tool\nCOPY f /f\nCMD [\"/bin/tool\"]\n"


@support.needs_root
@support.needs_busybox
class Platforms(support.TestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.k = Kasane(os.path.join(cls.work, "store"))
        cls.k.import_busybox(write_busybox_tar(os.path.join(cls.work, "base.tar")))

    def context(self, dockerfile):
        return write_tree(self.new_folder("ctx"), {"Dockerfile": dockerfile, "f": "f\n", "bin-amd64": "for amd64\n",
                                                   "bin-arm64": "for arm64\n"})

    def build(self, dockerfile, *args, **kwargs):
        return self.k.build(self.context(dockerfile), *args, **kwargs)

    def output(self, dockerfile, *args):
        path = os.path.join(self.new_folder("o"), "o.tar")
        self.build(dockerfile, *args, "-o", f"type=oci,dest={path}")
        return path

    def refused(self, words, dockerfile, *args):
        outcome = self.build(dockerfile, *args, check=False)
        self.assertNotEqual(0, outcome.code)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, outcome.err)

    def test_index(self):
        """MP1, O03, L07: one manifest for each platform, in the order that was asked for."""
        layout = Layout(self.output(COPIES, "--platform", f"linux/arm64,linux/amd64,linux/arm/v7,linux/{FOREIGN}",
                                    "--build-arg", "TARGETARCH=amd64"))
        self.assertEqual(["linux/arm64", "linux/amd64", "linux/arm/v7"], list(layout.platforms()))
        layout = Layout(self.output(COPIES, "--platform", "linux/arm64", "--platform", "linux/amd64"))
        self.assertEqual("application/vnd.oci.image.index.v1+json", layout.top["mediaType"])
        for name, descriptor in layout.platforms().items():
            image = layout.image(descriptor)
            arch = name.split("/")[1]
            self.assertEqual(("linux", arch), (image.config["os"], image.config["architecture"]))
            self.assertEqual(f"for {arch}\n", image.tree.text("/bin/tool"))

    @needs("skopeo", "buildah")
    def test_other_tools_agree(self):
        """MP1: skopeo and buildah see the same index."""
        path = self.output(COPIES, "--platform", BOTH, "-t", "app:1")
        raw = json.loads(run(["skopeo", "inspect", "--raw", f"oci-archive:{path}"]).out)
        self.assertEqual([HOST, FOREIGN], [m["platform"]["architecture"] for m in raw["manifests"]])
        for arch in (HOST, FOREIGN):
            config = json.loads(run(["skopeo", "--override-arch", arch, "inspect", "--config", f"oci-archive:{path}"]).out)
            self.assertEqual(arch, config["architecture"])
        folder = self.new_folder("buildah")
        args = ["--root", folder + "/root", "--runroot", folder + "/run", "--storage-driver", "vfs"]
        run(["buildah", *args, "manifest", "create", "all"])
        run(["buildah", *args, "manifest", "add", "--all", "all", f"oci-archive:{path}"])
        seen = json.loads(run(["buildah", *args, "manifest", "inspect", "all"]).out)
        self.assertEqual([(m["digest"], m["platform"]["architecture"]) for m in raw["manifests"]],
                         [(m["digest"], m["platform"]["architecture"]) for m in seen["manifests"]])

    def test_one_platform(self):
        """MP4, L07: a plain manifest for one platform; an index on request; `local` is this machine."""
        layout = Layout(self.output(COPIES, "--platform", f"linux/{FOREIGN}"))
        self.assertIn("layers", layout.manifest())
        self.assertEqual(FOREIGN, layout.image().config["architecture"])
        layout = Layout(self.output(COPIES, "--platform", "local", "--build-arg", "BUILDKIT_MULTI_PLATFORM=1"))
        self.assertEqual([f"linux/{HOST}"], list(layout.platforms()))

    def test_spellings(self):
        """MP2: the other names of platforms are the same platforms; what is no platform is refused."""
        layout = Layout(self.output(COPIES, "--platform", "linux/x86_64,linux/aarch64,linux/arm64/v8,amd64"))
        self.assertEqual(["linux/amd64", "linux/arm64"], list(layout.platforms()))
        layout = Layout(self.output("FROM scratch\nCOPY f /\n", "--platform", "linux/arm,linux/armhf,linux/amd64"))
        self.assertEqual(["linux/arm/v7", "linux/amd64"], list(layout.platforms()))
        self.refused("linux/", "FROM scratch\nCOPY f /\n", "--platform", "linux/")

    def test_store_keeps_all(self):
        """F10, MP1: a tag of several platforms; FROM --platform takes the one that it names."""
        self.build(COPIES, "--platform", BOTH, "-t", "multi")
        for args, want in (((), HOST), (("--platform", f"linux/{FOREIGN}"), FOREIGN)):
            layout = Layout(self.output("FROM multi\nCOPY f /more\n", *args))
            self.assertEqual(f"for {want}\n", layout.image().tree.text("/bin/tool"))
            self.assertEqual(want, layout.image().config["architecture"])
        layout = Layout(self.output(f"FROM --platform=linux/{FOREIGN} multi\nCOPY f /more\n"))
        self.assertEqual(f"for {FOREIGN}\n", layout.image().tree.text("/bin/tool"))
        self.assertEqual(FOREIGN, layout.image().config["architecture"])
        layout = Layout(self.output("FROM multi\nCOPY f /more\n", "--platform", BOTH))
        for name, descriptor in layout.platforms().items():
            self.assertEqual(f"for {name[6:]}\n", layout.image(descriptor).tree.text("/bin/tool"))
        layout = Layout(self.output(f"FROM scratch\nCOPY --from=multi /bin/tool /t\n", "--platform", BOTH))
        for name, descriptor in layout.platforms().items():
            self.assertEqual(f"for {name[6:]}\n", layout.image(descriptor).tree.text("/t"))

    def test_base_of_another_platform(self):
        """F10: the platform that was asked for goes into the configuration, and the mismatch is said."""
        path = os.path.join(self.new_folder("o"), "o.tar")
        outcome = self.build("FROM busybox\nCOPY f /\n", "--platform", f"linux/{FOREIGN}", "-o", f"type=oci,dest={path}")
        self.assertEqual(FOREIGN, Layout(path).image().config["architecture"])
        self.assertIn("InvalidBaseImagePlatform", outcome.err)

    def test_foreign_run(self):
        """MP3: a RUN for another architecture is refused with the reason where no emulator is registered."""
        if os.path.exists(f"/proc/sys/fs/binfmt_misc/qemu-{ {'arm64': 'aarch64', 'amd64': 'x86_64'}[FOREIGN]}"):
            self.skipTest("an emulator is registered here")
        self.refused([f"linux/{FOREIGN}", "binfmt_misc", "qemu-user-static", ">>> RUN echo"],
                     "FROM busybox\nRUN echo foreign\n", "--platform", f"linux/{FOREIGN}")
        self.build("FROM busybox\nCOPY f /\n", "--platform", f"linux/{FOREIGN}")

    def test_arguments(self):
        """MP1, L07: TARGET* and BUILD* say which platform is built for, and on which."""
        names = [side + part for side in ("TARGET", "BUILD") for part in ("PLATFORM", "OS", "ARCH", "VARIANT")]
        text = "FROM --platform=$BUILDPLATFORM busybox AS b\n" + "".join(f"ARG {n}\n" for n in names)
        text += "RUN echo " + " ".join(f"{n}=${n}" for n in names) + " > /said\nFROM scratch\nCOPY --from=b /said /\n"
        layout = Layout(self.output(text, "--platform", f"linux/{HOST},linux/arm/v7"))
        host = f"BUILDPLATFORM=linux/{HOST} BUILDOS=linux BUILDARCH={HOST} BUILDVARIANT=\n"
        said = {n: layout.image(d).tree.text("/said") for n, d in layout.platforms().items()}
        self.assertEqual(f"TARGETPLATFORM=linux/arm/v7 TARGETOS=linux TARGETARCH=arm TARGETVARIANT=v7 {host}",
                         said["linux/arm/v7"])
        self.assertEqual(f"TARGETPLATFORM=linux/{HOST} TARGETOS=linux TARGETARCH={HOST} TARGETVARIANT= {host}",
                         said[f"linux/{HOST}"])

    def test_shared_stage_runs_once(self):
        """MP5: a stage of the build platform that no target argument reaches runs once for all targets."""
        text = ("FROM --platform=$BUILDPLATFORM busybox AS b\nRUN --mount=type=cache,target=/c echo x >> /c/{0} && sleep 0.3 && "
                "cat /c/{0} > /count\nFROM scratch\nARG TARGETARCH\nCOPY bin-$TARGETARCH /t\nCOPY --from=b /count /\n")
        for number, args in enumerate(((), ("--no-cache",))):
            with self.subTest(args):
                layout = Layout(self.output(text.format(f"n{number}"), "--platform", BOTH, *args))
                self.assertEqual(["x\n", "x\n"],
                                 [layout.image(d).tree.text("/count") for d in layout.platforms().values()])

    def test_step_names(self):
        """MP6, E01: steps say their platform, and the target's where it differs."""
        text = (f"FROM --platform=$BUILDPLATFORM busybox AS tools\nRUN true\nFROM scratch\nCOPY --from=tools /etc/passwd /\n")
        err = self.build(text, "--platform", BOTH).err
        self.assertIn(f"[linux/{HOST} tools 2/2] RUN true", err)
        self.assertIn(f"[linux/{HOST}->{FOREIGN} tools 2/2] RUN true", err)
        self.assertIn(f"[linux/{FOREIGN} stage-1 1/1] COPY --from=tools /etc/passwd /", err.replace("2/2] COPY", "1/1] COPY"))

    def test_local_output_is_split(self):
        """O01: a directory for each platform; platform-split=false puts all into one."""
        out = self.path("split")
        self.build(COPIES, "--platform", BOTH, "-o", out)
        for arch in (HOST, FOREIGN):
            with open(f"{out}/linux_{arch}/bin/tool", encoding="ascii") as f:
                self.assertEqual(f"for {arch}\n", f.read())
        text = "FROM scratch\nARG TARGETARCH\nCOPY bin-$TARGETARCH /\n"
        self.build(text, "--platform", BOTH, "-o", f"type=local,platform-split=false,dest={self.path('flat')}")
        self.assertEqual(["bin-amd64", "bin-arm64"], sorted(os.listdir(self.path("flat"))))
        self.refused("cannot overwrite", COPIES, "--platform", BOTH, "-o",
                     f"type=local,platform-split=false,dest={self.path('never')}")
        self.build(COPIES, "-o", f"type=local,platform-split=true,dest={self.path('one')}")
        self.assertEqual([f"linux_{HOST}"], os.listdir(self.path("one")))


if __name__ == "__main__":
    support.main()
