// Where the registry client looks for what users already configured. Passed, never global, so
// that tests can point it at folders of their own.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace kasane::registry {

// Value type; thread-safe as long as `environment` is.
struct Surroundings {
  std::function<std::optional<std::string>(const std::string&)> environment;
  std::string etc = "/etc";
  std::vector<std::string> insecure;  // host[:port] that a flag (--insecure) calls so

  // From the process: getenv, /etc.
  static Surroundings of_process();

  std::string env(const std::string& name) const;  // "" when unset
  std::string home() const;                        // "" when there is none
  std::string config_home() const;  // $XDG_CONFIG_HOME, else ~/.config; "" without a home
};

// The text of a configuration file; nullopt when there is none. Errors name the path.
Result<std::optional<std::string>> read_if_exists(const std::string& path);

}  // namespace kasane::registry
