#include "cli/images.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "store/layer.h"
#include "transfer/transfer.h"

namespace kasane::cli {

NameParts name_parts(std::string_view canonical) {
  const std::string familiar = oci::familiar(canonical);
  NameParts parts;
  size_t at = familiar.find('@');
  if (at != std::string::npos) {
    parts.digest = familiar.substr(at + 1);
    parts.repository = familiar.substr(0, at);
    return parts;
  }
  size_t colon = familiar.rfind(':');
  size_t slash = familiar.rfind('/');
  if (colon == std::string::npos || (slash != std::string::npos && colon < slash)) {
    parts.repository = familiar;
    return parts;
  }
  parts.repository = familiar.substr(0, colon);
  parts.tag = familiar.substr(colon + 1);
  return parts;
}

Result<std::optional<int64_t>> created_seconds(store::Store& store, const store::ImageRow& row) {
  constexpr int64_t kSecond = 1'000'000'000;
  if (row.created_ns != 0) {
    int64_t seconds = row.created_ns / kSecond;
    return std::optional<int64_t>(row.created_ns % kSecond < 0 ? seconds - 1 : seconds);
  }
  oci::ImageConfig config = TRY(oci::ImageConfig::parse(TRY(store.image_config(row.id))));
  if (config.created.empty() || config.created.starts_with("0001-"))
    return std::optional<int64_t>();
  return std::optional<int64_t>(0);
}

bool is_id_form(const Sha256Digest& image, std::string_view argument) {
  if (argument.starts_with("sha256:")) argument.remove_prefix(7);
  return !argument.empty() && image.hex().starts_with(argument);
}

std::optional<std::string> check_platform_value(std::string_view value) {
  Result<oci::Platform> platform = oci::Platform::parse(value);
  if (platform) return std::nullopt;
  return platform.error().message();
}

Result<Sha256Digest> find_platform_image(store::Store& store, const std::string& text,
                                         const std::string& wanted) {
  const Sha256Digest plain = TRY(transfer::find_image(store, text));
  if (wanted.empty()) return plain;
  const oci::Platform platform = TRY(oci::Platform::parse(wanted));
  auto parsed = oci::Reference::parse(text);
  if (parsed && parsed->digest.empty() && !is_id_form(plain, text)) {
    const std::string reference = parsed->with_default_tag().canonical();
    if (auto found = TRY(store.find_tag_platform(reference, platform.str()))) return *found;
  }
  const store::ImageRow row = TRY(store.image_row(plain));
  const oci::Platform has{row.os, row.architecture, row.variant, ""};
  if (has.normalized().str() == platform.str()) return plain;
  return Error(ErrorKind::kNotFound,
               fmt::format("image with reference {} was found but does not provide the specified "
                           "platform ({})",
                           text, platform.str()))
      .hint(fmt::format("it is for {}", has.normalized().str()));
}

Result<DeleteReport> delete_image(store::Store& store, const Sha256Digest& image,
                                  bool only_untagged) {
  std::vector<Sha256Digest> layers = TRY(store.image_layers(image));
  store::RemovedImage removed = TRY(store.remove_image(image, only_untagged));
  DeleteReport report;
  if (!removed.deleted) return report;
  report.freed_bytes = removed.freed_bytes;
  report.deleted.push_back(image.str());
  for (size_t count = layers.size(); count > 0; --count) {
    const auto& gone = removed.deleted_layers;
    if (std::find(gone.begin(), gone.end(), layers[count - 1]) == gone.end()) continue;
    std::vector<Sha256Digest> stack(layers.begin(), layers.begin() + static_cast<ptrdiff_t>(count));
    report.deleted.push_back(store::chain_id(stack).str());
  }
  return report;
}

bool confirm(Context& context, std::string_view text) {
  context.out(std::string(text) + "\nAre you sure you want to continue? [y/N] ");
  context.flush();
  std::string answer;
  char c;
  while (answer.size() < 64 && ::read(context.streams.in_fd, &c, 1) == 1 && c != '\n') answer += c;
  size_t end = answer.find_last_not_of(" \t\r");
  answer.resize(end == std::string::npos ? 0 : end + 1);
  return answer == "y" || answer == "Y";
}

}  // namespace kasane::cli
