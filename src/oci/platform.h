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
  // "os", "architecture", "os/architecture[/variant]", os perhaps with "(version)"; the
  // result is normalised. kInvalid otherwise.
  static Result<Platform> parse(std::string_view text);
  static Platform host();
  // containerd's spelling: x86_64 = amd64, arm64/v8 = arm64, arm = arm/v7, ...
  Platform normalized() const;
  std::string str() const;  // "linux/arm64/v8" without empty parts
  bool operator==(const Platform&) const = default;
};

}  // namespace kasane::oci
