// Which endpoint of the distribution-spec a request's target names. Pure functions over
// untrusted text; names, references and ids come out checked or marked as bad.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kasane::serve {

// Decoded query parameters in their order.
using Query = std::vector<std::pair<std::string, std::string>>;
const std::string* find_parameter(const Query& query, std::string_view name);

struct Route {
  enum class Kind {
    kUnknown,    // 404
    kBase,       // /v2/
    kCatalog,    // /v2/_catalog
    kTags,       // /v2/<name>/tags/list
    kManifest,   // /v2/<name>/manifests/<reference>
    kBlob,       // /v2/<name>/blobs/<reference>
    kUploads,    // /v2/<name>/blobs/uploads/
    kUpload,     // /v2/<name>/blobs/uploads/<reference>
    kReferrers,  // /v2/<name>/referrers/<reference>
  };
  Kind kind = Kind::kUnknown;
  std::string name;       // as sent, decoded
  bool valid_name = false;  // in the grammar of repository names
  std::string reference;  // tag, digest or upload id: unchecked
  Query query;
};

Route parse_target(std::string_view target);

}  // namespace kasane::serve
