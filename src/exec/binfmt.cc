// why_cannot_execute: native architectures, and handlers of binfmt_misc.
#include <algorithm>
#include <filesystem>

#include "base/fd.h"
#include "exec/executor.h"

namespace kasane::exec {
namespace {

constexpr const char* kHandlers = "/proc/sys/fs/binfmt_misc";

// OCI's names and those of qemu-user's handlers (qemu-aarch64, ...).
struct Emulator {
  std::string_view architecture;
  std::string_view qemu;
};
constexpr Emulator kEmulators[] = {
    {"amd64", "x86_64"},       {"386", "i386"},        {"arm64", "aarch64"}, {"arm", "arm"},
    {"riscv64", "riscv64"},    {"ppc64le", "ppc64le"}, {"ppc64", "ppc64"},   {"s390x", "s390x"},
    {"mips64le", "mips64el"},  {"mips64", "mips64"},   {"mipsle", "mipsel"}, {"mips", "mips"},
    {"loong64", "loongarch64"}};

// 32-bit programs run on their 64-bit kernels. (Some arm64 machines cannot; a step then
// fails with "exec format error", which the log names.)
bool runs_natively(std::string_view host, std::string_view wanted) {
  return host == wanted || (host == "amd64" && wanted == "386") ||
         (host == "arm64" && wanted == "arm");
}

// True when the enabled handler `text` works inside of an image: the kernel opened its
// interpreter at registration (flag F), so nothing has to be in the image.
bool works_in_images(const std::string& text) {
  if (!text.starts_with("enabled")) return false;
  size_t flags = text.find("\nflags:");
  if (flags == std::string::npos) return false;
  size_t end = text.find('\n', flags + 1);
  return text.substr(flags + 7, end - flags - 7).find('F') != std::string::npos;
}

enum class Handler { kNone, kNeedsFlag, kWorks };

Handler find_handler(std::string_view qemu) {
  Handler best = Handler::kNone;
  std::error_code error;
  for (auto it = std::filesystem::directory_iterator(kHandlers, error);
       !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    std::string name = it->path().filename().string();
    auto text = read_file(it->path().string(), 64 << 10);
    if (!text || !text->starts_with("enabled")) continue;
    std::string interpreter = "-" + std::string(qemu);
    size_t line = text->find("interpreter ");
    std::string program = line == std::string::npos
                              ? ""
                              : text->substr(line + 12, text->find('\n', line) - line - 12);
    bool matches = name.ends_with(interpreter) || program.ends_with(interpreter) ||
                   program.ends_with(interpreter + "-static");
    if (!matches) continue;
    if (works_in_images(*text)) return Handler::kWorks;
    best = Handler::kNeedsFlag;
  }
  return best;
}

}  // namespace

std::optional<std::string> why_cannot_execute(const oci::Platform& platform) {
  oci::Platform wanted = platform.normalized();
  oci::Platform host = oci::Platform::host().normalized();
  std::string start =
      "programs of " + wanted.str() + " cannot run on this host (" + host.str() + "): ";
  if (wanted.os != host.os)
    return start +
           "another operating system needs a builder of its own; use COPY and ADD only, or "
           "build there";
  if (runs_natively(host.architecture, wanted.architecture)) return std::nullopt;
  const Emulator* emulator =
      std::find_if(std::begin(kEmulators), std::end(kEmulators),
                   [&](const Emulator& e) { return e.architecture == wanted.architecture; });
  if (emulator == std::end(kEmulators))
    return start + "no emulator is known for this architecture; build on a machine of that kind";
  std::string qemu = "qemu-" + std::string(emulator->qemu);
  switch (find_handler(emulator->qemu)) {
    case Handler::kWorks:
      return std::nullopt;
    case Handler::kNeedsFlag:
      return start + "the handler for " + qemu +
             " in /proc/sys/fs/binfmt_misc lacks the flag F, so its interpreter is not reachable "
             "inside an image; register it again with F (package qemu-user-static does)";
    case Handler::kNone:
      break;
  }
  return start +
         "no handler for it in /proc/sys/fs/binfmt_misc; install qemu-user-static and "
         "binfmt-support, which register " +
         qemu;
}

}  // namespace kasane::exec
