#include "serve/manifest_document.h"

#include <gtest/gtest.h>

namespace kasane::serve {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');
const std::string kImage = "application/vnd.oci.image.manifest.v1+json";
const std::string kIndex = "application/vnd.oci.image.index.v1+json";

std::string descriptor(const std::string& type, const std::string& more = "") {
  return R"({"mediaType":")" + type + R"(","digest":")" + kDigest + R"(","size":3)" + more + "}";
}

std::string image(const std::string& more = "") {
  return R"({"schemaVersion":2,"mediaType":")" + kImage + R"(","config":)" + descriptor("c/t") +
         R"(,"layers":[)" + descriptor("l/t") + "," +
         descriptor("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip") + "]" + more + "}";
}

TEST(ManifestDocument, Image) {
  auto document = ManifestDocument::parse(
      image(R"(,"subject":)" + descriptor(kImage) + R"(,"annotations":{"a":"<b>"})"), kImage + "; charset=x");
  ASSERT_TRUE(document) << document.error().full_message();
  EXPECT_EQ(document->media_type, kImage);
  EXPECT_EQ(document->artifact_type, "c/t");
  EXPECT_EQ(document->subject->str(), kDigest);
  ASSERT_EQ(document->references.size(), 3u);
  EXPECT_FALSE(document->references[1].may_be_absent);
  EXPECT_TRUE(document->references[2].may_be_absent);
  EXPECT_EQ(document->referrer_descriptor(*ContentDigest::parse(kDigest), 7),
            R"({"mediaType":")" + kImage + R"(","digest":")" + kDigest +
                R"(","size":7,"annotations":{"a":"\u003cb\u003e"},"artifactType":"c/t"})");
}

TEST(ManifestDocument, Index) {
  auto document = ManifestDocument::parse(
      R"({"schemaVersion":2,"artifactType":"x/y","manifests":[)" + descriptor(kImage) + "]}", kIndex);
  ASSERT_TRUE(document) << document.error().full_message();
  EXPECT_TRUE(document->references.at(0).is_manifest);
  EXPECT_EQ(document->artifact_type, "x/y");
  EXPECT_TRUE(ManifestDocument::parse(R"({"schemaVersion":2,"manifests":null})", kIndex));
}

TEST(ManifestDocument, TypesMustAgree) {
  EXPECT_TRUE(ManifestDocument::parse(image(), ""));
  EXPECT_TRUE(ManifestDocument::parse(image(), "application/json"));
  EXPECT_FALSE(ManifestDocument::parse(image(), kIndex));
  EXPECT_FALSE(ManifestDocument::parse(image(), "text/plain"));
  EXPECT_FALSE(ManifestDocument::parse(R"({"schemaVersion":2,"manifests":[]})", ""));
}

TEST(ManifestDocument, RefusesSecondMeanings) {
  for (const std::string& more :
       {std::string(R"(,"manifests":[])"), std::string(R"(,"Layers":[])"), std::string(R"(,"layers":[])"),
        std::string(R"(,"fsLayers":[])"), R"(,"subject":{"digest":"sha384:)" + std::string(96, 'a') + R"(","size":1})"})
    EXPECT_FALSE(ManifestDocument::parse(image(more), kImage)) << more;
  for (const std::string& bad :
       {std::string(R"(,"data":"eA==")"), std::string(R"(,"data":"!")"), std::string(R"(,"Digest":"x")")})
    EXPECT_FALSE(ManifestDocument::parse(
        R"({"schemaVersion":2,"config":)" + descriptor("c/t", bad) + "}", kImage))
        << bad;
  EXPECT_FALSE(ManifestDocument::parse(R"({"schemaVersion":2})", kImage));
  EXPECT_FALSE(ManifestDocument::parse("", kImage));
}

TEST(ContentDigestTest, Grammar) {
  EXPECT_TRUE(ContentDigest::parse(kDigest));
  EXPECT_TRUE(ContentDigest::parse("sha512:" + std::string(128, '0')));
  for (const std::string& bad :
       {std::string("sha256"), std::string("sha256:"), "sha256:" + std::string(63, 'a'), "sha256:" + std::string(64, 'A'),
        "sha512:" + std::string(64, 'a'), "md5:" + std::string(32, 'a'), std::string("sha256:../x"), kDigest + "\n"})
    EXPECT_FALSE(ContentDigest::parse(bad)) << bad;
  EXPECT_EQ(ContentDigest::of("abc").hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(ContentDigest::of("abc", Algorithm::kSha512).hex.substr(0, 16), "ddaf35a193617aba");
}

}  // namespace
}  // namespace kasane::serve
