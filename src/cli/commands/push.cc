// kasane push (reference 1.4).
#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/push_to_index.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "transfer/push.h"

namespace kasane::cli {
namespace {

// All tags of the repository, sorted.
Result<std::vector<std::string>> tags_of(store::Store& store, const oci::Reference& reference) {
  std::vector<std::string> out;
  const std::string prefix = reference.name() + ":";
  for (const store::ImageRow& row : TRY(store.list_images()))
    for (const std::string& tag : row.tags)
      if (tag.starts_with(prefix)) out.push_back(tag.substr(prefix.size()));
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Result<int> run_push(Context& context, const Arguments& arguments) {
  oci::Reference reference = TRY(oci::Reference::parse(arguments.positional()[0]));
  const bool all = arguments.on("all-tags"), quiet = arguments.on("quiet");
  if (!reference.digest.empty()) return Error(ErrorKind::kInvalid, "cannot push a digest reference");
  if (all && !reference.tag.empty()) return Error(ErrorKind::kInvalid, "tag can't be used with --all-tags/-a");
  if (!all && reference.tag.empty()) {
    reference = reference.with_default_tag();
    if (!quiet) context.out("Using default tag: latest\n");
  }
  LayerLines lines(context, quiet);
  lines.line("The push refers to repository [" + reference.name() + "]");
  context.flush();
  store::Store* store = TRY(context.store(false));
  const std::vector<std::string> tags = TRY(tags_of(*store, reference));
  if (tags.empty())
    return Error(ErrorKind::kNotFound, "An image does not exist locally with the tag: " + reference.familiar_name());
  auto interrupts = TRY(InterruptWatcher::start());
  std::unique_ptr<registry::Pusher> pusher =
      TRY(registry::Pusher::open(surroundings_of(context), reference));
  transfer::PushOptions options;
  if (std::string platform = arguments.value("platform"); !platform.empty())
    options.platform = TRY(oci::Platform::parse(platform));
  if (arguments.value("compression") == "zstd") options.compression = Compression::kZstd;
  options.nondistributable = arguments.on("allow-nondistributable-artifacts");
  if (arguments.on("add-to-index")) {
    if (all) return Error(ErrorKind::kInvalid, "--add-to-index joins one tag; it can't be used with --all-tags/-a");
    const transfer::Pushed joined =
        TRY(push_to_index(context, *store, *pusher, reference, options, lines, interrupts->token()));
    lines.line(fmt::format("{}: digest: {} size: {}", reference.tag, joined.digest.str(), joined.size));
    if (quiet) context.out(reference.canonical() + "\n");
    return 0;
  }
  transfer::PushEvents events;
  events.status = [&](const std::string& id, const std::string& text) { lines.status(id, text); };
  events.progress = [&](const std::string& id, uint64_t current, uint64_t total) {
    lines.progress(id, "Pushing", current, total);
  };
  const std::vector<std::string> wanted = all ? tags : std::vector<std::string>{reference.tag};
  for (const std::string& tag : wanted) {
    oci::Reference one = reference;
    one.tag = tag;
    const transfer::Pushed pushed =
        TRY(transfer::push(*store, *pusher, one, options, events, interrupts->token()));
    lines.line(fmt::format("{}: digest: {} size: {}", tag, pushed.digest.str(), pushed.size));
  }
  if (quiet) context.out((all ? reference.name() : reference.canonical()) + "\n");
  return 0;
}

std::optional<std::string> check_compression(std::string_view value) {
  if (value == "gzip" || value == "zstd") return std::nullopt;
  return "must be gzip or zstd";
}

constexpr FlagSpec kFlags[] = {
    {.name = "add-to-index",
     .help = "Join the platforms of the local image to the index that the tag has\nin the registry; other platforms stay"},
    {.name = "all-tags", .shorthand = 'a', .help = "Push all tags of an image to the repository"},
    {.name = "allow-nondistributable-artifacts", .help = "Send foreign (nondistributable) layers as well"},
    {.name = "compression",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "How layers are compressed that are not yet: gzip, zstd",
     .default_text = "gzip",
     .check = check_compression},
    {.name = "disable-content-trust", .help = "Accepted; nothing is signed", .hidden = true},
    {.name = "platform",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Push one platform of a tag that names several (os/arch[/variant])",
     .check = check_platform},
    {.name = "quiet", .shorthand = 'q', .help = "Print only the name of what was pushed"},
};
constexpr std::string_view kAliases[] = {"image push"};

}  // namespace

extern const Command kCommand_push;
const Command kCommand_push = {
    .path = "push",
    .aliases = kAliases,
    .summary = "Upload an image to a registry",
    .usage = "[OPTIONS] NAME[:TAG]",
    .help =
        "Layers that came from a registry go back as the very bytes that came; others are compressed once\n"
        "and kept. What the registry has is not sent, an upload that broke off is continued, and the tag\n"
        "comes last.\n\n"
        "Examples:\n"
        "  kasane push localhost:5000/team/app:1\n"
        "  kasane push --add-to-index registry.example/team/app:1  # from a builder per platform\n"
        "  kasane push -a registry.example/team/app",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_push,
};

}  // namespace kasane::cli
