#include "exec/sandbox/user_lookup.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace kasane::exec {
namespace {

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "broken line\n"
    "evil:x:abc:0::/:/bin/sh\n"
    "huge:x:4294967296:0::/:/bin/sh\n"
    "minus:x:-1:0::/:/bin/sh\n"
    "node:x:1000:1000::/home/node:/bin/sh\n"
    "nohome:x:7:8:::\n"
    "2000:x:55:56::/digits:/bin/sh\r\n";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "wheel:x:10:root,node\n"
    "audio:x:29:node\n"
    "audio:x:29:node\n"
    "bad:x:zz:node\n"
    "node:x:1000:node\n";

struct Resolved {
  LookupStatus status;
  uint32_t uid, gid;
  std::vector<uint32_t> groups;
  std::string home;
};

Resolved resolve(std::string_view spec, std::string_view passwd = kPasswd,
                 std::string_view group = kGroup) {
  auto identity = std::make_unique<UserIdentity>();
  LookupStatus status = resolve_user(spec, passwd, group, *identity);
  return {status, identity->uid, identity->gid,
          std::vector<uint32_t>(identity->groups, identity->groups + identity->group_count),
          std::string(identity->home)};
}

TEST(UserLookup, NamesAndNumbersGetTheirImageGroups) {
  using Groups = std::vector<uint32_t>;
  Resolved node = resolve("node");
  EXPECT_EQ(node.status, LookupStatus::kOk);
  EXPECT_EQ(node.uid, 1000u);
  EXPECT_EQ(node.gid, 1000u);
  EXPECT_EQ(node.groups, (Groups{1000, 10, 29}));
  EXPECT_EQ(node.home, "/home/node");
  EXPECT_EQ(resolve("1000").groups, node.groups);
  EXPECT_EQ(resolve("").groups, (Groups{0, 10}));
  EXPECT_EQ(resolve("").home, "/root");
  EXPECT_EQ(resolve("root").uid, 0u);
  EXPECT_EQ(resolve("1000:").groups, node.groups);
}

TEST(UserLookup, ExplicitGroupHasNoSupplementaryGroups) {
  Resolved r = resolve("node:audio");
  EXPECT_EQ(r.gid, 29u);
  EXPECT_EQ(r.groups, (std::vector<uint32_t>{29}));
  EXPECT_EQ(resolve("node:4242").gid, 4242u);
  EXPECT_EQ(resolve("33:44", "", "").uid, 33u);
  EXPECT_EQ(resolve("33:44", "", "").gid, 44u);
}

TEST(UserLookup, UnlistedNumberHasGroupZero) {
  Resolved r = resolve("4321");
  EXPECT_EQ(r.status, LookupStatus::kOk);
  EXPECT_EQ(r.uid, 4321u);
  EXPECT_EQ(r.gid, 0u);
  EXPECT_EQ(r.groups, (std::vector<uint32_t>{0}));
  EXPECT_EQ(r.home, "/");
  EXPECT_EQ(resolve("nohome").home, "/");
  EXPECT_EQ(resolve("2000").uid, 55u);  // a user that is *named* 2000
}

TEST(UserLookup, NothingWrapsToRoot) {
  EXPECT_EQ(resolve("2147483647").uid, 2147483647u);
  for (std::string_view bad : {"2147483648", "4294967295", "4294967296", "99999999999999999999"})
    EXPECT_EQ(resolve(bad).status, LookupStatus::kOutOfRange) << bad;
  for (std::string_view bad : {"-1", "0x0", " 0", "0 ", "+0", "1000foo", "evil", "huge", "minus"})
    EXPECT_EQ(resolve(bad).status, LookupStatus::kUnknownUser) << bad;
  EXPECT_EQ(resolve(":0").status, LookupStatus::kEmptyUser);
  EXPECT_EQ(resolve("root:nogroup").status, LookupStatus::kUnknownGroup);
  EXPECT_EQ(resolve("root:bad").status, LookupStatus::kUnknownGroup);
  EXPECT_EQ(resolve("root:1:2").status, LookupStatus::kUnknownGroup);
  EXPECT_EQ(resolve("root:4294967296").status, LookupStatus::kOutOfRange);
}

}  // namespace
}  // namespace kasane::exec
