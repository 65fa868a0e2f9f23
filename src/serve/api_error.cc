#include "serve/api_error.h"

#include <fmt/format.h>

#include "base/text.h"
#include "oci/json.h"

namespace kasane::serve {

Response api_error(int status, std::string_view code, std::string_view message,
                   std::string_view detail) {
  Response response;
  response.status = status;
  response.set("Content-Type", "application/json");
  response.body = "{\"errors\":[{\"code\":";
  oci::write_json_string(response.body, code);
  response.body += ",\"message\":";
  oci::write_json_string(response.body, message);
  if (!detail.empty()) {
    response.body += ",\"detail\":";
    oci::write_json_string(response.body, detail.substr(0, 500));
  }
  response.body += "}]}\n";
  return response;
}

Response not_allowed(std::string_view methods) {
  Response response = api_error(405, "UNSUPPORTED", "the operation is not supported here");
  response.set("Allow", std::string(methods));
  return response;
}

void set_next_page(Response& response, std::string_view path, std::string_view n,
                   std::string_view last, std::string_view more) {
  response.set("Link", fmt::format("<{}?{}{}last={}>; rel=\"next\"", path,
                                   n.empty() ? std::string() : fmt::format("n={}&", n), more,
                                   percent_encode(last, "/:")));
}

}  // namespace kasane::serve
