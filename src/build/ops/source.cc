// Sources that are no layers: named directories, downloads, repositories.
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/base64.h"
#include "build/context.h"
#include "build/ops/source.h"
#include "build/ops/step.h"

namespace kasane::build {
namespace {

// A tree over a directory that lives as long as the tree.
class OwnedDirectory : public SourceTree {
 public:
  OwnedDirectory(store::Store::Ingest ingest, std::unique_ptr<ContextTree> tree)
      : ingest_(std::move(ingest)), tree_(std::move(tree)) {}
  Result<SourcePtr> lookup(std::string_view path) override { return tree_->lookup(path); }
  Result<std::vector<SourcePtr>> children(std::string_view directory) override {
    return tree_->children(directory);
  }
  Result<std::unique_ptr<ByteSource>> open(const SourceEntry& entry) override {
    return tree_->open(entry);
  }
  Result<Sha256Digest> digest(const SourceEntry& entry) override { return tree_->digest(entry); }
  void learned(const SourceEntry& entry, const Sha256Digest& digest) override {
    tree_->learned(entry, digest);
  }
  std::string why_absent(std::string_view path) override { return tree_->why_absent(path); }

 private:
  store::Store::Ingest ingest_;
  std::unique_ptr<ContextTree> tree_;
};

// A downloaded body under the name that the URL gives it (AD6, AD7).
class DownloadTree : public SourceTree {
 public:
  DownloadTree(net::HttpSource source, const std::string& name) : file_(std::move(source.file)) {
    SourceEntry entry;
    entry.entry.path = name;
    entry.entry.mode = 0600;
    entry.entry.size = source.size;
    entry.entry.mtime = {source.last_modified.value_or(0), 0};
    entry.content = source.digest;
    entry_ = std::make_shared<const SourceEntry>(std::move(entry));
  }
  Result<SourcePtr> lookup(std::string_view path) override {
    if (path == entry_->entry.path) return entry_;
    if (!path.empty()) return SourcePtr();
    auto root = std::make_shared<SourceEntry>();
    root->entry.type = tar::EntryType::kDirectory;
    root->entry.mode = 0755;
    return SourcePtr(std::move(root));
  }
  Result<std::vector<SourcePtr>> children(std::string_view directory) override {
    if (!directory.empty()) return std::vector<SourcePtr>();
    return std::vector<SourcePtr>{entry_};
  }
  Result<std::unique_ptr<ByteSource>> open(const SourceEntry&) override {
    UniqueFd fd = TRY(open_file(file_, O_RDONLY));
    return std::unique_ptr<ByteSource>(std::make_unique<OwningSource>(std::move(fd), file_));
  }
  Result<Sha256Digest> digest(const SourceEntry& entry) override { return *entry.content; }
  void learned(const SourceEntry&, const Sha256Digest&) override {}
  std::string why_absent(std::string_view) override { return {}; }

 private:
  class OwningSource : public ByteSource {
   public:
    OwningSource(UniqueFd fd, const std::string& name) : fd_(std::move(fd)), name_(name) {}
    Result<size_t> read(std::span<uint8_t> buffer) override { return read_some(fd_.get(), buffer, name_); }

   private:
    UniqueFd fd_;
    std::string name_;
  };
  std::string file_;
  SourcePtr entry_;
};

std::string host_of(std::string_view url) {
  size_t begin = url.find("://");
  std::string_view rest = begin == std::string_view::npos ? url : url.substr(begin + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (size_t at = rest.rfind('@'); at != std::string_view::npos) rest.remove_prefix(at + 1);
  return std::string(rest);
}

// AD12: PREFIX_HEADER[.host] and PREFIX_TOKEN[.host] of the secrets of this build.
std::string authorization(const SecretValues& secrets, const std::string& prefix, char separator,
                          const std::string& host, std::string_view token_scheme) {
  for (const std::string& suffix : {separator + host, std::string()}) {
    if (const std::string* header = secrets.find(prefix + "_HEADER" + suffix)) return *header;
    if (const std::string* token = secrets.find(prefix + "_TOKEN" + suffix))
      return std::string(token_scheme) + *token;
  }
  return {};
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  return text;
}


// Again after errors that may pass, with growing pauses.
template <typename Work>
auto with_retries(BuildEnvironment& env, const StepInput& input, const Work& work) {
  for (int attempt = 0;; ++attempt) {
    auto result = work();
    bool again = !result && result.error().kind() == ErrorKind::kNetwork && attempt < env.retries &&
                 !input.stop.stop_requested();
    if (!again) return result;
    input.span.log("failed, trying again: " + result.error().full_message() + "\n", 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(500 << attempt));
  }
}

}  // namespace

Result<VertexResult> run_local(BuildEnvironment& env, const StepInput&, const LocalOp& op) {
  VertexResult result;
  result.tree = TRY(env.contexts.tree(op.name, env.store));
  return result;
}

Result<VertexResult> run_http(BuildEnvironment& env, const StepInput& input, const HttpOp& op) {
  net::HttpSourceOptions options;
  options.checksum = op.checksum;
  std::string auth = trimmed(authorization(env.secrets, "HTTP_AUTH", '_', host_of(op.url), "Bearer "));
  if (!auth.empty()) options.headers.push_back("Authorization: " + auth);
  net::HttpSource source = TRY(with_retries(env, input, [&] {
    return env.downloads.http(op.url, options, input.stop, [&](uint64_t current, uint64_t total) {
      input.span.progress(current, total);
    });
  }));
  VertexResult result;
  result.tree = std::make_shared<DownloadTree>(std::move(source), op.file_name);
  return result;
}

Result<std::shared_ptr<SourceTree>> checkout_tree(store::Store& store, net::SourceCache& downloads,
                                                  const GitOp& op, const SecretValues& secrets,
                                                  const SshAgents& ssh, std::stop_token stop) {
  net::GitOptions options;
  std::string token = authorization(secrets, "GIT_AUTH", '.', host_of(op.ref.remote), "\n");
  if (token.starts_with('\n'))  // a token goes as the password of a basic login
    options.auth_header = "Authorization: basic " + base64("x-access-token:" + trimmed(token.substr(1)));
  else if (!token.empty())
    options.auth_header = "Authorization: " + trimmed(token);
  if (const std::string* agent = ssh.find("default")) options.ssh_auth_sock = *agent;
  store::Store::Ingest ingest = TRY(store.new_ingest());
  net::GitSource source =
      TRY(downloads.git(op.ref, op.keep_git_dir, ingest.path() + "/checkout", options, std::move(stop)));
  std::unique_ptr<ContextTree> tree =
      TRY(ContextTree::open(source.directory, dockerfile::IgnoreMatcher(), "", ""));
  return std::shared_ptr<SourceTree>(std::make_shared<OwnedDirectory>(std::move(ingest), std::move(tree)));
}

Result<VertexResult> run_git(BuildEnvironment& env, const StepInput& input, const GitOp& op) {
  VertexResult result;
  result.tree = TRY(with_retries(env, input, [&] {
    return checkout_tree(env.store, env.downloads, op, env.secrets, env.ssh, input.stop);
  }));
  return result;
}

}  // namespace kasane::build
