#include "net/http_exchange.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/text.h"
#include "net/proxy.h"
#include "net/response_head.h"
#include "net/url.h"

namespace kasane::net {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kMaxRedirectBody = 1u << 20;
constexpr size_t kMaxIdleConnections = 16;

class Transfer {
 public:
  Transfer(const CurlApi& api, const HttpExchange& exchange, ByteSink& out, std::stop_token stop,
           const HttpProgress& progress)
      : api_(api), exchange_(exchange), out_(out), stop_(std::move(stop)), progress_(progress),
        head_(response, exchange.limits.header_bytes) {}

  Result<void> run(HttpConnections* connections);

  HttpResponse response;
  std::string redirect_url;  // absolute; "" when there is none

 private:
  static size_t on_header(char* data, size_t size, size_t count, void* self);
  static size_t on_body(char* data, size_t size, size_t count, void* self);
  static size_t on_upload(char* data, size_t size, size_t count, void* self);
  bool take_header(std::string_view line);
  bool take_body(std::span<const uint8_t> bytes);
  // Once, before the first byte: is this a body to keep?
  bool wanted();
  Result<CurlList> header_list();
  Result<void> configure(CURL* easy, curl_slist* headers);
  template <class Set>
  void configure_tls(const Set& set);
  template <class Set>
  void configure_body(const Set& set);
  Result<CURLcode> drive(CURLM* multi, CURL* easy);
  Result<void> check_time();
  Result<void> verdict(CURL* easy, CURLcode code);
  Error failure(CURLcode code) const;
  std::optional<Error> refused_by_proxy(CURL* easy) const;

  const CurlApi& api_;
  const HttpExchange& exchange_;
  ByteSink& out_;
  std::stop_token stop_;
  const HttpProgress& progress_;
  std::optional<Error> error_;  // set inside a callback
  ResponseHead head_;
  std::string proxy_;
  bool ended_early_ = false;    // by want_body
  Clock::time_point last_sent_ = Clock::now();
  std::optional<bool> wanted_;
  uint64_t received_ = 0;
  uint64_t expected_ = 0;
  char message_[CURL_ERROR_SIZE] = {};
};

size_t Transfer::on_header(char* data, size_t size, size_t count, void* self) {
  bool fine = static_cast<Transfer*>(self)->take_header({data, size * count});
  return fine ? size * count : 0;
}

size_t Transfer::on_body(char* data, size_t size, size_t count, void* self) {
  bool fine = static_cast<Transfer*>(self)->take_body(
      {reinterpret_cast<const uint8_t*>(data), size * count});
  return fine ? size * count : 0;
}

size_t Transfer::on_upload(char* data, size_t size, size_t count, void* self) {
  Transfer& transfer = *static_cast<Transfer*>(self);
  Result<size_t> got =
      transfer.exchange_.upload->read({reinterpret_cast<uint8_t*>(data), size * count});
  transfer.last_sent_ = Clock::now();
  if (got) return *got;
  transfer.error_ = std::move(got.error());
  return CURL_READFUNC_ABORT;
}

bool Transfer::take_header(std::string_view line) {
  Result<void> taken = head_.take(line);
  if (taken) return true;
  error_ = std::move(taken.error());
  return false;
}

bool Transfer::wanted() {
  if (wanted_) return *wanted_;
  wanted_ = !exchange_.want_body || exchange_.want_body(response);
  if (auto length = response.headers.find("content-length"); length != response.headers.end())
    expected_ = std::strtoull(length->second.c_str(), nullptr, 10);
  return *wanted_;
}

bool Transfer::take_body(std::span<const uint8_t> bytes) {
  if (is_redirect(response.status) && response.headers.contains("location")) {
    // Read to its end: libcurl tells the next URL only then.
    received_ += bytes.size();
    if (received_ <= kMaxRedirectBody) return true;
    error_ = Error(ErrorKind::kLimit, "a redirect has a body of more than 1 MiB");
    return false;
  }
  if (!wanted()) {
    ended_early_ = true;
    return false;
  }
  if (bytes.size() > exchange_.max_body_bytes - received_ || expected_ > exchange_.max_body_bytes) {
    error_ = Error(ErrorKind::kLimit, "the body has more than the allowed " +
                                          std::to_string(exchange_.max_body_bytes) + " bytes");
    return false;
  }
  if (Result<void> written = out_.write(bytes); !written) {
    error_ = written.error();
    return false;
  }
  received_ += bytes.size();
  if (progress_) progress_(received_, expected_);
  return true;
}

const char* environment(const char* lower_name, const char* upper_name) {
  const char* value = std::getenv(lower_name);
  if (!value || !*value) value = std::getenv(upper_name);
  return value && *value ? value : nullptr;
}

// libcurl reads https_proxy, HTTPS_PROXY, all_proxy and no_proxy by itself. As Go's programs,
template <class Set>
void Transfer::configure_tls(const Set& set) {
  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  // The library, unlike the curl program, does not read these.
  if (const char* file = environment("SSL_CERT_FILE", "SSL_CERT_FILE")) set(CURLOPT_CAINFO, file);
  if (const char* dir = environment("SSL_CERT_DIR", "SSL_CERT_DIR")) set(CURLOPT_CAPATH, dir);
  if (!exchange_.tls) return;
  const TlsSetup& tls = *exchange_.tls;
  if (!tls.ca_pem.empty()) {
    curl_blob blob{const_cast<char*>(tls.ca_pem.data()), tls.ca_pem.size(), CURL_BLOB_NOCOPY};
    set(CURLOPT_CAINFO_BLOB, &blob);
    if (!environment("SSL_CERT_DIR", "SSL_CERT_DIR")) set(CURLOPT_CAPATH, "/etc/ssl/certs");
  }
  if (!tls.client_certificate.empty()) {
    set(CURLOPT_SSLCERT, tls.client_certificate.c_str());
    set(CURLOPT_SSLKEY, tls.client_key.c_str());
  }
  if (tls.skip_verify) {
    set(CURLOPT_SSL_VERIFYPEER, 0L);
    set(CURLOPT_SSL_VERIFYHOST, 0L);
  }
}

template <class Set>
void Transfer::configure_body(const Set& set) {
  const std::string& method = exchange_.method;
  if (method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (exchange_.upload) {
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_READFUNCTION, &Transfer::on_upload);
    set(CURLOPT_READDATA, static_cast<void*>(this));
    set(CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
    const uint64_t size = exchange_.upload_size.value_or(0);
    set(CURLOPT_INFILESIZE_LARGE,
        exchange_.upload_size ? static_cast<curl_off_t>(size) : curl_off_t{-1});
  } else if (exchange_.body) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(exchange_.body->size()));
    set(CURLOPT_POSTFIELDS, exchange_.body->c_str());
  }
  if (method != "GET" && method != "HEAD") set(CURLOPT_CUSTOMREQUEST, method.c_str());
}

Result<void> Transfer::configure(CURL* easy, curl_slist* headers) {
  std::optional<UrlParts> parts = split_url(exchange_.url);
  if (!parts) return Error(ErrorKind::kInvalid, "not an http or https URL");
  CURLcode failed = CURLE_OK;
  auto set = [&](CURLoption option, auto value) {
    CURLcode code = api_.easy_setopt(easy, option, value);
    if (code != CURLE_OK && failed == CURLE_OK) failed = code;
  };
  const HttpLimits& limits = exchange_.limits;
  set(CURLOPT_URL, exchange_.url.c_str());
  set(CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_NOPROGRESS, 1L);
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(message_));
  set(CURLOPT_USERAGENT, "kasane/" KASANE_VERSION);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(limits.connect_ms));
  set(CURLOPT_LOW_SPEED_LIMIT, limits.stall_rate);
  set(CURLOPT_LOW_SPEED_TIME, limits.stall_seconds);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_BUFFERSIZE, 128L << 10);
  set(CURLOPT_HTTPHEADER, headers);
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  // Always said, so that libcurl does not read the environment in its own way.
  proxy_ = proxy_for(*parts, [](const char* name) -> const char* { return std::getenv(name); });
  set(CURLOPT_PROXY, proxy_.c_str());
  set(CURLOPT_NOPROXY, "");
  configure_tls(set);
  configure_body(set);
  if (failed != CURLE_OK)
    return Error(ErrorKind::kUnsupported,
                 std::string("libcurl refuses an option: ") + api_.easy_strerror(failed));
  return {};
}

Result<void> Transfer::check_time() {
  const int64_t limit = exchange_.limits.header_ms;
  if (limit == 0 || head_.complete() || Clock::now() - last_sent_ < std::chrono::milliseconds(limit))
    return {};
  return Error(ErrorKind::kNetwork,
               "the server sent no answer in " + std::to_string(limit / 1000) + " seconds");
}

// The multi interface, because a stop request can wake it.
Result<CURLcode> Transfer::drive(CURLM* multi, CURL* easy) {
  std::stop_callback wake(stop_, [&] { api_.multi_wakeup(multi); });
  CURLMcode code = api_.multi_add_handle(multi, easy);
  Result<CURLcode> result = CURLE_OK;
  for (int running = 1; code == CURLM_OK && running > 0;) {
    if (stop_.stop_requested()) {
      result = Error(ErrorKind::kCancelled, "cancelled");
      break;
    }
    if (Result<void> in_time = check_time(); !in_time) {
      result = std::move(in_time.error());
      break;
    }
    code = api_.multi_perform(multi, &running);
    if (code == CURLM_OK && running > 0)
      code = api_.multi_poll(multi, nullptr, 0, 1000, nullptr);
  }
  int left = 0;
  while (CURLMsg* message = api_.multi_info_read(multi, &left))
    if (message->msg == CURLMSG_DONE && result) result = message->data.result;
  api_.multi_remove_handle(multi, easy);
  if (code != CURLM_OK) return Error(ErrorKind::kNetwork, api_.multi_strerror(code));
  return result;
}

const char* hint_for(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return "check the host name, the DNS of this machine, and https_proxy or no_proxy";
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
      return "check that the server is reachable from this machine, perhaps through https_proxy";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return "install ca-certificates, or name the certificate authority with SSL_CERT_FILE";
    default:
      return "try again; the server or the network ended the transfer";
  }
}

HttpFault fault_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return HttpFault::kResolve;
    case CURLE_COULDNT_CONNECT:
      return HttpFault::kConnect;
    case CURLE_SSL_CONNECT_ERROR:
      return HttpFault::kTls;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
      return HttpFault::kCertificate;
    default:
      return HttpFault::kTransfer;
  }
}

// A proxy's own refusal is no answer of the server, and does not pass by itself.
std::optional<Error> Transfer::refused_by_proxy(CURL* easy) const {
  if (proxy_.empty()) return std::nullopt;
  long tunnel = 0;
  api_.easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &tunnel);
  if (tunnel == 407 || response.status == 407)
    return Error(ErrorKind::kPermission, "the proxy " + redact_proxy(proxy_) + " wants a user and password, or other ones")
        .hint("https_proxy and http_proxy may have the form http://USER:PASSWORD@HOST:PORT");
  if (tunnel >= 400 && tunnel < 500 && tunnel != 408 && tunnel != 429)
    return Error(ErrorKind::kPermission, "the proxy " + redact_proxy(proxy_) + " refuses the connection (status " +
                                             std::to_string(tunnel) + ")")
        .hint("no_proxy names the hosts that are reached without a proxy");
  return std::nullopt;
}

Error Transfer::failure(CURLcode code) const {
  std::string why = message_[0] ? message_ : api_.easy_strerror(code);
  // libcurl quotes a proxy that it does not understand, with its password.
  if (const size_t at = proxy_.empty() ? why.npos : why.find(proxy_); at != why.npos)
    why.replace(at, proxy_.size(), redact_proxy(proxy_));
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) return Error(ErrorKind::kInvalid, why);
  if (code == CURLE_OUT_OF_MEMORY) return Error(ErrorKind::kIo, why);
  return Error(ErrorKind::kNetwork, why).hint(hint_for(code));
}

Result<void> Transfer::verdict(CURL* easy, CURLcode code) {
  if (error_) return *error_;
  if (std::optional<Error> refused = refused_by_proxy(easy)) return std::move(*refused);
  if (code != CURLE_OK && !ended_early_) {
    if (exchange_.fault) *exchange_.fault = fault_of(code);
    return failure(code);
  }
  // To libcurl a connection that ends within the headers is an answer without a body.
  if (!head_.complete())
    return Error(ErrorKind::kNetwork, "the answer ended within its headers").hint(hint_for(CURLE_PARTIAL_FILE));
  response.effective_url = exchange_.url;
  char* next = nullptr;
  if (is_redirect(response.status) &&
      api_.easy_getinfo(easy, CURLINFO_REDIRECT_URL, &next) == CURLE_OK && next)
    redirect_url = next;
  if (redirect_url.empty() && !ended_early_) wanted();  // told even when the body is empty
  return {};
}

Result<CurlList> Transfer::header_list() {
  CurlList list(nullptr, CurlDeleter{&api_});
  std::vector<std::string> lines = exchange_.headers;
  // Bodies: no "100 Continue" round trip, and no form type that nobody asked for.
  if (exchange_.body || exchange_.upload) lines.insert(lines.begin(), "Expect:");
  if (exchange_.body && std::none_of(lines.begin(), lines.end(), [](const std::string& line) {
        return ascii_lower(line).starts_with("content-type:");
      }))
    lines.insert(lines.begin(), "Content-Type:");
  for (const std::string& line : lines) {
    curl_slist* grown = api_.slist_append(list.get(), line.c_str());
    if (!grown) return Error(ErrorKind::kInternal, "curl_slist_append failed");
    list.release();
    list.reset(grown);
  }
  return list;
}

Result<void> Transfer::run(HttpConnections* connections) {
  CurlMulti multi = connections ? connections->take(api_) : CurlMulti(api_.multi_init(), {&api_});
  CurlEasy easy(api_.easy_init(), CurlDeleter{&api_});
  if (!easy || !multi) return Error(ErrorKind::kInternal, "curl_easy_init failed");
  CurlList list = TRY(header_list());
  TRY(configure(easy.get(), list.get()));
  CURLcode code = TRY(drive(multi.get(), easy.get()));
  TRY(verdict(easy.get(), code));
  if (connections) connections->give_back(std::move(multi));
  return {};
}

// A line break would let a header's value add more headers.
Result<void> check_headers(const std::vector<std::string>& headers) {
  for (const std::string& header : headers) {
    size_t colon = header.find(':');
    bool bad = colon == 0 || colon == std::string::npos;
    for (char c : header) bad = bad || (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
    for (size_t i = 0; i < std::min(colon, header.size()); ++i) bad = bad || header[i] == ' ';
    if (bad)
      return Error(ErrorKind::kInvalid, "the header \"" + header.substr(0, std::min<size_t>(colon, 40)) +
                                            "\" is not of the form Name: value");
  }
  return {};
}

}  // namespace

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

CurlMulti HttpConnections::take(const CurlApi& api) {
  std::lock_guard lock(mutex_);
  if (idle_.empty()) return CurlMulti(api.multi_init(), CurlMultiDeleter{&api});
  CurlMulti multi = std::move(idle_.back());
  idle_.pop_back();
  return multi;
}

void HttpConnections::give_back(CurlMulti multi) {
  std::lock_guard lock(mutex_);
  if (idle_.size() < kMaxIdleConnections) idle_.push_back(std::move(multi));
}

Result<HttpAnswer> http_exchange(HttpConnections* connections, const HttpExchange& exchange,
                                 ByteSink& out, std::stop_token stop,
                                 const HttpProgress& progress) {
  if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
  TRY(check_headers(exchange.headers));
  const CurlApi* api = TRY(curl_api());
  Transfer transfer(*api, exchange, out, std::move(stop), progress);
  TRY(transfer.run(connections));
  return HttpAnswer{std::move(transfer.response), std::move(transfer.redirect_url)};
}

}  // namespace kasane::net
