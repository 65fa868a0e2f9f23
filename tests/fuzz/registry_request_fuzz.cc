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
#include "serve/body_decoder.h"
#include "serve/digest.h"
#include "serve/range.h"
#include "serve/request_parser.h"
#include "serve/request_target.h"

namespace {

using kasane::fuzz::require;
using kasane::serve::BodyDecoder;

struct Decoded {
  std::string body;
  bool failed = false;
  bool done = false;
  size_t rest = 0;
};

Decoded decode(BodyDecoder decoder, std::string_view input, size_t step, size_t room) {
  Decoded out;
  std::vector<uint8_t> buffer(room);
  while (!decoder.done() && !input.empty()) {
    BodyDecoder::Piece piece = decoder.decode(input.substr(0, step), buffer);
    out.body.append(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(piece.produced));
    out.failed = !piece.error.empty();
    if (out.failed) return out;
    require(piece.consumed > 0, "it goes on");
    input.remove_prefix(piece.consumed);
  }
  out.done = decoder.done();
  out.rest = input.size();
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
  kasane::serve::ParsedHead parsed = kasane::serve::parse_head(head);
  if (parsed.bad) return 0;
  check_target(parsed.request.target);
  BodyDecoder decoder =
      parsed.chunked ? BodyDecoder::chunked()
                     : BodyDecoder::of_length(parsed.request.content_length.value_or(0));
  Decoded whole = decode(decoder, rest, rest.size() + 1, 4096);
  Decoded pieces = decode(decoder, rest, 1, 3);
  require(whole.failed == pieces.failed && whole.done == pieces.done && whole.rest == pieces.rest &&
              whole.body == pieces.body,
          "nothing depends on where the network cuts");
  return 0;
}
