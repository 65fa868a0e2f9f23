// Runs commands in process against a store of their own. Test code only.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "base/fd.h"
#include "cli/main.h"
#include "tar/writer.h"

namespace kasane::cli::testing {

struct Outcome {
  int code = 0;
  std::string out, err;
};

inline UniqueFd memory_file(std::string_view content) {
  UniqueFd fd(memfd_create("stdin", MFD_CLOEXEC));
  EXPECT_TRUE(write_all(fd.get(), content, "memory file"));
  lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

// A root file system of small files, path → content.
inline std::string small_tar(const std::map<std::string, std::string>& files) {
  StringSink sink;
  tar::Writer writer(sink);
  for (const auto& [path, content] : files) {
    tar::Entry entry;
    entry.path = path;
    entry.size = content.size();
    EXPECT_TRUE(writer.begin(entry));
    EXPECT_TRUE(writer.write({reinterpret_cast<const uint8_t*>(content.data()), content.size()}));
    EXPECT_TRUE(writer.finish_member());
  }
  EXPECT_TRUE(writer.finish());
  return std::move(sink.text);
}

class CliTest : public ::testing::Test {
 protected:
  static constexpr int64_t kNow = 1'704'067'200'000'000'000;  // 2024-01-01

  void SetUp() override {
    setenv("TZ", "UTC", 1);
    auto made = TempDir::make("kasane-cli-test");
    ASSERT_TRUE(made);
    directory_.emplace(std::move(*made));
  }

  std::string path(std::string_view name) const {
    return directory_->path() + "/" + std::string(name);
  }

  Outcome run(const std::vector<std::string>& words, std::string_view input = {}) {
    StringSink out, err;
    UniqueFd in = memory_file(input);
    Streams streams;
    streams.in_fd = in.get();
    streams.out = &out;
    streams.err = &err;
    streams.out_is_terminal = out_is_terminal_;
    Context context(streams, {});
    context.globals.root = path("store");
    context.environment = [this](const std::string& name) -> std::optional<std::string> {
      auto found = environment_.find(name);
      if (found == environment_.end()) return std::nullopt;
      return found->second;
    };
    context.clock = [this] { return now_ns_; };
    Outcome outcome;
    outcome.code = run_command_line(words, context);
    outcome.out = std::move(out.text);
    outcome.err = std::move(err.text);
    return outcome;
  }

  // Imports a one-file image; returns its id ("sha256:...").
  std::string import(const std::string& name, const std::string& content,
                     std::vector<std::string> flags = {}) {
    std::vector<std::string> words = {"import"};
    words.insert(words.end(), flags.begin(), flags.end());
    words.push_back("-");
    if (!name.empty()) words.push_back(name);
    Outcome outcome = run(words, small_tar({{"file", content}}));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out.substr(0, outcome.out.find('\n'));
  }

  std::map<std::string, std::string> environment_;
  int64_t now_ns_ = kNow;
  bool out_is_terminal_ = false;
  std::optional<TempDir> directory_;
};

}  // namespace kasane::cli::testing
