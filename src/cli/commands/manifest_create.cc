// kasane manifest create (reference 1.13).
#include "cli/command.h"
#include "cli/manifest_lists.h"
#include "cli/registry_io.h"
#include "cli/signals.h"

namespace kasane::cli {
namespace {

Result<int> run_create(Context& context, const Arguments& arguments) {
  const std::vector<std::string>& names = arguments.positional();
  const oci::Reference list = TRY(list_reference(names[0]));
  const ManifestLists lists(context);
  if (TRY(lists.exists(list)) && !arguments.on("amend"))
    return Error(ErrorKind::kConflict, "refusing to amend an existing manifest list with no --amend flag");
  registry::Surroundings around = surroundings_of(context);
  auto interrupts = TRY(InterruptWatcher::start());
  std::vector<ListMember> members;  // nothing is written unless all are there
  for (size_t i = 1; i < names.size(); ++i) {
    const oci::Reference member = TRY(list_reference(names[i]));
    if (std::optional<ListMember> known = TRY(lists.find(list, member))) {
      members.push_back(std::move(*known));
      continue;
    }
    if (arguments.on("insecure")) around.insecure = {member.domain};
    const std::unique_ptr<registry::Repository> repository = TRY(registry::Repository::open(around, member));
    members.push_back(TRY(fetch_member(*repository, member, interrupts->token())));
  }
  for (const ListMember& member : members) TRY(lists.save(list, member));
  context.out("Created manifest list " + list.canonical() + "\n");
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "amend", .shorthand = 'a', .help = "Amend an existing manifest list"},
    {.name = "insecure", .help = "Allow communication with an insecure registry"},
};

}  // namespace

extern const Command kCommand_manifest_create;
const Command kCommand_manifest_create = {
    .path = "manifest create",
    .aliases = {},
    .summary = "Create a local manifest list for annotating and pushing to a registry",
    .usage = "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
    .help =
        "The list is kept where docker keeps it, below `manifests` of its configuration folder, and\n"
        "docker can go on with it. `imagetools create` makes an index without anything local.\n\n"
        "Examples:\n"
        "  kasane manifest create reg.example/app:1 reg.example/app:1-amd64 reg.example/app:1-arm64\n"
        "  kasane manifest push --purge reg.example/app:1",
    .flags = kFlags,
    .min_arguments = 2,
    .run = run_create,
};

}  // namespace kasane::cli
