#include "dockerfile/json_array.h"

#include <cstdint>
#include <optional>

#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

constexpr int kMaxDepth = 1000;  // deeper is no JSON to us; Go stops at 10000
constexpr uint32_t kReplacement = 0xfffd;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  JsonArray read() {
    JsonArray out;
    skip_blanks();
    if (!take('[')) return out;
    bool only_strings = true;
    skip_blanks();
    if (!take(']')) {
      do {
        skip_blanks();
        size_t begin = position_;
        if (peek() == '"') {
          std::optional<std::string> value = read_string();
          if (!value) return {};
          out.strings.push_back(std::move(*value));
          out.literals.push_back(text_.substr(begin, position_ - begin));
        } else {
          only_strings = false;
          if (!skip_value(1)) return {};
        }
        skip_blanks();
      } while (take(','));
      if (!take(']')) return {};
    }
    skip_blanks();
    if (position_ != text_.size()) return {};
    out.kind = only_strings ? JsonArrayKind::kStrings : JsonArrayKind::kNotStrings;
    return out;
  }

 private:
  char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  bool take(char c) {
    if (peek() != c || position_ >= text_.size()) return false;
    ++position_;
    return true;
  }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\r' || peek() == '\n') ++position_;
  }
  bool take_word(std::string_view word) {
    if (!text_.substr(position_).starts_with(word)) return false;
    position_ += word.size();
    return true;
  }

  std::optional<std::string> read_string();
  bool read_escape(std::string& out);
  std::optional<uint32_t> read_hex4();
  bool skip_number();
  bool skip_value(int depth);
  bool skip_members(int depth, char close);

  std::string_view text_;
  size_t position_ = 0;
};

std::optional<std::string> Reader::read_string() {
  std::string out;
  ++position_;
  while (position_ < text_.size()) {
    auto c = static_cast<unsigned char>(text_[position_]);
    if (c == '"') {
      ++position_;
      return out;
    }
    if (c < 0x20) return std::nullopt;
    if (c == '\\') {
      ++position_;
      if (!read_escape(out)) return std::nullopt;
      continue;
    }
    CodePoint code_point = decode_utf8(text_, position_);
    // Bytes that are no UTF-8 become U+FFFD, as in Go.
    append_utf8(out, code_point.value == kInvalidCodePoint ? kReplacement : code_point.value);
    position_ += code_point.length;
  }
  return std::nullopt;
}

std::optional<uint32_t> Reader::read_hex4() {
  if (position_ + 4 > text_.size()) return std::nullopt;
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    char c = text_[position_++];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return std::nullopt;
    value = value * 16 + static_cast<uint32_t>(digit);
  }
  return value;
}

bool Reader::read_escape(std::string& out) {
  if (position_ >= text_.size()) return false;
  constexpr std::string_view kLetters = "\"\\/bfnrt";
  constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
  char c = text_[position_++];
  if (size_t i = kLetters.find(c); i != std::string_view::npos) {
    out += kValues[i];
    return true;
  }
  if (c != 'u') return false;
  std::optional<uint32_t> value = read_hex4();
  if (!value) return false;
  if (*value >= 0xd800 && *value < 0xdc00 && text_.substr(position_).starts_with("\\u")) {
    size_t here = position_;
    position_ += 2;
    std::optional<uint32_t> low = read_hex4();
    if (!low) return false;
    if (*low >= 0xdc00 && *low < 0xe000) {
      append_utf8(out, 0x10000 + ((*value - 0xd800) << 10) + (*low - 0xdc00));
      return true;
    }
    position_ = here;  // a lone half; what follows is read on its own
  }
  append_utf8(out, *value >= 0xd800 && *value < 0xe000 ? kReplacement : *value);
  return true;
}

bool Reader::skip_number() {
  auto digits = [&] {
    size_t begin = position_;
    while (peek() >= '0' && peek() <= '9') ++position_;
    return position_ > begin;
  };
  take('-');
  if (!take('0') && !digits()) return false;
  if (take('.') && !digits()) return false;
  if (take('e') || take('E')) {
    if (!take('+')) take('-');
    if (!digits()) return false;
  }
  return true;
}

bool Reader::skip_members(int depth, char close) {
  ++position_;
  skip_blanks();
  if (take(close)) return true;
  do {
    skip_blanks();
    if (close == '}') {
      if (peek() != '"' || !read_string()) return false;
      skip_blanks();
      if (!take(':')) return false;
      skip_blanks();
    }
    if (!skip_value(depth + 1)) return false;
    skip_blanks();
  } while (take(','));
  return take(close);
}

bool Reader::skip_value(int depth) {
  if (depth > kMaxDepth) return false;
  switch (peek()) {
    case '"':
      return read_string().has_value();
    case '[':
      return skip_members(depth, ']');
    case '{':
      return skip_members(depth, '}');
    case 't':
      return take_word("true");
    case 'f':
      return take_word("false");
    case 'n':
      return take_word("null");
    default:
      return skip_number();
  }
}

}  // namespace

JsonArray parse_json_array(std::string_view text) { return Reader(text).read(); }

}  // namespace kasane::dockerfile
