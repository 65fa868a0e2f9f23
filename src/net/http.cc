#include "net/http.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "net/curl.h"
#include "net/url.h"

namespace kasane::net {
namespace {

constexpr uint64_t kMaxHeaderBytes = 1u << 20;
constexpr uint64_t kMaxRedirectBody = 1u << 20;
constexpr long kConnectSeconds = 30;
constexpr long kStallSeconds = 60;  // without one byte

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

std::string_view trim(std::string_view text) {
  size_t start = text.find_first_not_of(" \t\r\n");
  if (start == text.npos) return {};
  return text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// One request and its one response; redirects are followed by the caller, who can then
// decide about credentials, proxies and schemes at each hop.
class Transfer {
 public:
  Transfer(const CurlApi& api, const HttpRequest& request, ByteSink& out, std::stop_token stop,
           const HttpProgress& progress)
      : api_(api), request_(request), out_(out), stop_(std::move(stop)), progress_(progress) {}

  Result<void> run(const std::string& url, const std::string& method,
                   const std::vector<std::string>& headers, bool with_body);

  HttpResponse response;
  std::string redirect_url;  // absolute; "" when there is none

 private:
  static size_t on_header(char* data, size_t size, size_t count, void* self);
  static size_t on_body(char* data, size_t size, size_t count, void* self);
  bool take_header(std::string_view line);
  bool take_body(std::span<const uint8_t> bytes);
  // Once, before the first byte: is this a body to keep?
  bool wanted();
  Result<void> configure(CURL* easy, const std::string& url, const std::string& method,
                         curl_slist* headers, bool with_body);
  Result<CURLcode> drive(CURL* easy);
  Result<void> verdict(CURL* easy, CURLcode code, const std::string& url);

  const CurlApi& api_;
  const HttpRequest& request_;
  ByteSink& out_;
  std::stop_token stop_;
  const HttpProgress& progress_;
  std::optional<Error> error_;  // set inside a callback
  bool ended_early_ = false;    // by want_body
  std::optional<bool> wanted_;
  uint64_t header_bytes_ = 0;
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

bool Transfer::take_header(std::string_view line) {
  header_bytes_ += line.size();
  if (header_bytes_ > kMaxHeaderBytes) {
    error_ = Error(ErrorKind::kLimit, "the server sent more than 1 MiB of headers");
    return false;
  }
  if (line.starts_with("HTTP/")) {  // also after a 100 Continue
    response.headers.clear();
    size_t space = line.find(' ');
    response.status = space == line.npos ? 0 : std::atoi(std::string(line.substr(space)).c_str());
    return true;
  }
  size_t colon = line.find(':');
  if (colon == line.npos) return true;
  response.headers[lower(trim(line.substr(0, colon)))] = trim(line.substr(colon + 1));
  return true;
}

bool Transfer::wanted() {
  if (wanted_) return *wanted_;
  wanted_ = !request_.want_body || request_.want_body(response);
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
  if (bytes.size() > request_.max_body_bytes - received_ || expected_ > request_.max_body_bytes) {
    error_ = Error(ErrorKind::kLimit, "the body has more than the allowed " +
                                          std::to_string(request_.max_body_bytes) + " bytes");
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
// kasane also knows HTTP_PROXY (not in a CGI script, where a client sets it) and never asks a
// proxy for this host.
std::optional<std::string> proxy_for(const UrlParts& url) {
  if (is_loopback(url)) return "";
  if (url.scheme == "http" && !std::getenv("REQUEST_METHOD"))
    if (const char* proxy = environment("http_proxy", "HTTP_PROXY")) return proxy;
  return std::nullopt;
}

Result<void> Transfer::configure(CURL* easy, const std::string& url, const std::string& method,
                                 curl_slist* headers, bool with_body) {
  std::optional<UrlParts> parts = split_url(url);
  if (!parts) return Error(ErrorKind::kInvalid, "not an http or https URL");
  CURLcode failed = CURLE_OK;
  auto set = [&](CURLoption option, auto value) {
    CURLcode code = api_.easy_setopt(easy, option, value);
    if (code != CURLE_OK && failed == CURLE_OK) failed = code;
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_NOPROGRESS, 1L);
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(message_));
  set(CURLOPT_USERAGENT, "kasane/" KASANE_VERSION);
  set(CURLOPT_CONNECTTIMEOUT, kConnectSeconds);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(CURLOPT_BUFFERSIZE, 128L << 10);
  set(CURLOPT_HTTPHEADER, headers);
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  if (std::optional<std::string> proxy = proxy_for(*parts)) set(CURLOPT_PROXY, proxy->c_str());
  // The library, unlike the curl program, does not read these.
  if (const char* file = environment("SSL_CERT_FILE", "SSL_CERT_FILE")) set(CURLOPT_CAINFO, file);
  if (const char* dir = environment("SSL_CERT_DIR", "SSL_CERT_DIR")) set(CURLOPT_CAPATH, dir);
  if (method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (with_body) {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
    set(CURLOPT_POSTFIELDS, request_.body.c_str());
  }
  if (method != "GET" && method != "HEAD") set(CURLOPT_CUSTOMREQUEST, method.c_str());
  if (failed != CURLE_OK)
    return Error(ErrorKind::kUnsupported,
                 std::string("libcurl refuses an option: ") + api_.easy_strerror(failed));
  return {};
}

// The multi interface, because a stop request can wake it.
Result<CURLcode> Transfer::drive(CURL* easy) {
  CurlMulti multi(api_.multi_init(), CurlMultiDeleter{&api_});
  if (!multi) return Error(ErrorKind::kInternal, "curl_multi_init failed");
  std::stop_callback wake(stop_, [&] { api_.multi_wakeup(multi.get()); });
  CURLMcode code = api_.multi_add_handle(multi.get(), easy);
  Result<CURLcode> result = CURLE_OK;
  for (int running = 1; code == CURLM_OK && running > 0;) {
    if (stop_.stop_requested()) {
      result = Error(ErrorKind::kCancelled, "cancelled");
      break;
    }
    code = api_.multi_perform(multi.get(), &running);
    if (code == CURLM_OK && running > 0)
      code = api_.multi_poll(multi.get(), nullptr, 0, 1000, nullptr);
  }
  int left = 0;
  while (CURLMsg* message = api_.multi_info_read(multi.get(), &left))
    if (message->msg == CURLMSG_DONE && result) result = message->data.result;
  api_.multi_remove_handle(multi.get(), easy);
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

Result<void> Transfer::verdict(CURL* easy, CURLcode code, const std::string& url) {
  if (error_) return *error_;
  if (code != CURLE_OK && !ended_early_) {
    std::string why = message_[0] ? message_ : api_.easy_strerror(code);
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
      return Error(ErrorKind::kInvalid, why);
    if (code == CURLE_OUT_OF_MEMORY) return Error(ErrorKind::kIo, why);
    return Error(ErrorKind::kNetwork, why).hint(hint_for(code));
  }
  response.effective_url = url;
  char* next = nullptr;
  if (is_redirect(response.status) &&
      api_.easy_getinfo(easy, CURLINFO_REDIRECT_URL, &next) == CURLE_OK && next)
    redirect_url = next;
  if (redirect_url.empty() && !ended_early_) wanted();  // told even when the body is empty
  return {};
}

Result<void> Transfer::run(const std::string& url, const std::string& method,
                           const std::vector<std::string>& headers, bool with_body) {
  CurlEasy easy(api_.easy_init(), CurlDeleter{&api_});
  if (!easy) return Error(ErrorKind::kInternal, "curl_easy_init failed");
  CurlList list(nullptr, CurlDeleter{&api_});
  // POST bodies: no "100 Continue" round trip, and no form type that nobody asked for.
  std::vector<std::string> lines = headers;
  if (with_body) lines.insert(lines.begin(), {"Expect:", "Content-Type:"});
  for (const std::string& line : lines) {
    curl_slist* grown = api_.slist_append(list.get(), line.c_str());
    if (!grown) return Error(ErrorKind::kInternal, "curl_slist_append failed");
    list.release();
    list.reset(grown);
  }
  TRY(configure(easy.get(), url, method, list.get(), with_body));
  CURLcode code = TRY(drive(easy.get()));
  return verdict(easy.get(), code, url);
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

void drop_credentials(std::vector<std::string>& headers) {
  std::erase_if(headers, [](const std::string& header) {
    std::string name = lower(trim(std::string_view(header).substr(0, header.find(':'))));
    return name == "authorization" || name == "cookie" || name == "proxy-authorization";
  });
}

// What differs from hop to hop.
struct Hop {
  std::string url;
  std::string method;
  std::vector<std::string> headers;
  bool with_body = false;
};

Result<void> follow(Hop& hop, const Transfer& transfer) {
  std::optional<UrlParts> from = split_url(hop.url), to = split_url(transfer.redirect_url);
  if (!to)
    return Error(ErrorKind::kNetwork, "the server redirects to \"" +
                                          redact_url(transfer.redirect_url.substr(0, 200)) +
                                          "\", which is not an http or https URL");
  if (!from || !same_origin(*from, *to)) drop_credentials(hop.headers);
  int status = transfer.response.status;
  bool to_get = status == 303 ? hop.method != "HEAD" : status <= 302 && hop.method == "POST";
  if (to_get) {
    hop.method = "GET";
    hop.with_body = false;
    std::erase_if(hop.headers, [](const std::string& header) {
      return lower(header).starts_with("content-");
    });
  }
  hop.url = transfer.redirect_url;
  return {};
}

}  // namespace

Result<HttpResponse> http_fetch(const HttpRequest& request, ByteSink& out, std::stop_token stop,
                                const HttpProgress& progress) {
  std::string frame = request.method + " " + redact_url(request.url);
  if (!split_url(request.url))
    return Error(ErrorKind::kInvalid, "not an http or https URL: " + redact_url(request.url.substr(0, 200)));
  if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled").context(frame);
  TRY_CONTEXT(check_headers(request.headers), frame);
  const CurlApi* api = TRY_CONTEXT(curl_api(), frame);
  Hop hop{request.url, request.method, request.headers, !request.body.empty() || request.method == "POST"};
  for (int redirects = 0;; ++redirects) {
    Transfer transfer(*api, request, out, stop, progress);
    Result<void> ran = transfer.run(hop.url, hop.method, hop.headers, hop.with_body);
    if (!ran && redirects > 0)
      return std::move(ran.error()).context("redirected to " + redact_url(hop.url)).context(frame);
    TRY_CONTEXT(std::move(ran), frame);
    if (transfer.redirect_url.empty()) return std::move(transfer.response);
    if (redirects >= request.max_redirects)
      return Error(ErrorKind::kNetwork, "the server redirects more than " +
                                            std::to_string(request.max_redirects) + " times")
          .hint("ask the server's owner; the URLs may form a circle")
          .context(frame);
    TRY_CONTEXT(follow(hop, transfer), frame);
  }
}

}  // namespace kasane::net
