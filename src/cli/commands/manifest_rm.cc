// kasane manifest rm (reference 1.13).
#include "cli/command.h"
#include "cli/manifest_lists.h"

namespace kasane::cli {
namespace {

Result<int> run_rm(Context& context, const Arguments& arguments) {
  const ManifestLists lists(context);
  std::string errors;
  for (const std::string& name : arguments.positional()) {
    const oci::Reference list = TRY(list_reference(name));
    if (const Result<void> removed = lists.remove(list); !removed)
      errors += (errors.empty() ? "" : "\n") + removed.error().full_message();
  }
  if (!errors.empty()) return Error(ErrorKind::kNotFound, errors);
  return 0;
}

}  // namespace

extern const Command kCommand_manifest_rm;
const Command kCommand_manifest_rm = {
    .path = "manifest rm",
    .aliases = {},
    .summary = "Delete one or more manifest lists from local storage",
    .usage = "MANIFEST_LIST [MANIFEST_LIST...]",
    .help =
        "Nothing is deleted from a registry; `kasane delete` does that.\n\n"
        "Examples:\n"
        "  kasane manifest rm reg.example/app:1",
    .flags = {},
    .min_arguments = 1,
    .run = run_rm,
};

}  // namespace kasane::cli
