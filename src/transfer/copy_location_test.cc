#include "transfer/copy_location.h"

#include <gtest/gtest.h>

namespace kasane::transfer {
namespace {

Location parsed(std::string_view text) {
  Result<Location> out = Location::parse(text);
  EXPECT_TRUE(out.has_value()) << text;
  return out ? *out : Location{};
}

TEST(CopyLocation, TransportsAreNamedAsSkopeosAre) {
  EXPECT_EQ(parsed("docker://alpine").reference.canonical(), "docker.io/library/alpine");
  EXPECT_EQ(parsed("localhost:5000/a/b:1").reference.canonical(), "localhost:5000/a/b:1");
  EXPECT_EQ(parsed("localhost:5000/a/b:1").transport, Transport::kRegistry);
  EXPECT_EQ(parsed("store:app:1").transport, Transport::kStore);
  EXPECT_EQ(parsed("store:app:1").reference.tag, "1");
  const Location layout = parsed("oci:/some/dir:v1");
  EXPECT_EQ(layout.transport, Transport::kLayout);
  EXPECT_EQ(layout.path, "/some/dir");
  EXPECT_EQ(layout.name, "v1");
  EXPECT_FALSE(parsed("oci:dir").is_named());
  EXPECT_FALSE(parsed("alpine").is_named());
  EXPECT_TRUE(parsed("alpine:3").is_named());
}

TEST(CopyLocation, NamesBehindPathsMayHaveColons) {
  const Location archive = parsed("docker-archive:a.tar:reg.example:5000/x:1");
  EXPECT_EQ(archive.transport, Transport::kDockerArchive);
  EXPECT_EQ(archive.path, "a.tar");
  EXPECT_EQ(archive.name, "reg.example:5000/x:1");
  EXPECT_TRUE(archive.is_tar());
  const std::string digest = "sha256:" + std::string(64, 'a');
  const Location by_digest = parsed("oci:dir@" + digest);
  EXPECT_EQ(by_digest.path, "dir");
  EXPECT_EQ(by_digest.digest, digest);
  EXPECT_EQ(parsed("oci-archive:f.tar:x@y").name, "x@y");
}

TEST(CopyLocation, WhatIsNoLocationIsRefused) {
  for (const char* text : {"", "docker://", "oci:", "oci::tag", "oci-archive:", "store:", "docker://x/UPPER", "a b",
                           "dir:x", "containers-storage:x", "docker-daemon:x:1", "oci:d@sha256:12"})
    EXPECT_FALSE(Location::parse(text).has_value()) << text;
  EXPECT_FALSE(Location::parse(std::string_view("oci:a\0b", 7)).has_value());
}

}  // namespace
}  // namespace kasane::transfer
