// Helpers of the layer tests. Test code only.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/process.h"
#include "store/layer_internal.h"
#include "store/rootfs_view.h"
#include "tar/whiteout.h"

namespace kasane::store::testing {

inline std::string fail_text(const Error& error) { return error.full_message(); }

#define ASSERT_OK(expression)                                                 \
  do {                                                                        \
    auto&& assert_ok_result = (expression);                                   \
    ASSERT_TRUE(assert_ok_result) << assert_ok_result.error().full_message(); \
  } while (false)

inline TempDir temp_dir() { return TempDir::make("kasane-layer-test").take(); }

// Output of a shell command of the host; fails the test when the command fails.
inline std::string shell(const std::string& command) {
  Result<ProcessOutput> output = run_process({"sh", "-c", command}, 64u << 20);
  if (!output) {
    ADD_FAILURE() << command << ": " << output.error().full_message();
    return "";
  }
  EXPECT_EQ(output->exit_status, 0) << command << "\n" << output->out << output->err;
  return output->out;
}

inline std::string slurp(const std::string& path) {
  return read_file(path, 1u << 30).value_or("<unreadable>");
}
inline void spew(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline tar::Entry entry(tar::EntryType type, std::string path, std::string link = "") {
  tar::Entry e;
  e.type = type;
  e.path = std::move(path);
  e.link_target = std::move(link);
  e.mode = type == tar::EntryType::kDirectory ? 0755 : 0644;
  e.mtime = {1'600'000'000, 0};
  return e;
}
inline tar::Entry dir(std::string path) {
  return entry(tar::EntryType::kDirectory, std::move(path));
}
inline tar::Entry file(std::string path, uint64_t size = 0) {
  tar::Entry e = entry(tar::EntryType::kFile, std::move(path));
  e.size = size;
  return e;
}
inline tar::Entry whiteout(std::string path) { return tar::Entry(file(std::move(path))); }

inline std::string xattrs_of(const std::string& path, bool overlay) {
  std::vector<char> names(65536);
  const ssize_t n = ::llistxattr(path.c_str(), names.data(), names.size());
  std::vector<std::string> lines;
  for (ssize_t i = 0; i < n;) {
    const std::string name = &names[static_cast<size_t>(i)];
    i += static_cast<ssize_t>(name.size()) + 1;
    if (name == "security.selinux") continue;
    if (!overlay && name.find(".overlay.") != std::string::npos) continue;
    std::vector<char> value(65536);
    const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
    lines.push_back(" " + name + "=" +
                    sha256(std::string_view(value.data(), size < 0 ? 0 : static_cast<size_t>(size)))
                        .hex()
                        .substr(0, 8));
  }
  std::sort(lines.begin(), lines.end());
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

struct DumpOptions {
  bool mtimes = true;
  bool links = true;  // which paths share an inode
  bool overlay_xattrs = false;
};

// Everything that can be seen of a tree, one line per path.
inline std::map<std::string, std::string> dump_tree(const std::string& root,
                                                    const DumpOptions& options = {}) {
  std::map<std::string, std::string> lines;
  std::map<ino_t, std::string> first;
  std::vector<std::string> pending{""};
  while (!pending.empty()) {
    const std::string directory = pending.back();
    pending.pop_back();
    std::vector<std::string> names;
    DIR* d = ::opendir((root + "/" + directory).c_str());
    if (!d) {
      lines[directory] += " unreadable";
      continue;
    }
    while (dirent* e = ::readdir(d))
      if (std::string_view(e->d_name) != "." && std::string_view(e->d_name) != "..")
        names.emplace_back(e->d_name);
    ::closedir(d);
    for (const std::string& name : names) {
      const std::string path = directory.empty() ? name : directory + "/" + name;
      const std::string full = root + "/" + path;
      struct stat st;
      if (::lstat(full.c_str(), &st) != 0) {
        lines[path] = "no stat";
        continue;
      }
      if (tar::is_overlay_whiteout(st)) {
        lines[path] = "whiteout";
        continue;
      }
      char text[200];
      ::snprintf(text, sizeof text, "%06o %u:%u", st.st_mode, st.st_uid, st.st_gid);
      std::string line = text;
      if (options.mtimes)
        line += " " + std::to_string(st.st_mtim.tv_sec) + "." + std::to_string(st.st_mtim.tv_nsec);
      if (S_ISREG(st.st_mode))
        line += " " + std::to_string(st.st_size) + " " + sha256(slurp(full)).hex().substr(0, 12);
      if (S_ISLNK(st.st_mode)) {
        std::string target(static_cast<size_t>(st.st_size) + 1, '\0');
        const ssize_t n = ::readlink(full.c_str(), target.data(), target.size());
        line += " -> " + target.substr(0, n < 0 ? 0 : static_cast<size_t>(n));
      }
      if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
        line +=
            " dev " + std::to_string(major(st.st_rdev)) + ":" + std::to_string(minor(st.st_rdev));
      line += xattrs_of(full, options.overlay_xattrs);
      lines[path] = line;
      if (S_ISDIR(st.st_mode)) pending.push_back(path);
    }
  }
  if (!options.links) return lines;
  for (auto& [path, line] : lines) {
    struct stat st;
    if (::lstat((root + "/" + path).c_str(), &st) != 0 || S_ISDIR(st.st_mode) || st.st_nlink < 2)
      continue;
    const auto [known, inserted] = first.try_emplace(st.st_ino, path);
    if (!inserted) line += " same as " + known->second;
  }
  return lines;
}

inline std::string difference(const std::map<std::string, std::string>& a,
                              const std::map<std::string, std::string>& b) {
  std::string text;
  for (const auto& [path, line] : a)
    if (!b.contains(path))
      text += "only in first:  " + path + " " + line + "\n";
    else if (b.at(path) != line)
      text += "differs:        " + path + "\n    " + line + "\n    " + b.at(path) + "\n";
  for (const auto& [path, line] : b)
    if (!a.contains(path)) text += "only in second: " + path + " " + line + "\n";
  return text;
}

// Imports a tar into a plain layer directory.
inline Result<LayerSummary> import_file(const std::string& tar_path, const std::string& directory,
                                        const ImportOptions& options = {}) {
  TRY(make_directories(directory));
  UniqueFd fd = TRY(open_file(tar_path, O_RDONLY));
  FdSource source(fd.get(), tar_path);
  return import_tar(directory, source, options);
}

inline Result<LayerPtr> open_directory(const std::string& directory) {
  std::shared_ptr<const LayerIndex> index = TRY(LayerIndex::open(directory + "/index", true));
  return LayerPtr(std::make_shared<Layer>(directory, std::move(index)));
}

inline Result<std::string> read_all(ByteSource& source) {
  StringSink sink;
  TRY(copy_stream(source, sink));
  return std::move(sink.text);
}

inline bool is_root() { return ::geteuid() == 0; }
#define NEEDS_ROOT() \
  if (!::kasane::store::testing::is_root()) GTEST_SKIP() << "needs root"

}  // namespace kasane::store::testing
