#include "cli/build_options.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/csv.h"
#include "base/diagnostic.h"
#include "base/fd.h"
#include "base/ram_size.h"
#include "cli/build_outputs.h"
#include "cli/registry_io.h"
#include "cli/units.h"
#include "exec/seccomp/profile.h"
#include "net/git_ref.h"

namespace kasane::cli {
namespace {

constexpr uint64_t kMaxSecretBytes = 500 * 1024;  // as BuildKit
constexpr uint64_t kMaxArgFileBytes = 4u << 20;

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

// "K=V"; "K" alone takes the value of the environment, and is left out when unset there.
void add_argument(const Context& context, const std::string& word,
                  std::map<std::string, std::string>& values) {
  size_t equals = word.find('=');
  if (equals != std::string::npos)
    values[word.substr(0, equals)] = word.substr(equals + 1);
  else if (auto value = context.env(word))
    values[word] = *value;
}

// L25: one argument a line; blank lines and those that start with # do not count.
Result<void> add_argument_file(const Context& context, const std::string& path,
                               std::map<std::string, std::string>& values) {
  std::string text = TRY_CONTEXT(read_file(path, kMaxArgFileBytes), "--build-arg-file");
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty() && line.front() != '#') add_argument(context, line, values);
  }
  return {};
}

Result<std::map<std::string, std::string>> build_arguments(const Context& context,
                                                           const Arguments& arguments) {
  std::map<std::string, std::string> values;
  for (const std::string& path : arguments.list("build-arg-file"))
    TRY(add_argument_file(context, path, values));
  for (const std::string& word : arguments.list("build-arg")) add_argument(context, word, values);
  if (arguments.given("timestamp"))
    values["SOURCE_DATE_EPOCH"] = arguments.value("timestamp");
  else if (auto epoch = context.env("SOURCE_DATE_EPOCH"))
    values.try_emplace("SOURCE_DATE_EPOCH", *epoch);
  return values;
}

std::map<std::string, std::string> labels_of(const Arguments& arguments) {
  std::map<std::string, std::string> labels;
  for (const std::string& word : arguments.list("label")) {
    size_t equals = word.find('=');
    labels[word.substr(0, equals)] = equals == std::string::npos ? "" : word.substr(equals + 1);
  }
  return labels;
}

Result<std::optional<exec::Network>> network_of(const std::string& word) {
  if (word.empty() || word == "default") return std::optional<exec::Network>();
  if (std::optional<exec::Network> network = exec::network_named(word)) return network;
  return Error(ErrorKind::kUnsupported, fmt::format("network mode {} not supported", quote(word)))
      .hint("use default, host, none, private, pasta or slirp4netns");
}

std::vector<std::string> split_list(const std::vector<std::string>& values) {
  std::vector<std::string> words;
  for (const std::string& value : values)
    for (size_t begin = 0; begin <= value.size();) {
      size_t end = std::min(value.find(',', begin), value.size());
      if (end > begin) words.push_back(value.substr(begin, end - begin));
      begin = end + 1;
    }
  return words;
}

Result<std::vector<oci::Platform>> platforms_of(const Context& context, const Arguments& arguments) {
  std::vector<std::string> words = split_list(arguments.list("platform"));
  if (words.empty()) words = split_list({context.env("DOCKER_DEFAULT_PLATFORM").value_or("")});
  std::vector<oci::Platform> platforms;
  for (const std::string& word : words) {
    oci::Platform platform = word == "local" ? oci::Platform::host() : TRY(oci::Platform::parse(word));
    if (std::find(platforms.begin(), platforms.end(), platform) == platforms.end())
      platforms.push_back(std::move(platform));
  }
  return platforms;
}

// L10: "id=X[,src=FILE|,env=NAME][,type=file|env]".
Result<void> add_secret(const Context& context, const std::string& text, build::SecretValues& secrets) {
  std::string id, source, variable, type;
  auto pairs = TRY_CONTEXT(split_csv_pairs(text), "failed to parse csv secret");
  for (const auto& [key, value] : pairs) {
    if (key == "id") {
      id = value;
    } else if (key == "src" || key == "source") {
      source = value;
    } else if (key == "env") {
      variable = value;
    } else if (key == "type" && (value == "file" || value == "env")) {
      type = value;
    } else if (key == "type") {
      return invalid("unsupported secret type " + quote(value)).hint("use type=file or type=env");
    } else {
      return invalid(fmt::format("unexpected key {} in secret {}", quote(key), quote(text)))
          .hint("the keys are id, src, env and type");
    }
  }
  if (id.empty()) return invalid("secret " + quote(text) + ": no id").hint("for example: --secret id=token,src=token.txt");
  if (type == "env" && variable.empty()) variable = std::exchange(source, {});
  if (source.empty() && variable.empty()) {
    if (type != "file" && context.env(id))
      variable = id;
    else
      (type == "env" ? variable : source) = id;
  }
  if (!variable.empty()) {
    std::optional<std::string> value = context.env(variable);
    if (!value) return invalid(fmt::format("secret {}: variable {} is not set", quote(id), variable));
    secrets.set(id, *value);
    return {};
  }
  secrets.set(id, TRY_CONTEXT(read_file(source, kMaxSecretBytes), "secret " + quote(id)));
  return {};
}

// L13: "name:ip", "name=ip", "name:[v6]", "name:host-gateway".
Result<build::RunSettings::ExtraHost> extra_host(const std::string& text) {
  size_t at = text.find('=');
  if (at == std::string::npos) at = text.find(':');
  if (at == std::string::npos || at == 0)
    return invalid("bad format for add-host: " + quote(text)).hint("write NAME:ADDRESS");
  build::RunSettings::ExtraHost host{text.substr(0, at), text.substr(at + 1)};
  if (host.address.starts_with('[') && host.address.ends_with(']'))
    host.address = host.address.substr(1, host.address.size() - 2);
  // Steps share the network of this machine, which is therefore their gateway to it.
  if (host.address == "host-gateway") host.address = "127.0.0.1";
  unsigned char buffer[16];
  if (::inet_pton(AF_INET, host.address.c_str(), buffer) != 1 &&
      ::inet_pton(AF_INET6, host.address.c_str(), buffer) != 1)
    return invalid(fmt::format("invalid IP address in add-host: {}", quote(host.address)));
  if (host.name.find_first_of(" \t\n#") != std::string::npos)
    return invalid("invalid host name in add-host: " + quote(host.name));
  return host;
}

Result<exec::Ulimit> ulimit_of(const std::string& text) {
  exec::Ulimit limit;
  size_t equals = text.find('=');
  auto number = [&](std::string_view digits, uint64_t& into) {
    if (digits == "-1" || digits == "unlimited") {
      into = ~uint64_t{0};
      return true;
    }
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), into);
    return !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
  };
  std::string_view values = equals == std::string::npos ? std::string_view() : std::string_view(text).substr(equals + 1);
  size_t colon = values.find(':');
  limit.name = text.substr(0, equals);
  bool valid = number(values.substr(0, colon), limit.soft);
  limit.hard = limit.soft;
  if (valid && colon != std::string_view::npos) valid = number(values.substr(colon + 1), limit.hard);
  if (!valid || limit.soft > limit.hard)
    return invalid("invalid ulimit argument: " + text).hint("write NAME=SOFT[:HARD], for example nofile=1024:4096");
  return limit;
}

Result<uint64_t> size_of(const Arguments& arguments, const char* flag) {
  std::string text = arguments.value(flag);
  if (text.empty()) return uint64_t{0};
  std::optional<uint64_t> size = parse_ram_size(text);
  if (!size) return invalid(fmt::format("invalid size {} for --{}", quote(text), flag)).hint("write for example 512m");
  return *size;
}

// As docker takes it: 0 and -1 mean no limit.
Result<std::optional<uint64_t>> pids_limit_of(const Arguments& arguments) {
  std::string text = arguments.value("pids-limit");
  if (text.empty()) return std::optional<uint64_t>();
  int64_t limit = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), limit);
  if (error != std::errc() || end != text.data() + text.size() || limit < -1)
    return invalid("invalid value " + quote(text) + " for --pids-limit").hint("write a number, -1 for no limit");
  return std::optional<uint64_t>(limit > 0 ? static_cast<uint64_t>(limit) : 0);
}

// A runtime that was asked for is used; one in the environment is only what `oci` means.
Result<void> add_isolation(Context& context, const Arguments& arguments,
                           build::RunSettings& run) {
  const std::string runtime = arguments.value("runtime");
  std::string isolation = arguments.given("isolation") ? arguments.value("isolation")
                          : !runtime.empty()           ? "oci"
                                                       : context.env("KASANE_ISOLATION").value_or("");
  if (isolation != "" && isolation != "default" && isolation != "sandbox" && isolation != "oci")
    return invalid("invalid isolation: " + quote(isolation)).hint("use default, sandbox or oci");
  run.oci = isolation == "oci";
  if (!run.oci && !runtime.empty())
    return invalid(fmt::format("--runtime {} has no meaning with --isolation {}", quote(runtime), quote(isolation)));
  run.oci_runtime = !runtime.empty() ? runtime : context.env("KASANE_RUNTIME").value_or("");
  return {};
}

// L16.
Result<void> add_entitlements(const Arguments& arguments, build::BuildOptions& options) {
  for (const std::string& name : split_list(arguments.list("allow"))) {
    if (name == "network.host")
      options.allow_host_network = true;
    else if (name == "security.insecure")
      options.allow_insecure = true;
    else if (name == "local.delete")
      options.allow_local_delete = true;
    else if (!name.starts_with("fs") && !name.starts_with("device") && !name.starts_with("ssh"))
      return invalid("invalid entitlement: " + quote(name)).hint("use network.host or security.insecure");
  }
  return {};
}

// X11: what cannot be a context is refused before anything is opened.
Result<void> check_context(const std::string& context, const std::string& file) {
  if (context == "-" && file == "-")
    return invalid("invalid argument: can't use stdin for both build context and dockerfile");
  struct stat st;
  if (context == "-" || ::stat(context.c_str(), &st) == 0 || net::looks_like_git_context(context) ||
      context.starts_with("http://") || context.starts_with("https://"))
    return {};
  return Error(ErrorKind::kNotFound, fmt::format("unable to prepare context: path {} not found", quote(context)))
      .hint("the last argument is the directory with the files to copy, often \".\"");
}

Result<void> check_stdout(const Context& context, const build::BuildOptions& options) {
  bool taken = false;
  for (const transfer::ExportOptions& output : options.outputs) {
    if (!output.to_stdout()) continue;
    if (context.streams.out_is_terminal)
      return invalid(fmt::format("dest file is required for {} exporter. refusing to write to console",
                                 transfer::kind_name(output.kind)))
          .hint("redirect standard output, or name a file with dest=");
    if (std::exchange(taken, true)) return invalid("only one output can go to standard output");
  }
  return {};
}

// Docker writes "seccomp=FILE", and once wrote "seccomp:FILE". Its other options set up what no
// step has here (labels of SELinux, profiles of AppArmor) or what every rootless one has.
Result<void> add_security_option(const std::string& text, build::RunSettings& run) {
  const size_t end = text.find_first_of("=:");
  if (text.substr(0, end) != "seccomp" || end == std::string::npos || end + 1 == text.size())
    return invalid("--security-opt " + quote(text) + " is not possible")
        .hint("write seccomp=FILE, seccomp=builtin or seccomp=unconfined");
  run.seccomp = TRY(exec::read_seccomp_choice(text.substr(end + 1)));
  return {};
}

void note_ignored(const Arguments& arguments, std::vector<std::string>& notes) {
  static constexpr std::string_view kIgnored[] = {
      "cgroup-parent", "compress", "cpu-period", "cpu-quota", "cpu-shares", "cpuset-cpus",
      "cpuset-mems", "memory-swap", "builder"};
  for (std::string_view flag : kIgnored)
    if (arguments.given(flag)) notes.push_back(fmt::format("--{} has no meaning for kasane and is ignored", flag));
}

}  // namespace

Result<void> add_run_settings(const Arguments& arguments, build::RunSettings& run) {
  for (const std::string& text : arguments.list("add-host")) run.extra_hosts.push_back(TRY(extra_host(text)));
  for (const std::string& text : arguments.list("ulimit")) run.ulimits.push_back(TRY(ulimit_of(text)));
  run.shm_size_bytes = TRY(size_of(arguments, "shm-size"));
  run.memory_limit_bytes = TRY(size_of(arguments, "memory"));
  run.pids_limit = TRY(pids_limit_of(arguments));
  for (const std::string& text : arguments.list("security-opt")) TRY(add_security_option(text, run));
  run.time_limit_text = arguments.value("run-timeout");
  if (run.time_limit_text.empty()) return {};
  std::optional<int64_t> limit = parse_duration(run.time_limit_text);
  if (!limit || *limit <= 0)
    return invalid("invalid duration " + quote(run.time_limit_text) + " for --run-timeout").hint("write for example 90s or 10m");
  run.time_limit_ns = static_cast<uint64_t>(*limit);
  return {};
}

Result<build::BuildOptions> build_options(Context& context, const Arguments& arguments,
                                          build::SshAgents& agents,
                                          std::vector<std::string>& notes) {
  build::BuildOptions options;
  options.context = arguments.positional()[0];
  if (std::string file = arguments.value("file"); !file.empty()) options.dockerfile = file;
  TRY(check_context(options.context, arguments.value("file")));
  options.tags = arguments.list("tag");
  options.target = arguments.value("target");
  options.build_args = TRY(build_arguments(context, arguments));
  options.labels = labels_of(arguments);
  options.unset_env = arguments.list("unsetenv");
  options.unset_labels = arguments.list("unsetlabel");
  options.build_contexts = arguments.list("build-context");
  options.platforms = TRY(platforms_of(context, arguments));
  for (const std::string& text : arguments.list("secret")) TRY(add_secret(context, text, options.secrets));
  for (const std::string& text : arguments.list("ssh"))
    TRY(agents.add(text, context.env("SSH_AUTH_SOCK").value_or("")));
  options.ssh = &agents;
  options.registries = surroundings_of(context);
  options.pull = arguments.on("pull");
  options.no_cache = arguments.on("no-cache");
  for (std::string& stage : split_list(arguments.list("no-cache-filter"))) {
    std::transform(stage.begin(), stage.end(), stage.begin(), [](unsigned char c) { return std::tolower(c); });
    options.no_cache_stages.insert(std::move(stage));
  }
  options.network = TRY(network_of(arguments.value("network")));
  TRY(add_entitlements(arguments, options));
  TRY(add_isolation(context, arguments, options.run));
  TRY(add_run_settings(arguments, options.run));
  TRY(add_outputs(arguments, options));
  TRY(check_stdout(context, options));
  options.iidfile = arguments.value("iidfile");
  options.first_base = arguments.value("from");
  if (std::string ttl = arguments.value("cache-ttl"); !ttl.empty()) {
    std::optional<int64_t> duration = parse_duration(ttl);
    if (!duration) return invalid("invalid duration " + quote(ttl) + " for --cache-ttl").hint("write for example 24h");
    options.cache_ttl_ns = *duration;
  }
  if (arguments.given("retry")) options.retries = std::max(0, std::atoi(arguments.value("retry").c_str()));
  std::string jobs = arguments.value("jobs");
  if (!jobs.empty()) options.jobs = static_cast<unsigned>(std::max(0, std::atoi(jobs.c_str())));
  note_ignored(arguments, notes);
  return options;
}

}  // namespace kasane::cli
