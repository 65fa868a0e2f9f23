#include "registry/credentials.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/base64.h"
#include "registry/testing.h"

namespace kasane::registry {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using registry::testing::Folder;

std::string entry(const std::string& user_password) {
  return R"({"auth":")" + base64(user_password) + R"("})";
}

CredentialLookup look(const Folder& folder, const std::string& host, const std::string& repository) {
  Result<CredentialLookup> found = find_credential(folder.around(), host, repository, {});
  EXPECT_TRUE(found.has_value()) << (found ? "" : found.error().full_message());
  return found ? *found : CredentialLookup{};
}

std::string user(const Folder& folder, const std::string& host, const std::string& repository = "x") {
  CredentialLookup found = look(folder, host, repository);
  return found.credential ? found.credential->username : "-";
}

// A helper in PATH for the life of the object.
class HelperPath {
 public:
  HelperPath(Folder& folder, const std::string& name, const std::string& script) {
    folder.write("bin/docker-credential-" + name, "#!/bin/sh\n" + script, 0755);
    old_ = std::getenv("PATH");
    ::setenv("PATH", (folder.path("bin") + ":" + old_).c_str(), 1);
  }
  ~HelperPath() { ::setenv("PATH", old_.c_str(), 1); }

 private:
  std::string old_;
};

TEST(CredentialsTest, KeysOfAllAges) {
  Folder folder;
  folder.write("home/.docker/config.json",
               R"({"auths":{"https://index.docker.io/v1/":)" + entry("hub:p:with:colons") +
                   R"(,"reg.example":)" + entry("r:p") + R"(,"reg.example/team":)" + entry("t:p") +
                   R"(,"reg.example/team/app":)" + entry("a:p") + R"(,"https://old.example/v2/":)" +
                   entry("o:p") + R"(,"empty.example":{},"tok.example":{"identitytoken":"T"}}})");
  EXPECT_EQ(look(folder, "docker.io", "library/x").credential->password, "p:with:colons");
  EXPECT_EQ(user(folder, "reg.example", "other"), "r");
  EXPECT_EQ(user(folder, "reg.example", "team/x"), "t");
  EXPECT_EQ(user(folder, "reg.example", "teams"), "r");
  EXPECT_EQ(user(folder, "reg.example", "team/app/deep"), "a");
  EXPECT_EQ(user(folder, "old.example"), "o");
  EXPECT_EQ(user(folder, "empty.example"), "-");
  EXPECT_EQ(user(folder, "unknown.example"), "-");
  EXPECT_EQ(look(folder, "tok.example", "x").credential->identity_token, "T");
  // A path of another repository is not for this one.
  folder.write("home/.docker/config.json", R"({"auths":{"reg.example/team":)" + entry("t:p") + "}}");
  EXPECT_EQ(user(folder, "reg.example", "other"), "-");
}

TEST(CredentialsTest, OrderOfSources) {
  Folder folder;
  folder.set("XDG_RUNTIME_DIR", folder.path("run"));
  folder.write("home/.config/containers/auth.json", R"({"auths":{"r.example":)" + entry("config:p") + "}}");
  EXPECT_EQ(user(folder, "r.example"), "config");
  folder.write("run/containers/auth.json", R"({"auths":{"r.example":)" + entry("runtime:p") + "}}");
  EXPECT_EQ(user(folder, "r.example"), "runtime");
  folder.write("home/.docker/config.json", R"({"auths":{"r.example":)" + entry("docker:p") + "}}");
  EXPECT_EQ(user(folder, "r.example"), "docker");
  folder.write("given.json", R"({"auths":{"r.example":)" + entry("given:p") + "}}");
  folder.set("REGISTRY_AUTH_FILE", folder.path("given.json"));
  EXPECT_EQ(user(folder, "r.example"), "given");
  folder.set("DOCKER_AUTH_CONFIG", R"({"auths":{"r.example":)" + entry("environment:p") + "}}");
  EXPECT_EQ(user(folder, "r.example"), "environment");
  folder.set("DOCKER_AUTH_CONFIG", R"({"auths":{"r.example":{"auht":"x"}}})");
  EXPECT_FALSE(find_credential(folder.around(), "r.example", "x", {}).has_value());
}

TEST(CredentialsTest, BrokenEntriesAreProblemsNotCrashes) {
  Folder folder;
  for (const char* value : {R"({"auth":"%%%"})", R"({"auth":"bm9jb2xvbg=="})", R"({"auth":7})",
                            R"([])", R"("x")", R"({"username":"a\nb","password":"p"})"}) {
    folder.write("home/.docker/config.json", std::string(R"({"auths":{"r.example":)") + value + "}}");
    CredentialLookup found = look(folder, "r.example", "x");
    EXPECT_FALSE(found.credential.has_value()) << value;
    EXPECT_EQ(found.problems.size(), 1u) << value;
  }
  folder.write("home/.docker/config.json", "{");
  EXPECT_FALSE(find_credential(folder.around(), "r.example", "x", {}).has_value());
}

TEST(CredentialsTest, HelpersAnswerAndFail) {
  Folder folder;
  folder.write("home/.docker/config.json", R"({"credsStore":"kasane-t","credHelpers":{"bad.example":"../../x"}})");
  HelperPath helper(folder, "kasane-t", R"(read key
case "$1 $key" in
"get ok.example") echo '{"ServerURL":"x","Username":"u","Secret":"s3"}';;
"get tok.example") echo '{"Username":"<token>","Secret":"idt"}';;
"get broken.example") echo 'sEcReT no json';;
"get big.example") head -c 3000000 /dev/zero;;
"get none.example") echo 'credentials not found in native keychain'; exit 1;;
*) echo 'locked' >&2; exit 2;;
esac
)");
  EXPECT_EQ(look(folder, "ok.example", "x").credential->password, "s3");
  EXPECT_EQ(look(folder, "ok.example", "x").credential->source, "docker-credential-kasane-t");
  EXPECT_EQ(look(folder, "tok.example", "x").credential->identity_token, "idt");
  EXPECT_TRUE(look(folder, "none.example", "x").problems.empty());
  for (const char* host : {"broken.example", "big.example", "other.example", "bad.example"}) {
    CredentialLookup found = look(folder, host, "x");
    EXPECT_FALSE(found.credential.has_value());
    ASSERT_EQ(found.problems.size(), 1u) << host;
    EXPECT_THAT(found.problems[0], Not(HasSubstr("sEcReT")));
  }
}

TEST(CredentialsTest, StoreAndEraseKeepTheRest) {
  Folder folder;
  const std::string file = folder.path("home/.docker/config.json");
  Credential credential;
  credential.username = "u";
  credential.password = "p";
  ASSERT_TRUE(store_credential(folder.around(), "localhost:1", credential, {}).has_value());
  EXPECT_EQ(folder.read("home/.docker/config.json"),
            "{\n\t\"auths\": {\n\t\t\"localhost:1\": {\n\t\t\t\"auth\": \"dTpw\"\n\t\t}\n\t}\n}");
  struct stat st;
  ASSERT_EQ(::stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);

  folder.write("real.json", R"({"psFormat":"{{.ID}}","auths":{"http://r.example":{"auth":"eDp5"}}})", 0640);
  ::unlink(file.c_str());
  ASSERT_EQ(::symlink(folder.path("real.json").c_str(), file.c_str()), 0);
  ASSERT_TRUE(store_credential(folder.around(), "docker.io", credential, {}).has_value());
  ASSERT_TRUE(erase_credential(folder.around(), "r.example", {}).has_value());
  EXPECT_THAT(folder.read("real.json"), HasSubstr("psFormat"));
  EXPECT_THAT(folder.read("real.json"), HasSubstr("https://index.docker.io/v1/"));
  EXPECT_THAT(folder.read("real.json"), Not(HasSubstr("r.example")));
  ASSERT_EQ(::lstat(file.c_str(), &st), 0);
  EXPECT_TRUE(S_ISLNK(st.st_mode));
  ASSERT_EQ(::stat(file.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0640u);
}

}  // namespace
}  // namespace kasane::registry
