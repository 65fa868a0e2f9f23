#include "serve/request_target.h"

#include <gtest/gtest.h>

#include "base/text.h"

namespace kasane::serve {
namespace {

using Kind = Route::Kind;

TEST(RequestTarget, EveryEndpoint) {
  struct Case {
    const char* target;
    Kind kind;
    const char* name;
    const char* reference;
  };
  for (const Case& c : {
           Case{"/v2", Kind::kBase, "", ""},
           Case{"/v2/", Kind::kBase, "", ""},
           Case{"/v2/?x=1", Kind::kBase, "", ""},
           Case{"/v2/_catalog?n=3", Kind::kCatalog, "", ""},
           Case{"/v2/a/tags/list", Kind::kTags, "a", ""},
           Case{"/v2/a/b/c/tags/list", Kind::kTags, "a/b/c", ""},
           Case{"/v2/a/manifests/latest", Kind::kManifest, "a", "latest"},
           Case{"/v2/a/manifests/sha256%3Aab", Kind::kManifest, "a", "sha256:ab"},
           Case{"/v2/a/blobs/sha256:ab", Kind::kBlob, "a", "sha256:ab"},
           Case{"/v2/a/blobs/uploads/", Kind::kUploads, "a", ""},
           Case{"/v2/a/blobs/uploads", Kind::kUploads, "a", ""},
           Case{"/v2/a/blobs/uploads/id", Kind::kUpload, "a", "id"},
           Case{"/v2/a/referrers/sha256:ab", Kind::kReferrers, "a", "sha256:ab"},
           // Names that look like endpoints.
           Case{"/v2/tags/list/tags/list", Kind::kTags, "tags/list", ""},
           Case{"/v2/a/blobs/uploads/manifests/x", Kind::kManifest, "a/blobs/uploads", "x"},
           Case{"/v2/manifests/manifests/manifests", Kind::kManifest, "manifests", "manifests"},
       }) {
    Route route = parse_target(c.target);
    EXPECT_EQ(route.kind, c.kind) << c.target;
    EXPECT_EQ(route.name, c.name) << c.target;
    EXPECT_EQ(route.reference, c.reference) << c.target;
    EXPECT_EQ(route.valid_name, *c.name != 0) << c.target;
  }
}

TEST(RequestTarget, OtherPathsAreUnknown) {
  for (const char* target :
       {"/", "/v1/", "/v2x", "/v2/a", "/v2/a/b", "/v2/tags/list", "/v2/manifests/x", "/v2//manifests/x",
        "/v2/a/tags/other", "/v2/a/%zz/manifests/x", "/v2/a%00/manifests/x", "/v2/a/manifests/%4"})
    EXPECT_EQ(parse_target(target).kind, Kind::kUnknown) << target;
}

TEST(RequestTarget, BadNamesAreMarked) {
  for (const char* name : {"..", "a/../b", "A", "_uploads", "a/_tags", "a_", "a//b", "%2e%2e", "a%2F..%2Fb"}) {
    Route route = parse_target("/v2/" + std::string(name) + "/manifests/x");
    EXPECT_EQ(route.kind, Kind::kManifest) << name;
    EXPECT_FALSE(route.valid_name) << name;
  }
  EXPECT_FALSE(parse_target("/v2/" + std::string(256, 'a') + "/manifests/x").valid_name);
}

TEST(RequestTarget, Queries) {
  Route route = parse_target("/v2/a/manifests/x?tag=1&tag=2%2B&empty&=v&&bad=%zz&a=b=c&plus=1+2");
  Query expected{{"tag", "1"}, {"tag", "2+"}, {"empty", ""}, {"", "v"}, {"a", "b=c"}, {"plus", "1 2"}};
  EXPECT_EQ(route.query, expected);
  EXPECT_EQ(*find_parameter(route.query, "tag"), "1");
  EXPECT_EQ(find_parameter(route.query, "none"), nullptr);
}

TEST(RequestTarget, EncodingRoundTrip) {
  std::string all;
  for (int c = 1; c < 256; ++c) all += static_cast<char>(c);
  std::string encoded = percent_encode(all, "/:");
  EXPECT_EQ(parse_target("/v2/?all=" + encoded).query, (Query{{"all", all}}));
  EXPECT_EQ(encoded.find_first_of(" <>\"&?#\r\n+"), std::string::npos);
}

}  // namespace
}  // namespace kasane::serve
