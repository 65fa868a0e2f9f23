#include "exec/executor.h"
namespace kasane::exec { std::optional<std::string> why_cannot_execute(const oci::Platform&) { return std::nullopt; } }
