#include "cli/run_options.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "base/fd.h"
#include "base/random.h"
#include "cli/build_options.h"
#include "cli/template/utf8.h"
#include "cli/units.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kBlanks = " \t";
constexpr uint64_t kMaxEnvFile = 4 << 20;

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

constexpr FlagSpec text(std::string_view name, std::string_view help, char shorthand = 0,
                        std::string_view value = "string") {
  return {.name = name,
          .shorthand = shorthand,
          .kind = FlagKind::kString,
          .value_name = value,
          .help = help};
}
constexpr FlagSpec list(std::string_view name, std::string_view help, char shorthand = 0,
                        std::string_view value = "list") {
  return {.name = name,
          .shorthand = shorthand,
          .kind = FlagKind::kList,
          .value_name = value,
          .help = help};
}
constexpr FlagSpec refused(std::string_view name, FlagKind kind, char shorthand = 0) {
  return {.name = name,
          .shorthand = shorthand,
          .kind = kind,
          .value_name = kind == FlagKind::kBool ? "" : "string",
          .help = "Refused: it would need a daemon",
          .hidden = true};
}

constexpr FlagSpec kFlags[] = {
    list("add-host", "Add a custom host-to-IP mapping (host:ip)"),
    text("entrypoint", "In place of the image's entrypoint and command"),
    list("env", "Set a variable (KEY=VALUE; KEY alone takes this environment's)", 'e'),
    list("env-file", "Read variables from a file"),
    text("hostname", "Host name (default: a new one)", 'h'),
    {.name = "init",
     .help = "Accepted for docker's sake: zombies are always reaped",
     .hidden = true},
    {.name = "interactive", .shorthand = 'i', .help = "Connect STDIN"},
    text("memory", "Memory limit, where cgroups allow", 'm', "bytes"),
    text("network", "\"host\" (default), \"none\", \"private\", \"pasta\" or \"slirp4netns\""),
    {.name = "net",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Docker's old name of --network",
     .hidden = true},
    text("pids-limit", "Processes it may have, where cgroups allow (default: 4096;\n-1: no limit)",
         0, "int"),
    text("platform", "Take the image of this platform"),
    {.name = "read-only", .help = "Make the root file system read-only"},
    {.name = "rm",
     .help = "Accepted for docker's sake: nothing is ever kept",
     .default_text = "true"},
    list("security-opt", "System calls it may make (format: \"seccomp=FILE|builtin|unconfined\")"),
    text("shm-size", "Size of /dev/shm", 0, "bytes"),
    list("tmpfs", "Mount a tmpfs (format: \"DIR[:size=64m,mode=1777]\")"),
    {.name = "tty", .shorthand = 't', .help = "Give the program a terminal"},
    list("ulimit", "Ulimit options (format: \"nofile=1024:2048\")", 0, "ulimit"),
    text("user", "User name or id (format: \"name|uid[:group|gid]\")", 'u'),
    list("volume", "Mount a file or directory of this host (format: \"SRC:DST[:ro]\")", 'v'),
    text("workdir", "Working directory; made if it does not exist", 'w'),
    refused("attach", FlagKind::kList, 'a'),
    refused("cidfile", FlagKind::kString),
    refused("detach", FlagKind::kBool, 'd'),
    refused("detach-keys", FlagKind::kString),
    refused("expose", FlagKind::kList),
    refused("ip", FlagKind::kString),
    refused("link", FlagKind::kList),
    refused("log-driver", FlagKind::kString),
    refused("log-opt", FlagKind::kList),
    refused("name", FlagKind::kString),
    refused("network-alias", FlagKind::kList),
    refused("publish", FlagKind::kList, 'p'),
    refused("publish-all", FlagKind::kBool, 'P'),
    refused("restart", FlagKind::kString),
    refused("volumes-from", FlagKind::kList),
};

// One sentence each for what only a daemon could do.
Result<void> refuse_daemon_flags(const Arguments& arguments) {
  auto refuse = [](std::string_view flag, std::string why) {
    return Error(ErrorKind::kUnsupported, fmt::format("--{} is not possible: {}", flag, why));
  };
  constexpr std::string_view kNoDaemon = "there is no daemon and no detached mode";
  if (arguments.on("detach"))
    return refuse("detach", fmt::format("{}, the program ends with this command", kNoDaemon));
  for (std::string_view flag : {"publish", "publish-all", "expose", "ip", "link", "network-alias"})
    if (arguments.given(flag))
      return refuse(flag, fmt::format("{} that could own a network; the program uses the host's, "
                                      "where its ports are reached directly",
                                      kNoDaemon));
  for (std::string_view flag : {"name", "cidfile", "restart", "volumes-from", "log-driver",
                                "log-opt", "detach-keys", "attach"})
    if (arguments.given(flag))
      return refuse(flag, fmt::format("{}, so no container outlives this command that it could "
                                      "concern",
                                      kNoDaemon));
  if (!arguments.on("rm"))
    return refuse("rm=false", fmt::format("{}, so what the program changes goes with it; mount a "
                                          "directory with -v to keep files",
                                          kNoDaemon));
  return {};
}

std::string trim_left(std::string_view line) {
  size_t start = line.find_first_not_of(kBlanks);
  return start == std::string_view::npos ? "" : std::string(line.substr(start));
}

Result<std::vector<std::string>> variables(const Context& context, const Arguments& arguments) {
  std::vector<std::string> env;
  for (const std::string& file : arguments.list("env-file")) {
    std::string content = TRY_CONTEXT(read_file(file, kMaxEnvFile), "--env-file");
    for (std::string& entry : TRY(parse_env_file(context, content, file)))
      env.push_back(std::move(entry));
  }
  for (const std::string& entry : arguments.list("env")) {
    size_t equals = entry.find('=');
    if (equals == 0 || entry.empty()) return invalid("invalid environment variable: " + entry);
    std::optional<std::string> own;
    if (equals == std::string::npos) own = context.env(entry);
    env.push_back(own ? entry + "=" + *own : entry);
  }
  return env;
}

Result<exec::Network> network_of(const Arguments& arguments) {
  std::string word =
      arguments.given("network") ? arguments.value("network") : arguments.value("net");
  if (word.empty() || word == "default") return exec::Network::kHost;
  if (std::optional<exec::Network> network = exec::network_named(word)) return *network;
  return Error(ErrorKind::kUnsupported,
               fmt::format("network mode {} is not supported", quote(word)))
      .hint(
          "use host, none, private, pasta or slirp4netns: there is no daemon that could keep a "
          "bridge");
}

Result<void> set_tmpfs_option(exec::Mount& mount, std::string_view word) {
  size_t equals = word.find('=');
  std::string_view key = word.substr(0, equals);
  std::string_view value = equals == std::string_view::npos ? "" : word.substr(equals + 1);
  auto number = [&](uint32_t& into, int base) {
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), into, base);
    return !value.empty() && error == std::errc() && end == value.data() + value.size();
  };
  if (equals == std::string_view::npos) {
    if (word == "ro" || word == "rw") mount.read_only = word == "ro";
    if (word == "exec" || word == "noexec") mount.no_exec = word == "noexec";
    for (std::string_view known : {"ro", "rw", "exec", "noexec", "nosuid", "nodev"})
      if (word == known) return {};
  } else if (key == "size") {
    std::optional<uint64_t> size = parse_size(value);
    if (size) mount.size_bytes = *size;
    if (size) return {};
  } else if (key == "mode") {
    uint32_t mode = 0;
    if (number(mode, 8) && mode <= 07777) {
      mount.mode = mode;
      return {};
    }
  } else if ((key == "uid" && number(mount.uid, 10)) || (key == "gid" && number(mount.gid, 10))) {
    return {};
  }
  return invalid(fmt::format("invalid tmpfs option {}", quote(word)))
      .hint("known: size=, mode=, uid=, gid=, ro, rw, exec, noexec, nosuid, nodev");
}

void set_variable(std::vector<std::string>& env, const std::string& entry) {
  size_t equals = entry.find('=');
  std::string start = entry.substr(0, equals) + "=";
  auto same = [&](const std::string& other) { return other.starts_with(start); };
  if (equals == std::string::npos) {
    std::erase_if(env, same);
    return;
  }
  auto at = std::find_if(env.begin(), env.end(), same);
  if (at != env.end())
    *at = entry;
  else
    env.push_back(entry);
}

}  // namespace

std::span<const FlagSpec> run_flags() { return kFlags; }

Result<std::vector<std::string>> parse_env_file(const Context& context, std::string_view content,
                                                const std::string& name) {
  std::vector<std::string> env;
  if (content.starts_with("\xEF\xBB\xBF")) content.remove_prefix(3);
  while (!content.empty()) {
    size_t end = content.find('\n');
    std::string line = trim_left(content.substr(0, end));
    content = end == std::string_view::npos ? std::string_view() : content.substr(end + 1);
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line[0] == '#') continue;
    size_t equals = line.find('=');
    std::string key = line.substr(0, equals);
    if (key.empty())
      return invalid(fmt::format("invalid env file {}: no variable name on line '{}'", name, line));
    if (key.find_first_of(kBlanks) != std::string::npos)
      return invalid(
          fmt::format("invalid env file {}: variable '{}' contains whitespaces", name, key));
    if (equals != std::string::npos)
      env.push_back(std::move(line));
    else if (std::optional<std::string> own = context.env(key))
      env.push_back(key + "=" + *own);
  }
  return env;
}

Result<exec::Mount> parse_volume(const std::string& spec) {
  size_t first = spec.find(':');
  size_t second = first == std::string::npos ? first : spec.find(':', first + 1);
  std::string source = spec.substr(0, first);
  if (first == std::string::npos)
    return Error(ErrorKind::kUnsupported,
                 fmt::format("volume {} names no directory of this host: there are no volumes that "
                             "live without a container",
                             quote(spec)))
        .hint("write SRC:DST; without a mount the program may write there as well");
  exec::Mount mount;
  mount.target = spec.substr(first + 1, second == std::string::npos ? second : second - first - 1);
  mount.read_only = false;
  std::string words = second == std::string::npos ? "rw" : spec.substr(second + 1);
  if (words != "ro" && words != "rw")
    return invalid(fmt::format("invalid mode {} in volume {}", quote(words), quote(spec)))
        .hint("use ro or rw");
  mount.read_only = words == "ro";
  if (!mount.target.starts_with('/'))
    return invalid(fmt::format("invalid mount path in volume {}: {} must be absolute", quote(spec),
                               quote(mount.target)));
  if (!source.starts_with('/')) {
    bool path = source.empty() || source[0] == '.' || source[0] == '~' ||
                source.find('/') != std::string::npos;
    if (path)
      return invalid(fmt::format("the source of volume {} is not an absolute path", quote(spec)))
          .hint("write for example \"$PWD/data:/data\"");
    return Error(ErrorKind::kUnsupported,
                 fmt::format(
                     "there are no named volumes: {} would need a place that kasane does not keep",
                     quote(source)))
        .hint("give a directory of this host as an absolute path");
  }
  // docker would make a missing one, and a misspelt path would go unnoticed.
  char resolved[PATH_MAX];
  struct stat st;
  if (::realpath(source.c_str(), resolved) == nullptr || ::stat(resolved, &st) != 0)
    return Error::from_errno(errno, "volume source " + source)
        .hint("it is not made for you, unlike docker");
  mount.source = resolved;
  if (S_ISSOCK(st.st_mode)) mount.type = exec::Mount::Type::kSocket;
  return mount;
}

Result<exec::Mount> parse_tmpfs(const std::string& spec) {
  size_t colon = spec.find(':');
  exec::Mount mount;
  mount.type = exec::Mount::Type::kTmpfs;
  mount.target = spec.substr(0, colon);
  mount.read_only = false;
  mount.no_exec = true;
  if (!mount.target.starts_with('/'))
    return invalid(
        fmt::format("invalid tmpfs {}: {} must be absolute", quote(spec), quote(mount.target)));
  std::string_view words =
      colon == std::string::npos ? "" : std::string_view(spec).substr(colon + 1);
  while (!words.empty()) {
    size_t comma = words.find(',');
    TRY(set_tmpfs_option(mount, words.substr(0, comma)));
    words = comma == std::string_view::npos ? std::string_view() : words.substr(comma + 1);
  }
  return mount;
}

Result<RunOptions> run_options(Context& context, const Arguments& arguments) {
  TRY(refuse_daemon_flags(arguments));
  RunOptions options;
  options.image = arguments.positional()[0];
  options.arguments.assign(arguments.positional().begin() + 1, arguments.positional().end());
  if (arguments.given("entrypoint")) {
    options.entrypoint.emplace();
    if (std::string word = arguments.value("entrypoint"); !word.empty())
      options.entrypoint->push_back(word);
  }
  options.env = TRY(variables(context, arguments));
  if (arguments.given("user")) options.user = arguments.value("user");
  if (arguments.given("workdir")) {
    options.cwd = arguments.value("workdir");
    if (!options.cwd->starts_with('/'))
      return invalid(fmt::format(
          "the working directory '{}' is invalid, it needs to be an absolute path", *options.cwd));
  }
  options.hostname = arguments.value("hostname");
  if (options.hostname.empty()) options.hostname = random_hex(6);
  if (std::string word = arguments.value("platform"); !word.empty())
    options.platform = TRY(oci::Platform::parse(word));
  options.network = TRY(network_of(arguments));
  for (const std::string& spec : arguments.list("tmpfs"))
    options.mounts.push_back(TRY(parse_tmpfs(spec)));
  for (const std::string& spec : arguments.list("volume"))
    options.mounts.push_back(TRY(parse_volume(spec)));
  TRY(add_run_settings(arguments, options.settings));
  options.read_only = arguments.on("read-only");
  options.interactive = arguments.on("interactive");
  options.terminal = arguments.on("tty");
  // Docker's words and condition: without -i the terminal of the program reads nothing.
  if (options.terminal && options.interactive && !context.streams.in_is_terminal)
    return invalid("the input device is not a TTY").hint("leave out -t, or -i");
  return options;
}

Result<std::vector<std::string>> command_line(const RunOptions& options,
                                              const oci::ContainerConfig& image) {
  std::vector<std::string> words;
  // Whoever changes the entrypoint does not want the command that was meant for the old one.
  if (options.entrypoint)
    words = *options.entrypoint;
  else if (image.entrypoint)
    words = *image.entrypoint;
  std::vector<std::string> command = options.arguments;
  if (command.empty() && !options.entrypoint && image.cmd) command = *image.cmd;
  words.insert(words.end(), command.begin(), command.end());
  if (words.empty() || words[0].empty())
    return invalid("no command specified")
        .hint("the image names no program: write one after its name");
  return words;
}

std::vector<std::string> environment(const RunOptions& options, const oci::ContainerConfig& image) {
  std::vector<std::string> env{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                               "HOSTNAME=" + options.hostname};
  if (options.terminal) env.push_back("TERM=xterm");
  for (const std::string& entry : image.env) set_variable(env, entry);
  for (const std::string& entry : options.env) set_variable(env, entry);
  return env;
}

}  // namespace kasane::cli
