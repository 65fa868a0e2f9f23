// Tags and digest references: which image a name means.
#include "store/tags.h"

#include <algorithm>

#include "oci/platform.h"
#include "store/locks.h"
#include "store/store.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

bool is_digest_reference(std::string_view reference) {
  return reference.find('@') != std::string_view::npos;
}

Result<void> clear_platforms(Database& database, const std::string& reference) {
  Database::Query clear = TRY(database.query("DELETE FROM tag_platforms WHERE reference = ?"));
  return clear.bind(reference).run();
}

Result<std::vector<PlatformImage>> read_platforms(Database& database,
                                                  const std::string& reference) {
  std::vector<PlatformImage> out;
  Database::Query row = TRY(database.query(
      "SELECT platform, image_id FROM tag_platforms WHERE reference = ? ORDER BY platform"));
  row.bind(reference);
  while (TRY(row.next())) out.emplace_back(row.text(0), row.digest(1));
  return out;
}

// In the order given, platforms in their one spelling.
Result<std::vector<PlatformImage>> checked_platforms(const std::string& reference,
                                                     const std::vector<PlatformImage>& images) {
  if (TRY(parse_canonical(reference)).tag.empty() || images.empty())
    return Error(ErrorKind::kInvalid, "\"" + reference +
                                          "\" cannot name the images of several platforms: it "
                                          "takes a name:tag and at least one image");
  std::vector<PlatformImage> out;
  for (const auto& [platform, image] : images) {
    std::string text = TRY_CONTEXT(oci::Platform::parse(platform), "tag " + reference).str();
    for (const PlatformImage& other : out)
      if (other.first == text)
        return Error(ErrorKind::kInvalid,
                     "tag " + reference + ": the platform " + text + " is given more than once");
    out.emplace_back(std::move(text), image);
  }
  return out;
}

Sha256Digest image_for_host(const std::vector<PlatformImage>& images) {
  const std::string host = oci::Platform::host().normalized().str();
  for (const auto& [platform, image] : images)
    if (platform == host) return image;
  return images.front().second;
}

}  // namespace

Result<bool> names_only(Database& database, const std::string& reference,
                        const Sha256Digest& image) {
  const bool digest = is_digest_reference(reference);
  {
    Database::Query row =
        TRY(database.query(digest ? "SELECT 1 FROM digests WHERE reference = ? AND image_id = ?"
                                  : "SELECT 1 FROM tags WHERE reference = ? AND image_id = ?"));
    if (!TRY(row.bind(reference).bind(image).next())) return false;
  }
  if (digest) return true;
  Database::Query row = TRY(database.query("SELECT 1 FROM tag_platforms WHERE reference = ?"));
  return !TRY(row.bind(reference).next());
}

Result<void> Store::tag_platforms(const std::string& reference,
                                  const std::vector<PlatformImage>& images) {
  std::vector<PlatformImage> wanted = TRY(checked_platforms(reference, images));
  const Sha256Digest main = image_for_host(wanted);
  Database* database = TRY(writer(false));
  if (!database) return no_such_image(main);
  std::sort(wanted.begin(), wanted.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  if (TRY(find_tag(reference)) == main && TRY(read_platforms(*database, reference)) == wanted)
    return {};
  Database::Transaction transaction = TRY(database->begin(Database::Access::kWrite));
  TRY(insert_tag(*database, main, reference));
  for (const auto& [platform, image] : wanted) {
    {
      Database::Query update =
          TRY(database->query("UPDATE images SET last_tagged_ns = ? WHERE id = ?"));
      TRY(update.bind(now_ns()).bind(image).run());
      if (database->changed_rows() == 0) return no_such_image(image);
    }
    Database::Query insert = TRY(database->query("INSERT INTO tag_platforms VALUES(?, ?, ?)"));
    TRY(insert.bind(reference).bind(platform).bind(image).run());
  }
  return transaction.commit();
}

Result<std::optional<Sha256Digest>> Store::find_tag_platform(const std::string& reference,
                                                             const std::string& platform) {
  const std::string wanted = TRY(oci::Platform::parse(platform)).str();
  for (const PlatformImage& image : TRY(platforms_of(reference)))
    if (image.first == wanted) return std::optional(image.second);
  return std::optional<Sha256Digest>();
}

Result<std::vector<PlatformImage>> Store::platforms_of(const std::string& reference) {
  Database* database = TRY(reader());
  if (!database) return std::vector<PlatformImage>();
  return read_platforms(*database, reference);
}

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
  if (parsed.digest.empty()) TRY(clear_platforms(database, reference));
  Database::Query insert = TRY(database.query(
      parsed.digest.empty()
          ? "INSERT INTO tags VALUES(?, ?, ?, ?) ON CONFLICT(reference) DO UPDATE SET "
            "image_id = excluded.image_id, tagged_ns = excluded.tagged_ns"
          : "INSERT INTO digests VALUES(?, ?, ?, ?) ON CONFLICT(reference) DO UPDATE SET "
            "image_id = excluded.image_id, tagged_ns = excluded.tagged_ns"));
  return insert.bind(reference).bind(parsed.name()).bind(image).bind(now).run();
}

Result<void> Store::tag(const Sha256Digest& image, const std::string& reference) {
  TRY(parse_canonical(reference));
  Database* database = TRY(writer(false));
  if (!database) return no_such_image(image);
  if (TRY(names_only(*database, reference, image))) return {};
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
    TRY(clear_platforms(*database, reference));
    Database::Query remove = TRY(database->query(
        is_digest_reference(reference) ? "DELETE FROM digests WHERE reference = ? AND image_id = ?"
                                       : "DELETE FROM tags WHERE reference = ? AND image_id = ?"));
    TRY(remove.bind(reference).bind(*image).run());
    Database::Query rest =
        TRY(database->query("SELECT 1 FROM tags WHERE image_id = ?1 UNION ALL "
                            "SELECT 1 FROM tag_platforms WHERE image_id = ?1"));
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
