#include "registry/repository.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>

#include "oci/digest.h"
#include "oci/json.h"
#include "registry/pages.h"

namespace kasane::registry {
namespace {

constexpr uint64_t kMaxDocument = 4u << 20;
constexpr size_t kMaxTags = 1'000'000;
constexpr int kMaxPages = 10'000;  // R11
constexpr int kMaxTries = 30;      // of one blob, however much each brings
constexpr uint64_t kMovement = 64u << 10;  // what a broken try must have brought to be no failure

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

bool parse_number(std::string_view text, uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

// "bytes 10-99/100": does it begin at `offset` and end a blob of `size`?
bool is_range(const std::string& header, uint64_t offset, uint64_t size) {
  std::string_view text = header;
  if (!text.starts_with("bytes ")) return false;
  text.remove_prefix(6);
  const size_t dash = text.find('-'), slash = text.find('/');
  if (dash == text.npos || slash == text.npos || dash > slash) return false;
  uint64_t first = 0, last = 0, total = size;
  if (!parse_number(text.substr(0, dash), first) || !parse_number(text.substr(dash + 1, slash - dash - 1), last))
    return false;
  if (text.substr(slash + 1) != "*" && !parse_number(text.substr(slash + 1), total)) return false;
  return first == offset && last + 1 == size && total == size;
}

// A header that lies about what follows; the transfer ends before a byte is kept.
Error lie(std::string what) {
  return Error(ErrorKind::kCorrupt, "the registry's answer contradicts itself: " + std::move(what));
}

class TargetSink final : public ByteSink {
 public:
  explicit TargetSink(BlobTarget& target) : target_(target) {}
  Result<void> write(std::span<const uint8_t> bytes) override { return target_.append(bytes); }

 private:
  BlobTarget& target_;
};

class TextTarget final : public BlobTarget {
 public:
  TextTarget(const Sha256Digest& digest, uint64_t size) : digest_(digest), size_(size) {}
  uint64_t have() const override { return text.size(); }
  Result<void> append(std::span<const uint8_t> bytes) override {
    if (bytes.size() > size_ - text.size()) return lie("more bytes came than were announced");
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  Result<void> restart() override {
    text.clear();
    return {};
  }
  Result<void> verify() override {
    if (text.size() == size_ && sha256(text) == digest_) return {};
    text.clear();
    return Error(ErrorKind::kCorrupt, "digest mismatch: the bytes that came are not those of " + digest_.str());
  }
  std::string text;

 private:
  Sha256Digest digest_;
  uint64_t size_;
};

}  // namespace

Result<std::unique_ptr<Repository>> Repository::open(const Surroundings& around,
                                                     const oci::Reference& reference,
                                                     int max_attempts) {
  Route route = TRY(find_route(around, reference));
  if (max_attempts > 0) route.limits.attempts = std::min(route.limits.attempts, max_attempts);
  return connect(around, std::move(route));
}

Result<std::unique_ptr<Repository>> Repository::open_to_change(const Surroundings& around,
                                                               const oci::Reference& reference) {
  Route route = TRY(find_route(around, reference));
  route.pull = route.push;
  for (Endpoint& endpoint : route.pull) endpoint.resolve = endpoint.pull = true;
  return connect(around, std::move(route));
}

Result<std::unique_ptr<Repository>> Repository::connect(const Surroundings& around, Route route) {
  const std::string& domain = route.reference.domain;
  if (!route.blocked_by.empty())
    return Error(ErrorKind::kPermission, "registry " + domain + " is blocked").hint(route.blocked_by + " says so");
  std::unique_ptr<Repository> out(new Repository(std::move(route)));
  for (const Endpoint& endpoint : out->route_.pull) {
    auto source = std::make_unique<Source>();
    Client::Options options;
    options.around = around;
    // A mirror that is down must not cost what the registry itself may cost.
    options.attempts = endpoint.mirror ? std::min(2, out->route_.limits.attempts) : out->route_.limits.attempts;
    source->client = TRY(Client::open(endpoint, std::move(options)));
    out->sources_.push_back(std::move(source));
  }
  if (out->sources_.empty())
    return Error(ErrorKind::kInvalid, "no endpoint of " + out->route_.reference.domain + " may be used for this");
  return out;
}

std::string Repository::subject(const std::string& tag_or_digest) const {
  const bool digest = tag_or_digest.find(':') != std::string::npos;
  return route_.reference.familiar_name() + (digest ? "@" : ":") + tag_or_digest;
}

template <class T>
Result<T> Repository::first_of(bool resolving, const std::function<Result<T>(Client&)>& ask) {
  std::string earlier;
  for (size_t i = 0; i < sources_.size(); ++i) {
    Source& source = *sources_[i];
    const Endpoint& endpoint = source.client->endpoint();
    const bool last = i + 1 == sources_.size();
    if ((resolving ? !endpoint.resolve : !endpoint.pull) && !last) continue;
    if (source.dead && !last) continue;
    Result<T> got = ask(*source.client);
    if (got || got.error().kind() == ErrorKind::kCancelled) return got;
    if (last) {
      if (earlier.empty()) return got;
      return std::move(got.error()).hint("mirrors failed before: " + earlier);
    }
    if (got.error().kind() == ErrorKind::kNetwork || got.error().kind() == ErrorKind::kNotFound)
      source.dead = got.error().kind() == ErrorKind::kNetwork;
    earlier += (earlier.empty() ? "" : "; ") + endpoint.host + ": " + got.error().message();
  }
  return Error(ErrorKind::kNetwork, "no endpoint answered");  // not reached
}

Result<std::optional<Sha256Digest>> Repository::peek(const std::string& tag, const std::stop_token& stop) {
  Result<std::optional<Sha256Digest>> got = first_of<std::optional<Sha256Digest>>(
      true, [&](Client& client) -> Result<std::optional<Sha256Digest>> {
        ApiRequest request;
        request.method = "HEAD";
        request.path = "manifests/" + tag;
        request.headers = {kAcceptManifests};
        const ApiAnswer answer = TRY(client.send(request, stop));
        // A mirror that lacks it is passed over; what is wrong is told by the GET that follows.
        if (answer.status != 200 && client.endpoint().mirror)
          return Error(ErrorKind::kNotFound, "status " + std::to_string(answer.status));
        if (answer.status != 200) return std::optional<Sha256Digest>();
        return Sha256Digest::parse(answer.header("docker-content-digest"));
      });
  if (!got && got.error().kind() != ErrorKind::kCancelled && got.error().kind() != ErrorKind::kPermission)
    return std::optional<Sha256Digest>();
  return got;
}

// What a server sent is not what it should be: asked once more, as bytes may have been lost on the
// way (R15).
Result<Document> Repository::document_from(Client& client, const std::string& tag_or_digest,
                                           const std::optional<Sha256Digest>& wanted, const std::stop_token& stop) {
  for (bool again = false;; again = true) {
    ApiRequest request;
    request.path = "manifests/" + tag_or_digest;
    request.headers = {kAcceptManifests};
    request.max_body_bytes = kMaxDocument;
    ApiAnswer answer = TRY(client.send(request, stop));
    if (answer.status != 200) return api_error(answer, client, subject(tag_or_digest));
    const Sha256Digest found = sha256(answer.body);
    const std::optional<Sha256Digest> told = Sha256Digest::parse(answer.header("docker-content-digest"));
    const bool wrong = (wanted && found != *wanted) || (told && *told != found);
    if (!wrong) return classify(std::move(answer.body), answer.header("content-type"));
    if (again)
      return Error(ErrorKind::kCorrupt, "manifest verification failed for digest " +
                                            (wanted && found != *wanted ? *wanted : *told).str());
  }
}

Result<Document> Repository::document(const std::string& tag_or_digest, const std::stop_token& stop) {
  const std::optional<Sha256Digest> wanted = Sha256Digest::parse(tag_or_digest);
  if (!wanted && oci::is_digest(tag_or_digest))
    return Error(ErrorKind::kUnsupported, "kasane cannot verify " + tag_or_digest);
  return first_of<Document>(
      !wanted, [&](Client& client) { return document_from(client, tag_or_digest, wanted, stop); });
}

Result<std::string> Repository::blob_text(const oci::Descriptor& descriptor, const std::stop_token& stop) {
  const Sha256Digest digest = TRY(oci::parse_sha256(descriptor.digest));
  if (descriptor.size < 0 || static_cast<uint64_t>(descriptor.size) > kMaxDocument)
    return Error(ErrorKind::kLimit, "the image's configuration has more than 4 MiB");
  TextTarget target(digest, static_cast<uint64_t>(descriptor.size));
  TRY(blob(descriptor, target, stop));
  return std::move(target.text);
}

Result<void> Repository::blob(const oci::Descriptor& descriptor, BlobTarget& target, const std::stop_token& stop,
                              const std::function<void(int)>& on_retry) {
  TRY(oci::parse_sha256(descriptor.digest));
  const std::function<Result<bool>(Client&)> ask = [&](Client& client) -> Result<bool> {
    TRY(blob_from(client, descriptor, target, stop, on_retry));
    return true;
  };
  TRY_CONTEXT(first_of<bool>(false, ask), "blob " + descriptor.digest);
  return {};
}

// Tries one endpoint until the blob is whole. What came is kept between tries; a wrong digest
// after a continued transfer begins once more, after a fresh one it is final.
Result<void> Repository::blob_from(Client& client, const oci::Descriptor& descriptor, BlobTarget& target,
                                   const std::stop_token& stop, const std::function<void(int)>& on_retry) {
  const uint64_t size = static_cast<uint64_t>(descriptor.size);
  std::optional<Backoff> backoff;
  bool spliced = target.have() > 0;  // not all of one answer
  bool lied = false, repeated = false;
  for (int tries = 0; tries < kMaxTries; ++tries) {
    const uint64_t offset = target.have();
    ApiRequest request;
    request.path = "blobs/" + descriptor.digest;
    request.headers = {"Accept-Encoding: identity"};
    if (offset > 0) request.headers.push_back("Range: bytes=" + std::to_string(offset) + "-");
    request.max_body_bytes = size + 1;
    TargetSink sink(target);
    const Client::Begin begin = [&](const ApiAnswer& answer) -> Result<void> {
      const std::string coding = answer.header("content-encoding");
      if (!coding.empty() && coding != "identity") return lie("the blob is sent with a content encoding");
      uint64_t length = 0;
      const bool has_length = parse_number(answer.header("content-length"), length);
      if (answer.status == 206) {
        if (offset == 0 || !is_range(answer.header("content-range"), offset, size))
          return lie("the range is not the one that was asked for");
        spliced = true;
      } else if (offset > 0) {
        TRY(target.restart());  // it sends everything again
        spliced = false;
      }
      if (has_length && length != size - target.have())
        return lie("it announces " + std::to_string(length) + " bytes of a blob of " + std::to_string(size));
      return {};
    };
    Result<ApiAnswer> answer = Error(ErrorKind::kInternal, "");
    if (offset == size && size > 0) {
      ApiAnswer nothing;  // it is all here from before
      nothing.status = 200;
      answer = std::move(nothing);
    } else {
      answer = client.stream(request, sink, begin, stop);
    }
    int64_t after = -1;
    Error error(ErrorKind::kNetwork, "");
    if (answer && answer->status >= 200 && answer->status < 300) {
      Result<void> verified = target.have() == size ? target.verify()
                                                    : Result<void>(Error(ErrorKind::kNetwork, "the transfer ended early"));
      if (verified) return {};
      error = std::move(verified.error());
      if (error.kind() == ErrorKind::kCorrupt) {
        if (!spliced || repeated) return error;
        repeated = true;
        spliced = false;
        continue;
      }
    } else if (answer && answer->status == 416 && offset > 0) {
      TRY(target.restart());
      spliced = false;
      continue;
    } else if (answer) {
      error = answer->status == 404
                  ? Error(ErrorKind::kNotFound, "the registry does not have it (blob unknown)")
                  : api_error(*answer, client, route_.reference.familiar_name());
      if (!is_transient(answer->status)) return error;
      after = retry_after(*answer, now_seconds());
    } else {
      error = std::move(answer.error());
      if (error.kind() == ErrorKind::kCorrupt && !lied) {  // never spliced: from the beginning, once
        lied = true;
        TRY(target.restart());
        spliced = false;
        continue;
      }
      if (!Client::may_heal(error)) return error;
    }
    // It moves: the tries count from here. A few bytes a minute are no movement (R18).
    if (!backoff || target.have() >= offset + kMovement) {
      backoff.emplace(client.attempts(), stop);
      backoff->on_wait = on_retry;
    }
    if (!TRY(backoff->wait(after))) return error;
  }
  return Error(ErrorKind::kNetwork, "the transfer was broken off too often");
}

Result<std::vector<std::string>> Repository::tags(const std::stop_token& stop) {
  return first_of<std::vector<std::string>>(true, [&](Client& client) -> Result<std::vector<std::string>> {
    std::vector<std::string> out;
    std::set<std::string> seen;
    std::string next = "tags/list";
    for (int page = 0; page < kMaxPages && seen.insert(next).second; ++page) {
      ApiRequest request;
      request.path = next;
      const ApiAnswer answer = TRY(client.send(request, stop));
      if (answer.status != 200) return api_error(answer, client, route_.reference.familiar_name());
      const oci::Json json = TRY(oci::Json::parse(answer.body, "list of tags"));
      if (!json.is_object()) return Error(ErrorKind::kInvalid, "list of tags: not a JSON object");
      std::vector<std::string> part;
      TRY(oci::JsonReader(json, "list of tags").get("tags", part));
      out.insert(out.end(), part.begin(), part.end());
      if (out.size() > kMaxTags) return Error(ErrorKind::kLimit, "the repository has more than a million tags");
      const std::optional<std::string> link = TRY(next_page(client, answer, "tags/"));
      if (!link) return out;
      next = *link;
    }
    return Error(ErrorKind::kLimit, "the list of tags does not end");
  });
}

}  // namespace kasane::registry
