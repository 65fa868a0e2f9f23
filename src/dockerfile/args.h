// Names of build arguments that mean something without being declared (A10-A14).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace kasane::dockerfile {

// HTTP_PROXY, http_proxy, ... ALL_PROXY, all_proxy: in RUN's environment undeclared, kept out
// of history and cache keys unless declared.
const std::vector<std::string>& proxy_arg_names();
bool is_proxy_arg(std::string_view name);

// TARGETPLATFORM, BUILDARCH, ...: global scope, a stage needs `ARG NAME` to see them.
const std::vector<std::string>& platform_arg_names();
bool is_platform_arg(std::string_view name);

// BUILDKIT_SYNTAX, BUILDKIT_INLINE_CACHE, ...: steer the builder, never reach RUN.
bool is_builder_arg(std::string_view name);

// Any of the above or SOURCE_DATE_EPOCH: `--build-arg` of it is never "not consumed".
bool is_predefined_arg(std::string_view name);

}  // namespace kasane::dockerfile
