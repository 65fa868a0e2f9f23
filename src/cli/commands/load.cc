// kasane load (reference 1.10).
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "oci/reference.h"
#include "transfer/transfer.h"
#include "ui/progress.h"

namespace kasane::cli {
namespace {

Result<std::vector<transfer::LoadedImage>> read_archive(Context& context, const std::string& input,
                                                        EventBus& events) {
  if (input.empty()) {
    if (context.streams.in_is_terminal)
      return Error(ErrorKind::kInvalid, "requested load from stdin, but stdin is empty");
    FdSource source(context.streams.in_fd, "read standard input");
    return transfer::load(*TRY(context.store(false)), source, events);
  }
  struct stat st;
  if (::stat(input.c_str(), &st) == 0 && S_ISDIR(st.st_mode))
    return transfer::load_directory(*TRY(context.store(false)), input, events);
  UniqueFd file = TRY(open_file(input, O_RDONLY));
  FdSource source(file.get(), "read " + input);
  return transfer::load(*TRY(context.store(false)), source, events);
}

// Ids are told only when the archive has no name at all.
void report(Context& context, const transfer::LoadedImage& image, bool tell_id) {
  for (const auto& replaced : image.replaced)
    context.out(fmt::format(
        "The image {} already exists, renaming the old one with ID {} to empty string\n",
        oci::familiar(replaced.tag), replaced.old_image.str()));
  for (const std::string& tag : image.tags)
    context.out(fmt::format("Loaded image: {}\n", oci::familiar(tag)));
  if (tell_id) context.out(fmt::format("Loaded image ID: {}\n", image.image.str()));
}

Result<int> run_load(Context& context, const Arguments& arguments) {
  const std::string input = arguments.value("input");
  if (!input.empty() && ::access(input.c_str(), F_OK) != 0) {  // the client's own sentence
    context.err(fmt::format("open {}: no such file or directory\n", sanitize(input)));
    return 1;
  }
  EventBus events;
  std::unique_ptr<ui::Progress> progress;
  if (context.streams.err_is_terminal && !arguments.on("quiet")) {
    progress =
        ui::make_progress(ui::ProgressMode::kTty,
                          {context.streams.err, context.streams.err_fd, !context.env("NO_COLOR")});
    events.subscribe(progress.get());
  }
  auto images = read_archive(context, input, events);
  if (progress) progress->finish();
  if (!images) return std::move(images.error());
  const bool any_tag = std::any_of(images->begin(), images->end(),
                                   [](const auto& image) { return !image.tags.empty(); });
  for (const transfer::LoadedImage& image : *images) report(context, image, !any_tag);
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "input",
     .shorthand = 'i',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Read from a tar archive file or the directory of an OCI layout,\ninstead of STDIN"},
    {.name = "quiet", .shorthand = 'q', .help = "Suppress the load output"},
};
constexpr std::string_view kAliases[] = {"image load"};

}  // namespace

extern const Command kCommand_load;
const Command kCommand_load = {
    .path = "load",
    .aliases = kAliases,
    .summary = "Load an image from a tar archive or STDIN",
    .usage = "[OPTIONS]",
    .help =
        "Reads archives of docker save and OCI layouts, plain or compressed with gzip, bzip2,\n"
        "xz or zstd. Every layer is checked against its digest while it is read.\n\n"
        "Examples:\n"
        "  kasane load -i images.tar.zst\n"
        "  skopeo copy docker-daemon:app:1 docker-archive:/dev/stdout | kasane load",
    .flags = kFlags,
    .max_arguments = 0,
    .run = run_load,
};

}  // namespace kasane::cli
