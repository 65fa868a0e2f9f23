#include "registry/client.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <random>

#include "base/fd.h"
#include "net/http_date.h"
#include "net/url.h"

namespace kasane::registry {
namespace {

constexpr size_t kMaxErrorBody = 64u << 10;
constexpr int kMaxRedirects = 10;       // R19
constexpr int64_t kMaxRetryAfter = 60;  // seconds, R17
constexpr int64_t kMaxDelayMs = 8000;

// Decides, when the headers are there, where the body goes.
class AnswerSink final : public ByteSink {
 public:
  AnswerSink(ByteSink& out, const Client::Begin& begin, uint64_t max_bytes)
      : out_(out), begin_(begin), left_(max_bytes) {}

  void headers(const ApiAnswer& answer) {
    answer_ = answer;
    good_ = answer.status >= 200 && answer.status < 300;
    if (good_ && begin_) begun_ = begin_(answer);
  }
  Result<void> write(std::span<const uint8_t> bytes) override {
    TRY(Result<void>(begun_));
    if (good_ && bytes.size() > left_)
      return Error(ErrorKind::kLimit, "the answer is longer than allowed");
    if (good_) {
      left_ -= bytes.size();
      return out_.write(bytes);
    }
    const size_t room = kMaxErrorBody - text_.size();
    text_.append(reinterpret_cast<const char*>(bytes.data()), std::min(room, bytes.size()));
    if (bytes.size() <= room) return {};
    cut_ = true;  // enough of it
    return Error(ErrorKind::kLimit, "the error page is too long");
  }
  bool cut() const { return cut_; }
  Result<void> begun() const { return begun_; }
  ApiAnswer take() {
    answer_.body = std::move(text_);
    return std::move(answer_);
  }

 private:
  ByteSink& out_;
  const Client::Begin& begin_;
  uint64_t left_;
  ApiAnswer answer_;
  Result<void> begun_;
  std::string text_;
  bool good_ = false, cut_ = false;
};

// Scheme, host and port of an absolute URL, or of one that is relative to `base`.
std::string absolute_url(const std::string& location, const std::string& base) {
  if (location.empty()) return "";
  if (net::split_url(location)) return location;
  const size_t authority = base.find("://") + 3;
  const size_t root = std::min(base.find('/', authority), base.size());
  if (location.starts_with("//")) return base.substr(0, authority - 2) + location;
  if (location.starts_with('/')) return base.substr(0, root) + location;
  if (location.find("://") != std::string::npos) return "";  // file:, gopher: ...
  const std::string path = base.substr(0, base.find_first_of("?#"));
  return path.substr(0, path.rfind('/') + 1) + location;
}

Result<net::TlsSetup> load_tls(const Endpoint& endpoint) {
  net::TlsSetup out;
  for (const std::string& file : endpoint.tls.ca)
    out.ca_pem += TRY_CONTEXT(read_file(file, 4u << 20), "certificate authority of " + endpoint.host) + "\n";
  if (!endpoint.tls.clients.empty()) {
    out.client_certificate = endpoint.tls.clients[0].first;
    out.client_key = endpoint.tls.clients[0].second;
  }
  out.skip_verify = endpoint.skip_verify;
  return out;
}

// Names that do not resolve and bad certificates do not heal in seconds.
Error judged(Error error, net::HttpFault fault) {
  ErrorKind kind = error.kind();
  if (fault == net::HttpFault::kResolve) kind = ErrorKind::kNotFound;
  if (fault == net::HttpFault::kCertificate) kind = ErrorKind::kPermission;
  if (kind == error.kind()) return error;
  return Error(kind, error.message()).hint(error.hint_text());
}

}  // namespace

std::string ApiAnswer::header(const std::string& name) const {
  auto it = headers.find(name);
  return it == headers.end() ? "" : it->second;
}

bool is_transient(int status) {
  return status == 408 || status == 429 || status == 499 || status == 500 || status == 502 ||
         status == 503 || status == 504 || status == 522;
}

int64_t retry_after(const ApiAnswer& answer, int64_t now_seconds) {
  const std::string text = answer.header("retry-after");
  if (text.empty()) return -1;
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc::result_out_of_range) return kMaxRetryAfter;
  if (error != std::errc() || end != text.data() + text.size()) {
    const std::optional<int64_t> date = net::parse_http_date(text);
    if (!date) return -1;
    seconds = *date - now_seconds;
  }
  return std::clamp<int64_t>(seconds, 0, kMaxRetryAfter);
}

Result<bool> Backoff::wait(int64_t retry_after_seconds) {
  if (left_-- <= 0) return false;
  int64_t wait_ms = retry_after_seconds * 1000;
  if (retry_after_seconds < 0) {
    std::minstd_rand random(std::random_device{}());
    wait_ms = delay_ms_ / 2 + static_cast<int64_t>(random() % static_cast<uint64_t>(delay_ms_ / 2 + 1));
    delay_ms_ = std::min(delay_ms_ * 2, kMaxDelayMs);
  }
  if (on_wait) on_wait(static_cast<int>((wait_ms + 999) / 1000));
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop_, std::chrono::milliseconds(wait_ms), [] { return false; });
  if (stop_.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
  return true;
}

Client::Client(Endpoint endpoint, Options options, net::TlsSetup tls)
    : endpoint_(endpoint),
      options_(std::move(options)),
      tls_(std::move(tls)),
      scheme_known_(!endpoint.plain_http || endpoint.scheme == "http"),
      auth_(std::move(endpoint), {options_.around, &connections_, &tls_, options_.credential,
                                  options_.offline_token}) {}

Result<std::unique_ptr<Client>> Client::open(Endpoint endpoint, Options options) {
  net::TlsSetup tls = TRY(load_tls(endpoint));
  return std::unique_ptr<Client>(new Client(std::move(endpoint), std::move(options), std::move(tls)));
}

bool Client::may_heal(const Error& error) {
  return error.kind() == ErrorKind::kNetwork;
}

// An insecure registry may speak https or http. On loopback http is asked first: what listens
// there is a test registry nearly always, and many a small server never ends a TLS handshake.
// Elsewhere https is asked first, and one that answered in https is never spoken to in http.
Result<void> Client::choose_scheme(const std::stop_token& stop) {
  std::lock_guard lock(mutex_);
  if (scheme_known_) return {};
  const bool loopback = is_loopback_host(endpoint_.host);
  Result<void> last;
  for (const std::string& scheme : {std::string(loopback ? "http" : "https"),
                                    std::string(loopback ? "https" : "http")}) {
    net::HttpExchange exchange;
    exchange.url = scheme + "://" + endpoint_.host + "/v2/";
    exchange.tls = &tls_;
    exchange.max_body_bytes = 1u << 20;
    exchange.limits = {.connect_ms = 10'000, .header_ms = 10'000, .header_bytes = 64u << 10};
    exchange.want_body = [](const net::HttpResponse&) { return false; };
    StringSink ignored;
    Result<net::HttpAnswer> answer = net::http_exchange(nullptr, exchange, ignored, stop);
    // What speaks TLS says 400 to http, or points to https.
    const bool usable = answer && (scheme == "https" || (answer->response.status != 400 &&
                                                         !answer->redirect_url.starts_with("https:")));
    if (usable) {
      endpoint_.scheme = scheme;
      auth_.set_scheme(scheme);
      scheme_known_ = true;
      return {};
    }
    if (!answer && answer.error().kind() == ErrorKind::kCancelled) return std::move(answer.error());
    if (!answer && (last || loopback)) last = std::move(answer.error());
  }
  if (last) last = Error(ErrorKind::kNetwork, "it speaks neither https nor http");
  return std::move(last.error()).context("connect to " + endpoint_.host);
}

std::string Client::url_of(const ApiRequest& request) const {
  if (request.path.find("://") != std::string::npos) return request.path;
  std::string url = endpoint_.origin() + endpoint_.base_path + "/";
  if (!request.path.empty()) url += endpoint_.repository + "/" + request.path;
  if (!endpoint_.name_space.empty())
    url += (url.find('?') == std::string::npos ? "?ns=" : "&ns=") + endpoint_.name_space;
  return url;
}

// One request with its redirects. The authorization, and headers that the configuration gave for
// this host, go to the endpoint's own origin only.
Result<ApiAnswer> Client::follow(const ApiRequest& request, const std::string& first,
                                 const std::string& authorization, ByteSink& out,
                                 const Begin& begin, const std::stop_token& stop,
                                 const net::HttpProgress& progress) {
  std::string url = first;
  const std::optional<net::UrlParts> own = net::split_url(endpoint_.origin());
  for (int redirects = 0;; ++redirects) {
    const std::optional<net::UrlParts> parts = net::split_url(url);
    if (!own || !parts) return Error(ErrorKind::kInvalid, "not an http or https URL: " + net::redact_url(url));
    const bool home = net::same_origin(*own, *parts);
    if (parts->scheme == "http" && endpoint_.scheme == "https" && !endpoint_.plain_http)
      return Error(ErrorKind::kPermission, "the registry leads from https to " + net::redact_url(url.substr(0, 200)))
          .hint("the registry or the proxy before it is set up wrongly: it takes itself for plain http");
    net::HttpExchange exchange;
    exchange.url = url;
    exchange.method = request.method;
    exchange.headers = request.headers;
    if (home) {
      exchange.headers.insert(exchange.headers.end(), endpoint_.headers.begin(), endpoint_.headers.end());
      if (!authorization.empty()) exchange.headers.push_back(authorization);
    }
    exchange.body = request.body;
    exchange.upload = request.upload;
    exchange.upload_size = request.upload_size;
    exchange.max_body_bytes = UINT64_MAX / 2;  // the sink knows what is too much for which status
    if (parts->host == own->host) exchange.tls = &tls_;
    exchange.limits.connect_ms = endpoint_.dial_timeout_ms > 0 ? endpoint_.dial_timeout_ms : 10'000;
    // A registry may hash gigabytes before it answers the end of an upload.
    exchange.limits.header_ms = request.method == "PUT" || request.method == "PATCH" ? 300'000 : 30'000;
    exchange.limits.stall_rate = request.method == "GET" ? 1024 : 1;
    exchange.limits.stall_seconds = request.method == "PUT" || request.method == "PATCH" ? 300 : 60;
    exchange.limits.header_bytes = 64u << 10;
    net::HttpFault fault = net::HttpFault::kNone;
    exchange.fault = &fault;
    AnswerSink sink(out, begin, request.max_body_bytes);
    std::vector<std::string> challenges;
    const auto understand = [&](const net::HttpResponse& response) {
      ApiAnswer answer;
      answer.status = response.status;
      answer.headers = response.headers;
      answer.same_origin = home;
      answer.location = absolute_url(answer.header("location"), url);
      challenges = response.challenges;
      return answer;
    };
    exchange.want_body = [&](const net::HttpResponse& response) {
      sink.headers(understand(response));
      return sink.begun().has_value();
    };
    Result<net::HttpAnswer> answer =
        net::http_exchange(&connections_, exchange, sink, stop, progress);
    TRY(sink.begun());
    if (!answer && !sink.cut()) return judged(std::move(answer.error()), fault);
    if (!answer || answer->redirect_url.empty() || (request.method != "GET" && request.method != "HEAD")) {
      if (answer && !answer->redirect_url.empty()) sink.headers(understand(answer->response));
      ApiAnswer done = sink.take();
      done.challenges = std::move(challenges);
      return done;
    }
    if (redirects >= kMaxRedirects)
      return Error(ErrorKind::kLimit, "the registry redirects more than " +
                                            std::to_string(kMaxRedirects) + " times");
    url = answer->redirect_url;
    if (!net::split_url(url))
      return Error(ErrorKind::kPermission, "the registry redirects to something else than http or https");
  }
}

Result<ApiAnswer> Client::one_try(const ApiRequest& request, ByteSink& out, const Begin& begin,
                                  const std::stop_token& stop, const net::HttpProgress& progress) {
  TRY(choose_scheme(stop));
  Scopes scopes = request.scopes;
  if (!endpoint_.repository.empty() && !request.path.empty())
    scopes = merge_scopes(scopes, {"repository:" + endpoint_.repository + ":pull"});
  const std::string url = url_of(request);
  const std::optional<net::UrlParts> own = net::split_url(endpoint_.origin()), there = net::split_url(url);
  const bool home = own && there && net::same_origin(*own, *there);
  for (int round = 0;; ++round) {
    const std::string authorization = home ? auth_.header(scopes) : "";
    ApiAnswer answer = TRY(follow(request, url, authorization, out, begin, stop, progress));
    // A challenge counts only from the endpoint itself, and not for a body that is gone.
    if (answer.status != 401 || !answer.same_origin || round >= 2) return answer;
    const bool again = TRY(auth_.answer(answer.challenges, scopes, authorization, stop));
    if (!again || request.upload) return answer;
  }
}

Result<ApiAnswer> Client::stream(const ApiRequest& request, ByteSink& out, const Begin& begin,
                                 const std::stop_token& stop, const net::HttpProgress& progress) {
  return one_try(request, out, begin, stop, progress);
}

Result<ApiAnswer> Client::send(const ApiRequest& request, const std::stop_token& stop) {
  Backoff backoff(request.upload ? 1 : options_.attempts, stop);
  for (;;) {
    StringSink body;
    Result<ApiAnswer> answer = one_try(request, body, {}, stop, {});
    if (answer && !is_transient(answer->status)) {
      if (answer->status >= 200 && answer->status < 300) answer->body = std::move(body.text);
      return answer;
    }
    if (!answer && !may_heal(answer.error())) return answer;
    const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                            std::chrono::system_clock::now().time_since_epoch())
                            .count();
    if (!TRY(backoff.wait(answer ? retry_after(*answer, now) : -1))) return answer;
  }
}

}  // namespace kasane::registry
