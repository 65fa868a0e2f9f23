// The head of one HTTP answer, read strictly: two programs that read one answer differently can
// be played off against each other (R24), so what may be read in two ways is refused.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "net/http.h"

namespace kasane::net {

class ResponseHead {
 public:
  // max_bytes: of all heads of one answer, interim ones (1xx) and trailers included.
  ResponseHead(HttpResponse& response, uint64_t max_bytes)
      : response_(response), max_bytes_(max_bytes) {}

  // The next line as it came, with its line end: status line, header, empty line, trailer. kLimit
  // for too much; kNetwork for folded headers, names that are no tokens, NUL bytes, lengths that
  // are not digits, two lengths, a length beside chunks.
  Result<void> take(std::string_view line);
  // The empty line behind the headers of a final answer has come.
  bool complete() const { return complete_; }

 private:
  Result<void> header(std::string_view line);
  Result<void> keep(const std::string& name, std::string_view value);

  HttpResponse& response_;
  uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  bool inside_ = false;  // behind a status line
  bool complete_ = false;
};

// Without white space and line ends around it.
std::string_view trim_header(std::string_view text);

}  // namespace kasane::net
