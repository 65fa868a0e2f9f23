#include "cli/registry_io.h"

#include <fmt/format.h>

#include "cli/units.h"
#include "oci/platform.h"

namespace kasane::cli {
namespace {

constexpr size_t kBarWidth = 50;

std::string bar(uint64_t current, uint64_t total) {
  const size_t filled = total == 0 ? 0 : static_cast<size_t>(kBarWidth * (current * 1.0 / total));
  std::string out(filled, '=');
  if (filled < kBarWidth) out += '>';
  out.resize(kBarWidth, ' ');
  return "[" + out + "]";
}

}  // namespace

registry::Surroundings surroundings_of(Context& context) {
  registry::Surroundings around;
  around.environment = [&context](const std::string& name) { return context.env(name); };
  return around;
}

std::optional<std::string> check_platform(std::string_view value) {
  const Result<oci::Platform> platform = oci::Platform::parse(value);
  if (platform) return std::nullopt;
  return platform.error().message();
}

std::optional<std::string> check_json(std::string_view value) {
  if (value == "json") return std::nullopt;
  return "must be json";
}

void LayerLines::draw(const std::string& id, const std::string& text) {
  if (!context_.streams.out_is_terminal) {
    context_.out(fmt::format("{}: {}\n", id, text));
    context_.flush();
    return;
  }
  const auto [it, added] = rows_.emplace(id, rows_.size());
  if (added) {
    context_.out(fmt::format("{}: {}\n", id, text));
  } else {
    const size_t up = rows_.size() - it->second;
    context_.out(fmt::format("\x1b[{}A\r\x1b[2K{}: {}\x1b[{}B\r", up, id, text, up));
  }
  context_.flush();
}

void LayerLines::status(const std::string& id, const std::string& text) {
  if (!quiet_) draw(id, text);
}

void LayerLines::progress(const std::string& id, const std::string& verb, uint64_t current, uint64_t total) {
  if (quiet_ || !context_.streams.out_is_terminal) return;
  draw(id, fmt::format("{} {}  {}/{}", verb, bar(current, total), human_size(static_cast<double>(current), 4),
                       human_size(static_cast<double>(total), 4)));
}

void LayerLines::line(const std::string& text) {
  if (!quiet_) context_.out(text + "\n");
}

}  // namespace kasane::cli
