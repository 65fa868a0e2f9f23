#include "build/users.h"

#include <charconv>
#include <optional>
#include <string>
#include <vector>

namespace kasane::build {
namespace {

constexpr uint64_t kMaxFileBytes = 1 << 20;  // reference X15

// Decimal only, no sign, no blanks; 2^32-1 is the kernel's "no id" (reference B18).
std::optional<uint32_t> parse_id(std::string_view text) {
  uint32_t id = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || text.empty() || id == UINT32_MAX)
    return std::nullopt;
  return id;
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    size_t colon = line.find(':');
    fields.push_back(line.substr(0, colon));
    if (colon == std::string_view::npos) return fields;
    line.remove_prefix(colon + 1);
  }
}

// Calls visit(fields) for each line until it returns true.
template <class Visit>
void each_line(std::string_view text, size_t min_fields, const Visit& visit) {
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::vector<std::string_view> fields = fields_of(text.substr(0, end));
    if (fields.size() >= min_fields && visit(fields)) return;
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

struct PasswdEntry {
  uint32_t uid, gid;
};

Result<std::string> read_optional(const store::RootfsView& view, std::string_view path) {
  Result<std::string> text = view.read_file(path, kMaxFileBytes);
  if (!text && text.error().kind() == ErrorKind::kNotFound) return std::string();
  return text;
}

Result<std::optional<PasswdEntry>> find_user(const store::RootfsView& view, std::string_view name) {
  std::string text = TRY(read_optional(view, "etc/passwd"));
  std::optional<uint32_t> number = parse_id(name);
  std::optional<PasswdEntry> found;
  each_line(text, 4, [&](const std::vector<std::string_view>& fields) {
    std::optional<uint32_t> uid = parse_id(fields[2]);
    std::optional<uint32_t> gid = parse_id(fields[3]);
    if (!uid || !gid || (fields[0] != name && uid != number)) return false;
    found = PasswdEntry{*uid, *gid};
    return true;
  });
  return found;
}

Result<uint32_t> find_group(const store::RootfsView& view, std::string_view name) {
  if (all_digits(name)) {
    if (std::optional<uint32_t> id = parse_id(name)) return *id;
    return Error(ErrorKind::kInvalid, "group id " + std::string(name) + " is out of range");
  }
  std::string text = TRY(read_optional(view, "etc/group"));
  std::optional<uint32_t> found;
  each_line(text, 3, [&](const std::vector<std::string_view>& fields) {
    if (fields[0] != name) return false;
    found = parse_id(fields[2]);
    return found.has_value();
  });
  if (found) return *found;
  return Error(ErrorKind::kNotFound, "unable to find group " + std::string(name) +
                                         ": no matching entries in /etc/group of the image");
}

Result<Owner> resolve(const store::RootfsView& view, std::string_view text, bool same_group) {
  size_t colon = text.find(':');
  std::string_view user = text.substr(0, colon);
  Owner owner;
  if (all_digits(user)) {
    std::optional<uint32_t> id = parse_id(user);
    if (!id) return Error(ErrorKind::kInvalid, "user id " + std::string(user) + " is out of range");
    owner = {*id, same_group ? *id : 0};
    if (!same_group && colon == std::string_view::npos)
      if (std::optional<PasswdEntry> listed = TRY(find_user(view, user))) owner.gid = listed->gid;
  } else if (!user.empty()) {
    std::optional<PasswdEntry> listed = TRY(find_user(view, user));
    if (!listed)
      return Error(ErrorKind::kNotFound, "unable to find user " + std::string(user) +
                                             ": no matching entries in /etc/passwd of the image");
    owner = {listed->uid, listed->gid};
  }
  if (colon != std::string_view::npos && colon + 1 < text.size())
    owner.gid = TRY(find_group(view, text.substr(colon + 1)));
  return owner;
}

}  // namespace

Result<Owner> resolve_chown(const store::RootfsView& view, std::string_view text) {
  return resolve(view, text, true);
}

Result<Owner> resolve_user(const store::RootfsView& view, std::string_view text) {
  return resolve(view, text, false);
}

}  // namespace kasane::build
