#include "cli/registry_root.h"

#include <filesystem>

namespace kasane::cli {

Result<std::string> registry_root(Context& context, const Arguments& arguments) {
  std::string root = arguments.value("root");
  if (arguments.given("root") && root.empty())
    return Error(ErrorKind::kInvalid, "--root names no folder");
  if (root.empty()) {
    // The XDG specification wants relative values ignored.
    auto data = context.env("XDG_DATA_HOME");
    auto home = context.env("HOME");
    if (data && data->starts_with('/'))
      root = *data + "/kasane/registry";
    else if (home && home->starts_with('/'))
      root = *home + "/.local/share/kasane/registry";
    else
      return Error(ErrorKind::kInvalid, "neither XDG_DATA_HOME nor HOME is set")
          .hint("name the folder with --root");
  }
  std::error_code failed;
  std::filesystem::path path = std::filesystem::absolute(root, failed);
  if (failed) return Error::from_errno(failed.value(), "find folder " + root);
  std::string text = path.lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

}  // namespace kasane::cli
