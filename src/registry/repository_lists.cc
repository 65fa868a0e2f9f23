// What is asked beside pulling: referrers and deletion.
#include <algorithm>
#include <set>

#include "base/text.h"
#include "oci/json_build.h"
#include "registry/pages.h"
#include "registry/repository.h"

namespace kasane::registry {
namespace {

constexpr int kMaxPages = 10'000;  // R11
constexpr size_t kMaxReferrers = 100'000;

// The descriptors of an index, with the filter that the registry may not have applied.
Result<void> take(const std::string& bytes, const std::string& artifact_type, std::vector<oci::Json>& out) {
  TRY(oci::Index::parse(bytes));  // only what is well-formed
  const oci::Json json = TRY(oci::Json::parse(bytes, "list of referrers"));
  for (const oci::Json& entry : json.find("manifests")->items)
    if (artifact_type.empty() || oci::member_text(entry, "artifactType") == artifact_type) out.push_back(entry);
  if (out.size() > kMaxReferrers) return Error(ErrorKind::kLimit, "the manifest has more than 100,000 referrers");
  return {};
}

}  // namespace

Result<Referrers> Repository::referrers(const Sha256Digest& subject_digest, const std::string& artifact_type,
                                        const std::stop_token& stop) {
  Client& client = *sources_.back()->client;  // mirrors need not know them
  Referrers out;
  std::string next = "referrers/" + subject_digest.str();
  if (!artifact_type.empty()) next += "?artifactType=" + percent_encode(artifact_type);
  std::set<std::string> seen;
  for (int page = 0; page < kMaxPages && seen.insert(next).second; ++page) {
    ApiRequest request;
    request.path = next;
    request.headers = {"Accept: " + std::string(oci::kMediaTypeIndex)};
    const ApiAnswer answer = TRY(client.send(request, stop));
    if (is_refusal(answer)) return api_error(answer, client, subject(subject_digest.str()));
    if (answer.status != 200) {
      if (page > 0) return api_error(answer, client, subject(subject_digest.str()));
      // It does not know referrers: what others of its kind do is a tag with the list.
      out.from_tag = true;
      Result<Document> list = document("sha256-" + subject_digest.hex(), stop);
      if (!list && list.error().kind() == ErrorKind::kNotFound) return out;
      if (!list) return std::move(list.error());
      TRY(take(list->bytes, artifact_type, out.entries));
      return out;
    }
    TRY(take(answer.body, artifact_type, out.entries));
    const std::optional<std::string> link = TRY(next_page(client, answer, "referrers/"));
    if (!link) return out;
    next = *link;
  }
  return Error(ErrorKind::kLimit, "the list of referrers does not end");
}

Result<void> Repository::remove(const std::string& tag_or_digest, const std::stop_token& stop) {
  Client& client = *sources_.back()->client;
  ApiRequest request;
  request.method = "DELETE";
  request.path = "manifests/" + tag_or_digest;
  request.scopes = {"repository:" + client.endpoint().repository + ":pull,push,delete"};
  const ApiAnswer answer = TRY(client.send(request, stop));
  if (answer.status >= 200 && answer.status < 300) return {};
  const std::string code = error_code(answer);
  const bool by_tag = tag_or_digest.find(':') == std::string::npos;
  if (answer.status == 405 || code == "UNSUPPORTED" || (by_tag && (answer.status == 400 || code == "DIGEST_INVALID")))
    return Error(ErrorKind::kUnsupported, client.endpoint().host + " does not delete " +
                                              (by_tag ? "tags" : "manifests") + ": " + answer_text(answer))
        .hint("deletion must be enabled in the registry's configuration");
  if (is_refusal(answer))
    return Error(ErrorKind::kPermission, "deletion of " + subject(tag_or_digest) + " is denied: " + answer_text(answer))
        .hint(login_hint(client));
  return api_error(answer, client, subject(tag_or_digest));
}

}  // namespace kasane::registry
