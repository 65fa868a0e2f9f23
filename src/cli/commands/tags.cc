// kasane tags: the tags of a repository.
#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/json_output.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "transfer/image_source.h"

namespace kasane::cli {
namespace {

using transfer::Location;
using transfer::Transport;

Result<int> run_tags(Context& context, const Arguments& arguments) {
  const registry::Surroundings around = surroundings_of(context);
  const Location location = TRY(Location::parse(arguments.positional()[0]));
  if (location.is_named())
    return Error(ErrorKind::kInvalid, "tags lists a repository; leave the tag away: " + location.text);
  auto interrupts = TRY(InterruptWatcher::start());
  store::Store* store = location.transport == Transport::kStore ? TRY(context.store(false)) : nullptr;
  const std::unique_ptr<transfer::ImageSource> source =
      TRY(transfer::open_source(location, {around, store, interrupts->token()}));
  const std::vector<std::string> tags = TRY_CONTEXT(source->names(interrupts->token()), location.text);
  if (arguments.value("format") == "json") {
    std::vector<oci::Json> items;
    for (const std::string& tag : tags) items.push_back(json_text(tag));
    const bool named = location.transport == Transport::kRegistry || location.transport == Transport::kStore;
    context.out(json_line(json_object({{"name", json_text(named ? location.reference.name() : location.text)},
                                       {"tags", json_list(std::move(items))}})));
    return 0;
  }
  for (const std::string& tag : tags) context.out(for_terminal(context, tag) + "\n");
  return 0;
}

constexpr FlagSpec kFlags[] = {kJsonFlag};

}  // namespace

extern const Command kCommand_tags;
const Command kCommand_tags = {
    .path = "tags",
    .aliases = {},
    .summary = "List the tags of a repository in a registry",
    .usage = "[OPTIONS] REPOSITORY",
    .help =
        "One per line, in the registry's order; all pages of the list are fetched. REPOSITORY may also be\n"
        "oci:DIR or an archive, as for `copy`.\n\n"
        "Examples:\n"
        "  kasane tags alpine\n"
        "  kasane tags --format json registry.example/team/app",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_tags,
};

}  // namespace kasane::cli
