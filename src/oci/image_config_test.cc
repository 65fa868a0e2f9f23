#include "oci/image_config.h"

#include <gtest/gtest.h>

#include "oci/json.h"

namespace kasane::oci {
namespace {

const std::string kDiffId(64, 'a');
const std::string kRootfs =
    R"("rootfs":{"type":"layers","diff_ids":["sha256:)" + kDiffId + R"("]})";

std::string document(const std::string& members) { return "{" + kRootfs + "," + members + "}"; }

TEST(ImageConfig, WritesBuildKitsForm) {
  ImageConfig image;
  image.architecture = "arm64";
  image.os = "linux";
  image.variant = "v8";
  image.author = "me";
  image.created = "2024-01-02T03:04:05Z";
  image.config.user = "node";
  image.config.exposed_ports = {"80/tcp", "443/tcp"};
  image.config.env = {"PATH=/bin", "A=<&>"};
  image.config.entrypoint = {{"/e"}};
  image.config.cmd = {{"a", "b"}};
  image.config.volumes = {"/v"};
  image.config.working_dir = "/w";
  image.config.labels = {{"z", "1"}, {"a", "2"}};
  image.config.stop_signal = "SIGTERM";
  image.config.args_escaped = true;
  image.config.healthcheck = Healthcheck{{"CMD-SHELL", "exit 0"}, 1, 2, 3, 4, 5};
  image.config.on_build = {"RUN x"};
  image.config.shell = {{"/bin/bash", "-c"}};
  image.diff_ids = {*Sha256Digest::from_hex(kDiffId)};
  image.history = {{"2024-01-02T03:04:05Z", "me", "RUN a && b", "buildkit.dockerfile.v0", true}};
  EXPECT_EQ(
      image.serialize(),
      R"({"architecture":"arm64","author":"me","config":{"User":"node","ExposedPorts":)"
      R"({"443/tcp":{},"80/tcp":{}},"Env":["PATH=/bin","A=\u003c\u0026\u003e"],"Entrypoint":["/e"],)"
      R"("Cmd":["a","b"],"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"a":"2","z":"1"},)"
      R"("StopSignal":"SIGTERM","ArgsEscaped":true,"Healthcheck":{"Test":["CMD-SHELL","exit 0"],)"
      R"("Interval":1,"Timeout":2,"StartPeriod":3,"StartInterval":4,"Retries":5},"OnBuild":["RUN x"],)"
      R"("Shell":["/bin/bash","-c"]},"created":"2024-01-02T03:04:05Z","history":[{"created":)"
      R"("2024-01-02T03:04:05Z","created_by":"RUN a \u0026\u0026 b","author":"me","comment":)"
      R"("buildkit.dockerfile.v0","empty_layer":true}],"os":"linux","rootfs":{"type":"layers",)"
      R"("diff_ids":["sha256:)" +
          kDiffId + R"("]},"variant":"v8"})");
}

TEST(ImageConfig, EmptyMembersAreLeftOut) {
  ImageConfig image;
  image.architecture = "amd64";
  image.os = "linux";
  image.config.cmd.emplace();
  EXPECT_EQ(image.serialize(), R"({"architecture":"amd64","config":{},"os":"linux",)"
                               R"("rootfs":{"type":"layers","diff_ids":[]}})");
}

TEST(ImageConfig, RoundTripKeepsUnknownMembers) {
  std::string text = document(
      R"("docker_version":"20.10","big":123456789012345678901234567890,"f":1.50,)"
      R"("config":{"Hostname":"h","Cmd":null,"Entrypoint":[],"Env":["A=1"],"AttachStdin":false})");
  Result<ImageConfig> image = ImageConfig::parse(text);
  ASSERT_TRUE(image) << image.error().full_message();
  EXPECT_FALSE(image->config.cmd);
  EXPECT_TRUE(image->config.entrypoint && image->config.entrypoint->empty());
  EXPECT_EQ(image->config.unknown_json, R"({"Hostname":"h","AttachStdin":false})");
  std::string written = image->serialize();
  EXPECT_EQ(written,
            R"({"architecture":"","big":123456789012345678901234567890,"config":)"
            R"({"Env":["A=1"],"Hostname":"h","AttachStdin":false},"docker_version":"20.10",)"
            R"("f":1.50,"os":"",)" +
                kRootfs + "}");
  EXPECT_EQ(ImageConfig::parse(written)->serialize(), written);
}

TEST(ImageConfig, RefusesDifferentialDocuments) {
  const std::string bad[] = {
      "",
      "null",
      "[]",
      "{}",
      "{",
      document("\"a\":1") + "x",
      document("\"a\":1") + "{}",
      "\xEF\xBB\xBF" + document("\"a\":1"),
      document(R"("os":"linux","os":"windows")"),
      document(R"("OS":"linux")"),
      document(R"("config":{"User":"a","user":"root"})"),
      document(R"("config":{"Labels":{"a":"1","a":"2"}})"),
      document(R"("unknown":{"a":1,"a":2})"),
      document("\"hi\xC5\xBFtory\":[]"),
      document(R"("created":1)"),
      document(R"("config":{"Env":"A=1"})"),
      document(R"("config":{"Env":["A=1\u0000"]})"),
      document(R"("config":{"Healthcheck":{"Retries":1.0}})"),
      document(R"("config":{"Healthcheck":{"Interval":9223372036854775808}})"),
      document(R"("a":1e400)"),
      document(R"("a":NaN)"),
      document("\"a\":\"\xFF\""),
      document(R"("a":"\ud800")"),
      R"({"rootfs":{"type":"layers","diff_ids":["sha256:AA"]}})",
      R"({"rootfs":{"type":"tarsplit","diff_ids":[]}})",
  };
  for (const std::string& text : bad) {
    Result<ImageConfig> image = ImageConfig::parse(text);
    EXPECT_FALSE(image) << text;
  }
}

TEST(ImageConfig, Limits) {
  auto nested = [](size_t depth) {
    return document("\"a\":" + std::string(depth, '[') + std::string(depth, ']'));
  };
  EXPECT_TRUE(ImageConfig::parse(nested(63)));
  Result<ImageConfig> deep = ImageConfig::parse(nested(64));
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().kind(), ErrorKind::kLimit);
  EXPECT_FALSE(ImageConfig::parse(nested(100'000)));
  Result<ImageConfig> large =
      ImageConfig::parse(document("\"a\":\"" + std::string(4u << 20, 'x') + "\""));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().kind(), ErrorKind::kLimit);
  std::string many = "\"a\":[0";
  for (size_t i = 0; i < Json::kMaxValues; ++i) many += ",0";
  EXPECT_EQ(ImageConfig::parse(document(many + "]")).error().kind(), ErrorKind::kLimit);
}

TEST(ImageConfig, StringsAreWrittenAsGoDoes) {
  std::string out;
  write_json_string(out,
                    "a\"\\\b\f\n\r\t\x01\x7f<>&\xE2\x80\xA8\xE2\x80\xA9\xC3\xA9\xFF\xED\xA0\x80");
  EXPECT_EQ(out,
            "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7f\\u003c\\u003e\\u0026\\u2028\\u2029\xC3\xA9"
            "\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

TEST(ContainerConfig, Env) {
  ContainerConfig config;
  config.set_env("A", "1");
  config.set_env("AB", "2");
  config.set_env("A", "3");
  EXPECT_EQ(config.env, (std::vector<std::string>{"A=3", "AB=2"}));
  EXPECT_EQ(*config.find_env("AB"), "AB=2");
  EXPECT_EQ(config.find_env("B"), nullptr);
}

TEST(Time, Rfc3339) {
  EXPECT_EQ(format_time(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_time(1'704'164'645'120'000'000), "2024-01-02T03:04:05.12Z");
  EXPECT_EQ(format_time(-1), "1969-12-31T23:59:59.999999999Z");
  for (int64_t ns : {int64_t{0}, int64_t{-1}, INT64_MAX, INT64_MIN + 1'000'000'000,
                     int64_t{951'782'400'000'000'001}})
    EXPECT_EQ(parse_time(format_time(ns)), ns);
  EXPECT_EQ(parse_time("2024-01-02T05:04:05.120+02:00"), 1'704'164'645'120'000'000);
  EXPECT_EQ(parse_time("2024-01-02T03:04:05.1234567891Z"), 1'704'164'645'123'456'789);
  for (const char* bad :
       {"", "2024-01-02", "2024-01-02T03:04:05", "2024-13-02T03:04:05Z", "2024-02-30T03:04:05Z",
        "2024-01-02T24:04:05Z", "2024-01-02T03:04:60Z", "2024-01-02T03:04:05.Z",
        "2024-01-02T03:04:05ZZ", "2024-01-02T03:04:05+24:00", "2024-01-02t03:04:05Z",
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "-024-01-02T03:04:05Z"})
    EXPECT_EQ(parse_time(bad), std::nullopt) << bad;
}

}  // namespace
}  // namespace kasane::oci
