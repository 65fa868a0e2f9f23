// kasane registry explain: what would be asked for a reference, and why.
#include <fmt/format.h>

#include "cli/command.h"
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

// One JSON value after another; members in the order in which they were added.
oci::Json text(std::string value) {
  oci::Json out;
  out.type = oci::Json::Type::kString;
  out.text = std::move(value);
  return out;
}
oci::Json flag(bool value) {
  oci::Json out;
  out.type = oci::Json::Type::kBool;
  out.boolean = value;
  return out;
}
oci::Json list(std::vector<oci::Json> items) {
  oci::Json out;
  out.type = oci::Json::Type::kArray;
  out.items = std::move(items);
  return out;
}
oci::Json object(std::vector<oci::Json::Member> members) {
  oci::Json out;
  out.type = oci::Json::Type::kObject;
  out.members = std::move(members);
  return out;
}

oci::Json endpoint_json(const Explained& one) {
  const Endpoint& endpoint = one.endpoint;
  std::vector<oci::Json> ca, clients, problems;
  for (const std::string& file : endpoint.tls.ca) ca.push_back(text(file));
  for (const auto& [cert, key] : endpoint.tls.clients)
    clients.push_back(object({{"certificate", text(cert)}, {"key", text(key)}}));
  for (const std::string& problem : one.credentials.problems) problems.push_back(text(problem));
  oci::Json credentials;
  if (const auto& credential = one.credentials.credential) {
    const char* kind = !credential->identity_token.empty()   ? "identity-token"
                       : !credential->registry_token.empty() ? "registry-token"
                                                             : "password";
    credentials = object({{"source", text(credential->source)},
                          {"username", text(credential->username)},
                          {"kind", text(kind)}});
  }
  return object({{"url", text(address(endpoint))},
                 {"host", text(endpoint.host)},
                 {"repository", text(endpoint.repository)},
                 {"mirror", flag(endpoint.mirror)},
                 {"resolve", flag(endpoint.resolve)},
                 {"pull", flag(endpoint.pull)},
                 {"plainHttp", flag(endpoint.plain_http)},
                 {"skipVerify", flag(endpoint.skip_verify)},
                 {"source", text(endpoint.from)},
                 {"ca", list(std::move(ca))},
                 {"clients", list(std::move(clients))},
                 {"credentials", std::move(credentials)},
                 {"problems", list(std::move(problems))}});
}

void print_json(Context& context, const registry::Route& route, const std::vector<Explained>& pull,
                const std::vector<Explained>& push) {
  std::vector<oci::Json> pulls, pushes;
  for (const Explained& one : pull) pulls.push_back(endpoint_json(one));
  for (const Explained& one : push) pushes.push_back(endpoint_json(one));
  std::string out;
  object({{"reference", text(route.reference.canonical())},
          {"blockedBy", text(route.blocked_by)},
          {"pull", list(std::move(pulls))},
          {"push", list(std::move(pushes))}})
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
