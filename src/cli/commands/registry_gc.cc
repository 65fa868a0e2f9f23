// kasane registry gc: removes what no manifest of a registry's folder needs.
#include <fmt/format.h>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/registry_root.h"
#include "cli/units.h"
#include "serve/gc.h"

namespace kasane::cli {
namespace {

Result<int> run_gc(Context& context, const Arguments& arguments) {
  serve::GcOptions options;
  options.root = TRY(registry_root(context, arguments));
  options.dry_run = arguments.on("dry-run");
  options.untagged = arguments.on("untagged");
  if (arguments.given("grace")) {
    auto grace = parse_duration(arguments.value("grace"));
    if (!grace || *grace < 0)
      return Error(ErrorKind::kInvalid,
                   fmt::format("--grace {} is not a duration", quote(arguments.value("grace"))))
          .hint("write it as 30m, 12h or 0s");
    options.grace = std::chrono::seconds(*grace / 1'000'000'000);
  }
  options.on_removed = [&](const std::string& what) { context.out(sanitize(what) + "\n"); };
  serve::GcReport report = TRY_CONTEXT(serve::collect_garbage(options), "registry gc");
  context.err(fmt::format(
      "{} {} manifests, {} links, {} blobs, {} uploads ({}); {} manifests and {} blobs of {} "
      "repositories stay\n",
      options.dry_run ? "would remove" : "removed", report.removed_manifests, report.removed_links,
      report.removed_blobs, report.removed_uploads,
      human_size(static_cast<double>(report.freed_bytes)), report.manifests, report.blobs,
      report.repositories));
  if (report.kept_for_grace > 0)
    context.err(fmt::format("{} unused objects are too young to go (--grace)\n",
                            report.kept_for_grace));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "dry-run", .help = "Say what would be removed, remove nothing"},
    {.name = "grace",
     .kind = FlagKind::kString,
     .value_name = "duration",
     .help = "Keep unused content younger than this (default: 1h while a\nserver runs, else 0s)"},
    {.name = "root",
     .kind = FlagKind::kString,
     .value_name = "dir",
     .help = "Folder of the registry (default: kasane/registry in the user's data directory)"},
    {.name = "untagged", .help = "Remove manifests that no tag leads to, too"},
};

}  // namespace

extern const Command kCommand_registry_gc;
const Command kCommand_registry_gc = {
    .path = "registry gc",
    .aliases = {},
    .summary = "Remove unused content from a registry's folder",
    .usage = "[OPTIONS]",
    .help =
        "Removes blobs that no manifest refers to, and unfinished uploads older than a week. It\n"
        "is safe while `kasane registry serve` runs: pushes wait for the moment that it takes,\n"
        "and what they have just sent is younger than --grace.\n\n"
        "Examples:\n"
        "  kasane registry gc --dry-run\n"
        "  kasane registry gc --root /srv/registry --untagged",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_gc,
};

}  // namespace kasane::cli
