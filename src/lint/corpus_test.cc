// Real Dockerfiles: check, outline and targets work on every one that parses, and fast. Read
// from the corpus archive beside the source tree; skipped where it is missing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>

#include "base/process.h"
#include "dockerfile/parser.h"
#include "lint/check.h"
#include "lint/check_report.h"
#include "lint/outline.h"
#include "oci/json.h"

namespace kasane::lint {
namespace {

namespace fs = std::filesystem;

class Corpus {
 public:
  Corpus() {
    const char* set = std::getenv("KASANE_CORPUS");
    fs::path root = set ? fs::path(set) : fs::path(KASANE_SOURCE_DIR) / "../shared/corpus";
    archive = root / "dockerfiles.tar.xz";
    if (!fs::exists(archive)) return;
    std::string pattern = (fs::temp_directory_path() / "kasane-corpus-XXXXXX").string();
    if (!mkdtemp(pattern.data())) return;
    temporary_ = pattern;
    auto unpacked = run_process({"tar", "xJf", archive.string(), "-C", pattern});
    present = unpacked && unpacked->exit_status == 0;
  }
  ~Corpus() {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> out;
    for (const auto& entry : fs::recursive_directory_iterator(temporary_))
      if (entry.is_regular_file() && !entry.path().filename().string().ends_with(".dockerignore"))
        out.push_back(entry.path());
    return out;
  }
  fs::path archive;
  bool present = false;

 private:
  fs::path temporary_;
};

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(LintCorpus, EveryDockerfile) {
  Corpus corpus;
  if (!corpus.present) GTEST_SKIP() << corpus.archive << " is missing or cannot be unpacked";
  int checked = 0;
  std::map<std::string, int> rules;
  for (const fs::path& path : corpus.files()) {
    auto file = dockerfile::parse(path.filename().string(), read(path));
    if (!file) continue;
    ++checked;
    const auto start = std::chrono::steady_clock::now();
    auto report = check_dockerfile(*file, {});
    ASSERT_TRUE(report) << path << ": " << report.error().full_message();
    const std::string text = check_text(*report);
    const std::string json = check_json(*report, *file->source);
    auto shape = outline(*file, "", {}, oci::Platform::host());
    if (shape)
      EXPECT_TRUE(oci::Json::parse(outline_json(*shape, *file->source), "outline")) << path;
    else
      EXPECT_TRUE(report->error) << path << ": " << shape.error().full_message();
    EXPECT_EQ(targets(*file).size(), file->stages.size());
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took, std::chrono::milliseconds(50)) << path;

    EXPECT_TRUE(oci::Json::parse(json, "check")) << path;
    EXPECT_TRUE(report->error || text.starts_with("Check complete, ")) << path;
    for (const Finding& finding : report->findings) {
      ++rules[finding.rule];
      EXPECT_TRUE(finding.span) << path << ": " << finding.rule;
      if (std::getenv("KASANE_LINT_LIST"))
        std::cout << path.parent_path().filename().string() << ": " << short_text(finding) << "\n";
    }
    if (report->error && std::getenv("KASANE_LINT_LIST"))
      std::cout << path << ": error: " << report->error->full_message() << "\n";
  }
  EXPECT_GT(checked, 300);
  EXPECT_GT(rules.size(), 10u);
  for (const auto& [rule, count] : rules) RecordProperty(rule, count);
}

}  // namespace
}  // namespace kasane::lint
