// Error answers of the distribution-spec: {"errors":[{"code","message","detail"}]}.
#pragma once

#include <string>
#include <string_view>

#include "serve/http.h"

namespace kasane::serve {

Response api_error(int status, std::string_view code, std::string_view message,
                   std::string_view detail = {});
Response not_allowed(std::string_view methods);  // 405

// A list's next page as "/path?n=..&last=..".
void set_next_page(Response& response, std::string_view path, std::string_view n,
                   std::string_view last, std::string_view more = {});

}  // namespace kasane::serve
