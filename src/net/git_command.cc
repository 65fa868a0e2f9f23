#include "net/git_command.h"

#include <cstdlib>
#include <utility>

#include "net/http.h"

namespace kasane::net {
namespace {

using Setting = std::pair<std::string, std::string>;

// Single quotes for the shell that git gives GIT_SSH_COMMAND to.
std::string shell_quote(const std::string& text) {
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// No configuration, no keys but those of the agent that the build was given. A host's key is
// compared with what this user or an earlier build knows; the first one seen is trusted.
std::string ssh_command(const std::string& known_hosts) {
  return "ssh -F /dev/null -o BatchMode=yes -o ConnectTimeout=30 -o IdentityFile=none"
         " -o ForwardAgent=no -o ClearAllForwardings=yes -o PermitLocalCommand=no"
         " -o StrictHostKeyChecking=accept-new -o " +
         shell_quote("UserKnownHostsFile=\"" + known_hosts + "\" ~/.ssh/known_hosts");
}

// BuildKit's rule: the header goes to this remote alone, and on github.com also to the
// submodules there.
std::string auth_scope(const std::string& remote) {
  for (const char* prefix : {"https://github.com/", "https://www.github.com/"})
    if (remote.starts_with(prefix)) return prefix;
  return remote;
}

std::vector<Setting> settings() {
  return {
      {"core.hooksPath", "/dev/null"},
      {"core.fsmonitor", "false"},
      {"core.askPass", ""},
      {"credential.helper", ""},
      {"gc.auto", "0"},
      {"maintenance.auto", "false"},
      {"init.defaultBranch", "master"},
      {"advice.detachedHead", "false"},
      // The cache belongs to whoever runs kasane; inside a user namespace git would doubt it.
      {"safe.directory", "*"},
      {"protocol.ext.allow", "never"},
      {"protocol.file.allow", "user"},
      {"submodule.recurse", "false"},
      {"fetch.recurseSubmodules", "false"},
      {"fetch.writeCommitGraph", "false"},
      {"http.lowSpeedLimit", "1"},
      {"http.lowSpeedTime", "60"},
  };
}

bool contains_any(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts)
    if (text.find(part) != std::string::npos) return true;
  return false;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  if (from.empty() || from == to) return;
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

// The last lines, without progress and control characters: a server may send any bytes.
std::string tidy(std::string text) {
  constexpr size_t kMax = 1000;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.size() > kMax) text.erase(0, text.size() - kMax);
  std::string out;
  for (char c : text) {
    if (c == '\n' || c == '\r') out += "; ";
    else if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) out += c;
  }
  return out;
}

}  // namespace

Git::Git(std::string remote, std::string home, std::string known_hosts, std::string ssh_auth_sock,
         std::string auth_header, std::stop_token stop)
    : remote_(std::move(remote)),
      home_(std::move(home)),
      known_hosts_(std::move(known_hosts)),
      ssh_auth_sock_(std::move(ssh_auth_sock)),
      auth_header_(std::move(auth_header)),
      stop_(std::move(stop)) {}

std::vector<std::string> Git::environment(const Place& place) const {
  std::vector<std::string> variables = {
      "HOME=" + home_,
      "XDG_CONFIG_HOME=" + home_,
      "LC_ALL=C",
      "GIT_CONFIG_NOSYSTEM=1",
      "GIT_CONFIG_GLOBAL=/dev/null",
      "GIT_ATTR_NOSYSTEM=1",
      "GIT_TERMINAL_PROMPT=0",
      "GIT_LFS_SKIP_SMUDGE=1",
      "GIT_SSH_COMMAND=" + ssh_command(known_hosts_),
      // Goes before protocol.*.allow, also in submodules.
      std::string("GIT_ALLOW_PROTOCOL=") + (place.local_only ? "file" : "http:https:git:ssh"),
  };
  if (!place.git_dir.empty()) variables.push_back("GIT_DIR=" + place.git_dir);
  if (!place.work_tree.empty()) variables.push_back("GIT_WORK_TREE=" + place.work_tree);
  for (const char* name : {"PATH", "TMPDIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
                           "http_proxy", "https_proxy", "no_proxy", "all_proxy"})
    if (const char* value = std::getenv(name)) variables.push_back(std::string(name) + "=" + value);
  if (const char* file = std::getenv("SSL_CERT_FILE"); file && *file)
    variables.push_back(std::string("GIT_SSL_CAINFO=") + file);
  if (const char* dir = std::getenv("SSL_CERT_DIR"); dir && *dir)
    variables.push_back(std::string("GIT_SSL_CAPATH=") + dir);
  if (!ssh_auth_sock_.empty()) variables.push_back("SSH_AUTH_SOCK=" + ssh_auth_sock_);
  // Through the environment, because anybody can read a command line.
  std::vector<Setting> all = settings();
  if (!auth_header_.empty() && remote_.starts_with("http"))
    all.emplace_back("http." + auth_scope(remote_) + ".extraheader", auth_header_);
  variables.push_back("GIT_CONFIG_COUNT=" + std::to_string(all.size()));
  for (size_t i = 0; i < all.size(); ++i) {
    variables.push_back("GIT_CONFIG_KEY_" + std::to_string(i) + "=" + all[i].first);
    variables.push_back("GIT_CONFIG_VALUE_" + std::to_string(i) + "=" + all[i].second);
  }
  return variables;
}

Result<ProcessOutput> Git::run(const Place& place, const std::vector<std::string>& args) const {
  std::vector<std::string> argv = {"git", "--literal-pathspecs", "--no-replace-objects"};
  argv.insert(argv.end(), args.begin(), args.end());
  ProcessOptions options;
  options.environment = environment(place);
  options.working_directory = place.work_tree.empty() ? home_ : place.work_tree;
  options.stop = stop_;
  options.max_output_bytes = 64u << 20;  // ls-remote without a ref name is not used
  Result<ProcessOutput> output = run_process(argv, options);
  if (!output && output.error().kind() == ErrorKind::kNotFound)
    return Error(ErrorKind::kUnsupported, "git sources need git, which is not in PATH")
        .hint("install the Debian package git");
  return output;
}

Result<std::string> Git::must(const Place& place, const std::vector<std::string>& args) const {
  ProcessOutput output = TRY(run(place, args));
  if (output.exit_status != 0) return failure(output, "git " + args[0]);
  return std::move(output.out);
}

Error Git::failure(const ProcessOutput& output, const std::string& what) const {
  std::string said = output.err;
  replace_all(said, remote_, redact_url(remote_));
  said = tidy(said);
  std::string text = what + " failed with status " + std::to_string(output.exit_status) +
                     (said.empty() ? "" : ": " + said);
  if (contains_any(said, {"cannot run ssh"}))
    return Error(ErrorKind::kUnsupported, text).hint("install the Debian package openssh-client");
  if (contains_any(said, {"is not a git command", "Unable to find remote helper"}))
    return Error(ErrorKind::kUnsupported, text).hint("install the complete Debian package git");
  if (contains_any(said, {"No space left", "Disk quota exceeded"}))
    return Error(ErrorKind::kNoSpace, text).hint("make room on the file system of the store");
  if (contains_any(said, {"Host key verification failed"}))
    return Error(ErrorKind::kPermission, text)
        .hint("the server's key differs from the known one; see ~/.ssh/known_hosts");
  if (contains_any(said, {"Authentication failed", "could not read Username",
                          "could not read Password", "Permission denied", "returned error: 401",
                          "returned error: 403"}))
    return Error(ErrorKind::kPermission, text)
        .hint("give credentials: --ssh default for ssh remotes, "
              "--secret id=GIT_AUTH_TOKEN for http remotes");
  if (contains_any(said, {"not found", "does not appear to be a git repository",
                          "repository not exported", "returned error: 404"}))
    return Error(ErrorKind::kNotFound, text).hint("check the address of the repository");
  if (contains_any(said, {"transport 'file' not allowed", "transport 'ext' not allowed",
                          "not allowed"}))
    return Error(ErrorKind::kInvalid, text)
        .hint("repositories and submodules come over http, https, git or ssh only");
  return Error(ErrorKind::kNetwork, text).hint("try again, or run git ls-remote on it to see more");
}

}  // namespace kasane::net
