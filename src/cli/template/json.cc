// Go's encoding/json, writing side.
#include <fmt/format.h>

#include <cmath>

#include "cli/template/gofmt.h"
#include "cli/template/utf8.h"
#include "cli/template/value.h"

namespace kasane::cli::tmpl {
namespace {

bool is_empty(const Value& value) {
  switch (value.kind()) {
    case Kind::kStruct:
      return false;
    default:
      return !value.truth();
  }
}

std::string json_number(double number) {
  double size = std::fabs(number);
  if (size != 0 && (size < 1e-6 || size >= 1e21)) {
    std::string text = go_float(number, 'e', -1);
    size_t e = text.size() - 4;  // "e-09" becomes "e-9"
    if (text.size() > 4 && text[e] == 'e' && text[e + 1] == '-' && text[e + 2] == '0')
      text.erase(e + 2, 1);
    return text;
  }
  return go_float(number, 'f', -1);
}

class Writer {
 public:
  Writer(bool escape_html, bool indent, std::string_view prefix)
      : escape_(escape_html), indent_(indent), prefix_(prefix) {}

  void write(const Value& value) {
    switch (value.kind()) {
      case Kind::kInvalid:
      case Kind::kNil:
        out += "null";
        return;
      case Kind::kBool:
        out += value.as_bool() ? "true" : "false";
        return;
      case Kind::kInt:
        out += std::to_string(value.as_int());
        return;
      case Kind::kFloat:
        out += json_number(value.as_real());
        return;
      case Kind::kString:
        out += &value.type() == &types::kNumber ? value.text()
                                                : json_string(value.json_text(), escape_);
        return;
      case Kind::kList:
        return write_list(value);
      case Kind::kMap:
        return write_map(value);
      case Kind::kStruct:
        return write_struct(value);
    }
  }

  std::string out;

 private:
  void write_list(const Value& value) {
    if (value.is_nil_container()) {
      out += "null";
      return;
    }
    open('[');
    for (const Value& item : value.items()) {
      next();
      write(item);
    }
    close(']');
  }

  void write_map(const Value& value) {
    if (value.is_nil_container()) {
      out += "null";
      return;
    }
    open('{');
    for (const auto& [key, item] : value.entries()) member(key, item);
    close('}');
  }

  void write_struct(const Value& value) {
    const bool outer = escape_;
    escape_ = escape_ || value.type().is_row;
    open('{');
    for (const Field& field : value.fields())
      if (!field.json_name.empty() && !(field.omit_empty && is_empty(field.value)))
        member(field.json_name, field.value);
    close('}');
    escape_ = outer;
  }

  void member(std::string_view key, const Value& value) {
    next();
    out += json_string(key, escape_);
    out += indent_ ? ": " : ":";
    write(value);
  }

  void open(char bracket) {
    out += bracket;
    ++depth_;
    first_ = true;
  }

  void next() {
    if (!first_) out += ',';
    first_ = false;
    new_line();
  }

  void close(char bracket) {
    --depth_;
    if (!first_) new_line();
    out += bracket;
    first_ = false;
  }

  void new_line() {
    if (!indent_) return;
    out += '\n';
    out += prefix_;
    out.append(4 * depth_, ' ');
  }

  bool escape_;
  bool indent_;
  std::string_view prefix_;
  size_t depth_ = 0;
  bool first_ = true;
};

}  // namespace

std::string json_string(std::string_view text, bool escape_html) {
  std::string out = "\"";
  while (!text.empty()) {
    const Rune rune = decode_rune(text);
    const uint32_t r = rune.value;
    if (!rune.valid) {
      out += "\\ufffd";
    } else if (r == '"' || r == '\\') {
      out += '\\';
      out += static_cast<char>(r);
    } else if (r < 0x20) {
      switch (r) {
        case '\b':
          out += "\\b";
          break;
        case '\f':
          out += "\\f";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        default:
          out += fmt::format("\\u{:04x}", r);
      }
    } else if (r == 0x2028 || r == 0x2029 || (escape_html && (r == '<' || r == '>' || r == '&'))) {
      out += fmt::format("\\u{:04x}", r);
    } else {
      out += text.substr(0, rune.width);
    }
    text.remove_prefix(rune.width);
  }
  return out + '"';
}

std::string to_json(const Value& value, bool escape_html) {
  Writer writer(escape_html, false, {});
  writer.write(value);
  return std::move(writer.out);
}

std::string to_indented_json(const Value& value, std::string_view prefix) {
  Writer writer(false, true, prefix);
  writer.write(value);
  return std::move(writer.out);
}

}  // namespace kasane::cli::tmpl
