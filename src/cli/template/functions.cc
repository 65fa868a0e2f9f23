#include "cli/template/functions.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/template/gofmt.h"
#include "cli/template/utf8.h"
#include "oci/json_build.h"

namespace kasane::cli::tmpl {
namespace {

using Args = std::span<const Value>;
constexpr int64_t kMaxPad = 1'000'000;

Error fail(std::string text) { return Error(ErrorKind::kInvalid, std::move(text)); }

// ---- containers

Result<int64_t> index_argument(const Value& boxed, size_t length) {
  Value index = boxed.unbox();
  if (!index.valid()) return fail("cannot index slice/array with nil");
  if (index.kind() != Kind::kInt)
    return fail(fmt::format("cannot index slice/array with type {}", index.type_name()));
  if (index.as_int() < 0 || static_cast<uint64_t>(index.as_int()) > length)
    return fail(fmt::format("index out of range: {}", index.as_int()));
  return index.as_int();
}

Result<Value> index_map(const Value& map, const Value& boxed) {
  Value key = boxed.unbox();
  if (!key.valid()) return fail("value is nil; should be of type string");
  if (key.kind() != Kind::kString)
    return fail(fmt::format("value has type {}; should be string", key.type_name()));
  auto found = map.entries().find(key.text());
  if (found != map.entries().end()) return found->second;
  return Value::zero(*map.type().elem);
}

Result<Value> call_index(Args args) {
  Value item = args[0].unbox();
  if (!item.valid()) return fail("index of untyped nil");
  for (const Value& index : args.subspan(1)) {
    item = item.unbox();
    if (item.kind() == Kind::kNil || !item.valid()) return fail("index of nil pointer");
    if (item.kind() == Kind::kMap) {
      item = TRY(index_map(item, index));
    } else if (item.kind() == Kind::kList || item.kind() == Kind::kString) {
      const size_t length = item.kind() == Kind::kList ? item.items().size() : item.text().size();
      const size_t at = static_cast<size_t>(TRY(index_argument(index, length)));
      if (at == length)
        return fail(item.kind() == Kind::kList ? "reflect: slice index out of range"
                                               : "reflect: string index out of range");
      item = item.kind() == Kind::kList
                 ? item.items()[at]
                 : Value::integer(static_cast<unsigned char>(item.text()[at]));
    } else {
      return fail(fmt::format("can't index item of type {}", item.type_name()));
    }
  }
  return item;
}

Result<Value> call_slice(Args args) {
  Value item = args[0].unbox();
  if (!item.valid()) return fail("slice of untyped nil");
  if (args.size() > 4) return fail(fmt::format("too many slice indexes: {}", args.size() - 1));
  const bool is_string = item.kind() == Kind::kString;
  if (is_string && args.size() == 4) return fail("cannot 3-index slice a string");
  if (!is_string && item.kind() != Kind::kList)
    return fail(fmt::format("can't slice item of type {}", item.type_name()));
  const size_t length = is_string ? item.text().size() : item.items().size();
  std::array<int64_t, 3> at{0, static_cast<int64_t>(length), static_cast<int64_t>(length)};
  for (size_t i = 1; i < args.size(); ++i) at[i - 1] = TRY(index_argument(args[i], length));
  if (at[0] > at[1]) return fail(fmt::format("invalid slice index: {} > {}", at[0], at[1]));
  if (at[1] > at[2]) return fail(fmt::format("invalid slice index: {} > {}", at[1], at[2]));
  if (is_string) return Value::string(item.text().substr(at[0], at[1] - at[0]));
  List part(item.items().begin() + at[0], item.items().begin() + at[1]);
  return Value::list(std::move(part), item.type());
}

Result<Value> call_len(Args args) {
  Value item = args[0].unbox();
  switch (item.kind()) {
    case Kind::kInvalid:
      return fail("reflect: call of reflect.Value.Type on zero Value");
    case Kind::kNil:
      return fail("len of nil pointer");
    case Kind::kString:
      return Value::integer(static_cast<int64_t>(item.text().size()));
    case Kind::kList:
      return Value::integer(static_cast<int64_t>(item.items().size()));
    case Kind::kMap:
      return Value::integer(static_cast<int64_t>(item.entries().size()));
    default:
      return fail(fmt::format("len of type {}", item.type_name()));
  }
}

// ---- comparison

enum class Basic { kNone, kBool, kInt, kFloat, kString };

Basic basic_kind(const Value& value) {
  switch (value.kind()) {
    case Kind::kBool:
      return Basic::kBool;
    case Kind::kInt:
      return Basic::kInt;
    case Kind::kFloat:
      return Basic::kFloat;
    case Kind::kString:
      return Basic::kString;
    default:
      return Basic::kNone;
  }
}

Result<bool> equal(const Value& a, const Value& b) {
  const Basic kind = basic_kind(a);
  if (kind != basic_kind(b)) {
    if (a.valid() && b.valid()) return fail("incompatible types for comparison");
    return false;
  }
  switch (kind) {
    case Basic::kBool:
      return a.as_bool() == b.as_bool();
    case Basic::kInt:
      return a.as_int() == b.as_int();
    case Basic::kFloat:
      return a.as_real() == b.as_real();
    case Basic::kString:
      return a.text() == b.text();
    case Basic::kNone:
      break;
  }
  auto is_nil = [](const Value& v) {
    return !v.valid() || v.kind() == Kind::kNil || v.is_nil_container();
  };
  if (is_nil(a) || is_nil(b)) return is_nil(a) == is_nil(b);
  return fail(fmt::format("non-comparable type {}: {}", format_v(b), b.type_name()));
}

Result<Value> call_eq(Args args) {
  if (args.size() < 2) return fail("missing argument for comparison");
  Value first = args[0].unbox();
  for (const Value& other : args.subspan(1))
    if (TRY(equal(first, other.unbox()))) return Value::boolean(true);
  return Value::boolean(false);
}

Result<Value> call_ne(Args args) {
  return Value::boolean(!TRY(equal(args[0].unbox(), args[1].unbox())));
}

Result<bool> less(const Value& boxed_a, const Value& boxed_b) {
  Value a = boxed_a.unbox();
  Value b = boxed_b.unbox();
  const Basic kind = basic_kind(a);
  if (kind == Basic::kNone || basic_kind(b) == Basic::kNone)
    return fail("invalid type for comparison");
  if (kind != basic_kind(b)) return fail("incompatible types for comparison");
  switch (kind) {
    case Basic::kInt:
      return a.as_int() < b.as_int();
    case Basic::kFloat:
      return a.as_real() < b.as_real();
    case Basic::kString:
      return a.text() < b.text();
    default:
      return fail("invalid type for comparison");
  }
}

Result<Value> call_lt(Args args) { return Value::boolean(TRY(less(args[0], args[1]))); }
Result<Value> call_le(Args args) {
  bool result = TRY(less(args[0], args[1])) || TRY(equal(args[0].unbox(), args[1].unbox()));
  return Value::boolean(result);
}
Result<Value> call_gt(Args args) { return Value::boolean(!TRY(call_le(args)).as_bool()); }
Result<Value> call_ge(Args args) { return Value::boolean(!TRY(less(args[0], args[1]))); }
Result<Value> call_not(Args args) { return Value::boolean(!args[0].unbox().truth()); }

Result<Value> call_logic(Args args) { return args.back(); }  // and, or: see the executor

Result<Value> call_call(Args) { return fail("call of nil"); }  // the rest: see the executor

// ---- text

Result<Value> call_print(Args args) { return Value::string(sprint(args)); }
Result<Value> call_println(Args args) { return Value::string(sprintln(args)); }
Result<Value> call_printf(Args args) {
  return Value::string(sprintf(args[0].text(), args.subspan(1)));
}

// template.evalArgs: Sprint, with "<no value>" where nothing is.
std::string joined(Args args) {
  std::vector<Value> values;
  for (const Value& value : args)
    values.push_back(value.unbox().valid() ? value : Value::string("<no value>"));
  return sprint(values);
}

Result<Value> call_html(Args args) {
  std::string out;
  for (char c : joined(args)) {
    switch (c) {
      case '\0':
        out += "\xef\xbf\xbd";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return Value::string(std::move(out));
}

Result<Value> call_js(Args args) {
  const std::string text = joined(args);
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const Rune rune = decode_rune(rest);
    switch (rune.value) {
      case '\\':
        out += "\\\\";
        break;
      case '\'':
        out += "\\'";
        break;
      case '"':
        out += "\\\"";
        break;
      case '<':
        out += "\\u003C";
        break;
      case '>':
        out += "\\u003E";
        break;
      case '&':
        out += "\\u0026";
        break;
      case '=':
        out += "\\u003D";
        break;
      default:
        if (rune.value < 0x20 || (rune.value >= 0x80 && !is_printable(rune.value)))
          out += fmt::format("\\u{:04X}", rune.value);
        else
          out += rest.substr(0, rune.width);
    }
    rest.remove_prefix(rune.width);
  }
  return Value::string(std::move(out));
}

Result<Value> call_urlquery(Args args) {
  std::string out;
  for (unsigned char c : joined(args)) {
    if (std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~')
      out += static_cast<char>(c);
    else if (c == ' ')
      out += '+';
    else
      out += fmt::format("%{:02X}", c);
  }
  return Value::string(std::move(out));
}

Result<Value> call_json(Args args) { return Value::string(to_json(args[0], false)); }
Result<Value> call_buildx_json(Args args) {
  std::string text = to_json(args[0], true);
  if (const Result<oci::Json> json = oci::Json::parse(text, "value")) text = oci::indented(*json, "  ");
  return Value::string(std::move(text));
}
constexpr Function kBuildxJson = {"json", {Param::kAny}, Param::kNone, call_buildx_json};

Result<Value> call_split(Args args) {
  std::string_view rest = args[0].text();
  const std::string& separator = args[1].text();
  List parts;
  while (!rest.empty() || !separator.empty()) {
    size_t at = separator.empty() ? decode_rune(rest).width : rest.find(separator);
    if (separator.empty() && at >= rest.size()) at = std::string_view::npos;
    parts.push_back(Value::string(std::string(rest.substr(0, at))));
    if (at == std::string_view::npos) break;
    rest.remove_prefix(at + separator.size());
  }
  return Value::list(std::move(parts), types::kStrings);
}

Result<Value> call_join(Args args) {
  std::string out;
  for (size_t i = 0; i < args[0].items().size(); ++i) {
    if (i > 0) out += args[1].text();
    out += args[0].items()[i].text();
  }
  return Value::string(std::move(out));
}

// Every rune changed; an invalid byte becomes U+FFFD, as strings.Map makes it.
std::string map_runes(std::string_view text, uint32_t (*change)(uint32_t)) {
  std::string out;
  while (!text.empty()) {
    const Rune rune = decode_rune(text);
    append_rune(out, change(rune.value));
    text.remove_prefix(rune.width);
  }
  return out;
}

Result<Value> call_lower(Args args) { return Value::string(map_runes(args[0].text(), to_lower)); }
Result<Value> call_upper(Args args) { return Value::string(map_runes(args[0].text(), to_upper)); }

Result<Value> call_title(Args args) {  // strings.Title
  std::string out;
  bool inside = false;
  for (std::string_view text = args[0].text(); !text.empty();) {
    const Rune rune = decode_rune(text);
    const bool letter = is_letter_or_digit(rune.value);
    append_rune(out, letter && !inside ? to_upper(rune.value) : rune.value);
    inside = letter;
    text.remove_prefix(rune.width);
  }
  return Value::string(std::move(out));
}

Result<Value> call_pad(Args args) {
  if (args[0].text().empty()) return args[0];
  const int64_t before = args[1].as_int();
  const int64_t after = args[2].as_int();
  if (before < 0 || after < 0) return fail("strings: negative Repeat count");
  if (before > kMaxPad || after > kMaxPad) return fail("pad is limited to 1000000 spaces");
  return Value::string(std::string(before, ' ') + args[0].text() + std::string(after, ' '));
}

Result<Value> call_truncate(Args args) {
  const int64_t length = args[1].as_int();
  const std::string& text = args[0].text();
  if (static_cast<int64_t>(text.size()) < length) return args[0];
  if (length < 0)
    return fail(fmt::format("runtime error: slice bounds out of range [:{}]", length));
  return Value::string(text.substr(0, static_cast<size_t>(length)));
}

Result<Value> call_first(Args args) { return args[0]; }

constexpr Param kNo = Param::kNone;
constexpr Param kAny = Param::kAny;
constexpr Param kRef = Param::kReflect;
constexpr Param kStr = Param::kString;
constexpr Param kNum = Param::kInt;

constexpr Function kFunctions[] = {
    {"and", {kRef, kNo, kNo}, kRef, call_logic},
    {"call", {kRef, kNo, kNo}, kRef, call_call},
    {"eq", {kRef, kNo, kNo}, kRef, call_eq},
    {"ge", {kRef, kRef, kNo}, kNo, call_ge},
    {"gt", {kRef, kRef, kNo}, kNo, call_gt},
    {"html", {kNo, kNo, kNo}, kAny, call_html},
    {"index", {kRef, kNo, kNo}, kRef, call_index},
    {"join", {Param::kStrings, kStr, kNo}, kNo, call_join},
    {"js", {kNo, kNo, kNo}, kAny, call_js},
    {"json", {kAny, kNo, kNo}, kNo, call_json},
    {"le", {kRef, kRef, kNo}, kNo, call_le},
    {"len", {kRef, kNo, kNo}, kNo, call_len},
    {"lower", {kStr, kNo, kNo}, kNo, call_lower},
    {"lt", {kRef, kRef, kNo}, kNo, call_lt},
    {"ne", {kRef, kRef, kNo}, kNo, call_ne},
    {"not", {kRef, kNo, kNo}, kNo, call_not},
    {"or", {kRef, kNo, kNo}, kRef, call_logic},
    {"pad", {kStr, kNum, kNum}, kNo, call_pad},
    {"print", {kNo, kNo, kNo}, kAny, call_print},
    {"printf", {kStr, kNo, kNo}, kAny, call_printf},
    {"println", {kNo, kNo, kNo}, kAny, call_println},
    {"slice", {kRef, kNo, kNo}, kRef, call_slice},
    {"split", {kStr, kStr, kNo}, kNo, call_split},
    {"title", {kStr, kNo, kNo}, kNo, call_title},
    {"truncate", {kStr, kNum, kNo}, kNo, call_truncate},
    {"upper", {kStr, kNo, kNo}, kNo, call_upper},
    {"urlquery", {kNo, kNo, kNo}, kAny, call_urlquery},
};

constexpr Function kHeaderFunctions[] = {
    {"join", {kStr, kStr, kNo}, kNo, call_first}, {"json", {kStr, kNo, kNo}, kNo, call_first},
    {"lower", {kStr, kNo, kNo}, kNo, call_first}, {"split", {kStr, kStr, kNo}, kNo, call_first},
    {"title", {kStr, kNo, kNo}, kNo, call_first}, {"truncate", {kStr, kNum, kNo}, kNo, call_first},
    {"upper", {kStr, kNo, kNo}, kNo, call_first},
};

}  // namespace

size_t Function::fixed_count() const {
  return static_cast<size_t>(std::find(fixed.begin(), fixed.end(), Param::kNone) - fixed.begin());
}

const Function* find_function(std::string_view name, bool header, bool buildx) {
  if (buildx && name == kBuildxJson.name) return &kBuildxJson;
  if (header)
    for (const Function& function : kHeaderFunctions)
      if (function.name == name) return &function;
  for (const Function& function : kFunctions)
    if (function.name == name) return &function;
  return nullptr;
}

}  // namespace kasane::cli::tmpl
