#include "transfer/index_edit.h"

#include <gtest/gtest.h>

namespace kasane::transfer {
namespace {

std::string digest(char c) { return "sha256:" + std::string(64, c); }

oci::Json entry(char c, const std::string& architecture, std::string_view type = oci::kMediaTypeManifest) {
  std::string text = "{\"mediaType\":\"" + std::string(type) + "\",\"digest\":\"" + digest(c) + "\",\"size\":1";
  if (!architecture.empty())
    text += ",\"platform\":{\"architecture\":\"" + architecture + "\",\"os\":\"linux\",\"os.features\":[\"x\"]}";
  return *oci::Json::parse(text + "}", "entry");
}

oci::Json attestation(char c, char about) {
  oci::Json out = entry(c, "unknown");
  oci::set_member(out, "annotations",
             oci::json_object({{"vnd.docker.reference.digest", oci::json_text(digest(about))},
                          {"vnd.docker.reference.type", oci::json_text("attestation-manifest")}}));
  return out;
}

std::string digests(const IndexEdit& index) {
  std::string out;
  for (const oci::Json& one : index.entries) out += oci::member_text(one, "digest")[7];
  return out;
}

TEST(IndexEdit, JoiningReplacesThePlatformAndItsAttestations) {
  IndexEdit index;
  for (oci::Json one : {entry('a', "amd64"), entry('b', "arm64"), attestation('c', 'a'), attestation('d', 'b')})
    index.add(std::move(one));
  index.join(entry('e', "amd64"));
  EXPECT_EQ(digests(index), "ebd");
  index.join(entry('f', "s390x"));
  EXPECT_EQ(digests(index), "ebdf");
  index.join(entry('e', "amd64"));  // again: the same index
  EXPECT_EQ(digests(index), "ebdf");
  EXPECT_EQ(index.digest_for(oci::Platform{"linux", "arm64", "v8", ""}), digest('b'));
  EXPECT_EQ(index.digest_for(oci::Platform{"linux", "386", "", ""}), "");
}

TEST(IndexEdit, AddingCompletesWhatIsThere) {
  IndexEdit index;
  index.add(entry('a', ""));
  index.add(entry('a', "amd64"));
  oci::Json noted = entry('a', "");
  oci::set_member(noted, "annotations", oci::json_object({{"k", oci::json_text("v")}}));
  index.add(std::move(noted));
  ASSERT_EQ(index.entries.size(), 1u);
  EXPECT_EQ(platform_of(index.entries[0])->architecture, "amd64");
  EXPECT_NE(index.serialize(0).find("\"os.features\":[\"x\"]"), std::string::npos);
  EXPECT_NE(index.serialize(0).find("\"k\":\"v\""), std::string::npos);
}

TEST(IndexEdit, TheTypeFollowsTheEntries) {
  IndexEdit index;
  EXPECT_EQ(index.type(), oci::kMediaTypeIndex);
  index.add(entry('a', "amd64", oci::kDockerManifest));
  EXPECT_EQ(index.type(), oci::kDockerIndex);
  index.add(entry('b', "arm64"));
  EXPECT_EQ(index.type(), oci::kMediaTypeIndex);
  const Result<registry::Document> back = registry::classify(index.serialize(2), "");
  ASSERT_TRUE(back.has_value());
  EXPECT_TRUE(back->is_index);
  const Result<IndexEdit> again = IndexEdit::of(*back, nullptr);
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->serialize(2), index.serialize(2));
}

}  // namespace
}  // namespace kasane::transfer
