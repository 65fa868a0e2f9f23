#include "exec/sandbox/user_lookup.h"

#include <optional>

namespace kasane::exec {
namespace {

std::string_view take_until(std::string_view& rest, char separator) {
  size_t end = rest.find(separator);
  std::string_view head = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return head;
}

bool all_digits(std::string_view text) {
  if (text.empty()) return false;
  for (char c : text)
    if (c < '0' || c > '9') return false;
  return true;
}

// Strictly decimal: Go's Atoi forms "+1" and "-1" are names here, so nothing wraps.
std::optional<uint32_t> parse_id(std::string_view text) {
  if (!all_digits(text)) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    value = value * 10 + static_cast<uint64_t>(c - '0');
    if (value > kMaxId) return std::nullopt;
  }
  return static_cast<uint32_t>(value);
}

struct PasswdEntry {
  std::string_view name;
  std::string_view home;
  uint32_t uid = 0;
  uint32_t gid = 0;
};

std::string_view strip_line(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
    line.remove_suffix(1);
  return line;
}

// name:password:uid:gid:gecos:home:shell
std::optional<PasswdEntry> parse_passwd_line(std::string_view line) {
  std::string_view rest = strip_line(line);
  PasswdEntry entry;
  entry.name = take_until(rest, ':');
  take_until(rest, ':');
  auto uid = parse_id(take_until(rest, ':'));
  auto gid = parse_id(take_until(rest, ':'));
  take_until(rest, ':');
  entry.home = take_until(rest, ':');
  if (entry.name.empty() || !uid || !gid) return std::nullopt;
  entry.uid = *uid;
  entry.gid = *gid;
  return entry;
}

// The first entry whose name is `user` or whose uid is `id`, in the order of the file.
std::optional<PasswdEntry> find_user(std::string_view passwd, std::string_view user,
                                     std::optional<uint32_t> id) {
  while (!passwd.empty()) {
    auto entry = parse_passwd_line(take_until(passwd, '\n'));
    if (entry && (entry->name == user || (id && entry->uid == *id))) return entry;
  }
  return std::nullopt;
}

struct GroupEntry {
  std::string_view name;
  std::string_view members;
  uint32_t gid = 0;
};

// name:password:gid:member,member
std::optional<GroupEntry> parse_group_line(std::string_view line) {
  std::string_view rest = strip_line(line);
  GroupEntry entry;
  entry.name = take_until(rest, ':');
  take_until(rest, ':');
  auto gid = parse_id(take_until(rest, ':'));
  entry.members = take_until(rest, ':');
  if (entry.name.empty() || !gid) return std::nullopt;
  entry.gid = *gid;
  return entry;
}

bool has_member(std::string_view members, std::string_view user) {
  while (!members.empty())
    if (take_until(members, ',') == user) return true;
  return false;
}

// Doubles are only cosmetic, so a hostile file of 65536 groups is not compared pairwise.
void add_group(UserIdentity& out, uint32_t gid) {
  constexpr size_t kCompared = 256;
  for (size_t i = 0; i < out.group_count && i < kCompared; ++i)
    if (out.groups[i] == gid) return;
  if (out.group_count < kMaxGroups) out.groups[out.group_count++] = gid;
}

LookupStatus resolve_group(std::string_view wanted, std::string_view group, UserIdentity& out) {
  auto id = parse_id(wanted);
  if (!id && all_digits(wanted)) return LookupStatus::kOutOfRange;
  while (!group.empty()) {
    auto entry = parse_group_line(take_until(group, '\n'));
    if (entry && (entry->name == wanted || (id && entry->gid == *id))) {
      out.gid = entry->gid;
      return LookupStatus::kOk;
    }
  }
  if (!id) return LookupStatus::kUnknownGroup;
  out.gid = *id;
  return LookupStatus::kOk;
}

}  // namespace

LookupStatus resolve_user(std::string_view spec, std::string_view passwd, std::string_view group,
                          UserIdentity& out) {
  std::string_view wanted_group = spec.empty() ? "0" : spec;
  std::string_view user = take_until(wanted_group, ':');
  if (user.empty()) return LookupStatus::kEmptyUser;

  auto id = parse_id(user);
  auto entry = find_user(passwd, user, id);
  if (!entry && !id)
    return all_digits(user) ? LookupStatus::kOutOfRange : LookupStatus::kUnknownUser;
  out.uid = entry ? entry->uid : *id;
  out.gid = entry ? entry->gid : 0;
  out.home = entry && !entry->home.empty() ? entry->home : "/";
  out.group_count = 0;

  if (!wanted_group.empty()) {
    LookupStatus status = resolve_group(wanted_group, group, out);
    if (status != LookupStatus::kOk) return status;
  }
  // The primary group is a supplementary one as well, or a program could shed it.
  add_group(out, out.gid);
  while (wanted_group.empty() && entry && !group.empty()) {
    auto line = parse_group_line(take_until(group, '\n'));
    if (line && has_member(line->members, entry->name)) add_group(out, line->gid);
  }
  return LookupStatus::kOk;
}

const char* describe(LookupStatus status) {
  switch (status) {
    case LookupStatus::kOk:
      return "ok";
    case LookupStatus::kEmptyUser:
      return "the user name is empty";
    case LookupStatus::kUnknownUser:
      return "no matching entries in the image's /etc/passwd";
    case LookupStatus::kUnknownGroup:
      return "no matching entries in the image's /etc/group";
    case LookupStatus::kOutOfRange:
      return "uids and gids must be in range 0-2147483647";
  }
  return "unknown";
}

}  // namespace kasane::exec
