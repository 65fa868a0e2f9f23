// SourceCache::git: the cache's bare repository, and checkouts made from it.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "net/entry_lock.h"
#include "net/git_checkout.h"
#include "net/git_command.h"
#include "net/git_repository.h"
#include "net/source_cache.h"

namespace kasane::net {
namespace {

Result<std::string> absolute(const std::string& path) {
  if (path.starts_with('/')) return path;
  std::unique_ptr<char, void (*)(void*)> here(::getcwd(nullptr, 0), &::free);
  if (!here) return Error::from_errno(errno, "getcwd");
  return std::string(here.get()) + "/" + path;
}

// GitRef values need not come from the parser.
Result<void> check_ref(const GitRef& ref) {
  if (ref.remote.empty() || ref.remote.starts_with('-') || ref.ref.starts_with('-') ||
      ref.subdir.starts_with('/') || ref.subdir.starts_with('-'))
    return Error(ErrorKind::kInvalid, "git remotes, refs and directories cannot begin with '-'");
  bool scheme = ref.remote.starts_with("http://") || ref.remote.starts_with("https://") ||
                ref.remote.starts_with("git://") || ref.remote.starts_with("ssh://");
  if (!scheme && !looks_like_git(ref.remote))  // user@host:path; never a path of this machine
    return Error(ErrorKind::kInvalid, "\"" + ref.remote + "\" is not a git remote");
  return {};
}

Result<Git> make_git(const std::string& directory, const GitRef& ref, const GitOptions& options,
                     std::stop_token stop) {
  TRY(check_ref(ref));
  std::string base = TRY(absolute(directory)) + "/git";
  TRY(make_directories(base + "/home", 0700));
  for (char c : options.auth_header)
    if (static_cast<unsigned char>(c) < 0x20)
      return Error(ErrorKind::kInvalid, "the authorization header has a control character");
  return Git(ref.remote, base + "/home", base + "/known_hosts", options.ssh_auth_sock,
             options.auth_header, std::move(stop));
}

// One checkout below `into`: tree/ and, outside of it unless it is kept, git/.
class Checkout {
 public:
  Checkout(const Git& git, const Repository& repository, const GitRef& ref,
           const ResolvedRef& resolved, bool keep, const std::string& into)
      : git_(git), repository_(repository), ref_(ref), resolved_(resolved), keep_(keep) {
    place_.work_tree = into + "/tree";
    place_.git_dir = keep ? place_.work_tree + "/.git" : into + "/git";
  }
  // The directory to hand out.
  Result<std::string> make();

 private:
  Result<void> init();
  Result<void> take_objects();
  Result<bool> has_submodules();
  Result<void> update_submodules();
  const Git& git_;
  const Repository& repository_;
  const GitRef& ref_;
  const ResolvedRef& resolved_;
  bool keep_;
  Git::Place place_;
};

Result<void> Checkout::init() {
  TRY(make_directories(place_.work_tree, 0755));
  std::vector<std::string> args = {"init", "--quiet", "--template="};
  if (resolved_.object.size() == 64) args.push_back("--object-format=sha256");
  TRY(git_.must(place_, args));
  // Submodules with relative addresses start from here.
  TRY(git_.must(place_, {"config", "remote.origin.url", git_.remote()}));
  return {};
}

// A kept .git must stand alone. Otherwise the cache's objects are used where they are.
Result<void> Checkout::take_objects() {
  const std::string& bare = repository_.path();
  if (!keep_) {
    TRY(make_directories(place_.git_dir + "/objects/info", 0755));
    TRY(replace_file(place_.git_dir + "/objects/info/alternates", bare + "/objects\n"));
    Result<std::string> shallow = read_file(bare + "/shallow");
    if (!shallow && shallow.error().kind() != ErrorKind::kNotFound) return shallow.error();
    if (shallow) TRY(replace_file(place_.git_dir + "/shallow", *shallow));
    return {};
  }
  Git::Place local = place_;
  local.local_only = true;
  bool named = resolved_.name.starts_with("refs/");
  std::string spec = Repository::keep_ref(resolved_.object) + (named ? ":" + resolved_.name : "");
  TRY(git_.must(local, {"fetch", "--quiet", "--no-tags", "--update-head-ok", "--depth=1", "--",
                        bare, spec}));
  return {};
}

Result<bool> Checkout::has_submodules() {
  ProcessOutput found =
      TRY(git_.run(place_, {"cat-file", "-e", resolved_.commit + ":.gitmodules"}));
  return found.exit_status == 0;
}

Result<void> Checkout::update_submodules() {
  std::vector<std::string> args = {"submodule",   "--quiet", "update", "--init", "--recursive",
                                   "--checkout", "--depth=1"};
  ProcessOutput output = TRY(git_.run(place_, args));
  if (output.exit_status != 0 && output.err.find("shallow") != std::string::npos) {
    args.pop_back();
    output = TRY(git_.run(place_, args));
  }
  if (output.exit_status != 0)
    return git_.failure(output, "git submodule update")
        .hint("submodules=false in the query leaves the submodules out");
  return {};
}

Result<std::string> Checkout::make() {
  TRY(init());
  TRY(take_objects());
  bool submodules = ref_.submodules && TRY(has_submodules());
  // Only the wanted directory, when git says that it is one; else all, and resolve_subdir finds
  // the words.
  bool partial = false;
  if (!ref_.subdir.empty() && !submodules && !keep_) {
    ProcessOutput type =
        TRY(git_.run(place_, {"cat-file", "-t", resolved_.commit + ":" + ref_.subdir}));
    partial = type.exit_status == 0 && type.out == "tree\n";
  }
  if (partial) TRY(git_.must(place_, {"checkout", "--quiet", resolved_.commit, "--", ref_.subdir}));
  else TRY(git_.must(place_, {"checkout", "--quiet", "--detach", resolved_.commit}));
  if (submodules) TRY(update_submodules());
  TidyOptions tidy;
  tidy.keep_git_dir = keep_;
  if (ref_.commit_times) {
    std::string time = TRY(git_.must(place_, {"show", "-s", "--format=%ct", resolved_.commit}));
    tidy.mtime = std::strtoll(time.c_str(), nullptr, 10);
  }
  if (keep_) {
    // No credentials in the image; no times of this run.
    TRY(git_.must(place_, {"config", "remote.origin.url", redact_url(git_.remote())}));
    TRY(git_.must(place_, {"reflog", "expire", "--all", "--expire=now"}));
    ::unlink((place_.git_dir + "/FETCH_HEAD").c_str());
  }
  std::string directory = TRY(resolve_subdir(place_.work_tree, ref_.subdir));
  TRY(tidy_checkout(place_.work_tree, tidy));
  if (!keep_) TRY(remove_tree(place_.git_dir));
  return directory;
}

Result<GitSource> fetch_and_check_out(const Git& git, const std::string& entry, const GitRef& ref,
                                      bool keep, const std::string& into, std::stop_token stop) {
  ResolvedRef resolved = TRY(resolve_ref(git, ref));
  TRY(make_directories(entry, 0700));
  UniqueFd lock = TRY(lock_entry(entry + "/lock", stop));
  Repository repository(git, entry + (resolved.object.size() == 64 ? "/repo-sha256" : "/repo"));
  TRY(repository.fetch(resolved, ref.fetch_by_commit));
  TRY(check_commit(ref, resolved));
  Checkout checkout(git, repository, ref, resolved, keep, into);
  std::string directory = TRY(checkout.make());
  return GitSource{directory, resolved.commit};
}

std::string frame_of(const GitRef& ref) {
  return "git " + redact_url(ref.remote) + (ref.ref.empty() ? "" : "#" + ref.ref);
}

}  // namespace

Result<GitSource> SourceCache::git(const GitRef& ref, bool keep_git_dir, const std::string& into,
                                   const GitOptions& options, std::stop_token stop) {
  std::string frame = frame_of(ref);
  Git git = TRY_CONTEXT(make_git(directory_, ref, options, stop), frame);
  std::string target = TRY(absolute(into));
  std::string entry = TRY(absolute(directory_)) + "/git/" +
                      FieldHash("kasane git remote 1").add(ref.remote).finish().hex();
  if (::mkdir(target.c_str(), 0755) != 0) return Error::from_errno(errno, "mkdir " + target);
  // As in BuildKit, a subdirectory comes without .git.
  bool keep = (keep_git_dir || ref.keep_git_dir.value_or(false)) && ref.subdir.empty();
  Result<GitSource> source = fetch_and_check_out(git, entry, ref, keep, target, stop);
  if (source) return source;
  TRY(remove_tree(target));
  return std::move(source.error()).context(frame);
}

Result<std::string> SourceCache::git_commit(const GitRef& ref, const GitOptions& options,
                                            std::stop_token stop) {
  std::string frame = frame_of(ref);
  Git git = TRY_CONTEXT(make_git(directory_, ref, options, stop), frame);
  ResolvedRef resolved = TRY_CONTEXT(resolve_ref(git, ref), frame);
  return resolved.commit.empty() ? resolved.object : resolved.commit;
}

}  // namespace kasane::net
