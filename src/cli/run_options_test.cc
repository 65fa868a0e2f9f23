#include "cli/run_options.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "cli/testing.h"

namespace kasane::cli {
namespace {

using Strings = std::vector<std::string>;

RunOptions options_with(std::optional<Strings> entrypoint, Strings arguments) {
  RunOptions options;
  options.entrypoint = std::move(entrypoint);
  options.arguments = std::move(arguments);
  options.hostname = "box";
  return options;
}

std::string words(const Result<Strings>& line) {
  if (!line) return "error: " + line.error().message();
  std::string text;
  for (const std::string& word : *line) text += word + "|";
  return text;
}

// runconfig.Merge of docker.
TEST(RunOptions, EntrypointAndCommand) {
  oci::ContainerConfig image;
  image.entrypoint = Strings{"e"};
  image.cmd = Strings{"c", "d"};
  oci::ContainerConfig only_cmd;
  only_cmd.cmd = Strings{"c"};
  const oci::ContainerConfig empty;
  struct {
    std::optional<Strings> entrypoint;
    Strings arguments;
    const oci::ContainerConfig& image;
    const char* expected;
  } cases[] = {
      {{}, {}, image, "e|c|d|"},
      {{}, {"x"}, image, "e|x|"},
      {Strings{"n"}, {}, image, "n|"},
      {Strings{"n"}, {"x"}, image, "n|x|"},
      {Strings{}, {"x"}, image, "x|"},
      {Strings{}, {}, image, "error: no command specified"},
      {{}, {}, only_cmd, "c|"},
      {{}, {"x", "y"}, only_cmd, "x|y|"},
      {{}, {}, empty, "error: no command specified"},
      {{}, {""}, empty, "error: no command specified"},
  };
  for (const auto& c : cases)
    EXPECT_EQ(words(command_line(options_with(c.entrypoint, c.arguments), c.image)), c.expected);
}

TEST(RunOptions, EnvironmentIsMergedInOrder) {
  oci::ContainerConfig image;
  image.env = {"A=image", "PATH=/image", "B=b", "HOSTNAME=theirs"};
  RunOptions options = options_with({}, {});
  options.env = {"A=1", "B", "C=3", "A=2", "AB", "HOSTNAME=mine"};
  EXPECT_EQ(environment(options, image), (Strings{"PATH=/image", "HOSTNAME=mine", "A=2", "C=3"}));
  options.env = {};
  options.terminal = true;
  EXPECT_EQ(environment(options, {}),
            (Strings{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                     "HOSTNAME=box", "TERM=xterm"}));
}

TEST(RunOptions, EnvFiles) {
  Context context({}, {});
  context.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "MINE") return "m";
    return std::nullopt;
  };
  auto env = parse_env_file(context, "\xEF\xBB\xBF# c\n A=1 \n\nMINE\nGONE\nB=x=y\r\nC=", "f");
  ASSERT_TRUE(env);
  EXPECT_EQ(*env, (Strings{"A=1 ", "MINE=m", "B=x=y", "C="}));
  EXPECT_EQ(parse_env_file(context, "A B=1", "f").error().message(),
            "invalid env file f: variable 'A B' contains whitespaces");
  EXPECT_EQ(parse_env_file(context, "=1", "f").error().message(),
            "invalid env file f: no variable name on line '=1'");
}

TEST(RunOptions, Volumes) {
  auto dir = parse_volume("/etc:/e");
  ASSERT_TRUE(dir);
  EXPECT_EQ(dir->source, "/etc");
  EXPECT_EQ(dir->target, "/e");
  EXPECT_FALSE(dir->read_only);
  EXPECT_EQ(dir->type, exec::Mount::Type::kBind);
  EXPECT_TRUE(parse_volume("/proc/self/../../etc:/e:ro")->read_only);
  EXPECT_EQ(parse_volume("/proc/../etc/./passwd:/e")->source, "/etc/passwd");
  for (const char* wrong :
       {"", ":", "a", "/a", ":/b", "a:/b", "./a:/b", "~/a:/b", "/etc:b",
        "/etc:", "/etc:/b:", "/etc:/b:rx", "/etc:/b:ro:rw", "/no/such/thing:/b"})
    EXPECT_FALSE(parse_volume(wrong)) << wrong;
  EXPECT_NE(parse_volume("name:/b").error().message().find("no named volumes"), std::string::npos);
}

TEST(RunOptions, Tmpfs) {
  auto plain = parse_tmpfs("/t");
  ASSERT_TRUE(plain);
  EXPECT_TRUE(plain->no_exec);
  EXPECT_FALSE(plain->read_only);
  auto full = parse_tmpfs("/t:size=64m,mode=1750,uid=5,gid=6,exec,ro,nosuid");
  ASSERT_TRUE(full);
  EXPECT_EQ(full->size_bytes, 64u << 20);
  EXPECT_EQ(full->mode, 01750u);
  EXPECT_EQ(full->uid, 5u);
  EXPECT_EQ(full->gid, 6u);
  EXPECT_FALSE(full->no_exec);
  EXPECT_TRUE(full->read_only);
  for (const char* wrong : {"", "t", "/t:size=", "/t:size=x", "/t:mode=9", "/t:mode=77777",
                            "/t:uid=x", "/t:what", "/t:rw=1", "/t:,"})
    EXPECT_FALSE(parse_tmpfs(wrong)) << wrong;
}

}  // namespace
}  // namespace kasane::cli
