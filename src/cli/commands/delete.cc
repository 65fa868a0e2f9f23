// kasane delete: tags and manifests of a registry.
#include "registry/delete_tag.h"

#include "cli/command.h"
#include "cli/registry_io.h"
#include "cli/signals.h"

namespace kasane::cli {
namespace {

Result<void> delete_one(Context& context, const registry::Surroundings& around, const oci::Reference& reference,
                        const std::stop_token& stop) {
  const std::unique_ptr<registry::Repository> repository =
      TRY(registry::Repository::open_to_change(around, reference));
  if (!reference.digest.empty()) {
    TRY(repository->remove(reference.digest, stop));
    context.out("Deleted: " + reference.familiar_name() + "@" + reference.digest + "\n");
    return {};
  }
  const std::unique_ptr<registry::Pusher> pusher = TRY(registry::Pusher::open(around, reference));
  TRY(registry::delete_tag(*repository, *pusher, reference.tag, stop));
  context.out("Untagged: " + reference.familiar() + "\n");
  return {};
}

Result<int> run_delete(Context& context, const Arguments& arguments) {
  const registry::Surroundings around = surroundings_of(context);
  std::vector<oci::Reference> references;  // all are judged before one is deleted
  for (const std::string& text : arguments.positional()) {
    oci::Reference reference = TRY_CONTEXT(
        oci::Reference::parse(text.starts_with("docker://") ? text.substr(9) : text), text);
    if (reference.tag.empty() && reference.digest.empty())
      return Error(ErrorKind::kInvalid, "delete needs a tag or a digest: " + text)
          .hint("nothing is deleted by a default; name " + text + ":latest if that is meant");
    references.push_back(std::move(reference));
  }
  auto interrupts = TRY(InterruptWatcher::start());
  for (const oci::Reference& reference : references) {
    TRY_CONTEXT(delete_one(context, around, reference, interrupts->token()), reference.familiar());
    context.flush();
  }
  return 0;
}

}  // namespace

extern const Command kCommand_delete;
const Command kCommand_delete = {
    .path = "delete",
    .aliases = {},
    .summary = "Delete tags or manifests from a registry",
    .usage = "REF [REF...]",
    .help =
        "NAME:TAG removes that tag alone; other tags of the image stay. Registries that delete only by\n"
        "digest (docker-registry) get the tag moved to a manifest of its own, which is then deleted.\n"
        "NAME@DIGEST removes the manifest and with it all of its tags. Blobs stay until the registry's\n"
        "garbage collection. Nothing is asked.\n\n"
        "Examples:\n"
        "  kasane delete registry.example/team/app:old\n"
        "  kasane delete registry.example/team/app@sha256:9f2a...",
    .flags = {},
    .min_arguments = 1,
    .run = run_delete,
};

}  // namespace kasane::cli
