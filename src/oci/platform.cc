#include "oci/platform.h"

#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/text.h"

namespace kasane::oci {
namespace {

// Go's GOOS and GOARCH lists, which decide what a lone word means (containerd platforms).
constexpr std::array kSystems = {"aix",     "android", "darwin",  "dragonfly", "freebsd", "hurd",
                                 "illumos", "ios",     "js",      "linux",     "nacl",    "netbsd",
                                 "openbsd", "plan9",   "solaris", "windows",   "zos"};
constexpr std::array kArchitectures = {
    "386",     "amd64",   "amd64p32", "arm",    "armbe",  "arm64",    "arm64be",   "ppc64",
    "ppc64le", "loong64", "mips",     "mipsle", "mips64", "mips64le", "mips64p32", "mips64p32le",
    "ppc",     "riscv",   "riscv64",  "s390",   "s390x",  "sparc",    "sparc64",   "wasm"};

template <class List>
bool contains(const List& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_word(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

Error invalid(std::string_view text, const std::string& why) {
  return Error(ErrorKind::kInvalid, "invalid platform \"" + std::string(text) + "\": " + why)
      .hint("a platform is os/architecture[/variant], for example linux/arm64");
}

std::vector<std::string_view> split(std::string_view text) {
  std::vector<std::string_view> parts;
  for (;;) {
    size_t slash = text.find('/');
    parts.push_back(text.substr(0, slash));
    if (slash == std::string_view::npos) return parts;
    text.remove_prefix(slash + 1);
  }
}

// "os" or "os(version)".
bool split_version(std::string_view part, std::string& os, std::string& version) {
  if (size_t open = part.find('('); open != std::string_view::npos) {
    if (!part.ends_with(')')) return false;
    version = part.substr(open + 1, part.size() - open - 2);
    if (!is_word(version)) return false;
    part = part.substr(0, open);
  }
  os = part;
  return is_word(part);
}

}  // namespace

Platform Platform::normalized() const {
  Platform out = *this;
  out.os = ascii_lower(os);
  out.architecture = ascii_lower(architecture);
  out.variant = ascii_lower(variant);
  if (out.os == "macos") out.os = "darwin";
  std::string& arch = out.architecture;
  std::string& kind = out.variant;
  if (arch == "i386") {
    arch = "386";
    kind.clear();
  } else if (arch == "x86_64" || arch == "x86-64" || arch == "amd64") {
    arch = "amd64";
    if (kind == "v1") kind.clear();
  } else if (arch == "aarch64" || arch == "arm64") {
    arch = "arm64";
    if (kind == "8" || kind == "v8" || kind == "v8.0") kind.clear();
    if (kind == "9" || kind == "9.0" || kind == "v9.0") kind = "v9";
  } else if (arch == "armhf") {
    arch = "arm";
    kind = "v7";
  } else if (arch == "armel") {
    arch = "arm";
    kind = "v6";
  } else if (arch == "arm") {
    if (kind.empty() || kind == "7") kind = "v7";
    if (kind == "5" || kind == "6" || kind == "8") kind = "v" + kind;
  }
  return out;
}

Result<Platform> Platform::parse(std::string_view text) {
  std::vector<std::string_view> parts = split(text);
  if (parts.size() > 3) return invalid(text, "more than three parts");
  Platform platform;
  if (!split_version(parts[0], platform.os, platform.os_version))
    return invalid(text, "\"" + std::string(parts[0]) + "\" is not a name");
  for (size_t i = 1; i < parts.size(); ++i)
    if (!is_word(parts[i])) return invalid(text, "\"" + std::string(parts[i]) + "\" is not a name");

  if (parts.size() == 1) {
    platform.architecture = host().architecture;
    platform.variant = host().variant;
    platform = platform.normalized();
    if (contains(kSystems, platform.os)) return platform;
    Platform word{"linux", platform.os, "", ""};
    word = word.normalized();
    if (contains(kArchitectures, word.architecture) && platform.os_version.empty()) return word;
    return invalid(text, "unknown operating system or architecture");
  }
  platform.architecture = parts[1];
  if (parts.size() == 3) platform.variant = parts[2];
  return platform.normalized();
}

Platform Platform::host() {
  Platform platform;
  utsname name{};
  if (::uname(&name) != 0) return {"linux", "amd64", "", ""};
  std::string machine = name.machine;
  if (machine.starts_with("armv")) {  // armv7l, armv6l
    platform.architecture = "arm";
    platform.variant = "v" + machine.substr(4, 1);
  } else if (machine.size() == 4 && machine[0] == 'i' && machine.ends_with("86")) {
    platform.architecture = "386";
  } else if (machine == "loongarch64") {
    platform.architecture = "loong64";
  } else {
    platform.architecture = machine;
  }
  return platform.normalized();
}

std::string Platform::str() const {
  std::string out = os;
  if (!os_version.empty()) out += "(" + os_version + ")";
  if (!architecture.empty()) out += "/" + architecture;
  if (!variant.empty()) out += "/" + variant;
  return out;
}

}  // namespace kasane::oci
