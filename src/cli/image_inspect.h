// The object that `inspect` shows of an image: API 1.50's shape (reference 1.5), and the
// two-step evaluation of templates on it. Used by `inspect` and `image inspect`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "cli/template/template.h"
#include "cli/template/value.h"
#include "store/store.h"

namespace kasane::cli {

struct InspectedImage {
  tmpl::Value typed;  // docker's structure; what a template sees first
  tmpl::Value wire;   // what the JSON output shows: member order and legacy members of the API
};

Result<InspectedImage> inspect_image(store::Store& store, const Sha256Digest& image);

// JSON decoded without types: maps, lists, json.Number. The second step of templates.
tmpl::Value untyped(const tmpl::Value& wire);

// Template step one on the structure, step two on the untyped JSON (reference 1.5).
Result<std::string> two_steps(const tmpl::Template& parsed, const InspectedImage& image);

// Prints what `names` refer to as one array, one compact array (format "json") or one line
// of the template each. `missing(name)` makes the sentence for an unknown one. Exit status 0,
// 1 (something is missing or a template failed) or 64 (template does not parse).
Result<int> inspect_images(Context& context, const std::vector<std::string>& names,
                           const std::string& format, const std::string& platform,
                           std::string (*missing)(const std::string& name, const Error& error));

}  // namespace kasane::cli
