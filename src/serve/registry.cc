#include "serve/registry.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "oci/json.h"
#include "oci/manifest.h"
#include "serve/api_error.h"

namespace kasane::serve {
namespace {

constexpr size_t kDefaultPage = 10'000;     // names in one answer
constexpr size_t kMaxReferrersPage = 3u << 20;  // bytes; the spec wants answers below 4 MiB

bool changes_something(std::string_view method) { return method != "GET" && method != "HEAD"; }

// The page of a sorted list that `n` and `last` ask for.
struct Page {
  std::vector<std::string> names;
  bool more = false;
  std::string n;
};

std::optional<Page> page_of(std::vector<std::string> all, const Query& query) {
  Page page;
  size_t count = kDefaultPage;
  if (const std::string* n = find_parameter(query, "n")) {
    uint64_t asked = 0;
    auto [end, failed] = std::from_chars(n->data(), n->data() + n->size(), asked);
    if (failed != std::errc() || end != n->data() + n->size()) return std::nullopt;
    count = static_cast<size_t>(std::min<uint64_t>(asked, kDefaultPage));
    page.n = *n;
  }
  auto begin = all.begin();
  if (const std::string* last = find_parameter(query, "last"))
    begin = std::upper_bound(all.begin(), all.end(), *last);
  auto rest = static_cast<size_t>(all.end() - begin);
  auto end = begin + static_cast<std::ptrdiff_t>(std::min(count, rest));
  page.more = end != all.end() && count > 0;
  page.names.assign(std::make_move_iterator(begin), std::make_move_iterator(end));
  return page;
}

void write_names(std::string& out, const std::vector<std::string>& names) {
  out += '[';
  for (const std::string& name : names) {
    if (out.back() != '[') out += ',';
    oci::write_json_string(out, name);
  }
  out += ']';
}

Response json_response(std::string body, std::string type = "application/json") {
  Response response;
  response.set("Content-Type", std::move(type));
  response.head_length = body.size();
  response.body = std::move(body);
  return response;
}

Response bad_page() {
  return api_error(400, "PAGINATION_NUMBER_INVALID", "n is not a number of entries");
}

}  // namespace

Result<TagPatterns> TagPatterns::parse(const std::vector<std::string>& patterns) {
  TagPatterns out;
  for (const std::string& pattern : patterns) {
    if (pattern.empty() || std::count(pattern.begin(), pattern.end(), ':') > 1)
      return Error(ErrorKind::kInvalid, fmt::format("\"{}\" is not a pattern of tags", pattern))
          .hint("write TAG or REPOSITORY:TAG, with * ? and [...], for example 'v*' or 'prod/*:*'");
    out.patterns_.push_back(pattern);
  }
  return out;
}

bool TagPatterns::matches(const std::string& name, const std::string& tag) const {
  return std::any_of(patterns_.begin(), patterns_.end(), [&](const std::string& pattern) {
    const bool with_name = pattern.find(':') != std::string::npos;
    const std::string text = with_name ? name + ":" + tag : tag;
    return ::fnmatch(pattern.c_str(), text.c_str(), FNM_PATHNAME) == 0;
  });
}

Storage::TagRule Registry::rule_for(const std::string& name) const {
  return [this, name](const std::string& tag, const ContentDigest* now) {
    return !now || !options_.immutable.matches(name, tag);
  };
}

Response Registry::handle(Request& request) {
  const Route route = parse_target(request.target);
  Answer answer = this->route(Call{request, route});
  Response response;
  if (answer) {
    response = std::move(*answer);
  } else {
    const Error& error = answer.error();
    if (options_.on_error)
      options_.on_error(fmt::format("{} {}: {}", request.method,
                                    request.target.substr(0, 300), error.full_message()));
    const bool full = error.kind() == ErrorKind::kNoSpace;
    response = api_error(full ? 507 : 500, "UNKNOWN",
                         full ? "no space left in the registry" : "the registry failed");
  }
  response.set("Docker-Distribution-Api-Version", "registry/2.0");
  return response;
}

Registry::Answer Registry::route(const Call& call) {
  if (call.route.kind == Route::Kind::kUnknown)
    return api_error(404, "UNSUPPORTED", "there is no such endpoint");
  if (options_.authenticator) {
    const std::string* given = call.request.header("authorization");
    if (!given || !options_.authenticator->accepts(*given)) {
      Response response = api_error(401, "UNAUTHORIZED", "authentication required");
      response.set("WWW-Authenticate", "Basic realm=\"kasane registry\", charset=\"UTF-8\"");
      return response;
    }
  }
  if (options_.read_only && changes_something(call.request.method)) {
    Response response = not_allowed("GET, HEAD");
    response.body = api_error(405, "UNSUPPORTED", "this registry is read-only").body;
    return response;
  }
  return dispatch(call);
}

Registry::Answer Registry::dispatch(const Call& call) {
  const bool reads = !changes_something(call.request.method);
  switch (call.route.kind) {
    case Route::Kind::kBase:
      if (!reads) return not_allowed("GET, HEAD");
      return json_response("{}\n");
    case Route::Kind::kCatalog: return reads ? catalog(call) : Answer(not_allowed("GET, HEAD"));
    default: break;
  }
  if (!call.route.valid_name)
    return api_error(400, "NAME_INVALID", "invalid repository name", call.route.name);
  return repository_call(call);
}

Registry::Answer Registry::repository_call(const Call& call) {
  const bool reads = !changes_something(call.request.method);
  switch (call.route.kind) {
    case Route::Kind::kTags: return reads ? tags(call) : Answer(not_allowed("GET, HEAD"));
    case Route::Kind::kReferrers: return reads ? referrers(call) : Answer(not_allowed("GET, HEAD"));
    case Route::Kind::kManifest: return manifest(call);
    case Route::Kind::kBlob: return blob(call);
    case Route::Kind::kUploads:
      return call.is("POST") ? start_upload(call) : Answer(not_allowed("POST"));
    case Route::Kind::kUpload: return upload(call);
    default: return api_error(404, "UNSUPPORTED", "there is no such endpoint");
  }
}

Registry::Answer Registry::catalog(const Call& call) {
  auto page = page_of(TRY(storage_->repositories()), call.route.query);
  if (!page) return bad_page();
  std::string body = "{\"repositories\":";
  write_names(body, page->names);
  Response response = json_response(body + "}\n");
  if (page->more) set_next_page(response, "/v2/_catalog", page->n, page->names.back());
  return response;
}

Registry::Answer Registry::tags(const Call& call) {
  const std::string& name = call.route.name;
  if (!TRY(storage_->has_repository(name)))
    return api_error(404, "NAME_UNKNOWN", "repository name not known to registry", name);
  auto page = page_of(TRY(storage_->tags(name)), call.route.query);
  if (!page) return bad_page();
  std::string body = "{\"name\":";
  oci::write_json_string(body, name);
  body += ",\"tags\":";
  write_names(body, page->names);
  Response response = json_response(body + "}\n");
  if (page->more)
    set_next_page(response, "/v2/" + name + "/tags/list", page->n, page->names.back());
  return response;
}

Registry::Answer Registry::referrers(const Call& call) {
  auto subject = ContentDigest::parse(call.route.reference);
  if (!subject) return api_error(400, "DIGEST_INVALID", "invalid digest", call.route.reference);
  const std::string* wanted = find_parameter(call.route.query, "artifactType");
  const std::string* last = find_parameter(call.route.query, "last");
  std::string body = fmt::format("{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"manifests\":[",
                                 oci::kMediaTypeIndex);
  std::string last_key;
  bool more = false;
  for (const Storage::Referrer& referrer :
       TRY(storage_->referrers(call.route.name, *subject))) {
    if (last && referrer.key <= *last) continue;
    if (wanted) {
      auto json = oci::Json::parse(referrer.descriptor, "descriptor");
      const oci::Json* type = json ? json->find("artifactType") : nullptr;
      if (!type || type->text != *wanted) continue;
    }
    if (!last_key.empty() && body.size() + referrer.descriptor.size() > kMaxReferrersPage) {
      more = true;
      break;
    }
    if (!last_key.empty()) body += ',';
    body += referrer.descriptor;
    last_key = referrer.key;
  }
  Response response = json_response(body + "]}", std::string(oci::kMediaTypeIndex));
  if (wanted) response.set("OCI-Filters-Applied", "artifactType");
  if (more)
    set_next_page(response, "/v2/" + call.route.name + "/referrers/" + call.route.reference, "",
                  last_key, wanted ? "artifactType=" + percent_encode(*wanted, "/:") + "&" : "");
  return response;
}

}  // namespace kasane::serve
