// What templates of `imagetools inspect` see of an image: buildx's structure with Go's names, made
// from the documents of the registry.
#pragma once

#include <deque>
#include <stop_token>
#include <string>

#include "cli/template/value.h"
#include "oci/json.h"
#include "transfer/image_source.h"

namespace kasane::cli {

// Keeps the names that its values refer to: it must outlive them.
class RemoteView {
 public:
  // {{.Name}} {{.Manifest}} {{.Image}} {{.Provenance}} {{.SBOM}}; the last three are maps by platform when the
  // name is an index of several images. Configurations and statements are read when `with_content`.
  Result<tmpl::Value> make(const std::string& name, const registry::Document& document, transfer::ImageSource& source,
                           bool with_content, const std::stop_token& stop);

 private:
  struct Content;
  // JSON objects are structures, but for those that are maps in Go (annotations, Labels, ...).
  tmpl::Value typed(const oci::Json& json, std::string_view member = {});
  static tmpl::Value untyped_json(const oci::Json& json);
  Result<tmpl::Value> manifest(const registry::Document& document);
  std::string_view keep(std::string text) { return names_.emplace_back(std::move(text)); }
  std::deque<std::string> names_;
};

}  // namespace kasane::cli
