#include "registry/pusher.h"

#include <charconv>
#include <chrono>

#include "registry/repository.h"

namespace kasane::registry {
namespace {

constexpr uint64_t kOneRequest = 1u << 20;  // up to here the body goes with the final PUT
constexpr int kMaxTries = 20;

// Adds a parameter and keeps what the registry put there.
std::string with_digest(const std::string& url, const Sha256Digest& digest) {
  return url + (url.find('?') == std::string::npos ? "?" : "&") + "digest=sha256%3A" + digest.hex();
}

// "0-99" → 100; "0-0" is what an empty session says, and "bytes=0-99" is seen as well.
uint64_t received(std::string range) {
  if (range.starts_with("bytes=")) range.erase(0, 6);
  const size_t dash = range.find('-');
  uint64_t last = 0;
  if (dash == std::string::npos) return 0;
  const auto [end, error] = std::from_chars(range.data() + dash + 1, range.data() + range.size(), last);
  return error == std::errc() && last > 0 && last < UINT64_MAX ? last + 1 : 0;
}

class CountedSource final : public ByteSource {
 public:
  CountedSource(ByteSource& inner, uint64_t offset, const std::function<void(uint64_t)>& progress)
      : inner_(inner), count_(offset), progress_(progress) {}
  Result<size_t> read(std::span<uint8_t> buffer) override {
    const size_t n = TRY(inner_.read(buffer));
    count_ += n;
    const auto now = std::chrono::steady_clock::now();
    if (progress_ && now - told_ >= std::chrono::milliseconds(100)) {
      told_ = now;
      progress_(count_);
    }
    return n;
  }

 private:
  ByteSource& inner_;
  uint64_t count_;
  const std::function<void(uint64_t)>& progress_;
  std::chrono::steady_clock::time_point told_{};
};

bool good(const ApiAnswer& answer) { return answer.status >= 200 && answer.status < 300; }

}  // namespace

Result<std::unique_ptr<Pusher>> Pusher::open(const Surroundings& around, const oci::Reference& reference) {
  Route route = TRY(find_route(around, reference));
  if (!route.blocked_by.empty())
    return Error(ErrorKind::kPermission, "registry " + reference.domain + " is blocked")
        .hint(route.blocked_by + " says so");
  if (route.push.empty())
    return Error(ErrorKind::kInvalid, "no endpoint of " + reference.domain + " takes pushes")
        .hint("`kasane registry explain` shows which file says so");
  Client::Options options;
  options.around = around;
  options.attempts = route.limits.attempts;
  std::unique_ptr<Pusher> out(new Pusher(TRY(Client::open(route.push.front(), std::move(options)))));
  out->uploads_ = route.limits.uploads;
  return out;
}

ApiRequest Pusher::request(const std::string& method, const std::string& path) const {
  ApiRequest out;
  out.method = method;
  out.path = path;
  out.scopes = {"repository:" + client_->endpoint().repository + ":pull,push"};
  return out;
}

// docker's words for a push that the registry does not take.
Error Pusher::refused(const ApiAnswer& answer) {
  if (!is_refusal(answer)) return api_error(answer, *client_, client_->endpoint().repository);
  std::string why = answer_text(answer);
  if (error_code(answer).empty())
    why = client_->authenticator().has_credential() ? "denied: requested access to the resource is denied"
                                                    : "no basic auth credentials";
  return Error(ErrorKind::kPermission, std::move(why)).hint(login_hint(*client_));
}

Result<bool> Pusher::has_blob(const Sha256Digest& digest, const std::stop_token& stop) {
  const ApiAnswer answer = TRY(client_->send(request("HEAD", "blobs/" + digest.str()), stop));
  if (good(answer)) return true;
  if (answer.status == 401 || answer.status == 403) return refused(answer);
  return false;  // 404, and registries that do not know HEAD
}

Result<bool> Pusher::mount(const Sha256Digest& digest, const std::string& from, const std::stop_token& stop) {
  ApiRequest wanted =
      request("POST", "blobs/uploads/?mount=sha256%3A" + digest.hex() + "&from=" + from);
  const std::string empty;
  wanted.body = &empty;
  wanted.scopes.insert("repository:" + from + ":pull");
  const ApiAnswer answer = TRY(client_->send(wanted, stop));
  if (answer.status == 201) return true;
  // 202 opened a session instead; it is given back, an upload opens its own.
  if (answer.status == 202 && !answer.location.empty())
    (void)client_->send(request("DELETE", answer.location), stop).has_value();
  return false;
}

Result<Pusher::Session> Pusher::begin(const std::stop_token& stop) {
  ApiRequest wanted = request("POST", "blobs/uploads/");
  const std::string empty;
  wanted.body = &empty;
  const ApiAnswer answer = TRY(client_->send(wanted, stop));
  if (!good(answer)) return refused(answer);
  if (answer.location.empty())
    return Error(ErrorKind::kInvalid, "the registry accepted an upload but did not say where it goes (no Location)");
  return Session{answer.location, 0};
}

// Where a session stands; nullopt when it is gone.
Result<std::optional<Pusher::Session>> Pusher::resume(const std::string& url, uint64_t size,
                                                      const std::stop_token& stop) {
  const ApiAnswer answer = TRY(client_->send(request("GET", url), stop));
  if (!good(answer)) return std::optional<Session>();
  Session out{answer.location.empty() ? url : answer.location, received(answer.header("range"))};
  if (out.offset > size) return std::optional<Session>();
  return std::optional<Session>(std::move(out));
}

// The bytes from the session's offset on, and the end of the upload.
Result<ApiAnswer> Pusher::send_rest(Session& session, const Sha256Digest& digest, uint64_t size,
                                    UploadSource& source, const UploadHooks& hooks, const std::stop_token& stop) {
  const uint64_t rest = size - session.offset;
  StringSink ignored;
  const bool small = rest <= kOneRequest;
  if (!small) {
    std::unique_ptr<ByteSource> bytes = TRY(source.open(session.offset));
    CountedSource counted(*bytes, session.offset, hooks.progress);
    ApiRequest patch = request("PATCH", session.url);
    patch.headers = {"Content-Type: application/octet-stream"};
    if (session.offset > 0)
      patch.headers.push_back("Content-Range: " + std::to_string(session.offset) + "-" + std::to_string(size - 1));
    patch.upload = &counted;
    patch.upload_size = rest;
    ApiAnswer answer = TRY(client_->stream(patch, ignored, {}, stop));
    if (!good(answer)) return answer;
    if (!answer.location.empty()) session.url = answer.location;
    session.offset = size;
    if (hooks.session_changed) hooks.session_changed(session.url);
  }
  ApiRequest put = request("PUT", with_digest(session.url, digest));
  const std::string empty;
  std::unique_ptr<ByteSource> bytes;
  put.headers = {"Content-Type: application/octet-stream"};
  if (small) {
    bytes = TRY(source.open(session.offset));
    put.upload = bytes.get();
    put.upload_size = rest;
    if (session.offset > 0 && rest > 0)
      put.headers.push_back("Content-Range: " + std::to_string(session.offset) + "-" + std::to_string(size - 1));
  } else {
    put.body = &empty;
  }
  return client_->stream(put, ignored, {}, stop);
}

Result<void> Pusher::upload(const Sha256Digest& digest, uint64_t size, UploadSource& source,
                            const UploadHooks& hooks, const std::stop_token& stop) {
  std::optional<Session> session;
  if (!hooks.session.empty()) session = TRY(resume(hooks.session, size, stop));
  Backoff backoff(client_->attempts(), stop);
  backoff.on_wait = hooks.on_retry;
  const auto remember = [&](const std::string& url) {
    if (hooks.session_changed) hooks.session_changed(url);
  };
  Error last(ErrorKind::kNetwork, "the upload was broken off too often");
  for (int tries = 0; tries < kMaxTries; ++tries) {
    if (!session) {
      session = TRY(begin(stop));
      remember(session->url);
    }
    Result<ApiAnswer> answer = send_rest(*session, digest, size, source, hooks, stop);
    if (answer && good(*answer)) {
      remember("");
      // A 201 is a promise; the manifest must not rely on one that was broken (R22).
      if (TRY(has_blob(digest, stop))) return {};
      last = Error(ErrorKind::kNetwork, "the registry accepted blob " + digest.str() + " but does not have it");
      session.reset();
    } else if (answer) {
      last = refused(*answer);
      // 401: a new token was fetched meanwhile; 416, 404: the session is not where it was thought.
      const bool lost = answer->status == 416 || answer->status == 404;
      const bool again = is_transient(answer->status) || lost || (answer->status == 401 && tries < 2);
      if (!again) {
        remember("");
        return last;
      }
    } else {
      last = std::move(answer.error());
      if (!Client::may_heal(last)) return last;
    }
    if (!TRY(backoff.wait(answer ? retry_after(*answer, 0) : -1))) return last;
    if (session) session = TRY(resume(session->url, size, stop));
  }
  return last;
}

Result<bool> Pusher::has_manifest(const std::string& tag, const Sha256Digest& digest, const std::stop_token& stop) {
  ApiRequest head = request("HEAD", "manifests/" + tag);
  head.headers = {kAcceptManifests};
  const ApiAnswer answer = TRY(client_->send(head, stop));
  if (answer.status == 401 || answer.status == 403) return refused(answer);
  return good(answer) && answer.header("docker-content-digest") == digest.str();
}

Result<void> Pusher::put_manifest(const std::string& reference, const std::string& media_type,
                                  const std::string& bytes, const std::stop_token& stop,
                                  const std::vector<std::string>& conditions) {
  ApiRequest put = request("PUT", "manifests/" + reference);
  put.headers = conditions;
  put.headers.push_back("Content-Type: " + media_type);
  put.body = &bytes;
  const ApiAnswer answer = TRY(client_->send(put, stop));
  if (answer.status == 412 && !conditions.empty())
    return Error(ErrorKind::kConflict, reference + " means something else meanwhile");
  if (!good(answer)) return refused(answer);
  const std::string told = answer.header("docker-content-digest");
  if (const auto digest = Sha256Digest::parse(told); digest && *digest != sha256(bytes))
    return Error(ErrorKind::kCorrupt, "the registry stored another manifest than was sent: " + told);
  return {};
}

}  // namespace kasane::registry
