#include "oci/image_config.h"

#include <algorithm>

#include "oci/digest.h"
#include "oci/json.h"

namespace kasane::oci {
namespace {

constexpr std::string_view kWhat = "image config";

constexpr std::string_view kTopKeys[] = {"architecture", "author", "config",      "created",
                                         "history",      "os",     "os.features", "os.version",
                                         "rootfs",       "variant"};
constexpr std::string_view kConfigKeys[] = {
    "User",   "ExposedPorts", "Env",         "Entrypoint",  "Cmd",     "Volumes", "WorkingDir",
    "Labels", "StopSignal",   "ArgsEscaped", "Healthcheck", "OnBuild", "Shell"};

constexpr std::string_view kHealthcheckKeys[] = {"Test",        "Interval",      "Timeout",
                                                 "StartPeriod", "StartInterval", "Retries"};
constexpr std::string_view kRootfsKeys[] = {"type", "diff_ids"};
constexpr std::string_view kHistoryKeys[] = {"created", "author", "created_by", "comment",
                                             "empty_layer"};

bool is_known(KeyList known, std::string_view key) {
  return std::find(known.begin(), known.end(), key) != known.end();
}

std::string unknown_members(const Json& object, KeyList known) {
  Json rest;
  rest.type = Json::Type::kObject;
  for (const auto& member : object.members)
    if (!is_known(known, member.name)) rest.members.push_back(member);
  std::string out;
  if (!rest.members.empty()) rest.write(out);
  return out;
}

// ---- parsing

Result<void> parse_healthcheck(const Json& json, Healthcheck& out) {
  TRY(refuse_case_variants(json, kHealthcheckKeys, kWhat));
  JsonReader in(json, kWhat, "config.Healthcheck.");
  TRY(in.get("Test", out.test));
  TRY(in.get("Interval", out.interval_ns));
  TRY(in.get("Timeout", out.timeout_ns));
  TRY(in.get("StartPeriod", out.start_period_ns));
  TRY(in.get("StartInterval", out.start_interval_ns));
  return in.get("Retries", out.retries);
}

Result<void> parse_container_config(const Json& json, ContainerConfig& out) {
  TRY(refuse_case_variants(json, kConfigKeys, kWhat));
  JsonReader in(json, kWhat, "config.");
  TRY(in.get("User", out.user));
  TRY(in.get_key_set("ExposedPorts", out.exposed_ports));
  TRY(in.get("Env", out.env));
  TRY(in.get("Entrypoint", out.entrypoint));
  TRY(in.get("Cmd", out.cmd));
  TRY(in.get_key_set("Volumes", out.volumes));
  TRY(in.get("WorkingDir", out.working_dir));
  TRY(in.get("Labels", out.labels));
  TRY(in.get("StopSignal", out.stop_signal));
  TRY(in.get("ArgsEscaped", out.args_escaped));
  if (const Json* health = TRY(in.object("Healthcheck")))
    TRY(parse_healthcheck(*health, out.healthcheck.emplace()));
  TRY(in.get("OnBuild", out.on_build));
  TRY(in.get("Shell", out.shell));
  out.unknown_json = unknown_members(json, kConfigKeys);
  return {};
}

Result<void> parse_rootfs(const Json& json, std::vector<Sha256Digest>& out) {
  TRY(refuse_case_variants(json, kRootfsKeys, kWhat));
  JsonReader in(json, kWhat, "rootfs.");
  std::string type;
  TRY(in.get("type", type));
  if (type != "layers") return in.error("type", "is not \"layers\"");
  std::vector<std::string> texts;
  TRY(in.get("diff_ids", texts));
  for (const std::string& text : texts)
    out.push_back(TRY_CONTEXT(parse_sha256(text), "image config: rootfs.diff_ids"));
  return {};
}

Result<void> parse_history(const Json& json, std::vector<HistoryEntry>& out) {
  for (const Json& item : json.items) {
    if (!item.is_object())
      return Error(ErrorKind::kInvalid, "image config: history has an item that is no object");
    TRY(refuse_case_variants(item, kHistoryKeys, kWhat));
    JsonReader in(item, kWhat, "history.");
    HistoryEntry& entry = out.emplace_back();
    TRY(in.get("created", entry.created));
    TRY(in.get("author", entry.author));
    TRY(in.get("created_by", entry.created_by));
    TRY(in.get("comment", entry.comment));
    TRY(in.get("empty_layer", entry.empty_layer));
  }
  return {};
}

// ---- writing

// Writes `{"a":..., "b":...}`; the caller names members in their final order.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::string& out) : out_(out) { out_ += '{'; }
  std::string& member(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    write_json_string(out_, name);
    out_ += ':';
    return out_;
  }
  void text(std::string_view name, std::string_view value) {
    if (!value.empty()) write_json_string(member(name), value);
  }
  void number(std::string_view name, int64_t value) {
    if (value != 0) member(name) += std::to_string(value);
  }
  void list(std::string_view name, const std::vector<std::string>& values) {
    if (values.empty()) return;
    std::string& out = member(name);
    for (size_t i = 0; i < values.size(); ++i) {
      out += i == 0 ? '[' : ',';
      write_json_string(out, values[i]);
    }
    out += ']';
  }
  void list(std::string_view name, const std::optional<std::vector<std::string>>& values) {
    if (values) list(name, *values);
  }
  void key_set(std::string_view name, const std::set<std::string>& keys) {
    if (keys.empty()) return;
    ObjectWriter object(member(name));
    for (const std::string& key : keys) object.member(key) += "{}";
    object.close();
  }
  void close() { out_ += '}'; }

 private:
  std::string& out_;
  bool first_ = true;
};

// Members of an unknown_json text, in their order; nothing when it is not an object.
std::vector<Json::Member> members_of(const std::string& text) {
  if (text.empty()) return {};
  Result<Json> json = Json::parse(text, kWhat);
  if (!json) return {};
  return std::move(json->members);
}

void write_healthcheck(std::string& out, const Healthcheck& health) {
  ObjectWriter object(out);
  object.list("Test", health.test);
  object.number("Interval", health.interval_ns);
  object.number("Timeout", health.timeout_ns);
  object.number("StartPeriod", health.start_period_ns);
  object.number("StartInterval", health.start_interval_ns);
  object.number("Retries", health.retries);
  object.close();
}

// Order: ocispec.ImageConfig, then docker's extension (docker-image-spec
// DockerOCIImageConfig), then what nobody knows. BuildKit marshals this struct.
void write_container_config(std::string& out, const ContainerConfig& config) {
  ObjectWriter object(out);
  object.text("User", config.user);
  object.key_set("ExposedPorts", config.exposed_ports);
  object.list("Env", config.env);
  object.list("Entrypoint", config.entrypoint);
  object.list("Cmd", config.cmd);
  object.key_set("Volumes", config.volumes);
  object.text("WorkingDir", config.working_dir);
  if (!config.labels.empty()) {
    ObjectWriter labels(object.member("Labels"));
    for (const auto& [key, value] : config.labels) write_json_string(labels.member(key), value);
    labels.close();
  }
  object.text("StopSignal", config.stop_signal);
  if (config.args_escaped) object.member("ArgsEscaped") += "true";
  if (config.healthcheck) write_healthcheck(object.member("Healthcheck"), *config.healthcheck);
  object.list("OnBuild", config.on_build);
  object.list("Shell", config.shell);
  for (const auto& [key, value] : members_of(config.unknown_json))
    if (!is_known(kConfigKeys, key)) value.write(object.member(key));
  object.close();
}

void write_history(std::string& out, const std::vector<HistoryEntry>& history) {
  for (size_t i = 0; i < history.size(); ++i) {
    out += i == 0 ? '[' : ',';
    ObjectWriter object(out);
    object.text("created", history[i].created);
    object.text("created_by", history[i].created_by);
    object.text("author", history[i].author);
    object.text("comment", history[i].comment);
    if (history[i].empty_layer) object.member("empty_layer") += "true";
    object.close();
  }
  out += ']';
}

void write_rootfs(std::string& out, const std::vector<Sha256Digest>& diff_ids) {
  out += "{\"type\":\"layers\",\"diff_ids\":[";
  for (size_t i = 0; i < diff_ids.size(); ++i) {
    if (i > 0) out += ',';
    out += '"' + diff_ids[i].str() + '"';
  }
  out += "]}";
}

}  // namespace

void ContainerConfig::set_env(std::string_view key, std::string_view value) {
  std::string entry = std::string(key) + "=" + std::string(value);
  for (std::string& existing : env) {
    if (std::string_view(existing).substr(0, existing.find('=')) == key) {
      existing = std::move(entry);
      return;
    }
  }
  env.push_back(std::move(entry));
}

const std::string* ContainerConfig::find_env(std::string_view key) const {
  for (const std::string& entry : env)
    if (std::string_view(entry).substr(0, entry.find('=')) == key) return &entry;
  return nullptr;
}

Result<ImageConfig> ImageConfig::parse(std::string_view json) {
  Json document = TRY(Json::parse(json, kWhat));
  if (!document.is_object()) return Error(ErrorKind::kInvalid, "image config: not a JSON object");
  TRY(refuse_case_variants(document, kTopKeys, kWhat));
  ImageConfig out;
  JsonReader in(document, kWhat);
  TRY(in.get("architecture", out.architecture));
  TRY(in.get("os", out.os));
  TRY(in.get("variant", out.variant));
  TRY(in.get("os.version", out.os_version));
  TRY(in.get("os.features", out.os_features));
  TRY(in.get("author", out.author));
  TRY(in.get("created", out.created));
  if (const Json* config = TRY(in.object("config")))
    TRY(parse_container_config(*config, out.config));
  const Json* rootfs = TRY(in.object("rootfs"));
  if (!rootfs) return in.error("rootfs", "is missing");
  TRY(parse_rootfs(*rootfs, out.diff_ids));
  if (const Json* history = TRY(in.array("history"))) TRY(parse_history(*history, out.history));
  out.unknown_json = unknown_members(document, kTopKeys);
  return out;
}

std::string ImageConfig::serialize() const {
  std::map<std::string, std::string> members;  // sorted: BuildKit marshals a Go map
  auto text = [&](const char* name, const std::string& value, bool always = false) {
    if (always || !value.empty()) write_json_string(members[name], value);
  };
  text("architecture", architecture, true);
  text("os", os, true);
  text("variant", variant);
  text("os.version", os_version);
  text("author", author);
  text("created", created);
  if (!os_features.empty()) {
    std::string& out = members["os.features"];
    for (size_t i = 0; i < os_features.size(); ++i) {
      out += i == 0 ? '[' : ',';
      write_json_string(out, os_features[i]);
    }
    out += ']';
  }
  write_container_config(members["config"], config);
  if (!history.empty()) write_history(members["history"], history);
  write_rootfs(members["rootfs"], diff_ids);
  for (const auto& [key, value] : members_of(unknown_json))
    if (!is_known(kTopKeys, key)) value.write(members[key]);

  std::string out;
  ObjectWriter object(out);
  for (const auto& [name, value] : members) object.member(name) += value;
  object.close();
  return out;
}

}  // namespace kasane::oci
