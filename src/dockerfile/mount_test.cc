#include "dockerfile/mount.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dockerfile/expand.h"
#include "dockerfile/parser.h"

namespace kasane::dockerfile {
namespace {

using RunInstruction = Run;  // inside a TEST, Run is testing::Test::Run

using ::testing::HasSubstr;

Result<Mount> expanded(const std::string& csv) {
  return parse_mount({csv, {}}, [](std::string_view value) -> Result<std::string> {
    EnvironmentList env({"T=cache", "N=7"});
    auto word = expand_word(value, env);
    if (!word) return std::move(word.error());
    return std::move(word->value);
  });
}

Mount must(const std::string& csv) {
  auto mount = expanded(csv);
  if (!mount) ADD_FAILURE() << csv << ": " << mount.error().full_message();
  return mount ? *mount : Mount();
}

TEST(Mount, TypesAndDefaults) {
  Mount bind = must("target=/a,source=b,from=stage");
  EXPECT_EQ(bind.type, MountType::kBind);
  EXPECT_TRUE(bind.read_only);
  EXPECT_EQ(bind.from, "stage");
  EXPECT_FALSE(must("target=/a,rw").read_only);
  EXPECT_TRUE(must("dst=/a,rw=false").read_only);
  Mount cache = must("TYPE=Cache,destination=/a,id=x,sharing=Locked,mode=0755,uid=1,gid=$N");
  EXPECT_FALSE(cache.read_only);
  EXPECT_EQ(cache.sharing, CacheSharing::kLocked);
  EXPECT_EQ(cache.mode, 0755u);
  EXPECT_EQ(cache.gid, 7u);
  EXPECT_EQ(must("type=tmpfs,target=/a,size=64m").size_bytes, 64u << 20);
  EXPECT_EQ(must("type=tmpfs,target=/a,size=1.5GiB").size_bytes, 3u << 29);
  Mount secret = must("required,type=secret,id=t,env=TOKEN");
  EXPECT_TRUE(secret.required);
  EXPECT_EQ(secret.env, "TOKEN");
  EXPECT_EQ(must("type=ssh").type, MountType::kSsh);
  EXPECT_EQ(must("type=$T,target=/a").type, MountType::kCache);
  EXPECT_EQ(must("\"target=/a,b\",\"source=\"\"x\"\"\"").target, "/a,b");
}

TEST(Mount, Errors) {
  auto check = [](const std::string& csv, const std::string& message) {
    auto mount = expanded(csv);
    ASSERT_FALSE(mount) << csv;
    EXPECT_THAT(mount.error().full_message(), HasSubstr(message)) << csv;
  };
  check("type=cahce,target=/a", "unsupported mount type \"cahce\" (did you mean cache?)");
  check("type=cache,target=/a,sharing=lock", "unsupported sharing value \"lock\"");
  check("tagret=/a", "unexpected key 'tagret' in 'tagret=/a' (did you mean target?)");
  check("foo", "invalid field 'foo' must be a key=value pair");
  check("target=/a,ro=maybe", "invalid value for ro: maybe");
  check("target=/a,required", "unexpected key 'required' for mount type 'bind'");
  check("target=/a,size=1m", "unexpected key 'size' for mount type 'bind'");
  check("target=/a,mode=7", "mode not allowed for \"bind\" type mounts");
  check("type=cache,target=/a,mode=8", "invalid value 8 for mode");
  check("type=cache,target=/a,uid=-1", "invalid value -1 for uid");
  check("type=secret", "invalid secret mount. one of source, target required");
  check("type=secret,id=a,source=b", "both source and id can't be set");
  check("type=secret,id=a,from=b", "secret mount should not have a from");
  check("type=secret,id=a,sharing=shared", "secret mount should not define sharing");
  check("target=/a,sharing=shared", "invalid cache sharing set for bind mount");
  check("target=/a,from=$x", "'from' doesn't support variable expansion");
  check("target=/", "invalid mount target \"/\"");
  check("\"target=/a", "failed to parse csv mounts");
  check("type=tmpfs,target=/a,size=1x", "invalid value for size: 1x");
  check("", "invalid field ''");
}

TEST(Mount, ParseTimeLeavesVariablesAlone) {
  auto file = parse("Dockerfile",
                    "FROM scratch\nRUN --mount=type=$T,target=$D,uid=$U,required=$R "
                    "--mount=type=bind,from=x,target=y ls\n");
  ASSERT_TRUE(file) << file.error().full_message();
  const RunInstruction& run = std::get<RunInstruction>(file->stages[0].instructions[0].value);
  ASSERT_EQ(run.mounts.size(), 2u);
  EXPECT_EQ(run.mounts[0].parsed.target, "$D");
  EXPECT_EQ(run.mounts[1].parsed.from, "x");
  auto bad = parse("Dockerfile", "FROM scratch\nRUN --mount=type=nope ls\n");
  ASSERT_FALSE(bad);
  const SourceSpan& span = bad.error().span();
  EXPECT_EQ(span.source->text().substr(span.begin, span.end - span.begin), "type=nope");
}

TEST(RunFlags, NetworkAndSecurity) {
  auto run = [](const std::string& flags) {
    return parse("Dockerfile", "FROM scratch\nRUN " + flags + " x");
  };
  auto host = run("--network=host --security=insecure --device=a/b");
  ASSERT_TRUE(host);
  const RunInstruction& value = std::get<RunInstruction>(host->stages[0].instructions[0].value);
  EXPECT_EQ(value.network, NetworkMode::kHost);
  EXPECT_EQ(value.security, SecurityMode::kInsecure);
  EXPECT_EQ(value.devices.size(), 1u);
  EXPECT_THAT(run("--network=hots").error().full_message(),
              HasSubstr("invalid network mode \"hots\" (did you mean host?)"));
  EXPECT_THAT(run("--security=none").error().full_message(), HasSubstr("is not valid"));
}

}  // namespace
}  // namespace kasane::dockerfile
