#include "exec/sandbox/net_files.h"

#include "base/fd.h"

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxResolvBytes = 64 << 10;

}  // namespace

std::string make_hosts(std::string_view hostname, const std::vector<std::string>& extra_lines) {
  std::string text = "127.0.0.1\tlocalhost";
  if (!hostname.empty()) text.append(" ").append(hostname);
  text += "\n::1\tlocalhost ip6-localhost ip6-loopback\n";
  for (const std::string& line : extra_lines) text.append(line).append("\n");
  return text;
}

bool only_names_systemd_stub(std::string_view text) {
  bool found = false;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    size_t start = line.find_first_not_of(" \t");
    if (start == std::string_view::npos || !line.substr(start).starts_with("nameserver")) continue;
    line.remove_prefix(start + std::string_view("nameserver").size());
    size_t address = line.find_first_not_of(" \t");
    if (address == 0 || address == std::string_view::npos) continue;
    line.remove_prefix(address);
    if (line.substr(0, line.find_first_of(" \t\r#;")) != "127.0.0.53") return false;
    found = true;
  }
  return found;
}

std::string make_resolv_conf() {
  auto text = read_file("/etc/resolv.conf", kMaxResolvBytes);
  if (!text) return "";
  if (!only_names_systemd_stub(*text)) return std::move(*text);
  auto real = read_file("/run/systemd/resolve/resolv.conf", kMaxResolvBytes);
  return real ? std::move(*real) : std::move(*text);
}

}  // namespace kasane::exec
