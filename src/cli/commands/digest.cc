// kasane digest: what a name means, wherever it is.
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "oci/platform_match.h"
#include "transfer/copy.h"

namespace kasane::cli {
namespace {

using transfer::Location;
using transfer::Transport;

// By a HEAD request, which costs nothing where pulls are counted; nullopt when that does not tell.
Result<std::optional<Sha256Digest>> peek(const registry::Surroundings& around, const Location& location,
                                         const std::stop_token& stop) {
  if (location.transport != Transport::kRegistry || !location.reference.digest.empty())
    return std::optional<Sha256Digest>();
  const std::unique_ptr<registry::Repository> repository =
      TRY(registry::Repository::open(around, location.reference));
  return repository->peek(location.reference.with_default_tag().tag, stop);
}

oci::Json platforms(const registry::Document& document) {
  std::vector<oci::Json> out;
  if (document.is_index)
    if (const Result<oci::Index> index = oci::Index::parse(document.bytes))
      for (const oci::Descriptor& entry : index->manifests)
        if (entry.platform && !oci::is_attestation(entry)) out.push_back(json_text(entry.platform->str()));
  return json_list(std::move(out));
}

Result<int> run_digest(Context& context, const Arguments& arguments) {
  const registry::Surroundings around = surroundings_of(context);
  const Location location = TRY(Location::parse(arguments.positional()[0]));
  const bool json = arguments.value("format") == "json";
  const std::string platform = arguments.value("platform");
  auto interrupts = TRY(InterruptWatcher::start());
  if (!json && platform.empty())
    if (const auto digest = TRY(peek(around, location, interrupts->token()))) {
      context.out(digest->str() + "\n");
      return 0;
    }
  store::Store* store = location.transport == Transport::kStore ? TRY(context.store(false)) : nullptr;
  const std::unique_ptr<transfer::ImageSource> source =
      TRY(transfer::open_source(location, {around, store, interrupts->token()}));
  registry::Document document = TRY_CONTEXT(source->top("", interrupts->token()), location.text);
  if (!platform.empty())
    document = TRY_CONTEXT(transfer::choose_image(*source, std::move(document), TRY(oci::Platform::parse(platform)),
                                                  interrupts->token()),
                           location.text);
  if (json)
    context.out(json_line(json_object({{"reference", json_text(location.text)},
                                       {"digest", json_text(document.digest.str())},
                                       {"mediaType", json_text(document.media_type)},
                                       {"size", json_number(static_cast<int64_t>(document.bytes.size()))},
                                       {"platforms", platforms(document)}})));
  else
    context.out(document.digest.str() + "\n");
  return 0;
}

constexpr FlagSpec kFlags[] = {
    kJsonFlag,
    {.name = "platform",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Of the image of an index for this platform (os/arch[/variant])",
     .check = check_platform},
};

}  // namespace

extern const Command kCommand_digest;
const Command kCommand_digest = {
    .path = "digest",
    .aliases = {},
    .summary = "Print the digest that a name has in a registry",
    .usage = "[OPTIONS] REF",
    .help =
        "The digest of the manifest, or of the index when REF names one. A registry is asked by HEAD,\n"
        "which does not count as a pull. REF may also be oci:DIR[:TAG] or an archive, as for `copy`.\n\n"
        "Examples:\n"
        "  kasane digest alpine:3.20\n"
        "  kasane digest --platform linux/arm64 registry.example/team/app:1\n"
        "  kasane digest --format json oci:layout:1.2",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_digest,
};

}  // namespace kasane::cli
