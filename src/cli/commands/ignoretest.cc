// kasane ignore-test: which line of .dockerignore decides about a path (G02-G07).
// The file is not named ignore_test.cc, because that would be a test.
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "build/dockerfile_input.h"

namespace kasane::cli {
namespace {

std::optional<std::string> real_path(const std::string& path) {
  char resolved[PATH_MAX];
  if (!::realpath(path.c_str(), resolved)) return std::nullopt;
  return std::string(resolved);
}

// "a/./b/../c/" as "a/c": the form that patterns are matched against; "" is the root.
Result<std::string> path_in_context(const std::string& given, const std::string& context_dir) {
  std::string_view rest = given;
  if (given.starts_with('/')) {
    std::string root = real_path(context_dir).value_or(context_dir);
    if (given == root || given.starts_with(root == "/" ? root : root + "/"))
      rest.remove_prefix(root.size());
  }
  std::vector<std::string_view> parts;
  for (size_t position = 0; position <= rest.size();) {
    size_t slash = std::min(rest.find('/', position), rest.size());
    std::string_view part = rest.substr(position, slash - position);
    position = slash + 1;
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (parts.empty()) {
      return Error(ErrorKind::kInvalid, fmt::format("{} is outside of the context", quote(given)))
          .hint("paths are relative to the context; name another one with --context");
    } else {
      parts.pop_back();
    }
  }
  return fmt::format("{}", fmt::join(parts, "/"));
}

// The nearest to the root of path and its parents for which that pattern decides.
std::string decided_at(const dockerfile::IgnoreMatcher& ignore, const std::string& path,
                       int pattern) {
  dockerfile::IgnoreVerdict verdict;
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    verdict = ignore.child(verdict, path.substr(0, slash));
    if (verdict.pattern == pattern) return path.substr(0, slash);
  }
  return path;
}

std::string explain(const dockerfile::IgnoreMatcher& ignore, const std::string& path) {
  const dockerfile::IgnoreVerdict verdict = ignore.verdict(path);
  if (verdict.pattern < 0) return "included (no pattern matches)";
  const dockerfile::IgnorePattern& pattern =
      ignore.patterns()[static_cast<size_t>(verdict.pattern)];
  const SourceText& source = *pattern.span.source;
  std::string_view written =
      source.text().substr(pattern.span.begin, pattern.span.end - pattern.span.begin);
  std::string text = fmt::format("{} by {}:{}: \"{}\"", verdict.excluded ? "ignored" : "included",
                                 sanitize(source.name()), pattern.line, sanitize(written));
  std::string at = decided_at(ignore, path, verdict.pattern);
  if (at != path) text += fmt::format(" (matches its parent \"{}\")", sanitize(at));
  return text;
}

Result<int> run_ignore_test(Context& context, const Arguments& arguments) {
  const std::string directory = arguments.value("context");
  struct stat st;
  if (::stat(directory.c_str(), &st) != 0) return Error::from_errno(errno, "context " + directory);
  if (!S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, fmt::format("context {} is not a directory", directory));
  std::optional<std::string> file;
  if (arguments.given("file")) file = arguments.value("file");
  // The patterns matter also where there is no Dockerfile yet.
  std::string dockerfile = build::find_dockerfile(directory, file).value_or(directory + "/Dockerfile");
  dockerfile::IgnoreMatcher ignore = TRY(build::read_ignore_file(directory, dockerfile)).matcher;
  for (const std::string& given : arguments.positional()) {
    std::string path = TRY(path_in_context(given, directory));
    context.out(fmt::format("{}: {}\n", sanitize(given), explain(ignore, path)));
  }
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "context",
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Directory whose .dockerignore decides",
     .default_text = "."},
    {.name = "file",
     .shorthand = 'f',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Name of the Dockerfile: its own FILE.dockerignore comes first"},
};

}  // namespace

extern const Command kCommand_ignoretest;
const Command kCommand_ignoretest = {
    .path = "ignore-test",
    .aliases = {},
    .summary = "Say which line of .dockerignore decides about a path",
    .usage = "[OPTIONS] PATH [PATH...]",
    .help =
        "Paths are relative to the context and need not exist. The last pattern that matches\n"
        "a path or one of its parents decides.\n\n"
        "Examples:\n"
        "  kasane ignore-test README.md src/main.c\n"
        "  kasane ignore-test --context web -f web/Dockerfile.prod web.conf",
    .flags = kFlags,
    .min_arguments = 1,
    .max_arguments = -1,
    .run = run_ignore_test,
};

}  // namespace kasane::cli
