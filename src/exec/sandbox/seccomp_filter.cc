#include "exec/sandbox/seccomp_filter.h"

#include <linux/seccomp.h>
#include <seccomp.h>

#include <cerrno>
#include <cstddef>
#include <map>
#include <span>

#include "exec/sandbox/seccomp_table.h"

namespace kasane::exec {
namespace {

enum class Verdict { kDeny, kUnknown, kAllow, kClone, kSocket, kPersonality };

using Rules = std::map<uint32_t, Verdict>;   // by call number
using Starts = std::map<uint32_t, Verdict>;  // a verdict holds up to the next start

void set_rule(Rules& rules, const SeccompAbi& abi, const char* name, Verdict verdict) {
  int number = seccomp_syscall_resolve_name_arch(abi.library_arch, name);
  if (number >= 0) rules[static_cast<uint32_t>(number)] = verdict;
}

void add_rules(const SeccompAbi& abi, Rules& rules) {
  for (const char* name : always_allowed_syscalls()) set_rule(rules, abi, name, Verdict::kAllow);
  for (uint32_t number : allowed_modern_syscalls())
    rules[number | abi.number_base] = Verdict::kAllow;
  set_rule(rules, abi, "clone", Verdict::kClone);
  set_rule(rules, abi, "clone3", Verdict::kUnknown);
  set_rule(rules, abi, "socket", Verdict::kSocket);
  set_rule(rules, abi, "personality", Verdict::kPersonality);
}

// Ranges of equal verdict over all numbers of one audit architecture.
Starts ranges_of(uint32_t audit_arch) {
  Rules rules;
  Starts starts{{0, Verdict::kDeny}};
  for (const SeccompAbi& abi : seccomp_abis()) {
    if (abi.audit_arch != audit_arch) continue;
    add_rules(abi, rules);
    starts[abi.number_base] = Verdict::kDeny;
    starts[abi.number_base + kLastJudgedSyscall + 1] = Verdict::kUnknown;
  }
  for (const auto& [number, verdict] : rules) {
    auto after = std::prev(starts.upper_bound(number))->second;
    starts.try_emplace(number + 1, after);
    starts[number] = verdict;
  }
  for (auto it = std::next(starts.begin()); it != starts.end();)
    it = it->second == std::prev(it)->second ? starts.erase(it) : std::next(it);
  return starts;
}

class Assembler {
 public:
  void load(size_t offset) {
    code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<uint32_t>(offset)));
  }
  void ret(uint32_t action) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, action)); }
  void deny() { ret(SECCOMP_RET_ERRNO | EPERM); }
  // Skips the next instruction unless (accumulator OP k).
  void when(uint16_t operation, uint32_t k) {
    code_.push_back(BPF_JUMP(static_cast<uint16_t>(BPF_JMP | operation | BPF_K), k, 0, 1));
  }
  // An unconditional jump whose target is set later: conditional ones reach only 255.
  size_t jump() {
    code_.push_back(BPF_STMT(BPF_JMP | BPF_JA, 0));
    return code_.size() - 1;
  }
  void land(size_t jump_at) {
    code_[jump_at].k = static_cast<uint32_t>(code_.size() - jump_at - 1);
  }
  std::vector<sock_filter> take() { return std::move(code_); }

 private:
  std::vector<sock_filter> code_;
};

// The three argument checks look at the low half only: the kernel takes an int from
// socket() and personality(), and the namespace flags of clone are all below bit 32.
void emit_verdict(Assembler& out, Verdict verdict) {
  size_t low_half = offsetof(seccomp_data, args);
  if (verdict == Verdict::kAllow) return out.ret(SECCOMP_RET_ALLOW);
  if (verdict == Verdict::kUnknown) return out.ret(SECCOMP_RET_ERRNO | ENOSYS);
  if (verdict == Verdict::kDeny) return out.deny();
  out.load(low_half);
  if (verdict == Verdict::kClone) {
    out.when(BPF_JSET, kCloneNamespaceFlags);
    out.deny();
    return out.ret(SECCOMP_RET_ALLOW);
  }
  if (verdict == Verdict::kPersonality) {
    for (uint32_t personality : kAllowedPersonalities) {
      out.when(BPF_JEQ, personality);
      out.ret(SECCOMP_RET_ALLOW);
    }
    return out.deny();
  }
  for (uint32_t family : kDeniedSocketFamilies) {
    out.when(BPF_JEQ, family);
    out.deny();
  }
  out.ret(SECCOMP_RET_ALLOW);
}

struct Range {
  uint32_t start;
  Verdict verdict;
};

void emit_search(Assembler& out, std::span<const Range> ranges) {
  if (ranges.size() == 1) return emit_verdict(out, ranges[0].verdict);
  size_t middle = ranges.size() / 2;
  out.when(BPF_JGE, ranges[middle].start);
  size_t to_upper = out.jump();
  emit_search(out, ranges.first(middle));
  out.land(to_upper);
  emit_search(out, ranges.subspan(middle));
}

}  // namespace

std::vector<sock_filter> build_seccomp_filter() {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "args are read by their low half");
  Assembler out;
  uint32_t done_arch = 0;
  for (const SeccompAbi& abi : seccomp_abis()) {
    if (abi.audit_arch == done_arch) continue;
    done_arch = abi.audit_arch;
    std::vector<Range> ranges;
    for (const auto& [start, verdict] : ranges_of(abi.audit_arch))
      ranges.push_back({start, verdict});
    out.load(offsetof(seccomp_data, arch));
    out.when(BPF_JEQ, abi.audit_arch);
    size_t to_search = out.jump();
    size_t to_next = out.jump();
    out.land(to_search);
    out.load(offsetof(seccomp_data, nr));
    emit_search(out, ranges);
    out.land(to_next);
  }
  out.deny();
  return out.take();
}

}  // namespace kasane::exec
