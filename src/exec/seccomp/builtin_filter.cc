#include "exec/seccomp/builtin_filter.h"

#include <linux/seccomp.h>
#include <seccomp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

#include "exec/seccomp/table.h"

namespace kasane::exec {
namespace {

enum class Verdict { kDeny, kUnknown, kAllow, kClone, kSocket, kPersonality };

struct Range {
  uint32_t start;
  Verdict verdict;  // up to the start of the next one
};

// Numbers of one ABI, from its base on. What is beyond it (private calls of ARM) is kept apart.
constexpr uint32_t kTableSize = 1024;
struct Verdicts {
  std::array<Verdict, kTableSize> table;
  std::vector<Range> beyond;
};

void set_verdict(Verdicts& verdicts, const SeccompAbi& abi, const char* name, Verdict verdict) {
  const int resolved = seccomp_syscall_resolve_name_arch(abi.library_arch, name);
  if (resolved < 0) return;  // this ABI does not have it
  const uint32_t number = static_cast<uint32_t>(resolved);
  if (number - abi.number_base < kTableSize)
    verdicts.table[number - abi.number_base] = verdict;
  else
    verdicts.beyond.push_back({number, verdict});
}

Verdicts judge(const SeccompAbi& abi, Verdict younger) {
  Verdicts verdicts;
  const auto first_younger = verdicts.table.begin() + kLastJudgedSyscall + 1;
  std::fill(verdicts.table.begin(), first_younger, Verdict::kDeny);
  std::fill(first_younger, verdicts.table.end(), younger);
  for (const char* name : always_allowed_syscalls())
    set_verdict(verdicts, abi, name, Verdict::kAllow);
  for (uint32_t number : allowed_modern_syscalls()) verdicts.table[number] = Verdict::kAllow;
  set_verdict(verdicts, abi, "clone", Verdict::kClone);
  set_verdict(verdicts, abi, "clone3", Verdict::kUnknown);
  set_verdict(verdicts, abi, "socket", Verdict::kSocket);
  set_verdict(verdicts, abi, "personality", Verdict::kPersonality);
  std::sort(verdicts.beyond.begin(), verdicts.beyond.end(),
            [](const Range& a, const Range& b) { return a.start < b.start; });
  return verdicts;
}

// Ranges of equal verdict over all numbers of one audit architecture.
std::vector<Range> ranges_of(uint32_t audit_arch, Verdict younger) {
  std::vector<Range> ranges;
  auto begin = [&](uint32_t start, Verdict verdict) {
    if (ranges.empty() || ranges.back().verdict != verdict) ranges.push_back({start, verdict});
  };
  for (const SeccompAbi& abi : seccomp_abis()) {
    if (abi.audit_arch != audit_arch) continue;
    const Verdicts verdicts = judge(abi, younger);
    for (uint32_t i = 0; i < kTableSize; ++i) begin(abi.number_base + i, verdicts.table[i]);
    for (const Range& call : verdicts.beyond) {
      begin(call.start, call.verdict);
      begin(call.start + 1, younger);
    }
  }
  return ranges;
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

std::vector<sock_filter> build_seccomp_filter(bool judged_by_another) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "args are read by their low half");
  Assembler out;
  uint32_t done_arch = 0;
  for (const SeccompAbi& abi : seccomp_abis()) {
    if (abi.audit_arch == done_arch) continue;
    done_arch = abi.audit_arch;
    const std::vector<Range> ranges =
        ranges_of(abi.audit_arch, judged_by_another ? Verdict::kAllow : Verdict::kUnknown);
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
