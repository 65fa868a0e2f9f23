// kasane registry serve: an OCI registry over a folder (reference cli-and-registry 2.1).
#include "serve/serve.h"

#include <fmt/format.h>

#include <mutex>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/registry_root.h"
#include "cli/signals.h"

namespace kasane::cli {
namespace {

Result<int> run_serve(Context& context, const Arguments& arguments) {
  serve::ServeOptions options;
  options.address = arguments.value("addr");
  options.root = TRY(registry_root(context, arguments));
  options.htpasswd = arguments.value("htpasswd");
  options.tls_certificate = arguments.value("tls-cert");
  options.tls_key = arguments.value("tls-key");
  options.immutable = arguments.list("immutable");
  options.read_only = arguments.on("read-only");
  std::mutex mutex;
  options.on_error = [&](const std::string& line) {
    std::lock_guard lock(mutex);
    context.err(sanitize(line) + "\n");
  };
  auto watcher = TRY(InterruptWatcher::start());
  auto server = TRY_CONTEXT(serve::RegistryServer::start(options), "registry");
  if (server->sends_passwords_in_clear())
    context.err("warning: passwords cross the network in clear: give --tls-cert and --tls-key\n");
  context.out(fmt::format("listening on {}\n", server->url()));
  context.flush();
  TRY(server->run(watcher->token()));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "addr",
     .kind = FlagKind::kString,
     .value_name = "HOST:PORT",
     .help = "Address to listen on; port 0: any free one",
     .default_text = "127.0.0.1:5000"},
    {.name = "htpasswd",
     .kind = FlagKind::kString,
     .value_name = "file",
     .help = "Ask for user and password of this file (bcrypt, htpasswd -B)"},
    {.name = "immutable",
     .kind = FlagKind::kList,
     .value_name = "pattern",
     .help = "Tags that can be pushed only once: 'v*', 'prod/*:*' (repeatable)"},
    {.name = "read-only", .help = "Answer pulls only"},
    {.name = "root",
     .kind = FlagKind::kString,
     .value_name = "dir",
     .help = "Folder of the registry (default: kasane/registry in the user's data directory)"},
    {.name = "tls-cert",
     .kind = FlagKind::kString,
     .value_name = "file",
     .help = "Serve https with this certificate (PEM, with its chain)"},
    {.name = "tls-key",
     .kind = FlagKind::kString,
     .value_name = "file",
     .help = "Private key of the certificate (PEM)"},
};

}  // namespace

extern const Command kCommand_registry_serve;
const Command kCommand_registry_serve = {
    .path = "registry serve",
    .aliases = {},
    .summary = "Serve a folder as a registry, for push and pull",
    .usage = "[OPTIONS]",
    .help =
        "A registry of the OCI distribution-spec 1.1. It prints \"listening on URL\" when it is\n"
        "ready and runs until SIGTERM or SIGINT; requests then have four seconds to finish. What\n"
        "was answered with success is on disk, whatever happens afterwards. Unused content is\n"
        "removed by `kasane registry gc`.\n\n"
        "Examples:\n"
        "  kasane registry serve\n"
        "  kasane registry serve --addr :5000 --root /srv/registry --htpasswd users \\\n"
        "    --tls-cert cert.pem --tls-key key.pem --immutable 'v*'",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_serve,
};

}  // namespace kasane::cli
