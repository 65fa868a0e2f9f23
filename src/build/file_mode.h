// --chmod of COPY and ADD: octal, or symbolic as chmod(1) with umask 0 (reference K26).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace kasane::build {

class ModeChange {
 public:
  static Result<ModeChange> parse(std::string_view text);
  bool is_octal() const { return octal_; }
  // New permission bits (07777) of a file or directory that has `mode`.
  uint32_t apply(uint32_t mode, bool is_directory) const;

 private:
  struct Clause {
    uint32_t who = 0;     // mask of permission classes, 0700|0070|0007
    char op = '+';        // + - =
    std::string perms;    // of rwxXst, or one of u g o to copy from
  };
  bool octal_ = false;
  uint32_t mode_ = 0;
  std::vector<Clause> clauses_;
};

}  // namespace kasane::build
