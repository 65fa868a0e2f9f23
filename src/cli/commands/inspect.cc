// kasane inspect: like `image inspect`, with docker's sentence for an unknown object; images
// are the only objects here.
#include <fmt/format.h>

#include <algorithm>

#include "base/diagnostic.h"
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

// What docker says when an object of another type is not there: kasane has none of them.
std::string missing_other(const std::string& type, const std::string& name) {
  if (type == "network") return fmt::format("Error: network {} not found\n", name);
  if (type == "volume") return fmt::format("Error: get {}: no such volume\n", name);
  return fmt::format("Error: No such {}: {}\n", type, name);
}

Result<int> run_inspect(Context& context, const Arguments& arguments) {
  constexpr std::string_view kTypes[] = {"config",  "container", "image",   "network", "node",
                                         "plugin", "secret",    "service", "task",    "volume"};
  const std::string type = arguments.value("type");
  if (!type.empty() && std::find(std::begin(kTypes), std::end(kTypes), type) == std::end(kTypes)) {
    std::string known;
    for (std::string_view name : kTypes) known += (known.empty() ? "" : ", ") + quote(name);
    context.err(fmt::format("unknown type: {}: must be one of {}\n", quote(type), known));
    return 1;
  }
  if (!type.empty() && type != "image") {
    const std::string format = arguments.value("format");
    context.out(format.empty() || format == "json" ? "[]\n" : "\n");
    for (const std::string& name : arguments.positional())
      context.err(sanitize(missing_other(type, name), true));
    return 1;
  }
  if (arguments.on("size")) context.err("WARNING: --size ignored for image\n");
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
