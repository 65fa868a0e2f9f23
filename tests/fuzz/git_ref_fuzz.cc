// Any bytes as a git source. Oracle: what is accepted can be no option and leaves no tree.
#include <string_view>

#include "input.h"
#include "net/git_ref.h"

using namespace kasane;
using kasane::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  bool looks = net::looks_like_git_context(text);
  require(looks || !net::looks_like_git(text), "contexts allow more");
  Result<net::GitRef> ref = net::parse_git_ref(text);
  if (!ref) return 0;
  require(looks, "only git forms are parsed");
  require(!ref->remote.starts_with('-') && !ref->ref.starts_with('-'), "options");
  require(!ref->subdir.starts_with('/') && !ref->subdir.starts_with("../") && ref->subdir != ".." &&
              ref->subdir.find("/../") == std::string::npos && !ref->subdir.ends_with("/.."),
          "subdir stays inside");
  return 0;
}
