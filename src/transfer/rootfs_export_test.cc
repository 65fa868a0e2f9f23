// type=local and type=tar.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include "transfer/export_testing.h"

namespace kasane::transfer {
namespace {

using namespace testing;  // NOLINT
using store::testing::DumpOptions;
using store::testing::dump_tree;

class RootfsExport : public ::testing::Test {
 protected:
  RootfsExport() : work_(temp_dir()), store_(open_store(work_.path() + "/store")) {}
  std::string at(const std::string& name) const { return work_.path() + "/" + name; }
  void export_ok(const std::vector<BuiltPlatform>& built, const std::string& output,
                 std::optional<int64_t> epoch = std::nullopt) {
    ASSERT_OK(export_to(*store_, built, output, &warnings_, epoch));
  }
  std::string fails(const std::vector<BuiltPlatform>& built, const std::string& output) {
    Result<ExportResult> result = export_to(*store_, built, output, &warnings_);
    return result ? "no error" : result.error().full_message();
  }
  // Two layers with everything that matters.
  BuiltPlatform usual() {
    LayerPtr base = layer_of(
        *store_, {folder("bin"), text("bin/sh", "#!shell", 04755), folder("etc"),
                  text("etc/a", "aaa", 0600), text("etc/b", "bbb"), folder("empty", 01777),
                  text("hard1", "same"), link_to("hard2", "hard1"), link_to("hard3", "hard1"),
                  symlink("abs", "/etc/a"), symlink("up", "../../etc/passwd"), folder("ro", 0555),
                  text("ro/f", "x", 0444)});
    Item owned = text("owned", "o");
    owned.entry.uid = 1234;
    owned.entry.gid = 99;
    LayerPtr top = layer_of(*store_, {folder("etc", 0750), gone("etc/a"), gone("hard1"), owned,
                                      text("bin/tool", std::string(300'000, 't'), 0755),
                                      text("implicit/dir/f", "f")});
    return built_of({base, top}, "linux/amd64", 1);
  }

  TempDir work_;
  std::unique_ptr<Store> store_;
  Warnings warnings_;
};

TEST_F(RootfsExport, LocalHasWhatIsSeen) {
  export_ok({usual()}, "type=local,dest=" + at("out"));
  EXPECT_EQ(slurp(at("out/etc/b")), "bbb");
  EXPECT_EQ(shell("cd " + at("out") + " && find . -mindepth 1 | sort | tr '\\n' ' '"),
            "./abs ./bin ./bin/sh ./bin/tool ./empty ./etc ./etc/b ./hard2 ./hard3 ./implicit "
            "./implicit/dir ./implicit/dir/f ./owned ./ro ./ro/f ./up ");
  EXPECT_EQ(shell("cd " + at("out") + " && stat -c '%n %a %u:%g' bin/sh empty etc ro ro/f owned implicit"),
            "bin/sh 4755 " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) +
                "\nempty 1777 " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) +
                "\netc 750 " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) +
                "\nro 555 " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) +
                "\nro/f 444 " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) +
                "\nowned 644 " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) +
                "\nimplicit 755 " + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) + "\n");
  EXPECT_EQ(shell("cd " + at("out") + " && stat -c %Y etc/b ro bin"), "1600000000\n1600000000\n1600000000\n");
  EXPECT_EQ(shell("cd " + at("out") + " && readlink abs up"), "/etc/a\n../../etc/passwd\n");
  EXPECT_EQ(shell("cd " + at("out") + " && test hard2 -ef hard3 && cat hard2"), "same");
  EXPECT_TRUE(warnings_.texts.empty());
}

TEST_F(RootfsExport, LocalTwiceReplacesAndKeepsOthers) {
  BuiltPlatform built = usual();
  export_ok({built}, at("out"));
  spew(at("out/mine"), "m");
  shell("cd " + at("out") + " && rm -r etc/b && mkdir etc/b && touch etc/b/x && rm hard2 && ln -s / hard2");
  export_ok({built}, at("out"));
  EXPECT_EQ(slurp(at("out/etc/b")), "bbb");
  EXPECT_EQ(slurp(at("out/mine")), "m");
  EXPECT_EQ(shell("cd " + at("out") + " && test hard2 -ef hard3 && cat hard2"), "same");
  EXPECT_EQ(shell("find " + at("out") + " -name '.kasane*'"), "");
}

TEST_F(RootfsExport, LocalModeDelete) {
  BuiltPlatform built = usual();
  shell("mkdir -p " + at("out/etc/deep/er") + " " + at("target") + " && touch " + at("out/etc/deep/er/f") + " " +
        at("target/precious") + " && ln -s " + at("target") + " " + at("out/link"));
  export_ok({built}, "type=local,mode=delete,dest=" + at("out"));
  EXPECT_EQ(shell("ls -A " + at("out/etc")), "b\n");
  EXPECT_FALSE(store::testing::exists(at("out/link")));
  EXPECT_TRUE(store::testing::exists(at("target/precious")));
}

TEST_F(RootfsExport, LocalNeverFollowsSymlinks) {
  shell("mkdir -p " + at("victim") + " " + at("out") + " && echo keep >" + at("victim/f") + " && ln -s " +
        at("victim") + " " + at("out/d") + " && ln -s " + at("victim/f") + " " + at("out/g"));
  BuiltPlatform built = built_of({layer_of(*store_, {folder("d"), text("d/f", "new"), text("g", "new")})});
  export_ok({built}, at("out"));
  EXPECT_EQ(slurp(at("victim/f")), "keep\n");
  EXPECT_EQ(slurp(at("out/d/f")), "new");
  EXPECT_EQ(slurp(at("out/g")), "new");
  // A symlink of one layer below which another layer has files: the directory wins.
  BuiltPlatform tricky = built_of({layer_of(*store_, {symlink("e", at("victim"))}),
                                   layer_of(*store_, {text("e/f", "bad")})});
  export_ok({tricky}, at("out2"));
  EXPECT_EQ(slurp(at("victim/f")), "keep\n");
  EXPECT_EQ(shell("find " + at("out2") + " -type l | wc -l"), "0\n");
}

TEST_F(RootfsExport, HostileNames) {
  // GNU tar is made to write what a layer must not hold; import normalises or refuses it,
  // so that an export never sees it.
  shell("mkdir -p " + at("t/sub") + " && echo evil >" + at("t/sub/f"));
  shell("cd " + at("t") + " && tar -cPf ../dots.tar --transform 's,^,../../,' sub/f && tar -cPf ../abs.tar --transform 's,^," +
        at("victim2") + "/,' sub/f");
  for (const char* name : {"dots.tar", "abs.tar"}) {
    UniqueFd fd = value(open_file(at(name), O_RDONLY));
    FdSource source(fd.get(), name);
    Result<LayerPtr> layer = store::import_layer(*store_, source, {});
    if (!layer) continue;
    export_ok({built_of({*layer})}, at(std::string("out-") + name));
  }
  EXPECT_FALSE(store::testing::exists(at("victim2")));
  EXPECT_FALSE(store::testing::exists(work_.path() + "/../sub"));
}

TEST_F(RootfsExport, DestinationIsAFile) {
  spew(at("file"), "x");
  EXPECT_NE(fails({usual()}, at("file")).find("is a file"), std::string::npos);
  EXPECT_NE(fails({usual()}, "type=tar,dest=" + work_.path()).find("is a directory"), std::string::npos);
}

TEST_F(RootfsExport, DamageLeavesNoHalfFile) {
  BuiltPlatform built = built_of({layer_of(*store_, {text("big", std::string(5000, 'b'))})});
  LayerPtr layer = value(store::open_layer(*store_, built.diff_ids[0]));
  std::string blob = slurp(layer->blob_path());
  blob[1000] ^= 1;
  ::chmod(layer->blob_path().c_str(), 0644);
  spew(layer->blob_path(), blob);
  EXPECT_NE(fails({built}, at("out")).find("damaged"), std::string::npos);
  EXPECT_EQ(shell("ls -A " + at("out")), "");
  spew(at("o.tar"), "old");
  EXPECT_NE(fails({built}, "type=tar,dest=" + at("o.tar")).find("damaged"), std::string::npos);
  EXPECT_EQ(slurp(at("o.tar")), "old");
  EXPECT_NE(fails({built}, "type=oci,dest=" + at("o.tar")).find("damaged"), std::string::npos);
  EXPECT_EQ(slurp(at("o.tar")), "old");
  EXPECT_EQ(shell("ls " + work_.path()), "o.tar\nout\nstore\n");
}

TEST_F(RootfsExport, TarIsWhatGnuTarReads) {
  BuiltPlatform built = usual();
  export_ok({built}, "type=tar,dest=" + at("a.tar"));
  export_ok({built}, "type=tar,dest=" + at("b.tar"));
  EXPECT_EQ(slurp(at("a.tar")), slurp(at("b.tar")));
  EXPECT_EQ(shell("tar -tf " + at("a.tar") + " | tr '\\n' ' '"),
            "abs bin/ bin/sh bin/tool empty/ etc/ etc/b hard2 hard3 implicit/ implicit/dir/ "
            "implicit/dir/f owned ro/ ro/f up ");
  EXPECT_EQ(shell("tar --numeric-owner -tvf " + at("a.tar") + " | awk '/owned|hard3/{print $1,$2,$6,$7,$8,$9}'"),
            "hrw-r--r-- 0/0 hard3 link to hard2\n-rw-r--r-- 1234/99 owned   \n");
  NEEDS_ROOT();
  export_ok({built}, at("local"));
  shell("mkdir " + at("x") + " && tar -xpf " + at("a.tar") + " -C " + at("x") + " --no-same-owner");
  shell("touch -d @0 " + at("local/implicit/dir") + " " + at("local/implicit"));
  EXPECT_EQ(store::testing::difference(dump_tree(at("x")), dump_tree(at("local"))), "");
}

TEST_F(RootfsExport, EpochSetsEveryTime) {
  export_ok({usual()}, "type=tar,dest=" + at("a.tar"), 86400);
  EXPECT_EQ(shell("TZ=UTC tar -tvf " + at("a.tar") + " | awk '{print $4}' | sort -u"), "1970-01-02\n");
  export_ok({usual()}, "type=local,dest=" + at("out"), 86400);
  EXPECT_EQ(shell("find " + at("out") + " -mindepth 1 -printf '%T@\\n' | sort -u"), "86400.0000000000\n");
}

TEST_F(RootfsExport, PlatformsAreSplit) {
  BuiltPlatform a = built_of({layer_of(*store_, {text("f", "amd")})}, "linux/amd64");
  BuiltPlatform b = built_of({layer_of(*store_, {text("f", "arm"), text("only", "7")})}, "linux/arm/v7");
  a.attestations.push_back({"https://slsa.dev/provenance/v1", "{\"p\":1}"});
  export_ok({b, a}, at("out"));
  EXPECT_EQ(slurp(at("out/linux_amd64/f")) + slurp(at("out/linux_arm_v7/f")), "amdarm");
  EXPECT_EQ(slurp(at("out/linux_amd64/provenance.json")),
            "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicateType\":\"https://slsa.dev/provenance/v1\","
            "\"subject\":[{\"name\":\"f\",\"digest\":{\"sha256\":\"" + sha256(std::string_view("amd")).hex() +
                "\"}}],\"predicate\":{\"p\":1}}");
  export_ok({b, a}, "type=tar,dest=" + at("o.tar"));
  EXPECT_EQ(shell("tar -tf " + at("o.tar") + " | tr '\\n' ' '"),
            "linux_amd64/ linux_amd64/f linux_amd64/provenance.json linux_arm_v7/ linux_arm_v7/f linux_arm_v7/only ");
  EXPECT_NE(fails({a, b}, "type=local,platform-split=false,dest=" + at("one"))
                .find("cannot overwrite f from linux/amd64 with linux/arm/v7 when split option is disabled"),
            std::string::npos);
  BuiltPlatform c = built_of({layer_of(*store_, {folder("d"), text("d/c", "c")})}, "linux/arm64");
  BuiltPlatform d = built_of({layer_of(*store_, {folder("d"), text("d/d", "d")})}, "linux/amd64");
  c.attestations = a.attestations;
  export_ok({c, d}, "type=local,platform-split=false,attestation-prefix=x-,dest=" + at("one"));
  EXPECT_EQ(shell("cd " + at("one") + " && find . -type f | sort | tr '\\n' ' '"),
            "./d/c ./d/d ./x-provenance.linux_arm64.json ");
  EXPECT_NE(fails({a, a}, at("twice")).find("twice"), std::string::npos);
}

// Runs in a child with the rights of a plain user.
TEST_F(RootfsExport, WithoutPrivilege) {
  NEEDS_ROOT();
  Item device{entry(EntryType::kCharDevice, "null")};
  device.entry.dev_major = 1;
  device.entry.dev_minor = 3;
  shell("chmod 755 " + work_.path());
  shell("mkdir -m 777 " + at("plain"));
  const int status = store::testing::wait_for(store::testing::spawn([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 10;
    std::unique_ptr<Store> store = open_store(at("plain/store"));
    Item owned = text("owned", "o", 04755);
    owned.entry.uid = 0;
    BuiltPlatform built = built_of({layer_of(
        *store, {device, link_to("null2", "null"), owned, folder("ro", 0555), text("ro/f", "x", 0)})});
    for (int i = 0; i < 2; ++i) {  // the second time over read-only directories
      Warnings warnings;
      Result<ExportResult> result = export_to(*store, {built}, at("plain/out"), &warnings);
      if (!result) {
        std::fprintf(stderr, "%s\n", result.error().full_message().c_str());
        return 11;
      }
      if (warnings.texts.size() != 1 || warnings.texts[0].find("2 device nodes were left out") == std::string::npos) return 12;
    }
    return 0;
  }));
  EXPECT_EQ(status, 0);
  EXPECT_EQ(shell("cd " + at("plain/out") + " && stat -c '%n %a %u' * ro/f"),
            "owned 4755 65534\nro 555 65534\nro/f 0 65534\n");
}

// Trees without blobs are read as one stream per layer by a plain user, whatever is hidden.
TEST_F(RootfsExport, WithoutPrivilegeFromTrees) {
  NEEDS_ROOT();
  shell("chmod 755 " + work_.path());
  shell("mkdir -m 777 " + at("plain"));
  const int status = store::testing::wait_for(store::testing::spawn([&] {
    if (::setgid(65534) != 0 || ::setuid(65534) != 0) return 10;
    std::unique_ptr<Store> store = open_store(at("plain/store"));
    LayerPtr base = layer_of(*store, {text("a", std::string(5000, 'a')), text("b", "b"), text("c", "c"),
                                      link_to("d", "a"), text("e", "")});
    LayerPtr top = layer_of(*store, {gone("a"), text("b", "new"), text("z", "z")});
    BuiltPlatform built = built_of({base, top});
    if (!export_to(*store, {built}, "type=tar,dest=" + at("plain/blob.tar"))) return 11;
    for (const LayerPtr& layer : {base, top}) {
      if (!layer->ensure_tree(*store)) return 12;
      if (::unlink(layer->blob_path().c_str()) != 0) return 13;
    }
    return export_to(*store, {built}, "type=tar,dest=" + at("plain/tree.tar")) ? 0 : 14;
  }));
  EXPECT_EQ(status, 0);
  EXPECT_EQ(slurp(at("plain/tree.tar")), slurp(at("plain/blob.tar")));
  EXPECT_EQ(shell("tar -tf " + at("plain/tree.tar") + " | tr '\\n' ' '"), "b c d e z ");
}

TEST_F(RootfsExport, StopEndsIt) {
  std::stop_source stop;
  stop.request_stop();
  EventBus events;
  for (const std::string& output : {at("out"), "type=tar,dest=" + at("t"), "type=oci,dest=" + at("t")}) {
    Result<ExportResult> result = export_build(*store_, {usual()}, value(parse_output(output)), events, stop.get_token());
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::kCancelled);
  }
  EXPECT_FALSE(store::testing::exists(at("t")));
}

}  // namespace
}  // namespace kasane::transfer
