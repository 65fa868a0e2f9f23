// What several image commands share: lookups, sizes, names, prompts.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/context.h"
#include "cli/flags.h"
#include "oci/image_config.h"
#include "store/store.h"

namespace kasane::cli {

// "debian:12" of a stored canonical reference as repository and the rest.
struct NameParts {
  std::string repository;  // familiar: "debian"
  std::string tag;         // "" for digest references
  std::string digest;      // "sha256:..." or ""
};
NameParts name_parts(std::string_view canonical);

// Seconds since the epoch, or nothing when the image has no date. The list's row cannot
// tell 1970 from "none", so the configuration is asked in that case.
Result<std::optional<int64_t>> created_seconds(store::Store& store, const store::ImageRow& row);

// The argument is (a prefix of) the image's id, with or without "sha256:".
bool is_id_form(const Sha256Digest& image, std::string_view argument);

// --platform of save, history and image inspect.
std::optional<std::string> check_platform_value(std::string_view value);
// What `text` names, of this platform ("" = what it names without one). kNotFound, with docker's
// sentence, when the name has no image of that platform.
Result<Sha256Digest> find_platform_image(store::Store& store, const std::string& text,
                                         const std::string& platform);
inline constexpr FlagSpec kPlatformFlag = {.name = "platform",
                                           .kind = FlagKind::kString,
                                           .value_name = "string",
                                           .help = "Of a name with images of several platforms, this one\n"
                                                   "(os/arch[/variant])",
                                           .check = check_platform_value};

// Removes the image record and adds "Deleted: sha256:..." lines (docker's: the image, then
// the chain ids of layers that nothing else uses, top first) through `line(digest)`.
struct DeleteReport {
  std::vector<std::string> deleted;
  uint64_t freed_bytes = 0;
};
// `only_untagged`: an image that has got a tag meanwhile stays (nothing is reported).
Result<DeleteReport> delete_image(store::Store& store, const Sha256Digest& image,
                                  bool only_untagged = false);

// Prints `text` + "\nAre you sure you want to continue? [y/N] "; true for y or Y alone.
bool confirm(Context& context, std::string_view text);

}  // namespace kasane::cli
