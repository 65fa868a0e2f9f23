// kasane registry explain: what would be asked for a reference, and why.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/signals.h"
#include "oci/json.h"
#include "registry/credentials.h"
#include "registry/endpoint.h"

namespace kasane::cli {
namespace {

using registry::Endpoint;

struct Explained {
  Endpoint endpoint;
  registry::CredentialLookup credentials;
};

Result<std::vector<Explained>> explain_all(const registry::Surroundings& around,
                                           const std::vector<Endpoint>& endpoints,
                                           const std::stop_token& stop) {
  std::vector<Explained> out;
  for (const Endpoint& endpoint : endpoints)
    out.push_back({endpoint, TRY(registry::find_credential(around, endpoint.credential_host,
                                                           endpoint.repository, stop))});
  return out;
}

std::string address(const Endpoint& endpoint) {
  return endpoint.origin() + endpoint.base_path + "/" + endpoint.repository;
}

std::string credential_text(const registry::CredentialLookup& lookup) {
  if (!lookup.credential) return "none (anonymous)";
  const registry::Credential& credential = *lookup.credential;
  std::string what = "user " + credential.username;
  if (!credential.identity_token.empty()) what = "identity token";
  if (!credential.registry_token.empty()) what = "registry token";
  return what + ", from " + credential.source;
}

void print_endpoint(Context& context, const Explained& one) {
  const Endpoint& endpoint = one.endpoint;
  context.out(fmt::format("  {}{}\n", address(endpoint), endpoint.mirror ? "  (mirror)" : ""));
  const auto line = [&](std::string_view name, const std::string& text) {
    if (!text.empty()) context.out(fmt::format("    {:<13}{}\n", name, text));
  };
  line("said by:", endpoint.from);
  if (endpoint.plain_http && endpoint.scheme == "https")
    line("insecure:", "the certificate is not checked, and plain http is used without https");
  else if (endpoint.scheme == "http")
    line("insecure:", "plain http");
  else if (endpoint.skip_verify)
    line("insecure:", "the certificate is not checked");
  line("credentials:", credential_text(one.credentials));
  for (const std::string& problem : one.credentials.problems) line("problem:", problem);
  for (const std::string& ca : endpoint.tls.ca) line("authority:", ca);
  for (const auto& [cert, key] : endpoint.tls.clients) line("client:", cert + " with " + key);
  if (!endpoint.pull || !endpoint.resolve)
    line("only for:", endpoint.pull ? "blobs and digests" : "resolving tags");
}

oci::Json endpoint_json(const Explained& one) {
  const Endpoint& endpoint = one.endpoint;
  std::vector<oci::Json> ca, clients, problems;
  for (const std::string& file : endpoint.tls.ca) ca.push_back(json_text(file));
  for (const auto& [cert, key] : endpoint.tls.clients)
    clients.push_back(json_object({{"certificate", json_text(cert)}, {"key", json_text(key)}}));
  for (const std::string& problem : one.credentials.problems) problems.push_back(json_text(problem));
  oci::Json credentials;
  if (const auto& credential = one.credentials.credential) {
    const char* kind = !credential->identity_token.empty()   ? "identity-token"
                       : !credential->registry_token.empty() ? "registry-token"
                                                             : "password";
    credentials = json_object({{"source", json_text(credential->source)},
                          {"username", json_text(credential->username)},
                          {"kind", json_text(kind)}});
  }
  return json_object({{"url", json_text(address(endpoint))},
                 {"host", json_text(endpoint.host)},
                 {"repository", json_text(endpoint.repository)},
                 {"mirror", json_bool(endpoint.mirror)},
                 {"resolve", json_bool(endpoint.resolve)},
                 {"pull", json_bool(endpoint.pull)},
                 {"plainHttp", json_bool(endpoint.plain_http)},
                 {"skipVerify", json_bool(endpoint.skip_verify)},
                 {"source", json_text(endpoint.from)},
                 {"ca", json_list(std::move(ca))},
                 {"clients", json_list(std::move(clients))},
                 {"credentials", std::move(credentials)},
                 {"problems", json_list(std::move(problems))}});
}

void print_json(Context& context, const registry::Route& route, const std::vector<Explained>& pull,
                const std::vector<Explained>& push) {
  std::vector<oci::Json> pulls, pushes;
  for (const Explained& one : pull) pulls.push_back(endpoint_json(one));
  for (const Explained& one : push) pushes.push_back(endpoint_json(one));
  std::string out;
  json_object({{"reference", json_text(route.reference.canonical())},
          {"blockedBy", json_text(route.blocked_by)},
          {"pull", json_list(std::move(pulls))},
          {"push", json_list(std::move(pushes))}})
      .write(out);
  context.out(out + "\n");
}

Result<int> run_explain(Context& context, const Arguments& arguments) {
  const std::string format = arguments.value("format");
  if (!format.empty() && format != "json")
    return Error(ErrorKind::kInvalid, "--format takes only json");
  registry::Surroundings around;
  around.environment = [&context](const std::string& name) { return context.env(name); };
  const oci::Reference reference =
      TRY(oci::Reference::parse(arguments.positional()[0])).with_default_tag();
  const registry::Route route = TRY(registry::find_route(around, reference));
  auto interrupts = TRY(InterruptWatcher::start());
  const std::vector<Explained> pull = TRY(explain_all(around, route.pull, interrupts->token()));
  const std::vector<Explained> push = TRY(explain_all(around, route.push, interrupts->token()));
  if (format == "json") {
    print_json(context, route, pull, push);
    return 0;
  }
  context.out("Reference: " + reference.canonical() + "\n");
  if (!route.blocked_by.empty()) context.out("Blocked by " + route.blocked_by + "\n");
  context.out("Pull, in this order:\n");
  for (const Explained& one : pull) print_endpoint(context, one);
  context.out("Push:\n");
  for (const Explained& one : push) print_endpoint(context, one);
  if (push.empty()) context.out("  no endpoint takes pushes\n");
  return 0;
}

constexpr FlagSpec kFlags[] = {{.name = "format",
                                .kind = FlagKind::kString,
                                .value_name = "string",
                                .help = "\"json\": one JSON object in place of the text"}};

}  // namespace

extern const Command kCommand_registry_explain;
const Command kCommand_registry_explain = {
    .path = "registry explain",
    .aliases = {},
    .summary = "Show which servers, credentials and certificates a reference would use",
    .usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
    .help =
        "Reads docker's config.json and daemon.json, containers' auth.json and registries.conf,\n"
        "containerd's hosts.toml and the certs.d folders, as pull and push do. Asks no registry;\n"
        "credential helpers are asked. Secrets are never shown.\n\n"
        "Examples:\n"
        "  kasane registry explain alpine\n"
        "  kasane registry explain --format json registry.example:5000/team/app:1",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_explain,
};

}  // namespace kasane::cli
