#include "exec/helpers.h"

#include <sys/stat.h>

#include "base/process.h"

namespace kasane::exec {
namespace {

// The last one is where NixOS keeps programs with privileges.
constexpr std::string_view kDirectories =
    "/usr/bin:/usr/sbin:/bin:/sbin:/usr/local/bin:/usr/local/sbin:/run/wrappers/bin";

}  // namespace

std::string find_helper(const std::string& name) { return find_program(name, kDirectories); }

std::string file_version(const std::string& path) {
  struct stat st;
  if (path.empty() || ::stat(path.c_str(), &st) != 0) return "-";
  return std::to_string(st.st_ino) + "." + std::to_string(st.st_size) + "." +
         std::to_string(st.st_mtim.tv_sec) + "." + std::to_string(st.st_mtim.tv_nsec) + "." +
         std::to_string(st.st_mode);
}

}  // namespace kasane::exec
