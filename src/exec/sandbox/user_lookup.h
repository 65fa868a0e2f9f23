// USER resolution from the image's own files (reference dockerfile.md I06, B17, B18).
// Pure functions without allocation: they run between clone and exec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kasane::exec {

inline constexpr size_t kMaxGroups = 65536;  // NGROUPS_MAX
inline constexpr uint32_t kMaxId = 2147483647;
inline constexpr size_t kMaxUserFileBytes = 1 << 20;

struct UserIdentity {
  uint32_t uid = 0;
  uint32_t gid = 0;
  size_t group_count = 0;  // includes gid, first
  uint32_t groups[kMaxGroups];
  std::string_view home;  // points into `passwd`; "/" when the user has no entry
};

enum class LookupStatus {
  kOk,
  kEmptyUser,    // ":group"
  kUnknownUser,  // a name that passwd does not have
  kUnknownGroup,
  kOutOfRange,  // a number above 2147483647
};

// `spec` is what USER says: "", name, uid, name:group, uid:gid. "" means uid 0, with the
// supplementary groups that the image gives it. A number without an entry has group 0;
// with an explicit group there are no supplementary groups. Malformed lines of the files
// are skipped and never read as id 0.
LookupStatus resolve_user(std::string_view spec, std::string_view passwd, std::string_view group,
                          UserIdentity& out);

const char* describe(LookupStatus status);

}  // namespace kasane::exec
