// Values of the Go-template subset: what a template sees as `.`. They carry the Go type
// that docker's own structures have there, because error sentences and a few rules (nil
// slices, zero values of missing keys) depend on it. Cheap to copy; immutable; thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kasane::cli::tmpl {

enum class Kind {
  kInvalid,  // no value at all: a missing map key
  kNil,      // nil interface or nil pointer
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kMap,  // string keys only
  kStruct,
};

// A Go type by name. Instances are static and compared by address.
struct GoType {
  std::string_view name;  // "[]string"
  Kind kind;
  const GoType* elem = nullptr;  // of lists and maps
  bool pointer = false;          // pointer to struct; the name starts with '*'
  // A row of a list: its own MarshalJSON escapes <, > and &, and its members are methods.
  bool is_row = false;
};

namespace types {
inline constexpr GoType kAny{"interface {}", Kind::kNil};
inline constexpr GoType kBool{"bool", Kind::kBool};
inline constexpr GoType kInt{"int", Kind::kInt};
inline constexpr GoType kInt32{"int32", Kind::kInt};
inline constexpr GoType kInt64{"int64", Kind::kInt};
inline constexpr GoType kFloat{"float64", Kind::kFloat};
inline constexpr GoType kString{"string", Kind::kString};
inline constexpr GoType kNumber{"json.Number", Kind::kString};
inline constexpr GoType kStrings{"[]string", Kind::kList, &kString};
inline constexpr GoType kAnyList{"[]interface {}", Kind::kList, &kAny};
inline constexpr GoType kStringMap{"map[string]string", Kind::kMap, &kString};
inline constexpr GoType kAnyMap{"map[string]interface {}", Kind::kMap, &kAny};
inline constexpr GoType kEmpty{"struct {}", Kind::kStruct};
inline constexpr GoType kSet{"map[string]struct {}", Kind::kMap, &kEmpty};
}  // namespace types

class Value;
using List = std::vector<Value>;
using Map = std::map<std::string, Value>;
struct Field;
using Struct = std::vector<Field>;

class Value {
 public:
  Value() = default;  // kInvalid
  static Value nil(const GoType& type = types::kAny);
  static Value boolean(bool value);
  static Value integer(int64_t value, const GoType& type = types::kInt);
  static Value real(double value);
  static Value string(std::string text, const GoType& type = types::kString);
  // A type with its own String() and MarshalJSON(), such as time.Time.
  static Value stringer(std::string printed, std::string in_json, const GoType& type);
  static Value list(List items, const GoType& type);
  static Value map(Map entries, const GoType& type);
  static Value object(Struct fields, const GoType& type);
  static Value strings(const std::vector<std::string>& items);
  // Go's zero value: "", 0, nil slice, nil map, nil interface.
  static Value zero(const GoType& type);

  Kind kind() const { return kind_; }
  bool valid() const { return kind_ != Kind::kInvalid; }
  const GoType& type() const { return *type_; }
  // The static type is interface{} (an element of a JSON list or map).
  bool boxed() const { return boxed_; }
  Value box() const;
  // reflect.ValueOf(v.Interface()): the content of an interface; nil becomes invalid.
  Value unbox() const;
  // As it stands in an error sentence.
  std::string_view type_name() const { return boxed_ ? types::kAny.name : type_->name; }

  bool as_bool() const { return number_ != 0; }
  int64_t as_int() const { return number_; }
  double as_real() const { return real_; }
  const std::string& text() const;
  // What JSON shows of a string: its own MarshalJSON, if it has one.
  const std::string& json_text() const { return json_text_ ? *json_text_ : text(); }
  const List& items() const;   // empty for a nil slice
  const Map& entries() const;  // empty for a nil map
  const Struct& fields() const;
  bool is_nil_container() const {
    return (kind_ == Kind::kList && !list_) || (kind_ == Kind::kMap && !map_);
  }
  const Value* find_field(std::string_view name) const;  // kStruct
  // Go's truth: non-zero, non-empty, non-nil.
  bool truth() const;

 private:
  Kind kind_ = Kind::kInvalid;
  bool boxed_ = false;
  const GoType* type_ = &types::kAny;
  int64_t number_ = 0;
  double real_ = 0;
  std::shared_ptr<const std::string> text_;
  std::shared_ptr<const std::string> json_text_;  // stringer() only
  std::shared_ptr<const List> list_;
  std::shared_ptr<const Map> map_;
  std::shared_ptr<const Struct> struct_;
};

struct Field {
  std::string_view name;       // as a template writes it; static text
  std::string_view json_name;  // empty: not in JSON
  Value value;
  bool omit_empty = false;
};

// Go's encoding/json: compact, map keys sorted, struct members in order.
std::string to_json(const Value& value, bool escape_html);
// json.Indent with four spaces, as `inspect` prints it; `prefix` starts every further line.
std::string to_indented_json(const Value& value, std::string_view prefix = {});
// A JSON string literal.
std::string json_string(std::string_view text, bool escape_html);

}  // namespace kasane::cli::tmpl
