// kasane manifest annotate (reference 1.13).
#include <algorithm>
#include <utility>

#include "cli/command.h"
#include "cli/manifest_lists.h"

namespace kasane::cli {
namespace {

// docker's table: the ports of Go that it takes for images.
constexpr std::pair<std::string_view, std::string_view> kPorts[] = {
    {"darwin", "386"},     {"darwin", "amd64"},   {"darwin", "arm"},     {"darwin", "arm64"},   {"dragonfly", "amd64"},
    {"freebsd", "386"},    {"freebsd", "amd64"},  {"freebsd", "arm"},    {"linux", "386"},      {"linux", "amd64"},
    {"linux", "arm"},      {"linux", "arm64"},    {"linux", "loong64"},  {"linux", "mips64"},   {"linux", "mips64le"},
    {"linux", "ppc64le"},  {"linux", "riscv64"},  {"linux", "s390x"},    {"netbsd", "386"},     {"netbsd", "amd64"},
    {"netbsd", "arm"},     {"openbsd", "386"},    {"openbsd", "amd64"},  {"openbsd", "arm"},    {"plan9", "386"},
    {"plan9", "amd64"},    {"solaris", "amd64"},  {"windows", "386"},    {"windows", "amd64"},  {"windows", "arm64"}};

Result<int> run_annotate(Context& context, const Arguments& arguments) {
  const oci::Reference list = TRY(list_reference(arguments.positional()[0]));
  const oci::Reference name = TRY(list_reference(arguments.positional()[1]));
  const ManifestLists lists(context);
  std::optional<ListMember> member = TRY(lists.find(list, name));
  if (!member)
    return Error(ErrorKind::kNotFound, "manifest for image " + name.canonical() + " does not exist in " + list.canonical());
  oci::Json platform = oci::json_object({});
  if (const oci::Json* old = member->descriptor.find("platform"); old && old->is_object()) platform = *old;
  constexpr std::pair<const char*, const char*> kMembers[] = {
      {"arch", "architecture"}, {"os", "os"}, {"os-version", "os.version"}, {"variant", "variant"}};
  for (const auto& [flag, key] : kMembers)
    if (const std::string value = arguments.value(flag); !value.empty())
      oci::set_member(platform, key, oci::json_text(value));
  if (const std::vector<std::string> features = arguments.list("os-features"); !features.empty()) {
    std::vector<oci::Json> items;
    for (const std::string& feature : features) items.push_back(oci::json_text(feature));
    oci::set_member(platform, "os.features", oci::json_list(std::move(items)));
  }
  const std::string os = oci::member_text(platform, "os"), arch = oci::member_text(platform, "architecture");
  if (std::none_of(std::begin(kPorts), std::end(kPorts),
                   [&](const auto& port) { return port.first == os && port.second == arch; }))
    return Error(ErrorKind::kInvalid, "manifest entry for image has unsupported os/arch combination: " + os + "/" + arch);
  oci::set_member(member->descriptor, "platform", std::move(platform));
  TRY(lists.save(list, *member));
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "arch", .kind = FlagKind::kString, .value_name = "string", .help = "Set architecture"},
    {.name = "os", .kind = FlagKind::kString, .value_name = "string", .help = "Set operating system"},
    {.name = "os-features", .kind = FlagKind::kList, .value_name = "stringSlice", .help = "Set operating system feature"},
    {.name = "os-version", .kind = FlagKind::kString, .value_name = "string", .help = "Set operating system version"},
    {.name = "variant", .kind = FlagKind::kString, .value_name = "string", .help = "Set architecture variant"},
};

}  // namespace

extern const Command kCommand_manifest_annotate;
const Command kCommand_manifest_annotate = {
    .path = "manifest annotate",
    .aliases = {},
    .summary = "Add additional information to a local image manifest",
    .usage = "[OPTIONS] MANIFEST_LIST MANIFEST",
    .help =
        "Says for which platform an image of the list is, when its configuration does not.\n\n"
        "Examples:\n"
        "  kasane manifest annotate --arch arm --variant v7 reg.example/app:1 reg.example/app:1-arm",
    .flags = kFlags,
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_annotate,
};

}  // namespace kasane::cli
