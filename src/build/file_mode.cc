#include "build/file_mode.h"

#include <charconv>

namespace kasane::build {
namespace {

constexpr uint32_t kUser = 04700, kGroup = 02070, kOther = 01007;

Error bad_mode(std::string_view text) {
  return Error(ErrorKind::kInvalid, "invalid chmod parameter: '" + std::string(text) +
                                        "'. it should be octal string and between 0 and 07777, "
                                        "or a symbolic mode such as u=rwX,go=rX");
}

// Bits that one permission letter means in all classes.
uint32_t bits_of(char letter, uint32_t mode, bool is_directory) {
  switch (letter) {
    case 'r':
      return 0444;
    case 'w':
      return 0222;
    case 'x':
      return 0111;
    case 'X':
      return is_directory || (mode & 0111) ? 0111 : 0;
    case 's':
      return 06000;
    case 't':
      return 01000;
    case 'u':
      return ((mode >> 6) & 7) * 0111;
    case 'g':
      return ((mode >> 3) & 7) * 0111;
    default:  // 'o'
      return (mode & 7) * 0111;
  }
}

}  // namespace

Result<ModeChange> ModeChange::parse(std::string_view text) {
  ModeChange change;
  if (!text.empty() && text.find_first_not_of("01234567") == std::string_view::npos) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), change.mode_, 8);
    if (error != std::errc() || change.mode_ > 07777) return bad_mode(text);
    change.octal_ = true;
    return change;
  }
  size_t at = 0;
  for (;;) {
    uint32_t who = 0;
    for (; at < text.size() && std::string_view("ugoa").find(text[at]) != std::string_view::npos; ++at)
      who |= text[at] == 'u' ? kUser : text[at] == 'g' ? kGroup : text[at] == 'o' ? kOther : 07777;
    if (who == 0) who = 07777;
    if (at >= text.size() || std::string_view("+-=").find(text[at]) == std::string_view::npos)
      return bad_mode(text);
    while (at < text.size() && std::string_view("+-=").find(text[at]) != std::string_view::npos) {
      Clause clause{who, text[at++], {}};
      size_t begin = at;
      while (at < text.size() && std::string_view("rwxXstugo").find(text[at]) != std::string_view::npos)
        ++at;
      clause.perms = std::string(text.substr(begin, at - begin));
      change.clauses_.push_back(std::move(clause));
    }
    if (at == text.size()) return change;
    if (text[at++] != ',') return bad_mode(text);
  }
}

uint32_t ModeChange::apply(uint32_t mode, bool is_directory) const {
  if (octal_) return mode_;
  for (const Clause& clause : clauses_) {
    uint32_t bits = 0;
    for (char letter : clause.perms) bits |= bits_of(letter, mode, is_directory);
    bits &= clause.who;
    if (clause.op == '+') mode |= bits;
    if (clause.op == '-') mode &= ~bits;
    if (clause.op == '=') mode = (mode & ~(clause.who & (is_directory ? 01777u : 07777u))) | bits;
  }
  return mode;
}

}  // namespace kasane::build
