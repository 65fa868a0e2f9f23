// Downloads: redirects are followed here, so that credentials can be decided at each hop.
#include "net/http.h"

#include <algorithm>
#include <optional>

#include "base/text.h"
#include "net/http_exchange.h"
#include "net/url.h"

namespace kasane::net {
namespace {

std::string_view trim(std::string_view text) {
  size_t start = text.find_first_not_of(" \t\r\n");
  if (start == text.npos) return {};
  return text.substr(start, text.find_last_not_of(" \t\r\n") - start + 1);
}

void drop_credentials(std::vector<std::string>& headers) {
  std::erase_if(headers, [](const std::string& header) {
    std::string name = ascii_lower(trim(std::string_view(header).substr(0, header.find(':'))));
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

Result<void> follow(Hop& hop, const HttpAnswer& answer) {
  std::optional<UrlParts> from = split_url(hop.url), to = split_url(answer.redirect_url);
  if (!to)
    return Error(ErrorKind::kNetwork, "the server redirects to \"" +
                                          redact_url(answer.redirect_url.substr(0, 200)) +
                                          "\", which is not an http or https URL");
  if (!from || !same_origin(*from, *to)) drop_credentials(hop.headers);
  int status = answer.response.status;
  bool to_get = status == 303 ? hop.method != "HEAD" : status <= 302 && hop.method == "POST";
  if (to_get) {
    hop.method = "GET";
    hop.with_body = false;
    std::erase_if(hop.headers, [](const std::string& header) {
      return ascii_lower(header).starts_with("content-");
    });
  }
  hop.url = answer.redirect_url;
  return {};
}

}  // namespace

Result<HttpResponse> http_fetch(const HttpRequest& request, ByteSink& out, std::stop_token stop,
                                const HttpProgress& progress) {
  std::string frame = request.method + " " + redact_url(request.url);
  if (!split_url(request.url))
    return Error(ErrorKind::kInvalid, "not an http or https URL: " + redact_url(request.url.substr(0, 200)));
  if (stop.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled").context(frame);
  HttpConnections connections;
  Hop hop{request.url, request.method, request.headers, !request.body.empty() || request.method == "POST"};
  for (int redirects = 0;; ++redirects) {
    HttpExchange exchange;
    exchange.url = hop.url;
    exchange.method = hop.method;
    exchange.headers = hop.headers;
    exchange.body = hop.with_body ? &request.body : nullptr;
    exchange.max_body_bytes = request.max_body_bytes;
    exchange.want_body = request.want_body;
    Result<HttpAnswer> answer = http_exchange(&connections, exchange, out, stop, progress);
    if (!answer && redirects > 0)
      return std::move(answer.error()).context("redirected to " + redact_url(hop.url)).context(frame);
    if (!answer) return std::move(answer.error()).context(frame);
    if (answer->redirect_url.empty()) return std::move(answer->response);
    if (redirects >= request.max_redirects)
      return Error(ErrorKind::kNetwork, "the server redirects more than " +
                                            std::to_string(request.max_redirects) + " times")
          .hint("ask the server's owner; the URLs may form a circle")
          .context(frame);
    TRY_CONTEXT(follow(hop, *answer), frame);
  }
}

}  // namespace kasane::net
