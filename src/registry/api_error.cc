// Error bodies of registries, in the words that docker's users and scripts know.
#include <algorithm>

#include "base/text.h"
#include "oci/json.h"
#include "registry/client.h"

namespace kasane::registry {
namespace {

constexpr size_t kMaxMessage = 500;

struct FirstError {
  std::string code, message;
};

// What a registry says is shown, but never control characters or pages of it.
std::string clean(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  if (text.size() > kMaxMessage) text = text.substr(0, kMaxMessage) + "...";
  return text;
}

FirstError first_error(const std::string& body) {
  const Result<oci::Json> json = oci::Json::parse(body, "error");
  if (!json || !json->is_object()) return {};
  const oci::Json* errors = json->find("errors");
  if (!errors || !errors->is_array() || errors->items.empty() || !errors->items[0].is_object())
    return {};
  const oci::Json* code = errors->items[0].find("code");
  const oci::Json* message = errors->items[0].find("message");
  return {code && code->is_string() ? clean(code->text) : "",
          message && message->is_string() ? clean(message->text) : ""};
}

// Go prints codes in lower case with spaces: "manifest unknown".
std::string spoken(const std::string& code) {
  std::string out = ascii_lower(code);
  std::replace(out.begin(), out.end(), '_', ' ');
  return out;
}

}  // namespace

std::string answer_text(const ApiAnswer& answer) {
  const FirstError error = first_error(answer.body);
  if (error.code.empty()) return "the registry answered with status " + std::to_string(answer.status);
  return spoken(error.code) + (error.message.empty() ? "" : ": " + error.message);
}

bool is_refusal(const ApiAnswer& answer) {
  const std::string code = error_code(answer);
  return answer.status == 401 || answer.status == 403 || code == "DENIED" || code == "UNAUTHORIZED";
}

std::string login_hint(Client& client) {
  std::string hint = client.authenticator().has_credential()
                         ? "the credentials that were used may not do this"
                         : "log in with: kasane login " + client.endpoint().credential_host;
  for (const std::string& problem : client.authenticator().problems()) hint += "; " + problem;
  return hint;
}

std::string error_code(const ApiAnswer& answer) { return first_error(answer.body).code; }

Error api_error(const ApiAnswer& answer, Client& client, const std::string& subject) {
  const std::string code = error_code(answer);
  const std::string name = subject.substr(0, subject.find_last_of(":@") > subject.rfind('/') ||
                                                     subject.rfind('/') == std::string::npos
                                                 ? subject.find_last_of(":@")
                                                 : std::string::npos);
  if (is_refusal(answer))
    return Error(ErrorKind::kPermission, "pull access denied for " + name +
                                             ", repository does not exist or may require 'docker login': " +
                                             answer_text(answer))
        .hint(login_hint(client));
  if (answer.status == 429) {
    const std::string message = first_error(answer.body).message;
    return Error(ErrorKind::kNetwork,
                 "toomanyrequests: " + (message.empty() ? "the registry's limit of requests is reached" : message))
        .hint("wait, or log in: limits are higher for known users");
  }
  if (code == "NAME_UNKNOWN")
    return Error(ErrorKind::kNotFound, "repository " + name + " not found: " + answer_text(answer));
  if (answer.status == 404)
    return Error(ErrorKind::kNotFound, "manifest for " + subject + " not found: " +
                                           (code.empty() ? "manifest unknown" : answer_text(answer)));
  return Error(answer.status >= 500 || is_transient(answer.status) ? ErrorKind::kNetwork : ErrorKind::kInvalid,
               answer_text(answer));
}

}  // namespace kasane::registry
