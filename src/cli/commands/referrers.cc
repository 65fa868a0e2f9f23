// kasane referrers: signatures, SBOMs and other artifacts of an image.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/json_output.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "transfer/copy.h"

namespace kasane::cli {
namespace {

std::string member(const oci::Json& json, std::string_view name) {
  const oci::Json* value = json.find(name);
  return value && (value->is_string() || value->type == oci::Json::Type::kNumber) ? value->text : std::string();
}

Result<Sha256Digest> subject_of(const registry::Surroundings& around, const oci::Reference& reference,
                                registry::Repository& repository, const std::string& platform,
                                const std::stop_token& stop) {
  if (platform.empty()) {
    if (const auto digest = Sha256Digest::parse(reference.digest)) return *digest;
    if (reference.digest.empty())
      if (const auto digest = TRY(repository.peek(reference.tag, stop))) return *digest;
    return TRY(repository.document(reference.digest.empty() ? reference.tag : reference.digest, stop)).digest;
  }
  transfer::Location location;
  location.reference = reference;
  const std::unique_ptr<transfer::ImageSource> source =
      TRY(transfer::open_source(location, {around, nullptr, stop}));
  return TRY(transfer::choose_image(*source, TRY(source->top("", stop)), TRY(oci::Platform::parse(platform)), stop))
      .digest;
}

Result<int> run_referrers(Context& context, const Arguments& arguments) {
  const registry::Surroundings around = surroundings_of(context);
  const std::string& text = arguments.positional()[0];
  const oci::Reference reference =
      TRY_CONTEXT(oci::Reference::parse(text.starts_with("docker://") ? text.substr(9) : text), text).with_default_tag();
  auto interrupts = TRY(InterruptWatcher::start());
  const std::unique_ptr<registry::Repository> repository = TRY(registry::Repository::open(around, reference));
  const Sha256Digest subject =
      TRY(subject_of(around, reference, *repository, arguments.value("platform"), interrupts->token()));
  registry::Referrers found =
      TRY(repository->referrers(subject, arguments.value("artifact-type"), interrupts->token()));
  if (arguments.value("format") == "json") {
    context.out(json_line(json_object({{"subject", json_text(reference.name() + "@" + subject.str())},
                                       {"source", json_text(found.from_tag ? "tag" : "api")},
                                       {"referrers", json_list(std::move(found.entries))}})));
    return 0;
  }
  context.out("Subject: " + reference.familiar_name() + "@" + subject.str() + "\n");
  std::string table = "DIGEST\tARTIFACT TYPE\tSIZE\n";
  for (const oci::Json& entry : found.entries)
    table += for_terminal(context, fmt::format("{}\t{}\t{}\n", member(entry, "digest"), member(entry, "artifactType"),
                                               member(entry, "size")));
  context.out(align_table(table));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "artifact-type", .kind = FlagKind::kString, .value_name = "string", .help = "Only artifacts of this type"},
    kJsonFlag,
    {.name = "platform",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Of the image of an index for this platform (os/arch[/variant])",
     .check = check_platform},
};

}  // namespace

extern const Command kCommand_referrers;
const Command kCommand_referrers = {
    .path = "referrers",
    .aliases = {},
    .summary = "List what refers to an image in a registry: signatures, SBOMs, attestations",
    .usage = "[OPTIONS] REF",
    .help =
        "Asks the registry's referrers API; where there is none, reads the tag sha256-HEX in which tools\n"
        "keep the list instead. Attestations that BuildKit puts into the index are no referrers:\n"
        "`kasane imagetools inspect` shows them.\n\n"
        "Examples:\n"
        "  kasane referrers registry.example/team/app:1\n"
        "  kasane referrers --artifact-type application/spdx+json --format json registry.example/team/app:1",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_referrers,
};

}  // namespace kasane::cli
