#include "exec/oci_runtime/config_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace kasane::exec {
namespace {

class ConfigWriter {
 public:
  ConfigWriter(const Reporter& report, const char* path) : report_(report), path_(path) {
    fd_ = ::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd_ < 0) report.fail("create", path, errno);
  }

  ConfigWriter& add(std::string_view text) {
    while (!text.empty()) {
      if (size_ == sizeof buffer_) flush();
      size_t n = text.size() < sizeof buffer_ - size_ ? text.size() : sizeof buffer_ - size_;
      std::memcpy(buffer_ + size_, text.data(), n);
      size_ += n;
      text.remove_prefix(n);
    }
    return *this;
  }

  ConfigWriter& add_number(uint64_t number) {
    FixedText<24> digits;
    digits.add_number(number);
    return add(digits.view());
  }

  ConfigWriter& add_string(std::string_view text) {
    constexpr char kHex[] = "0123456789abcdef";
    add("\"");
    for (char c : text) {
      auto byte = static_cast<unsigned char>(c);
      char escape[] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
      if (c == '"' || c == '\\' || byte < 0x20)
        add({escape, sizeof escape});
      else
        add({&c, 1});
    }
    return add("\"");
  }

  void finish() {
    flush();
    ::close(fd_);
  }

 private:
  void flush() {
    for (size_t done = 0; done < size_;) {
      ssize_t n = ::write(fd_, buffer_ + done, size_ - done);
      if (n < 0 && errno != EINTR) report_.fail("write", path_, errno);
      if (n > 0) done += static_cast<size_t>(n);
    }
    size_ = 0;
  }

  const Reporter& report_;
  const char* path_;
  int fd_;
  size_t size_ = 0;
  char buffer_[8192];
};

struct NamespaceName {
  const char* type;
  const char* file;
};
constexpr NamespaceName kNamespaces[] = {
    {"pid", "pid"}, {"ipc", "ipc"}, {"uts", "uts"}, {"cgroup", "cgroup"}, {"network", "net"}};

void add_namespaces(ConfigWriter& out, const LaunchPlan& plan, pid_t step_keeper) {
  for (const NamespaceName& name : kNamespaces) {
    if (std::string_view(name.type) == "network" && !plan.own_network) continue;
    out.add(",{\"type\":\"").add(name.type).add("\",\"path\":\"/proc/");
    out.add_number(static_cast<uint64_t>(step_keeper)).add("/ns/").add(name.file).add("\"}");
  }
}

void add_user(ConfigWriter& out, const LaunchPlan& plan) {
  const UserIdentity& id = *plan.identity;
  out.add("{\"uid\":").add_number(id.uid).add(",\"gid\":").add_number(id.gid);
  out.add(",\"umask\":18");
  // A single-id namespace has given setgroups up.
  if (!plan.single_id) {
    out.add(",\"additionalGids\":[");
    for (size_t i = 0; i < id.group_count; ++i) out.add(i == 0 ? "" : ",").add_number(id.groups[i]);
    out.add("]");
  }
  out.add("}");
}

}  // namespace

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    auto byte = static_cast<unsigned char>(text[at]);
    size_t more = byte < 0x80 ? 0 : byte >> 5 == 6 ? 1 : byte >> 4 == 14 ? 2 : byte >> 3 == 30 ? 3 : 9;
    if (more == 9 || at + more >= text.size()) return false;
    uint32_t value = more == 0 ? byte : byte & (0x3fu >> more);
    for (size_t i = 1; i <= more; ++i) {
      auto next = static_cast<unsigned char>(text[at + i]);
      if (next >> 6 != 2) return false;
      value = value << 6 | (next & 0x3fu);
    }
    constexpr uint32_t kFirst[] = {0, 0x80, 0x800, 0x10000};
    if (value < kFirst[more] || value > 0x10ffff || (value >> 11) == 0x1b) return false;
    at += more + 1;
  }
  return true;
}

void write_config(const Reporter& report, const LaunchPlan& plan, pid_t step_keeper) {
  const ConfigTexts& texts = plan.runtime->config;
  ConfigWriter out(report, plan.runtime->config_file);
  out.add(texts.head);
  add_namespaces(out, plan, step_keeper);
  out.add(texts.process);
  if (plan.add_home) out.add(texts.env_is_empty ? "" : ",").add_string(plan.home->view());
  out.add("],\"user\":");
  add_user(out, plan);
  out.add(",\"capabilities\":");
  out.add(plan.identity->uid == 0 ? texts.root_capabilities : texts.user_capabilities);
  out.add("}}\n").finish();
}

}  // namespace kasane::exec
