// kasane rmi (reference 1.7). There are no containers, so only references can stand in the
// way of a removal.
#include <fmt/format.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/images.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

std::string repository_of(std::string_view canonical) { return name_parts(canonical).repository; }

// All tags and digests are of one repository and there is at most one tag.
bool is_single_reference(const store::ImageRow& row) {
  if (row.tags.size() > 1) return false;
  std::vector<std::string> all = row.tags;
  all.insert(all.end(), row.digests.begin(), row.digests.end());
  return std::all_of(all.begin(), all.end(), [&](const std::string& r) {
    return repository_of(r) == repository_of(all[0]);
  });
}

class Remover {
 public:
  Remover(Context& context, store::Store& store, bool force)
      : context_(context), store_(store), force_(force) {}

  Result<void> remove(const std::string& argument) {
    Sha256Digest image = TRY(transfer::find_image(store_, argument));
    store::ImageRow row = TRY(store_.image_row(image));
    if (is_id_form(image, argument)) return remove_by_id(row);
    return remove_by_name(row, argument);
  }

 private:
  Result<void> untag(const std::string& reference) {
    TRY(store_.untag(reference));
    context_.out(fmt::format("Untagged: {}\n", oci::familiar(reference)));
    return {};
  }

  Result<void> remove_by_id(const store::ImageRow& row) {
    if (!is_single_reference(row) && !force_)
      return Error(
          ErrorKind::kConflict,
          fmt::format("conflict: unable to delete {} (must be forced) - image is referenced "
                      "in multiple repositories",
                      row.id.hex().substr(0, 12)));
    // A tag of several platforms stays for the images of the others.
    bool shared = false;
    for (const std::string& tag : row.tags) {
      if (TRY(store_.platforms_of(tag)).size() > 1)
        shared = true;
      else
        TRY(untag(tag));
    }
    for (const std::string& digest : row.digests) TRY(untag(digest));
    return delete_record(row.id, !shared);
  }

  Result<void> remove_by_name(const store::ImageRow& row, const std::string& argument) {
    oci::Reference named = TRY(oci::Reference::parse(argument)).with_default_tag();
    if (!named.digest.empty()) named.tag.clear();
    const std::vector<store::PlatformImage> platforms = TRY(store_.platforms_of(named.canonical()));
    TRY(untag(named.canonical()));
    for (const auto& [platform, other] : platforms) {
      if (other == row.id) continue;
      Result<store::ImageRow> left = store_.image_row(other);
      if (left && left->tags.empty() && left->digests.empty()) TRY(delete_record(other, true));
    }
    store::ImageRow rest = TRY(store_.image_row(row.id));
    const std::string repository = named.familiar_name();
    const bool tag_left =
        std::any_of(rest.tags.begin(), rest.tags.end(),
                    [&](const std::string& tag) { return repository_of(tag) == repository; });
    if (!tag_left)
      for (const std::string& digest : rest.digests)
        if (repository_of(digest) == repository) TRY(untag(digest));
    rest = TRY(store_.image_row(row.id));
    if (!rest.tags.empty() || !rest.digests.empty()) return {};
    return delete_record(row.id, true);
  }

  Result<void> delete_record(const Sha256Digest& image, bool only_untagged) {
    DeleteReport report = TRY(delete_image(store_, image, only_untagged));
    for (const std::string& digest : report.deleted)
      context_.out(fmt::format("Deleted: {}\n", digest));
    return {};
  }

  Context& context_;
  store::Store& store_;
  bool force_;
};

Result<int> run_rmi(Context& context, const Arguments& arguments) {
  store::Store* store = TRY(context.store(false));
  Remover remover(context, *store, arguments.on("force"));
  std::string errors;
  bool fatal = false;
  for (const std::string& argument : arguments.positional()) {
    auto removed = remover.remove(argument);
    if (removed) continue;
    errors += "Error: " + sanitize(removed.error().full_message()) + "\n";
    fatal = fatal || !arguments.on("force") || removed.error().kind() != ErrorKind::kNotFound;
  }
  context.err(errors);
  return fatal ? 1 : 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "force",
     .shorthand = 'f',
     .help = "Remove also what several names refer to; a missing image is no error"},
    {.name = "no-prune",
     .help = "Accepted for docker's sake: there are no untagged parents to delete"},
};
constexpr std::string_view kAliases[] = {"image rm", "image remove"};

}  // namespace

extern const Command kCommand_rmi;
const Command kCommand_rmi = {
    .path = "rmi",
    .aliases = kAliases,
    .summary = "Remove one or more images",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .help =
        "A name is untagged; the image goes with its last name. An id removes the image with\n"
        "all its names. Layers that the build cache or another image uses stay.\n\n"
        "Examples:\n"
        "  kasane rmi app:old\n"
        "  kasane rmi -f 5f3c1ab22d10",
    .flags = kFlags,
    .min_arguments = 1,
    .run = run_rmi,
};

}  // namespace kasane::cli
