#include "transfer/layout_index.h"

#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "transfer/export_internal.h"

namespace kasane::transfer {
namespace {

constexpr uint64_t kMaxIndexBytes = 4u << 20;

std::string_view annotation(const oci::Json& descriptor, std::string_view key) {
  const oci::Json* all = descriptor.find("annotations");
  const oci::Json* value = all && all->is_object() ? all->find(key) : nullptr;
  return value && value->is_string() ? std::string_view(value->text) : std::string_view();
}

std::string_view annotation(const oci::Descriptor& descriptor, std::string_view key) {
  const auto found = descriptor.annotations.find(std::string(key));
  return found == descriptor.annotations.end() ? std::string_view() : std::string_view(found->second);
}

bool replaces(const oci::Descriptor& fresh, const oci::Json& old) {
  const std::string_view name = annotation(fresh, kRefNameAnnotation), full = annotation(fresh, kImageNameAnnotation);
  if (name != annotation(old, kRefNameAnnotation)) return false;
  if (!name.empty() && full.empty()) return true;
  if (full != annotation(old, kImageNameAnnotation)) return false;
  const oci::Json* digest = old.find("digest");
  return !name.empty() || !full.empty() || (digest && digest->is_string() && digest->text == fresh.digest);
}

Result<std::string> merged_index(const std::string& path, const std::vector<oci::Descriptor>& descriptors) {
  oci::Index fresh;
  fresh.media_type = oci::kMediaTypeIndex;
  Result<std::string> old = read_file(path, kMaxIndexBytes);
  if (!old && old.error().errno_value() != ENOENT) return std::move(old.error());
  if (!old || old->empty()) {
    fresh.manifests = descriptors;
    return fresh.serialize();
  }
  const auto broken = [&](std::string why) {
    return Error(ErrorKind::kInvalid, path + ": " + std::move(why) + "; nothing was changed in it")
        .hint("name another directory, or remove the damaged layout");
  };
  Result<oci::Index> checked = oci::Index::parse(*old);
  if (!checked) return broken("not an image index: " + checked.error().full_message());
  oci::Json json = TRY(oci::Json::parse(*old, path));
  auto manifests = std::find_if(json.members.begin(), json.members.end(),
                                [](const auto& member) { return member.name == "manifests"; });
  if (manifests == json.members.end()) return broken("it has no manifests");
  std::vector<oci::Json>& items = manifests->value.items;
  for (const oci::Descriptor& descriptor : descriptors) {
    std::erase_if(items, [&](const oci::Json& item) { return replaces(descriptor, item); });
    items.push_back(TRY(oci::Json::parse(descriptor_json(descriptor), "descriptor")));
  }
  std::string out;
  json.write(out);
  return out;
}

}  // namespace

Result<void> name_in_layout(const std::string& directory, const std::vector<oci::Descriptor>& entries) {
  // One kasane at a time reads, changes and replaces the index.
  UniqueFd lock = TRY(open_file(directory, O_RDONLY | O_DIRECTORY));
  while (::flock(lock.get(), LOCK_EX) != 0)
    if (errno != EINTR) return Error::from_errno(errno, "lock " + directory);
  const std::string index = TRY(merged_index(directory + "/index.json", entries));
  if (::access((directory + "/oci-layout").c_str(), F_OK) != 0)
    TRY(replace_file(directory + "/oci-layout", kLayoutFile));
  return replace_file(directory + "/index.json", index);
}

}  // namespace kasane::transfer
