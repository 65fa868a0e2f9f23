#include "cli/template/gofmt.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "cli/template/utf8.h"

namespace kasane::cli::tmpl {
namespace {

// A huge width would let `printf "%999999999d"` eat the memory; Go stops at this size too.
constexpr int kMaxNumber = 1'000'000;

struct Spec {
  bool plus = false, minus = false, sharp = false, space = false, zero = false;
  std::optional<int> width;
  std::optional<int> precision;
  char32_t verb = 'v';
};

std::string pad(const Spec& spec, std::string text) {
  if (!spec.width) return text;
  size_t length = rune_count(text);
  size_t width = static_cast<size_t>(*spec.width);
  if (length >= width) return text;
  if (spec.minus) return text.append(width - length, ' ');
  return std::string(width - length, spec.zero ? '0' : ' ') + text;
}

std::string rune_text(char32_t rune) {
  std::string text;
  append_rune(text, rune);
  return text;
}

std::string quote_rune(uint32_t rune) {
  std::string inner;
  append_rune(inner, rune);
  if (rune == '\'') return "'\\''";
  if (rune == '"') return "'\"'";
  std::string quoted = go_quote(inner);
  return "'" + quoted.substr(1, quoted.size() - 2) + "'";
}

std::string digits_of(uint64_t number, int base, bool upper) {
  char buffer[65];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, number, base).ptr;
  std::string text(buffer, end);
  if (upper)
    std::transform(text.begin(), text.end(), text.begin(), [](char c) { return std::toupper(c); });
  return text;
}

class Printer {
 public:
  std::string format(const Spec& spec, const Value& value, int depth = 0) const {
    switch (value.kind()) {
      case Kind::kInvalid:
      case Kind::kNil:
        if (spec.verb == 'v' || (spec.verb == 's' && depth == 0 && !value.boxed() && value.valid()))
          return pad(spec, "<nil>");
        return bad_verb(spec, value);
      case Kind::kBool:
        if (spec.verb == 't' || spec.verb == 'v')
          return pad(spec, value.as_bool() ? "true" : "false");
        return bad_verb(spec, value);
      case Kind::kInt:
        return format_int(spec, value);
      case Kind::kFloat:
        return format_float(spec, value);
      case Kind::kString:
        return format_string(spec, value);
      case Kind::kList:
        return format_list(spec, value, depth);
      case Kind::kMap:
        return format_map(spec, value, depth);
      case Kind::kStruct:
        return format_struct(spec, value, depth);
    }
    return {};
  }

 private:
  std::string bad_verb(const Spec& spec, const Value& value) const {
    std::string verb = rune_text(spec.verb);
    if (!value.valid() || (value.kind() == Kind::kNil && value.boxed()))
      return fmt::format("%!{}(<nil>)", verb);
    return fmt::format("%!{}({}={})", verb, value.type().name, format(Spec{}, value));
  }

  std::string format_int(const Spec& spec, const Value& value) const {
    const int64_t number = value.as_int();
    // A time.Duration has a String method, which these verbs call.
    if (value.type().name == "time.Duration" && !spec.sharp &&
        (spec.verb == 'v' || spec.verb == 's' || spec.verb == 'q'))
      return format_string(spec, Value::string(go_duration(number)));
    const uint64_t size =
        number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    // Negative and too large numbers are no code points: U+FFFD, as Go prints them.
    const uint32_t rune = number < 0 || size > 0x10ffff ? 0x110000 : static_cast<uint32_t>(size);
    switch (spec.verb) {
      case 'v':
      case 'd':
        return signed_digits(spec, number < 0, digits_of(size, 10, false), "");
      case 'b':
        return signed_digits(spec, number < 0, digits_of(size, 2, false), spec.sharp ? "0b" : "");
      case 'o':
        return signed_digits(spec, number < 0, digits_of(size, 8, false), spec.sharp ? "0" : "");
      case 'O':
        return signed_digits(spec, number < 0, digits_of(size, 8, false), "0o");
      case 'x':
        return signed_digits(spec, number < 0, digits_of(size, 16, false), spec.sharp ? "0x" : "");
      case 'X':
        return signed_digits(spec, number < 0, digits_of(size, 16, true), spec.sharp ? "0X" : "");
      case 'c':
        return pad(spec, rune_text(rune));
      case 'q':
        return pad(spec, quote_rune(rune));
      case 'U':
        return pad(spec, unicode(spec, size));
      default:
        return bad_verb(spec, value);
    }
  }

  static std::string unicode(const Spec& spec, uint64_t rune) {
    std::string text = fmt::format("U+{:04X}", rune);
    if (!spec.sharp || rune > 0x10ffff || !is_printable(static_cast<uint32_t>(rune))) return text;
    return text + " '" + rune_text(static_cast<char32_t>(rune)) + "'";
  }

  std::string signed_digits(const Spec& spec, bool negative, std::string digits,
                            std::string_view prefix) const {
    std::string sign = negative ? "-" : spec.plus ? "+" : spec.space ? " " : "";
    size_t least = spec.precision ? static_cast<size_t>(*spec.precision) : 0;
    if (spec.precision && *spec.precision == 0 && digits == "0") return pad(spec, "");
    if (!spec.precision && spec.zero && !spec.minus && spec.width) {
      size_t used = sign.size() + prefix.size();
      least = static_cast<size_t>(*spec.width) > used ? *spec.width - used : 0;
    }
    if (digits.size() < least) digits.insert(0, least - digits.size(), '0');
    Spec plain = spec;
    plain.zero = false;
    return pad(plain, sign + std::string(prefix) + digits);
  }

  std::string format_float(const Spec& spec, const Value& value) const {
    char verb = static_cast<char>(spec.verb);
    int precision = spec.precision.value_or(-1);
    switch (spec.verb) {
      case 'v':
        verb = 'g';
        break;
      case 'e':
      case 'E':
      case 'f':
      case 'F':
        if (!spec.precision) precision = 6;
        if (verb == 'F') verb = 'f';
        break;
      case 'g':
      case 'G':
        break;
      default:
        return bad_verb(spec, value);
    }
    std::string text = go_float(value.as_real(), verb, precision);
    if (text[0] != '-' && spec.plus) text.insert(0, "+");
    if (text[0] != '-' && text[0] != '+' && spec.space) text.insert(0, " ");
    return pad(spec, std::move(text));
  }

  std::string format_string(const Spec& spec, const Value& value) const {
    std::string text = value.text();
    if (spec.precision && (spec.verb == 'v' || spec.verb == 's' || spec.verb == 'q')) {
      std::string_view rest = text;
      for (int i = 0; i < *spec.precision && !rest.empty(); ++i)
        rest.remove_prefix(decode_rune(rest).width);
      text.resize(text.size() - rest.size());
    }
    switch (spec.verb) {
      case 'v':
        return pad(spec, spec.sharp ? go_quote(text) : text);
      case 's':
        return pad(spec, std::move(text));
      case 'q':
        if (spec.sharp && text.find('`') == std::string::npos) return pad(spec, "`" + text + "`");
        return pad(spec, go_quote(text, spec.plus));
      case 'x':
      case 'X': {
        std::string hex;
        for (unsigned char c : text) {
          if (spec.space && !hex.empty()) hex += ' ';
          hex += fmt::format(fmt::runtime(spec.verb == 'x' ? "{:02x}" : "{:02X}"), c);
        }
        return pad(spec, std::move(hex));
      }
      default:
        return bad_verb(spec, value);
    }
  }

  std::string format_list(const Spec& spec, const Value& value, int depth) const {
    const bool go_syntax = spec.verb == 'v' && spec.sharp;
    if (go_syntax && value.is_nil_container()) return fmt::format("{}(nil)", value.type().name);
    std::string text = go_syntax ? std::string(value.type().name) + "{" : "[";
    for (size_t i = 0; i < value.items().size(); ++i) {
      if (i > 0) text += go_syntax ? ", " : " ";
      text += format(spec, value.items()[i], depth + 1);
    }
    return text + (go_syntax ? "}" : "]");
  }

  std::string format_map(const Spec& spec, const Value& value, int depth) const {
    const bool go_syntax = spec.verb == 'v' && spec.sharp;
    if (go_syntax && value.is_nil_container()) return fmt::format("{}(nil)", value.type().name);
    std::string text = go_syntax ? std::string(value.type().name) + "{" : "map[";
    bool first = true;
    for (const auto& [key, item] : value.entries()) {
      if (!first) text += go_syntax ? ", " : " ";
      first = false;
      text += format(spec, Value::string(key), depth + 1) + ":" + format(spec, item, depth + 1);
    }
    return text + (go_syntax ? "}" : "]");
  }

  std::string format_struct(const Spec& spec, const Value& value, int depth) const {
    const bool go_syntax = spec.verb == 'v' && spec.sharp;
    std::string text;
    // Go shows the address of a nested pointer, which says nothing; the content is shown.
    if (value.type().pointer && depth == 0) text = "&";
    if (go_syntax) text += value.type().pointer ? value.type().name.substr(1) : value.type().name;
    text += '{';
    bool first = true;
    for (const Field& field : value.fields()) {
      if (!first) text += go_syntax ? ", " : " ";
      first = false;
      if (go_syntax || (spec.verb == 'v' && spec.plus)) text += std::string(field.name) + ":";
      text += format(spec, field.value, depth + 1);
    }
    return text + '}';
  }
};

// Sprintf's reading of the format string.
class Formatter {
 public:
  Formatter(std::string_view format, std::span<const Value> values)
      : rest_(format), values_(values) {}

  std::string run() {
    while (!rest_.empty()) {
      size_t percent = rest_.find('%');
      out_ += rest_.substr(0, percent);
      if (percent == std::string_view::npos) break;
      rest_.remove_prefix(percent + 1);
      directive();
    }
    if (!reordered_ && next_ < values_.size()) extra();
    return std::move(out_);
  }

 private:
  void directive() {
    Spec spec;
    good_index_ = true;
    flags(spec);
    bool after_index = index();
    spec.width = number(after_index, "%!(BADWIDTH)");
    if (spec.width && *spec.width < 0) {
      spec.minus = true;
      spec.zero = false;
      spec.width = -*spec.width;
    }
    if (!rest_.empty() && rest_[0] == '.') {
      rest_.remove_prefix(1);
      if (after_index) good_index_ = false;
      after_index = index();
      spec.precision = number(after_index, "%!(BADPREC)");
      if (!spec.precision) spec.precision = 0;
      if (*spec.precision < 0) spec.precision.reset();
    }
    if (!after_index) index();
    if (rest_.empty()) {
      out_ += "%!(NOVERB)";
      return;
    }
    Rune verb = decode_rune(rest_);
    rest_.remove_prefix(verb.width);
    spec.verb = verb.value;
    argument(spec);
  }

  void argument(const Spec& spec) {
    if (spec.verb == '%') {
      out_ += '%';
    } else if (!good_index_) {
      out_ += "%!" + rune_text(spec.verb) + "(BADINDEX)";
    } else if (next_ >= values_.size()) {
      out_ += "%!" + rune_text(spec.verb) + "(MISSING)";
    } else if (spec.verb == 'T') {
      const Value& value = values_[next_++];
      out_ += pad(spec, value.unbox().valid() ? std::string(value.type().name) : "<nil>");
    } else {
      out_ += Printer().format(spec, values_[next_++]);
    }
  }

  void flags(Spec& spec) {
    for (; !rest_.empty(); rest_.remove_prefix(1)) {
      switch (rest_[0]) {
        case '+':
          spec.plus = true;
          break;
        case '-':
          spec.minus = true;
          spec.zero = false;
          break;
        case '#':
          spec.sharp = true;
          break;
        case ' ':
          spec.space = true;
          break;
        case '0':
          spec.zero = !spec.minus;
          break;
        default:
          return;
      }
    }
  }

  // "[n]": the next argument; true when one stood here.
  bool index() {
    if (rest_.empty() || rest_[0] != '[') return false;
    reordered_ = true;
    size_t close = rest_.find(']');
    std::string_view text = close == std::string_view::npos ? "" : rest_.substr(1, close - 1);
    size_t value = 0;
    auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    rest_.remove_prefix(close == std::string_view::npos ? 1 : close + 1);
    if (text.empty() || parsed.ptr != text.data() + text.size() || value < 1 ||
        value > values_.size()) {
      good_index_ = false;
      return true;
    }
    next_ = value - 1;
    return true;
  }

  std::optional<int> number(bool& after_index, std::string_view complaint) {
    if (!rest_.empty() && rest_[0] == '*') {
      rest_.remove_prefix(1);
      after_index = false;
      if (next_ < values_.size() && values_[next_].kind() == Kind::kInt &&
          std::llabs(values_[next_].as_int()) <= kMaxNumber)
        return static_cast<int>(values_[next_++].as_int());
      if (next_ < values_.size()) ++next_;
      out_ += complaint;
      return std::nullopt;
    }
    int value = 0;
    size_t length = 0;
    for (; length < rest_.size() && rest_[length] >= '0' && rest_[length] <= '9'; ++length) {
      if (value > kMaxNumber) {  // crazy: Go gives up on the rest of the format
        rest_ = {};
        return std::nullopt;
      }
      value = value * 10 + (rest_[length] - '0');
    }
    rest_.remove_prefix(length);
    if (length == 0) return std::nullopt;
    if (after_index) good_index_ = false;
    return value;
  }

  void extra() {
    out_ += "%!(EXTRA ";
    for (size_t i = next_; i < values_.size(); ++i) {
      if (i > next_) out_ += ", ";
      const Value& value = values_[i];
      if (!value.unbox().valid())
        out_ += "<nil>";
      else
        out_ += std::string(value.type().name) + "=" + format_v(value);
    }
    out_ += ')';
  }

  std::string_view rest_;
  std::span<const Value> values_;
  size_t next_ = 0;
  bool reordered_ = false;
  bool good_index_ = true;
  std::string out_;
};

}  // namespace

std::string go_duration(int64_t ns) {
  if (ns == 0) return "0s";
  const uint64_t size = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
  auto with_fraction = [](uint64_t whole, uint64_t part, int digits) {
    const std::string text = std::to_string(whole);
    if (part == 0) return text;
    std::string fraction = fmt::format("{:0{}}", part, digits);
    fraction.erase(fraction.find_last_not_of('0') + 1);
    return text + "." + fraction;
  };
  std::string text = ns < 0 ? "-" : "";
  if (size < 1'000) return text + std::to_string(size) + "ns";
  if (size < 1'000'000) return text + with_fraction(size / 1'000, size % 1'000, 3) + "\u00b5s";
  if (size < 1'000'000'000)
    return text + with_fraction(size / 1'000'000, size % 1'000'000, 6) + "ms";
  const uint64_t seconds = size / 1'000'000'000;
  if (seconds >= 3600) text += std::to_string(seconds / 3600) + "h";
  if (seconds >= 60) text += std::to_string(seconds / 60 % 60) + "m";
  return text + with_fraction(seconds % 60, size % 1'000'000'000, 9) + "s";
}

std::string format_v(const Value& value) { return Printer().format(Spec{}, value); }

std::string sprint(std::span<const Value> values) {
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) {
    // A space stands between operands when neither is a string.
    if (i > 0 && values[i - 1].kind() != Kind::kString && values[i].kind() != Kind::kString)
      out += ' ';
    out += format_v(values[i]);
  }
  return out;
}

std::string sprintln(std::span<const Value> values) {
  std::string out;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ' ';
    out += format_v(values[i]);
  }
  return out + '\n';
}

std::string sprintf(std::string_view format, std::span<const Value> values) {
  return Formatter(format, values).run();
}

}  // namespace kasane::cli::tmpl
