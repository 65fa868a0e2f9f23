#include "net/git_repository.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/fd.h"
#include "net/http.h"

namespace kasane::net {
namespace {

constexpr const char* kIncoming = "refs/kasane/incoming";

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// Lines of ls-remote: "<id>\t<name>"; those of --symref: "ref: <name>\tHEAD".
std::map<std::string, std::string> parse_refs(std::string_view text, std::string& head) {
  std::map<std::string, std::string> refs;
  while (!text.empty()) {
    size_t end = std::min(text.size(), text.find('\n'));
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(text.size(), end + 1));
    size_t tab = line.find('\t');
    if (tab == line.npos) continue;
    std::string_view id = line.substr(0, tab), name = line.substr(tab + 1);
    if (id.starts_with("ref: ") && name == "HEAD") head = id.substr(5);
    else if (is_object_id(id)) refs.emplace(name, id);
  }
  return refs;
}

ResolvedRef from_id(std::string object, std::string name) {
  return {object, object, std::move(name)};
}

Error no_such_ref(const GitRef& ref) {
  return Error(ErrorKind::kNotFound,
               ref.ref.empty() ? "the repository has no default branch (is it empty?)"
                               : "the repository has no branch or tag \"" + ref.ref + "\"")
      .hint("commits are given with all their 40 (or 64) digits");
}

Result<ResolvedRef> ask_remote(const Git& git, const GitRef& ref) {
  bool is_default = ref.ref.empty() || ref.ref == "HEAD";
  std::vector<std::string> args = {"ls-remote", "--symref", "--", ref.remote};
  if (is_default) args.push_back("HEAD");
  else args.insert(args.end(), {ref.ref, ref.ref + "^{}"});
  std::string head;
  std::map<std::string, std::string> refs = parse_refs(TRY(git.must({}, args)), head);
  if (is_default) {
    if (!refs.contains("HEAD")) return no_such_ref(ref);
    return from_id(refs["HEAD"], head.empty() ? "HEAD" : head);
  }
  auto full = [&](const char* prefix) {
    return ref.ref.starts_with(prefix) ? ref.ref : prefix + ref.ref;
  };
  // git's checkout prefers branches, and so does BuildKit.
  for (const std::string& name : {full("refs/"), full("refs/heads/")})
    if (refs.contains(name)) {
      ResolvedRef resolved = from_id(refs[name], name);
      if (refs.contains(name + "^{}")) resolved.commit = refs[name + "^{}"];
      return resolved;
    }
  std::string tag = full("refs/tags/");
  if (!refs.contains(tag)) return no_such_ref(ref);
  ResolvedRef resolved = from_id(refs[tag], tag);
  if (refs.contains(tag + "^{}")) resolved.commit = refs[tag + "^{}"];
  return resolved;
}

}  // namespace

bool is_object_id(std::string_view text) {
  return (text.size() == 40 || text.size() == 64) &&
         text.find_first_not_of("0123456789abcdef") == text.npos;
}

Result<void> check_commit(const GitRef& ref, const ResolvedRef& resolved) {
  if (ref.checksum.empty() || resolved.object.starts_with(ref.checksum) ||
      resolved.commit.starts_with(ref.checksum))
    return {};
  std::string got = resolved.commit.empty() ? resolved.object : resolved.commit;
  if (got != resolved.object) got += " (tag " + resolved.object + ")";
  return Error(ErrorKind::kCorrupt, "checksum mismatch: the ref means commit " + got +
                                        ", expected " + ref.checksum)
      .hint("if the new commit is trusted, write it into the checksum");
}

Result<ResolvedRef> resolve_ref(const Git& git, const GitRef& ref) {
  if (is_object_id(ref.ref)) {
    ResolvedRef resolved{ref.ref, "", ""};
    // A tag object's id may still lead to the wanted commit; only fetching tells.
    return resolved;
  }
  if (ref.fetch_by_commit) {
    if (!is_object_id(ref.checksum))
      return Error(ErrorKind::kInvalid, "fetch-by-commit needs a full commit as checksum or ref");
    return ResolvedRef{ref.checksum, "", ""};
  }
  ResolvedRef resolved = TRY(ask_remote(git, ref));
  TRY(check_commit(ref, resolved));
  return resolved;
}

Result<void> Repository::create(bool sha256) {
  struct stat st;
  if (::stat((path_ + "/HEAD").c_str(), &st) == 0) {
    ::unlink((path_ + "/shallow.lock").c_str());  // of a git that was killed
    return {};
  }
  std::string temporary = path_ + ".new";
  TRY(remove_tree(temporary));
  TRY(remove_tree(path_));
  std::vector<std::string> args = {"init", "--quiet", "--bare", "--template="};
  if (sha256) args.push_back("--object-format=sha256");
  args.insert(args.end(), {"--", temporary});
  TRY(git_.must({}, args));
  if (::rename(temporary.c_str(), path_.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + path_);
  return {};
}

bool Repository::has(const std::string& object) const {
  Result<ProcessOutput> found =
      git_.run(place(), {"rev-parse", "--quiet", "--verify", keep_ref(object) + "^{commit}"});
  return found && found->exit_status == 0;
}

// True: fetched. False: the server cannot do it this way; `refused` tells that it does not
// give out single commits.
Result<bool> Repository::fetch_shallow(const std::string& source, const std::string& object,
                                       bool& refused) {
  std::vector<std::string> args = {"fetch", "--quiet", "--no-tags", "--force", "--depth=1", "--",
                                   git_.remote(), source + ":" + kIncoming};
  ProcessOutput output = TRY(git_.run(place(), args));
  if (output.exit_status != 0 && output.err.find("shallow") != std::string::npos) {
    args.erase(std::find(args.begin(), args.end(), "--depth=1"));  // git's dumb http protocol
    output = TRY(git_.run(place(), args));
  }
  for (const char* text : {"not our ref", "unadvertised object", "no such remote ref",
                           "couldn't find remote ref", "Server does not allow request",
                           "Cannot obtain needed object", "Unable to find "})
    refused = refused || output.err.find(text) != std::string::npos;
  if (output.exit_status != 0 && refused) return false;
  if (output.exit_status != 0) return git_.failure(output, "git fetch");
  std::string got = first_line(TRY(git_.must(place(), {"rev-parse", kIncoming})));
  return got == object;  // else the ref moved since it was looked up
}

Result<void> Repository::fetch_all() {
  std::vector<std::string> args = {"fetch", "--quiet", "--force", "--no-tags"};
  struct stat st;
  if (::stat((path_ + "/shallow").c_str(), &st) == 0) args.push_back("--unshallow");
  args.insert(args.end(), {"--", git_.remote(), "+refs/heads/*:refs/all/heads/*",
                           "+refs/tags/*:refs/all/tags/*"});
  TRY(git_.must(place(), args));
  return {};
}

Result<void> Repository::fetch_new(const ResolvedRef& resolved, bool by_commit_only) {
  bool refused = false;
  bool done = false;
  if (!resolved.name.empty())
    done = TRY(fetch_shallow(resolved.name, resolved.object, refused));
  if (!done) done = TRY(fetch_shallow(resolved.object, resolved.object, refused));
  if (!done && by_commit_only)
    return Error(ErrorKind::kNotFound, "the server does not give out commit " + resolved.object)
        .hint("leave out fetch-by-commit to fetch all branches and tags");
  if (!done) {
    TRY(fetch_all());
    ProcessOutput there = TRY(git_.run(place(), {"cat-file", "-e", resolved.object + "^{commit}"}));
    if (there.exit_status != 0)
      return Error(ErrorKind::kNotFound,
                   "commit " + resolved.object + " is on no branch or tag of the repository");
  }
  TRY(git_.must(place(), {"update-ref", keep_ref(resolved.object), resolved.object}));
  return {};
}

Result<void> Repository::fetch(ResolvedRef& resolved, bool by_commit_only) {
  bool sha256 = resolved.object.size() == 64;
  TRY(create(sha256));
  if (!has(resolved.object)) {
    Result<void> fetched = fetch_new(resolved, by_commit_only);
    // A repository that a killed git left behind is worth less than the doubt.
    std::string why = fetched ? "" : fetched.error().message();
    if (why.find(".lock': File exists") != why.npos || why.find("corrupt") != why.npos ||
        why.find("bad object") != why.npos || why.find("not a git repository") != why.npos) {
      TRY(remove_tree(path_));
      TRY(create(sha256));
      fetched = fetch_new(resolved, by_commit_only);
    }
    TRY(std::move(fetched));
  }
  resolved.commit = first_line(TRY(
      git_.must(place(), {"rev-parse", "--verify", keep_ref(resolved.object) + "^{commit}"})));
  return {};
}

}  // namespace kasane::net
