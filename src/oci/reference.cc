#include "oci/reference.h"

#include <algorithm>

#include "oci/digest.h"

// Grammar and messages: distribution/reference (reference table 1.16).
namespace kasane::oci {
namespace {

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kLegacyDomain = "index.docker.io";
constexpr std::string_view kOfficial = "library/";
constexpr size_t kMaxRepository = 255;
constexpr size_t kMaxReference = 2048;  // all parts at their longest fit

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_lower(c) || is_upper(c) || is_digit(c); }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); }
bool has_upper(std::string_view text) { return std::any_of(text.begin(), text.end(), is_upper); }

bool all_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

bool is_label(std::string_view label) {
  if (label.empty() || !is_alnum(label.front()) || !is_alnum(label.back())) return false;
  return std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-'; });
}

// host [":" port]; host is labels or a bracketed IPv6 address.
bool is_domain(std::string_view text) {
  std::string_view host = text;
  std::string_view port;
  bool has_port = false;
  if (text.starts_with('[')) {
    size_t close = text.find(']');
    if (close == std::string_view::npos || close == 1) return false;
    std::string_view address = text.substr(1, close - 1);
    if (!std::all_of(address.begin(), address.end(), [](char c) {
          return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':';
        }))
      return false;
    std::string_view rest = text.substr(close + 1);
    return rest.empty() || (rest.starts_with(':') && all_digits(rest.substr(1)));
  }
  if (size_t colon = text.find(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (has_port && !all_digits(port)) return false;
  for (;;) {
    size_t dot = host.find('.');
    if (!is_label(host.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

// alnum (("." | "_" | "__" | "-"+) alnum)*
bool is_path_component(std::string_view text) {
  size_t i = 0;
  auto run = [&] {
    size_t start = i;
    while (i < text.size() && (is_lower(text[i]) || is_digit(text[i]))) ++i;
    return i > start;
  };
  if (!run()) return false;
  while (i < text.size()) {
    if (text[i] == '-') {
      while (i < text.size() && text[i] == '-') ++i;
    } else if (text[i] == '.') {
      ++i;
    } else if (text[i] == '_') {
      i += text.substr(i, 2) == "__" ? 2 : 1;
    } else {
      return false;
    }
    if (!run()) return false;
  }
  return true;
}

bool is_repository(std::string_view path) {
  for (;;) {
    size_t slash = path.find('/');
    if (!is_path_component(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool is_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128 || !(is_alnum(tag[0]) || tag[0] == '_')) return false;
  return std::all_of(tag.begin(), tag.end(),
                     [](char c) { return is_alnum(c) || c == '_' || c == '.' || c == '-'; });
}

// The digest part of the reference grammar, which is looser than a digest: the length is
// judged afterwards so that the message can tell.
bool is_reference_digest(std::string_view text) {
  size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string_view algorithm = text.substr(0, colon);
  std::string_view encoded = text.substr(colon + 1);
  if (!is_alnum(algorithm.front()) || is_digit(algorithm.front())) return false;
  if (!std::all_of(algorithm.begin(), algorithm.end(), [](char c) {
        return is_alnum(c) || c == '-' || c == '_' || c == '+' || c == '.';
      }))
    return false;
  return encoded.size() >= 32 && std::all_of(encoded.begin(), encoded.end(), [](char c) {
           return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
         });
}

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

Result<std::string> check_digest(std::string_view text) {
  if (is_digest(text)) {
    // Grammar alone is not enough: what cannot be verified is never named (R3).
    if (text.starts_with("sha256:") || text.starts_with("sha384:") || text.starts_with("sha512:"))
      return std::string(text);
    return invalid("unsupported digest algorithm");
  }
  std::string_view algorithm = text.substr(0, text.find(':'));
  bool known = algorithm == "sha256" || algorithm == "sha384" || algorithm == "sha512";
  if (!known) return invalid("unsupported digest algorithm");
  size_t expected = algorithm == "sha256" ? 64 : algorithm == "sha384" ? 96 : 128;
  return invalid(text.size() - algorithm.size() - 1 != expected ? "invalid checksum digest length"
                                                                : "invalid checksum digest format");
}

// splitDockerDomain of distribution/reference: what the first element means.
void split_domain(std::string_view text, std::string& domain, std::string& rest) {
  size_t slash = text.find('/');
  std::string_view first = text.substr(0, slash);
  domain = kDefaultDomain;
  rest = text;
  if (slash != std::string_view::npos) {
    if (first == kLegacyDomain) {
      rest = text.substr(slash + 1);
    } else if (first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
               has_upper(first)) {
      domain = first;
      rest = text.substr(slash + 1);
    }
  }
  if (domain == kDefaultDomain && rest.find('/') == std::string::npos)
    rest = std::string(kOfficial) + rest;
}

}  // namespace

Result<Reference> Reference::parse(std::string_view text) {
  if (text.size() > kMaxReference) return invalid("invalid reference format");
  if (text.size() == 64 && std::all_of(text.begin(), text.end(), is_hex))
    return invalid("invalid repository name (" + std::string(text) +
                   "), cannot specify 64-byte hexadecimal strings");
  Reference out;
  std::string rest;
  split_domain(text, out.domain, rest);
  if (std::string remote = rest.substr(0, rest.find(':')); has_upper(remote))
    return invalid("invalid reference format: repository name (" + remote + ") must be lowercase");

  std::string_view name = rest;
  std::string_view digest;
  if (size_t at = name.find('@'); at != std::string_view::npos) {
    digest = name.substr(at + 1);
    name = name.substr(0, at);
    if (!is_reference_digest(digest)) return invalid("invalid reference format");
  }
  if (size_t colon = name.find(':'); colon != std::string_view::npos) {
    out.tag = name.substr(colon + 1);
    name = name.substr(0, colon);
    if (!is_tag(out.tag)) return invalid("invalid reference format");
  }
  if (!is_domain(out.domain) || !is_repository(name)) return invalid("invalid reference format");
  if (name.size() > kMaxRepository)
    return invalid("repository name must not be more than 255 characters");
  out.repository = name;
  if (!digest.empty()) out.digest = TRY(check_digest(digest));
  return out;
}

Reference Reference::with_default_tag() const {
  Reference out = *this;
  if (out.tag.empty() && out.digest.empty()) out.tag = "latest";
  return out;
}

std::string Reference::canonical() const {
  std::string out = name();
  if (!tag.empty()) out += ":" + tag;
  if (!digest.empty()) out += "@" + digest;
  return out;
}

std::string Reference::familiar_name() const { return oci::familiar(name()); }
std::string Reference::familiar() const { return oci::familiar(canonical()); }

std::string familiar(std::string_view canonical) {
  if (!canonical.starts_with(kDefaultDomain) || canonical.size() <= kDefaultDomain.size() ||
      canonical[kDefaultDomain.size()] != '/')
    return std::string(canonical);
  std::string_view rest = canonical.substr(kDefaultDomain.size() + 1);
  if (rest.starts_with(kOfficial) && rest.find('/', kOfficial.size()) == std::string_view::npos)
    rest.remove_prefix(kOfficial.size());
  return std::string(rest);
}

bool is_repository_name(std::string_view text) {
  return text.size() <= kMaxRepository && is_repository(text);
}
bool is_tag_name(std::string_view text) { return is_tag(text); }

bool looks_like_id(std::string_view text) {
  if (text.starts_with("sha256:")) return true;
  return text.size() == 64 && std::all_of(text.begin(), text.end(), is_hex);
}

}  // namespace kasane::oci
