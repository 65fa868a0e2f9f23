#include "dockerfile/mount.h"

#include <array>
#include <charconv>
#include <optional>

#include "base/csv.h"
#include "base/ram_size.h"
#include "base/text.h"
#include "dockerfile/instructions/instructions.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

constexpr std::array<std::string_view, 5> kTypes = {"bind", "cache", "tmpfs", "secret", "ssh"};
constexpr std::array<std::string_view, 3> kSharing = {"shared", "private", "locked"};

Error invalid(std::string message) { return Error(ErrorKind::kInvalid, std::move(message)); }

std::vector<std::string> to_strings(const auto& names) { return {names.begin(), names.end()}; }

// strconv.ParseBool.
std::optional<bool> parse_bool(std::string_view text) {
  for (std::string_view yes : {"1", "t", "T", "TRUE", "true", "True"})
    if (text == yes) return true;
  for (std::string_view no : {"0", "f", "F", "FALSE", "false", "False"})
    if (text == no) return false;
  return std::nullopt;
}

std::optional<uint32_t> parse_number(std::string_view text, int base) {
  uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class MountParser {
 public:
  explicit MountParser(const WordExpander& expand) : expand_(expand) {}

  Result<Mount> parse(std::string_view text) {
    std::vector<std::string> fields = TRY_CONTEXT(split_csv(text), "failed to parse csv mounts");
    for (const std::string& field : fields) TRY(read_field(field));
    TRY(check());
    return mount_;
  }

 private:
  bool is_secret_or_ssh() const {
    return mount_.type == MountType::kSecret || mount_.type == MountType::kSsh;
  }
  Error unexpected_key(std::string_view key) const {
    return invalid("unexpected key '" + std::string(key) + "' for mount type '" +
                   std::string(to_string(mount_.type)) + "'");
  }

  Result<> read_field(const std::string& field);
  Result<> read_flag(const std::string& key, const std::string& field);
  Result<> read_value(const std::string& key, const std::string& value, const std::string& field);
  Result<> read_number(const std::string& key, const std::string& value);
  Result<> read_type(const std::string& value);
  Result<> read_sharing(const std::string& value);
  Result<> set_read_only(const std::string& key, const std::string& value);
  Result<> check();
  Result<> check_secret() const;

  const WordExpander& expand_;
  Mount mount_;
  bool type_unknown_ = false;  // holds a variable at parse time: no rule of a type applies
  bool read_only_given_ = false;
  bool required_given_ = false;
  bool size_given_ = false;
  bool sharing_given_ = false;
};

Result<> MountParser::read_field(const std::string& field) {
  size_t equals = field.find('=');
  std::string key = ascii_lower(field.substr(0, equals));
  if (equals == std::string::npos) return read_flag(key, field);
  std::string value = field.substr(equals + 1);
  bool variable = value.find('$') != std::string::npos;
  if (key == "from") {
    size_t dollar = value.find('$');
    if (variable && dollar + 1 != value.size())
      return invalid("'from' doesn't support variable expansion, define alias stage instead");
    mount_.from = value;
    return {};
  }
  if (expand_) {
    value = TRY(expand_(value));
  } else if (variable) {
    // Texts are kept for whoever shows them; the rest waits for the expansion.
    if (key == "type") type_unknown_ = true;
    for (std::string_view judged : {"type", "sharing", "mode", "uid", "gid", "size", "required",
                                    "ro", "readonly", "rw", "readwrite"})
      if (key == judged) return {};
  }
  return read_value(key, value, field);
}

Result<> MountParser::read_flag(const std::string& key, const std::string& field) {
  if (key == "readonly" || key == "ro" || key == "readwrite" || key == "rw") {
    mount_.read_only = key == "readonly" || key == "ro";
    read_only_given_ = true;
    return {};
  }
  if (key == "required") {
    required_given_ = true;
    mount_.required = true;
    return {};
  }
  return invalid("invalid field '" + field + "' must be a key=value pair");
}

Result<> MountParser::read_type(const std::string& value) {
  std::string lower = ascii_lower(value);
  for (size_t i = 0; i < kTypes.size(); ++i) {
    if (kTypes[i] != lower) continue;
    mount_.type = static_cast<MountType>(i);
    return {};
  }
  return invalid("unsupported mount type " + quote(value) + suggestion(value, to_strings(kTypes)));
}

Result<> MountParser::read_sharing(const std::string& value) {
  std::string lower = ascii_lower(value);
  for (size_t i = 0; i < kSharing.size(); ++i) {
    if (kSharing[i] != lower) continue;
    mount_.sharing = static_cast<CacheSharing>(i);
    sharing_given_ = true;
    return {};
  }
  return invalid("unsupported sharing value " + quote(value) +
                 suggestion(value, to_strings(kSharing)));
}

Result<> MountParser::set_read_only(const std::string& key, const std::string& value) {
  std::optional<bool> flag = parse_bool(value);
  if (!flag) return invalid("invalid value for " + key + ": " + value);
  bool means_writable = key == "rw" || key == "readwrite";
  mount_.read_only = *flag != means_writable;
  read_only_given_ = true;
  return {};
}

Result<> MountParser::read_number(const std::string& key, const std::string& value) {
  std::optional<uint32_t> number = parse_number(value, key == "mode" ? 8 : 10);
  if (!number) return invalid("invalid value " + value + " for " + key);
  (key == "mode" ? mount_.mode : key == "uid" ? mount_.uid : mount_.gid) = number;
  return {};
}

Result<> MountParser::read_value(const std::string& key, const std::string& value,
                                 const std::string& field) {
  if (key == "type") return read_type(value);
  if (key == "sharing") return read_sharing(value);
  if (key == "mode" || key == "uid" || key == "gid") return read_number(key, value);
  if (key == "ro" || key == "readonly" || key == "rw" || key == "readwrite")
    return set_read_only(key, value);
  if (key == "source" || key == "src") {
    mount_.source = value;
  } else if (key == "target" || key == "dst" || key == "destination") {
    mount_.target = value;
  } else if (key == "id") {
    mount_.id = value;
  } else if (key == "env") {
    mount_.env = value;
  } else if (key == "required") {
    required_given_ = true;
    std::optional<bool> flag = parse_bool(value);
    if (!flag) return invalid("invalid value for " + key + ": " + value);
    mount_.required = *flag;
  } else if (key == "size") {
    size_given_ = true;
    std::optional<uint64_t> size = parse_ram_size(value);
    if (!size) return invalid("invalid value for " + key + ": " + value);
    mount_.size_bytes = *size;
  } else {
    return invalid("unexpected key '" + key + "' in '" + field + "'" +
                   suggestion(key, {"type", "from", "source", "target", "readonly", "id", "sharing",
                                    "required", "size", "mode", "uid", "gid", "src", "dst",
                                    "destination", "ro", "rw", "readwrite", "env"}));
  }
  return {};
}

Result<> MountParser::check_secret() const {
  if (!mount_.from.empty()) return invalid("secret mount should not have a from");
  if (sharing_given_) return invalid("secret mount should not define sharing");
  if (mount_.source.empty() && mount_.target.empty() && mount_.id.empty())
    return invalid("invalid secret mount. one of source, target required");
  if (!mount_.source.empty() && !mount_.id.empty())
    return invalid("both source and id can't be set");
  return {};
}

Result<> MountParser::check() {
  if (type_unknown_) return {};
  std::string type(to_string(mount_.type));
  bool owned = is_secret_or_ssh() || mount_.type == MountType::kCache;
  if (!owned && mount_.mode) return invalid("mode not allowed for " + quote(type) + " type mounts");
  if (!owned && mount_.uid) return invalid("uid not allowed for " + quote(type) + " type mounts");
  if (!owned && mount_.gid) return invalid("gid not allowed for " + quote(type) + " type mounts");
  if (!read_only_given_)
    mount_.read_only = mount_.type != MountType::kCache && mount_.type != MountType::kTmpfs;
  if (mount_.type == MountType::kSecret) TRY(check_secret());
  if (mount_.type == MountType::kSsh && !mount_.source.empty())
    return invalid("ssh mount should not have a source");
  if (sharing_given_ && mount_.type != MountType::kCache)
    return invalid("invalid cache sharing set for " + type + " mount");
  // Checked here and not where they stand, so that `required,type=secret` works too.
  if (required_given_ && !is_secret_or_ssh()) return unexpected_key("required");
  if (size_given_ && mount_.type != MountType::kTmpfs) return unexpected_key("size");
  if (mount_.target == "/") return invalid("invalid mount target \"/\"");
  return {};
}

}  // namespace

Result<Mount> parse_mount(const Word& csv, const WordExpander& expand) {
  auto mount = MountParser(expand).parse(csv.text);
  if (!mount) return std::move(mount.error()).at(csv.span);
  return std::move(*mount);
}

std::string_view to_string(MountType type) { return kTypes[static_cast<size_t>(type)]; }
std::string_view to_string(CacheSharing sharing) { return kSharing[static_cast<size_t>(sharing)]; }

}  // namespace kasane::dockerfile
