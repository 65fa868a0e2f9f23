#include "tar/pax.h"

#include <algorithm>
#include <limits>

#include "base/base64.h"
#include "base/text.h"

namespace kasane::tar {
namespace {

struct Record {
  std::string_view key;
  std::string_view value;
};

Error malformed(std::string_view what) {
  return Error(ErrorKind::kCorrupt, "malformed PAX header: " + std::string(what));
}

Error bad_value(const Record& record) {
  return malformed("bad value of '" + std::string(record.key.substr(0, 80)) + "'");
}

// These two alternate in sparse format 0.0, once per region.
bool may_repeat(std::string_view key) {
  return key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes";
}

Result<Record> take_record(std::string_view& rest) {
  size_t digits = 0;
  while (digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9') ++digits;
  if (digits == 0 || digits > 10 || rest[0] == '0') return malformed("a record has no length");
  if (digits == rest.size() || rest[digits] != ' ') return malformed("no blank after a length");
  const uint64_t length = *parse_decimal(rest.substr(0, digits));
  if (length > rest.size() || length < digits + 2 || rest[length - 1] != '\n')
    return malformed("the length of a record is wrong");
  const std::string_view body = rest.substr(digits + 1, length - digits - 2);
  const size_t equals = body.find('=');
  if (equals == std::string_view::npos || equals == 0) return malformed("a record has no key");
  rest.remove_prefix(length);
  Record record{body.substr(0, equals), body.substr(equals + 1)};
  if (record.key.find('\0') != std::string_view::npos) return malformed("a key holds a NUL byte");
  return record;
}

Result<std::vector<Record>> split_records(std::string_view payload, const ReaderLimits& limits) {
  std::vector<Record> records;
  std::vector<std::string_view> keys;
  // Repeated keys of a 0.0 map have a limit of their own: two per region.
  size_t counted = 0;
  while (!payload.empty()) {
    records.push_back(TRY(take_record(payload)));
    const std::string_view key = records.back().key;
    if (may_repeat(key)) {
      if (records.size() - counted > 2ull * limits.max_sparse_regions)
        return Error(ErrorKind::kLimit, "a sparse file has more than " +
                                            std::to_string(limits.max_sparse_regions) + " regions");
      continue;
    }
    if (++counted > limits.max_pax_records)
      return Error(ErrorKind::kLimit, "a PAX header has more than " +
                                          std::to_string(limits.max_pax_records) + " records");
    keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  auto twice = std::adjacent_find(keys.begin(), keys.end());
  if (twice != keys.end())
    return malformed("key '" + std::string(twice->substr(0, 80)) + "' is given twice");
  return records;
}

Result<std::string> text_value(const Record& record) {
  if (record.value.empty() || record.value.find('\0') != std::string_view::npos)
    return bad_value(record);
  return std::string(record.value);
}

Result<uint64_t> number_value(const Record& record) {
  const std::optional<uint64_t> value = parse_decimal(record.value);
  if (!value) return bad_value(record);
  return *value;
}

Result<uint32_t> id_value(const Record& record) {
  const uint64_t value = TRY(number_value(record));
  if (value > std::numeric_limits<uint32_t>::max()) return bad_value(record);
  return static_cast<uint32_t>(value);
}

Result<Timespec> time_value(const Record& record) {
  const std::optional<Timespec> value = parse_pax_time(record.value);
  if (!value) return bad_value(record);
  return *value;
}

Result<void> add_xattr(const Record& record, std::string name, std::string value,
                       const ReaderLimits& limits, PaxHeader& header) {
  if (name.empty() || name.size() > 255 || name.find('\0') != std::string::npos)
    return malformed("bad name of an extended attribute");
  if (value.size() > limits.max_xattr_bytes)
    return Error(ErrorKind::kLimit, "extended attribute '" + std::string(record.key.substr(0, 80)) +
                                        "' is larger than " +
                                        std::to_string(limits.max_xattr_bytes) + " bytes");
  header.xattrs.push_back({std::move(name), std::move(value)});
  return {};
}

Result<void> set_sparse(const Record& record, PaxSparse& sparse) {
  const std::string_view key = record.key.substr(std::string_view("GNU.sparse.").size());
  sparse.present = true;
  if (key == "major") {
    sparse.major = TRY(number_value(record));
  } else if (key == "minor") {
    sparse.minor = TRY(number_value(record));
  } else if (key == "numblocks") {
    sparse.block_count = TRY(number_value(record));
  } else if (key == "size" || key == "realsize") {
    if (sparse.expanded_size) return malformed("two sizes of a sparse file");
    sparse.expanded_size = TRY(number_value(record));
  } else if (key == "name") {
    sparse.name = TRY(text_value(record));
  } else if (key == "offset") {
    sparse.regions.push_back({TRY(number_value(record)), UINT64_MAX});
  } else if (key == "numbytes") {
    if (sparse.regions.empty() || sparse.regions.back().size != UINT64_MAX)
      return malformed("a sparse region has no offset");
    sparse.regions.back().size = TRY(number_value(record));
  } else if (key != "map") {
    return malformed("unknown key '" + std::string(record.key.substr(0, 80)) + "'");
  }
  return {};
}

// "offset,size,offset,size" of sparse format 0.1.
Result<void> parse_map(const Record& record, const ReaderLimits& limits, PaxSparse& sparse) {
  sparse.present = true;
  if (!sparse.regions.empty()) return malformed("two maps of a sparse file");
  std::string_view rest = record.value;
  while (!rest.empty()) {
    std::optional<uint64_t> pair[2];
    for (std::optional<uint64_t>& number : pair) {
      const size_t comma = std::min(rest.find(','), rest.size());
      number = parse_decimal(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      if (!number) return bad_value(record);
    }
    if (sparse.regions.size() >= limits.max_sparse_regions)
      return Error(ErrorKind::kLimit, "a sparse file has more than " +
                                          std::to_string(limits.max_sparse_regions) + " regions");
    sparse.regions.push_back({*pair[0], *pair[1]});
  }
  return {};
}

Result<void> set_record(const Record& record, const ReaderLimits& limits, PaxHeader& header) {
  constexpr std::string_view kSchily = "SCHILY.xattr.";
  constexpr std::string_view kLibarchive = "LIBARCHIVE.xattr.";
  const std::string_view key = record.key;
  if (key == "path") {
    header.path = TRY(text_value(record));
  } else if (key == "linkpath") {
    header.link_path = TRY(text_value(record));
  } else if (key == "size") {
    header.size = TRY(number_value(record));
  } else if (key == "uid") {
    header.uid = TRY(id_value(record));
  } else if (key == "gid") {
    header.gid = TRY(id_value(record));
  } else if (key == "mtime") {
    header.mtime = TRY(time_value(record));
  } else if (key == "hdrcharset") {
    // Bytes are kept as they are in both encodings that POSIX names.
    if (record.value != "BINARY" && record.value != "ISO-IR 10646 2000 UTF-8")
      return bad_value(record);
  } else if (key.starts_with(kSchily)) {
    TRY(add_xattr(record, decode_xattr_key(key.substr(kSchily.size())), std::string(record.value),
                  limits, header));
  } else if (key.starts_with(kLibarchive)) {
    std::optional<std::string> name = percent_decode(key.substr(kLibarchive.size()));
    std::optional<std::string> value = decode_base64(record.value, Padding::kOptional);
    if (!name || !value) return bad_value(record);
    TRY(add_xattr(record, std::move(*name), std::move(*value), limits, header));
  } else if (key == "GNU.sparse.map") {
    TRY(parse_map(record, limits, header.sparse));
  } else if (key.starts_with("GNU.sparse.")) {
    TRY(set_sparse(record, header.sparse));
  } else if (key == "SCHILY.realsize") {
    return Error(ErrorKind::kUnsupported, "sparse files of star are not supported");
  }
  return {};
}

// bsdtar writes both forms of one attribute.
Result<void> unify_xattrs(std::vector<Xattr>& xattrs) {
  std::sort(xattrs.begin(), xattrs.end());
  xattrs.erase(std::unique(xattrs.begin(), xattrs.end()), xattrs.end());
  for (size_t i = 1; i < xattrs.size(); ++i)
    if (xattrs[i].name == xattrs[i - 1].name)
      return malformed("two values of extended attribute '" + xattrs[i].name + "'");
  return {};
}

}  // namespace

std::optional<uint64_t> parse_decimal(std::string_view text) {
  if (text.empty() || text.size() > 19) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return value;
}

Result<PaxHeader> parse_pax(std::string_view payload, const ReaderLimits& limits) {
  PaxHeader header;
  for (const Record& record : TRY(split_records(payload, limits)))
    TRY(set_record(record, limits, header));
  if (!header.sparse.regions.empty() && header.sparse.regions.back().size == UINT64_MAX)
    return malformed("a sparse region has no size");
  TRY(unify_xattrs(header.xattrs));
  return header;
}

Result<std::optional<Timespec>> parse_global_pax(std::string_view payload,
                                                 const ReaderLimits& limits) {
  std::optional<Timespec> mtime;
  for (const Record& record : TRY(split_records(payload, limits))) {
    const std::string_view key = record.key;
    if (key == "mtime") {
      mtime = TRY(time_value(record));
    } else if (key != "comment" && key != "atime" && key != "ctime" && key != "SCHILY.archtype" &&
               key != "SCHILY.release") {
      return malformed("a global header may not set '" + std::string(key.substr(0, 80)) + "'");
    }
  }
  return mtime;
}

void append_pax_record(std::string& out, std::string_view key, std::string_view value) {
  const size_t fixed = key.size() + value.size() + 3;  // blank, '=' and newline
  size_t length = fixed + 1;
  while (fixed + std::to_string(length).size() != length)
    length = fixed + std::to_string(length).size();
  out += std::to_string(length);
  out += ' ';
  out += key;
  out += '=';
  out += value;
  out += '\n';
}

std::string format_pax_time(Timespec time) {
  // sec is the floor: -0.5 is {-1, 500000000}.
  const bool negative = time.sec < 0;
  uint64_t whole =
      negative ? uint64_t{0} - static_cast<uint64_t>(time.sec) : static_cast<uint64_t>(time.sec);
  uint32_t fraction = time.nsec;
  if (negative && fraction > 0) {
    --whole;
    fraction = 1'000'000'000 - fraction;
  }
  std::string text = (negative ? "-" : "") + std::to_string(whole);
  if (fraction == 0) return text;
  std::string digits = std::to_string(fraction);
  digits.insert(0, 9 - digits.size(), '0');
  digits.erase(digits.find_last_not_of('0') + 1);
  return text + "." + digits;
}

std::optional<Timespec> parse_pax_time(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const size_t dot = std::min(text.find('.'), text.size());
  const std::optional<uint64_t> whole = parse_decimal(text.substr(0, dot));
  if (!whole) return std::nullopt;
  uint32_t fraction = 0;
  bool more = false;
  size_t digits = 0;
  for (size_t i = dot + 1; i < text.size(); ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    if (digits++ < 9)
      fraction = fraction * 10 + static_cast<uint32_t>(text[i] - '0');
    else
      more |= text[i] != '0';
  }
  for (; digits < 9; ++digits) fraction *= 10;
  Timespec time{static_cast<int64_t>(*whole), fraction};
  if (!negative) return time;
  if (more) ++fraction;  // towards minus infinity, as for the second
  if (fraction == 0) return Timespec{-time.sec, 0};
  return Timespec{-time.sec - 1, 1'000'000'000 - fraction};
}

std::string decode_xattr_key(std::string_view key) {
  std::string name;
  for (size_t i = 0; i < key.size(); ++i) {
    const std::string_view code = key.substr(i, 3);
    if (code == "%3D" || code == "%25") {
      name += code == "%3D" ? '=' : '%';
      i += 2;
    } else {
      name += key[i];
    }
  }
  return name;
}

std::string encode_xattr_key(std::string_view name) {
  // Readers that know no escapes (Go) get the plain name whenever that is possible.
  if (name.find('=') == std::string_view::npos && decode_xattr_key(name) == name)
    return std::string(name);
  std::string key;
  for (char c : name) {
    if (c == '=')
      key += "%3D";
    else if (c == '%')
      key += "%25";
    else
      key += c;
  }
  return key;
}

}  // namespace kasane::tar
