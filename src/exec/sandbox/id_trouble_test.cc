#include "exec/sandbox/id_trouble.h"

#include <gtest/gtest.h>

namespace kasane::exec {
namespace {

std::string found(std::string_view text, size_t piece = 7) {
  IdTrouble trouble;
  for (size_t at = 0; at < text.size(); at += piece) trouble.see(text.substr(at, piece));
  trouble.finish();
  return trouble.line();
}

TEST(IdTrouble, KnowsTheProgramsThatDropPrivileges) {
  for (const char* line :
       {"chown: /x: Invalid argument", "chown: changing ownership of 'x': Invalid argument",
        "E: setgroups 65534 failed - setgroups (1: Operation not permitted)",
        "E: seteuid 42 failed - seteuid (22: Invalid argument)",
        "tar: etc/shadow: Cannot change ownership to uid 0, gid 42: Invalid argument",
        "npm ERR! Error: EINVAL: invalid argument, chown '/app'",
        "dpkg: error processing: error setting ownership of './usr': Invalid argument",
        "chgrp: x: Invalid argument"})
    EXPECT_EQ(found("before\n" + std::string(line) + "\nafter\n"), line);
  EXPECT_EQ(found("chown: /x: Invalid argument"), "chown: /x: Invalid argument");
}

TEST(IdTrouble, KeepsQuietOtherwise) {
  for (const char* text : {"", "\n\n", "make: *** [all] Error 2\n", "ls: Invalid argument\n",
                           "the owner of it is root\n", "chown: x: No such file or directory\n"})
    EXPECT_EQ(found(text), "") << text;
}

TEST(IdTrouble, IsBounded) {
  std::string endless(10 << 20, 'x');
  EXPECT_EQ(found(endless, 65536), "");
  EXPECT_EQ(found(endless + " chown: Invalid argument\nchown: a: Invalid argument\n", 65536),
            "chown: a: Invalid argument");
}

}  // namespace
}  // namespace kasane::exec
