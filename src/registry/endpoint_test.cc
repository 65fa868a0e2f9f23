#include "registry/endpoint.h"

#include <gmock/gmock.h>

#include "registry/testing.h"

namespace kasane::registry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using registry::testing::Folder;

Route route_of(const Folder& folder, const std::string& name) {
  Result<Route> route =
      find_route(folder.around(), oci::Reference::parse(name)->with_default_tag());
  EXPECT_TRUE(route.has_value()) << (route ? "" : route.error().full_message());
  return route ? *route : Route{};
}

std::vector<std::string> urls(const std::vector<Endpoint>& endpoints) {
  std::vector<std::string> out;
  for (const Endpoint& one : endpoints)
    out.push_back(one.origin() + one.base_path + "/" + one.repository);
  return out;
}

TEST(RouteTest, WithoutConfiguration) {
  Folder folder;
  Route hub = route_of(folder, "alpine");
  EXPECT_THAT(urls(hub.pull), ElementsAre("https://registry-1.docker.io/v2/library/alpine"));
  EXPECT_EQ(hub.pull[0].credential_host, "docker.io");
  EXPECT_FALSE(hub.pull[0].plain_http);
  Route own = route_of(folder, "registry.example:5000/a/b:1");
  EXPECT_THAT(urls(own.push), ElementsAre("https://registry.example:5000/v2/a/b"));
  for (const char* name : {"localhost:5000/x", "127.0.0.9:1/x", "[::1]:5000/x"})
    EXPECT_TRUE(route_of(folder, name).pull[0].plain_http) << name;
  for (const char* name : {"127.evil.example/x", "localhost.evil.example/x", "10.0.0.1/x"})
    EXPECT_FALSE(route_of(folder, name).pull[0].plain_http) << name;
}

TEST(RouteTest, DaemonJson) {
  Folder folder;
  folder.write("etc/docker/daemon.json",
               R"({"registry-mirrors":["https://m1.example","http://m2.example/"],
                   "insecure-registries":["10.0.0.0/8","plain.example:5000"],
                   "max-concurrent-downloads":7,"debug":true})");
  Route hub = route_of(folder, "alpine");
  EXPECT_THAT(urls(hub.pull), ElementsAre("https://m1.example/v2/library/alpine",
                                          "http://m2.example/v2/library/alpine",
                                          "https://registry-1.docker.io/v2/library/alpine"));
  EXPECT_TRUE(hub.pull[0].mirror);
  EXPECT_THAT(urls(hub.push), ElementsAre("https://registry-1.docker.io/v2/library/alpine"));
  EXPECT_EQ(hub.limits.downloads, 7);
  EXPECT_EQ(route_of(folder, "quay.io/a/b").pull.size(), 1u) << "mirrors are for the hub alone";
  EXPECT_TRUE(route_of(folder, "10.1.2.3:5000/x").pull[0].plain_http);
  EXPECT_FALSE(route_of(folder, "11.1.2.3:5000/x").pull[0].plain_http);
  EXPECT_TRUE(route_of(folder, "plain.example:5000/x").pull[0].plain_http);
  EXPECT_FALSE(route_of(folder, "plain.example/x").pull[0].plain_http);
}

TEST(RouteTest, RegistriesConfLongestPrefixMirrorsAndDropIns) {
  Folder folder;
  folder.write("etc/containers/registries.conf", R"(
unqualified-search-registries = ["docker.io"]
[[registry]]
location = "old.example"
blocked = true
[[registry]]
prefix = "old.example/team"
location = "new.example/group"
[[registry.mirror]]
location = "mirror.example/cache"
insecure = true
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
[[registry]]
prefix = "*.wild.example"
location = "all.example"
)");
  EXPECT_THAT(route_of(folder, "old.example/x").blocked_by, HasSubstr("registries.conf"));
  Route team = route_of(folder, "old.example/team/app:1");
  EXPECT_EQ(team.blocked_by, "");
  EXPECT_THAT(urls(team.pull), ElementsAre("https://mirror.example/v2/cache/app",
                                           "https://new.example/v2/group/app"));
  EXPECT_TRUE(team.pull[0].plain_http);
  EXPECT_FALSE(team.pull[1].plain_http);
  EXPECT_THAT(urls(team.push), ElementsAre("https://new.example/v2/group/app"));
  const std::string digest = "@sha256:" + std::string(64, 'a');
  EXPECT_EQ(route_of(folder, "old.example/team/app" + digest).pull.size(), 3u);
  EXPECT_THAT(urls(route_of(folder, "a.wild.example/p/q").pull),
              ElementsAre("https://all.example/v2/p/q"));
  EXPECT_THAT(urls(route_of(folder, "old.example/teams/app").pull),
              ElementsAre("https://old.example/v2/teams/app"))
      << "a prefix ends at a slash";

  folder.write("etc/containers/registries.conf.d/50-x.conf",
               "[[registry]]\nprefix = \"old.example/team\"\nlocation = \"third.example\"\n");
  EXPECT_THAT(urls(route_of(folder, "old.example/team/app").pull),
              ElementsAre("https://third.example/v2/app"));
}

TEST(RouteTest, HostsTomlKeepsOrderCapabilitiesAndFiles) {
  Folder folder;
  folder.write("etc/containerd/certs.d/reg.example_5000_/hosts.toml", R"(
server = "https://reg.example:5000"
ca = "own.pem"
[host."https://z.example"]
capabilities = ["pull", "resolve"]
client = [["c.pem", "c.key"]]
[host."http://a.example/some/path"]
capabilities = ["pull"]
override_path = true
skip_verify = true
[host."http://a.example/some/path".header]
X-Team = ["blue"]
)");
  Route route = route_of(folder, "reg.example:5000/x/y");
  EXPECT_THAT(urls(route.pull), ElementsAre("https://z.example/v2/x/y", "http://a.example/some/path/x/y",
                                            "https://reg.example:5000/v2/x/y"));
  EXPECT_EQ(route.pull[0].name_space, "reg.example:5000");
  EXPECT_EQ(route.pull[0].tls.clients[0].second,
            folder.path("etc/containerd/certs.d/reg.example_5000_/c.key"));
  EXPECT_FALSE(route.pull[1].resolve);
  EXPECT_THAT(route.pull[1].headers, ElementsAre("X-Team: blue"));
  EXPECT_THAT(urls(route.push), ElementsAre("https://reg.example:5000/v2/x/y"));
  EXPECT_EQ(route.pull[2].tls.ca.size(), 1u);
}

TEST(RouteTest, CertsDirectory) {
  Folder folder;
  folder.write("etc/docker/certs.d/reg.example:5000/ca.crt", "x");
  folder.write("etc/docker/certs.d/reg.example:5000/me.cert", "x");
  folder.write("etc/docker/certs.d/reg.example:5000/me.key", "x");
  Route route = route_of(folder, "reg.example:5000/x");
  EXPECT_EQ(route.pull[0].tls.ca.size(), 1u);
  EXPECT_EQ(route.pull[0].tls.clients.size(), 1u);
  folder.write("etc/docker/certs.d/half.example/me.cert", "x");
  Result<Route> half = find_route(folder.around(), *oci::Reference::parse("half.example/x"));
  ASSERT_FALSE(half.has_value());
  EXPECT_THAT(half.error().message(), HasSubstr("me.key"));
}

TEST(RouteTest, BrokenFilesNameThePlace) {
  Folder folder;
  folder.write("etc/containers/registries.conf", "[[registry]\n");
  Result<Route> route = find_route(folder.around(), *oci::Reference::parse("a.example/x"));
  ASSERT_FALSE(route.has_value());
  EXPECT_THAT(route.error().message(), HasSubstr("registries.conf:1:"));
}

}  // namespace
}  // namespace kasane::registry
