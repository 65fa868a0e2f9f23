// kasane tag (reference 1.2).
#include <fmt/format.h>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "oci/reference.h"
#include "store/store.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

Result<oci::Reference> target_reference(const oci::Reference& parsed) {
  if (parsed.familiar_name() == "sha256")
    return Error(ErrorKind::kInvalid,
                 "refusing to create an ambiguous tag using digest algorithm as name");
  return parsed.with_default_tag();
}

Result<int> run_tag(Context& context, const Arguments& arguments) {
  // docker's client says these itself, so that nothing stands before them.
  auto refuse = [&](const std::string& word, const Error& error) {
    context.err(fmt::format("Error parsing reference: {} is not a valid repository/tag: {}\n",
                            quote(word), sanitize(error.message())));
    return 1;
  };
  const std::string& source = arguments.positional()[0];
  if (auto parsed = oci::Reference::parse(source); !parsed && !oci::looks_like_id(source))
    return refuse(source, parsed.error());
  auto parsed = oci::Reference::parse(arguments.positional()[1]);
  if (!parsed) return refuse(arguments.positional()[1], parsed.error());
  if (!parsed->digest.empty()) {
    context.err("refusing to create a tag with a digest reference\n");
    return 1;
  }
  oci::Reference target = TRY(target_reference(*parsed));
  store::Store* store = TRY(context.store(false));
  Sha256Digest image = TRY(transfer::find_image(*store, source));
  TRY(store->tag(image, target.canonical()));
  return 0;
}

constexpr std::string_view kAliases[] = {"image tag"};

}  // namespace

extern const Command kCommand_tag;
const Command kCommand_tag = {
    .path = "tag",
    .aliases = kAliases,
    .summary = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    .usage = "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    .help =
        "A tag that exists moves to the source image; the image it named before stays in\n"
        "the store without that name.\n\n"
        "Examples:\n"
        "  kasane tag app:latest registry.example.com/team/app:1.2\n"
        "  kasane tag 5f3c1ab22 app:tested",
    .flags = {},
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_tag,
};

}  // namespace kasane::cli
