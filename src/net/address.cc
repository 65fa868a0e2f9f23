#include "net/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace kasane::net {
namespace {

using Bytes = unsigned char[16];

// An address as 16 bytes (IPv4 mapped); false: a name.
bool parse_address(std::string text, Bytes& out) {
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  unsigned char four[4];
  if (::inet_pton(AF_INET, text.c_str(), four) == 1) {
    std::memset(out, 0, 10);
    out[10] = out[11] = 0xff;
    std::memcpy(out + 12, four, 4);
    return true;
  }
  return ::inet_pton(AF_INET6, text.c_str(), out) == 1;
}

}  // namespace

std::string host_without_port(std::string_view host) {
  if (host.starts_with('[')) return std::string(host.substr(0, host.find(']') + 1));
  return std::string(host.substr(0, host.find(':')));
}

bool in_network(const std::string& host, const std::string& network) {
  const size_t slash = network.find('/');
  Bytes address, base;
  if (slash == std::string::npos || !parse_address(host, address) ||
      !parse_address(network.substr(0, slash), base))
    return false;
  int bits = -1;
  const char* end = network.data() + network.size();
  const auto [stop, error] = std::from_chars(network.data() + slash + 1, end, bits);
  if (error != std::errc() || stop != end || bits < 0) return false;
  if (network.find(':') == std::string::npos) bits += 96;
  if (bits > 128) return false;
  for (int i = 0; i < bits; ++i)
    if (((address[i / 8] ^ base[i / 8]) >> (7 - i % 8) & 1) != 0) return false;
  return true;
}

bool is_same_address(const std::string& a, const std::string& b) {
  Bytes x, y;
  return parse_address(a, x) && parse_address(b, y) && std::memcmp(x, y, sizeof x) == 0;
}

}  // namespace kasane::net
