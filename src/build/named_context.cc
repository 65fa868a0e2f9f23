#include "build/named_context.h"

#include <sys/stat.h>

#include "build/context.h"
#include "net/git_ref.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::build {
namespace {

constexpr uint64_t kMaxIgnoreFile = 4u << 20;

// "docker.io/library/Alpine:latest" and "alpine" are one name (S05).
std::string normalised(std::string_view name) {
  Result<oci::Reference> reference = oci::Reference::parse(name);
  if (!reference) return std::string(name);
  std::string text = reference->digest.empty() ? reference->with_default_tag().familiar() : reference->familiar();
  if (text.ends_with(":latest")) text.resize(text.size() - 7);
  return text;
}

Result<NamedContext> parse_value(const std::string& name, std::string_view value) {
  NamedContext context;
  context.name = name;
  auto take = [&](std::string_view prefix, NamedContext::Kind kind) {
    if (!value.starts_with(prefix)) return false;
    context.kind = kind;
    context.location = std::string(value.substr(prefix.size()));
    return true;
  };
  if (take("docker-image://", NamedContext::Kind::kImage)) return context;
  if (take("target:", NamedContext::Kind::kStage)) return context;
  if (take("oci-layout://", NamedContext::Kind::kImage)) {
    context.layout = true;
    return context;
  }
  context.location = std::string(value);
  if (net::looks_like_git_context(value)) {
    context.kind = NamedContext::Kind::kGit;
  } else if (value.starts_with("http://") || value.starts_with("https://")) {
    context.kind = NamedContext::Kind::kHttp;
  } else {
    struct stat st;
    if (::stat(context.location.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))
      return Error(ErrorKind::kNotFound, "build context " + name + ": no directory " + context.location)
          .hint("a value is a directory, docker-image://REF, oci-layout://DIR[:TAG], target:STAGE, a git "
                "repository or a URL");
  }
  return context;
}

}  // namespace

Result<void> NamedContexts::add(std::string_view argument) {
  size_t equals = argument.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == argument.size())
    return Error(ErrorKind::kInvalid, "invalid context value: " + std::string(argument) + ", expected key=value");
  std::string_view key = argument.substr(0, equals);
  std::string platform;
  if (size_t mark = key.find("::"); mark != std::string_view::npos) {
    oci::Platform parsed = TRY(oci::Platform::parse(key.substr(mark + 2)));
    platform = "::" + parsed.str();
    key = key.substr(0, mark);
  }
  std::string name = normalised(key) + platform;
  contexts_[name] = TRY(parse_value(name, argument.substr(equals + 1)));
  return {};
}

const NamedContext* NamedContexts::find(std::string_view name, const oci::Platform& platform) const {
  if (contexts_.empty()) return nullptr;
  std::string plain = normalised(name);
  for (const std::string& candidate : {plain + "::" + platform.str(), plain})
    if (auto it = contexts_.find(candidate); it != contexts_.end()) return &it->second;
  return nullptr;
}

Result<Sha256Digest> NamedContexts::image(const NamedContext& context, store::Store& store,
                                          const oci::Platform& platform) {
  if (!context.layout)
    return bases_ ? bases_->find(context.location, platform)
                  : find_base_image(store, context.location, platform);
  std::lock_guard lock(mutex_);
  std::string key = context.location + "|" + platform.str();
  if (auto it = images_.find(key); it != images_.end()) return it->second;
  Sha256Digest image = TRY_CONTEXT(transfer::load_layout_image(store, context.location, platform, events_),
                                   "build context " + context.name);
  images_.emplace(key, image);
  return image;
}

Result<std::shared_ptr<SourceTree>> NamedContexts::tree(const std::string& name, store::Store& store) {
  std::lock_guard lock(mutex_);
  if (auto it = trees_.find(name); it != trees_.end()) return it->second;
  const std::string& directory = contexts_.at(name).location;
  std::string label = ".dockerignore of build context " + name;
  dockerfile::IgnoreMatcher ignore;
  Result<std::string> text = read_file(directory + "/.dockerignore", kMaxIgnoreFile);
  if (text)
    ignore = TRY(dockerfile::IgnoreMatcher::parse(std::make_shared<SourceText>(label, std::move(*text))));
  else if (text.error().kind() != ErrorKind::kNotFound)
    return std::move(text.error()).context("read " + label);
  std::string cache = store.path("statcache/" + sha256("named|" + directory).hex());
  std::shared_ptr<SourceTree> tree = TRY(ContextTree::open(directory, std::move(ignore), label, cache));
  trees_.emplace(name, tree);
  return tree;
}

}  // namespace kasane::build
