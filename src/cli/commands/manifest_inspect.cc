// kasane manifest inspect (reference 1.13): the local list first, then the registry.
#include "cli/command.h"
#include "cli/manifest_lists.h"
#include "cli/registry_io.h"
#include "cli/signals.h"

namespace kasane::cli {
namespace {

std::string shown(const ListMember& member, bool verbose) {
  if (verbose) return oci::indented(member.json(), "\t") + "\n";
  const Result<oci::Json> manifest = oci::Json::parse(member.raw, "manifest");
  return (manifest ? oci::indented(*manifest, "\t") : member.raw) + "\n";
}

std::string shown(const std::vector<ListMember>& members, bool verbose) {
  if (!verbose) return docker_list(members) + "\n";
  std::vector<oci::Json> items;
  for (const ListMember& member : members) items.push_back(member.json());
  return oci::indented(oci::json_list(std::move(items)), "\t") + "\n";
}

// The entries of a list as docker fetches them: each with its manifest.
Result<std::vector<ListMember>> remote_list(registry::Repository& repository, const oci::Reference& name,
                                            const registry::Document& document, const std::stop_token& stop) {
  const oci::Json json = TRY(oci::Json::parse(document.bytes, "image index"));
  std::vector<ListMember> out;
  for (const oci::Json& entry : json.find("manifests")->items) {
    oci::Reference reference = name;
    reference.digest = oci::member_text(entry, "digest");
    reference.tag.clear();
    ListMember member;
    member.reference = reference;
    member.descriptor = entry;
    member.raw = TRY(repository.document(reference.digest, stop)).bytes;
    out.push_back(std::move(member));
  }
  return out;
}

Result<int> run_inspect(Context& context, const Arguments& arguments) {
  const std::vector<std::string>& names = arguments.positional();
  const bool verbose = arguments.on("verbose");
  const ManifestLists lists(context);
  const oci::Reference name = TRY(list_reference(names.back()));
  if (names.size() == 2) {
    const oci::Reference list = TRY(list_reference(names[0]));
    const std::optional<ListMember> member = TRY(lists.find(list, name));
    if (!member) return Error(ErrorKind::kNotFound, "No such manifest: " + name.canonical());
    context.out(shown(*member, verbose));
    return 0;
  }
  if (const std::vector<ListMember> members = TRY(lists.read(name)); !members.empty()) {
    context.out(shown(members, verbose));
    return 0;
  }
  registry::Surroundings around = surroundings_of(context);
  if (arguments.on("insecure")) around.insecure = {name.domain};
  auto interrupts = TRY(InterruptWatcher::start());
  const std::unique_ptr<registry::Repository> repository = TRY(registry::Repository::open(around, name));
  Result<registry::Document> document =
      repository->document(name.digest.empty() ? name.tag : name.digest, interrupts->token());
  if (!document && document.error().kind() == ErrorKind::kNotFound)
    return Error(ErrorKind::kNotFound, "No such manifest: " + name.canonical());
  if (!document) return std::move(document.error());
  if (document->is_index)
    context.out(shown(TRY(remote_list(*repository, name, *document, interrupts->token())), verbose));
  else
    context.out(shown(TRY(member_of(*repository, name, *document, interrupts->token())), verbose));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "insecure", .help = "Allow communication with an insecure registry"},
    {.name = "verbose", .shorthand = 'v', .help = "Output additional info including layers and platform"},
};

}  // namespace

extern const Command kCommand_manifest_inspect;
const Command kCommand_manifest_inspect = {
    .path = "manifest inspect",
    .aliases = {},
    .summary = "Display an image manifest, or manifest list",
    .usage = "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    .help =
        "A list that `manifest create` made comes first, then what the registry has. Lists are shown as\n"
        "docker shows them; `imagetools inspect --raw` prints the registry's bytes.\n\n"
        "Examples:\n"
        "  kasane manifest inspect alpine\n"
        "  kasane manifest inspect -v reg.example/app:1",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 2,
    .run = run_inspect,
};

}  // namespace kasane::cli
