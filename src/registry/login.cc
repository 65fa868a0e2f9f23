#include "registry/login.h"

#include "registry/client.h"
#include "registry/endpoint.h"

namespace kasane::registry {

Result<std::string> registry_host(const std::string& typed) {
  std::string host = typed;
  for (std::string_view scheme : {"https://", "http://"})
    if (host.starts_with(scheme)) host.erase(0, scheme.size());
  host = host.substr(0, host.find('/'));
  if (host.empty() || host == "index.docker.io" || host == "registry-1.docker.io") host = "docker.io";
  // The grammar of references knows what a host is.
  Result<oci::Reference> parsed = oci::Reference::parse(host + "/x");
  const bool plain = parsed && parsed->domain == host;
  // "myhost" alone is a path to a reference, and a host to login.
  const bool word = !plain && oci::Reference::parse(host + ":1/x").has_value();
  if (!plain && !word) return Error(ErrorKind::kInvalid, "\"" + typed + "\" is no name of a registry");
  return host;
}

Result<Credential> check_login(const Surroundings& around, const std::string& host,
                               const Credential& credential, const std::stop_token& stop) {
  oci::Reference reference;
  reference.domain = host;
  reference.repository = "x";
  Route route = TRY(find_route(around, reference));
  // Mirrors have credentials of their own; login is about the registry itself.
  Endpoint endpoint = route.pull.back();
  endpoint.repository.clear();
  Client::Options options;
  options.around = around;
  options.attempts = 2;
  options.credential = credential;
  options.offline_token = true;
  std::unique_ptr<Client> client = TRY(Client::open(std::move(endpoint), std::move(options)));
  ApiRequest request;
  const ApiAnswer answer = TRY(client->send(request, stop));
  if (answer.status == 401 || answer.status == 403) {
    std::string hint;
    for (const std::string& problem : client->authenticator().problems()) hint += problem + " ";
    return Error(ErrorKind::kPermission, "unauthorized: incorrect username or password").hint(std::move(hint));
  }
  if (answer.status != 200)
    return Error(ErrorKind::kNetwork, host + " answered with status " + std::to_string(answer.status))
        .hint("is it a registry? Its /v2/ is not there");
  Credential out = credential;
  if (const std::string token = client->authenticator().refresh_token(); !token.empty()) {
    out.identity_token = token;
    out.password.clear();
  }
  return out;
}

}  // namespace kasane::registry
