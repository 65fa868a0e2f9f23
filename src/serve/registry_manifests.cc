#include <fmt/format.h>

#include "oci/reference.h"
#include "serve/api_error.h"
#include "serve/range.h"
#include "serve/registry.h"

namespace kasane::serve {
namespace {

constexpr size_t kMaxTagParameters = 32;

Response unknown_manifest(std::string_view reference) {
  return api_error(404, "MANIFEST_UNKNOWN", "manifest unknown", reference);
}

bool looks_like_digest(std::string_view reference) {
  return reference.find(':') != std::string_view::npos;
}

// At most one byte more than the limit, so that the caller can tell.
Result<std::string> read_manifest(Request& request) {
  std::string bytes;
  std::vector<uint8_t> buffer(64u << 10);
  while (bytes.size() <= kMaxManifest) {
    size_t n = TRY(request.body->read(buffer));
    if (n == 0) break;
    bytes.append(reinterpret_cast<const char*>(buffer.data()), n);
  }
  return bytes;
}

Response too_large() {
  return api_error(413, "SIZE_INVALID", "manifests may have up to 4 MiB");
}

Response immutable_tag(std::string_view tag) {
  return api_error(403, "DENIED", "the tag is immutable in this registry", tag);
}

// RFC 9110 13.1: whether a PUT may take the place of `now`. For a tag that is what it means, which
// makes read, change, write safe for any number of writers.
bool precondition(const Request& request, const ContentDigest* now) {
  const std::string etag = now ? "\"" + now->str() + "\"" : "";
  if (const std::string* match = request.header("if-match"); match && !(now && etag_matches(*match, etag))) return false;
  const std::string* none = request.header("if-none-match");
  return !(none && now && etag_matches(*none, etag));
}

Response precondition_failed(std::string_view reference) {
  return api_error(412, "PRECONDITION_FAILED", "it is another one than the request expects", reference);
}

}  // namespace

Registry::Answer Registry::manifest(const Call& call) {
  if (call.is("GET") || call.is("HEAD")) return get_manifest(call);
  if (call.is("PUT")) return put_manifest(call);
  if (call.is("DELETE")) return delete_manifest(call);
  return not_allowed("GET, HEAD, PUT, DELETE");
}

Registry::Answer Registry::get_manifest(const Call& call) {
  const std::string& reference = call.route.reference;
  std::optional<ContentDigest> digest;
  if (looks_like_digest(reference)) {
    digest = ContentDigest::parse(reference);
    if (!digest) return api_error(400, "DIGEST_INVALID", "invalid digest", reference);
  } else if (oci::is_tag_name(reference)) {
    digest = TRY(storage_->find_tag(call.route.name, reference));
  }
  auto info = digest ? TRY(storage_->find_manifest(call.route.name, *digest)) : std::nullopt;
  if (!info) return unknown_manifest(reference);
  Response response;
  const std::string etag = "\"" + digest->str() + "\"";
  response.set("Docker-Content-Digest", digest->str());
  response.set("ETag", etag);
  if (const std::string* none = call.request.header("if-none-match");
      none && etag_matches(*none, etag)) {
    response.status = 304;
    return response;
  }
  response.set("Content-Type", info->media_type);
  response.head_length = response.length = info->size;
  if (call.is("HEAD")) return response;
  auto file = storage_->open_content(*digest);
  if (!file && file.error().kind() == ErrorKind::kNotFound) return unknown_manifest(reference);
  if (!file) return std::move(file.error());
  response.file = std::move(*file);
  return response;
}

Registry::Answer Registry::put_manifest(const Call& call) {
  const std::string& reference = call.route.reference;
  const bool by_digest = looks_like_digest(reference);
  auto expected = ContentDigest::parse(reference);
  if (by_digest && !expected) return api_error(400, "DIGEST_INVALID", "invalid digest", reference);
  std::vector<std::string> tags;
  if (!by_digest) tags.push_back(reference);
  for (const auto& [key, value] : call.route.query)
    if (key == "tag" && by_digest) tags.push_back(value);
  if (tags.size() > kMaxTagParameters)
    return api_error(414, "TAG_INVALID", "too many tags in one request");
  for (const std::string& tag : tags)
    if (!oci::is_tag_name(tag)) return api_error(400, "TAG_INVALID", "invalid tag", tag);

  if (call.request.content_length.value_or(0) > kMaxManifest) return too_large();
  auto bytes = read_manifest(call.request);
  if (!bytes) return api_error(400, "MANIFEST_INVALID", bytes.error().message());
  if (bytes->size() > kMaxManifest) return too_large();
  const ContentDigest digest =
      ContentDigest::of(*bytes, expected ? expected->algorithm : Algorithm::kSha256);
  if (expected && digest != *expected)
    return api_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content",
                     digest.str());
  const std::string* type = call.request.header("content-type");
  parsers_.acquire();
  auto document = ManifestDocument::parse(*bytes, type ? *type : "");
  parsers_.release();
  if (!document) return api_error(400, "MANIFEST_INVALID", document.error().full_message());

  if (tags.empty()) {
    const auto known = TRY(storage_->find_manifest(call.route.name, digest));
    if (!precondition(call.request, known ? &digest : nullptr)) return precondition_failed(reference);
  }
  bool changed = false;
  const Storage::TagRule rule = rule_for(call.route.name);
  const Storage::TagRule conditional = [&](const std::string& tag, const ContentDigest* now) {
    changed = changed || !precondition(call.request, now);
    return !changed && rule(tag, now);
  };
  Storage::PutResult put = TRY(storage_->put_manifest(call.route.name, digest, *bytes, *document, tags, conditional));
  if (!put.missing.empty())
    return api_error(400, "MANIFEST_BLOB_UNKNOWN",
                     "the manifest refers to a manifest or blob unknown to this repository",
                     put.missing);
  if (!put.wrong_size.empty())
    return api_error(400, "SIZE_INVALID", "a descriptor states another size than its content has",
                     put.wrong_size);
  if (changed) return precondition_failed(put.refused_tag);
  if (!put.refused_tag.empty()) return immutable_tag(put.refused_tag);
  Response response;
  response.status = 201;
  response.set("Location", "/v2/" + call.route.name + "/manifests/" + digest.str());
  response.set("Docker-Content-Digest", digest.str());
  if (document->subject) response.set("OCI-Subject", document->subject->str());
  if (by_digest)
    for (const std::string& tag : tags) response.set("OCI-Tag", tag);
  return response;
}

Registry::Answer Registry::delete_manifest(const Call& call) {
  const std::string& reference = call.route.reference;
  const std::string& name = call.route.name;
  Storage::Removal removal = Storage::Removal::kNotFound;
  if (looks_like_digest(reference)) {
    auto digest = ContentDigest::parse(reference);
    if (!digest) return api_error(400, "DIGEST_INVALID", "invalid digest", reference);
    removal = TRY(storage_->remove_manifest(name, *digest, rule_for(name)));
  } else if (oci::is_tag_name(reference)) {
    removal = TRY(storage_->remove_tag(name, reference, rule_for(name)));
  }
  if (removal == Storage::Removal::kNotFound) return unknown_manifest(reference);
  if (removal == Storage::Removal::kRefused) return immutable_tag(reference);
  Response response;
  response.status = 202;
  return response;
}

}  // namespace kasane::serve
