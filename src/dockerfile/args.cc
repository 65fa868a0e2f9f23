#include "dockerfile/args.h"

#include <algorithm>

namespace kasane::dockerfile {
namespace {

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const std::vector<std::string>& proxy_arg_names() {
  static const std::vector<std::string> kNames = {
      "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY",
      "ftp_proxy",  "NO_PROXY",   "no_proxy",    "ALL_PROXY",   "all_proxy"};
  return kNames;
}

bool is_proxy_arg(std::string_view name) { return contains(proxy_arg_names(), name); }

const std::vector<std::string>& platform_arg_names() {
  static const std::vector<std::string> kNames = {
      "BUILDPLATFORM",  "BUILDOS",  "BUILDOSVERSION",  "BUILDARCH",  "BUILDVARIANT",
      "TARGETPLATFORM", "TARGETOS", "TARGETOSVERSION", "TARGETARCH", "TARGETVARIANT"};
  return kNames;
}

bool is_platform_arg(std::string_view name) { return contains(platform_arg_names(), name); }

// BUILDKIT_SBOM_SCAN_CONTEXT and _STAGE are among them (A14).
bool is_builder_arg(std::string_view name) { return name.starts_with("BUILDKIT_"); }

bool is_predefined_arg(std::string_view name) {
  return is_proxy_arg(name) || is_platform_arg(name) || is_builder_arg(name) ||
         name == "TARGETSTAGE" || name == "SOURCE_DATE_EPOCH";
}

}  // namespace kasane::dockerfile
