#include "registry/surroundings.h"

#include <cstdlib>

#include "base/fd.h"

namespace kasane::registry {
namespace {

constexpr uint64_t kMaxConfigBytes = 4u << 20;

}  // namespace

Surroundings Surroundings::of_process() {
  Surroundings out;
  out.environment = [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (!value) return std::nullopt;
    return value;
  };
  return out;
}

std::string Surroundings::env(const std::string& name) const {
  return environment ? environment(name).value_or("") : "";
}

std::string Surroundings::home() const { return env("HOME"); }

std::string Surroundings::config_home() const {
  if (std::string given = env("XDG_CONFIG_HOME"); given.starts_with('/')) return given;
  return home().empty() ? "" : home() + "/.config";
}

Result<std::optional<std::string>> read_if_exists(const std::string& path) {
  Result<std::string> text = read_file(path, kMaxConfigBytes);
  if (text) return std::optional<std::string>(std::move(*text));
  const int error = text.error().errno_value();
  if (text.error().kind() == ErrorKind::kNotFound || error == ENOTDIR)
    return std::optional<std::string>();
  return std::move(text.error());
}

}  // namespace kasane::registry
