// What --cache-to says.
#include <charconv>

#include "base/csv.h"
#include "base/diagnostic.h"
#include "build/step_cache.h"

namespace kasane::build {
namespace {

std::string quote(std::string_view value) { return '"' + std::string(value) + '"'; }

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

Result<Compression> compression_named(const std::string& value) {
  if (value == "gzip") return Compression::kGzip;
  if (value == "zstd") return Compression::kZstd;
  if (value == "uncompressed") return Compression::kNone;
  return invalid("--cache-to: unsupported compression " + quote(value)).hint("use gzip, zstd or uncompressed");
}

Result<int> level_of(const std::string& value) {
  int level = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), level);
  if (error != std::errc() || end != value.data() + value.size() || level < 0 || level > 22)
    return invalid("--cache-to: invalid compression level " + quote(value)).hint("use a number from 0 to 22");
  return level;
}

Result<bool> switch_of(const std::string& key, const std::string& value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return invalid("--cache-to: " + key + "=" + value + " is neither true nor false");
}

// `type` and `ref` as well; what the kind does not know is an error of the user's.
Result<void> set_option(CacheExport& target, const std::string& key, const std::string& value) {
  if (key == "dest")
    target.directory = value;
  else if (key == "ref")
    target.reference = value;
  else if (key == "mode" && (value == "min" || value == "max"))
    target.all_steps = value == "max";
  else if (key == "mode")
    return invalid("invalid cache mode " + quote(value)).hint("use mode=min or mode=max");
  else if (key == "ignore-error")
    target.ignore_error = TRY(switch_of(key, value));
  else if (key == "reset")
    target.reset = TRY(switch_of(key, value));
  else if (key == "compression")
    target.compression = TRY(compression_named(value));
  else if (key == "compression-level")
    target.level = TRY(level_of(value));
  // Artifacts are OCI image manifests whatever these say.
  else if (key == "oci-mediatypes" || key == "image-manifest")
    TRY(switch_of(key, value));
  return {};
}

}  // namespace

Result<CacheExport> parse_cache_export(const std::string& argument) {
  CacheExport target;
  std::string type;
  if (argument.find('=') == std::string::npos) {
    type = argument == "inline" ? "inline" : "registry";
    if (type == "registry") target.reference = argument;
  } else {
    auto pairs = TRY_CONTEXT(split_csv_pairs(argument), "--cache-to");
    for (const auto& [key, value] : pairs)
      if (key == "type")
        type = value;
      else
        TRY(set_option(target, key, value));
  }
  if (type == "inline") {
    target.kind = CacheExport::Kind::kInline;
  } else if (type == "registry") {
    target.kind = CacheExport::Kind::kRegistry;
    if (target.reference.empty()) return invalid("--cache-to type=registry: no ref");
    oci::Reference reference = TRY_CONTEXT(oci::Reference::parse(target.reference), "--cache-to");
    if (!reference.digest.empty())
      return invalid("--cache-to: " + quote(target.reference) + " has a digest, which nothing can be written to")
          .hint("name a repository, for example ref=registry.example/app/cache");
  } else if (type == "local") {
    if (target.directory.empty()) return invalid("--cache-to type=local: no dest");
  } else {
    return Error(ErrorKind::kUnsupported, "cache target of type " + quote(type) + " is not supported")
        .hint("use type=registry,ref=REPOSITORY, type=local,dest=DIR or type=inline");
  }
  return target;
}

}  // namespace kasane::build
