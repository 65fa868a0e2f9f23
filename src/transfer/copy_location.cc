#include "transfer/copy_location.h"

namespace kasane::transfer {
namespace {

struct Prefix {
  std::string_view text;
  Transport transport;
};
constexpr Prefix kPrefixes[] = {{"docker://", Transport::kRegistry},
                                {"oci:", Transport::kLayout},
                                {"oci-archive:", Transport::kOciArchive},
                                {"docker-archive:", Transport::kDockerArchive},
                                {"store:", Transport::kStore}};
// Of skopeo; told apart from registries of that name, because nobody means those.
constexpr std::string_view kForeign[] = {"containers-storage:", "docker-daemon:", "dir:", "ostree:", "sif:",
                                         "tarball:"};
constexpr std::string_view kHint =
    "NAME[:TAG] or docker://NAME[:TAG], oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG], "
    "store:NAME[:TAG]";

Result<void> split_path(std::string_view rest, Location& out) {
  const size_t colon = rest.find(':'), at = rest.find("@sha256:");
  if (at != rest.npos && (colon == rest.npos || at < colon)) {
    out.path = rest.substr(0, at);
    out.digest = rest.substr(at + 1);
    if (!Sha256Digest::parse(out.digest))
      return Error(ErrorKind::kInvalid, "not a digest: " + out.digest);
  } else {
    out.path = rest.substr(0, colon);
    if (colon != rest.npos) out.name = rest.substr(colon + 1);
  }
  if (out.path.empty()) return Error(ErrorKind::kInvalid, "there is no path in " + out.text).hint(std::string(kHint));
  return {};
}

}  // namespace

bool Location::is_named() const {
  return !name.empty() || !digest.empty() || !reference.tag.empty() || !reference.digest.empty();
}

Result<Location> Location::parse(std::string_view text) {
  Location out;
  out.text = text;
  if (text.find('\0') != text.npos) return Error(ErrorKind::kInvalid, "a location has no NUL bytes");
  std::string_view rest = text;
  for (const Prefix& prefix : kPrefixes)
    if (text.starts_with(prefix.text)) {
      out.transport = prefix.transport;
      rest.remove_prefix(prefix.text.size());
      break;
    }
  for (std::string_view foreign : kForeign)
    if (text.starts_with(foreign))
      return Error(ErrorKind::kUnsupported, "kasane has no transport " + std::string(foreign)).hint(std::string(kHint));
  if (out.transport != Transport::kRegistry && out.transport != Transport::kStore) {
    TRY(split_path(rest, out));
    return out;
  }
  Result<oci::Reference> reference = oci::Reference::parse(rest);
  if (!reference) return std::move(reference.error()).context(out.text).hint(std::string(kHint));
  out.reference = std::move(*reference);
  return out;
}

}  // namespace kasane::transfer
