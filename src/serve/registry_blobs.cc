#include <fmt/format.h>

#include <algorithm>

#include "oci/reference.h"
#include "serve/api_error.h"
#include "serve/range.h"
#include "serve/registry.h"

namespace kasane::serve {
namespace {

Response unknown_blob(const ContentDigest& digest) {
  return api_error(404, "BLOB_UNKNOWN", "blob unknown to registry", digest.str());
}

Response invalid_digest(std::string_view text) {
  return api_error(400, "DIGEST_INVALID",
                   "the digest is malformed or of an algorithm other than sha256 and sha512", text);
}

// Hands on at most `limit` bytes; more are left unread, which ends the connection.
class LimitedSource : public ByteSource {
 public:
  LimitedSource(ByteSource& inner, uint64_t limit) : inner_(inner), left_(limit) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (left_ == 0) return size_t{0};
    size_t n = TRY(inner_.read(buffer.first(std::min<uint64_t>(buffer.size(), left_))));
    left_ -= n;
    return n;
  }
  uint64_t left() const { return left_; }

 private:
  ByteSource& inner_;
  uint64_t left_;
};

// The peer's doing, not ours: the connection broke or the body is malformed.
bool is_peers_fault(const Error& error) {
  return error.kind() == ErrorKind::kNetwork || error.kind() == ErrorKind::kInvalid ||
         error.kind() == ErrorKind::kLimit;
}

}  // namespace

Registry::Answer Registry::blob(const Call& call) {
  auto digest = ContentDigest::parse(call.route.reference);
  if (!digest) return invalid_digest(call.route.reference);
  if (call.is("GET") || call.is("HEAD")) return get_blob(call, *digest);
  if (!call.is("DELETE")) return not_allowed("GET, HEAD, DELETE");
  if (!TRY(storage_->remove_blob(call.route.name, *digest))) return unknown_blob(*digest);
  Response response;
  response.status = 202;
  return response;
}

Registry::Answer Registry::get_blob(const Call& call, const ContentDigest& digest) {
  auto info = TRY(storage_->find_blob(call.route.name, digest));
  if (!info) return unknown_blob(digest);
  Response response;
  const std::string etag = "\"" + digest.str() + "\"";
  response.set("Docker-Content-Digest", digest.str());
  response.set("ETag", etag);
  response.set("Accept-Ranges", "bytes");
  const Request& request = call.request;
  if (const std::string* none = request.header("if-none-match"); none && etag_matches(*none, etag)) {
    response.status = 304;
    return response;
  }
  response.set("Content-Type", "application/octet-stream");
  RangeAnswer range;
  const std::string* condition = request.header("if-range");
  if (const std::string* asked = request.header("range");
      asked && (!condition || etag_matches(*condition, etag)))
    range = choose_range(*asked, info->size);
  if (range.kind == RangeAnswer::Kind::kUnsatisfiable) {
    Response refused = api_error(416, "SIZE_INVALID", "the range is beyond the end of the blob");
    refused.set("Content-Range", fmt::format("bytes */{}", info->size));
    return refused;
  }
  response.length = info->size;
  if (range.kind == RangeAnswer::Kind::kPart) {
    response.status = 206;
    response.offset = range.part.first;
    response.length = range.part.length();
    response.set("Content-Range",
                 fmt::format("bytes {}-{}/{}", range.part.first, range.part.last, info->size));
  }
  response.head_length = response.length;
  if (call.is("HEAD")) return response;
  auto file = storage_->open_content(digest);
  if (!file && file.error().kind() == ErrorKind::kNotFound) return unknown_blob(digest);
  if (!file) return std::move(file.error());
  response.file = std::move(*file);
  return response;
}

Registry::Answer Registry::upload_status(const Call& call, const Upload& upload, int status) {
  Response response;
  response.status = status;
  response.set("Location", "/v2/" + call.route.name + "/blobs/uploads/" + upload.id());
  // There is no way to say "nothing yet"; docker's registry says 0-0 too.
  response.set("Range", fmt::format("0-{}", upload.size() > 0 ? upload.size() - 1 : 0));
  response.set("Docker-Upload-UUID", upload.id());
  return response;
}

Registry::Answer Registry::start_upload(const Call& call) {
  const Query& query = call.route.query;
  if (const std::string* mount = find_parameter(query, "mount")) {
    auto digest = ContentDigest::parse(*mount);
    if (!digest) return invalid_digest(*mount);
    const std::string* from = find_parameter(query, "from");
    if (from && !from->empty() && !oci::is_repository_name(*from))
      return api_error(400, "NAME_INVALID", "invalid repository name", *from);
    if (TRY(storage_->mount(call.route.name, from ? *from : "", *digest))) {
      Response response;
      response.status = 201;
      response.set("Location", "/v2/" + call.route.name + "/blobs/" + digest->str());
      response.set("Docker-Content-Digest", digest->str());
      return response;
    }
  }
  const std::string* digest = find_parameter(query, "digest");
  std::optional<Algorithm> algorithm = Algorithm::kSha256;
  if (digest) {
    auto parsed = ContentDigest::parse(*digest);
    if (!parsed) return invalid_digest(*digest);
    algorithm = parsed->algorithm;
  } else if (const std::string* named = find_parameter(query, "digest-algorithm")) {
    algorithm = algorithm_named(*named);
    if (!algorithm)
      return api_error(400, "DIGEST_INVALID", "digest algorithms are sha256 and sha512", *named);
  }
  Upload upload = TRY(storage_->start_upload(call.route.name, *algorithm));
  if (!digest) return upload_status(call, upload, 202);
  Answer failure = Response();
  if (auto refused = receive(call, upload, failure)) {
    TRY(upload.cancel());
    return std::move(*refused);
  }
  if (!failure) return failure;
  return finish_upload(call, upload, *digest);
}

Registry::Answer Registry::upload(const Call& call) {
  const std::string& id = call.route.reference;
  auto unknown = [&] {
    return api_error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry", id);
  };
  if (id.size() != 32 || id.find_first_not_of("0123456789abcdef") != std::string::npos)
    return unknown();
  if (!call.is("GET") && !call.is("HEAD") && !call.is("PATCH") && !call.is("PUT") && !call.is("DELETE"))
    return not_allowed("GET, HEAD, PATCH, PUT, DELETE");
  auto found = storage_->resume_upload(call.route.name, id);
  if (!found && found.error().kind() == ErrorKind::kNotFound) return unknown();
  if (!found && found.error().kind() == ErrorKind::kConflict)
    return api_error(409, "BLOB_UPLOAD_INVALID", found.error().message(), id);
  if (!found) return std::move(found.error());
  Upload& upload = *found;
  if (call.is("PATCH")) return upload_chunk(call, upload);
  if (call.is("GET") || call.is("HEAD")) return upload_status(call, upload, 204);
  if (call.is("DELETE")) {
    TRY(upload.cancel());
    Response response;
    response.status = 204;
    return response;
  }
  const std::string* digest = find_parameter(call.route.query, "digest");
  if (!digest || !ContentDigest::parse(*digest)) return invalid_digest(digest ? *digest : "");
  Answer failure = Response();
  if (auto refused = receive(call, upload, failure)) return std::move(*refused);
  if (!failure) return failure;
  return finish_upload(call, upload, *digest);
}

// Takes in the body of a request, if it is the piece that comes next. Returns the answer when it
// is not; `failure` is an error when the disk failed.
std::optional<Response> Registry::receive(const Call& call, Upload& upload, Answer& failure) {
  const Request& request = call.request;
  uint64_t limit = UINT64_MAX;
  if (const std::string* header = request.header("content-range")) {
    auto range = parse_upload_range(*header);
    if (!range)
      return api_error(400, "BLOB_UPLOAD_INVALID", "Content-Range is not of the form first-last");
    if (range->first != upload.size()) {
      auto refused = upload_status(call, upload, 416);
      return refused ? std::move(*refused) : api_error(416, "BLOB_UPLOAD_INVALID", "out of order");
    }
    limit = range->length();
    if (request.content_length && *request.content_length != limit)
      return api_error(400, "SIZE_INVALID", "Content-Range and Content-Length do not agree");
  }
  LimitedSource source(*request.body, limit);
  Result<void> received = upload.append(source);
  if (!received && is_peers_fault(received.error()))
    return api_error(400, "BLOB_UPLOAD_INVALID", received.error().message());
  if (!received) {
    failure = std::move(received.error());
    return std::nullopt;
  }
  if (limit != UINT64_MAX && source.left() > 0)
    return api_error(400, "SIZE_INVALID", "the body is shorter than its Content-Range");
  return std::nullopt;
}

Registry::Answer Registry::upload_chunk(const Call& call, Upload& upload) {
  Answer failure = Response();
  if (auto refused = receive(call, upload, failure)) return std::move(*refused);
  if (!failure) return failure;
  return upload_status(call, upload, 202);
}

Registry::Answer Registry::finish_upload(const Call& call, Upload& upload,
                                         const std::string& text) {
  auto digest = ContentDigest::parse(text);
  if (!digest) return invalid_digest(text);
  if (!TRY(upload.finish(*digest)))
    return api_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content", text);
  Response response;
  response.status = 201;
  response.set("Location", "/v2/" + call.route.name + "/blobs/" + digest->str());
  response.set("Docker-Content-Digest", digest->str());
  return response;
}

}  // namespace kasane::serve
