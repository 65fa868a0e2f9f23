// Profiles in Docker's form: what is chosen for this host, and what becomes of it.
#include "exec/seccomp/profile.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/fd.h"
#include "exec/seccomp/builtin_filter.h"
#include "exec/seccomp/filters.h"
#include "exec/seccomp/filter_machine.h"
#include "exec/seccomp/oci_form.h"
#include "oci/json.h"

namespace kasane::exec {
namespace {

constexpr uint32_t kEperm = SECCOMP_RET_ERRNO | EPERM;
constexpr uint32_t kEnosys = SECCOMP_RET_ERRNO | ENOSYS;

SeccompProfile parsed(std::string_view text) {
  auto profile = SeccompProfile::parse(text);
  EXPECT_TRUE(profile) << profile.error().full_message();
  return profile ? std::move(*profile) : SeccompProfile();
}

std::string rule(const std::string& name, const std::string& rest) {
  return R"({"names":[")" + name + R"("],"action":"SCMP_ACT_ALLOW")" + rest + "}";
}

std::string profile_of(const std::string& rules) {
  return R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[)" + rules + "]}";
}

TEST(SeccompProfile, ChoosesRulesForThisHost) {
  const auto kept = [](const std::string& conditions) {
    return parsed(profile_of(rule("read", conditions))).rules.size();
  };
  EXPECT_EQ(kept(""), 1u);
  EXPECT_EQ(kept(R"(,"includes":{"caps":["CAP_CHOWN"]})"), 1u);
  EXPECT_EQ(kept(R"(,"includes":{"caps":["CAP_CHOWN","CAP_SYS_ADMIN"]})"), 0u);
  EXPECT_EQ(kept(R"(,"excludes":{"caps":["CAP_CHOWN"]})"), 0u);
  EXPECT_EQ(kept(R"(,"excludes":{"caps":["CAP_SYS_ADMIN"]})"), 1u);
  EXPECT_EQ(kept(R"(,"includes":{"arches":["s390x"]})"), 0u);
  EXPECT_EQ(kept(R"(,"includes":{"minKernel":"4.8"})"), 1u);
  EXPECT_EQ(kept(R"(,"includes":{"minKernel":"999.0"})"), 0u);
  EXPECT_EQ(kept(R"(,"excludes":{"minKernel":"4.8"})"), 0u);
}

TEST(SeccompProfile, BadOnesAreRefused) {
  for (const char* text :
       {"", "[]", "{}", R"({"defaultAction":"SCMP_ACT_WHATEVER"})", R"({"defaultAction":1})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":{}})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[1]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","defaultErrno":"ENOTHING"})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":5000})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","archMap":[7]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"]}]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":"read","action":"SCMP_ACT_LOG"}]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"op":"="}]}]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}]}]})"})
    EXPECT_FALSE(SeccompProfile::parse(text)) << text;
  auto notify = SeccompProfile::parse(R"({"defaultAction":"SCMP_ACT_NOTIFY"})");
  ASSERT_FALSE(notify);
  EXPECT_EQ(notify.error().kind(), ErrorKind::kUnsupported);
}

#if defined(__x86_64__)
TEST(SeccompProfile, BecomesAProgram) {
  auto code = compile_profile(parsed(profile_of(
      rule("read", "") + "," +
      rule("socket", R"(,"args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"}])") +
      R"(,{"name":"unshare","action":"SCMP_ACT_ERRNO","errno":"EPERM"})" +
      "," + rule("not_a_call_of_any_kernel", ""))));
  ASSERT_TRUE(code) << code.error().full_message();
  EXPECT_EQ(filter_answer(*code, AUDIT_ARCH_X86_64, SYS_read), SECCOMP_RET_ALLOW);
  EXPECT_EQ(filter_answer(*code, AUDIT_ARCH_X86_64, SYS_socket, 2), SECCOMP_RET_ALLOW);
  EXPECT_EQ(filter_answer(*code, AUDIT_ARCH_X86_64, SYS_socket, 3), kEnosys);
  EXPECT_EQ(filter_answer(*code, AUDIT_ARCH_X86_64, SYS_unshare), kEperm);
  EXPECT_EQ(filter_answer(*code, AUDIT_ARCH_X86_64, SYS_write), kEnosys);
}

TEST(SeccompProfile, TheBuiltInOneLeavesYoungerCallsToTheInstalledOne) {
  const auto first = build_seccomp_filter(true);
  EXPECT_EQ(filter_answer(first, AUDIT_ARCH_X86_64, 600), SECCOMP_RET_ALLOW);
  EXPECT_EQ(filter_answer(first, AUDIT_ARCH_X86_64, SYS_unshare), kEperm);
  EXPECT_EQ(filter_answer(first, AUDIT_ARCH_X86_64, SYS_clone3), kEnosys);
  EXPECT_EQ(filter_answer(first, AUDIT_ARCH_X86_64, SYS_socket, 38), kEperm);
}
#endif

TEST(SeccompProfile, ChoicesOfTheUser) {
  auto directory = TempDir::make();
  ASSERT_TRUE(directory);
  const std::string store = directory->path();
  EXPECT_EQ(seccomp_filters(store, *read_seccomp_choice("unconfined"))->size(), 0u);
  EXPECT_EQ(seccomp_filters(store, *read_seccomp_choice("builtin"))->size(), 1u);
  EXPECT_EQ(*oci_seccomp(*read_seccomp_choice("unconfined")), "");
  EXPECT_FALSE(read_seccomp_choice(store + "/missing.json"));

  const std::string file = store + "/own.json";
  ASSERT_TRUE(replace_file(file, profile_of(rule("read", "")), 0600));
  auto choice = read_seccomp_choice(file);
  ASSERT_TRUE(choice) << choice.error().full_message();
  EXPECT_EQ(seccomp_filters(store, *choice)->size(), 1u);
  auto json = oci::Json::parse(*oci_seccomp(*choice), "seccomp");
  ASSERT_TRUE(json);
  EXPECT_EQ(json->find("defaultErrnoRet")->text, "38");
  EXPECT_EQ(json->find("syscalls")->items.size(), 1u);
}

// Twice: compiled, and as kept in the store; a damaged one is made anew.
TEST(SeccompProfile, TheInstalledOneIsKeptCompiled) {
  const std::string path = installed_profile();
  if (path.empty()) GTEST_SKIP() << "no profile is installed (package golang-github-containers-common)";
  auto directory = TempDir::make();
  ASSERT_TRUE(directory);
  auto first = seccomp_filters(directory->path(), {});
  ASSERT_TRUE(first) << first.error().full_message();
  ASSERT_EQ(first->size(), 2u);
  const auto same = [&](const SeccompFilters& other) {
    return other.size() == 2 && other[0].size() == (*first)[0].size() &&
           std::memcmp(other[0].data(), (*first)[0].data(),
                       other[0].size() * sizeof(sock_filter)) == 0;
  };
  EXPECT_TRUE(same(*seccomp_filters(directory->path(), {})));
  const std::string kept = directory->path() + "/seccomp." + std::to_string(::geteuid());
  ASSERT_TRUE(replace_file(kept, "kasane seccomp 1\n", 0600));
  EXPECT_TRUE(same(*seccomp_filters(directory->path(), {})));
}

}  // namespace
}  // namespace kasane::exec
