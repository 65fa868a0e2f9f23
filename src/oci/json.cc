#include "oci/json.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace kasane::oci {
namespace {

// Builds the tree without recursion and without exceptions: the first refusal is kept in
// `error` and stops the parser.
class TreeBuilder {
 public:
  using json = nlohmann::json;

  explicit TreeBuilder(std::string_view what) : what_(what) {}

  bool null() { return value({}); }
  bool boolean(bool flag) {
    Json json_value;
    json_value.type = Json::Type::kBool;
    json_value.boolean = flag;
    return value(std::move(json_value));
  }
  bool number_integer(json::number_integer_t number) { return digits(std::to_string(number)); }
  bool number_unsigned(json::number_unsigned_t number) { return digits(std::to_string(number)); }
  bool number_float(json::number_float_t, const std::string& raw) { return digits(raw); }
  bool string(std::string& text) {
    Json json_value;
    json_value.type = Json::Type::kString;
    json_value.text = std::move(text);
    return value(std::move(json_value));
  }
  bool binary(json::binary_t&) { return fail(ErrorKind::kInvalid, "binary value"); }
  bool start_object(size_t) { return open(Json::Type::kObject); }
  bool start_array(size_t) { return open(Json::Type::kArray); }
  bool key(std::string& name) {
    open_.back()->members.push_back({std::move(name), Json{}});
    return true;
  }
  bool end_array() {
    open_.pop_back();
    return true;
  }
  bool end_object();
  bool parse_error(size_t position, const std::string&, const json::exception& exception) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    std::string why = exception.what();
    if (size_t end = why.find("] "); end != std::string::npos) why.erase(0, end + 2);
    return fail(ErrorKind::kInvalid,
                "not valid JSON (byte " + std::to_string(position) + "): " + why);
  }

  Json root;
  std::optional<Error> error;

 private:
  bool fail(ErrorKind kind, const std::string& why) {
    if (!error) error = Error(kind, what_ + ": " + why);
    return false;
  }
  bool digits(std::string text) {
    Json json_value;
    json_value.type = Json::Type::kNumber;
    json_value.text = std::move(text);
    return value(std::move(json_value));
  }
  Json* place(Json&& json_value) {
    if (open_.empty()) return &(root = std::move(json_value));
    Json& parent = *open_.back();
    if (parent.is_array()) return &parent.items.emplace_back(std::move(json_value));
    return &(parent.members.back().value = std::move(json_value));
  }
  bool value(Json&& json_value) {
    if (++count_ > Json::kMaxValues)
      return fail(ErrorKind::kLimit, "more than " + std::to_string(Json::kMaxValues) + " values");
    place(std::move(json_value));
    return true;
  }
  bool open(Json::Type type) {
    if (open_.size() >= Json::kMaxDepth)
      return fail(ErrorKind::kLimit,
                  "nested deeper than " + std::to_string(Json::kMaxDepth) + " levels");
    if (++count_ > Json::kMaxValues)
      return fail(ErrorKind::kLimit, "more than " + std::to_string(Json::kMaxValues) + " values");
    Json json_value;
    json_value.type = type;
    open_.push_back(place(std::move(json_value)));
    return true;
  }

  std::string what_;
  std::vector<Json*> open_;  // a parent does not grow while its child is open
  size_t count_ = 0;
};

bool TreeBuilder::end_object() {
  std::vector<std::string_view> names;
  for (const auto& [name, member] : open_.back()->members) names.push_back(name);
  std::sort(names.begin(), names.end());
  auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    return fail(ErrorKind::kInvalid, "duplicate member \"" + std::string(*twice) + "\"");
  open_.pop_back();
  return true;
}

// Length of the UTF-8 sequence at `at`, or 0 when it is not valid (Unicode 15, table 3-7).
size_t utf8_length(std::string_view text, size_t at) {
  auto byte = [&](size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  auto tail = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!tail(1) || !tail(2)) return 0;
    if (first == 0xE0 && byte(1) < 0xA0) return 0;
    return first == 0xED && byte(1) > 0x9F ? 0 : 3;
  }
  if (first < 0xF0 || first > 0xF4 || !tail(1) || !tail(2) || !tail(3)) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  return first == 0xF4 && byte(1) > 0x8F ? 0 : 4;
}

void write_escape(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  constexpr char kHex[] = "0123456789abcdef";
  out += "\\u00";
  out += kHex[c >> 4];
  out += kHex[c & 15];
}

// Go's bytes.EqualFold as far as member names can go: ASCII, and the two other letters that
// fold to ASCII ones, U+017F (s) and U+212A (k). Fact 0.10 of the reference.
std::string fold(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i, 2) == "\xC5\xBF") {
      out += 's';
      i += 1;
    } else if (name.substr(i, 3) == "\xE2\x84\xAA") {
      out += 'k';
      i += 2;
    } else {
      char c = name[i];
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  return out;
}

}  // namespace

Result<Json> Json::parse(std::string_view document, std::string_view what) {
  if (document.size() > kMaxBytes)
    return Error(ErrorKind::kLimit, std::string(what) + ": larger than 4 MiB");
  if (document.starts_with("\xEF\xBB\xBF"))
    return Error(ErrorKind::kInvalid, std::string(what) + ": starts with a byte order mark");
  TreeBuilder builder(what);
  bool parsed = nlohmann::json::sax_parse(document, &builder);
  if (builder.error) return std::move(*builder.error);
  if (!parsed) return Error(ErrorKind::kInvalid, std::string(what) + ": not valid JSON");
  return std::move(builder.root);
}

const Json* Json::find(std::string_view key) const {
  for (const auto& [name, member] : members)
    if (name == key) return &member;
  return nullptr;
}

void Json::write(std::string& out) const {
  switch (type) {
    case Type::kNull:
      out += "null";
      return;
    case Type::kBool:
      out += boolean ? "true" : "false";
      return;
    case Type::kNumber:
      out += text;
      return;
    case Type::kString:
      write_json_string(out, text);
      return;
    case Type::kArray:
      out += '[';
      for (size_t i = 0; i < items.size(); ++i) {
        if (i > 0) out += ',';
        items[i].write(out);
      }
      out += ']';
      return;
    case Type::kObject:
      out += '{';
      for (size_t i = 0; i < members.size(); ++i) {
        if (i > 0) out += ',';
        write_json_string(out, members[i].name);
        out += ':';
        members[i].value.write(out);
      }
      out += '}';
      return;
  }
}

void write_json_string(std::string& out, std::string_view text) {
  out += '"';
  for (size_t i = 0; i < text.size();) {
    auto c = static_cast<unsigned char>(text[i]);
    size_t length = utf8_length(text, i);
    if (length == 0) {
      out += "\\ufffd";
      i += 1;
      continue;
    }
    if (length == 1 && (c < 0x20 || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&')) {
      write_escape(out, c);
    } else if (std::string_view sequence = text.substr(i, length); sequence == "\xE2\x80\xA8") {
      out += "\\u2028";
    } else if (sequence == "\xE2\x80\xA9") {
      out += "\\u2029";
    } else {
      out += sequence;
    }
    i += length;
  }
  out += '"';
}

Result<void> refuse_case_variants(const Json& object, KeyList known, std::string_view what) {
  for (const auto& [name, member] : object.members) {
    std::string folded = fold(name);
    for (std::string_view expected : known) {
      if (name != expected && folded == fold(expected))
        return Error(ErrorKind::kInvalid, std::string(what) + ": ambiguous member \"" + name +
                                              "\": other tools read it as \"" +
                                              std::string(expected) + "\"");
    }
  }
  return {};
}

const Json* JsonReader::present(std::string_view key) const {
  const Json* member = object_.find(key);
  return member && !member->is_null() ? member : nullptr;
}

Error JsonReader::error(std::string_view key, std::string_view why) const {
  return Error(ErrorKind::kInvalid,
               what_ + ": " + prefix_ + std::string(key) + " " + std::string(why));
}

Result<void> JsonReader::get(std::string_view key, std::string& out) const {
  const Json* member = present(key);
  if (!member) return {};
  if (!member->is_string()) return error(key, "is not a string");
  if (member->text.find('\0') != std::string::npos) return error(key, "has a NUL byte");
  out = member->text;
  return {};
}

Result<void> JsonReader::get(std::string_view key, bool& out) const {
  const Json* member = present(key);
  if (!member) return {};
  if (member->type != Json::Type::kBool) return error(key, "is neither true nor false");
  out = member->boolean;
  return {};
}

Result<void> JsonReader::get(std::string_view key, int64_t& out) const {
  const Json* member = present(key);
  if (!member) return {};
  const std::string& text = member->text;
  int64_t number = 0;
  auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (member->type != Json::Type::kNumber || failure != std::errc() ||
      end != text.data() + text.size())
    return error(key, "is not a 64-bit integer");
  out = number;
  return {};
}

Result<void> JsonReader::get(std::string_view key, std::vector<std::string>& out) const {
  const Json* member = TRY(array(key));
  if (!member) return {};
  out.clear();
  for (const Json& item : member->items) {
    if (!item.is_string()) return error(key, "has an item that is not a string");
    if (item.text.find('\0') != std::string::npos) return error(key, "has a NUL byte");
    out.push_back(item.text);
  }
  return {};
}

Result<void> JsonReader::get(std::string_view key,
                             std::optional<std::vector<std::string>>& out) const {
  if (!present(key)) return {};
  return get(key, out.emplace());
}

Result<void> JsonReader::get(std::string_view key, std::map<std::string, std::string>& out) const {
  const Json* member = TRY(object(key));
  if (!member) return {};
  for (const auto& [name, value] : member->members) {
    if (!value.is_string() && !value.is_null()) return error(key, "has a value that is no string");
    if ((name + value.text).find('\0') != std::string::npos) return error(key, "has a NUL byte");
    out[name] = value.text;
  }
  return {};
}

Result<void> JsonReader::get_key_set(std::string_view key, std::set<std::string>& out) const {
  const Json* member = TRY(object(key));
  if (!member) return {};
  for (const auto& [name, value] : member->members) {
    if (!value.is_object() && !value.is_null()) return error(key, "has a value that is no object");
    if (name.find('\0') != std::string::npos) return error(key, "has a NUL byte");
    out.insert(name);
  }
  return {};
}

Result<const Json*> JsonReader::object(std::string_view key) const {
  const Json* member = present(key);
  if (member && !member->is_object()) return error(key, "is not an object");
  return member;
}

Result<const Json*> JsonReader::array(std::string_view key) const {
  const Json* member = present(key);
  if (member && !member->is_array()) return error(key, "is not an array");
  return member;
}

}  // namespace kasane::oci
