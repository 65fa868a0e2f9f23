#include "build/inputs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "base/compress.h"
#include "build/context.h"
#include "build/dockerfile_input.h"
#include "build/image_tree.h"
#include "build/ops/source.h"
#include "dockerfile/parser.h"
#include "net/git_ref.h"
#include "net/url.h"

namespace kasane::build {
namespace {

constexpr size_t kHeadBytes = 1024;  // enough to recognise an archive

// A source with a head that was looked at and is given again.
class PeekedSource : public ByteSource {
 public:
  explicit PeekedSource(ByteSource& inner) : inner_(inner) {}
  Result<std::string_view> peek() {
    uint8_t buffer[kHeadBytes];
    while (head_.size() < kHeadBytes) {
      size_t n = TRY(inner_.read(std::span(buffer, kHeadBytes - head_.size())));
      if (n == 0) break;
      head_.append(reinterpret_cast<char*>(buffer), n);
    }
    return std::string_view(head_);
  }
  Result<size_t> read(std::span<uint8_t> buffer) override {
    if (at_ == head_.size()) return inner_.read(buffer);
    size_t n = std::min(buffer.size(), head_.size() - at_);
    std::memcpy(buffer.data(), head_.data() + at_, n);
    at_ += n;
    return n;
  }

 private:
  ByteSource& inner_;
  std::string head_;
  size_t at_ = 0;
};

// X04: a tar, plain or compressed, by its first bytes.
bool is_archive_head(std::string_view head) {
  auto bytes = std::span(reinterpret_cast<const uint8_t*>(head.data()), head.size());
  if (detect_compression(bytes) != Compression::kNone) return true;
  return head.size() >= 262 && head.substr(257, 5) == "ustar";
}

struct Reader {
  store::Store& store;
  const BuildOptions& options;
  net::SourceCache& downloads;
  EventBus& events;
  std::stop_token stop;
  Inputs inputs;

  Result<void> read();
  Result<void> from_directory();
  Result<void> from_stream(ByteSource& source, const std::string& name);
  Result<void> from_url();
  Result<void> from_git();
  Result<void> dockerfile_of_tree();
  Result<void> dockerfile_of_url(const std::string& url);
  Result<void> parse(std::string text, std::string name);
  Result<void> parse(std::shared_ptr<const SourceText> source);
  Result<void> open_directory(const std::string& path, IgnoreFile ignore);
};

Result<std::string> text_of(ByteSource& source) {
  StringSink sink;
  TRY(copy_stream(source, sink, dockerfile::kMaxDockerfileBytes));
  return std::move(sink.text);
}

Result<std::string> canonical_directory(const std::string& directory) {
  char resolved[PATH_MAX];
  if (!::realpath(directory.c_str(), resolved)) {
    if (errno == ENOENT)
      return Error(ErrorKind::kNotFound, "unable to prepare context: path \"" + directory + "\" not found")
          .hint("the last argument is the directory with the files to copy, often \".\"");
    return Error::from_errno(errno, "unable to prepare context: " + directory);
  }
  struct stat st;
  if (::stat(resolved, &st) == 0 && !S_ISDIR(st.st_mode))
    return Error(ErrorKind::kInvalid, "unable to prepare context: \"" + directory + "\" is not a directory");
  return std::string(resolved);
}

Result<void> Reader::parse(std::string text, std::string name) {
  return parse(std::make_shared<const SourceText>(std::move(name), std::move(text)));
}

Result<void> Reader::parse(std::shared_ptr<const SourceText> source) {
  inputs.file_name = source->name();
  inputs.file = TRY(dockerfile::parse(std::move(source)));
  return {};
}

Result<void> Reader::open_directory(const std::string& path, IgnoreFile ignore) {
  inputs.ignore = ignore.matcher;
  inputs.context = TRY(ContextTree::open(path, std::move(ignore.matcher), std::move(ignore.name),
                                         store.path("statcache/" + sha256(path).hex())));
  return {};
}

// X07.
Result<void> Reader::dockerfile_of_url(const std::string& url) {
  Span span(events, "[internal] load remote build definition");
  net::HttpSourceOptions http;
  http.max_bytes = dockerfile::kMaxDockerfileBytes;
  net::HttpSource source = TRY_CONTEXT(
      downloads.http(url, http, stop, [&](uint64_t current, uint64_t total) { span.progress(current, total); }),
      "failed to read dockerfile");
  span.done();
  return parse(TRY(read_file(source.file, dockerfile::kMaxDockerfileBytes)), source.name);
}

Result<void> Reader::from_directory() {
  inputs.context_name = TRY(canonical_directory(options.context));
  std::string path = TRY(find_dockerfile(inputs.context_name, options.dockerfile));
  IgnoreFile ignore = TRY(read_ignore_file(inputs.context_name, path));
  if (net::is_http_url(path))
    TRY(dockerfile_of_url(path));
  else
    TRY(parse(TRY(read_dockerfile(path, 0))));
  return open_directory(inputs.context_name, std::move(ignore));
}

// Of a context that is no directory of this machine: -f names a file in it (X03: or stdin).
Result<void> Reader::dockerfile_of_tree() {
  if (options.dockerfile == "-") return parse(TRY(read_dockerfile("-", 0)));
  std::vector<std::string> names{"Dockerfile", "dockerfile"};
  if (options.dockerfile) names = {*options.dockerfile};
  for (const std::string& name : names) {
    std::optional<std::string> real = TRY(resolve_in(*inputs.context, clean_path(name)));
    SourcePtr entry = real ? TRY(inputs.context->lookup(*real)) : SourcePtr();
    if (!entry || entry->entry.type != tar::EntryType::kFile) continue;
    std::unique_ptr<ByteSource> content = TRY(inputs.context->open(*entry));
    return parse(TRY_CONTEXT(text_of(*content), "failed to read dockerfile"), std::string(base_name(name)));
  }
  return Error(ErrorKind::kNotFound,
               "failed to read dockerfile: open " + names.front() + ": no such file or directory")
      .hint("the context has no file of that name; name another one with -f");
}

// X04, X06: an archive is the context, other text is a Dockerfile with an empty one.
Result<void> Reader::from_stream(ByteSource& source, const std::string& name) {
  inputs.context_name = name;
  PeekedSource peeked(source);
  if (!is_archive_head(TRY(peeked.peek()))) {
    if (options.dockerfile)
      return Error(ErrorKind::kInvalid,
                   "ambiguous Dockerfile source: both " + name + " and flag correspond to Dockerfiles")
          .hint("give a directory as context, or leave -f away");
    inputs.context = std::make_shared<ImageTree>(std::vector<store::LayerPtr>());
    return parse(TRY(text_of(peeked)), "Dockerfile");
  }
  Span span(events, "[internal] load build context");
  OpenedStream opened = TRY(open_decompressed(peeked));
  Result<store::LayerPtr> layer = store::import_layer(store, *opened.source, {});
  if (!layer) {
    span.fail(layer.error());
    return std::move(layer.error()).context("read the build context from " + name);
  }
  span.done();
  inputs.context = std::make_shared<ImageTree>(std::vector<store::LayerPtr>{std::move(*layer)});
  return dockerfile_of_tree();
}

Result<void> Reader::from_url() {
  Span span(events, "[internal] load remote build context");
  net::HttpSource source = TRY(downloads.http(
      options.context, {}, stop, [&](uint64_t current, uint64_t total) { span.progress(current, total); }));
  span.done();
  UniqueFd fd = TRY(open_file(source.file, O_RDONLY));
  FdSource body(fd.get(), options.context);
  return from_stream(body, options.context);
}

Result<void> Reader::from_git() {
  Span span(events, "[internal] load git source " + options.context);
  auto keep = options.build_args.find("BUILDKIT_CONTEXT_KEEP_GIT_DIR");  // A13
  GitOp op{TRY(net::parse_git_ref(options.context)), keep != options.build_args.end() && keep->second == "1"};
  static const SshAgents kNoAgents;
  inputs.context = TRY(checkout_tree(store, downloads, op, options.secrets,
                                     options.ssh ? *options.ssh : kNoAgents, stop));
  span.done();
  inputs.context_name = options.context;
  return dockerfile_of_tree();
}

Result<void> Reader::read() {
  const std::string& context = options.context;
  if (context == "-") {
    if (options.dockerfile == "-")
      return Error(ErrorKind::kInvalid,
                   "invalid argument: can't use stdin for both build context and dockerfile");
    FdSource source(0, "standard input");
    return from_stream(source, "stdin");
  }
  struct stat st;
  if (::stat(context.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return from_directory();
  if (net::looks_like_git_context(context)) return from_git();
  if (net::is_http_url(context)) return from_url();
  return from_directory();
}

}  // namespace

Result<Inputs> read_inputs(store::Store& store, const BuildOptions& options,
                           net::SourceCache& downloads, EventBus& events, std::stop_token stop) {
  Reader reader{store, options, downloads, events, std::move(stop), {}};
  TRY(reader.read());
  return std::move(reader.inputs);
}

}  // namespace kasane::build
