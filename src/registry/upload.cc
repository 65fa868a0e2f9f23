#include "registry/upload.h"

#include <algorithm>
#include <chrono>

#include "base/text.h"

namespace kasane::registry {
namespace {

constexpr uint64_t kOneRequest = 1u << 20;   // up to here the body goes with the final PUT
constexpr uint64_t kFirstChunk = 64u << 20;  // after a 413; halved for each further one
constexpr uint64_t kLeastChunk = 1u << 20;
constexpr int kMaxTries = 20;

// Adds a parameter and keeps what the registry put there.
std::string with_digest(const std::string& url, const Sha256Digest& digest) {
  return url + (url.find('?') == std::string::npos ? "?" : "&") + "digest=sha256%3A" + digest.hex();
}

// "0-99" → 100; "0-0" is what an empty session says, and "bytes=0-99" is seen as well.
uint64_t received(std::string range) {
  if (range.starts_with("bytes=")) range.erase(0, 6);
  const size_t dash = range.find('-');
  if (dash == std::string::npos) return 0;
  const uint64_t last = parse_uint(std::string_view(range).substr(dash + 1)).value_or(0);
  return last > 0 && last < UINT64_MAX ? last + 1 : 0;
}

// Tells the progress, counts, and ends after `limit` bytes.
class CountedSource final : public ByteSource {
 public:
  CountedSource(ByteSource& inner, uint64_t offset, std::optional<uint64_t> limit,
                const std::function<void(uint64_t)>& progress)
      : inner_(inner), offset_(offset), limit_(limit), progress_(progress) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (limit_) buffer = buffer.first(static_cast<size_t>(std::min<uint64_t>(buffer.size(), *limit_ - count_)));
    if (buffer.empty()) return size_t{0};
    const size_t n = TRY(inner_.read(buffer));
    count_ += n;
    const auto now = std::chrono::steady_clock::now();
    if (progress_ && now - told_ >= std::chrono::milliseconds(100)) {
      told_ = now;
      progress_(offset_ + count_);
    }
    return n;
  }
  uint64_t count() const { return count_; }

 private:
  ByteSource& inner_;
  uint64_t offset_, count_ = 0;
  std::optional<uint64_t> limit_;
  const std::function<void(uint64_t)>& progress_;
  std::chrono::steady_clock::time_point told_{};
};

bool good(const ApiAnswer& answer) { return answer.status >= 200 && answer.status < 300; }

}  // namespace

ApiRequest push_request(const Client& client, const std::string& method, const std::string& path) {
  ApiRequest out;
  out.method = method;
  out.path = path;
  out.scopes = {"repository:" + client.endpoint().repository + ":pull,push"};
  return out;
}

Error push_refused(const ApiAnswer& answer, Client& client) {
  if (!is_refusal(answer)) return api_error(answer, client, client.endpoint().repository);
  std::string why = answer_text(answer);
  if (error_code(answer).empty())
    why = client.authenticator().has_credential() ? "denied: requested access to the resource is denied"
                                                  : "no basic auth credentials";
  return Error(ErrorKind::kPermission, std::move(why)).hint(login_hint(client));
}

Result<bool> repository_has_blob(Client& client, const Sha256Digest& digest, const std::stop_token& stop) {
  const ApiAnswer answer = TRY(client.send(push_request(client, "HEAD", "blobs/" + digest.str()), stop));
  if (good(answer)) return true;
  if (answer.status == 401 || answer.status == 403) return push_refused(answer, client);
  return false;  // 404, and registries that do not know HEAD
}

Upload::Upload(Client& client, UploadSource& source, GrowingSource* growing, std::optional<BlobEnd> end,
               const UploadHooks& hooks, std::stop_token stop)
    : client_(client), source_(source), growing_(growing), end_(end), hooks_(hooks), stop_(std::move(stop)) {}

ApiRequest Upload::request(const std::string& method, const std::string& path) const {
  return push_request(client_, method, path);
}

void Upload::remember(const std::string& url) {
  if (hooks_.session_changed) hooks_.session_changed(url);
}

Result<void> Upload::begin() {
  ApiRequest wanted = request("POST", "blobs/uploads/");
  const std::string empty;
  wanted.body = &empty;
  const ApiAnswer answer = TRY(client_.send(wanted, stop_));
  if (!good(answer)) return push_refused(answer, client_);
  if (answer.location.empty())
    return Error(ErrorKind::kInvalid, "the registry accepted an upload but did not say where it goes (no Location)");
  min_chunk_ = parse_uint(answer.header("oci-chunk-min-length")).value_or(0);
  session_ = Session{answer.location, 0};
  continued_ = false;
  remember(session_->url);
  return {};
}

// Where a session stands; without one afterwards when it is gone.
Result<void> Upload::resume(const std::string& url) {
  session_.reset();
  Result<ApiAnswer> asked = client_.send(request("GET", url), stop_);
  if (!asked && asked.error().kind() == ErrorKind::kInvalid) return {};  // no URL at all
  const ApiAnswer answer = TRY(std::move(asked));
  if (!good(answer)) return {};
  Session out{answer.location.empty() ? url : answer.location, received(answer.header("range"))};
  if (end_ && out.offset > end_->size) return {};
  min_chunk_ = std::max(min_chunk_, parse_uint(answer.header("oci-chunk-min-length")).value_or(0));
  continued_ = true;  // also from 0: docker-registry says so of a session whose file holds more
  session_ = std::move(out);
  return {};
}

// The next `bytes`, or all that is to come of a blob without an end yet.
Result<ApiAnswer> Upload::patch(std::optional<uint64_t> bytes) {
  std::unique_ptr<ByteSource> source = TRY(source_.open(session_->offset));
  CountedSource counted(*source, session_->offset, bytes, hooks_.progress);
  ApiRequest patch = request("PATCH", session_->url);
  patch.headers = {"Content-Type: application/octet-stream"};
  const bool ranged = bytes && (session_->offset > 0 || (end_ && *bytes < end_->size));
  if (ranged)
    patch.headers.push_back("Content-Range: " + std::to_string(session_->offset) + "-" +
                            std::to_string(session_->offset + *bytes - 1));
  patch.upload = &counted;
  patch.upload_size = bytes;
  StringSink ignored;
  ApiAnswer answer = TRY(client_.stream(patch, ignored, {}, stop_));
  if (!good(answer)) return answer;
  if (!answer.location.empty()) session_->url = answer.location;
  session_->offset += counted.count();
  remember(session_->url);
  return answer;
}

Result<ApiAnswer> Upload::finish(uint64_t bytes) {
  ApiRequest put = request("PUT", with_digest(session_->url, end_->digest));
  put.headers = {"Content-Type: application/octet-stream"};
  const std::string empty;
  std::unique_ptr<ByteSource> source;
  if (bytes > 0) {
    source = TRY(source_.open(session_->offset));
    put.upload = source.get();
    put.upload_size = bytes;
    if (session_->offset > 0)
      put.headers.push_back("Content-Range: " + std::to_string(session_->offset) + "-" +
                            std::to_string(end_->size - 1));
  } else {
    put.body = &empty;
  }
  StringSink ignored;
  return client_.stream(put, ignored, {}, stop_);
}

// The bytes from the session's offset on, and the end of the upload.
Result<ApiAnswer> Upload::send_rest() {
  for (;;) {
    if (!end_ && growing_) end_ = growing_->end_if_known();
    if (end_ && session_->offset > end_->size)
      return Error(ErrorKind::kNetwork, "the upload session holds more bytes than the blob has");
    const std::optional<uint64_t> rest = end_ ? std::optional(end_->size - session_->offset) : std::nullopt;
    if (rest && (*rest <= kOneRequest || (chunk_ && *rest <= *chunk_))) return finish(*rest);
    // Without an end, a chunk's length can be told only when that many bytes are sure to come.
    std::optional<uint64_t> bytes = rest;
    if (chunk_) {
      if (!end_) end_ = TRY(growing_->end());
      bytes = std::min(*chunk_, end_->size - session_->offset);
    }
    ApiAnswer answer = TRY(patch(bytes));
    if (!good(answer)) return answer;
    if (!end_) end_ = TRY(growing_->end());
  }
}

bool Upload::may_retry(const ApiAnswer& answer, int tries) {
  // Too much for one request: in smaller ones, as long as the registry's own minimum allows that.
  if (answer.status == 413) {
    const uint64_t next = std::max({min_chunk_, kLeastChunk, chunk_ ? *chunk_ / 2 : kFirstChunk});
    if (chunk_ && next >= *chunk_) return false;
    chunk_ = next;
    return true;
  }
  // A continued session may hold what another run sent for other bytes, and bytes of a new one may
  // have been changed on their way: once more from the beginning.
  const bool other_bytes = tries == 0 && answer.body.find("DIGEST_INVALID") != std::string::npos;
  if (answer.status == 400 && (continued_ || other_bytes)) {
    remember("");
    session_.reset();
    continued_ = false;
    return true;
  }
  // 401: a new token was fetched meanwhile; 416, 404: the session is not where it was thought.
  return is_transient(answer.status) || answer.status == 416 || answer.status == 404 ||
         (answer.status == 401 && tries < 2);
}

Result<void> Upload::run() {
  if (!hooks_.session.empty()) TRY(resume(hooks_.session));
  Backoff backoff(client_.attempts(), stop_);
  backoff.on_wait = hooks_.on_retry;
  Error last(ErrorKind::kNetwork, "the upload was broken off too often");
  for (int tries = 0; tries < kMaxTries; ++tries) {
    if (!session_) TRY(begin());
    Result<ApiAnswer> answer = send_rest();
    const bool smaller = answer && answer->status == 413;
    if (answer && good(*answer)) {
      remember("");
      // A 201 is a promise; the manifest must not rely on one that was broken (R22).
      if (TRY(repository_has_blob(client_, end_->digest, stop_))) return {};
      last = Error(ErrorKind::kNetwork,
                   "the registry accepted blob " + end_->digest.str() + " but does not have it");
      session_.reset();
    } else if (answer) {
      last = push_refused(*answer, client_);
      if (!may_retry(*answer, tries)) {
        remember("");
        return last;
      }
    } else {
      last = std::move(answer.error());
      if (last.kind() == ErrorKind::kInvalid) remember("");  // the next run must not meet it again
      if (!Client::may_heal(last)) return last;
    }
    if (!smaller && !TRY(backoff.wait(answer ? retry_after(*answer, 0) : -1))) return last;
    if (session_) TRY(resume(std::string(session_->url)));
  }
  return last;
}

}  // namespace kasane::registry
