// The flags of `kasane run`, and what they make of an image's configuration. As docker does
// it, unless a comment says otherwise.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "build/build.h"
#include "cli/context.h"
#include "cli/flags.h"
#include "exec/executor.h"
#include "oci/image_config.h"
#include "oci/platform.h"

namespace kasane::cli {

std::span<const FlagSpec> run_flags();

struct RunOptions {
  std::string image;
  std::vector<std::string> arguments;                  // after the image: CMD
  std::optional<std::vector<std::string>> entrypoint;  // {}: none, also not the image's
  std::vector<std::string> env;                        // "K=V"; "K": taken out of the image's
  std::optional<std::string> user, cwd;
  std::string hostname;
  std::optional<oci::Platform> platform;
  exec::Network network = exec::Network::kHost;
  std::vector<exec::Mount> mounts;
  build::RunSettings settings;
  bool read_only = false;
  bool interactive = false;  // -i
  bool terminal = false;     // -t
};

// Reads env files, variables and what -v names. kUnsupported: a flag that needs a daemon.
Result<RunOptions> run_options(Context& context, const Arguments& arguments);

// Entrypoint and command. kInvalid: "no command specified".
Result<std::vector<std::string>> command_line(const RunOptions& options,
                                              const oci::ContainerConfig& image);
// PATH, HOSTNAME and TERM, then the image's variables, then the user's.
std::vector<std::string> environment(const RunOptions& options, const oci::ContainerConfig& image);

// "SRC:DST[:ro|rw]"; SRC must exist.
Result<exec::Mount> parse_volume(const std::string& text);
// "DST[:size=64m,mode=1777,...]".
Result<exec::Mount> parse_tmpfs(const std::string& text);
// Lines "K=V", "K" (value of the caller's environment), comments with '#'.
Result<std::vector<std::string>> parse_env_file(const Context& context, std::string_view text,
                                                const std::string& name);

}  // namespace kasane::cli
