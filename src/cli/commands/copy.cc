// kasane copy: images between registries, layouts, archives and the store.
#include "transfer/copy.h"

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/registry_io.h"
#include "cli/signals.h"

namespace kasane::cli {
namespace {

std::string as_json(const transfer::CopyResult& result) {
  std::vector<oci::Json> images;
  for (const transfer::CopiedImage& image : result.images)
    images.push_back(json_object({{"source", json_text(image.source)},
                                  {"destination", json_text(image.destination)},
                                  {"mediaType", json_text(image.media_type)},
                                  {"digest", json_text(image.digest.str())},
                                  {"size", json_number(static_cast<int64_t>(image.size))},
                                  {"upToDate", json_bool(image.up_to_date)}}));
  const auto number = [](uint64_t n) { return json_number(static_cast<int64_t>(n)); };
  return json_line(json_object({{"images", json_list(std::move(images))},
                                {"blobs", json_object({{"copied", number(result.counts.copied)},
                                                       {"mounted", number(result.counts.mounted)},
                                                       {"existing", number(result.counts.existing)},
                                                       {"bytes", number(result.counts.bytes)}})}}));
}

Result<int> run_copy(Context& context, const Arguments& arguments) {
  const registry::Surroundings around = surroundings_of(context);
  transfer::CopyJob job{.around = around,
                        .source = TRY(transfer::Location::parse(arguments.positional()[0])),
                        .destination = TRY(transfer::Location::parse(arguments.positional()[1])),
                        .options = {},
                        .store = nullptr,
                        .events = {}};
  if (const std::string platform = arguments.value("platform"); !platform.empty())
    job.options.platform = TRY(oci::Platform::parse(platform));
  job.options.all_tags = arguments.on("all-tags");
  const bool json = arguments.value("format") == "json", quiet = arguments.on("quiet");
  const bool to_stdout = job.destination.is_tar() && job.destination.path == "-";
  if (job.source.transport == transfer::Transport::kStore || job.destination.transport == transfer::Transport::kStore)
    job.store = TRY(context.store(false));
  LayerLines lines(context, json || quiet || to_stdout);
  job.events.status = [&](const std::string& id, const std::string& text) { lines.status(id, text); };
  auto interrupts = TRY(InterruptWatcher::start());
  const transfer::CopyResult result = TRY(transfer::copy_images(job, interrupts->token()));
  if (to_stdout) return 0;
  if (json) {
    context.out(as_json(result));
  } else if (quiet) {
    for (const transfer::CopiedImage& image : result.images) context.out(image.digest.str() + "\n");
  } else {
    for (const transfer::CopiedImage& image : result.images)
      context.out(fmt::format("{}: digest: {} size: {}{}\n", image.destination, image.digest.str(), image.size,
                              image.up_to_date ? " (is up to date)" : ""));
  }
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "all-tags", .shorthand = 'a', .help = "Copy every tag of SRC; neither SRC nor DST has one then"},
    kJsonFlag,
    {.name = "platform",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Copy the one image of an index that is for exactly this platform\n(os/arch[/variant])",
     .check = check_platform},
    {.name = "quiet", .shorthand = 'q', .help = "Print only the digest of what was copied"},
};

}  // namespace

extern const Command kCommand_copy;
const Command kCommand_copy = {
    .path = "copy",
    .aliases = {},
    .summary = "Copy images between registries, OCI layouts, archives and the store",
    .usage = "[OPTIONS] SRC DST",
    .help =
        "SRC and DST are one of, with skopeo's names:\n"
        "  NAME[:TAG|@DIGEST]         in a registry; docker://NAME[:TAG] is the same\n"
        "  oci:DIR[:TAG]              an OCI layout; as SRC also oci:DIR@DIGEST\n"
        "  oci-archive:FILE[:TAG]     an OCI layout in a tar; FILE may be - (a pipe)\n"
        "  docker-archive:FILE[:REF]  what docker save writes and docker load reads\n"
        "  store:NAME[:TAG]           the local store\n\n"
        "Digests stay what they are: manifests and blobs are copied byte for byte, an index with all of\n"
        "its images and attestations. What the destination has is not sent; within a registry blobs are\n"
        "mounted, between registries they are streamed, and nothing goes through the store.\n\n"
        "Examples:\n"
        "  kasane copy alpine:3.20 localhost:5000/mirror/alpine:3.20\n"
        "  kasane copy --all-tags registry.example/team/app oci:backup\n"
        "  kasane copy --platform linux/arm64 oci:layout:1.2 docker-archive:app.tar:team/app:1.2",
    .flags = kFlags,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_copy,
};

}  // namespace kasane::cli
