// kasane pull (reference 1.3).
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/registry_io.h"
#include "cli/signals.h"
#include "transfer/pull.h"

namespace kasane::cli {
namespace {

Result<std::optional<oci::Platform>> platform_of(Context& context, const Arguments& arguments) {
  std::string text = arguments.value("platform");
  if (text.empty()) text = context.env("DOCKER_DEFAULT_PLATFORM").value_or("");
  if (text.empty()) return std::optional<oci::Platform>();
  return std::optional<oci::Platform>(TRY(oci::Platform::parse(text)));
}

struct Call {
  Context& context;
  LayerLines& lines;
  transfer::PullOptions options;
  std::stop_token stop;
};

Result<transfer::Pulled> pull_one(Call& call, registry::Repository& repository,
                                  const oci::Reference& reference) {
  transfer::PullEvents events;
  events.status = [&](const std::string& id, const std::string& text) { call.lines.status(id, text); };
  events.progress = [&](const std::string& id, uint64_t current, uint64_t total) {
    call.lines.progress(id, "Downloading", current, total);
  };
  const std::string& shown = reference.digest.empty() ? reference.tag : reference.canonical();
  call.lines.line(shown + ": Pulling from " + reference.repository);
  store::Store* store = TRY(call.context.store(false));
  transfer::Pulled pulled =
      TRY(transfer::pull(*store, repository, reference, call.options, events, call.stop));
  call.lines.line("Digest: " + pulled.digest.str());
  if (pulled.wrong_platform)
    call.lines.line(fmt::format(
        "WARNING: image with reference {} was found but its platform ({}) does not match the specified "
        "platform ({})",
        reference.familiar(), pulled.platform.str(), call.options.platform->str()));
  return pulled;
}

Result<int> run_pull(Context& context, const Arguments& arguments) {
  Result<oci::Reference> parsed = oci::Reference::parse(arguments.positional()[0]);
  if (!parsed) return std::move(parsed.error());
  oci::Reference reference = std::move(*parsed);
  const bool all = arguments.on("all-tags"), quiet = arguments.on("quiet");
  if (all && (!reference.tag.empty() || !reference.digest.empty()))
    return Error(ErrorKind::kInvalid, "tag can't be used with --all-tags/-a");
  if (reference.domain == "docker.io" && reference.repository == "library/scratch")
    return Error(ErrorKind::kInvalid, "'scratch' is a reserved name");
  if (!all && reference.tag.empty() && reference.digest.empty()) {
    reference = reference.with_default_tag();
    if (!quiet) context.out("Using default tag: latest\n");
  }
  if (!reference.digest.empty()) reference.tag.clear();  // the digest wins
  auto interrupts = TRY(InterruptWatcher::start());
  LayerLines lines(context, quiet);
  Call call{context, lines, {.platform = TRY(platform_of(context, arguments))}, interrupts->token()};
  std::unique_ptr<registry::Repository> repository =
      TRY(registry::Repository::open(surroundings_of(context), reference));
  bool newer = false;
  if (all) {
    for (const std::string& tag : TRY(repository->tags(call.stop))) {
      oci::Reference one = TRY(oci::Reference::parse(reference.name() + ":" + tag));
      newer = TRY(pull_one(call, *repository, one)).newer || newer;
    }
  } else {
    newer = TRY(pull_one(call, *repository, reference)).newer;
  }
  lines.line(fmt::format("Status: {} for {}", newer ? "Downloaded newer image" : "Image is up to date",
                         all ? reference.familiar_name() : reference.familiar()));
  context.out((all ? reference.name() : reference.canonical()) + "\n");
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "all-tags", .shorthand = 'a', .help = "Download all tagged images in the repository"},
    {.name = "disable-content-trust", .help = "Accepted; signatures are not looked at", .hidden = true},
    {.name = "platform",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Pull the image of this platform (os/arch[/variant])",
     .check = check_platform},
    {.name = "quiet", .shorthand = 'q', .help = "Print only the name of what was pulled"},
};
constexpr std::string_view kAliases[] = {"image pull"};

}  // namespace

extern const Command kCommand_pull;
const Command kCommand_pull = {
    .path = "pull",
    .aliases = kAliases,
    .summary = "Download an image from a registry",
    .usage = "[OPTIONS] NAME[:TAG|@DIGEST]",
    .help =
        "Every byte is verified while it comes; what an interrupted pull has is kept, and the next one\n"
        "continues there. Mirrors, certificates and credentials are those of docker, containers and\n"
        "containerd; `kasane registry explain NAME` shows them.\n\n"
        "Examples:\n"
        "  kasane pull alpine:3.20\n"
        "  kasane pull --platform linux/arm64 localhost:5000/team/app:1",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_pull,
};

}  // namespace kasane::cli
