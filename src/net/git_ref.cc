#include "net/git_ref.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/text.h"
#include "net/url.h"

namespace kasane::net {
namespace {

constexpr size_t kMaxText = 8192;

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

Error invalid(std::string_view text, const std::string& why) {
  return Error(ErrorKind::kInvalid, "git source \"" + std::string(text) + "\": " + why);
}

// A text taken apart, nothing decoded yet.
struct Parts {
  enum class Form { kUrl, kScp, kBare };
  Form form = Form::kUrl;
  std::string scheme;  // kUrl, lower case
  std::string_view remote;  // without query and fragment
  std::string_view path;
  std::string_view query;
  std::string_view fragment;
};

// "[a-zA-Z0-9]+://" at the start, or "".
std::string_view scheme_of(std::string_view text) {
  size_t end = text.find("://");
  if (end == std::string_view::npos || end == 0) return {};
  std::string_view scheme = text.substr(0, end);
  return std::all_of(scheme.begin(), scheme.end(), is_alnum) ? scheme : std::string_view();
}

void cut_tail(std::string_view text, Parts& parts) {
  size_t hash = text.find('#');
  if (hash != std::string_view::npos) parts.fragment = text.substr(hash + 1);
  text = text.substr(0, hash);
  size_t question = text.find('?');
  if (question != std::string_view::npos) parts.query = text.substr(question + 1);
  parts.remote = text.substr(0, question);
}

// user@host:path, with the letters that BuildKit's expression allows.
bool split_scp(std::string_view text, Parts& parts) {
  size_t at = text.find('@');
  if (at == 0 || at == std::string_view::npos) return false;
  size_t colon = text.find(':', at);
  if (colon == std::string_view::npos || colon == at + 1) return false;
  std::string_view user = text.substr(0, at), host = text.substr(at + 1, colon - at - 1);
  auto user_letter = [](char c) { return is_alnum(c) || c == '-' || c == '_'; };
  auto host_letter = [](char c) { return is_alnum(c) || c == '-' || c == '.'; };
  if (!std::all_of(user.begin(), user.end(), user_letter) ||
      !std::all_of(host.begin(), host.end(), host_letter))
    return false;
  parts.form = Parts::Form::kScp;
  cut_tail(text, parts);
  if (parts.remote.size() < colon + 1) return false;  // '#' or '?' cannot come earlier
  parts.path = parts.remote.substr(colon + 1);
  return true;
}

std::optional<Parts> split(std::string_view text, bool bare_too) {
  Parts parts;
  if (text.size() > kMaxText) return std::nullopt;
  if (std::string_view scheme = scheme_of(text); !scheme.empty()) {
    parts.scheme = ascii_lower(scheme);
    cut_tail(text, parts);
    std::string_view rest = parts.remote.substr(std::min(parts.remote.size(), scheme.size() + 3));
    size_t slash = rest.find('/');
    if (slash != std::string_view::npos) parts.path = rest.substr(slash);
    if (parts.scheme == "git" || parts.scheme == "ssh") return parts;
    bool http = parts.scheme == "http" || parts.scheme == "https";
    if (http && parts.path.ends_with(".git")) return parts;
    return std::nullopt;
  }
  if (bare_too && text.starts_with("github.com/")) {
    parts.form = Parts::Form::kBare;
    cut_tail(text, parts);
    parts.path = parts.remote.substr(std::string_view("github.com").size());
    return parts;
  }
  if (split_scp(text, parts)) return parts;
  return std::nullopt;
}

// Of a query, where '+' is a space.
std::optional<std::string> decode_query(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return percent_decode(spaced);
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

// The rules of git check-ref-format that keep a ref from being an option, a pattern or a
// revision expression.
const char* bad_ref(std::string_view ref) {
  if (ref.starts_with('-')) return "a ref cannot begin with '-'";
  if (ref.starts_with('/') || ref.ends_with('/') || ref.ends_with('.') || ref.ends_with(".lock"))
    return "is not a name that git allows for a ref";
  if (ref.find("..") != ref.npos || ref.find("//") != ref.npos || ref.find("@{") != ref.npos ||
      ref.find_first_of(" ~^:?*[\\") != ref.npos || has_control(ref))
    return "is not a name that git allows for a ref";
  return nullptr;
}

// "/a/./b//" → "a/b". nullopt when ".." would leave the tree.
std::optional<std::string> clean_subdir(std::string_view subdir) {
  std::vector<std::string_view> kept;
  while (!subdir.empty()) {
    size_t slash = subdir.find('/');
    std::string_view part = subdir.substr(0, slash);
    subdir = slash == subdir.npos ? std::string_view() : subdir.substr(slash + 1);
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (kept.empty()) return std::nullopt;
      kept.pop_back();
    } else {
      kept.push_back(part);
    }
  }
  std::string out;
  for (std::string_view part : kept) out.append(out.empty() ? "" : "/").append(part);
  return out;
}

// Go's strconv.ParseBool.
std::optional<bool> parse_bool(std::string_view text) {
  for (const char* yes : {"1", "t", "T", "true", "TRUE", "True"})
    if (text == yes) return true;
  for (const char* no : {"0", "f", "F", "false", "FALSE", "False"})
    if (text == no) return false;
  return std::nullopt;
}

struct Value {
  std::string text;
  bool given = false;
};

// The known names, once each. "commit" is another name of "checksum".
constexpr std::array<std::string_view, 9> kNames = {
    "ref",          "tag",        "branch", "subdir",         "checksum",
    "keep-git-dir", "submodules", "mtime",  "fetch-by-commit"};
using Query = std::array<Value, kNames.size()>;

bool is_switch(std::string_view name) {
  return name == "keep-git-dir" || name == "submodules" || name == "fetch-by-commit";
}

Value& value_of(Query& query, std::string_view name) {
  return query[static_cast<size_t>(std::find(kNames.begin(), kNames.end(), name) - kNames.begin())];
}

Result<Query> parse_query(std::string_view whole, std::string_view text) {
  Query query;
  while (!text.empty()) {
    size_t end = text.find('&');
    std::string_view pair = text.substr(0, end);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    if (pair.empty()) continue;
    size_t equal = pair.find('=');
    std::optional<std::string> key = decode_query(pair.substr(0, equal));
    std::optional<std::string> value =
        decode_query(equal == pair.npos ? std::string_view() : pair.substr(equal + 1));
    if (!key || !value || pair.find(';') != pair.npos)
      return invalid(whole, "the query part \"" + std::string(pair) + "\" is not well encoded");
    std::string name = *key == "commit" ? "checksum" : *key;
    if (std::find(kNames.begin(), kNames.end(), name) == kNames.end())
      return invalid(whole, "the query \"" + *key + "\" is not known")
          .hint("known are ref, tag, branch, subdir, checksum (or commit), keep-git-dir, "
                "submodules, mtime and fetch-by-commit");
    Value& slot = value_of(query, name);
    if (slot.given) return invalid(whole, "the query \"" + *key + "\" is given twice");
    if (value->empty() && !is_switch(name))
      return invalid(whole, "the query \"" + *key + "\" has no value");
    slot = {*value, true};
  }
  return query;
}

Result<std::optional<bool>> switch_of(std::string_view whole, Query& query, std::string_view name) {
  Value& value = value_of(query, name);
  if (!value.given) return std::optional<bool>();
  if (value.text.empty()) return std::optional<bool>(true);
  std::optional<bool> parsed = parse_bool(value.text);
  if (!parsed)
    return invalid(whole, std::string(name) + "=" + value.text + " is neither true nor false");
  return parsed;
}

Error two_refs(std::string_view whole, const std::string& a, const std::string& b) {
  return invalid(whole, "names two refs, \"" + a + "\" and \"" + b + "\"").hint("keep one of them");
}

// ref=, tag= and branch= together with the fragment's ref.
Result<void> load_ref(std::string_view whole, Query& query, GitRef& out) {
  if (Value& ref = value_of(query, "ref"); ref.given) {
    if (!out.ref.empty() && out.ref != ref.text) return two_refs(whole, out.ref, ref.text);
    out.ref = ref.text;
  }
  Value& tag = value_of(query, "tag");
  Value& branch = value_of(query, "branch");
  if (tag.given && branch.given) return two_refs(whole, "tag " + tag.text, "branch " + branch.text);
  Value& named = tag.given ? tag : branch;
  if (!named.given) return {};
  std::string prefix = tag.given ? "refs/tags/" : "refs/heads/";
  std::string full = named.text.starts_with(prefix) ? named.text : prefix + named.text;
  if (!out.ref.empty() && out.ref != full) return two_refs(whole, out.ref, full);
  out.ref = full;
  (tag.given ? out.is_tag : out.is_branch) = true;
  return {};
}

Result<void> load_subdir(std::string_view whole, std::string_view raw, GitRef& out) {
  std::optional<std::string> subdir = clean_subdir(raw);
  if (!subdir)
    return invalid(whole, "the subdirectory \"" + std::string(raw) + "\" leaves the repository");
  if (has_control(*subdir)) return invalid(whole, "the subdirectory has a control character");
  if (*subdir == ".git" || subdir->starts_with(".git/"))
    return invalid(whole, "the subdirectory is git's own directory");
  if (!out.subdir.empty() && out.subdir != *subdir)
    return invalid(whole, "names two subdirectories, \"" + out.subdir + "\" and \"" + *subdir + "\"");
  out.subdir = *subdir;
  return {};
}

Result<void> load_fragment(std::string_view whole, const Parts& parts, GitRef& out) {
  std::optional<std::string> fragment(parts.fragment);
  if (parts.form != Parts::Form::kScp) fragment = percent_decode(parts.fragment);
  if (!fragment) return invalid(whole, "the part after '#' is not well encoded");
  size_t colon = fragment->find(':');
  out.ref = fragment->substr(0, colon);
  if (colon != std::string::npos) TRY(load_subdir(whole, fragment->substr(colon + 1), out));
  return {};
}

Result<void> load_checksum(std::string_view whole, Query& query, GitRef& out) {
  Value& checksum = value_of(query, "checksum");
  if (!checksum.given) return {};
  out.checksum = ascii_lower(checksum.text);
  bool hex = std::all_of(out.checksum.begin(), out.checksum.end(),
                         [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (!hex || out.checksum.size() < 7 || out.checksum.size() > 64)
    return invalid(whole, "the checksum \"" + checksum.text + "\" is not a commit")
        .hint("a commit has 40 (or 64) hexadecimal digits; at least its first 7 are needed");
  return {};
}

Result<void> load_options(std::string_view whole, Query& query, GitRef& out) {
  TRY(load_ref(whole, query, out));
  if (Value& subdir = value_of(query, "subdir"); subdir.given)
    TRY(load_subdir(whole, subdir.text, out));
  TRY(load_checksum(whole, query, out));
  out.keep_git_dir = TRY(switch_of(whole, query, "keep-git-dir"));
  out.submodules = TRY(switch_of(whole, query, "submodules")).value_or(true);
  out.fetch_by_commit = TRY(switch_of(whole, query, "fetch-by-commit")).value_or(false);
  if (Value& mtime = value_of(query, "mtime"); mtime.given) {
    if (mtime.text != "checkout" && mtime.text != "commit")
      return invalid(whole, "mtime=" + mtime.text + " is neither checkout nor commit");
    out.commit_times = mtime.text == "commit";
  }
  return {};
}

// What of the remote git or ssh could take for an option.
Result<void> check_remote(std::string_view whole, const Parts& parts) {
  std::string_view host;
  if (parts.form == Parts::Form::kUrl) {
    std::string_view rest = parts.remote.substr(parts.scheme.size() + 3);
    host = rest.substr(0, rest.find('/'));
    if (size_t at = host.rfind('@'); at != host.npos) {
      if (host.starts_with('-')) return invalid(whole, "the user cannot begin with '-'");
      host = host.substr(at + 1);
    }
    if (host.empty()) return invalid(whole, "has no host");
  } else if (parts.form == Parts::Form::kScp) {
    if (whole.starts_with('-')) return invalid(whole, "the user cannot begin with '-'");
    size_t at = whole.find('@');
    host = whole.substr(at + 1, whole.find(':', at) - at - 1);
  }
  if (host.starts_with('-')) return invalid(whole, "the host cannot begin with '-'");
  std::string_view path = parts.path;
  while (path.starts_with('/')) path.remove_prefix(1);
  if (path.empty()) return invalid(whole, "has no path of a repository");
  if (path.starts_with('-')) return invalid(whole, "the path cannot begin with '-'");
  return {};
}

}  // namespace

std::string GitRef::name() const {
  std::string_view path = remote;
  size_t cut = path.find_last_of("/:");
  if (cut != path.npos) path.remove_prefix(cut + 1);
  if (path.ends_with(".git")) path.remove_suffix(4);
  return std::string(path);
}

bool looks_like_git(std::string_view text) { return split(text, false).has_value(); }
bool looks_like_git_context(std::string_view text) { return split(text, true).has_value(); }

Result<GitRef> parse_git_ref(std::string_view text) {
  if (text.size() > kMaxText)
    return Error(ErrorKind::kLimit, "a git source has more than " + std::to_string(kMaxText) + " bytes");
  if (has_control(text)) return Error(ErrorKind::kInvalid, "a git source has a control character");
  std::optional<Parts> parts = split(text, true);
  if (!parts)
    return invalid(text, "is not a git repository")
        .hint("git sources are git://…, ssh://…, user@host:path, and http(s) URLs ending in .git");
  TRY(check_remote(text, *parts));
  GitRef out;
  switch (parts->form) {
    case Parts::Form::kUrl:
      out.remote = parts->scheme + std::string(parts->remote.substr(parts->scheme.size()));
      break;
    case Parts::Form::kScp:
      out.remote = parts->remote;
      break;
    case Parts::Form::kBare:
      out.remote = "https://" + std::string(parts->remote);
      break;
  }
  TRY(load_fragment(text, *parts, out));
  Query query = TRY(parse_query(text, parts->query));
  TRY(load_options(text, query, out));
  if (!out.ref.empty())
    if (const char* why = bad_ref(out.ref)) return invalid(text, "\"" + out.ref + "\": " + why);
  return out;
}

}  // namespace kasane::net
