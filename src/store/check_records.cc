// The rows and small files of the store that are not named by a digest: what they say is compared
// with what the objects say that they describe.
#include "store/check_records.h"

#include <sys/stat.h>

#include "oci/image_config.h"
#include "oci/reference.h"
#include "store/build_records.h"
#include "store/cache_mounts_internal.h"
#include "store/database.h"
#include "store/store.h"

namespace kasane::store {
namespace {

// What put_image() writes from a config.
Result<void> compare_row(const oci::ImageConfig& config, const ImageRow& row, uint64_t size) {
  const bool same = row.created_ns == oci::parse_time(config.created).value_or(0) &&
                    row.architecture == config.architecture && row.os == config.os &&
                    row.variant == config.variant && row.labels == config.config.labels &&
                    row.size_bytes == size;
  if (!same) return Error(ErrorKind::kCorrupt, "its config and its record disagree");
  return {};
}

bool is_canonical(const std::string& reference, const std::string& repository, bool digest) {
  Result<oci::Reference> parsed = oci::Reference::parse(reference);
  return parsed && parsed->canonical() == reference && parsed->name() == repository &&
         parsed->digest.empty() != digest && parsed->tag.empty() == digest;
}

}  // namespace

Result<void> check_image_record(Store& store, const Sha256Digest& id) {
  const ImageRow row = TRY(store.image_row(id));
  const std::vector<Sha256Digest> layers = TRY(store.image_layers(id));
  // A missing or damaged config has been reported as a blob; the image is named as well.
  const std::string text = TRY(store.image_config(id));
  const oci::ImageConfig config = TRY(oci::ImageConfig::parse(text));
  if (config.diff_ids != layers)
    return Error(ErrorKind::kCorrupt, "its config and its record name different layers");
  Result<std::vector<uint64_t>> sizes = store.layer_sizes(layers);
  if (!sizes) return {};  // reported: a layer without record
  uint64_t size = 0;
  for (const uint64_t layer : *sizes) size += layer;
  return compare_row(config, row, size);
}

Result<std::vector<DamagedObject>> malformed_names(Database& database) {
  std::vector<DamagedObject> out;
  for (const char* sql : {"SELECT reference, repository FROM tags",
                          "SELECT reference, repository FROM digests"}) {
    const bool digest = std::string_view(sql).ends_with("digests");
    Database::Query row = TRY(database.query(sql));
    while (TRY(row.next()))
      if (!is_canonical(row.text(0), row.text(1), digest))
        out.push_back({"tag", row.text(0), "is no name of an image"});
  }
  return out;
}

std::vector<DamagedObject> damaged_small_files(Store& store) {
  std::vector<DamagedObject> out;
  for (const auto& [id, reason] : damaged_build_records(store))
    out.push_back({"build record", id, reason});
  Result<std::vector<std::string>> mounts = list_directory(store.path("mounts"));
  if (!mounts) return out;
  for (const std::string& key : *mounts) {
    const std::string directory = store.path("mounts/" + key);
    struct stat st;
    if (!is_cache_mount_key(key) || ::lstat((directory + "/meta.json").c_str(), &st) != 0) continue;
    if (!read_cache_meta(directory)) out.push_back({"cache mount", key, "its meta.json is damaged"});
  }
  return out;
}

}  // namespace kasane::store
