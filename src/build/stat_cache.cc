#include "build/stat_cache.h"

#include <algorithm>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <tuple>
#include <vector>

namespace kasane::build {

namespace {

constexpr char kMagic[16] = "kasane-stat-1\n";
constexpr uint64_t kMaxFileBytes = 256u << 20;
constexpr int64_t kRacyNs = 100'000'000;

int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

}  // namespace

StatCache::StatCache(std::string path) : path_(std::move(path)) { load(); }

void StatCache::load() {
  if (path_.empty()) return;
  Result<std::string> text = read_file(path_, kMaxFileBytes);
  if (!text || text->size() < sizeof kMagic || std::memcmp(text->data(), kMagic, sizeof kMagic) != 0 ||
      (text->size() - sizeof kMagic) % sizeof(Record) != 0)
    return;
  mapped_ = std::move(*text);
}

const StatCache::Record* StatCache::find_loaded(const Id& id) const {
  if (mapped_.empty()) return nullptr;
  const auto* begin = reinterpret_cast<const Record*>(mapped_.data() + sizeof kMagic);
  const auto* end = begin + (mapped_.size() - sizeof kMagic) / sizeof(Record);
  const Record* it = std::lower_bound(begin, end, id, [](const Record& record, const Id& key) {
    return std::tie(record.file.device, record.file.inode) < std::tie(key.device, key.inode);
  });
  return it != end && it->file.device == id.device && it->file.inode == id.inode ? it : nullptr;
}

std::optional<StatCache::Known> StatCache::find(const Identity& file) const {
  Id id{file.device, file.inode};
  const Record* record = nullptr;
  std::lock_guard lock(mutex_);
  if (auto it = fresh_.find(id); it != fresh_.end())
    record = &it->second;
  else
    record = find_loaded(id);
  if (!record || record->file.size != file.size || record->file.mtime_ns != file.mtime_ns ||
      record->file.ctime_ns != file.ctime_ns)
    return std::nullopt;
  return Known{record->content, record->has_xattrs != 0};
}

void StatCache::remember(const Identity& file, const Known& known) {
  if (now_ns() - file.ctime_ns < kRacyNs) return;
  Record record;
  record.file = file;
  record.content = known.content;
  record.has_xattrs = known.has_xattrs;
  std::lock_guard lock(mutex_);
  fresh_[Id{file.device, file.inode}] = record;
}

void StatCache::save() {
  std::lock_guard lock(mutex_);
  if (path_.empty() || fresh_.empty()) return;
  std::vector<Record> records;
  records.reserve(fresh_.size() + mapped_.size() / sizeof(Record));
  for (const auto& [id, record] : fresh_) records.push_back(record);
  if (!mapped_.empty()) {
    const auto* begin = reinterpret_cast<const Record*>(mapped_.data() + sizeof kMagic);
    size_t count = (mapped_.size() - sizeof kMagic) / sizeof(Record);
    for (size_t i = 0; i < count; ++i)
      if (!fresh_.contains(Id{begin[i].file.device, begin[i].file.inode})) records.push_back(begin[i]);
  }
  std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) {
    return std::tie(a.file.device, a.file.inode) < std::tie(b.file.device, b.file.inode);
  });
  std::string temporary = path_ + "." + std::to_string(::getpid());
  Result<UniqueFd> fd = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!fd) return;
  std::string_view body(reinterpret_cast<const char*>(records.data()),
                        records.size() * sizeof(Record));
  bool written = write_all(fd->get(), std::string_view(kMagic, sizeof kMagic), temporary) &&
                 write_all(fd->get(), body, temporary);
  if (!written || ::rename(temporary.c_str(), path_.c_str()) != 0) ::unlink(temporary.c_str());
  fresh_.clear();
}

}  // namespace kasane::build
