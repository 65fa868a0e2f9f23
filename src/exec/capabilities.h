// Linux capabilities by number and name. Thread-safe; default_capabilities() may be called
// between clone and exec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kasane::exec {

// How many capabilities have a name here, from bit 0 on.
size_t known_capabilities();

// The 14 capabilities that Docker and BuildKit give (reference N04).
uint64_t default_capabilities();

// "CAP_CHOWN" for bit 0, and so on; bits without a name are left out.
std::vector<std::string> capability_names(uint64_t mask);

}  // namespace kasane::exec
