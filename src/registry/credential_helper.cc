#include "registry/credential_helper.h"

#include <algorithm>

#include "base/process.h"
#include "oci/json.h"

namespace kasane::registry {
namespace {

constexpr int kTimeoutMs = 30'000;
constexpr uint64_t kMaxOutput = 1u << 20;
constexpr std::string_view kTokenUser = "<token>";  // the secret is an identity token
constexpr std::string_view kNotFound = "credentials not found in native keychain";

bool is_helper_name(const std::string& name) {
  return !name.empty() && name.size() <= 128 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

std::string trimmed(std::string text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= ' ') text.pop_back();
  return text;
}

Result<ProcessOutput> run_helper(const std::string& helper, const std::string& verb,
                                 const std::string& input, const std::stop_token& stop) {
  if (!is_helper_name(helper))
    return Error(ErrorKind::kInvalid, "\"" + helper.substr(0, 100) + "\" is no name of a credential helper")
        .hint("a name has letters, digits and the characters . _ -");
  const std::string program = "docker-credential-" + helper;
  ProcessOptions options;
  options.input = input;
  options.timeout_ms = kTimeoutMs;
  options.max_output_bytes = kMaxOutput;
  options.stop = stop;
  return TRY_CONTEXT(run_process({program, verb}, options), program + " " + verb);
}

Error failure(const std::string& helper, const std::string& verb, const ProcessOutput& output) {
  // Helpers say what is wrong on standard output; for store and erase that cannot be a secret.
  std::string why = trimmed(verb == "get" ? output.err : output.out + output.err);
  if (why.empty()) why = "exit status " + std::to_string(output.exit_status);
  return Error(ErrorKind::kIo, why.substr(0, 300)).context("docker-credential-" + helper + " " + verb);
}

}  // namespace

Result<std::optional<Credential>> helper_get(const std::string& helper, const std::string& key,
                                             std::stop_token stop) {
  const ProcessOutput output = TRY(run_helper(helper, "get", key, stop));
  if (output.exit_status != 0) {
    if (trimmed(output.out) == kNotFound) return std::optional<Credential>();
    return failure(helper, "get", output);
  }
  // The parser quotes nothing of the document, which may hold the secret.
  const Result<oci::Json> json = oci::Json::parse(output.out, "answer of docker-credential-" + helper);
  if (!json || !json->is_object())
    return Error(ErrorKind::kInvalid, "docker-credential-" + helper + " did not answer with JSON");
  oci::JsonReader in(*json, "answer of docker-credential-" + helper);
  Credential out;
  std::string secret;
  TRY(in.get("Username", out.username));
  TRY(in.get("Secret", secret));
  if (out.username == kTokenUser) {
    out.username.clear();
    out.identity_token = std::move(secret);
  } else {
    out.password = std::move(secret);
  }
  out.source = "docker-credential-" + helper;
  if (out.identity_token.empty() && out.username.empty()) return std::optional<Credential>();
  return std::optional<Credential>(std::move(out));
}

Result<void> helper_store(const std::string& helper, const std::string& key,
                          const Credential& credential, std::stop_token stop) {
  const bool token = !credential.identity_token.empty();
  std::string input = "{\"ServerURL\":";
  oci::write_json_string(input, key);
  input += ",\"Username\":";
  oci::write_json_string(input, token ? std::string(kTokenUser) : credential.username);
  input += ",\"Secret\":";
  oci::write_json_string(input, token ? credential.identity_token : credential.password);
  input += "}";
  const ProcessOutput output = TRY(run_helper(helper, "store", input, stop));
  if (output.exit_status != 0) return failure(helper, "store", output);
  return {};
}

Result<void> helper_erase(const std::string& helper, const std::string& key, std::stop_token stop) {
  const ProcessOutput output = TRY(run_helper(helper, "erase", key, stop));
  if (output.exit_status != 0 && trimmed(output.out) != kNotFound)
    return failure(helper, "erase", output);
  return {};
}

}  // namespace kasane::registry
