// The command line itself: global flags, groups, usage errors.
#include "cli/main.h"

#include "cli/testing.h"

namespace kasane::cli {
namespace {

using testing::Outcome;

class MainTest : public testing::CliTest {};

TEST_F(MainTest, VersionOpensNoStore) {
  Outcome outcome = run({"--version"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_TRUE(outcome.out.starts_with("kasane version ")) << outcome.out;
  EXPECT_EQ(run({"-v"}).out, outcome.out);
  EXPECT_EQ(run({"version", "--format", "{{.Client.Os}}"}).out, "linux\n");
  EXPECT_TRUE(run({"version"}).out.starts_with("Client: kasane\n Version: "));
  EXPECT_TRUE(run({"version", "-f", "json"}).out.starts_with("{\"Client\":{\"Version\":\""));
  EXPECT_NE(access(path("store").c_str(), F_OK), 0);
}

TEST_F(MainTest, VersionTemplateErrors) {
  Outcome outcome = run({"version", "-f", "{{"});
  EXPECT_EQ(outcome.code, 64);
  EXPECT_EQ(outcome.err, "template parsing error: template: :1: unclosed action\n");
}

TEST_F(MainTest, UnknownCommands) {
  Outcome outcome = run({"imagess"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "kasane: unknown command: kasane imagess\n\nDid you mean \"kasane images\"?\n\n"
            "Run 'kasane --help' for more information\n");
  outcome = run({"image", "prun"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "kasane: unknown command: kasane image prun\n\nDid you mean \"kasane image prune\"?\n\n"
            "Usage:  kasane image\n\nRun 'kasane image --help' for more information\n");
  EXPECT_EQ(
      run({"qqqqqqqq"}).err,
      "kasane: unknown command: kasane qqqqqqqq\n\nRun 'kasane --help' for more information\n");
}

TEST_F(MainTest, UsageErrors) {
  Outcome outcome = run({"images", "--nope"});
  EXPECT_EQ(outcome.code, 125);
  EXPECT_EQ(outcome.err,
            "unknown flag: --nope\n\nUsage:  kasane images [OPTIONS] [REPOSITORY[:TAG]]\n\n"
            "Run 'kasane images --help' for more information\n");
  outcome = run({"image", "ls", "a", "b"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err,
            "kasane: 'kasane image ls' requires at most 1 argument\n\n"
            "Usage:  kasane image ls [OPTIONS] [REPOSITORY[:TAG]]\n\n"
            "Run 'kasane image ls --help' for more information\n");
  EXPECT_TRUE(run({"tag", "a"}).err.starts_with("kasane: 'kasane tag' requires 2 arguments\n"));
  EXPECT_TRUE(run({"history"}).err.starts_with("kasane: 'kasane history' requires 1 argument\n"));
  EXPECT_TRUE(run({"rmi"}).err.starts_with("kasane: 'kasane rmi' requires at least 1 argument\n"));
  EXPECT_TRUE(run({"image", "prune", "x"})
                  .err.starts_with("kasane: 'kasane image prune' accepts no arguments\n"));
  outcome = run({"--nope"});
  EXPECT_EQ(outcome.code, 125);
  EXPECT_EQ(outcome.err,
            "unknown flag: --nope\n\nUsage:  kasane [OPTIONS] COMMAND [ARG...]\n\n"
            "Run 'kasane --help' for more information\n");
}

TEST_F(MainTest, HelpPages) {
  Outcome outcome = run({});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.out.find("\n  build         Build an image from a Dockerfile\n"),
            std::string::npos)
      << outcome.out;
  EXPECT_EQ(run({"--help"}).out, outcome.out);
  EXPECT_EQ(run({"help"}).out, outcome.out);
  std::string group = run({"image"}).out;
  EXPECT_NE(group.find("\n  ls        List images\n"), std::string::npos) << group;
  EXPECT_EQ(group.find("\n  list "), std::string::npos) << group;
  EXPECT_EQ(run({"image", "--help"}).out, group);
  EXPECT_EQ(run({"help", "image", "prune"}).out, run({"image", "prune", "--help"}).out);
  EXPECT_TRUE(run({"images", "-h"})
                  .out.starts_with("Usage:  kasane images [OPTIONS] [REPOSITORY[:TAG]]\n"));
}

TEST_F(MainTest, RootAndDebugAreTakenBehindTheCommandToo) {
  const std::string other = path("other");
  EXPECT_EQ(run({"--root", other, "images", "-q"}).code, 0);
  EXPECT_EQ(run({"images", "-q", "--root=" + other}).code, 0);
  Outcome outcome = run({"-D", "history", "x"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_NE(outcome.err.find("debug: error kind"), std::string::npos);
}

}  // namespace
}  // namespace kasane::cli
