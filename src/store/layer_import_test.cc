#include <fcntl.h>
#include <gmock/gmock.h>

#include "store/layer_testing.h"
#include "tar/testing.h"
#include "tar/whiteout.h"

namespace kasane::store {
namespace {

using namespace testing;
using ::testing::HasSubstr;
namespace raw = tar::testing;

class LayerImportTest : public ::testing::Test {
 protected:
  std::string path(const std::string& name) { return dir_.path() + "/" + name; }

  // A tree with everything that a layer can hold and this test may create.
  void make_sample(const std::string& root) {
    shell("set -e; mkdir -p " + root + "; cd " + root + R"sh(
      mkdir -p etc usr/bin usr/lib/deep/er tmp locked; chmod 1777 tmp
      echo hello > etc/passwd; chmod 600 etc/passwd; : > etc/empty
      head -c 300000 /dev/zero | tr '\0' x > usr/lib/big; echo '#!/bin/sh' > usr/bin/run
      ln usr/bin/run usr/bin/again; ln usr/bin/run etc/third; ln -s ../bin/run usr/lib/link
      ln -s /nowhere/at/all dangling; ln -s dangling tolink; ln -P tolink hardtosym
      mkfifo tmp/fifo; echo x > "$(printf 'odd\nname\351')"; echo y > 'sp ace'
      long=$(printf 'n%.0s' $(seq 200)); mkdir $long; echo z > $long/$long; ln -s $long/$long/x far
      echo w > locked/in; touch -d @-5 etc/empty
      touch -d '2001-02-03 04:05:06.123456789' etc/passwd
      setfattr -n user.note -v value etc/passwd; setfattr -n user.none etc/empty
      setfattr -n user.dir -v d usr; touch -h -d @77 dangling; chmod 4755 usr/bin/run
      chmod 0555 locked; touch -d @99 usr usr/lib)sh");
    if (!is_root()) return;
    shell("set -e; cd " + root + R"sh(
      chown 1000:50 etc/passwd; chown 4294967294:7 'sp ace'; chown -h 3:4 dangling
      chown 33:33 usr/bin/run; chmod 6755 usr/bin/run
      mknod -m 620 tmp/tty c 5 1; mknod tmp/blk b 8 300
      setcap cap_net_raw+ep usr/lib/big; touch -d '2001-02-03 04:05:06.5' usr/lib/big
      chmod 0000 locked)sh");
  }

  // Import → unpack must give what GNU tar gives; tar made again from the tree must be the
  // same bytes.
  void check_against_gnu_tar(const std::string& tar) {
    const std::string layer_path = tar + ".layer";
    auto summary = import_file(tar, layer_path);
    ASSERT_TRUE(summary) << summary.error().full_message();
    EXPECT_EQ(summary->diff_id, sha256(slurp(tar)));
    LayerPtr layer = open_directory(layer_path).take();
    auto unpacked = unpack_tree(layer->index(), layer->blob_path(), layer->tree_path());
    ASSERT_TRUE(unpacked) << unpacked.error().full_message();
    const std::string reference = tar + ".gnu";
    shell("mkdir " + reference + " && tar -C " + reference +
          " --numeric-owner --same-owner -p --xattrs --xattrs-include='*' -xf " + tar);
    EXPECT_EQ(difference(dump_tree(reference), dump_tree(layer->tree_path())), "") << tar;
    check_rebuilt(tar, *layer);
  }
  void check_rebuilt(const std::string& tar, const Layer& layer) {
    ASSERT_EQ(::rename(layer.blob_path().c_str(), (layer.blob_path() + ".away").c_str()), 0);
    auto source = layer.open_tar();
    ASSERT_TRUE(source) << source.error().full_message();
    auto bytes = read_all(**source);
    ASSERT_TRUE(bytes) << bytes.error().full_message();
    EXPECT_TRUE(*bytes == slurp(tar)) << tar << " is not rebuilt bit for bit";
    for (size_t i = 0; i < layer.index().size(); ++i) {
      const EntryView view = layer.index().at(i);
      if (view.type != tar::EntryType::kFile || view.size == 0) continue;
      auto content = layer.open_content(i);
      ASSERT_TRUE(content) << content.error().full_message();
      EXPECT_TRUE(read_all(**content)) << view.path;
    }
    ASSERT_EQ(::rename((layer.blob_path() + ".away").c_str(), layer.blob_path().c_str()), 0);
  }
  Result<LayerSummary> import_bytes(std::string_view bytes) {
    const std::string directory = path("bytes" + std::to_string(count_++));
    TRY(make_directories(directory));
    MemorySource source(bytes);
    last_ = directory;
    return import_tar(directory, source, {});
  }

  TempDir dir_ = temp_dir();
  int count_ = 0;
  std::string last_;
};

TEST_F(LayerImportTest, UnpacksWhatGnuTarUnpacks) {
  make_sample(path("root"));
  for (const char* format : {"pax", "gnu", "posix"}) {
    const std::string tar = path(std::string(format) + ".tar");
    shell("tar -C " + path("root") + " --format=" + format +
          (std::string(format) == "gnu" ? "" : " --xattrs --xattrs-include='*'") +
          " --sort=name -cf " + tar + " .");
    check_against_gnu_tar(tar);
  }
  shell("cd " + path("root") + " && find . -mindepth 1 | sort -r | tar --no-recursion -cf " +
        path("reverse.tar") + " -T - --null 2>/dev/null || true");
}

TEST_F(LayerImportTest, OrderOfMembersDoesNotMatter) {
  shell("mkdir -p " + path("r") + "/d/e && cd " + path("r") +
        " && echo a > d/e/f && echo b > d/g && ln d/g a && touch -d @5 d/e d && "
        "tar --no-recursion -cf ../o.tar d/g d/e/f a d/e d");
  check_against_gnu_tar(path("o.tar"));
  LayerPtr layer = open_directory(path("o.tar.layer")).take();
  EXPECT_FALSE(layer->index().summary().canonical);
  EXPECT_EQ(layer->index().at(layer->index().tar_order(0)).path, "d/g");
}

TEST_F(LayerImportTest, SparseFilesKeepTheirHoles) {
  shell("mkdir " + path("s") + " && cd " + path("s") +
        " && truncate -s 5M hole && echo tail >> hole && truncate -s 3M only && echo z > plain");
  for (const char* format : {"gnu", "pax --sparse-version=1.0", "pax --sparse-version=0.1"}) {
    const std::string tar = path("sparse" + std::to_string(count_++) + ".tar");
    shell("tar -C " + path("s") + " -S --format=" + format + " -cf " + tar + " hole only plain");
    check_against_gnu_tar(tar);
    struct stat st;
    ASSERT_EQ(::stat((tar + ".layer/tree/hole").c_str(), &st), 0);
    EXPECT_LT(st.st_blocks * 512, 1 << 20);
    LayerPtr layer = open_directory(tar + ".layer").take();
    auto content = layer->open_content(*layer->index().find("hole"));
    ASSERT_OK(content);
    auto bytes = read_all(**content);
    ASSERT_OK(bytes);
    EXPECT_TRUE(*bytes == slurp(path("s/hole")));
  }
}

TEST_F(LayerImportTest, RecognisesCanonicalTars) {
  const std::string directory = path("own");
  ASSERT_OK(make_directories(directory));
  auto builder = CanonicalBuilder::create(directory, true).take();
  ASSERT_OK(builder->add(dir("a")));
  MemorySource content("hello");
  ASSERT_OK(builder->add_file(file("a/b", 5), content, nullptr));
  tar::Entry odd = file("a/" + std::string(150, 'x'));
  odd.mtime.nsec = 5;
  odd.xattrs = {{"user.a", "b"}};
  ASSERT_OK(builder->add(odd));
  ASSERT_OK(builder->add(entry(tar::EntryType::kHardlink, "b", "a/b")));
  auto written = builder->finish(false);
  ASSERT_OK(written);
  const std::string tar = slurp(directory + "/blob");
  auto again = import_bytes(tar);
  ASSERT_OK(again);
  EXPECT_TRUE(again->canonical);
  EXPECT_EQ(again->diff_id, written->diff_id);
  EXPECT_EQ(again->content_id, written->content_id);
  EXPECT_EQ(slurp(last_ + "/index"), slurp(directory + "/index"));
  EXPECT_NE(::access((last_ + "/split").c_str(), F_OK), 0);
  EXPECT_FALSE(import_bytes(tar + std::string(512, '\0'))->canonical);
  EXPECT_FALSE(import_bytes(tar.substr(0, tar.size() - 512))->canonical);
  spew(path("own.tar"), tar);
  check_against_gnu_tar(path("own.tar"));
}

TEST_F(LayerImportTest, EmptyTarsAreLayers) {
  for (const std::string& bytes :
       {std::string(), std::string(1024, '\0'), std::string(10240, '\0')}) {
    auto summary = import_bytes(bytes);
    ASSERT_OK(summary);
    EXPECT_EQ(summary->entry_count, 0u);
    LayerPtr layer = open_directory(last_).take();
    ASSERT_OK(unpack_tree(layer->index(), layer->blob_path(), layer->tree_path()));
    spew(path("empty.tar"), bytes);
    check_rebuilt(path("empty.tar"), *layer);
  }
}

TEST_F(LayerImportTest, WhiteoutsGetOverlayForm) {
  NEEDS_ROOT();
  const std::string tar =
      raw::raw({.name = "d/", .type = '5'}) + raw::file("d/.wh.gone", "payload") +
      raw::raw({.name = "o/", .type = '5'}) + raw::file("o/.wh.x") + raw::file("o/.wh..wh..opq") +
      raw::file("o/stay", "s") + raw::file(".wh.both") + raw::file("both", "b") +
      raw::file(".wh.dir") + raw::file("dir/f", "f") + raw::file(".wh..wh.plnk/1.2", "aufs") +
      raw::raw({.name = ".wh.linked", .type = '1', .link = ".wh..wh.aufs"}) + raw::end_mark();
  auto summary = import_bytes(tar);
  ASSERT_OK(summary);
  EXPECT_FALSE(summary->canonical);
  LayerPtr layer = open_directory(last_).take();
  EXPECT_FALSE(layer->index().find(".wh..wh.plnk/1.2"));
  ASSERT_OK(unpack_tree(layer->index(), layer->blob_path(), layer->tree_path()));
  const auto lines = dump_tree(layer->tree_path(), {.overlay_xattrs = true});
  EXPECT_THAT(lines.at("d/gone"), HasSubstr("whiteout"));
  EXPECT_THAT(lines.at("linked"), HasSubstr("whiteout"));
  EXPECT_THAT(lines.at("o"), HasSubstr("overlay.opaque"));
  EXPECT_THAT(lines.at("dir"), HasSubstr("overlay.opaque"));
  EXPECT_FALSE(lines.contains("o/x"));
  EXPECT_THAT(lines.at("both"), HasSubstr("100644"));
  EXPECT_EQ(lines.size(), 8u);
  spew(path("w.tar"), tar);
  check_rebuilt(path("w.tar"), *layer);
}

TEST_F(LayerImportTest, DuplicatesLastWins) {
  const std::string tar =
      raw::file("a", "one") + raw::file("./b", "two") + raw::file("a", "three!") + raw::end_mark();
  ASSERT_OK(import_bytes(tar));
  LayerPtr layer = open_directory(last_).take();
  ASSERT_OK(unpack_tree(layer->index(), layer->blob_path(), layer->tree_path()));
  EXPECT_EQ(slurp(layer->tree_path() + "/a"), "three!");
  spew(path("d.tar"), tar);
  check_rebuilt(path("d.tar"), *layer);
}

TEST_F(LayerImportTest, NeverStoresOverlayControlAttributes) {
  NEEDS_ROOT();
  std::string records;
  for (const char* ns : {"trusted", "user"})
    for (const char* name : {"opaque", "redirect", "metacopy", "origin"})
      records += raw::record("SCHILY.xattr." + std::string(ns) + ".overlay." + name, "y");
  const std::string tar = raw::pax(records) + raw::raw({.name = "d/", .type = '5'}) +
                          raw::pax(records + raw::record("SCHILY.xattr.user.good", "1")) +
                          raw::file("f", "x") + raw::raw({.name = "null", .type = '3'}) +
                          raw::end_mark();
  ASSERT_OK(import_bytes(tar));
  LayerPtr layer = open_directory(last_).take();
  ASSERT_OK(unpack_tree(layer->index(), layer->blob_path(), layer->tree_path()));
  const auto lines = dump_tree(layer->tree_path(), {.overlay_xattrs = true});
  EXPECT_EQ(lines.size(), 2u);  // X8: the 0:0 device is no whiteout
  for (const auto& [name, line] : lines) EXPECT_THAT(line, ::testing::Not(HasSubstr("overlay")));
  EXPECT_THAT(lines.at("f"), HasSubstr("user.good"));
  spew(path("x.tar"), tar);
  check_rebuilt(path("x.tar"), *layer);
}

TEST_F(LayerImportTest, HostileTarsAreRefusedAndTouchNothing) {
  const std::string canary = path("canary");
  shell("mkdir -p " + canary + "/sub && cd " + canary +
        " && echo c > f && ln -s f l && mkfifo p && "
        "chmod 4755 f && touch -d @1 f sub .");
  const auto before = dump_tree(canary);
  auto link = [](std::string name, std::string to, char type = '2') {
    return raw::raw({.name = std::move(name), .type = type, .link = std::move(to)});
  };
  const std::vector<std::string> hostile = {
      raw::file("../x", "x"),
      raw::file("a/../../x", "x"),
      link("d", canary) + raw::file("d/f", "x"),
      raw::raw({.name = "d/", .type = '5'}) + link("d", canary) + raw::file("d/f", "x"),
      link("./", canary) + raw::file("f", "x"),
      link("h", canary + "/f", '1'),
      link("l", canary + "/f") + link("h", "l/x", '1'),
      link("h", "../canary/f", '1'),
      link("h", "later", '1') + raw::file("later", "x"),
      link("h", "h", '1'),
      raw::raw({.name = "d/", .type = '5'}) + link("h", "d", '1'),
      raw::file(".wh.", ""),
      raw::file(".wh..", ""),
      raw::file("a/.wh...", ""),
      raw::file(".wh.a/b", "x"),
      raw::raw({.name = ".wh.dir/", .type = '5'}),
      link(".wh.sym", canary),
      raw::raw({.name = "z", .type = 'Z'}),
      raw::file("short", "x").substr(0, 700),
  };
  for (size_t i = 0; i < hostile.size(); ++i) {
    auto summary = import_bytes(hostile[i] + raw::end_mark());
    if (i + 1 == hostile.size()) summary = import_bytes(hostile[i]);
    ASSERT_FALSE(summary) << "archive " << i;
    const ErrorKind kind = summary.error().kind();
    EXPECT_TRUE(kind == ErrorKind::kInvalid || kind == ErrorKind::kCorrupt ||
                kind == ErrorKind::kUnsupported)
        << i << ": " << summary.error().full_message();
  }
  // Harmless because nothing is followed: links to outside, used by nobody else.
  ASSERT_OK(import_bytes(link("d", canary) + link("e", "d", '1') +
                         raw::raw({.name = "/abs/./x", .data = "in"}) + raw::end_mark()));
  LayerPtr layer = open_directory(last_).take();
  ASSERT_OK(unpack_tree(layer->index(), layer->blob_path(), layer->tree_path()));
  EXPECT_EQ(slurp(layer->tree_path() + "/abs/x"), "in");
  EXPECT_EQ(difference(before, dump_tree(canary)), "");
}

TEST_F(LayerImportTest, ChecksTheDigestAndTheSize) {
  const std::string tar = raw::file("a", "x") + raw::end_mark();
  ASSERT_OK(make_directories(path("l")));
  MemorySource source(tar);
  ImportOptions options;
  options.expected_diff_id = sha256("something else");
  auto summary = import_tar(path("l"), source, options);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().kind(), ErrorKind::kCorrupt);
  ASSERT_OK(make_directories(path("m")));
  MemorySource longer(tar);
  ImportOptions limited;
  limited.max_tar_bytes = 1000;
  summary = import_tar(path("m"), longer, limited);
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().kind(), ErrorKind::kLimit);
}

TEST_F(LayerImportTest, DamagedBodiesAreNoticed) {
  const std::string tar = raw::file("a", std::string(5000, 'x')) + raw::end_mark();
  ASSERT_OK(import_bytes(tar));
  LayerPtr layer = open_directory(last_).take();
  std::string bad = tar;
  bad[3000] ^= 1;
  spew(layer->blob_path(), bad);
  auto source = layer->open_tar();
  ASSERT_OK(source);
  auto bytes = read_all(**source);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().kind(), ErrorKind::kCorrupt);
  auto content = layer->open_content(0);
  ASSERT_OK(content);
  EXPECT_FALSE(read_all(**content));
  auto unpacked = unpack_tree(layer->index(), layer->blob_path(), path("t"));
  ASSERT_FALSE(unpacked);
  EXPECT_EQ(unpacked.error().kind(), ErrorKind::kCorrupt);
  spew(layer->blob_path(), tar.substr(0, 2000));
  EXPECT_FALSE(read_all(*layer->open_tar().take()));
}

TEST_F(LayerImportTest, DeepAndWideTreesUnpack) {
  std::string deep;
  std::string tar;
  for (int i = 0; i < 2000; ++i) {
    deep += deep.empty() ? "d" : "/d";
    if (i % 100 == 99)
      tar += raw::pax(raw::record("path", deep)) + raw::raw({.name = "d", .type = '5'});
  }
  tar += raw::pax(raw::record("path", deep + "/f")) + raw::file("f", "deep") + raw::end_mark();
  ASSERT_OK(import_bytes(tar));
  LayerPtr layer = open_directory(last_).take();
  ASSERT_OK(unpack_tree(layer->index(), layer->blob_path(), layer->tree_path()));
  RootfsView view({layer});
  EXPECT_EQ(view.read_file(deep + "/f", 10).value(), "deep");
  size_t count = 0;
  ASSERT_OK(view.walk("", [&](const Found&) -> Result<void> {
    ++count;
    return {};
  }));
  EXPECT_EQ(count, 2001u);
}

}  // namespace
}  // namespace kasane::store
