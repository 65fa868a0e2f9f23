// kasane inspect: like `image inspect`, with docker's sentence for an unknown object; images
// are the only objects here.
#include <fmt/format.h>

#include <algorithm>

#include "cli/command.h"
#include "cli/image_inspect.h"

namespace kasane::cli {
namespace {

std::string missing_object(const std::string& name, const Error& error) {
  if (error.kind() != ErrorKind::kNotFound) return "Error: " + error.full_message();
  return "Error: No such object: " + name;
}

std::string missing_image(const std::string&, const Error& error) {
  return "Error: " + error.full_message();
}

Result<int> run_inspect(Context& context, const Arguments& arguments) {
  constexpr std::string_view kTypes[] = {"container", "image",  "network", "node",
                                         "plugin",    "secret", "service", "volume"};
  const std::string type = arguments.value("type");
  const bool known =
      type.empty() || std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
  if (!known) return Error(ErrorKind::kInvalid, fmt::format("unknown type: {}", quote(type)));
  if (!type.empty() && type != "image")
    return Error(ErrorKind::kUnsupported,
                 fmt::format("kasane keeps images only, it has no {}s", type));
  return inspect_images(context, arguments.positional(), arguments.value("format"),
                        type.empty() ? missing_object : missing_image);
}

constexpr FlagSpec kFlags[] = {
    {.name = "format",
     .shorthand = 'f',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Format output using a custom template:\n"
             "'json':             Print in JSON format\n"
             "'TEMPLATE':         The given Go template, once per object"},
    {.name = "size",
     .shorthand = 's',
     .help = "Accepted for docker's sake: concerns containers only"},
    {.name = "type",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Only objects of this type: image"},
};

}  // namespace

extern const Command kCommand_inspect;
const Command kCommand_inspect = {
    .path = "inspect",
    .aliases = {},
    .summary = "Return low-level information on images",
    .usage = "[OPTIONS] NAME|ID [NAME|ID...]",
    .help =
        "Examples:\n"
        "  kasane inspect app:latest\n"
        "  kasane inspect -f '{{.Os}}/{{.Architecture}} {{len .RootFS.Layers}}' app",
    .flags = kFlags,
    .min_arguments = 1,
    .run = run_inspect,
};

}  // namespace kasane::cli
