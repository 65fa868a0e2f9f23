// What -o and --annotation say (reference O01-O09, T05): buildx' util/buildflags/export.go and
// the attributes of BuildKit's exporters.
#include <algorithm>
#include <charconv>
#include <climits>
#include <filesystem>
#include <functional>
#include <span>

#include "base/text.h"
#include "oci/reference.h"
#include "transfer/outputs.h"

namespace kasane::transfer {
namespace {

using Kind = ExportOptions::Kind;
using Fields = std::vector<std::string>;

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

// ---- near names

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, changed});
    }
  }
  return row[b.size()];
}

// " (did you mean X?)" or "".
std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
  constexpr size_t kMaxWord = 64;  // longer words are no typing mistakes
  std::string_view best;
  size_t best_distance = word.size() <= 4 ? 2 : 4;  // exclusive
  if (word.size() > kMaxWord) return {};
  for (std::string_view candidate : known) {
    const size_t distance = edit_distance(word, candidate);
    if (distance >= best_distance) continue;
    best = candidate;
    best_distance = distance;
  }
  return best.empty() ? std::string() : " (did you mean " + std::string(best) + "?)";
}

// ---- CSV (RFC 4180, one record, as Go's encoding/csv with default settings)

Result<Fields> split_csv(std::string_view text) {
  Fields fields;
  for (size_t i = 0;;) {
    std::string field;
    if (i < text.size() && text[i] == '"') {
      for (++i;; ++i) {
        if (i >= text.size()) return invalid("a quote (\") is not closed");
        if (text[i] != '"') {
          field += text[i];
        } else if (i + 1 < text.size() && text[i + 1] == '"') {
          field += text[i++];
        } else {
          break;
        }
      }
      if (++i < text.size() && text[i] != ',')
        return invalid("a comma must follow the closing quote (\")");
    } else {
      while (i < text.size() && text[i] != ',') {
        if (text[i] == '"')
          return invalid("a quote (\") stands inside a field; quote the whole field instead: "
                         "\"key=a,b\"");
        field += text[i++];
      }
    }
    fields.push_back(std::move(field));
    if (i >= text.size()) return fields;
    ++i;
  }
}

// ---- values

std::string lower_trimmed(std::string_view text) {
  const auto space = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return ascii_lower(text);
}

// Go's strconv.ParseBool.
Result<bool> parse_bool(std::string_view key, std::string_view value) {
  for (std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (value == yes) return true;
  for (std::string_view no : {"0", "f", "F", "false", "FALSE", "False"})
    if (value == no) return false;
  return invalid(std::string(key) + "=" + std::string(value) + ": must be true or false");
}

template <class Number>
Result<Number> parse_number(std::string_view key, std::string_view value) {
  Number number{};
  const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (code != std::errc() || end != value.data() + value.size())
    return invalid(std::string(key) + "=" + std::string(value) + ": must be a whole number");
  return number;
}

Result<std::vector<std::string>> parse_names(std::string_view value) {
  std::vector<std::string> names;
  while (!value.empty()) {
    const size_t end = std::min(value.find(','), value.size());
    const std::string_view name = value.substr(0, end);
    const oci::Reference reference =
        TRY_CONTEXT(oci::Reference::parse(name), "name=" + std::string(name));
    std::string canonical = reference.with_default_tag().canonical();
    if (std::find(names.begin(), names.end(), canonical) == names.end())
      names.push_back(std::move(canonical));
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return names;
}

Result<Compression> parse_compression(std::string_view value) {
  static constexpr std::string_view kKnown[] = {"uncompressed", "gzip", "zstd"};
  if (value == "uncompressed") return Compression::kNone;
  if (value == "gzip") return Compression::kGzip;
  if (value == "zstd") return Compression::kZstd;
  if (value == "estargz")
    return Error(ErrorKind::kUnsupported, "compression=estargz is not supported")
        .hint("gzip, zstd and uncompressed are; every tool reads gzip");
  return invalid("compression=" + std::string(value) + " is not known" +
                 suggestion(value, kKnown))
      .hint("gzip, zstd and uncompressed are");
}

// ---- attributes

// Which outputs know an attribute.
enum : unsigned { kOnLocal = 1, kOnTar = 2, kOnOci = 4, kOnDocker = 8, kOnImage = 16 };
constexpr unsigned kOnFiles = kOnLocal | kOnTar;
constexpr unsigned kOnImages = kOnOci | kOnDocker | kOnImage;

unsigned bit_of(Kind kind) {
  switch (kind) {
    case Kind::kLocal: return kOnLocal;
    case Kind::kTar: return kOnTar;
    case Kind::kOci: return kOnOci;
    case Kind::kDocker: return kOnDocker;
    case Kind::kImage: return kOnImage;
    case Kind::kCacheOnly: break;
  }
  return 0;
}

struct Attribute {
  std::string_view name;
  unsigned kinds;
  Result<void> (*set)(ExportOptions& out, std::string_view key, std::string_view value);
};

#define KASANE_BOOL(member)                                                                   \
  [](ExportOptions& out, std::string_view key, std::string_view value) -> Result<void> {      \
    out.member = TRY(parse_bool(key, value));                                                 \
    return {};                                                                                \
  }
Result<void> set_other(ExportOptions& out, std::string_view key, std::string_view value) {
  out.other[std::string(key)] = value;
  return {};
}
Result<void> set_other_bool(ExportOptions& out, std::string_view key, std::string_view value) {
  TRY(parse_bool(key, value));
  return set_other(out, key, value);
}
Result<void> set_names(ExportOptions& out, std::string_view key, std::string_view value) {
  if (value == "*") return set_other(out, key, value);
  out.names = TRY(parse_names(value));
  return {};
}
Result<void> set_compression(ExportOptions& out, std::string_view, std::string_view value) {
  out.compression = TRY(parse_compression(value));
  return {};
}
Result<void> set_level(ExportOptions& out, std::string_view key, std::string_view value) {
  out.level = TRY(parse_number<int>(key, value));
  return {};
}
Result<void> set_epoch(ExportOptions& out, std::string_view key, std::string_view value) {
  if (value.empty()) return {};
  out.epoch = TRY(parse_number<int64_t>(key, value));
  if (*out.epoch < 0) return invalid(std::string(key) + " is before 1970");
  return {};
}
Result<void> set_prefix(ExportOptions& out, std::string_view key, std::string_view value) {
  if (value.find('/') != std::string_view::npos || value.find('\0') != std::string_view::npos)
    return invalid(std::string(key) + " must not hold '/'");
  out.attestation_prefix = value;
  return {};
}
Result<void> set_mode(ExportOptions& out, std::string_view, std::string_view value) {
  if (value != "copy" && value != "delete" && !value.empty())
    return invalid("mode=" + std::string(value) + " is not known").hint("copy and delete are");
  out.local_delete = value == "delete";
  return {};
}
Result<void> set_tar(ExportOptions& out, std::string_view key, std::string_view value) {
  out.tar = value.empty() || TRY(parse_bool(key, value));
  return {};
}

constexpr Attribute kAttributes[] = {
    {"tar", kOnOci | kOnDocker, set_tar},
    {"name", kOnImages, set_names},
    {"compression", kOnImages, set_compression},
    {"compression-level", kOnImages, set_level},
    {"force-compression", kOnImages, KASANE_BOOL(force_compression)},
    {"oci-mediatypes", kOnImages, KASANE_BOOL(oci_media_types)},
    {"oci-artifact", kOnImages, KASANE_BOOL(oci_artifact)},
    {"rewrite-timestamp", kOnImages, KASANE_BOOL(rewrite_timestamp)},
    {"source-date-epoch", kOnImages | kOnFiles, set_epoch},
    {"attestation-inline", kOnImages, set_other_bool},
    {"prefer-nondist-layers", kOnImages, set_other_bool},
    {"buildinfo", kOnImages, set_other},
    {"buildinfo-attrs", kOnImages, set_other},
    {"context", kOnDocker, set_other},
    {"platform-split", kOnFiles, KASANE_BOOL(platform_split)},
    {"attestation-prefix", kOnFiles, set_prefix},
    {"mode", kOnLocal, set_mode},
    {"push", kOnImage, KASANE_BOOL(push)},
    {"push-by-digest", kOnImage, KASANE_BOOL(push_by_digest)},
    {"registry.insecure", kOnImage, KASANE_BOOL(insecure_registry)},
    {"unpack", kOnImage, set_other_bool},
    {"store", kOnImage, set_other_bool},
    {"name-canonical", kOnImage, set_other_bool},
    {"dangling-name-prefix", kOnImage, set_other},
    {"danging-name-empty-only", kOnImage, set_other_bool},  // BuildKit's spelling
};
#undef KASANE_BOOL

Result<Annotation::Type> parse_annotation_type(std::string_view text) {
  static constexpr std::string_view kKnown[] = {"manifest", "manifest-descriptor", "index",
                                                "index-descriptor"};
  if (text == "manifest") return Annotation::Type::kManifest;
  if (text == "manifest-descriptor") return Annotation::Type::kManifestDescriptor;
  if (text == "index") return Annotation::Type::kIndex;
  if (text == "index-descriptor") return Annotation::Type::kIndexDescriptor;
  return invalid("unknown annotation type \"" + std::string(text) + "\"" +
                 suggestion(text, kKnown))
      .hint("manifest, manifest-descriptor, index and index-descriptor are known");
}

// "type" or "type[platform]".
Result<Annotation> parse_annotation_target(std::string_view text) {
  Annotation out;
  std::string_view platform;
  if (const size_t open = text.find('['); open != std::string_view::npos) {
    if (!text.ends_with(']') || open + 2 >= text.size())
      return invalid("invalid annotation type \"" + std::string(text) +
                     "\", expected type and optional platform in square brackets");
    platform = text.substr(open + 1, text.size() - open - 2);
    text = text.substr(0, open);
  }
  out.type = TRY(parse_annotation_type(text));
  if (!platform.empty()) out.platform = TRY(oci::Platform::parse(platform));
  return out;
}

// annotation.key=v, annotation-index.key=v, annotation-manifest[linux/amd64].key=v
Result<bool> take_annotation(ExportOptions& out, std::string_view key, std::string_view value) {
  constexpr std::string_view kPrefix = "annotation";
  if (!key.starts_with(kPrefix)) return false;
  std::string_view rest = key.substr(kPrefix.size());
  if (rest.empty() || (rest[0] != '.' && rest[0] != '-' && rest[0] != '[')) return false;
  const size_t bracket = rest.find(']');
  const size_t dot = rest.find('.', rest.find('[') < rest.find('.') && bracket != rest.npos
                                        ? bracket
                                        : 0);
  if (dot == std::string_view::npos || dot + 1 == rest.size())
    return invalid(std::string(key) + ": an annotation attribute is annotation[-type][[platform]].key");
  std::string target(rest.substr(0, dot));
  if (target.starts_with('-'))
    target.erase(0, 1);
  else
    target.insert(0, "manifest");
  Annotation annotation = TRY(parse_annotation_target(target));
  annotation.key = rest.substr(dot + 1);
  annotation.value = value;
  out.annotations.push_back(std::move(annotation));
  return true;
}

Result<void> set_attribute(ExportOptions& out, std::string_view key, std::string_view value) {
  if ((bit_of(out.kind) & kOnImages) != 0 && TRY(take_annotation(out, key, value))) return {};
  std::vector<std::string_view> fitting{"type", "dest"};
  for (const Attribute& attribute : kAttributes) {
    if ((attribute.kinds & bit_of(out.kind)) == 0) continue;
    if (attribute.name == key) return attribute.set(out, key, value);
    fitting.push_back(attribute.name);
  }
  std::string message =
      "type=" + std::string(kind_name(out.kind)) + " has no attribute " + std::string(key);
  for (const Attribute& attribute : kAttributes)
    if (attribute.name == key) return invalid(message + "; it belongs to other outputs");
  return invalid(message + suggestion(key, fitting));
}

struct KindName {
  std::string_view name;
  Kind kind;
};
constexpr KindName kKinds[] = {{"local", Kind::kLocal},   {"tar", Kind::kTar},
                               {"oci", Kind::kOci},       {"docker", Kind::kDocker},
                               {"image", Kind::kImage},   {"registry", Kind::kImage},
                               {"cacheonly", Kind::kCacheOnly}};

Result<void> set_kind(ExportOptions& out, std::string_view type) {
  std::vector<std::string_view> names;
  for (const KindName& known : kKinds) {
    names.push_back(known.name);
    if (known.name != type) continue;
    out.kind = known.kind;
    if (type == "registry") {
      out.push = true;
      out.other["unpack"] = "false";
    }
    return {};
  }
  return invalid("output type \"" + std::string(type) + "\" is not known" +
                 suggestion(type, names))
      .hint("local, tar, oci, docker, image, registry and cacheonly are");
}

// Rules that hold between attributes.
Result<void> check(ExportOptions& out) {
  const std::string type = "type=" + std::string(kind_name(out.kind));
  const bool directory = out.kind == Kind::kLocal || (out.kind == Kind::kOci && !out.tar);
  if (out.kind == Kind::kDocker && !out.tar)
    return Error(ErrorKind::kUnsupported, "type=docker with tar=false is not supported")
        .hint("type=oci,tar=false,dest=DIR writes an OCI layout directory");
  if (directory && out.dest.empty()) return invalid("dest is required for " + type);
  if (directory && out.dest == "-")
    return invalid("dest cannot be stdout for " + type + ": it writes a directory");
  if ((out.kind == Kind::kImage || out.kind == Kind::kCacheOnly) && !out.dest.empty())
    return invalid(type + " takes no dest");
  if (out.dest.empty() && (out.kind == Kind::kTar || out.kind == Kind::kOci)) out.dest = "-";
  if (out.compression == Compression::kZstd && !out.oci_media_types)
    return invalid("compression=zstd conflicts with oci-mediatypes=false: docker's media types "
                   "know gzip only");
  if (out.level) {
    if (out.compression == Compression::kNone)
      return invalid("compression-level conflicts with compression=uncompressed");
    // BuildKit takes any number for zstd; ours are the library's.
    struct NullSink : ByteSink {
      Result<void> write(std::span<const uint8_t>) override { return {}; }
    } nowhere;
    TRY_CONTEXT(make_compressor(out.compression, nowhere, *out.level), "compression-level");
  }
  // Artifacts are an OCI thing: docker's media types imply the old form unless asked for.
  return {};
}

Result<ExportOptions> parse_fields(const Fields& fields) {
  std::vector<std::pair<std::string, std::string>> pairs;
  ExportOptions out;
  bool typed = false;
  bool artifact_asked = false;
  for (const std::string& field : fields) {
    const size_t equals = field.find('=');
    if (equals == std::string::npos)
      return invalid("\"" + field + "\" is not key=value")
          .hint("for example type=local,dest=out; a directory alone is short for that");
    const std::string key = lower_trimmed(std::string_view(field).substr(0, equals));
    std::string value = field.substr(equals + 1);
    if (value.find('\0') != std::string::npos) return invalid(key + " holds a NUL byte");
    if (key == "type") {
      TRY(set_kind(out, value));
      typed = true;
    } else if (key == "dest") {
      out.dest = std::move(value);
    } else {
      pairs.emplace_back(key, std::move(value));
    }
  }
  if (!typed) return invalid("type is required").hint("for example type=oci,dest=image.tar");
  for (const auto& [key, value] : pairs) {
    TRY(set_attribute(out, key, value));
    artifact_asked |= key == "oci-artifact" && out.oci_artifact;
  }
  if (!out.oci_media_types) {
    if (artifact_asked) return invalid("oci-artifact=true conflicts with oci-mediatypes=false");
    out.oci_artifact = false;
  }
  TRY(check(out));
  return out;
}

}  // namespace

std::string_view kind_name(Kind kind) {
  for (const KindName& known : kKinds)
    if (known.kind == kind) return known.name;
  return "?";
}

bool ExportOptions::to_stdout() const {
  return dest == "-" && (kind == Kind::kTar || kind == Kind::kOci || kind == Kind::kDocker);
}

Result<ExportOptions> parse_output(std::string_view text) {
  auto parse = [&]() -> Result<ExportOptions> {
    if (text.empty()) return invalid("the value is empty").hint("for example type=local,dest=out");
    if (text.size() > 64u << 10) return Error(ErrorKind::kLimit, "the value is too long");
    const Fields fields = TRY(split_csv(text));
    ExportOptions out;
    if (fields.size() == 1 && fields[0] == text && !text.starts_with("type=")) {
      // Like buildx: a lone word is a directory, whatever it holds.
      if (text.find('\0') != std::string_view::npos) return invalid("a path holds a NUL byte");
      out.kind = text == "-" ? Kind::kTar : Kind::kLocal;
      out.dest = text;
      return out;
    }
    return parse_fields(fields);
  };
  Result<ExportOptions> out = parse();
  if (!out) return std::move(out.error()).context("invalid output \"" + std::string(text) + "\"");
  return out;
}

Result<std::vector<Annotation>> parse_annotation(std::string_view text) {
  const std::string whole = "invalid annotation \"" + std::string(text) + "\"";
  const size_t equals = text.find('=');
  if (equals == std::string_view::npos) return invalid(whole + ", expected key=value");
  std::string_view key = text.substr(0, equals);
  const std::string_view value = text.substr(equals + 1);
  std::vector<Annotation> out;
  if (const size_t colon = key.find(':'); colon == std::string_view::npos) {
    out.emplace_back();
  } else {
    std::string_view types = key.substr(0, colon);
    key.remove_prefix(colon + 1);
    for (;;) {
      const size_t comma = types.find(',');
      out.push_back(TRY_CONTEXT(parse_annotation_target(types.substr(0, comma)), whole));
      if (comma == std::string_view::npos) break;
      types.remove_prefix(comma + 1);
    }
  }
  if (key.empty()) return invalid(whole + ": the key is empty");
  for (Annotation& annotation : out) {
    annotation.key = key;
    annotation.value = value;
  }
  return out;
}

Result<void> check_local_delete(const ExportOptions& options, bool allowed) {
  if (options.kind != Kind::kLocal || !options.local_delete || allowed) return {};
  std::error_code code;
  const std::filesystem::path here =
      std::filesystem::weakly_canonical(std::filesystem::current_path(code), code);
  const std::filesystem::path dest =
      std::filesystem::weakly_canonical(std::filesystem::absolute(options.dest, code), code);
  const std::filesystem::path relative = dest.lexically_relative(here);
  // A trailing slash makes an empty last component, which is still the directory itself.
  const std::string first = relative.empty() ? ".." : relative.begin()->string();
  if (!code && first != ".." && first != "." && !first.empty()) return {};
  return Error(ErrorKind::kInvalid, "local output mode=delete for destination \"" + options.dest +
                                        "\" requires --allow=buildx.local.delete")
      .hint("it deletes everything else in that directory, which is not below the current one");
}

}  // namespace kasane::transfer
