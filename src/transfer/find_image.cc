#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::transfer {
namespace {

Error no_such_image(std::string_view text) {
  return Error(ErrorKind::kNotFound, "No such image: " + std::string(text))
      .hint("`kasane images` lists what the store holds");
}

bool is_hex(std::string_view text) {
  return !text.empty() && text.size() <= 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<std::optional<Sha256Digest>> find_by_id(store::Store& store, std::string_view text) {
  if (text.starts_with("sha256:")) text.remove_prefix(7);
  if (!is_hex(text)) return std::optional<Sha256Digest>();
  std::vector<Sha256Digest> ids = TRY(store.find_by_prefix(text));
  if (ids.size() != 1) return std::optional<Sha256Digest>();  // docker: ambiguous = not found
  return std::optional<Sha256Digest>(ids.front());
}

// name@digest: the store keeps such references in the rows of their images.
Result<std::optional<Sha256Digest>> find_by_digest(store::Store& store, const oci::Reference& ref) {
  std::string wanted = ref.name() + "@" + ref.digest;
  std::vector<store::ImageRow> rows = TRY(store.list_images());
  for (const store::ImageRow& row : rows)
    for (const std::string& digest : row.digests)
      if (digest == wanted) return std::optional<Sha256Digest>(row.id);
  return std::optional<Sha256Digest>();
}

}  // namespace

Result<Sha256Digest> find_image(store::Store& store, std::string_view text) {
  if (oci::looks_like_id(text)) {
    if (std::optional<Sha256Digest> id = TRY(find_by_id(store, text))) return *id;
    return no_such_image(text);
  }
  Result<oci::Reference> reference = oci::Reference::parse(text);
  if (!reference)
    return std::move(reference.error()).context("invalid reference \"" + std::string(text) + "\"");
  oci::Reference named = reference->with_default_tag();
  if (!named.digest.empty()) {
    if (std::optional<Sha256Digest> id = TRY(find_by_digest(store, named))) return *id;
    return no_such_image(text);
  }
  if (std::optional<Sha256Digest> id = TRY(store.find_tag(named.canonical()))) return *id;
  if (reference->tag.empty())
    if (std::optional<Sha256Digest> id = TRY(find_by_id(store, text))) return *id;
  return no_such_image(named.familiar());
}

}  // namespace kasane::transfer
