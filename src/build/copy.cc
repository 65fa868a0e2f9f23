#include "build/copy.h"

#include <algorithm>
#include <map>
#include <set>

#include "dockerfile/ignore.h"
#include "dockerfile/match.h"

namespace kasane::build {
namespace {

bool names_directory(std::string_view destination) {
  return destination.empty() || destination.ends_with('/') || destination.ends_with("/.") ||
         destination == ".";
}

std::vector<std::string> components(std::string_view path) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    if (end > begin) parts.emplace_back(path.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

class CopyPlanner {
 public:
  CopyPlanner(LayerPlan& plan, std::span<SourceTree* const> trees, const CopyRequest& request)
      : plan_(plan), trees_(trees), request_(request) {}

  Result<std::vector<PendingArchive>> run();

 private:
  struct Match {
    std::string name;    // as found: the last component is the name it lands under
    std::string pivot;   // part of `name` that --parents keeps
  };
  Result<std::vector<Match>> matches_of(const CopySource& source);
  // A search through the tree for the names that `patterns`, one per component, match.
  struct Search {
    std::vector<std::string> patterns;
    std::vector<std::string> found;
    std::set<std::pair<std::string, size_t>> seen;  // keeps several `**` from multiplying the work
  };
  Result<void> expand(const std::string& directory, size_t at, Search& search);
  Result<void> copy_match(const Match& match, const CopySource& source);
  Result<void> copy_inline(const InlineFile& file);
  Result<void> copy_file(const SourcePtr& source, const std::string& target);
  Result<void> copy_children(const std::string& from, const std::string& to,
                             const std::string& relative);
  Result<void> copy_nested(const SourcePtr& source, const std::string& target,
                           const std::string& relative);
  Result<void> enter_directory(const SourceEntry& source, const std::string& target);
  Result<std::string> parents_target(const Match& match, bool is_directory);
  Result<std::string> file_target(std::string_view name);
  tar::Entry created_directory() const;
  void own(tar::Entry& entry) const;
  Error missing(const CopySource& source) const;

  LayerPlan& plan_;
  std::span<SourceTree* const> trees_;
  SourceTree* tree_ = nullptr;  // of the source being copied
  const CopyRequest& request_;
  std::string destination_;  // real path
  bool into_directory_ = false;
  dockerfile::IgnoreMatcher excludes_;
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> groups_;  // of the source being copied
  uint64_t last_group_ = 0;
  std::vector<PendingArchive> archives_;
};

void CopyPlanner::own(tar::Entry& entry) const {
  if (request_.chown) {
    entry.uid = request_.chown->uid;
    entry.gid = request_.chown->gid;
  }
  if (request_.chmod && entry.type != tar::EntryType::kSymlink)
    entry.mode = request_.chmod->apply(entry.mode, entry.type == tar::EntryType::kDirectory);
}

// K04, K05: 0755 and root unless the flags say otherwise; only octal modes reach parents.
tar::Entry CopyPlanner::created_directory() const {
  tar::Entry entry;
  entry.type = tar::EntryType::kDirectory;
  entry.mode = 0755;
  entry.mtime = request_.now;
  if (request_.chown) {
    entry.uid = request_.chown->uid;
    entry.gid = request_.chown->gid;
  }
  if (request_.chmod && request_.chmod->is_octal()) entry.mode = request_.chmod->apply(0755, true);
  return entry;
}

Error CopyPlanner::missing(const CopySource& source) const {
  std::string path = "/" + clean_path(source.path);
  Error error(ErrorKind::kNotFound,
              "failed to calculate checksum of ref: \"" + path + "\": not found");
  std::string why = tree_->why_absent(clean_path(source.path));
  if (!why.empty())
    error = std::move(error).hint(why);
  else
    error = std::move(error).hint("the path is relative to the build context (or to the root of --from)");
  return std::move(error).at(source.span);
}

// K28, W02: `**` is any number of directories with --parents, and the same as `*` without.
Result<void> CopyPlanner::expand(const std::string& directory, size_t at, Search& search) {
  if (!search.seen.emplace(directory, at).second) return {};
  const std::string& pattern = search.patterns[at];
  bool last = at + 1 == search.patterns.size();
  bool any_depth = request_.parents && pattern == "**";
  if (any_depth && !last) TRY(expand(directory, at + 1, search));
  std::vector<SourcePtr> children = TRY(tree_->children(directory));
  for (const SourcePtr& child : children) {
    const std::string& path = child->entry.path;
    if (!any_depth && !TRY(dockerfile::match_path(pattern, base_name(path)))) continue;
    if (last)
      search.found.push_back(path);
    else if (child->entry.type == tar::EntryType::kDirectory)
      TRY(expand(path, any_depth ? at : at + 1, search));
  }
  return {};
}

// W03, W04: the part before the first wildcard follows symlinks, the rest is matched name by
// name in lexical order.
Result<std::vector<CopyPlanner::Match>> CopyPlanner::matches_of(const CopySource& source) {
  std::vector<Match> matches;
  std::string pivot;
  if (request_.parents) {
    size_t mark = source.path.find("/./");
    pivot = mark == std::string::npos ? std::string() : clean_path(source.path.substr(0, mark));
  }
  auto add = [&](std::string name) {
    std::string kept = name;
    if (!pivot.empty() && name.starts_with(pivot + "/")) kept = name.substr(pivot.size() + 1);
    matches.push_back({std::move(name), std::move(kept)});
  };
  std::string path = clean_path(source.path);
  if (!dockerfile::has_wildcards(path)) {
    add(clean_path(dockerfile::unescape_pattern(path)));
    return matches;
  }
  std::vector<std::string> parts = components(path);
  std::string prefix;
  size_t first = 0;
  while (first < parts.size() && !dockerfile::has_wildcards(parts[first]))
    prefix = join_path(prefix, parts[first++]);
  TRY(dockerfile::check_pattern(path));
  std::optional<std::string> base = TRY(resolve_in(*tree_, prefix));
  if (!base) return matches;
  Search search;
  search.patterns.assign(parts.begin() + static_cast<ptrdiff_t>(first), parts.end());
  TRY(expand(*base, 0, search));
  if (request_.parents) {  // `**` finds what lies deeper before what lies beside it
    std::sort(search.found.begin(), search.found.end());
    search.found.erase(std::unique(search.found.begin(), search.found.end()), search.found.end());
  }
  for (std::string& name : search.found) add(std::move(name));
  return matches;
}

Result<std::string> CopyPlanner::file_target(std::string_view name) {
  std::optional<LayerPlan::Seen> seen = plan_.lookup(destination_);
  bool directory = seen && seen->entry.type == tar::EntryType::kDirectory;
  if (into_directory_ || directory) {
    TRY(plan_.make_directories(destination_, created_directory()));
    return join_path(destination_, name);
  }
  TRY(plan_.make_directories(parent_path(destination_), created_directory()));
  return destination_;
}

Result<void> CopyPlanner::copy_file(const SourcePtr& source, const std::string& target) {
  std::optional<LayerPlan::Seen> seen = plan_.lookup(target);
  if (seen && seen->entry.type == tar::EntryType::kDirectory)
    return Error(ErrorKind::kInvalid, "cannot replace to directory /" + target + " with file");
  PlannedEntry planned;
  planned.entry = source->entry;
  planned.entry.path = target;
  own(planned.entry);
  planned.tree = tree_;
  planned.source = source;
  planned.content = source->content;
  if (source->link_group_inode != 0 && source->entry.type == tar::EntryType::kFile) {
    uint64_t& group = groups_[{source->link_group_device, source->link_group_inode}];
    if (group == 0) group = ++last_group_;
    planned.link_group = group;
  }
  plan_.put(std::move(planned));
  return {};
}

// K06: an existing directory keeps mode and owner and takes the source's times.
Result<void> CopyPlanner::enter_directory(const SourceEntry& source, const std::string& target) {
  std::optional<LayerPlan::Seen> seen = plan_.lookup(target);
  if (seen && seen->entry.type != tar::EntryType::kDirectory)
    return Error(ErrorKind::kInvalid, "cannot copy to non-directory: /" + target);
  if (target.empty()) return {};
  PlannedEntry directory;
  if (seen) {
    directory.entry = seen->entry;
  } else {
    TRY(plan_.make_directories(parent_path(target), created_directory()));
    directory.entry = created_directory();
    if (request_.chmod) directory.entry.mode = request_.chmod->apply(0755, true);
  }
  directory.entry.path = target;
  directory.entry.mtime = source.entry.mtime;
  plan_.put(std::move(directory));
  return {};
}

// K07: directories below the destination take everything from the source.
Result<void> CopyPlanner::copy_nested(const SourcePtr& source, const std::string& target,
                                      const std::string& relative) {
  if (source->entry.type != tar::EntryType::kDirectory) return copy_file(source, target);
  std::optional<LayerPlan::Seen> seen = plan_.lookup(target);
  if (seen && seen->entry.type != tar::EntryType::kDirectory)
    return Error(ErrorKind::kInvalid, "cannot copy to non-directory: /" + target)
        .hint("the image has a file or a symbolic link there; copy into its target instead");
  PlannedEntry directory;
  directory.entry = source->entry;
  directory.entry.path = target;
  own(directory.entry);
  plan_.put(std::move(directory));
  return copy_children(source->entry.path, target, relative);
}

Result<void> CopyPlanner::copy_children(const std::string& from, const std::string& to,
                                        const std::string& relative) {
  std::vector<SourcePtr> children = TRY(tree_->children(from));
  for (const SourcePtr& entry : children) {
    std::string_view name = base_name(entry->entry.path);
    std::string below = join_path(relative, name);
    bool excluded = !excludes_.empty() && excludes_.excluded(below);
    if (excluded && (entry->entry.type != tar::EntryType::kDirectory ||
                     !excludes_.may_include_below(excludes_.verdict(below), below)))
      continue;
    TRY(copy_nested(entry, join_path(to, name), below));
  }
  return {};
}

// K28: directories of the source path are made below the destination with their own
// metadata. Returns where the match itself goes.
Result<std::string> CopyPlanner::parents_target(const Match& match, bool is_directory) {
  TRY(plan_.make_directories(destination_, created_directory()));
  std::string at = match.name.substr(0, match.name.size() - match.pivot.size());
  while (!at.empty() && at.back() == '/') at.pop_back();
  std::string target = destination_;
  std::vector<std::string> parts = components(match.pivot);
  size_t directories = is_directory ? parts.size() : parts.size() - 1;
  for (size_t i = 0; i < directories; ++i) {
    at = join_path(at, parts[i]);
    target = join_path(target, parts[i]);
    std::optional<LayerPlan::Seen> seen = plan_.lookup(target);
    if (seen && seen->entry.type == tar::EntryType::kDirectory) continue;
    std::optional<std::string> real = TRY(resolve_in(*tree_, at));
    SourcePtr source;
    if (real) source = TRY(tree_->lookup(*real));
    tar::Entry like = source ? source->entry : created_directory();
    like.mode = source ? source->entry.mode : 0755;
    own(like);
    TRY(plan_.make_directories(target, like));
  }
  return is_directory ? target : join_path(target, parts.back());
}

Result<void> CopyPlanner::copy_match(const Match& match, const CopySource& source) {
  std::optional<std::string> real = TRY(resolve_in(*tree_, match.name));
  SourcePtr entry;
  if (real) entry = TRY(tree_->lookup(*real));
  if (!entry) return missing(source);
  if (!excludes_.empty() && !match.name.empty() && excludes_.excluded(base_name(match.name)))
    return {};
  groups_.clear();
  bool is_directory = entry->entry.type == tar::EntryType::kDirectory;
  if (request_.parents && !match.name.empty()) {
    std::string target = TRY(parents_target(match, is_directory));
    if (!is_directory) return copy_file(entry, target);
    return copy_children(*real, target, "");
  }
  if (is_directory) {
    TRY(enter_directory(*entry, destination_));
    return copy_children(*real, destination_, "");
  }
  if (request_.is_archive && source.unpack && entry->entry.type == tar::EntryType::kFile &&
      TRY(request_.is_archive(*tree_, *entry))) {
    TRY(plan_.make_directories(destination_, created_directory()));
    archives_.push_back({tree_, entry, destination_});
    return {};
  }
  return copy_file(entry, TRY(file_target(base_name(match.name))));
}

Result<void> CopyPlanner::copy_inline(const InlineFile& file) {
  std::string target = TRY(file_target(file.name));
  std::optional<LayerPlan::Seen> seen = plan_.lookup(target);
  if (seen && seen->entry.type == tar::EntryType::kDirectory)
    return Error(ErrorKind::kInvalid, "cannot replace to directory /" + target + " with file");
  PlannedEntry planned;
  planned.entry.path = target;
  planned.entry.mode = 0644;
  planned.entry.size = file.content.size();
  planned.entry.mtime = request_.now;
  own(planned.entry);
  planned.inline_content = file.content;
  plan_.put(std::move(planned));
  return {};
}

Result<std::vector<PendingArchive>> CopyPlanner::run() {
  excludes_ = TRY(dockerfile::IgnoreMatcher::from_patterns(request_.excludes));
  into_directory_ = names_directory(request_.destination);
  destination_ = TRY(plan_.resolve(request_.destination));
  for (const InlineFile& file : request_.inline_files) TRY(copy_inline(file));
  for (const CopySource& source : request_.sources) {
    tree_ = trees_[source.tree];
    Result<std::vector<Match>> matches = matches_of(source);
    if (!matches) return std::move(matches.error()).at(source.span);
    for (const Match& match : *matches) {
      Result<void> copied = copy_match(match, source);
      if (!copied) return std::move(copied.error()).at(source.span);
    }
  }
  return std::move(archives_);
}

}  // namespace

Result<std::vector<PendingArchive>> plan_copy(LayerPlan& plan, std::span<SourceTree* const> trees,
                                              const CopyRequest& request) {
  return CopyPlanner(plan, trees, request).run();
}

}  // namespace kasane::build
