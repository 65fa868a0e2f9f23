// Other people's files: BuildKit's parser and shell tables, and real Dockerfiles. Read from
// the corpus archives beside the source tree; skipped where they are missing.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "base/diagnostic.h"
#include "base/process.h"
#include "dockerfile/dump.h"
#include "dockerfile/expand.h"
#include "dockerfile/ignore.h"
#include "dockerfile/parser.h"
#include "dockerfile/unicode.h"

namespace kasane::dockerfile {
namespace {

namespace fs = std::filesystem;

// An archive of the corpus, unpacked for the life of the object.
class Corpus {
 public:
  explicit Corpus(const std::string& name) {
    const char* set = std::getenv("KASANE_CORPUS");
    fs::path root = set ? fs::path(set) : fs::path(KASANE_SOURCE_DIR) / "../shared/corpus";
    archive_ = root / (name + ".tar.xz");
    if (!fs::exists(archive_)) return;
    std::string pattern = (fs::temp_directory_path() / "kasane-corpus-XXXXXX").string();
    if (!mkdtemp(pattern.data())) return;
    temporary_ = pattern;
    auto unpacked = run_process({"tar", "xJf", archive_.string(), "-C", pattern});
    if (unpacked && unpacked->exit_status == 0) root_ = temporary_;
  }
  ~Corpus() {
    std::error_code ignored;
    if (!temporary_.empty()) fs::remove_all(temporary_, ignored);
  }
  bool present() const { return !root_.empty(); }
  const fs::path& archive() const { return archive_; }
  fs::path find_dir(const std::string& name) const {
    for (const auto& entry : fs::recursive_directory_iterator(root_))
      if (entry.is_directory() && entry.path().filename() == name) return entry.path();
    return {};
  }
  const fs::path& root() const { return root_; }

 private:
  fs::path archive_;
  fs::path temporary_;
  fs::path root_;
};

#define SKIP_WITHOUT(corpus) \
  if (!(corpus).present()) GTEST_SKIP() << (corpus).archive() << " is missing or cannot be unpacked"

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

std::shared_ptr<const SourceText> source_of(const fs::path& path) {
  return std::make_shared<const SourceText>(path.filename().string(), read_file(path));
}

TEST(Corpus, BuildkitDumps) {
  Corpus corpus("buildkit");
  SKIP_WITHOUT(corpus);
  int cases = 0;
  for (const auto& entry : fs::directory_iterator(corpus.find_dir("testfiles"))) {
    auto dumped = dump(source_of(entry.path() / "Dockerfile"));
    ASSERT_TRUE(dumped) << entry.path() << ": " << dumped.error().full_message();
    std::string expected = read_file(entry.path() / "result");
    EXPECT_EQ(trim(*dumped), trim(expected)) << entry.path();
    ++cases;
  }
  EXPECT_EQ(cases, 33);
}

TEST(Corpus, BuildkitNegative) {
  Corpus corpus("buildkit");
  SKIP_WITHOUT(corpus);
  const std::map<std::string, std::string> expected = {
      {"empty_dockerfile", "the Dockerfile cannot be empty"},
      {"only_comments", "file with no instructions"},
      {"env_no_value", "dockerfile parse error on line 3: ENV must have two arguments"},
      {"shykes-nested-json",
       "dockerfile parse error on line 1: when using JSON array syntax, arrays must be comprised "
       "of strings only"}};
  int cases = 0;
  for (const auto& entry : fs::directory_iterator(corpus.find_dir("testfiles-negative"))) {
    auto dumped = dump(source_of(entry.path() / "Dockerfile"));
    ASSERT_FALSE(dumped) << entry.path();
    EXPECT_EQ(dumped.error().full_message(), expected.at(entry.path().filename().string()));
    ++cases;
  }
  EXPECT_EQ(cases, 4);
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> out;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, separator);) out.push_back(part);
  if (!text.empty() && text.back() == separator) out.emplace_back();
  return out;
}

TEST(Corpus, EnvVarTable) {
  Corpus corpus("buildkit");
  SKIP_WITHOUT(corpus);
  EnvironmentList env(
      {"PWD=/home", "SHELL=bash", "KOREAN=\xed\x95\x9c\xea\xb5\xad\xec\x96\xb4", "NULL="});
  std::ifstream in(corpus.find_dir("shell") / "envVarTest");
  int cases = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#') || trim(line).empty()) continue;
    std::vector<std::string> parts = split(line, '|');
    if (parts.size() == 2) parts.emplace_back();
    ASSERT_EQ(parts.size(), 3u) << line;
    ++cases;
    if (trim(parts[0]) == "W") continue;
    auto expanded = expand_word(trim(parts[1]), env);
    if (trim(parts[2]) == "error") {
      EXPECT_FALSE(expanded) << line << " gives " << expanded->value;
    } else {
      ASSERT_TRUE(expanded) << line << ": " << expanded.error().full_message();
      EXPECT_EQ(expanded->value, trim(parts[2])) << line;
    }
  }
  EXPECT_EQ(cases, 230);
}

TEST(Corpus, WordsTable) {
  Corpus corpus("buildkit");
  SKIP_WITHOUT(corpus);
  EnvironmentList env;
  std::ifstream in(corpus.find_dir("shell") / "wordsTest");
  int cases = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with('#')) continue;
    if (line.starts_with("ENV ")) {
      std::string pair = line.substr(4);
      env.set(pair.substr(0, pair.find('=')), pair.substr(pair.find('=') + 1));
      continue;
    }
    std::vector<std::string> parts = split(line, '|');
    ASSERT_EQ(parts.size(), 2u) << line;
    std::string expected =
        parts[1].substr(std::min(parts[1].find_first_not_of(' '), parts[1].size()));
    auto words = expand_words(trim(parts[0]), env);
    std::vector<std::string> got = words ? words->words : std::vector<std::string>{"error"};
    EXPECT_EQ(got, split(expected, ',')) << line;
    ++cases;
  }
  EXPECT_EQ(cases, 24);
}

// Every span must lie in the file and hold what it claims.
void check_spans(const Dockerfile& file, const fs::path& path) {
  size_t size = file.source->text().size();
  uint32_t last = 0;
  for (const Stage& stage : file.stages) {
    EXPECT_LE(stage.span.end, size) << path;
    for (const Instruction& instruction : stage.instructions) {
      const SourceSpan& span = instruction.span;
      ASSERT_LT(span.begin, span.end) << path;
      ASSERT_LE(span.end, size) << path;
      EXPECT_GE(span.begin, last) << path;
      last = span.end;
      std::string_view text = file.source->text().substr(span.begin, span.end - span.begin);
      EXPECT_TRUE(text.starts_with(instruction.keyword.text)) << path << ": " << text;
    }
  }
}

// BuildKit's own lexer cases are in the collection; these are no builds. By folder name.
const std::map<std::string, std::string> kRefused = {
    {"shykes-nested-json",
     "when using JSON array syntax, arrays must be comprised of strings only"},
    {"env_no_value", "ENV must have two arguments"},
    {"only_comments", "file with no instructions"},
    {"json", "no build stage in current context"},
    {"jeztah-invalid-json-json-inside-string", "no build stage in current context"},
    {"jeztah-invalid-json-json-inside-string-double", "no build stage in current context"},
    {"jeztah-invalid-json-single-quotes", "no build stage in current context"},
    {"jeztah-invalid-json-unterminated-bracket", "no build stage in current context"},
    {"jeztah-invalid-json-unterminated-string", "no build stage in current context"},
    {"health", "HEALTHCHECK requires at least one argument"},
    {"flags", "unknown flag: --user"}};

TEST(Corpus, RealDockerfilesParse) {
  Corpus corpus("dockerfiles");
  SKIP_WITHOUT(corpus);
  int dockerfiles = 0;
  int ignore_files = 0;
  int refused_files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(corpus.root())) {
    if (!entry.is_regular_file()) continue;
    if (entry.path().filename().string().ends_with(".dockerignore")) {
      auto ignore = IgnoreMatcher::parse(source_of(entry.path()));
      EXPECT_TRUE(ignore) << entry.path() << ": " << ignore.error().full_message();
      ++ignore_files;
      continue;
    }
    ++dockerfiles;
    auto file = parse(source_of(entry.path()));
    auto refused = kRefused.find(entry.path().parent_path().filename().string());
    if (refused != kRefused.end()) {
      ASSERT_FALSE(file) << entry.path();
      EXPECT_EQ(file.error().message(), refused->second) << entry.path();
      ++refused_files;
      continue;
    }
    if (!file) {
      ADD_FAILURE() << entry.path() << "\n" << render_error(file.error());
      continue;
    }
    check_spans(*file, entry.path());
  }
  EXPECT_EQ(dockerfiles + ignore_files, 443);
  EXPECT_EQ(refused_files, static_cast<int>(kRefused.size()));
}

}  // namespace
}  // namespace kasane::dockerfile
