#include "transfer/add_to_index.h"

#include <gtest/gtest.h>

#include "oci/json_build.h"

namespace kasane::transfer {
namespace {

std::string digest(char c) { return "sha256:" + std::string(64, c); }

oci::Json entry(char c, const std::string& architecture) {
  return *oci::Json::parse("{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"" + digest(c) +
                               "\",\"size\":1,\"platform\":{\"architecture\":\"" + architecture + "\",\"os\":\"linux\"}}",
                           "entry");
}

std::string digests(const IndexEdit& index) {
  std::string out;
  for (const oci::Json& one : index.entries) out += oci::member_text(one, "digest")[7];
  return out;
}

TEST(AddToIndex, AMarkerRepairsWhatAStaleWriterUndid) {
  JoinMarker marker;
  marker.entries = {entry('b', "arm64")};
  IndexEdit lost;  // the writer had read before
  lost.add(entry('a', "amd64"));
  apply_marker(lost, marker);
  EXPECT_EQ(digests(lost), "ab");
  apply_marker(lost, marker);
  EXPECT_EQ(digests(lost), "ab");
  marker.entries = {entry('c', "arm64")};
  marker.replaced = {digest('b')};
  apply_marker(lost, marker);
  EXPECT_EQ(digests(lost), "ac");
}

TEST(AddToIndex, AnOldMarkerDoesNotBringBackWhatOthersReplaced) {
  JoinMarker old;
  old.entries = {entry('b', "arm64")};
  old.replaced = {digest('a')};
  IndexEdit index;
  index.add(entry('d', "arm64"));
  apply_marker(index, old);
  EXPECT_EQ(digests(index), "d");
}

}  // namespace
}  // namespace kasane::transfer
