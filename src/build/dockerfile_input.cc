#include "build/dockerfile_input.h"

#include <unistd.h>

#include "base/fd.h"
#include "base/stream.h"
#include "dockerfile/parser.h"

namespace kasane::build {
namespace {

constexpr uint64_t kMaxIgnoreFile = 4u << 20;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Result<std::string> find_dockerfile(const std::string& context_dir,
                                    const std::optional<std::string>& file) {
  if (file) return *file;
  for (const char* name : {"/Dockerfile", "/dockerfile"})
    if (exists(context_dir + name)) return context_dir + name;
  return Error(ErrorKind::kNotFound, "failed to read dockerfile: open Dockerfile: no such file or directory")
      .hint("there is no Dockerfile in " + context_dir + "; name another file with -f");
}

Result<std::shared_ptr<const SourceText>> read_dockerfile(const std::string& path, int in_fd) {
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

Result<IgnoreFile> read_ignore_file(const std::string& context_dir, const std::string& dockerfile_path) {
  IgnoreFile ignore;
  std::string path = context_dir + "/.dockerignore";
  if (dockerfile_path != "-" && exists(dockerfile_path + ".dockerignore")) {
    path = dockerfile_path + ".dockerignore";
    ignore.name = file_name(path);
  }
  Result<std::string> text = read_file(path, kMaxIgnoreFile);
  if (!text && text.error().kind() == ErrorKind::kNotFound) return ignore;
  if (!text) return std::move(text.error()).context("read " + ignore.name);
  ignore.matcher = TRY(dockerfile::IgnoreMatcher::parse(
      std::make_shared<const SourceText>(ignore.name, std::move(*text))));
  return ignore;
}

}  // namespace kasane::build
