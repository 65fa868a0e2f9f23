// The registry's side of a connection: a head, its body cut at two different places, and the
// texts in it that are ours to read. Malformed input gives an error, the body does not depend
// on where it was cut, and nothing that names a path leaves the grammar.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "input.h"
#include "oci/reference.h"
#include "serve/digest.h"
#include "serve/range.h"
#include "serve/request_parser.h"
#include "serve/request_target.h"

namespace {

using kasane::fuzz::require;
using kasane::serve::RequestParser;

struct Decoded {
  std::string body;
  bool failed = false;
  bool done = false;
};

Decoded decode(std::string_view head, std::string_view input, size_t step, size_t room) {
  RequestParser parser;
  Decoded out;
  if (parser.parse_head(head).bad) {
    out.failed = true;
    return out;
  }
  std::string pending;
  std::vector<uint8_t> buffer(room);
  while (!parser.done()) {
    RequestParser::Piece piece = parser.parse_body(pending, buffer);
    out.body.append(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(piece.produced));
    pending.erase(0, piece.consumed);
    if (!piece.error.empty()) {
      out.failed = true;
      return out;
    }
    if (piece.consumed > 0 || piece.produced > 0 || piece.done) continue;
    if (input.empty() || pending.size() > kasane::serve::kMaxHead) return out;
    size_t n = std::min(step, input.size());
    pending += input.substr(0, n);
    input.remove_prefix(n);
  }
  out.done = true;
  return out;
}

void check_target(std::string_view target) {
  kasane::serve::Route route = kasane::serve::parse_target(target);
  if (route.valid_name)
    require(kasane::oci::is_repository_name(route.name) &&
                route.name.find("..") == std::string::npos && route.name[0] != '/' &&
                route.name[0] != '_' && route.name.find("/_") == std::string::npos,
            "names stay inside");
  if (auto digest = kasane::serve::ContentDigest::parse(route.reference))
    require(digest->str() == route.reference && digest->hex.find('/') == std::string::npos,
            "digests are what they were");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  size_t length = kasane::serve::head_length(text);
  (void)kasane::serve::cannot_be_http(text);
  if (length == 0) {
    check_target(text);
    auto range = kasane::serve::choose_range(text, 1000);
    if (range.kind == kasane::serve::RangeAnswer::Kind::kPart)
      require(range.part.last < 1000 && range.part.first <= range.part.last, "ranges are inside");
    if (auto part = kasane::serve::parse_upload_range(text))
      require(part->first <= part->last, "ranges are not empty");
    (void)kasane::serve::etag_matches(text, "\"x\"");
    return 0;
  }
  std::string_view head = text.substr(0, length), rest = text.substr(length);
  kasane::serve::RequestParser parser;
  kasane::serve::ParsedHead parsed = parser.parse_head(head);
  if (parsed.bad) return 0;
  check_target(parsed.request.target);
  Decoded whole = decode(head, rest, rest.size() + 1, 4096);
  Decoded pieces = decode(head, rest, 1, 3);
  // A malformed body may show earlier in one than in the other, but two clean ends are equal.
  require(whole.done == pieces.done, "the end does not depend on the cut");
  if (whole.done) require(whole.body == pieces.body, "the body does not depend on the cut");
  return 0;
}
