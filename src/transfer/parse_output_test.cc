#include <gtest/gtest.h>

#include "transfer/export_testing.h"

namespace kasane::transfer {
namespace {

using Kind = ExportOptions::Kind;
using testing::value;

ExportOptions good(std::string_view text) { return value(parse_output(text)); }
std::string bad(std::string_view text) {
  Result<ExportOptions> out = parse_output(text);
  return out ? "accepted" : out.error().full_message();
}

TEST(ParseOutput, ShortForms) {
  EXPECT_EQ(good("out").kind, Kind::kLocal);
  EXPECT_EQ(good("out").dest, "out");
  EXPECT_EQ(good("a=b").dest, "a=b");  // as buildx: a lone word is a directory
  EXPECT_EQ(good("-").kind, Kind::kTar);
  EXPECT_TRUE(good("-").to_stdout());
}

TEST(ParseOutput, KindsAndAttributes) {
  ExportOptions oci = good(
      "type=oci,dest=o.tar,compression=zstd,compression-level=9,force-compression=true,"
      "rewrite-timestamp=1,source-date-epoch=77");
  EXPECT_EQ(oci.kind, Kind::kOci);
  EXPECT_EQ(oci.dest, "o.tar");
  EXPECT_EQ(oci.compression, Compression::kZstd);
  EXPECT_EQ(oci.level, 9);
  EXPECT_TRUE(oci.force_compression && oci.rewrite_timestamp && oci.tar && oci.oci_artifact);
  EXPECT_EQ(oci.epoch, 77);
  EXPECT_FALSE(good("type=oci,tar=false,dest=d").tar);
  EXPECT_TRUE(good("type=oci").to_stdout());
  EXPECT_FALSE(good("type=docker").to_stdout());  // without dest: into the store
  EXPECT_TRUE(good("type=docker,dest=-").to_stdout());
  EXPECT_TRUE(good("type=local,dest=d,mode=delete").local_delete);
  EXPECT_EQ(good("type=tar,platform-split=false").platform_split, false);
  EXPECT_EQ(good("dest=, TYPE =cacheonly").kind, Kind::kCacheOnly);
  EXPECT_FALSE(good("type=oci,oci-mediatypes=false").oci_artifact);
}

TEST(ParseOutput, RegistryIsImageWithPush) {
  ExportOptions out = good("type=registry,name=a/b:1,registry.insecure=true,push-by-digest=true");
  EXPECT_EQ(out.kind, Kind::kImage);
  EXPECT_TRUE(out.push && out.insecure_registry && out.push_by_digest);
  EXPECT_EQ(out.names, std::vector<std::string>{"docker.io/a/b:1"});
  EXPECT_FALSE(good("type=image").push);
  EXPECT_TRUE(good("type=image,push=true").push);
}

TEST(ParseOutput, Csv) {
  EXPECT_EQ(good("type=oci,\"name=a,b:2\",dest=x").names,
            (std::vector<std::string>{"docker.io/library/a:latest", "docker.io/library/b:2"}));
  EXPECT_EQ(good("type=local,\"dest=a \"\"b\"\"\"").dest, "a \"b\"");
  EXPECT_NE(bad("type=local,\"dest=a").find("not closed"), std::string::npos);
  EXPECT_NE(bad("type=local,dest=a\"b").find("inside a field"), std::string::npos);
  EXPECT_NE(bad("type=local,\"dest=a\"b").find("comma"), std::string::npos);
}

TEST(ParseOutput, Annotations) {
  ExportOptions out = good(
      "type=oci,annotation.a=1,annotation-index.b=2,annotation-manifest-descriptor[linux/arm64].c.d=3");
  ASSERT_EQ(out.annotations.size(), 3u);
  EXPECT_EQ(out.annotations[0].key, "a");
  EXPECT_EQ(out.annotations[0].type, Annotation::Type::kManifest);
  EXPECT_EQ(out.annotations[1].type, Annotation::Type::kIndex);
  EXPECT_EQ(out.annotations[2].type, Annotation::Type::kManifestDescriptor);
  EXPECT_EQ(out.annotations[2].key, "c.d");
  EXPECT_EQ(out.annotations[2].platform->str(), "linux/arm64");
  EXPECT_NE(bad("type=oci,annotation-indx.a=1").find("did you mean index?"), std::string::npos);
}

TEST(ParseOutput, Errors) {
  EXPECT_EQ(bad("type=locl,dest=x"),
            "invalid output \"type=locl,dest=x\": output type \"locl\" is not known (did you mean local?)");
  EXPECT_NE(bad("type=oci,compresion=gzip").find("did you mean compression?"), std::string::npos);
  EXPECT_NE(bad("type=oci,compression=gzp").find("did you mean gzip?"), std::string::npos);
  EXPECT_NE(bad("type=oci,compression=estargz").find("not supported"), std::string::npos);
  EXPECT_NE(bad("type=oci,mode=delete").find("belongs to other outputs"), std::string::npos);
  EXPECT_NE(bad("dest=x,name=y").find("type is required"), std::string::npos);
  EXPECT_NE(bad("type=local").find("dest is required"), std::string::npos);
  EXPECT_NE(bad("type=local,dest=-").find("cannot be stdout"), std::string::npos);
  EXPECT_NE(bad("type=oci,tar=maybe").find("true or false"), std::string::npos);
  EXPECT_NE(bad("type=oci,compression-level=99").find("not between"), std::string::npos);
  EXPECT_NE(bad("type=oci,compression-level=9x").find("whole number"), std::string::npos);
  EXPECT_NE(bad("type=oci,compression=zstd,oci-mediatypes=false").find("conflicts"), std::string::npos);
  EXPECT_NE(bad("type=oci,name=A:B:C").find("name=A:B:C"), std::string::npos);
  EXPECT_NE(bad("type=oci,x").find("not key=value"), std::string::npos);
  EXPECT_NE(bad("").find("empty"), std::string::npos);
  EXPECT_NE(bad("type=image,dest=x").find("takes no dest"), std::string::npos);
  EXPECT_NE(bad("type=tar,attestation-prefix=../").find("must not hold"), std::string::npos);
  EXPECT_NE(bad(std::string("type=local,dest=a\0b", 19)).find("NUL"), std::string::npos);
}

TEST(ParseAnnotation, AsBuildx) {
  std::vector<Annotation> plain = value(parse_annotation("k=v=w"));
  ASSERT_EQ(plain.size(), 1u);
  EXPECT_EQ(plain[0].key, "k");
  EXPECT_EQ(plain[0].value, "v=w");
  std::vector<Annotation> typed =
      value(parse_annotation("index,manifest[linux/arm/v7],index-descriptor:org.x/y=1"));
  ASSERT_EQ(typed.size(), 3u);
  EXPECT_EQ(typed[0].type, Annotation::Type::kIndex);
  EXPECT_EQ(typed[1].platform->str(), "linux/arm/v7");
  EXPECT_EQ(typed[2].key, "org.x/y");
  EXPECT_FALSE(parse_annotation("novalue"));
  EXPECT_FALSE(parse_annotation("manifest:=v"));
  EXPECT_FALSE(parse_annotation("manifest[]:k=v"));
  EXPECT_FALSE(parse_annotation("manifest[linux:k=v"));
  EXPECT_NE(parse_annotation("manifst:k=v").error().full_message().find("did you mean manifest?"),
            std::string::npos);
}

TEST(CheckLocalDelete, OnlyBelowTheCurrentDirectory) {
  const auto allowed = [](const std::string& dest, bool flag = false) {
    ExportOptions options;
    options.dest = dest;
    options.local_delete = true;
    return check_local_delete(options, flag).has_value();
  };
  EXPECT_TRUE(allowed("out"));
  EXPECT_TRUE(allowed("a/../b"));
  for (const char* dest : {".", "./", "..", "../x", "/", "/tmp", "a/../..", "a/.."})
    EXPECT_FALSE(allowed(dest)) << dest;
  EXPECT_TRUE(allowed("/", true));
}

}  // namespace
}  // namespace kasane::transfer
