// The parts of the OCI executor that start nothing. What starts a runtime is tested by the
// tests of the sandbox with KASANE_TEST_RUNTIME, and by tests/e2e/oci_runtime_test.py.
#include <gtest/gtest.h>

#include <algorithm>

#include "exec/oci_runtime/config_writer.h"
#include "exec/oci_runtime/find_runtime.h"
#include "exec/seccomp/oci_form.h"
#include "oci/json.h"

namespace kasane::exec {
namespace {

TEST(OciConfig, OnlyWellFormedUtf8IsText) {
  for (std::string_view good : {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x90\xb3", "\x7f"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (std::string_view bad :
       {"\xff", "a\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf0\x9f\x90", "\xf8\x88\x80\x80\x80", "\xc3(", "\xe2\x82(x"})
    EXPECT_FALSE(is_utf8(bad)) << bad;
}

TEST(OciConfig, MessagesOfRuntimes) {
  EXPECT_EQ(runtime_message(""), "");
  EXPECT_EQ(runtime_message("\n\n"), "");
  EXPECT_EQ(runtime_message("first\ncgroups in hybrid mode not supported\n"),
            "cgroups in hybrid mode not supported");
  EXPECT_EQ(runtime_message("time=\"2026\" level=warning msg=\"x\"\n"
                            "time=\"2026\" level=error msg=\"exec: \\\"a\\\": not found\"\n"),
            "exec: \"a\": not found");
  EXPECT_EQ(runtime_message("level=error msg=\"cut of\\"), "cut of\\");
}

TEST(OciConfig, UnknownRuntimesAreNamed) {
  Result<Runtime> runtime = find_runtime("no-such-runtime");
  ASSERT_FALSE(runtime);
  EXPECT_NE(runtime.error().message().find("no-such-runtime is not installed"), std::string::npos);
  EXPECT_FALSE(find_runtime("/dev/null"));
  EXPECT_FALSE(find_runtime("/"));
  EXPECT_FALSE(find_runtime(""));
}

// The rules of `name` in the profile: action, errnoRet, and the argument's "op value second".
std::vector<std::string> rules_of(const oci::Json& profile, std::string_view name) {
  std::vector<std::string> rules;
  for (const oci::Json& rule : profile.find("syscalls")->items) {
    const std::vector<oci::Json>& names = rule.find("names")->items;
    if (std::none_of(names.begin(), names.end(),
                     [&](const oci::Json& item) { return item.text == name; }))
      continue;
    std::string text = rule.find("action")->text;
    if (const oci::Json* number = rule.find("errnoRet")) text += " " + number->text;
    if (const oci::Json* args = rule.find("args"))
      for (const oci::Json& arg : args->items)
        text += " " + arg.find("op")->text + " " + arg.find("value")->text + " " +
                arg.find("valueTwo")->text;
    rules.push_back(text);
  }
  return rules;
}

TEST(OciConfig, FilterIsThatOfTheTable) {
  auto profile = oci::Json::parse(make_seccomp_profile(nullptr), "profile");
  ASSERT_TRUE(profile) << profile.error().full_message();
  EXPECT_EQ(profile->find("defaultAction")->text, "SCMP_ACT_ERRNO");
  EXPECT_EQ(profile->find("defaultErrnoRet")->text, "38");
  using Rules = std::vector<std::string>;
  for (const char* name : {"read", "openat", "socketcall", "chroot", "ptrace"})
    EXPECT_EQ(rules_of(*profile, name), Rules{"SCMP_ACT_ALLOW"}) << name;
  for (const char* name : {"mount", "bpf", "keyctl", "unshare", "setns", "io_uring_setup",
                           "userfaultfd", "perf_event_open", "init_module", "reboot"})
    EXPECT_EQ(rules_of(*profile, name), Rules{"SCMP_ACT_ERRNO 1"}) << name;
  EXPECT_EQ(rules_of(*profile, "clone3"), Rules{});  // the default: libc falls back
  Rules clone = rules_of(*profile, "clone");
  EXPECT_EQ(clone.size(), 8u);
  EXPECT_EQ(clone[0], "SCMP_ACT_ALLOW SCMP_CMP_MASKED_EQ 2114060288 0");
  Rules socket = rules_of(*profile, "socket");
  auto count = [&](std::string_view rule) { return std::count(socket.begin(), socket.end(), rule); };
  EXPECT_EQ(count("SCMP_ACT_ERRNO 1 SCMP_CMP_MASKED_EQ 4294967295 38"), 1);
  EXPECT_EQ(count("SCMP_ACT_ERRNO 1 SCMP_CMP_MASKED_EQ 4294967295 40"), 1);
  EXPECT_EQ(count("SCMP_ACT_ALLOW SCMP_CMP_EQ 38 0"), 0);
  EXPECT_EQ(count("SCMP_ACT_ALLOW SCMP_CMP_EQ 2 0"), 1);
}

}  // namespace
}  // namespace kasane::exec
