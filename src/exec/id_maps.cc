// /etc/subuid, /etc/subgid and the maps of a user namespace: see userns.h.
#include <pwd.h>
#include <unistd.h>

#include <charconv>
#include <optional>

#include "base/fd.h"
#include "base/process.h"
#include "exec/blockers.h"
#include "exec/helpers.h"
#include "exec/userns.h"

namespace kasane::exec {
namespace {

constexpr uint64_t kMaxSubidBytes = 1 << 20;
constexpr uint64_t kMaxInner = 4294967294;  // 2^32 - 1 is "no id"
constexpr size_t kMaxRanges = 300;          // the kernel takes 340 lines

std::string_view take_until(std::string_view& rest, char separator) {
  size_t end = rest.find(separator);
  std::string_view head = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return head;
}

std::optional<uint32_t> parse_u32(std::string_view text) {
  uint32_t value;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool overlaps(const IdRange& a, const IdRange& b) {
  return a.outer < uint64_t{b.outer} + b.count && b.outer < uint64_t{a.outer} + a.count;
}

std::string own_user_name(uid_t uid) {
  std::vector<char> buffer(16384);
  passwd entry;
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return "";
  return entry.pw_name;
}

std::vector<IdRange> read_ranges(const char* file, std::string_view name, uint32_t uid,
                                 uint32_t own_id) {
  auto text = read_file(file, kMaxSubidBytes);
  return parse_subordinate_ids(text ? *text : "", name, uid, own_id);
}

std::string map_text(const std::vector<IdRange>& ranges) {
  std::string text;
  for (const IdRange& r : ranges)
    text += std::to_string(r.inner) + " " + std::to_string(r.outer) + " " +
            std::to_string(r.count) + "\n";
  return text;
}

std::string missing_range(const char* file, const std::string& who, const std::string& owner) {
  auto text = read_file(file, kMaxSubidBytes);
  return "a range for " + who + " in " + file + ": add the line \"" +
         free_range_line(text ? *text : "", owner) + "\" to it";
}

Result<void> write_proc_file(pid_t pid, const char* name, std::string_view text) {
  std::string path = "/proc/" + std::to_string(pid) + "/" + name;
  UniqueFd fd = TRY(open_file(path, O_WRONLY));
  return write_all(fd.get(), text, path);
}

Result<void> run_map_helper(const char* program, pid_t pid, const std::vector<IdRange>& ranges) {
  std::string path = find_helper(program);
  if (path.empty())
    return Error(ErrorKind::kUnsupported, std::string(program) + " is not installed")
        .hint("install the package uidmap");
  std::vector<std::string> argv{path, std::to_string(pid)};
  for (const IdRange& r : ranges)
    for (uint32_t number : {r.inner, r.outer, r.count}) argv.push_back(std::to_string(number));
  ProcessOutput output = TRY(run_process(argv, 64 << 10));
  if (output.exit_status == 0) return {};
  std::string why = output.err.substr(0, output.err.find('\n'));
  return Error(ErrorKind::kUnsupported, std::string(program) + " exited with " +
                                            std::to_string(output.exit_status) +
                                            (why.empty() ? "" : ": " + why))
      .hint(
          "check that /etc/subuid and /etc/subgid give you a range and that newuidmap and "
          "newgidmap are setuid root (package uidmap)");
}

}  // namespace

std::vector<IdRange> parse_subordinate_ids(std::string_view text, std::string_view user_name,
                                           uint32_t user_id, uint32_t own_id) {
  std::vector<IdRange> ranges{{0, own_id, 1}};
  uint64_t inner = 1;
  while (!text.empty() && ranges.size() < kMaxRanges) {
    std::string_view rest = take_until(text, '\n');
    std::string_view owner = take_until(rest, ':');
    auto start = parse_u32(take_until(rest, ':'));
    auto count = parse_u32(rest);
    bool mine = !owner.empty() && (owner == user_name || parse_u32(owner) == user_id);
    if (!mine || !start || !count || *count == 0 || uint64_t{*start} + *count > kMaxInner ||
        inner + *count > kMaxInner)
      continue;
    IdRange range{static_cast<uint32_t>(inner), *start, *count};
    bool clash = false;
    for (const IdRange& other : ranges) clash = clash || overlaps(range, other);
    if (clash) continue;
    ranges.push_back(range);
    inner += *count;
  }
  return ranges;
}

IdMaps load_id_maps() {
  IdMaps maps;
  uid_t uid = ::geteuid();
  gid_t gid = ::getegid();
  std::string name = own_user_name(uid);
  maps.uids = read_ranges("/etc/subuid", name, uid, uid);
  maps.gids = read_ranges("/etc/subgid", name, uid, gid);
  std::string who = name.empty() ? "uid " + std::to_string(uid) : name;
  const std::string owner = name.empty() ? std::to_string(uid) : name;
  const bool no_uids = maps.uids.size() < 2, no_gids = maps.gids.size() < 2;
  if (no_uids) maps.missing.push_back(missing_range("/etc/subuid", who, owner));
  if (no_gids) maps.missing.push_back(missing_range("/etc/subgid", who, owner));
  for (const char* program : {"newuidmap", "newgidmap"})
    if (find_helper(program).empty())
      maps.missing.push_back(std::string(program) + " (package uidmap)");
    else if (std::string why = map_helper_blocker(find_helper(program)); !why.empty())
      maps.missing.push_back(std::move(why));
  if (maps.missing.empty()) return maps;
  maps.single = true;
  for (const std::string& item : maps.missing)
    maps.remedy += (maps.remedy.empty() ? "" : "; ") + item;
  maps.reason = "no subordinate ids can be mapped";
  maps.uids = {{0, uid, 1}};
  maps.gids = {{0, gid, 1}};
  return maps;
}

Result<void> write_id_maps(pid_t pid, const IdMaps& maps) {
  if (!maps.single) {
    TRY(run_map_helper("newuidmap", pid, maps.uids));
    return run_map_helper("newgidmap", pid, maps.gids);
  }
  // Without privilege the kernel takes a gid map only once setgroups is given up.
  TRY(write_proc_file(pid, "setgroups", "deny"));
  TRY(write_proc_file(pid, "uid_map", map_text(maps.uids)));
  return write_proc_file(pid, "gid_map", map_text(maps.gids));
}

}  // namespace kasane::exec
