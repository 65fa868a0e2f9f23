#include "cli/dockerfile_input.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/stream.h"
#include "dockerfile/parser.h"

namespace kasane::cli {
namespace {

constexpr uint64_t kMaxIgnoreFile = 4u << 20;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

Result<std::string> find_dockerfile(const std::string& context_dir,
                                    const std::optional<std::string>& file) {
  if (file) return *file;
  for (const char* name : {"/Dockerfile", "/dockerfile"})
    if (exists(context_dir + name)) return context_dir + name;
  return Error(ErrorKind::kNotFound,
               "failed to read dockerfile: open Dockerfile: no such file or directory")
      .hint("there is no Dockerfile in " + context_dir + "; name another file with -f");
}

}  // namespace

Result<std::shared_ptr<const SourceText>> read_dockerfile(const std::string& context_dir,
                                                          const std::optional<std::string>& file,
                                                          int in_fd) {
  std::string path = TRY(find_dockerfile(context_dir, file));
  if (path == "-") {
    FdSource source(in_fd, "standard input");
    StringSink sink;
    TRY(copy_stream(source, sink, dockerfile::kMaxDockerfileBytes));
    return std::make_shared<const SourceText>("Dockerfile", std::move(sink.text));
  }
  std::string text =
      TRY_CONTEXT(read_file(path, dockerfile::kMaxDockerfileBytes), "failed to read dockerfile");
  return std::make_shared<const SourceText>(file_name(path), std::move(text));
}

Result<dockerfile::IgnoreMatcher> read_ignore_file(const std::string& context_dir,
                                                   const std::optional<std::string>& file) {
  if (context_dir.empty()) return dockerfile::IgnoreMatcher();
  std::string path = context_dir + "/.dockerignore";
  std::string name = ".dockerignore";
  std::string dockerfile = file.value_or(context_dir + "/Dockerfile");
  if (!file && !exists(dockerfile) && exists(context_dir + "/dockerfile"))
    dockerfile = context_dir + "/dockerfile";
  if (dockerfile != "-" && exists(dockerfile + ".dockerignore")) {
    path = dockerfile + ".dockerignore";
    name = file_name(path);
  }
  Result<std::string> text = read_file(path, kMaxIgnoreFile);
  if (!text && text.error().kind() == ErrorKind::kNotFound) return dockerfile::IgnoreMatcher();
  if (!text) return std::move(text.error()).context("read " + name);
  return dockerfile::IgnoreMatcher::parse(
      std::make_shared<const SourceText>(name, std::move(*text)));
}

}  // namespace kasane::cli
