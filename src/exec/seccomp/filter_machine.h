// For tests: runs a seccomp program as the kernel would, by a small interpreter.
#pragma once

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstring>
#include <vector>

namespace kasane::exec {

inline uint32_t evaluate(const std::vector<sock_filter>& code, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < code.size(); ++at) {
    const sock_filter& i = code[at];
    bool taken = false;
    switch (i.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        std::memcpy(&accumulator, reinterpret_cast<const char*>(&data) + i.k, 4);
        continue;
      case BPF_RET | BPF_K:
        return i.k;
      case BPF_JMP | BPF_JA:
        at += i.k;
        continue;
      case BPF_JMP | BPF_JEQ | BPF_K:
        taken = accumulator == i.k;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        taken = accumulator >= i.k;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        taken = accumulator > i.k;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= i.k;
        continue;
      case BPF_JMP | BPF_JSET | BPF_K:
        taken = (accumulator & i.k) != 0;
        break;
      default:
        ADD_FAILURE() << "unexpected instruction " << i.code;
        return 0;
    }
    at += taken ? i.jt : i.jf;
  }
  ADD_FAILURE() << "ran off the end";
  return 0;
}

// The answer to one call.
inline uint32_t filter_answer(const std::vector<sock_filter>& code, uint32_t arch, uint32_t number,
                              uint64_t first_argument = 0) {
  seccomp_data data{};
  data.arch = arch;
  data.nr = static_cast<int>(number);
  data.args[0] = first_argument;
  return evaluate(code, data);
}

}  // namespace kasane::exec
