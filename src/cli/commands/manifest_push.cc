// kasane manifest push (reference 1.13).
#include "cli/command.h"
#include "cli/manifest_lists.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "transfer/copy.h"

namespace kasane::cli {
namespace {

// Images of other repositories of the registry, with their blobs.
Result<void> bring(Context& context, const registry::Surroundings& around, const oci::Reference& list,
                   const ListMember& member, const std::stop_token& stop) {
  transfer::Location from, to;
  from.reference = member.reference;
  from.reference.digest = member.digest();
  to.reference = list;
  const auto source = TRY(transfer::open_source(from, {around, nullptr, stop}));
  const auto destination = TRY(transfer::open_destination(to, {around, nullptr}));
  const transfer::CopyPlan plan = TRY(transfer::plan_copy(*source, TRY(source->top("", stop)), stop));
  const transfer::CopyEvents quiet;
  transfer::CopyLog log(quiet);
  TRY(destination->write(plan, *source, log, stop));
  context.out("Pushed ref " + list.name() + "@" + member.digest() + " with digest: " + member.digest() + "\n");
  return {};
}

Result<int> run_push(Context& context, const Arguments& arguments) {
  const oci::Reference list = TRY(list_reference(arguments.positional()[0]));
  const ManifestLists lists(context);
  const std::vector<ListMember> members = TRY(lists.read(list));
  if (members.empty()) return Error(ErrorKind::kNotFound, list.canonical() + " not found");
  for (const ListMember& member : members) {
    const oci::Json* platform = member.descriptor.find("platform");
    if (!platform || oci::member_text(*platform, "os").empty() || oci::member_text(*platform, "architecture").empty())
      return Error(ErrorKind::kInvalid, "manifest " + member.reference.canonical() +
                                            " must have an OS and Architecture to be pushed to a registry")
          .hint("`kasane manifest annotate` sets them");
    if (member.reference.domain != list.domain)
      return Error(ErrorKind::kInvalid, "cannot use source images from a different registry than the target image: " +
                                            member.reference.domain + " != " + list.domain)
          .hint("`kasane copy` brings images to the registry");
  }
  registry::Surroundings around = surroundings_of(context);
  if (arguments.on("insecure")) around.insecure = {list.domain};
  auto interrupts = TRY(InterruptWatcher::start());
  for (const ListMember& member : members)
    if (member.reference.repository != list.repository)
      TRY(bring(context, around, list, member, interrupts->token()));
  const std::unique_ptr<registry::Pusher> pusher = TRY(registry::Pusher::open(around, list));
  const std::string bytes = docker_list(members);
  TRY(pusher->put_manifest(list.tag, std::string(oci::kDockerIndex), bytes, interrupts->token()));
  context.out(sha256(bytes).str() + "\n");
  if (arguments.on("purge")) TRY(lists.remove(list));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "insecure", .help = "Allow push to an insecure registry"},
    {.name = "purge", .shorthand = 'p', .help = "Remove the local manifest list after push"},
};

}  // namespace

extern const Command kCommand_manifest_push;
const Command kCommand_manifest_push = {
    .path = "manifest push",
    .aliases = {},
    .summary = "Push a manifest list to a registry",
    .usage = "[OPTIONS] MANIFEST_LIST",
    .help =
        "Images of other repositories of the same registry are mounted first. Prints the digest of the\n"
        "list, which has docker's type, as docker pushes it.\n\n"
        "Examples:\n"
        "  kasane manifest push --purge reg.example/app:1",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_push,
};

}  // namespace kasane::cli
