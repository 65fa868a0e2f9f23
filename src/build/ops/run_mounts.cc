#include "build/ops/run_mounts.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "dockerfile/match.h"
#include "dockerfile/mount.h"

namespace kasane::build {
namespace {

// A plan that puts `source` at its own path on an empty root, with the metadata of its
// parents: its digest is what a bind mount shows, its layer what is mounted.
Result<LayerPlan> plan_view(const store::RootfsView& empty, SourceTree& tree, const RunMount& mount) {
  CopyRequest request;
  request.sources.push_back({dockerfile::escape_pattern(mount.source.empty() ? "/" : mount.source), mount.span});
  request.destination = "/";
  request.parents = !mount.source.empty();
  LayerPlan plan(empty);
  SourceTree* trees[] = {&tree};
  TRY(plan_copy(plan, trees, request));
  link_groups(plan);
  return plan;
}

// More files than this are not listed in the explanation of a step.
constexpr size_t kMaxNotedFiles = 1000;

std::string name_of(const RunMount& mount, size_t index) {
  return fmt::format("mount {} {}", index + 1, mount.target);
}

bool shows_content(const RunMount& mount) {
  return mount.type == dockerfile::MountType::kBind ||
         (mount.type == dockerfile::MountType::kCache && mount.has_from);
}

// The digest of what is mounted, without planning where identities answer.
Result<MountContent> content_of(BuildEnvironment& env, const StepInput& input, const RunMount& mount) {
  MountContent content;
  if (mount.from.kind == SourceRef::Kind::kEmpty) {
    content.digest = Sha256Digest{};
    return content;
  }
  const std::vector<store::LayerPtr>* layers = layers_of(input, mount.from);
  if (layers && mount.source.empty()) {
    content.digest = store::chain_content_id(*layers);
    return content;
  }
  OpenedTrees trees = OpenedTrees::open(env, input, std::span(&mount.from, 1));
  if (!layers) {
    std::optional<SourceTree::Fingerprint> fingerprint = TRY(trees[0].fingerprint(mount.source));
    if (fingerprint && fingerprint->is_directory) {
      FieldHash hash("kasane.mount-shortcut.1");
      hash.add(mount.source).add(fingerprint->digest);
      content.shortcut = Shortcut{hash.finish(), fingerprint->settled};
      content.digest = TRY(follow_shortcut(env, input, *content.shortcut));
      if (content.digest) return content;
    }
  }
  store::RootfsView empty{std::vector<store::LayerPtr>()};
  LayerPlan plan = TRY(plan_view(empty, trees[0], mount));
  content.digest = TRY(plan_digest(plan));
  return content;
}

}  // namespace

Result<std::vector<MountContent>> add_mounts_to_key(BuildEnvironment& env, const StepInput& input,
                                                    const RunOp& op, StepKey& key) {
  std::vector<MountContent> contents;
  for (const RunMount& mount : op.mounts) {
    std::string shape(dockerfile::to_string(mount.type));
    if (mount.type == dockerfile::MountType::kBind || mount.type == dockerfile::MountType::kCache)
      shape += mount.read_only ? ",ro" : ",rw";
    if (!mount.source.empty()) shape += ",source=" + mount.source;
    if (mount.size_bytes) shape += fmt::format(",size={}", mount.size_bytes);
    if (mount.type == dockerfile::MountType::kSecret || mount.type == dockerfile::MountType::kSsh)
      shape += fmt::format(",id={},env={},file={},mode={:o},uid={},gid={}", mount.id, mount.env,
                           mount.as_file, mount.mode, mount.uid, mount.gid);
    std::string name = name_of(mount, contents.size());
    key.add(name, shape);
    contents.emplace_back();
    if (!shows_content(mount)) continue;
    Result<MountContent> content = content_of(env, input, mount);
    if (!content) return std::move(content.error()).at(mount.span);
    contents.back() = std::move(*content);
    key.add("content of " + name, contents.back().digest->hex());
  }
  return contents;
}

Result<void> note_mounted_files(BuildEnvironment& env, const StepInput& input, const RunOp& op, StepKey& key) {
  for (size_t i = 0; i < op.mounts.size(); ++i) {
    const RunMount& mount = op.mounts[i];
    // What a stage shows is explained by the stage's own steps.
    if (!shows_content(mount) || mount.from.kind == SourceRef::Kind::kEmpty || layers_of(input, mount.from)) continue;
    OpenedTrees trees = OpenedTrees::open(env, input, std::span(&mount.from, 1));
    store::RootfsView empty{std::vector<store::LayerPtr>()};
    LayerPlan plan = TRY(plan_view(empty, trees[0], mount));
    if (plan.entries().size() > kMaxNotedFiles) continue;
    std::vector<std::pair<std::string, Sha256Digest>> digests = TRY(entry_digests(plan));
    for (const auto& [path, digest] : digests)
      key.note("file of " + name_of(mount, i) + ": " + path, digest.hex().substr(0, 16));
  }
  return {};
}

// Layer trees whose merged view holds `source`.
Result<void> StepMounts::view_of(const SourceRef& from, const std::string& source,
                                 exec::Mount& target) {
  target.type = exec::Mount::Type::kOverlay;
  OpenedTrees trees = OpenedTrees::open(build_, input_, std::span(&from, 1));
  std::optional<std::string> real = TRY(resolve_in(trees[0], source));
  if (!real)
    return Error(ErrorKind::kNotFound, "failed to calculate checksum of ref: \"/" + source + "\": not found");
  target.sub_path = *real;
  if (const std::vector<store::LayerPtr>* layers = layers_of(input_, from)) {
    for (const store::LayerPtr& layer : *layers)
      if (layer->index().size() != 0) target.lower_trees.push_back(TRY(layer->ensure_tree(build_.store)));
    return {};
  }
  if (from.kind == SourceRef::Kind::kEmpty) return {};
  store::RootfsView empty{std::vector<store::LayerPtr>()};
  RunMount mount;
  mount.source = *real;
  LayerPlan plan = TRY(plan_view(empty, trees[0], mount));
  store::LayerPtr layer = TRY(make_layer(build_, input_, plan));
  target.lower_trees.push_back(TRY(layer->ensure_tree(build_.store)));
  return {};
}

Result<void> StepMounts::add_writable_part(exec::Mount& target) {
  target.upper_dir = fmt::format("{}/mount{}-upper", scratch_, number_);
  target.work_dir = fmt::format("{}/mount{}-work", scratch_, number_);
  for (const std::string& dir : {target.upper_dir, target.work_dir})
    if (::mkdir(dir.c_str(), 0755) != 0 || ::chmod(dir.c_str(), 0755) != 0)
      return Error::from_errno(errno, "create " + dir);
  return {};
}

Result<void> StepMounts::add_bind(const RunMount& mount, exec::Mount& target) {
  TRY(view_of(mount.from, mount.source, target));
  if (!mount.read_only) TRY(add_writable_part(target));  // writes are discarded
  return {};
}

store::CacheMountRequest StepMounts::cache_request(const RunMount& mount,
                                                   const MountContent& content) const {
  using Sharing = store::CacheMountRequest::Sharing;
  store::CacheMountRequest request;
  request.id = mount.id;
  request.namespace_ = build_.run.cache_namespace;
  request.mode = mount.mode;
  request.uid = mount.uid;
  request.gid = mount.gid;
  if (mount.has_from) request.base_digest = content.digest->hex();
  if (mount.sharing == dockerfile::CacheSharing::kPrivate) request.sharing = Sharing::kPrivate;
  // Only one overlay at a time may write to a directory.
  if (mount.sharing == dockerfile::CacheSharing::kLocked || mount.has_from || !mount.source.empty())
    request.sharing = Sharing::kLocked;
  return request;
}

// Each cache once, in one order for all steps: two steps with the same two caches would
// otherwise wait for each other.
Result<void> StepMounts::open_caches(const RunOp& op, const std::vector<MountContent>& contents) {
  std::map<std::string, store::CacheMountRequest> requests;
  for (size_t i = 0; i < op.mounts.size(); ++i) {
    if (op.mounts[i].type != dockerfile::MountType::kCache) continue;
    store::CacheMountRequest request = cache_request(op.mounts[i], contents[i]);
    requests.emplace(store::cache_mount_key(request), std::move(request));
  }
  for (auto& [key, request] : requests) {
    store::CacheMountHandle cache = TRY(store::open_cache_mount(build_.store, request, input_.stop));
    if (cache.needs_seed()) TRY(cache.mark_seeded());  // the base is below it, not in it
    caches_.emplace(key, std::move(cache));
  }
  return {};
}

Result<void> StepMounts::add_cache(const RunMount& mount, const MountContent& content,
                                   exec::Mount& target) {
  std::string path = caches_.at(store::cache_mount_key(cache_request(mount, content))).path();
  if (!mount.has_from && mount.source.empty()) {
    target.type = exec::Mount::Type::kBind;
    target.source = path;
    return {};
  }
  // The base below, what earlier steps wrote above it.
  if (mount.has_from) TRY(view_of(mount.from, "", target));
  target.type = exec::Mount::Type::kOverlay;
  target.sub_path = mount.source;
  TRY(add_writable_part(target));
  target.upper_dir = path;
  return {};
}

Result<bool> StepMounts::add_secret(const RunMount& mount, exec::Mount& target) {
  const std::string* value = build_.secrets.find(mount.id);
  if (!value) {
    if (!mount.required) return false;
    return Error(ErrorKind::kNotFound, "secret " + mount.id + ": not found")
        .hint("give it with --secret id=" + mount.id + ",src=FILE or --secret id=" + mount.id + ",env=NAME");
  }
  has_secrets_ = true;
  if (!mount.env.empty()) env_.push_back(mount.env + "=" + *value);
  if (!mount.as_file) return false;
  target.type = exec::Mount::Type::kFile;
  target.content = *value;
  return true;
}

Result<bool> StepMounts::add_ssh(const RunOp& op, const RunMount& mount, exec::Mount& target) {
  const std::string* agent = build_.ssh.find(mount.id);
  if (!agent) {
    if (!mount.required) return false;
    return Error(ErrorKind::kNotFound, "unset ssh forward key " + mount.id)
        .hint("give an agent or keys with --ssh " + mount.id + "[=SOCKET|KEY]");
  }
  target.type = exec::Mount::Type::kSocket;
  target.source = fmt::format("{}/ssh{}", scratch_, number_);
  relays_.push_back(TRY(SshRelay::start(target.source, mount.mode, mount.uid, mount.gid, *agent)));
  bool given = std::any_of(op.env.begin(), op.env.end(),
                           [](const std::string& e) { return e.starts_with("SSH_AUTH_SOCK="); });
  if (!given && !ssh_auth_sock_set_) env_.push_back("SSH_AUTH_SOCK=" + mount.target);
  ssh_auth_sock_set_ = true;
  return true;
}

Result<void> StepMounts::add(const RunOp& op, const RunMount& mount, const MountContent& content) {
  exec::Mount target;
  target.target = mount.target;
  target.read_only = mount.read_only;
  target.size_bytes = mount.size_bytes;
  target.uid = mount.uid;
  target.gid = mount.gid;
  ++number_;
  bool wanted = true;
  switch (mount.type) {
    case dockerfile::MountType::kTmpfs:
      target.type = exec::Mount::Type::kTmpfs;
      break;
    case dockerfile::MountType::kBind:
      TRY(add_bind(mount, target));
      break;
    case dockerfile::MountType::kCache:
      TRY(add_cache(mount, content, target));
      break;
    case dockerfile::MountType::kSecret:
      target.mode = mount.mode;
      wanted = TRY(add_secret(mount, target));
      break;
    case dockerfile::MountType::kSsh:
      target.mode = mount.mode;
      wanted = TRY(add_ssh(op, mount, target));
      break;
  }
  if (wanted) mounts_.push_back(std::move(target));
  return {};
}

Result<std::unique_ptr<StepMounts>> StepMounts::prepare(BuildEnvironment& env, const StepInput& input,
                                                        const RunOp& op, const std::string& scratch,
                                                        const std::vector<MountContent>& contents) {
  std::unique_ptr<StepMounts> mounts(new StepMounts(env, input, scratch));
  TRY(mounts->open_caches(op, contents));
  for (size_t i = 0; i < op.mounts.size(); ++i) {
    Result<void> added = mounts->add(op, op.mounts[i], contents[i]);
    if (!added) return std::move(added.error()).at(op.mounts[i].span);
  }
  return mounts;
}

}  // namespace kasane::build
