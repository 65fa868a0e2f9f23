#include "cli/docker_config.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "cli/registry_io.h"
#include "oci/json.h"
#include "registry/credentials.h"

namespace kasane::cli {
namespace {

Result<DockerConfig> read_config(const std::string& path) {
  DockerConfig config;
  const std::optional<std::string> text = TRY(registry::read_if_exists(path));
  if (!text || text->find_first_not_of(" \t\r\n") == std::string::npos) return config;
  const oci::Json json = TRY(oci::Json::parse(*text, path));
  if (!json.is_object()) return Error(ErrorKind::kInvalid, path + ": not a JSON object");
  const oci::JsonReader reader(json, path);
  TRY(reader.get("imagesFormat", config.images_format));
  TRY(reader.get("pruneFilters", config.prune_filters));
  return config;
}

}  // namespace

DockerConfig docker_config(Context& context) {
  Result<std::string> path = registry::docker_config_path(surroundings_of(context));
  if (!path) return {};
  Result<DockerConfig> config = read_config(*path);
  if (config) return std::move(*config);
  context.err(fmt::format("WARNING: Error loading config file: {}\n",
                          sanitize(config.error().full_message())));
  return {};
}

std::vector<std::string> with_prune_filters(std::vector<std::string> given,
                                            const DockerConfig& config) {
  auto is_given = [&](const std::string& filter) {
    return std::find(given.begin(), given.end(), filter) != given.end();
  };
  std::vector<std::string> added;
  for (const std::string& filter : config.prune_filters) {
    const size_t equals = filter.find('=');
    if (equals == std::string::npos) continue;
    const std::string key = filter.substr(0, equals), value = filter.substr(equals);
    if (key == "label" && is_given("label!" + value)) continue;
    if (key == "label!" && is_given("label" + value)) continue;
    added.push_back(filter);
  }
  given.insert(given.end(), added.begin(), added.end());
  return given;
}

}  // namespace kasane::cli
