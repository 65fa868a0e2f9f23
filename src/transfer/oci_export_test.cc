// type=oci and type=docker, metadata, rewritten and squashed layers.
#include <gtest/gtest.h>

#include "base/compress.h"
#include "oci/json.h"
#include "oci/manifest.h"
#include "transfer/export_internal.h"
#include "transfer/export_testing.h"
#include "transfer/transfer.h"

namespace kasane::transfer {
namespace {

using namespace testing;  // NOLINT

class OciExport : public ::testing::Test {
 protected:
  OciExport() : work_(temp_dir()), store_(open_store(work_.path() + "/store")) {}
  std::string at(const std::string& name) const { return work_.path() + "/" + name; }
  ExportResult export_ok(const std::vector<BuiltPlatform>& built, const std::string& output,
                         std::optional<int64_t> epoch = std::nullopt) {
    return value(export_to(*store_, built, output, &warnings_, epoch));
  }
  std::string fails(const std::vector<BuiltPlatform>& built, const std::string& output) {
    Result<ExportResult> result = export_to(*store_, built, output, &warnings_);
    return result ? "no error" : result.error().full_message();
  }
  BuiltPlatform usual(const std::string& platform = "linux/amd64") {
    LayerPtr base = layer_of(*store_, {folder("etc"), text("etc/a", "aaa"), text("etc/b", "bbb")});
    LayerPtr top = layer_of(*store_, {folder("etc"), gone("etc/a"), text("big", std::string(2'000'000, 'k'))});
    LayerPtr mark = layer_of(*store_, {text("platform", platform)});
    return built_of({base, top, mark}, platform, 1);
  }
  // The layout of a tar output, unpacked.
  std::string unpack(const std::string& tar) {
    shell("mkdir -p " + tar + ".d && tar -xf " + tar + " -C " + tar + ".d");
    return tar + ".d";
  }
  oci::Index index_of(const std::string& layout) { return value(oci::Index::parse(slurp(layout + "/index.json"))); }
  std::string blob(const std::string& layout, const std::string& digest) {
    const std::string text = slurp(layout + "/blobs/sha256/" + digest.substr(7));
    EXPECT_EQ(sha256(text).str(), digest);
    return text;
  }
  // Every blob is what its name says, and layers expand to their DiffIDs.
  void check_manifest(const std::string& layout, const oci::Descriptor& descriptor, const BuiltPlatform& built) {
    oci::Manifest manifest = value(oci::Manifest::parse(blob(layout, descriptor.digest)));
    EXPECT_EQ(blob(layout, manifest.config.digest), built.config_json);
    ASSERT_EQ(manifest.layers.size(), built.diff_ids.size());
    for (size_t i = 0; i < manifest.layers.size(); ++i) {
      const std::string bytes = blob(layout, manifest.layers[i].digest);
      EXPECT_EQ(static_cast<int64_t>(bytes.size()), manifest.layers[i].size);
      MemorySource source(bytes);
      OpenedStream opened = value(open_decompressed(source));
      EXPECT_EQ(sha256(value(store::testing::read_all(*opened.source))), built.diff_ids[i]);
    }
  }

  TempDir work_;
  std::unique_ptr<Store> store_;
  Warnings warnings_;
};

TEST_F(OciExport, OnePlatformIsAPlainManifest) {
  BuiltPlatform built = usual();
  ExportResult result = export_ok({built}, "type=oci,name=app:1,dest=" + at("o.tar"));
  export_ok({built}, "type=oci,name=app:1,dest=" + at("p.tar"));
  EXPECT_EQ(slurp(at("o.tar")), slurp(at("p.tar")));
  oci::Index index = index_of(unpack(at("o.tar")));
  ASSERT_EQ(index.manifests.size(), 1u);
  EXPECT_EQ(index.manifests[0].media_type, oci::kMediaTypeManifest);
  EXPECT_EQ(index.manifests[0].annotations,
            (std::map<std::string, std::string>{{"io.containerd.image.name", "docker.io/library/app:1"},
                                                {"org.opencontainers.image.ref.name", "1"}}));
  check_manifest(at("o.tar.d"), index.manifests[0], built);
  EXPECT_EQ(result.digest, index.manifests[0].digest);
  EXPECT_EQ(result.config_digest, built.config_digest.str());
  EXPECT_EQ(slurp(at("o.tar.d/oci-layout")), "{\"imageLayoutVersion\":\"1.0.0\"}");
  // kasane loads what it writes.
  UniqueFd fd = value(open_file(at("o.tar"), O_RDONLY));
  FdSource source(fd.get(), "o.tar");
  EventBus events;
  std::vector<LoadedImage> loaded = value(load(*store_, source, events));
  ASSERT_EQ(loaded.size(), 1u);
  EXPECT_EQ(loaded[0].image, built.config_digest);
  EXPECT_EQ(loaded[0].tags, std::vector<std::string>{"docker.io/library/app:1"});
}

TEST_F(OciExport, Compressions) {
  BuiltPlatform built = usual();
  for (const auto& [option, type] : std::vector<std::pair<std::string, std::string_view>>{
           {"compression=gzip", oci::kMediaTypeLayerGzip},
           {"compression=gzip,compression-level=9", oci::kMediaTypeLayerGzip},
           {"compression=zstd", oci::kMediaTypeLayerZstd},
           {"compression=uncompressed", oci::kMediaTypeLayer},
           {"oci-mediatypes=false", "application/vnd.docker.image.rootfs.diff.tar.gzip"}}) {
    const std::string tar = at("c" + std::to_string(std::hash<std::string>()(option)) + ".tar");
    export_ok({built}, "type=oci," + option + ",dest=" + tar);
    oci::Index index = index_of(unpack(tar));
    check_manifest(tar + ".d", index.manifests[0], built);
    oci::Manifest manifest = value(oci::Manifest::parse(blob(tar + ".d", index.manifests[0].digest)));
    for (const oci::Descriptor& layer : manifest.layers) EXPECT_EQ(layer.media_type, type) << option;
  }
}

TEST_F(OciExport, SeveralPlatformsInRequestOrder) {
  BuiltPlatform arm = usual("linux/arm/v7");
  BuiltPlatform amd = usual("linux/amd64");
  ExportResult result = export_ok(
      {arm, amd}, "type=oci,annotation-index.i=1,annotation-index-descriptor.d=2,annotation.m=all,"
                  "annotation-manifest[linux/amd64].m=amd,annotation-manifest-descriptor.md=3,dest=" + at("o.tar"), 1000);
  EXPECT_EQ(result.config_digest, "");
  oci::Index top = index_of(unpack(at("o.tar")));
  ASSERT_EQ(top.manifests.size(), 1u);
  EXPECT_EQ(top.manifests[0].media_type, oci::kMediaTypeIndex);
  EXPECT_EQ(top.manifests[0].annotations,
            (std::map<std::string, std::string>{{"d", "2"}, {"org.opencontainers.image.created", "1970-01-01T00:16:40Z"}}));
  oci::Index index = value(oci::Index::parse(blob(at("o.tar.d"), top.manifests[0].digest)));
  EXPECT_EQ(index.annotations, (std::map<std::string, std::string>{{"i", "1"}}));
  ASSERT_EQ(index.manifests.size(), 2u);
  EXPECT_EQ(index.manifests[0].platform->str(), "linux/arm/v7");
  EXPECT_EQ(index.manifests[1].platform->str(), "linux/amd64");
  EXPECT_EQ(index.manifests[1].annotations, (std::map<std::string, std::string>{{"md", "3"}}));
  check_manifest(at("o.tar.d"), index.manifests[0], arm);
  check_manifest(at("o.tar.d"), index.manifests[1], amd);
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(value(oci::Manifest::parse(blob(at("o.tar.d"), index.manifests[i].digest))).annotations.at("m"), i ? "amd" : "all");
  // Four different layers, one of them per platform; 2 configs, 2 manifests, 1 index.
  EXPECT_EQ(shell("ls " + at("o.tar.d/blobs/sha256") + " | wc -l"), "9\n");
  EXPECT_EQ(shell("TZ=UTC tar -tvf " + at("o.tar") + " | awk '{print $4,$5}' | sort -u"), "1970-01-01 00:16\n");
}

TEST_F(OciExport, MultiPlatformForOne) {
  ExportOptions options = value(parse_output("type=oci,dest=" + at("o.tar")));
  options.multi_platform = true;
  EventBus events;
  ExportResult result = value(export_build(*store_, {usual()}, options, events, {}));
  EXPECT_EQ(result.config_digest, "");
  oci::Index top = index_of(unpack(at("o.tar")));
  EXPECT_EQ(top.manifests[0].media_type, oci::kMediaTypeIndex);
  EXPECT_EQ(top.manifests[0].digest, result.digest);
  EXPECT_FALSE(top.manifests[0].platform);
}

TEST_F(OciExport, AttestationsAsArtifacts) {
  BuiltPlatform built = usual();
  built.attestations.push_back({"https://slsa.dev/provenance/v1", "{\"who\":\"me\"}"});
  ExportResult result = export_ok({built}, "type=oci,\"name=app:1,r.io:5000/b:2\",dest=" + at("o.tar"));
  oci::Index top = index_of(unpack(at("o.tar")));
  oci::Index index = value(oci::Index::parse(blob(at("o.tar.d"), top.manifests[0].digest)));
  ASSERT_EQ(index.manifests.size(), 2u);
  EXPECT_EQ(index.manifests[1].platform->str(), "unknown/unknown");
  EXPECT_EQ(index.manifests[1].annotations,
            (std::map<std::string, std::string>{{"vnd.docker.reference.type", "attestation-manifest"},
                                                {"vnd.docker.reference.digest", index.manifests[0].digest}}));
  const std::string text = blob(at("o.tar.d"), index.manifests[1].digest);
  const auto subject = [&](const std::string& name) {
    return "{\"name\":\"" + name + "\",\"digest\":{\"sha256\":\"" + index.manifests[0].digest.substr(7) + "\"}}";
  };
  const auto statement_about = [&](const std::string& subjects) {
    return "{\"_type\":\"https://in-toto.io/Statement/v1\",\"predicateType\":\"https://slsa.dev/provenance/v1\","
           "\"subject\":[" + subjects + "],\"predicate\":{\"who\":\"me\"}}";
  };
  const std::string statement = statement_about(subject("pkg:docker/app@1?platform=linux%2Famd64") + "," +
                                                subject("pkg:docker/r.io:5000/b@2?platform=linux%2Famd64"));
  const std::string hash = sha256(statement).str();
  EXPECT_EQ(text,
            "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
            "\"artifactType\":\"application/vnd.docker.attestation.manifest.v1+json\","
            "\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\","
            "\"digest\":\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2,\"data\":\"e30=\"},"
            "\"layers\":[{\"mediaType\":\"application/vnd.in-toto+json\",\"digest\":\"" + hash + "\",\"size\":" +
                std::to_string(statement.size()) +
                ",\"annotations\":{\"in-toto.io/predicate-type\":\"https://slsa.dev/provenance/v1\"}}],"
                "\"subject\":{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"" +
                index.manifests[0].digest + "\",\"size\":" + std::to_string(index.manifests[0].size) + "}}");
  EXPECT_EQ(blob(at("o.tar.d"), hash), statement);
  EXPECT_NE(metadata_json(result).find("\"buildx.build.provenance\": {\n    \"who\": \"me\"\n  }"), std::string::npos);
  // The old form is an image.
  export_ok({built}, "type=oci,oci-artifact=false,dest=" + at("old.tar"));
  top = index_of(unpack(at("old.tar")));
  index = value(oci::Index::parse(blob(at("old.tar.d"), top.manifests[0].digest)));
  oci::Manifest old = value(oci::Manifest::parse(blob(at("old.tar.d"), index.manifests[1].digest)));
  EXPECT_EQ(blob(at("old.tar.d"), old.layers[0].digest), statement_about(subject("_")));
  EXPECT_EQ(blob(at("old.tar.d"), old.config.digest),
            "{\"architecture\":\"unknown\",\"os\":\"unknown\",\"config\":{},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" + old.layers[0].digest + "\"]}}");
  EXPECT_NE(fails({built}, "type=oci,oci-mediatypes=false,dest=" + at("x")).find("attestations"), std::string::npos);
}

TEST_F(OciExport, DirectoryIsMerged) {
  BuiltPlatform one = usual();
  BuiltPlatform two = built_of({layer_of(*store_, {text("two", "2")})});
  const std::string dir = at("layout");
  export_ok({one}, "type=oci,tar=false,name=app:1,dest=" + dir);
  // What another tool wrote stays as it is.
  std::string index = slurp(dir + "/index.json");
  index.insert(index.find("\"manifests\":[") + 13,
               "{\"mediaType\":\"x/y\",\"digest\":\"" + one.config_digest.str() + "\",\"size\":5,\"artifactType\":\"their/thing\"},");
  spew(dir + "/index.json", index);
  ExportResult again = export_ok({two}, "type=oci,tar=false,name=app:1,dest=" + dir);
  export_ok({one}, "type=oci,tar=false,name=app:2,dest=" + dir);
  ExportResult bare = export_ok({one}, "type=oci,tar=false,dest=" + dir);
  export_ok({two}, "type=oci,tar=false,dest=" + dir);
  oci::Index merged = index_of(dir);
  ASSERT_EQ(merged.manifests.size(), 4u);
  EXPECT_NE(slurp(dir + "/index.json").find("their/thing"), std::string::npos);
  EXPECT_EQ(merged.manifests[1].digest, again.digest);
  check_manifest(dir, merged.manifests[1], two);
  check_manifest(dir, merged.manifests[2], one);
  EXPECT_EQ(merged.manifests[3].annotations, (std::map<std::string, std::string>{{"org.opencontainers.image.ref.name", "latest"}}));
  EXPECT_EQ(shell("ls -A " + dir), "blobs\nindex.json\noci-layout\n");
  EXPECT_EQ(shell("stat -c %a " + dir + "/index.json"), "644\n");
  // The uncompressed form, and the same bytes as in the tar.
  export_ok({one}, "type=oci,tar=false,compression=uncompressed,dest=" + at("plain"));
  check_manifest(at("plain"), index_of(at("plain")).manifests[0], one);
  export_ok({one}, "type=oci,name=app:2,dest=" + at("o.tar"));
  EXPECT_EQ(index_of(unpack(at("o.tar"))).manifests[0].digest, bare.digest);
}

TEST_F(OciExport, DamagedLayoutIsLeftAlone) {
  shell("mkdir " + at("d"));
  spew(at("d/index.json"), "not json");
  EXPECT_NE(fails({usual()}, "type=oci,tar=false,dest=" + at("d")).find("nothing was changed"), std::string::npos);
  EXPECT_EQ(slurp(at("d/index.json")), "not json");
}

TEST_F(OciExport, StoredCompressedLayersAreReused) {
  LayerPtr base = layer_of(*store_, {text("base", std::string(10'000, 'q'))});
  // A pulled image: its manifest names a blob that no kasane compressor would make.
  StringSink packed;
  {
    std::unique_ptr<CompressingSink> gzip = value(make_compressor(Compression::kGzip, packed, 7));
    std::unique_ptr<ByteSource> tar = value(base->open_tar());
    ASSERT_OK(copy_stream(*tar, *gzip));
    ASSERT_OK(gzip->finish());
  }
  const Sha256Digest digest = value(store_->put_blob(packed.text));
  store::ImageRecord image = store::testing::image_of({base});
  oci::Manifest manifest;
  manifest.media_type = oci::kDockerManifest;
  manifest.config.media_type = "application/vnd.docker.container.image.v1+json";
  manifest.config.digest = sha256(image.config_json).str();
  manifest.config.size = static_cast<int64_t>(image.config_json.size());
  manifest.layers.resize(1);
  manifest.layers[0].media_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
  manifest.layers[0].digest = digest.str();
  manifest.layers[0].size = static_cast<int64_t>(packed.text.size());
  image.manifest_json = manifest.serialize();
  image.manifest_media_type = manifest.media_type;
  value(store_->put_image(image));

  BuiltPlatform built = built_of({base, layer_of(*store_, {text("new", "n")})}, "linux/amd64", 1);
  const auto first_layer = [&](const std::string& option) {
    export_ok({built}, "type=oci," + option + "dest=" + at("o.tar"));
    shell("rm -rf " + at("o.tar.d"));
    oci::Index index = index_of(unpack(at("o.tar")));
    check_manifest(at("o.tar.d"), index.manifests[0], built);
    return value(oci::Manifest::parse(blob(at("o.tar.d"), index.manifests[0].digest))).layers[0];
  };
  EXPECT_EQ(first_layer("").digest, digest.str());
  EXPECT_EQ(first_layer("").media_type, oci::kMediaTypeLayerGzip);
  EXPECT_EQ(first_layer("compression=zstd,").digest, digest.str());
  EXPECT_EQ(first_layer("force-compression=true,").digest, digest.str());  // has that type already
  EXPECT_EQ(first_layer("compression=zstd,force-compression=true,").media_type, oci::kMediaTypeLayerZstd);
  EXPECT_EQ(first_layer("compression=uncompressed,force-compression=true,").digest, base->diff_id().str());
}

TEST_F(OciExport, AnnotationErrors) {
  BuiltPlatform built = usual();
  EXPECT_NE(fails({built}, "type=oci,annotation-index.a=1,dest=" + at("x")).find("no index is made"), std::string::npos);
  EXPECT_NE(fails({built}, "type=docker,annotation-index-descriptor.a=1,dest=" + at("x")).find("no index is made"), std::string::npos);
  EXPECT_NE(fails({built}, "type=oci,annotation-manifest[linux/s390x].a=1,dest=" + at("x")).find("no platform linux/s390x"), std::string::npos);
  EXPECT_FALSE(store::testing::exists(at("x")));
}

TEST_F(OciExport, DockerIsWhatSaveWrites) {
  BuiltPlatform built = usual();
  ExportResult result = export_ok({built}, "type=docker,name=app:1,dest=" + at("d.tar"));
  EXPECT_EQ(result.config_digest, built.config_digest.str());
  store::ImageRecord record;
  record.config_json = built.config_json;
  record.diff_ids = built.diff_ids;
  const Sha256Digest id = value(store_->put_image(record));
  StringSink saved;
  ASSERT_OK(save(*store_, {{id, {"docker.io/library/app:1"}}}, saved));
  EXPECT_EQ(slurp(at("d.tar")), saved.text);
  EXPECT_NE(fails({built, usual("linux/arm64")}, "type=docker,dest=" + at("x")).find("manifest lists"), std::string::npos);
}

TEST_F(OciExport, MetadataFile) {
  ExportResult result = export_ok({usual()}, "type=oci,\"name=app:1,app:2\",dest=" + at("o.tar"));
  const std::string text = metadata_json(result);
  oci::Json json = value(oci::Json::parse(text, "metadata"));
  EXPECT_EQ(json.find("containerimage.digest")->text, result.digest);
  EXPECT_EQ(json.find("containerimage.config.digest")->text, result.config_digest);
  EXPECT_EQ(json.find("containerimage.descriptor")->find("digest")->text, result.digest);
  EXPECT_EQ(json.find("image.name")->text, "docker.io/library/app:1,docker.io/library/app:2");
  EXPECT_TRUE(text.starts_with("{\n  \"containerimage.config.digest\": \"sha256:"));
  EXPECT_EQ(metadata_json({}), "{}");
}

TEST_F(OciExport, RewrittenTimestamps) {
  BuiltPlatform built = usual();
  BuiltPlatform old = value(rewrite_timestamps(*store_, built, 1000));
  EXPECT_EQ(old.diff_ids[0], built.diff_ids[0]);
  EXPECT_NE(old.diff_ids[1], built.diff_ids[1]);
  EXPECT_EQ(sha256(old.config_json), old.config_digest);
  oci::ImageConfig config = value(oci::ImageConfig::parse(old.config_json));
  EXPECT_EQ(config.diff_ids, old.diff_ids);
  EXPECT_EQ(config.created, "1970-01-01T00:16:40Z");
  EXPECT_EQ(config.history[0].created, "2024-01-02T03:04:05Z");  // the base's
  EXPECT_EQ(config.history[1].created, "1970-01-01T00:16:40Z");
  EXPECT_EQ(value(rewrite_timestamps(*store_, old, 1000)).config_json, old.config_json);
  export_ok({old}, "type=oci,dest=" + at("o.tar"), 1000);
  oci::Index index = index_of(unpack(at("o.tar")));
  check_manifest(at("o.tar.d"), index.manifests[0], old);
  oci::Manifest manifest = value(oci::Manifest::parse(blob(at("o.tar.d"), index.manifests[0].digest)));
  EXPECT_TRUE(manifest.layers[0].annotations.empty());
  EXPECT_EQ(manifest.layers[1].annotations.at("buildkit/rewritten-timestamp"), "1000");
}

TEST_F(OciExport, Squash) {
  BuiltPlatform built = usual();
  built.base_image = sha256("base");
  BuiltPlatform squashed = value(squash_new_layers(*store_, built));
  ASSERT_EQ(squashed.diff_ids.size(), 2u);
  EXPECT_EQ(squashed.diff_ids[0], built.diff_ids[0]);
  oci::ImageConfig config = value(oci::ImageConfig::parse(squashed.config_json));
  ASSERT_EQ(config.history.size(), 4u);
  EXPECT_FALSE(config.history[0].empty_layer);
  EXPECT_TRUE(config.history[1].empty_layer && config.history[2].empty_layer);
  EXPECT_FALSE(config.history[3].empty_layer);
  EXPECT_EQ(config.history[3].comment, "merge " + built.config_digest.str() + " to " + sha256("base").str());
  EXPECT_EQ(value(squash_new_layers(*store_, built)).config_json, squashed.config_json);
  EXPECT_EQ(value(squash_new_layers(*store_, squashed)).config_json, squashed.config_json);
  // The same is seen.
  export_ok({built}, "type=tar,dest=" + at("a.tar"));
  export_ok({squashed}, "type=tar,dest=" + at("b.tar"));
  EXPECT_EQ(slurp(at("a.tar")), slurp(at("b.tar")));
  built.base_layers = 0;
  config = value(oci::ImageConfig::parse(value(squash_new_layers(*store_, built)).config_json));
  EXPECT_EQ(config.diff_ids.size(), 1u);
  EXPECT_EQ(config.history.back().comment, "create new from " + built.config_digest.str());
}

// ---- other tools

TEST_F(OciExport, SkopeoReadsIt) {
  NEEDS_PROGRAM("skopeo");
  BuiltPlatform built = usual();
  built.attestations.push_back({"https://slsa.dev/provenance/v1", "{}"});
  export_ok({usual("linux/arm64"), built}, "type=oci,compression=zstd,name=app:1,dest=" + at("o.tar"));
  const std::string raw = shell("skopeo --tmpdir " + work_.path() + " inspect --raw oci-archive:" + at("o.tar") + ":1");
  oci::Index index = value(oci::Index::parse(raw));
  EXPECT_EQ(index.manifests.size(), 3u);
  spew(at("policy.json"), "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}");
  shell("skopeo --policy " + at("policy.json") + " --tmpdir " + work_.path() + " --override-arch amd64 copy oci-archive:" + at("o.tar") +
        ":1 oci:" + at("copied") + ":x");
  check_manifest(at("copied"), index_of(at("copied")).manifests[0], built);
  shell("skopeo --policy " + at("policy.json") + " --tmpdir " + work_.path() + " copy --all oci-archive:" + at("o.tar") + ":1 oci:" + at("all") + ":x");
  export_ok({usual()}, "type=docker,name=app:1,dest=" + at("d.tar"));
  shell("skopeo --policy " + at("policy.json") + " --tmpdir " + work_.path() + " copy docker-archive:" + at("d.tar") + " oci:" + at("copied") + ":d");
}

TEST_F(OciExport, UmociUnpacksIt) {
  NEEDS_PROGRAM("umoci");
  NEEDS_ROOT();
  BuiltPlatform built = value(rewrite_timestamps(*store_, usual(), 1'500'000'000));
  export_ok({built}, "type=oci,tar=false,name=app:1,dest=" + at("layout"));
  shell("umoci unpack --image " + at("layout") + ":1 " + at("bundle"));
  export_ok({built}, "type=local,dest=" + at("local"));
  EXPECT_EQ(store::testing::difference(store::testing::dump_tree(at("bundle/rootfs")), store::testing::dump_tree(at("local"))), "");
}

TEST_F(OciExport, SquashedImageIsAppliedAlikeByUmoci) {
  NEEDS_PROGRAM("umoci");
  NEEDS_ROOT();
  LayerPtr base = layer_of(*store_, {folder("d"), text("d/old", "1"), folder("e"), text("e/x", "1"), text("f", "1")});
  LayerPtr one = layer_of(*store_, {gone("d"), text("tmp", "t"), text("h1", "h"), link_to("h2", "h1"), gone("e/x")});
  LayerPtr two = layer_of(*store_, {folder("d"), text("d/new", "2"), gone("tmp"), gone("h1"), gone("f")});
  BuiltPlatform built = value(squash_new_layers(*store_, built_of({base, one, two}, "linux/amd64", 1)));
  export_ok({built}, "type=oci,tar=false,name=app:1,dest=" + at("layout"));
  shell("umoci unpack --image " + at("layout") + ":1 " + at("bundle"));
  EXPECT_EQ(shell("cd " + at("bundle/rootfs") + " && find . -type f -o -type d | sort | tr '\\n' ' '"), ". ./d ./d/new ./e ./h2 ");
}

}  // namespace
}  // namespace kasane::transfer
