#include "cli/image_inspect.h"

#include <fmt/format.h>

#include "base/diagnostic.h"
#include "cli/formatter.h"
#include "cli/template/template.h"
#include "oci/image_config.h"
#include "oci/json.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

using tmpl::GoType;
using tmpl::Kind;
using tmpl::Value;

constexpr GoType kResponse{"image.InspectResponse", Kind::kStruct};
constexpr GoType kConfig{"*v1.DockerOCIImageConfig", Kind::kStruct, nullptr, true};
constexpr GoType kHealth{"*v1.HealthcheckConfig", Kind::kStruct, nullptr, true};
constexpr GoType kDuration{"time.Duration", Kind::kInt};
constexpr GoType kDriver{"storage.DriverData", Kind::kStruct};
constexpr GoType kRootFs{"image.RootFS", Kind::kStruct};
constexpr GoType kMetadata{"image.Metadata", Kind::kStruct};
constexpr GoType kTime{"time.Time", Kind::kString};
constexpr GoType kDescriptor{"*v1.Descriptor", Kind::kStruct, nullptr, true};
constexpr GoType kManifests{"[]image.ManifestSummary", Kind::kList, &tmpl::types::kAny};
constexpr GoType kJsonConfig{"map[string]interface {}", Kind::kMap, &tmpl::types::kAny};

constexpr std::string_view kZeroTime = "0001-01-01T00:00:00Z";

Value strings_or_nil(const std::vector<std::string>& items) {
  return items.empty() ? Value::zero(tmpl::types::kStrings) : Value::strings(items);
}

Value strings_or_nil(const std::optional<std::vector<std::string>>& items) {
  return items ? Value::strings(*items) : Value::zero(tmpl::types::kStrings);
}

Value set_value(const std::set<std::string>& names) {
  if (names.empty()) return Value::zero(tmpl::types::kSet);
  tmpl::Map map;
  for (const std::string& name : names) map.emplace(name, Value::object({}, tmpl::types::kEmpty));
  return Value::map(std::move(map), tmpl::types::kSet);
}

Value labels_value(const std::map<std::string, std::string>& labels) {
  if (labels.empty()) return Value::zero(tmpl::types::kStringMap);
  tmpl::Map map;
  for (const auto& [key, value] : labels) map.emplace(key, Value::string(value));
  return Value::map(std::move(map), tmpl::types::kStringMap);
}

Value health_value(const std::optional<oci::Healthcheck>& health) {
  if (!health) return Value::nil(kHealth);
  return Value::object(
      {{"Test", "Test", strings_or_nil(health->test), true},
       {"Interval", "Interval", Value::integer(health->interval_ns, kDuration), true},
       {"Timeout", "Timeout", Value::integer(health->timeout_ns, kDuration), true},
       {"StartPeriod", "StartPeriod", Value::integer(health->start_period_ns, kDuration), true},
       {"StartInterval", "StartInterval", Value::integer(health->start_interval_ns, kDuration),
        true},
       {"Retries", "Retries", Value::integer(health->retries), true}},
      kHealth);
}

// Members in the order of the OCI structure followed by docker's extension; all omitempty.
Value config_value(const oci::ContainerConfig& config) {
  return Value::object({{"User", "User", Value::string(config.user), true},
                        {"ExposedPorts", "ExposedPorts", set_value(config.exposed_ports), true},
                        {"Env", "Env", strings_or_nil(config.env), true},
                        {"Entrypoint", "Entrypoint", strings_or_nil(config.entrypoint), true},
                        {"Cmd", "Cmd", strings_or_nil(config.cmd), true},
                        {"Volumes", "Volumes", set_value(config.volumes), true},
                        {"WorkingDir", "WorkingDir", Value::string(config.working_dir), true},
                        {"Labels", "Labels", labels_value(config.labels), true},
                        {"StopSignal", "StopSignal", Value::string(config.stop_signal), true},
                        {"ArgsEscaped", "ArgsEscaped", Value::boolean(config.args_escaped), true},
                        {"Healthcheck", "Healthcheck", health_value(config.healthcheck), true},
                        {"OnBuild", "OnBuild", strings_or_nil(config.on_build), true},
                        {"Shell", "Shell", strings_or_nil(config.shell), true}},
                       kConfig);
}

// API 1.50 and 1.51 send these members also when they are empty, and the object sorted.
Value wire_config(const Value& typed) {
  constexpr std::string_view kAlways[] = {"Cmd",     "Entrypoint", "Env",     "Labels",
                                          "OnBuild", "User",       "Volumes", "WorkingDir"};
  tmpl::Map map;
  for (const tmpl::Field& field : typed.fields()) {
    bool always =
        std::find(std::begin(kAlways), std::end(kAlways), field.name) != std::end(kAlways);
    if (field.value.truth() || always) map.emplace(field.json_name, field.value);
  }
  return Value::map(std::move(map), kJsonConfig);
}

// Where the unpacked trees of the layers are (made on demand, so they may be missing).
Value driver_value(const store::Store& store, const std::vector<Sha256Digest>& diff_ids) {
  std::string lower;
  std::string upper;
  for (size_t i = diff_ids.size(); i > 0; --i) {
    std::string tree = store.path("layers/" + diff_ids[i - 1].hex() + "/tree");
    if (i == diff_ids.size())
      upper = tree;
    else
      lower += (lower.empty() ? "" : ":") + tree;
  }
  tmpl::Map data;
  if (!lower.empty()) data.emplace("LowerDir", Value::string(lower));
  data.emplace("MergedDir", Value::string(""));
  data.emplace("UpperDir", Value::string(upper));
  data.emplace("WorkDir", Value::string(""));
  return Value::object({{"Data", "Data", Value::map(std::move(data), tmpl::types::kStringMap)},
                        {"Name", "Name", Value::string("kasane")}},
                       kDriver);
}

// `comment` and `docker_version` are docker's own members beside the OCI ones.
std::string extra_member(const oci::ImageConfig& config, std::string_view name) {
  if (config.unknown_json.empty()) return {};
  auto parsed = oci::Json::parse(config.unknown_json, "image config");
  if (!parsed) return {};
  const oci::Json* member = parsed->find(name);
  return member && member->is_string() ? member->text : std::string();
}

std::vector<std::string> familiar(const std::vector<std::string>& references) {
  std::vector<std::string> names;
  for (const std::string& reference : references) names.push_back(oci::familiar(reference));
  return names;
}

std::string time_text(const std::string& created) {
  auto parsed = oci::parse_time(created);
  return parsed ? oci::format_time(*parsed) : created;
}

Value root_fs(const oci::ImageConfig& config) {
  std::vector<std::string> layers;
  for (const Sha256Digest& digest : config.diff_ids) layers.push_back(digest.str());
  return Value::object({{"Type", "Type", Value::string("layers"), true},
                        {"Layers", "Layers", strings_or_nil(layers), true}},
                       kRootFs);
}

// time.Time: printed as Go prints it, RFC 3339 in JSON. 0 is Go's zero time.
Value time_value(int64_t unix_ns) {
  constexpr std::string_view kZero = "0001-01-01 00:00:00 +0000 UTC";
  if (unix_ns == 0) return Value::stringer(std::string(kZero), std::string(kZeroTime), kTime);
  const std::string json = oci::format_time(unix_ns);  // 2024-01-02T03:04:05.5Z
  std::string printed = json.substr(0, json.size() - 1) + " +0000 UTC";
  printed[10] = ' ';
  return Value::stringer(printed, json, kTime);
}

tmpl::Struct response_fields(const store::Store& store, const store::ImageRow& row,
                             const oci::ImageConfig& config, const Value& config_member) {
  std::string comment = extra_member(config, "comment");
  if (comment.empty() && !config.history.empty()) comment = config.history.back().comment;
  auto text = [](const std::string& value) { return Value::string(value); };
  return {
      {"ID", "Id", text(row.id.str())},
      {"RepoTags", "RepoTags", Value::strings(familiar(row.tags))},
      {"RepoDigests", "RepoDigests", Value::strings(familiar(row.digests))},
      {"Parent", "Parent", text("")},
      {"Comment", "Comment", text(comment)},
      {"Created", "Created", text(time_text(config.created)), true},
      {"DockerVersion", "DockerVersion", text(extra_member(config, "docker_version"))},
      {"Author", "Author", text(config.author)},
      {"Config", "Config", config_member},
      {"Architecture", "Architecture", text(config.architecture)},
      {"Variant", "Variant", text(config.variant), true},
      {"Os", "Os", text(config.os)},
      {"OsVersion", "OsVersion", text(config.os_version), true},
      {"Size", "Size", Value::integer(static_cast<int64_t>(row.size_bytes), tmpl::types::kInt64)},
      {"VirtualSize", "VirtualSize", Value::integer(0, tmpl::types::kInt64), true},
      {"GraphDriver", "GraphDriver", driver_value(store, config.diff_ids)},
      {"RootFS", "RootFS", root_fs(config)},
      {"Metadata", "Metadata",
       Value::object({{"LastTagTime", "LastTagTime", time_value(row.last_tagged_ns)}}, kMetadata)},
      {"Descriptor", "Descriptor", Value::nil(kDescriptor), true},
      {"Manifests", "Manifests", Value::zero(kManifests), true},
  };
}

Result<InspectedImage> look_up(Context& context, const std::string& name) {
  store::Store* store = TRY(context.store(true));
  return inspect_image(*store, TRY(transfer::find_image(*store, name)));
}

std::string json_array(const std::vector<InspectedImage>& images, bool compact) {
  if (images.empty()) return "[]\n";
  std::string text = "[";
  for (const InspectedImage& image : images) {
    if (&image != &images.front()) text += ",";
    if (!compact) text += "\n    ";
    text += compact ? tmpl::to_json(image.wire, false) : tmpl::to_indented_json(image.wire, "    ");
  }
  return text + (compact ? "]\n" : "\n]\n");
}

}  // namespace

Result<InspectedImage> inspect_image(store::Store& store, const Sha256Digest& image) {
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(TRY(store.image_config(image))));
  store::ImageRow row = TRY(store.image_row(image));
  Value typed_config = config_value(config.config);
  InspectedImage out;
  out.typed = Value::object(response_fields(store, row, config, typed_config), kResponse);
  out.wire =
      Value::object(response_fields(store, row, config, wire_config(typed_config)), kResponse);
  return out;
}

Result<std::string> two_steps(const tmpl::Template& parsed, const InspectedImage& image) {
  if (auto text = parsed.execute(image.typed)) return *text;
  auto text = parsed.execute(untyped(image.wire), {.missing_key_is_error = true});
  if (text) return *text;
  return Error(ErrorKind::kInvalid, std::string(kTemplateError) + text.error().message());
}

tmpl::Value untyped(const Value& wire) {
  switch (wire.kind()) {
    case Kind::kInvalid:
    case Kind::kNil:
      return Value::nil();
    case Kind::kInt:
      return Value::string(std::to_string(wire.as_int()), tmpl::types::kNumber).box();
    case Kind::kFloat:
      return Value::string(tmpl::to_json(wire, false), tmpl::types::kNumber).box();
    case Kind::kString:
      return Value::string(wire.json_text()).box();
    case Kind::kList: {
      if (wire.is_nil_container()) return Value::nil();
      tmpl::List items;
      for (const Value& item : wire.items()) items.push_back(untyped(item));
      return Value::list(std::move(items), tmpl::types::kAnyList).box();
    }
    case Kind::kMap: {
      if (wire.is_nil_container()) return Value::nil();
      tmpl::Map map;
      for (const auto& [key, item] : wire.entries()) map.emplace(key, untyped(item));
      return Value::map(std::move(map), tmpl::types::kAnyMap).box();
    }
    case Kind::kStruct: {
      tmpl::Map map;
      for (const tmpl::Field& field : wire.fields()) {
        bool empty = !field.value.truth();
        if (!field.json_name.empty() && !(field.omit_empty && empty))
          map.emplace(field.json_name, untyped(field.value));
      }
      return Value::map(std::move(map), tmpl::types::kAnyMap).box();
    }
    default:
      return wire.box();
  }
}

Result<int> inspect_images(Context& context, const std::vector<std::string>& names,
                           const std::string& format,
                           std::string (*missing)(const std::string&, const Error&)) {
  std::optional<tmpl::Template> parsed;
  if (!format.empty() && format != "json") {
    auto result = tmpl::Template::parse(format);
    if (!result) {
      context.err(std::string(kTemplateError) + sanitize(result.error().message()) + "\n");
      return 64;
    }
    parsed = std::move(*result);
  }
  std::string errors;
  std::string text;
  std::vector<InspectedImage> images;
  for (const std::string& name : names) {
    auto image = look_up(context, name);
    if (!image) {
      errors += missing(name, image.error()) + "\n";
      continue;
    }
    if (!parsed) {
      images.push_back(std::move(*image));
      continue;
    }
    auto line = two_steps(*parsed, *image);
    if (line)
      text += *line + "\n";
    else
      errors += line.error().message() + "\n";
  }
  if (parsed)
    context.out(text.empty() ? "\n" : for_terminal(context, std::move(text)));
  else
    context.out(json_array(images, format == "json"));
  context.flush();
  context.err(sanitize(errors, true));
  return errors.empty() ? 0 : 1;
}

}  // namespace kasane::cli
