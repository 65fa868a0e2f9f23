// kasane image inspect (reference 1.5).
#include "cli/image_inspect.h"
#include "cli/command.h"
#include "cli/images.h"

namespace kasane::cli {
namespace {

std::string missing_image(const std::string&, const Error& error) {
  return "Error: " + error.full_message();
}

Result<int> run_image_inspect(Context& context, const Arguments& arguments) {
  return inspect_images(context, arguments.positional(), arguments.value("format"),
                        arguments.value("platform"), missing_image);
}

constexpr FlagSpec kFlags[] = {
    {.name = "format",
     .shorthand = 'f',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Format output using a custom template:\n"
             "'json':             Print in JSON format\n"
             "'TEMPLATE':         The given Go template, once per image"},
    kPlatformFlag,
};

}  // namespace

extern const Command kCommand_image_inspect;
const Command kCommand_image_inspect = {
    .path = "image inspect",
    .aliases = {},
    .summary = "Display detailed information on one or more images",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .help =
        "Prints one JSON array with the members of docker's API 1.50. A template is tried on\n"
        "docker's field names first (.ID) and on the names of the JSON next (.Id).\n\n"
        "Examples:\n"
        "  kasane image inspect node:20\n"
        "  kasane image inspect -f '{{json .Config.Labels}}' app\n"
        "  kasane image inspect -f '{{range .Config.Env}}{{println .}}{{end}}' app",
    .flags = kFlags,
    .min_arguments = 1,
    .run = run_image_inspect,
};

}  // namespace kasane::cli
