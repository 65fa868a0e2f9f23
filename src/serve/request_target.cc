#include "serve/request_target.h"

#include <algorithm>

#include "base/text.h"
#include "oci/reference.h"

namespace kasane::serve {
namespace {

constexpr std::string_view kNul("\0", 1);

// No NUL goes on from here, whichever way it was written.
std::optional<std::string> decode(std::string_view text) {
  std::optional<std::string> out = percent_decode(text);
  if (out && out->find(kNul) != std::string::npos) out.reset();
  return out;
}

// '+' is a space in query strings only.
std::optional<std::string> decode_query(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return decode(spaced);
}

Query parse_query(std::string_view text) {
  Query out;
  while (!text.empty()) {
    size_t end = text.find('&');
    std::string_view item = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (item.empty()) continue;
    size_t equals = item.find('=');
    auto name = decode_query(item.substr(0, equals));
    auto value = decode_query(
        equals == std::string_view::npos ? std::string_view() : item.substr(equals + 1));
    if (name && value) out.emplace_back(std::move(*name), std::move(*value));
  }
  return out;
}

// Splits "<name>/<last>" off the end of `path`; the part before `name` stays.
std::pair<std::string_view, std::string_view> split_last(std::string_view path) {
  size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {std::string_view(), path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// `path` is what follows "/v2/".
void parse_repository_path(std::string_view path, Route& out) {
  using Kind = Route::Kind;
  auto set = [&](Kind kind, std::string_view name, std::string_view reference) {
    if (name.empty()) return;
    out.kind = kind;
    out.name = name;
    out.valid_name = oci::is_repository_name(name);
    out.reference = reference;
  };
  // The last words decide, so that a repository may be called "a/tags/list".
  auto [before_last, last] = split_last(path);
  auto [before, word] = split_last(before_last);
  if (word == "manifests") return set(Kind::kManifest, before, last);
  if (word == "referrers") return set(Kind::kReferrers, before, last);
  if (word == "tags" && last == "list") return set(Kind::kTags, before, {});
  if (word == "blobs" && last == "uploads") return set(Kind::kUploads, before, {});
  if (word == "uploads") {
    auto [name, blobs] = split_last(before);
    if (blobs == "blobs") return set(last.empty() ? Kind::kUploads : Kind::kUpload, name, last);
  }
  if (word == "blobs") return set(Kind::kBlob, before, last);
}

}  // namespace

const std::string* find_parameter(const Query& query, std::string_view name) {
  for (const auto& [key, value] : query)
    if (key == name) return &value;
  return nullptr;
}

Route parse_target(std::string_view target) {
  Route out;
  size_t question = target.find('?');
  if (question != std::string_view::npos) out.query = parse_query(target.substr(question + 1));
  auto path = decode(target.substr(0, question));
  if (!path) return out;
  if (*path == "/v2" || *path == "/v2/") {
    out.kind = Route::Kind::kBase;
  } else if (*path == "/v2/_catalog") {
    out.kind = Route::Kind::kCatalog;
  } else if (path->starts_with("/v2/")) {
    parse_repository_path(std::string_view(*path).substr(4), out);
  }
  return out;
}

}  // namespace kasane::serve
