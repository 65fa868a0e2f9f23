#include "exec/capabilities.h"

#include <linux/capability.h>

#include <iterator>

namespace kasane::exec {
namespace {

constexpr int kCapabilities[] = {
    CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID,           CAP_FOWNER,     CAP_MKNOD,
    CAP_NET_RAW, CAP_SETGID,       CAP_SETUID,           CAP_SETFCAP,    CAP_SETPCAP,
    CAP_KILL,    CAP_SYS_CHROOT,   CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE};

constexpr const char* kCapabilityNames[] = {
    "CHOWN",            "DAC_OVERRIDE",    "DAC_READ_SEARCH",  "FOWNER",
    "FSETID",           "KILL",            "SETGID",           "SETUID",
    "SETPCAP",          "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST",
    "NET_ADMIN",        "NET_RAW",         "IPC_LOCK",         "IPC_OWNER",
    "SYS_MODULE",       "SYS_RAWIO",       "SYS_CHROOT",       "SYS_PTRACE",
    "SYS_PACCT",        "SYS_ADMIN",       "SYS_BOOT",         "SYS_NICE",
    "SYS_RESOURCE",     "SYS_TIME",        "SYS_TTY_CONFIG",   "MKNOD",
    "LEASE",            "AUDIT_WRITE",     "AUDIT_CONTROL",    "SETFCAP",
    "MAC_OVERRIDE",     "MAC_ADMIN",       "SYSLOG",           "WAKE_ALARM",
    "BLOCK_SUSPEND",    "AUDIT_READ",      "PERFMON",          "BPF",
    "CHECKPOINT_RESTORE"};

}  // namespace

size_t known_capabilities() { return std::size(kCapabilityNames); }

uint64_t default_capabilities() {
  uint64_t mask = 0;
  for (int cap : kCapabilities) mask |= uint64_t{1} << cap;
  return mask;
}

std::vector<std::string> capability_names(uint64_t mask) {
  std::vector<std::string> names;
  for (size_t i = 0; i < std::size(kCapabilityNames); ++i)
    if ((mask >> i & 1) != 0) names.push_back(std::string("CAP_") + kCapabilityNames[i]);
  return names;
}

}  // namespace kasane::exec
