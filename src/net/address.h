// Hosts that are addresses. Pure.
#pragma once

#include <string>
#include <string_view>

namespace kasane::net {

// "[::1]:5000" → "[::1]", "h:5000" → "h".
std::string host_without_port(std::string_view host);
// Is the address (IPv6 with or without brackets, no port) inside "10.0.0.0/8", "fe80::/10"?
// False for names and for what is no network.
bool in_network(const std::string& host, const std::string& network);
bool is_same_address(const std::string& a, const std::string& b);  // "::1" and "[0::1]"

}  // namespace kasane::net
