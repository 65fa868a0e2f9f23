#include "build/dockerfile_input.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/stream.h"
#include "dockerfile/parser.h"

namespace kasane::build {
namespace {

constexpr uint64_t kMaxIgnoreFile = 4u << 20;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<std::string> read_below(const std::string& context_dir, const std::string& path,
                               uint64_t max_bytes) {
  if (!path.starts_with(context_dir + "/")) return read_file(path, max_bytes);
  UniqueFd root = TRY(open_file(context_dir, O_PATH | O_DIRECTORY));
  // Never blocks on a FIFO; what is no file fails to be read as one.
  UniqueFd fd = TRY(open_in_root(root.get(), path.substr(context_dir.size() + 1),
                                 O_RDONLY | O_NONBLOCK | O_NOCTTY));
  return read_fd(fd.get(), max_bytes, path);
}

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

Result<std::shared_ptr<const SourceText>> read_dockerfile(const std::string& path, int in_fd,
                                                          const std::string& context_dir) {
  if (path == "-") {
    FdSource source(in_fd, "standard input");
    StringSink sink;
    TRY(copy_stream(source, sink, dockerfile::kMaxDockerfileBytes));
    return std::make_shared<const SourceText>("Dockerfile", std::move(sink.text));
  }
  std::string text = TRY_CONTEXT(read_below(context_dir, path, dockerfile::kMaxDockerfileBytes),
                                 "failed to read dockerfile");
  return std::make_shared<const SourceText>(file_name(path), std::move(text));
}

Result<IgnoreFile> read_ignore_file(const std::string& context_dir, const std::string& dockerfile_path) {
  IgnoreFile ignore;
  std::string path = context_dir + "/.dockerignore";
  if (dockerfile_path != "-" && exists(dockerfile_path + ".dockerignore")) {
    path = dockerfile_path + ".dockerignore";
    ignore.name = file_name(path);
  }
  Result<std::string> text = read_below(context_dir, path, kMaxIgnoreFile);
  if (!text && text.error().kind() == ErrorKind::kNotFound) return ignore;
  if (!text) return std::move(text.error()).context("read " + ignore.name);
  ignore.matcher = TRY(dockerfile::IgnoreMatcher::parse(
      std::make_shared<const SourceText>(ignore.name, std::move(*text))));
  return ignore;
}

}  // namespace kasane::build
