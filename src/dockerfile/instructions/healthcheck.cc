#include <charconv>
#include <cmath>

#include "dockerfile/instructions/instructions.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

constexpr int64_t kMinimumNs = 1'000'000;  // the engine refuses shorter ones (I10)

struct Unit {
  std::string_view name;
  double nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"\xce\xbcs", 1e3},
                           {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},        {"h", 3600e9}};

// Go's time.ParseDuration: [-+] then number unit pairs, "1h2.5s"; "0" needs no unit.
std::optional<int64_t> parse_duration(std::string_view text) {
  bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return std::nullopt;
    std::string_view number = text.substr(0, digits);
    double value = 0;
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value,
                                        std::chars_format::fixed);
    if (error != std::errc() || end != number.data() + number.size()) return std::nullopt;
    text.remove_prefix(digits);
    std::string_view unit = text.substr(0, text.find_first_of("0123456789."));
    const Unit* found = nullptr;
    for (const Unit& candidate : kUnits)
      if (candidate.name == unit) found = &candidate;
    if (!found) return std::nullopt;
    total += value * found->nanoseconds;
    text.remove_prefix(unit.size());
  }
  constexpr double kLargest = 9.2e18;
  if (!(total < kLargest)) return std::nullopt;
  auto rounded = static_cast<int64_t>(std::llround(total));
  return negative ? -rounded : rounded;
}

Result<int64_t> parse_interval(const FlagSet& flags, std::string_view name) {
  std::optional<Word> value = flags.get(name);
  if (!value || value->text.empty()) return int64_t{0};
  std::optional<int64_t> duration = parse_duration(value->text);
  if (!duration)
    return Error(ErrorKind::kInvalid, "time: invalid duration " + quote(value->text))
        .at(value->span)
        .hint("write a number and a unit: 500ms, 30s, 1m30s");
  if (*duration != 0 && *duration < kMinimumNs)
    return Error(ErrorKind::kInvalid, "Interval " + quote(name) + " cannot be less than 1ms")
        .at(value->span);
  return *duration;
}

Result<int> parse_retries(const FlagSet& flags) {
  std::optional<Word> value = flags.get("retries");
  if (!value || value->text.empty()) return 0;
  int retries = 0;
  std::string_view text = value->text;
  if (text.starts_with('+')) text.remove_prefix(1);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), retries);
  if (error != std::errc() || end != text.data() + text.size())
    return Error(ErrorKind::kInvalid, "--retries needs a number, not " + quote(value->text))
        .at(value->span);
  if (retries < 0)
    return Error(ErrorKind::kInvalid,
                 "--retries cannot be negative (" + std::to_string(retries) + ")")
        .at(value->span);
  return retries;
}

}  // namespace

Result<InstructionValue> parse_healthcheck(const Node& node) {
  using Kind = FlagSet::Kind;
  if (node.args.empty()) return at_least_one_argument(node, "HEALTHCHECK");
  std::string type = to_upper(node.args[0].text);
  Healthcheck out;
  if (type == "NONE") {
    // An empty JSON array is no argument either.
    if (node.args.size() > 1)
      return Error(ErrorKind::kInvalid, "HEALTHCHECK NONE takes no arguments")
          .at(node.args[1].span);
    out.none = true;
    return InstructionValue(std::move(out));
  }
  FlagSet flags = TRY(FlagSet::parse(node, {{"interval", Kind::kString},
                                            {"timeout", Kind::kString},
                                            {"start-period", Kind::kString},
                                            {"start-interval", Kind::kString},
                                            {"retries", Kind::kString}}));
  if (type != "CMD")
    return Error(ErrorKind::kInvalid, "Unknown type " + quote(type) + " in HEALTHCHECK (try CMD)")
        .at(node.args[0].span);
  if (node.args.size() < 2)
    return Error(ErrorKind::kInvalid, "Missing command after HEALTHCHECK CMD")
        .at(node.args[0].span);
  out.command = make_command(node, 1);
  out.interval_ns = TRY(parse_interval(flags, "interval"));
  out.timeout_ns = TRY(parse_interval(flags, "timeout"));
  out.start_period_ns = TRY(parse_interval(flags, "start-period"));
  out.start_interval_ns = TRY(parse_interval(flags, "start-interval"));
  out.retries = TRY(parse_retries(flags));
  return InstructionValue(std::move(out));
}

}  // namespace kasane::dockerfile
