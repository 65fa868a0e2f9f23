#include "exec/oci_runtime/find_runtime.h"

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "base/process.h"

namespace kasane::exec {
namespace {

constexpr std::string_view kSystemPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr const char* kPreferred[] = {"crun", "runc"};

RuntimeKind kind_of(std::string_view text) {
  if (text.starts_with("crun")) return RuntimeKind::kCrun;
  if (text.starts_with("runc")) return RuntimeKind::kRunc;
  if (text.starts_with("runsc")) return RuntimeKind::kRunsc;
  return RuntimeKind::kOther;
}

RuntimeKind kind_of_program(const std::string& path) {
  RuntimeKind kind = kind_of(std::filesystem::path(path).filename().string());
  if (kind != RuntimeKind::kOther) return kind;
  Result<ProcessOutput> version = run_process({path, "--version"}, 1 << 16);
  return version ? kind_of(version->out) : RuntimeKind::kOther;
}

}  // namespace

Result<Runtime> find_runtime(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    std::error_code error;
    std::string path = std::filesystem::absolute(name, error).string();
    if (error || !is_program(path))
      return Error(ErrorKind::kNotFound, "the OCI runtime " + name + " is no program that can be run")
          .hint("--runtime takes crun, runc, runsc or the path of a runtime");
    return Runtime{kind_of_program(path), path};
  }
  const char* search = std::getenv("PATH");
  std::string path = find_program(name, search != nullptr ? search : "");
  if (path.empty()) path = find_program(name, kSystemPath);
  if (path.empty())
    return Error(ErrorKind::kNotFound, "the OCI runtime " + name + " is not installed")
        .hint("install the package " + name + ", name another one with --runtime, or use the "
              "built-in sandbox (--isolation sandbox)");
  return Runtime{kind_of_program(path), path};
}

std::vector<Runtime> installed_runtimes() {
  std::vector<Runtime> found;
  for (const char* name : kPreferred) {
    Result<Runtime> runtime = find_runtime(name);
    if (runtime) found.push_back(std::move(*runtime));
  }
  return found;
}

std::string runtime_message(std::string_view output) {
  while (!output.empty() && (output.back() == '\n' || output.back() == '\r'))
    output.remove_suffix(1);
  size_t line = output.rfind('\n');
  std::string_view last = line == std::string_view::npos ? output : output.substr(line + 1);
  size_t start = last.find("msg=\"");
  if (start == std::string_view::npos) return std::string(last);
  std::string message;
  for (size_t at = start + 5; at < last.size() && last[at] != '"'; ++at) {
    if (last[at] == '\\' && at + 1 < last.size()) ++at;
    message += last[at];
  }
  return message;
}

}  // namespace kasane::exec
