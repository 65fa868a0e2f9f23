#include "registry/challenge.h"

#include "base/text.h"

namespace kasane::registry {
namespace {

bool is_token_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  Result<void> run(std::vector<Challenge>& out) {
    for (;;) {
      while (skip_space() && take(',')) {
      }
      if (rest_.empty()) return {};
      const std::string word = token();
      if (word.empty()) return error();
      skip_space();
      if (!out_open_ || !is_parameter()) {
        out.push_back({ascii_lower(word), {}});
        out_open_ = true;
        skip_token68();
        continue;
      }
      TRY(parameter(word, out.back()));
    }
  }

 private:
  static Error error() {
    return Error(ErrorKind::kInvalid, "the WWW-Authenticate header cannot be understood");
  }
  bool skip_space() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
    return true;
  }
  bool take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string token() {
    size_t n = 0;
    while (n < rest_.size() && is_token_char(rest_[n])) ++n;
    std::string out(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return out;
  }
  // Behind a token: does "= value" follow?
  bool is_parameter() const { return rest_.starts_with('='); }

  // "Negotiate YII==": one word of base64 up to a comma or the end.
  void skip_token68() {
    size_t n = 0;
    const auto is_68 = [](char c) { return is_token_char(c) || c == '/'; };
    while (n < rest_.size() && is_68(rest_[n])) ++n;
    size_t equals = n;
    while (equals < rest_.size() && rest_[equals] == '=') ++equals;
    size_t end = equals;
    while (end < rest_.size() && (rest_[end] == ' ' || rest_[end] == '\t')) ++end;
    const bool closed = end == rest_.size() || rest_[end] == ',';
    // A lone token before a comma could be the next scheme only after a comma, so it is ours.
    if (n > 0 && closed) rest_.remove_prefix(end);
  }

  Result<void> parameter(const std::string& name, Challenge& out) {
    take('=');
    skip_space();
    std::string value;
    if (rest_.starts_with('"')) {
      TRY(quoted(value));
    } else {
      value = token();
    }
    if (!out.parameters.emplace(ascii_lower(name), std::move(value)).second)
      return Error(ErrorKind::kInvalid, "the WWW-Authenticate header has the parameter " +
                                            name.substr(0, 40) + " twice");
    skip_space();
    if (!rest_.empty() && rest_[0] != ',') return error();
    return {};
  }

  Result<void> quoted(std::string& value) {
    rest_.remove_prefix(1);
    for (;;) {
      if (rest_.empty()) return error();
      char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == '"') return {};
      if (c == '\\') {
        if (rest_.empty()) return error();
        c = rest_[0];
        rest_.remove_prefix(1);
      }
      if (static_cast<unsigned char>(c) < 0x20 && c != '\t') return error();
      value += c;
    }
  }

  std::string_view rest_;
  bool out_open_ = false;  // a challenge of this header may take parameters
};

}  // namespace

std::string Challenge::parameter(const std::string& name) const {
  auto it = parameters.find(name);
  return it == parameters.end() ? "" : it->second;
}

Result<std::vector<Challenge>> parse_challenges(const std::vector<std::string>& headers) {
  std::vector<Challenge> out;
  for (const std::string& header : headers) TRY(Parser(header).run(out));
  return out;
}

const Challenge* choose_challenge(const std::vector<Challenge>& challenges) {
  const Challenge* basic = nullptr;
  for (const Challenge& challenge : challenges) {
    if (challenge.scheme == "bearer" && !challenge.parameter("realm").empty()) return &challenge;
    if (challenge.scheme == "basic" && !basic) basic = &challenge;
  }
  return basic;
}

}  // namespace kasane::registry
