// Any bytes as an image reference, digest, platform and time. Oracle: parse → print →
// parse gives the same.
#include <string>
#include <string_view>

#include "input.h"
#include "oci/digest.h"
#include "oci/image_config.h"
#include "oci/platform.h"
#include "oci/reference.h"

using namespace kasane;
using kasane::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  if (auto reference = oci::Reference::parse(text)) {
    auto again = oci::Reference::parse(reference->canonical());
    require(again.has_value(), "round trip");
    require(again->canonical() == reference->canonical(), "round trip");
    // The familiar form may mean something else (docker.io/a.b/c → a.b/c), as docker's does.
    require(!reference->familiar().empty(), "round trip");
  }
  oci::familiar(text);
  if (auto digest = oci::parse_sha256(text)) require(digest->str() == text, "round trip");
  if (auto platform = oci::Platform::parse(text)) {
    auto again = oci::Platform::parse(platform->str());
    require(again.has_value(), "round trip");
    require(*again == *platform, "round trip");
  }
  if (auto time = oci::parse_time(text))
    require(oci::parse_time(oci::format_time(*time)) == time, "round trip");
  return 0;
}
