#include "cli/prune_images.h"

#include <fmt/format.h>

#include <limits>

#include "cli/filters.h"
#include "cli/images.h"
#include "cli/units.h"
#include "oci/reference.h"

namespace kasane::cli {
namespace {

Result<void> prune_one(store::Store& store, const store::ImageRow& row, Pruned& out) {
  std::vector<std::string> references = row.tags;
  references.insert(references.end(), row.digests.begin(), row.digests.end());
  for (const std::string& reference : references) {
    // A tag of several platforms went with the first of its images.
    if (Result<bool> done = store.untag(reference); !done) {
      if (done.error().kind() != ErrorKind::kNotFound) return std::move(done.error());
      continue;
    }
    out.lines += fmt::format("untagged: {}\n", oci::familiar(reference));
  }
  DeleteReport report = TRY(delete_image(store, row.id, true));
  out.freed_bytes += report.freed_bytes;
  for (const std::string& digest : report.deleted)
    out.lines += fmt::format("deleted: {}\n", digest);
  return {};
}

Result<int64_t> until_of(const Filters& filters, int64_t now_ns) {
  const auto& values = filters.values("until");
  if (values.empty()) return std::numeric_limits<int64_t>::max();
  if (values.size() > 1) return Error(ErrorKind::kInvalid, "more than one until filter specified");
  auto until = parse_timestamp(values[0], now_ns);
  if (!until)
    return Error(ErrorKind::kInvalid, fmt::format("invalid filter 'until={}'", values[0]));
  return *until;
}

}  // namespace

Result<Pruned> prune_images(Context& context, const PruneSelection& selection,
                            const std::function<bool()>& approved) {
  Filters filters =
      TRY(Filters::parse(selection.filters, {"label", "label!", "until", "dangling"}));
  const bool dangling_only =
      TRY(filters.boolean("dangling", !selection.all)) && !selection.all;
  const int64_t until_ns = TRY(until_of(filters, context.now_ns()));
  Pruned pruned;
  if (!approved()) return pruned;
  store::Store* store = TRY(context.store(false));
  const std::vector<store::ImageRow> rows = TRY(store->list_images());
  const auto consider = [&](const store::ImageRow& row) -> Result<void> {
    if (dangling_only && !row.tags.empty()) return {};
    if (filters.has("until")) {
      std::optional<int64_t> created = TRY(created_seconds(*store, row));
      if (!created || row.created_ns >= until_ns) return {};  // without a date it is kept
    }
    if (!labels_match(row.labels, filters)) return {};
    return prune_one(*store, row, pruned);
  };
  for (const store::ImageRow& row : rows)
    // Another process may have removed it since it was listed.
    if (Result<void> done = consider(row); !done && done.error().kind() != ErrorKind::kNotFound)
      return std::move(done.error());
  return pruned;
}

std::string deleted_images_text(const Pruned& pruned) {
  return pruned.lines.empty() ? std::string() : "Deleted Images:\n" + pruned.lines + "\n";
}

}  // namespace kasane::cli
