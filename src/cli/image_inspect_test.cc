// Templates as `inspect` evaluates them, against docker's observed behaviour.
#include "cli/image_inspect.h"

#include <gtest/gtest.h>

#include "cli/template/docker_cases.h"

namespace kasane::cli {
namespace {

using tmpl::GoType;
using tmpl::Kind;
using tmpl::Value;

constexpr GoType kResponse{"image.InspectResponse", Kind::kStruct};
constexpr GoType kConfig{"*v1.DockerOCIImageConfig", Kind::kStruct, nullptr, true};
constexpr GoType kHealth{"*v1.HealthcheckConfig", Kind::kStruct, nullptr, true};
constexpr GoType kDriver{"storage.DriverData", Kind::kStruct};
constexpr GoType kRootFs{"image.RootFS", Kind::kStruct};
constexpr GoType kMetadata{"image.Metadata", Kind::kStruct};
constexpr GoType kTime{"time.Time", Kind::kString};

Value string(std::string text) { return Value::string(std::move(text)); }

Value config() {
  Value empty = Value::object({}, tmpl::types::kEmpty);
  tmpl::Map ports{{"80/tcp", empty}, {"53/udp", empty}};
  tmpl::Map labels{{"a.b", string("c")}, {"empty", string("")}, {"k", string("v w")}};
  return Value::object(
      {{"User", "User", string("node"), true},
       {"ExposedPorts", "ExposedPorts", Value::map(ports, tmpl::types::kSet), true},
       {"Env", "Env", Value::strings({"PATH=/bin", "A=1"}), true},
       {"Entrypoint", "Entrypoint", Value::zero(tmpl::types::kStrings), true},
       {"Cmd", "Cmd", Value::strings({"node", "a b", "<x>"}), true},
       {"Volumes", "Volumes", Value::zero(tmpl::types::kSet), true},
       {"WorkingDir", "WorkingDir", string("/app"), true},
       {"Labels", "Labels", Value::map(labels, tmpl::types::kStringMap), true},
       {"Healthcheck", "Healthcheck", Value::nil(kHealth), true},
       {"OnBuild", "OnBuild", Value::zero(tmpl::types::kStrings), true}},
      kConfig);
}

// API members that are sent although empty; absent ones (Healthcheck) stay away.
Value wire_config() {
  tmpl::Map map;
  const Value typed = config();
  for (const tmpl::Field& field : typed.fields())
    if (field.name != "Healthcheck") map.emplace(field.name, field.value);
  return Value::map(std::move(map), tmpl::types::kAnyMap);
}

Value response(const Value& config_member) {
  tmpl::Map data{{"MergedDir", string("/m")}};
  return Value::object(
      {{"ID", "Id",
        string("sha256:0f0e0d0c0b0a09080706050403020100ffeeddccbbaa99887766554433221100")},
       {"RepoTags", "RepoTags", Value::strings({"app:1.2", "app:latest"})},
       {"RepoDigests", "RepoDigests", Value::strings({})},
       {"Parent", "Parent", string("")},
       {"Comment", "Comment", string("buildkit.dockerfile.v0")},
       {"Created", "Created", string("2024-01-02T03:04:05.5Z"), true},
       {"Config", "Config", config_member},
       {"Architecture", "Architecture", string("amd64")},
       {"Os", "Os", string("linux")},
       {"Size", "Size", Value::integer(4261574, tmpl::types::kInt64)},
       {"GraphDriver", "GraphDriver",
        Value::object({{"Data", "Data", Value::map(data, tmpl::types::kStringMap)},
                       {"Name", "Name", string("overlay2")}},
                      kDriver)},
       {"RootFS", "RootFS",
        Value::object({{"Type", "Type", string("layers")},
                       {"Layers", "Layers", Value::strings({"sha256:aa", "sha256:bb"})}},
                      kRootFs)},
       {"Metadata", "Metadata",
        Value::object(
            {{"LastTagTime", "LastTagTime",
              Value::stringer("2024-01-02 03:04:05 +0000 UTC", "2024-01-02T03:04:05Z", kTime)}},
            kMetadata)}},
      kResponse);
}

TEST(InspectTemplate, PrintsWhatDockerPrints) {
  const InspectedImage image{response(config()), response(wire_config())};
  const std::string prefix = "template parsing error: ";
  for (const tmpl::DockerCase& c : tmpl::kDockerCases) {
    auto parsed = tmpl::Template::parse(c.format);
    if (!parsed) {
      EXPECT_EQ(parsed.error().message(), c.error) << c.format;
      continue;
    }
    auto text = two_steps(*parsed, image);
    if (text)
      EXPECT_EQ(*text, c.output) << c.format << "\n  expected error: " << c.error;
    else
      EXPECT_EQ(text.error().message(), prefix + c.error) << c.format;
  }
}

TEST(InspectTemplate, JsonShapes) {
  const InspectedImage image{response(config()), response(wire_config())};
  EXPECT_EQ(
      tmpl::to_json(*image.typed.find_field("Config"), false),
      R"({"User":"node","ExposedPorts":{"53/udp":{},"80/tcp":{}},"Env":["PATH=/bin","A=1"],)"
      R"("Cmd":["node","a b","<x>"],"WorkingDir":"/app","Labels":{"a.b":"c","empty":"","k":"v w"}})");
  const std::string indented = tmpl::to_indented_json(*image.wire.find_field("Config"));
  EXPECT_TRUE(indented.starts_with("{\n    \"Cmd\": [\n        \"node\",\n")) << indented;
  EXPECT_NE(indented.find("\"ExposedPorts\": {\n        \"53/udp\": {},\n"), std::string::npos)
      << indented;
  EXPECT_NE(indented.find("\"Entrypoint\": null,\n"), std::string::npos) << indented;
}

}  // namespace
}  // namespace kasane::cli
