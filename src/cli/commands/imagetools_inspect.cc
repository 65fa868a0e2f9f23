// kasane imagetools inspect (reference 1.14).
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/formatter.h"
#include "cli/registry_io.h"
#include "cli/remote_view.h"
#include "cli/signals.h"
#include "cli/table.h"
#include "cli/template/template.h"
#include "oci/json_build.h"
#include "transfer/image_source.h"

namespace kasane::cli {
namespace {

constexpr TableOptions kTable{.min_width = 0, .padding = 1};

std::string joined(const oci::Json* list) {
  std::string out;
  if (list && list->is_array())
    for (const oci::Json& item : list->items) out += (out.empty() ? "" : ", ") + item.text;
  return out;
}

std::string entry_text(const std::string& name, const oci::Json& entry) {
  std::string out = fmt::format("  Name:\t{}@{}\n  MediaType:\t{}\n", name, oci::member_text(entry, "digest"),
                                oci::member_text(entry, "mediaType"));
  const oci::Json* platform = entry.find("platform");
  if (!platform || !platform->is_object()) return out;
  std::string text = oci::member_text(*platform, "os") + "/" + oci::member_text(*platform, "architecture");
  if (const std::string variant = oci::member_text(*platform, "variant"); !variant.empty()) text += "/" + variant;
  out += "  Platform:\t" + text + "\n";
  const auto line = [&](const char* heading, const std::string& value) {
    if (!value.empty()) out += fmt::format("  {}:\t{}\n", heading, value);
  };
  line("OSVersion", oci::member_text(*platform, "os.version"));
  line("OSFeatures", joined(platform->find("os.features")));
  line("URLs", joined(entry.find("urls")));
  return out;
}

// buildx's text. Annotations come in columns of their own.
Result<std::string> as_text(const std::string& name, const registry::Document& document) {
  std::string out = align_table(fmt::format("Name:\t{}\nMediaType:\t{}\nDigest:\t{}\n", name, document.media_type,
                                            document.digest.str()),
                                kTable);
  if (!document.is_index) return out;
  out += align_table("\t\nManifests:\t\n", kTable);
  const oci::Json index = TRY(oci::Json::parse(document.bytes, "image index"));
  std::string block;
  for (const oci::Json& entry : index.find("manifests")->items) {
    if (&entry != &index.find("manifests")->items.front()) block += "\t\n";
    block += entry_text(name, entry);
    const oci::Json* annotations = entry.find("annotations");
    if (!annotations || !annotations->is_object() || annotations->members.empty() || !entry.find("platform")) continue;
    out += align_table(block + "  Annotations:\t\n", kTable);
    std::string lines;
    for (const oci::Json::Member& one : annotations->members) lines += fmt::format("    {}:\t{}\n", one.name, one.value.text);
    out += align_table(lines, kTable);
    block.clear();
  }
  return out + align_table(block, kTable);
}

Result<int> run_inspect(Context& context, const Arguments& arguments) {
  const std::string format = arguments.value("format");
  if (arguments.on("raw") && !format.empty())
    return Error(ErrorKind::kInvalid, "format and raw cannot be used together");
  std::optional<tmpl::Template> parsed;
  if (!format.empty()) {
    Result<tmpl::Template> result = tmpl::Template::parse(unescape_format(format));
    if (!result) return Error(ErrorKind::kInvalid, "template parsing error: " + result.error().message());
    parsed = std::move(*result);
  }
  const registry::Surroundings around = surroundings_of(context);
  transfer::Location location;
  location.reference = TRY(oci::Reference::parse(arguments.positional()[0])).with_default_tag();
  auto interrupts = TRY(InterruptWatcher::start());
  const auto source = TRY(transfer::open_source(location, {around, nullptr, interrupts->token()}));
  const std::string name = location.reference.canonical();
  const registry::Document document = TRY_CONTEXT(source->top("", interrupts->token()), name);
  if (arguments.on("raw")) {
    context.out(document.bytes);  // no newline: the digest is that of what is printed
    return 0;
  }
  if (!parsed) {
    context.out(for_terminal(context, TRY(as_text(name, document))));
    return 0;
  }
  RemoteView view;
  const bool content = format.find(".Image") != format.npos || format.find(".Provenance") != format.npos ||
                       format.find(".SBOM") != format.npos || format.find("json .}") != format.npos ||
                       format.find("json . }") != format.npos;
  const tmpl::Value value = TRY(view.make(name, document, *source, content, interrupts->token()));
  const Result<std::string> text = parsed->execute(value, {.missing_key_is_error = false, .header = false, .buildx = true});
  if (!text) return Error(ErrorKind::kInvalid, "template parsing error: " + text.error().message());
  context.out(for_terminal(context, *text));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "format",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Format the output using the given Go template"},
    {.name = "raw", .help = "Show original, unformatted JSON manifest"},
};

}  // namespace

extern const Command kCommand_imagetools_inspect;
const Command kCommand_imagetools_inspect = {
    .path = "imagetools inspect",
    .aliases = {},
    .summary = "Show details of an image in the registry",
    .usage = "[OPTIONS] NAME",
    .help =
        "As docker buildx prints them. Templates see .Name, .Manifest, .Image, .Provenance and .SBOM; the\n"
        "last three are maps by platform for an index of several images. --raw prints the very bytes.\n\n"
        "Examples:\n"
        "  kasane imagetools inspect alpine\n"
        "  kasane imagetools inspect --raw alpine | sha256sum\n"
        "  kasane imagetools inspect --format '{{json .Provenance.SLSA}}' registry.example/app:1",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_inspect,
};

}  // namespace kasane::cli
