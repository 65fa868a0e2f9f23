// Tags and digest references: which image a name means.
#include "store/tags.h"

#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

bool is_digest_reference(std::string_view reference) {
  return reference.find('@') != std::string_view::npos;
}

}  // namespace

Error no_such_image(const Sha256Digest& image) {
  return Error(ErrorKind::kNotFound, "No such image: " + image.str());
}

Result<oci::Reference> parse_canonical(const std::string& reference) {
  oci::Reference out = TRY_CONTEXT(oci::Reference::parse(reference), "tag " + reference);
  if (out.canonical() != reference || out.tag.empty() == out.digest.empty())
    return Error(ErrorKind::kInternal, "\"" + reference + "\" is not a canonical name:tag");
  return out;
}

Result<void> insert_tag(Database& database, const Sha256Digest& image,
                        const std::string& reference) {
  oci::Reference parsed = TRY(parse_canonical(reference));
  int64_t now = now_ns();
  Database::Query update = TRY(database.query("UPDATE images SET last_tagged_ns = ? WHERE id = ?"));
  TRY(update.bind(now).bind(image).run());
  if (database.changed_rows() == 0) return no_such_image(image);
  Database::Query insert = TRY(
      database.query(parsed.digest.empty() ? "INSERT OR REPLACE INTO tags VALUES(?, ?, ?, ?)"
                                           : "INSERT OR REPLACE INTO digests VALUES(?, ?, ?, ?)"));
  return insert.bind(reference).bind(parsed.name()).bind(image).bind(now).run();
}

Result<void> Store::tag(const Sha256Digest& image, const std::string& reference) {
  TRY(parse_canonical(reference));
  Database* database = TRY(writer(false));
  if (!database) return no_such_image(image);
  if (TRY(find_tag(reference)) == image) return {};
  Database::Transaction transaction = TRY(database->begin(Database::Access::kWrite));
  TRY(insert_tag(*database, image, reference));
  return transaction.commit();
}

Result<bool> Store::untag(const std::string& reference) {
  Database* database = TRY(writer(false));
  std::optional<Sha256Digest> image;
  if (database) image = TRY(find_tag(reference));
  if (!image) return Error(ErrorKind::kNotFound, "No such image: " + oci::familiar(reference));
  Database::Transaction transaction = TRY(database->begin(Database::Access::kWrite));
  bool untagged;
  {
    Database::Query remove = TRY(database->query(
        is_digest_reference(reference) ? "DELETE FROM digests WHERE reference = ? AND image_id = ?"
                                       : "DELETE FROM tags WHERE reference = ? AND image_id = ?"));
    TRY(remove.bind(reference).bind(*image).run());
    Database::Query rest = TRY(database->query("SELECT 1 FROM tags WHERE image_id = ?"));
    untagged = !TRY(rest.bind(*image).next());
  }
  TRY(transaction.commit());
  return untagged;
}

Result<std::optional<Sha256Digest>> Store::find_tag(const std::string& reference) {
  Database* database = TRY(reader());
  if (!database) return std::optional<Sha256Digest>();
  Database::Query row = TRY(database->query(is_digest_reference(reference)
                                                ? "SELECT image_id FROM digests WHERE reference = ?"
                                                : "SELECT image_id FROM tags WHERE reference = ?"));
  if (!TRY(row.bind(reference).next())) return std::optional<Sha256Digest>();
  return std::optional<Sha256Digest>(row.digest(0));
}

}  // namespace kasane::store
