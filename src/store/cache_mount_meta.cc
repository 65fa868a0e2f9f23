// Identity and meta.json of cache mounts.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "oci/json.h"
#include "store/cache_mounts_internal.h"
#include "store/store_internal.h"

namespace kasane::store {
namespace {

constexpr std::string_view kWhat = "meta.json of a cache mount";
constexpr uint64_t kMaxMetaBytes = 256u << 10;

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<uint32_t> number(const oci::JsonReader& reader, std::string_view key) {
  int64_t value = 0;
  TRY(reader.get(key, value));
  if (value < 0 || value > UINT32_MAX) return reader.error(key, "is out of range");
  return static_cast<uint32_t>(value);
}

Result<CacheMountInfo> parse_meta(std::string_view text) {
  oci::Json json = TRY(oci::Json::parse(text, kWhat));
  if (!json.is_object()) return Error(ErrorKind::kInvalid, std::string(kWhat) + ": not an object");
  oci::JsonReader reader(json, kWhat);
  CacheMountInfo info;
  TRY(reader.get("id", info.id));
  TRY(reader.get("namespace", info.namespace_));
  TRY(reader.get("base", info.base_digest));
  TRY(reader.get("sharing", info.sharing));
  TRY(reader.get("created_ns", info.created_ns));
  info.mode = TRY(number(reader, "mode"));
  info.uid = TRY(number(reader, "uid"));
  info.gid = TRY(number(reader, "gid"));
  return info;
}

}  // namespace

std::string cache_mount_identity(const CacheMountRequest& request) {
  std::string out = "kasane.cache-mount.1";
  auto add = [&](std::string_view part) {
    out += ' ' + std::to_string(part.size()) + ':';
    out += part;
  };
  add(request.namespace_);
  add(request.id);
  add(request.base_digest);
  if (request.base_digest.empty())
    for (uint32_t part : {request.mode & 07777, request.uid, request.gid})
      add(std::to_string(part));
  return out;
}

const char* sharing_name(CacheMountRequest::Sharing sharing) {
  switch (sharing) {
    case CacheMountRequest::Sharing::kShared:
      return "shared";
    case CacheMountRequest::Sharing::kPrivate:
      return "private";
    case CacheMountRequest::Sharing::kLocked:
      return "locked";
  }
  return "";
}

bool is_cache_mount_key(std::string_view name) {
  if (name.size() < 64 || !is_hex(name.substr(0, 64))) return false;
  name.remove_prefix(64);
  if (name.empty()) return true;
  return name.size() >= 2 && name.size() <= 6 && name[0] == '.' &&
         std::all_of(name.begin() + 1, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<CacheMountInfo> read_cache_meta(const std::string& directory) {
  const std::string path = directory + "/meta.json";
  Result<UniqueFd> fd = open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  struct stat st;
  if (!fd || ::fstat(fd->get(), &st) != 0 || !S_ISREG(st.st_mode)) return std::nullopt;
  Result<std::string> text = read_fd(fd->get(), kMaxMetaBytes, path);
  if (!text) return std::nullopt;
  Result<CacheMountInfo> info = parse_meta(*text);
  if (!info) return std::nullopt;
  info->last_used_ns = int64_t{st.st_mtim.tv_sec} * 1'000'000'000 + st.st_mtim.tv_nsec;
  return std::move(*info);
}

// Written whole under another name: users of a shared mount may do so at the same time.
Result<void> write_cache_meta(const std::string& directory, const CacheMountInfo& info) {
  std::string text = "{";
  auto field = [&](std::string_view name, std::string_view value) {
    std::string clean(value);
    std::replace(clean.begin(), clean.end(), '\0', ' ');
    oci::write_json_string(text, name);
    text += ':';
    oci::write_json_string(text, clean);
    text += ',';
  };
  field("id", info.id);
  field("namespace", info.namespace_);
  field("base", info.base_digest);
  field("sharing", info.sharing);
  text += "\"mode\":" + std::to_string(info.mode) + ",\"uid\":" + std::to_string(info.uid) +
          ",\"gid\":" + std::to_string(info.gid) +
          ",\"created_ns\":" + std::to_string(info.created_ns) + "}\n";
  const std::string path = directory + "/meta.json", fresh = path + "." + random_name();
  UniqueFd fd = TRY(open_file(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  Result<void> written = write_all(fd.get(), text, fresh);
  if (written) written = sync_fd(fd.get(), fresh);
  if (written && ::rename(fresh.c_str(), path.c_str()) != 0)
    written = Error::from_errno(errno, "rename to " + path);
  if (!written) ::unlink(fresh.c_str());
  return written;
}

}  // namespace kasane::store
