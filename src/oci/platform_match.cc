#include "oci/platform_match.h"

#include <charconv>

namespace kasane::oci {
namespace {

// "v8.3" → 8, 3; false for other words.
bool parse_variant(std::string_view text, int& major, int& minor) {
  if (!text.starts_with('v')) return false;
  text.remove_prefix(1);
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, major);
  if (error != std::errc()) return false;
  minor = 0;
  if (rest == end) return true;
  if (*rest != '.') return false;
  auto [last, failed] = std::from_chars(rest + 1, end, minor);
  return failed == std::errc() && last == end && minor >= 0 && minor < 100;
}

void add(std::vector<Platform>& out, const Platform& like, std::string architecture,
         std::string variant) {
  Platform one = like;
  one.architecture = std::move(architecture);
  one.variant = std::move(variant);
  out.push_back(one.normalized());
}

std::string numbered(int major, int minor) {
  return "v" + std::to_string(major) + (minor > 0 ? "." + std::to_string(minor) : "");
}

void add_arm64(std::vector<Platform>& out, const Platform& platform) {
  int major = 8, minor = 0;
  if (!platform.variant.empty() && !parse_variant(platform.variant, major, minor)) return;
  if (major == 9) {
    for (int low = minor - 1; low >= 0; --low) add(out, platform, "arm64", numbered(9, low));
    for (int low = minor + 5; low >= 0; --low) add(out, platform, "arm64", numbered(8, low));
  } else {
    for (int low = minor - 1; low >= 0; --low) add(out, platform, "arm64", numbered(8, low));
  }
  for (int low = 8; low >= 5; --low) add(out, platform, "arm", numbered(low, 0));
}

bool serves(const Platform& offered, const Platform& wanted) {
  if (offered.os != wanted.os || offered.architecture != wanted.architecture ||
      offered.variant != wanted.variant)
    return false;
  return wanted.os_version.empty() || offered.os_version == wanted.os_version;
}

bool is_image(const Descriptor& descriptor) {
  const std::string& type = descriptor.media_type;
  return is_manifest_type(type) || is_index_type(type) || type.empty();
}

}  // namespace

std::vector<Platform> platform_fallbacks(const Platform& platform) {
  const Platform own = platform.normalized();
  std::vector<Platform> out = {own};
  int major = 0, minor = 0;
  const bool known = parse_variant(own.variant, major, minor);
  if (own.architecture == "amd64") {
    if (known)
      for (int low = major - 1; low >= 1; --low) add(out, own, "amd64", numbered(low, 0));
    add(out, own, "386", "");
  } else if (own.architecture == "arm" && known) {
    for (int low = major - 1; low >= 5; --low) add(out, own, "arm", numbered(low, 0));
  } else if (own.architecture == "arm64") {
    add_arm64(out, own);
  }
  return out;
}

Platform host_with_variant() {
  Platform host = Platform::host();
#if defined(__x86_64__) && !defined(__clang__)
  if (host.architecture == "amd64") {
    if (__builtin_cpu_supports("x86-64-v4"))
      host.variant = "v4";
    else if (__builtin_cpu_supports("x86-64-v3"))
      host.variant = "v3";
    else if (__builtin_cpu_supports("x86-64-v2"))
      host.variant = "v2";
  }
#endif
  return host;
}

bool is_attestation(const Descriptor& descriptor) {
  return descriptor.platform && descriptor.platform->os == "unknown" &&
         descriptor.platform->architecture == "unknown";
}

const Descriptor* choose_platform(const std::vector<Descriptor>& manifests, const Platform& platform,
                                  bool strict) {
  std::vector<Platform> wanted = platform_fallbacks(platform);
  if (strict) wanted.resize(1);
  for (const Platform& one : wanted)
    for (const Descriptor& descriptor : manifests)
      if (descriptor.platform && is_image(descriptor) && !is_attestation(descriptor) &&
          serves(descriptor.platform->normalized(), one))
        return &descriptor;
  for (const Descriptor& descriptor : manifests)
    if (!descriptor.platform && is_image(descriptor)) return &descriptor;
  return nullptr;
}

}  // namespace kasane::oci
