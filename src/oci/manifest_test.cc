#include "oci/manifest.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"
#include "base/process.h"
#include "oci/image_config.h"

namespace kasane::oci {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');
const std::string kConfig =
    R"({"mediaType":"application/vnd.oci.image.config.v1+json","digest":")" + kDigest +
    R"(","size":2})";

std::string manifest_with(const std::string& members) {
  return R"({"schemaVersion":2,"config":)" + kConfig + R"(,"layers":[])" + members + "}";
}

Manifest sample_manifest() {
  Manifest out;
  out.media_type = kMediaTypeManifest;
  out.config = {std::string(kMediaTypeConfig), kDigest, 2, {}, {}, {}};
  out.layers.push_back(
      {std::string(kMediaTypeLayer), kDigest, 1024, {{"k", "<v>"}}, {}, {"https://x/y"}});
  out.annotations = {{"org.opencontainers.image.title", "t"}};
  return out;
}

Index sample_index() {
  Index out;
  out.media_type = kMediaTypeIndex;
  Descriptor image{std::string(kMediaTypeManifest), kDigest, 7, {}, {}, {}};
  image.platform = Platform{"linux", "arm64", "v8", ""};
  out.manifests = {image};
  return out;
}

TEST(Manifest, RoundTrip) {
  std::string text = sample_manifest().serialize();
  EXPECT_EQ(
      text,
      R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":)" +
          kConfig +
          R"(,"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":")" +
          kDigest +
          R"(","size":1024,"urls":["https://x/y"],"annotations":{"k":"\u003cv\u003e"}}],)"
          R"("annotations":{"org.opencontainers.image.title":"t"}})");
  Result<Manifest> read = Manifest::parse(text);
  ASSERT_TRUE(read) << read.error().full_message();
  EXPECT_EQ(read->serialize(), text);
  std::string index = sample_index().serialize();
  Result<Index> again = Index::parse(index);
  ASSERT_TRUE(again) << again.error().full_message();
  EXPECT_EQ(again->serialize(), index);
  EXPECT_EQ(again->manifests[0].platform->str(), "linux/arm64/v8");
}

TEST(Manifest, RefusesAmbiguousAndLyingDocuments) {
  EXPECT_TRUE(Manifest::parse(manifest_with("")));
  const std::string bad[] = {
      "",
      "{}",
      "[]",
      manifest_with(R"(,"manifests":[])"),
      manifest_with(R"(,"Layers":[])"),
      manifest_with(R"(,"layers":[])"),
      manifest_with(R"(,"mediaType":"application/vnd.oci.image.index.v1+json")"),
      R"({"schemaVersion":2,"config":)" + kConfig + "}",
      R"({"schemaVersion":3,"config":)" + kConfig + R"(,"layers":[]})",
      R"({"schemaVersion":2,"layers":[]})",
      R"({"schemaVersion":1,"fsLayers":[],"history":[]})",
      R"({"schemaVersion":2,"layers":[],"config":{"mediaType":"x","digest":")" + kDigest +
          R"(","size":-1}})",
      R"({"schemaVersion":2,"layers":[],"config":{"mediaType":"x","digest":")" + kDigest +
          R"(","size":1.5}})",
      R"({"schemaVersion":2,"layers":[],"config":{"mediaType":"x","digest":")" + kDigest + R"("}})",
      R"({"schemaVersion":2,"layers":[],"config":{"mediaType":"x","digest":"sha256:../../x","size":1}})",
      R"({"schemaVersion":2,"layers":[],"config":{"mediaType":"x","digest":")" + kDigest +
          R"(","size":2,"data":"e30="}})",
  };
  for (const std::string& text : bad) EXPECT_FALSE(Manifest::parse(text)) << text;
  EXPECT_FALSE(Index::parse(manifest_with("")));
  EXPECT_FALSE(Index::parse(R"({"schemaVersion":2,"manifests":[],"layers":[]})"));
  // "{}" and its digest: data that does match is fine.
  EXPECT_TRUE(Manifest::parse(
      R"({"schemaVersion":2,"layers":[],"config":{"mediaType":"x","size":2,"data":"e30=","digest":)"
      R"("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}})"));
}

TEST(Manifest, CarriesTheContentOfADescriptor) {
  Manifest manifest;
  manifest.media_type = kMediaTypeManifest;
  manifest.config.media_type = "x";
  manifest.config.digest = sha256(std::string_view("{}\n")).str();
  manifest.config.size = 3;
  manifest.config.data = "{}\n";
  Result<Manifest> read = Manifest::parse(manifest.serialize());
  ASSERT_TRUE(read) << read.error().full_message();
  EXPECT_EQ(read->config.data, "{}\n");
  manifest.config.data = "[]\n";
  EXPECT_FALSE(Manifest::parse(manifest.serialize()));
}

// Everything written is valid against the schemas of the image-spec.
TEST(Manifest, ValidAgainstTheSchemas) {
  const char* env = std::getenv("KASANE_CORPUS");
  std::string corpus = env ? env : KASANE_SOURCE_DIR "/../shared/corpus";
  std::string archive = corpus + "/oci-schema.tar.xz";
  if (!read_file(archive)) GTEST_SKIP() << "no " << archive;
  Result<ProcessOutput> python = run_process({"python3", "-c", "import jsonschema"});
  if (!python || python->exit_status != 0) GTEST_SKIP() << "python3 has no jsonschema";
  TempDir temp = TempDir::make().take();
  ASSERT_EQ(run_process({"tar", "xJf", archive, "-C", temp.path()})->exit_status, 0);

  ImageConfig image;
  image.architecture = "amd64";
  image.os = "linux";
  image.created = format_time(1);
  image.config.exposed_ports = {"80/tcp"};
  image.config.healthcheck = Healthcheck{{"NONE"}, 0, 0, 0, 0, 0};
  image.config.volumes = {"/v"};
  image.config.labels = {{"a", "b"}};
  image.diff_ids.emplace_back();
  image.history = {{format_time(2), "", "x", "", true}, {"", "", "", "", false}};
  ImageConfig empty;
  const std::pair<std::string, std::string> documents[] = {
      {"config-schema.json", image.serialize()},
      {"config-schema.json", empty.serialize()},
      {"image-manifest-schema.json", sample_manifest().serialize()},
      {"image-index-schema.json", sample_index().serialize()},
  };
  const std::string script = R"(
import json, os, sys, jsonschema
folder, schema, document = sys.argv[1:]
load = lambda name: json.load(open(os.path.join(folder, name)))
class Local(jsonschema.RefResolver):  # every reference names a file of the same folder
    def resolve_from_url(self, url):
        path, _, fragment = url.partition('#')
        return self.resolve_fragment(load(path.rsplit('/', 1)[-1]), fragment)
root = load(schema)
resolver = Local('file:///' + schema, root)
jsonschema.Draft4Validator(root, resolver=resolver).validate(json.load(open(document)))
)";
  for (const auto& [schema, text] : documents) {
    std::string path = temp.path() + "/document.json";
    ASSERT_TRUE(replace_file(path, text));
    Result<ProcessOutput> run = run_process(
        {"python3", "-W", "ignore", "-c", script, temp.path() + "/oci-schema", schema, path});
    ASSERT_TRUE(run);
    EXPECT_EQ(run->exit_status, 0) << schema << "\n" << text << "\n" << run->err;
  }
}

}  // namespace
}  // namespace kasane::oci
