// Any bytes as an image config, manifest and index. Oracle: what is accepted is written in
// a form that is accepted again and written the same way.
#include <string_view>

#include "input.h"
#include "oci/image_config.h"
#include "oci/json.h"
#include "oci/manifest.h"

using namespace kasane;
using kasane::fuzz::require;

namespace {

template <class Document>
void check(std::string_view text) {
  Result<Document> document = Document::parse(text);
  if (!document) return;
  std::string written = document->serialize();
  if (written.size() > oci::Json::kMaxBytes) return;  // escapes can make it longer
  Result<Document> again = Document::parse(written);
  require(again.has_value(), "written document is refused");
  require(again->serialize() == written, "written document changes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  check<oci::ImageConfig>(text);
  check<oci::Manifest>(text);
  check<oci::Index>(text);
  return 0;
}
