// kasane login (reference 1.12).
#include <fmt/format.h>
#include <termios.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "registry/login.h"

namespace kasane::cli {
namespace {

constexpr size_t kMaxLine = 65536;

// One line of standard input without its end; the terminal does not show it when `hidden`.
Result<std::string> read_line(Context& context, bool hidden) {
  termios saved{};
  const bool silent = hidden && ::tcgetattr(context.streams.in_fd, &saved) == 0;
  if (silent) {
    termios quiet = saved;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(context.streams.in_fd, TCSANOW, &quiet);
  }
  std::string out;
  Result<size_t> got = size_t{1};
  for (uint8_t c = 0; out.size() < kMaxLine;) {
    got = read_some(context.streams.in_fd, {&c, 1}, "standard input");
    if (!got || *got == 0 || c == '\n') break;
    out += static_cast<char>(c);
  }
  if (silent) {
    ::tcsetattr(context.streams.in_fd, TCSANOW, &saved);
    context.out("\n");
  }
  if (!got) return std::move(got.error());
  if (out.ends_with('\r')) out.pop_back();
  return out;
}

// Everything; one line ending at the end is taken off.
Result<std::string> read_password(Context& context) {
  FdSource in(context.streams.in_fd, "standard input");
  StringSink all;
  TRY(copy_stream(in, all, kMaxLine));
  std::string out = std::move(all.text);
  if (out.ends_with('\n')) out.pop_back();
  if (out.ends_with('\r')) out.pop_back();
  return out;
}

Result<registry::Credential> ask_user(Context& context, const Arguments& arguments,
                                      const std::string& known_user) {
  registry::Credential out;
  out.username = arguments.value("username");
  out.password = arguments.value("password");
  if (arguments.on("password-stdin")) {
    out.password = TRY(read_password(context));
  } else if (out.username.empty() || out.password.empty()) {
    if (!context.streams.in_is_terminal)
      return Error(ErrorKind::kInvalid, "Cannot perform an interactive login from a non TTY device");
    if (out.username.empty()) {
      context.out(known_user.empty() ? std::string("Username: ") : fmt::format("Username ({}): ", known_user));
      context.flush();
      out.username = TRY(read_line(context, false));
      if (out.username.empty()) out.username = known_user;
    }
    if (!out.username.empty() && out.password.empty()) {
      context.out("Password: ");
      context.flush();
      out.password = TRY(read_line(context, true));
    }
  }
  if (out.username.empty()) return Error(ErrorKind::kInvalid, "username is empty");
  if (out.password.empty()) return Error(ErrorKind::kInvalid, "password is empty");
  const std::string all = out.username + out.password;
  if (all.find_first_of(std::string_view("\0\r\n", 3)) != std::string::npos ||
      out.username.find(':') != std::string::npos)
    return Error(ErrorKind::kInvalid, "user name or password holds a character that cannot be sent")
        .hint("line breaks and NUL bytes, and ':' in the user name, are not possible");
  return out;
}

Result<int> run_login(Context& context, const Arguments& arguments) {
  if (arguments.given("password") && arguments.on("password-stdin"))
    return Error(ErrorKind::kInvalid, "conflicting options: cannot specify both --password and --password-stdin");
  if (arguments.on("password-stdin") && arguments.value("username").empty())
    return Error(ErrorKind::kInvalid, "the --password-stdin option requires --username to be set");
  if (arguments.given("password"))
    context.err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n");
  const registry::Surroundings around = surroundings_of(context);
  const auto& words = arguments.positional();
  const std::string host = TRY(registry::registry_host(words.empty() ? "" : words[0]));
  auto interrupts = TRY(InterruptWatcher::start());
  const std::stop_token stop = interrupts->token();

  const registry::CredentialLookup stored = TRY(registry::find_credential(around, host, "", stop));
  const std::string known_user = stored.credential ? stored.credential->username : "";
  const bool asked = arguments.given("username") || arguments.given("password");
  if (stored.credential && !asked) {
    context.out(fmt::format("Authenticating with existing credentials...{}\n",
                            known_user.empty() ? "" : " [Username: " + known_user + "]"));
    Result<registry::Credential> fine = registry::check_login(around, host, *stored.credential, stop);
    if (fine) {
      context.out("\nLogin Succeeded\n");
      return 0;
    }
    if (fine.error().kind() != ErrorKind::kPermission) return std::move(fine.error());
    context.err("Login did not succeed, error: " + fine.error().message() + "\n");
  }
  const registry::Credential given = TRY(ask_user(context, arguments, known_user));
  const registry::Credential checked = TRY_CONTEXT(registry::check_login(around, host, given, stop), "login to " + host);
  const registry::StoredAt at = TRY(registry::store_credential(around, host, checked, stop));
  if (at.helper.empty() && checked.identity_token.empty())
    context.err(fmt::format("\nWARNING! Your credentials are stored unencrypted in '{}'.\n"
                            "Configure a credential helper to remove this warning. See\n"
                            "https://docs.docker.com/go/credential-store/\n\n",
                            at.file));
  context.out("Login Succeeded\n");
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "password",
     .shorthand = 'p',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Password or personal access token (everybody on this machine can see it)"},
    {.name = "password-stdin", .help = "Take the password from standard input"},
    {.name = "username", .shorthand = 'u', .kind = FlagKind::kString, .value_name = "string", .help = "User name"},
};

}  // namespace

extern const Command kCommand_login;
const Command kCommand_login = {
    .path = "login",
    .aliases = {},
    .summary = "Authenticate to a registry",
    .usage = "[OPTIONS] [SERVER]",
    .help =
        "Asks the registry whether the credentials are good and stores them where docker does: with the\n"
        "helper that config.json names (credHelpers, credsStore), else in config.json. Without SERVER:\n"
        "Docker Hub.\n\n"
        "Examples:\n"
        "  kasane login registry.example:5000\n"
        "  printenv TOKEN | kasane login -u bot --password-stdin registry.example",
    .flags = kFlags,
    .max_arguments = 1,
    .run = run_login,
};

}  // namespace kasane::cli
