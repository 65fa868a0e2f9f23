// The generated /etc/hosts and /etc/resolv.conf of a step (reference N01, N02).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kasane::exec {

// localhost and `hostname`, then the extra lines as given.
std::string make_hosts(std::string_view hostname, const std::vector<std::string>& extra_lines);

// True when every nameserver is systemd-resolved's stub 127.0.0.53: its upstream list
// is what a container should see. Pure.
bool only_names_systemd_stub(std::string_view resolv_conf);

// The host's resolver configuration, with the stub replaced by systemd's real file. Empty
// when the host has none.
std::string make_resolv_conf();

}  // namespace kasane::exec
