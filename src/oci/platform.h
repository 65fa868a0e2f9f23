// Platforms: os/arch/variant, normalised as containerd does (x86_64 = amd64, ...).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace kasane::oci {

struct Platform {
  std::string os = "linux";
  std::string architecture;
  std::string variant;
  std::string os_version;
  static Result<Platform> parse(std::string_view text);
  static Platform host();
  std::string str() const;  // "linux/arm64/v8" without empty parts
  bool operator==(const Platform&) const = default;
};

}  // namespace kasane::oci
