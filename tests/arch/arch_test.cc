// Keeps the layer rules of docs/architecture.md true: allowed includes, no cycles,
// headers that compile alone.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

namespace {

namespace fs = std::filesystem;
const fs::path kSource = fs::path(KASANE_SOURCE_DIR) / "src";

std::map<std::string, std::set<std::string>> read_layers() {
  std::map<std::string, std::set<std::string>> layers;
  std::ifstream in(fs::path(KASANE_SOURCE_DIR) / "cmake" / "layers.txt");
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    size_t colon = line.find(':');
    std::istringstream rest(line.substr(colon + 1));
    std::set<std::string>& allowed = layers[line.substr(0, colon)];
    for (std::string name; rest >> name;) allowed.insert(name);
  }
  return layers;
}

std::vector<fs::path> files_of(const std::string& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(kSource / folder))
    if (entry.path().extension() == ".h" || entry.path().extension() == ".cc")
      files.push_back(entry.path());
  return files;
}

// Folders that a file includes by a path that starts at src/.
std::set<std::string> includes_of(const fs::path& file) {
  std::set<std::string> folders;
  std::ifstream in(file);
  static const std::regex include(R"re(^\s*#include\s+"([a-z_]+)/)re");
  for (std::string line; std::getline(in, line);) {
    std::smatch match;
    if (std::regex_search(line, match, include)) folders.insert(match[1]);
  }
  return folders;
}

TEST(Arch, EveryFolderIsInTheLayerList) {
  auto layers = read_layers();
  for (const auto& entry : fs::directory_iterator(kSource))
    if (entry.is_directory()) {
      EXPECT_TRUE(layers.contains(entry.path().filename())) << entry.path();
    }
}

TEST(Arch, OnlyAllowedIncludes) {
  auto layers = read_layers();
  for (const auto& [folder, allowed] : layers) {
    if (!fs::exists(kSource / folder)) continue;
    for (const fs::path& file : files_of(folder))
      for (const std::string& used : includes_of(file))
        EXPECT_TRUE(used == folder || used == "base" || allowed.contains("*") ||
                    allowed.contains(used))
            << fs::relative(file, kSource) << " includes " << used << "/, which " << folder
            << " may not (cmake/layers.txt)";
  }
}

TEST(Arch, LayersHaveNoCycle) {
  auto layers = read_layers();
  std::set<std::string> done;
  bool progress = true;
  while (progress) {
    progress = false;
    for (const auto& [folder, allowed] : layers) {
      if (done.contains(folder)) continue;
      bool ready = true;
      for (const std::string& dependency : allowed)
        if (dependency != "*" && !done.contains(dependency)) ready = false;
      if (ready) {
        done.insert(folder);
        progress = true;
      }
    }
  }
  EXPECT_EQ(done.size(), layers.size());
}

TEST(Arch, HeadersCompileAlone) {
  std::ostringstream all;
  std::vector<fs::path> headers;
  for (const auto& [folder, allowed] : read_layers())
    if (fs::exists(kSource / folder))
      for (const fs::path& file : files_of(folder))
        if (file.extension() == ".h") headers.push_back(file);
  for (const fs::path& header : headers) {
    std::string command = std::string(KASANE_CXX) +
                          " -std=c++20 -D_GNU_SOURCE -fsyntax-only -x c++ -I" + kSource.string() +
                          " " + header.string();
    EXPECT_EQ(std::system(command.c_str()), 0) << header << " does not compile alone";
  }
}

TEST(Arch, HeavyHeadersStayInSourceFiles) {
  static const std::regex heavy(R"(#include\s+<(nlohmann|boost|CLI|toml\+\+|regex))");
  for (const auto& [folder, allowed] : read_layers()) {
    if (!fs::exists(kSource / folder)) continue;
    for (const fs::path& file : files_of(folder)) {
      if (file.extension() != ".h") continue;
      std::ifstream in(file);
      for (std::string line; std::getline(in, line);)
        EXPECT_FALSE(std::regex_search(line, heavy) && line.find("_fwd") == std::string::npos)
            << file << ": " << line;
    }
  }
}

}  // namespace
