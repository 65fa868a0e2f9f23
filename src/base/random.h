// Names that nobody can guess or meet by chance.
#pragma once

#include <cstddef>
#include <string>

namespace kasane {

// `bytes` of the kernel's random bytes as lower-case hexadecimal digits. Thread-safe.
std::string random_hex(size_t bytes);

}  // namespace kasane
