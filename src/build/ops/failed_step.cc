#include "build/ops/failed_step.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace kasane::build {
namespace {

using Json = nlohmann::json;
constexpr uint64_t kMaxSpecBytes = 4u << 20;

// Types as numbers of exec::Mount::Type would tie the file to this build of the program.
const char* type_name(exec::Mount::Type type) {
  switch (type) {
    case exec::Mount::Type::kBind:
      return "bind";
    case exec::Mount::Type::kTmpfs:
      return "tmpfs";
    case exec::Mount::Type::kOverlay:
      return "overlay";
    case exec::Mount::Type::kFile:
      return "file";
    case exec::Mount::Type::kSocket:
      return "socket";
  }
  return "";
}

Json describe(const exec::Mount& mount) {
  return {{"type", type_name(mount.type)},   {"source", mount.source},
          {"target", mount.target},          {"readOnly", mount.read_only},
          {"size", mount.size_bytes},        {"lowerTrees", mount.lower_trees},
          {"subPath", mount.sub_path},       {"upperDir", mount.upper_dir}};
}

Json describe(const StepInput& input, const RunOp& op, const exec::RunSpec& spec) {
  std::vector<std::string> env = op.env;  // not spec.env, which holds values of secrets
  env.insert(env.end(), op.proxy_env.begin(), op.proxy_env.end());
  Json mounts = Json::array();
  for (const exec::Mount& mount : spec.mounts) mounts.push_back(describe(mount));
  return {{"name", input.vertex.name},
          {"argv", spec.argv},
          {"env", env},
          {"cwd", spec.cwd},
          {"user", spec.user},
          {"network", exec::network_name(spec.network)},
          {"insecure", spec.security == exec::Security::kInsecure},
          {"hostname", spec.hostname},
          {"hosts", spec.extra_hosts},
          {"script", op.script.has_value()},
          {"lowerTrees", spec.lower_trees},
          {"mounts", std::move(mounts)}};
}

template <typename T>
T get(const Json& json, const char* name) {
  auto it = json.find(name);
  if (it == json.end()) return T();
  try {
    return it->get<T>();
  } catch (const Json::exception&) {
    return T();
  }
}

// Reads one mount; false when it cannot be there again.
bool read_mount(const Json& json, const std::string& directory, size_t number, exec::Mount& mount) {
  std::string type = get<std::string>(json, "type");
  mount.source = get<std::string>(json, "source");
  mount.target = get<std::string>(json, "target");
  mount.read_only = get<bool>(json, "readOnly");
  mount.size_bytes = get<uint64_t>(json, "size");
  mount.lower_trees = get<std::vector<std::string>>(json, "lowerTrees");
  mount.sub_path = get<std::string>(json, "subPath");
  if (type == "tmpfs") {
    mount.type = exec::Mount::Type::kTmpfs;
    return true;
  }
  if (type == "bind") return ::access(mount.source.c_str(), F_OK) == 0;
  if (type != "overlay") return false;
  mount.type = exec::Mount::Type::kOverlay;
  for (const std::string& tree : mount.lower_trees)
    if (::access(tree.c_str(), F_OK) != 0) return false;
  if (get<std::string>(json, "upperDir").empty()) return true;
  mount.upper_dir = directory + "/mount" + std::to_string(number) + "-upper";
  mount.work_dir = directory + "/mount" + std::to_string(number) + "-work";
  return make_directories(mount.upper_dir, 0755) && remove_tree(mount.work_dir) &&
         make_directories(mount.work_dir, 0755);
}

}  // namespace

void keep_failed_step(BuildEnvironment& env, const StepInput& input, const RunOp& op,
                      const exec::RunSpec& spec) {
  Result<std::string> directory = env.records.failed_directory();
  if (!directory) return;
  std::string text = describe(input, op, spec).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (::rename(spec.upper_dir.c_str(), (*directory + "/upper").c_str()) != 0) return;
  // The script of a heredoc is a file of the step's private directory.
  (void)::rename((spec.upper_dir.substr(0, spec.upper_dir.rfind('/')) + "/script").c_str(),
                 (*directory + "/script").c_str());
  (void)replace_file(*directory + "/spec.json", text);
}

Result<FailedStep> open_failed_step(store::Store& store, const std::string& build_id) {
  std::optional<std::string> directory = store::failed_directory_of(store, build_id);
  if (!directory)
    return Error(ErrorKind::kNotFound, "no failed step is kept for build " + build_id)
        .hint("only the newest failed builds are kept; run the build again");
  std::string text = TRY(read_file(*directory + "/spec.json", kMaxSpecBytes));
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return Error(ErrorKind::kCorrupt, "the kept step of build " + build_id + " is damaged");
  FailedStep step;
  step.name = get<std::string>(json, "name");
  exec::RunSpec& spec = step.spec;
  spec.argv = get<std::vector<std::string>>(json, "argv");
  spec.env = get<std::vector<std::string>>(json, "env");
  spec.cwd = get<std::string>(json, "cwd");
  spec.user = get<std::string>(json, "user");
  if (auto network = exec::network_named(get<std::string>(json, "network"))) spec.network = *network;
  if (get<bool>(json, "insecure")) spec.security = exec::Security::kInsecure;
  spec.hostname = get<std::string>(json, "hostname");
  spec.extra_hosts = get<std::vector<std::string>>(json, "hosts");
  spec.lower_trees = get<std::vector<std::string>>(json, "lowerTrees");
  for (const std::string& tree : spec.lower_trees)
    if (::access(tree.c_str(), F_OK) != 0)
      return Error(ErrorKind::kNotFound, "a layer below the kept step is gone: " + tree)
          .hint("it was pruned; run the build again");
  spec.upper_dir = *directory + "/upper";
  // New each time: overlayfs refuses one that a mount with the option volatile has used.
  spec.work_dir = *directory + "/work";
  TRY(remove_tree(spec.work_dir));
  TRY(make_directories(spec.work_dir, 0755));
  size_t number = 0;
  for (const Json& item : json.value("mounts", Json::array())) {
    exec::Mount mount;
    // The script of a heredoc was kept under a name of its own.
    if (item.is_object() && get<bool>(json, "script") && !spec.argv.empty() &&
        get<std::string>(item, "target") == spec.argv.front()) {
      mount.source = *directory + "/script";
      mount.target = spec.argv.front();
      spec.mounts.push_back(std::move(mount));
    } else if (item.is_object() && read_mount(item, *directory, ++number, mount)) {
      spec.mounts.push_back(std::move(mount));
    } else if (item.is_object()) {
      step.missing.push_back(get<std::string>(item, "target"));
    }
  }
  return step;
}

}  // namespace kasane::build
