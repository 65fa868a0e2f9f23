// SourceCache::http. An entry keeps some versions of one URL, newest first, so that a source
// that goes back and forth is not moved again.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "net/entry_lock.h"
#include "net/http_date.h"
#include "net/source_cache.h"
#include "net/url.h"

namespace kasane::net {
namespace {

constexpr size_t kMaxVersions = 8;
constexpr size_t kMaxEtag = 1024;

struct Version {
  Sha256Digest digest;
  uint64_t size = 0;
  std::optional<int64_t> last_modified;
  std::string etag;  // without "W/"; "" when the server gave none
};

// The entry's name. Whoever may not read the URL gets no answer from the server, so
// credentials need no entry of their own.
std::string entry_key(const std::string& url, const std::vector<std::string>& headers) {
  std::vector<std::string> kept;
  for (const std::string& header : headers)
    if (!ascii_lower(header).starts_with("authorization:")) kept.push_back(header);
  std::sort(kept.begin(), kept.end());
  FieldHash hash("kasane http source 1");
  hash.add(url);
  for (const std::string& header : kept) hash.add(header);
  return hash.finish().hex();
}

// One line a version: "<sha256> <size> <last modified or -> <etag>".
std::string format_meta(const std::vector<Version>& versions) {
  std::string text;
  for (const Version& version : versions)
    text += version.digest.hex() + " " + std::to_string(version.size) + " " +
            (version.last_modified ? std::to_string(*version.last_modified) : "-") + " " +
            version.etag + "\n";
  return text;
}

std::optional<Version> parse_meta_line(std::string_view line) {
  size_t a = line.find(' ');
  size_t b = a == line.npos ? a : line.find(' ', a + 1);
  size_t c = b == line.npos ? b : line.find(' ', b + 1);
  if (c == line.npos) return std::nullopt;
  std::optional<Sha256Digest> digest = Sha256Digest::from_hex(line.substr(0, a));
  if (!digest) return std::nullopt;
  Version version{*digest, 0, std::nullopt, std::string(line.substr(c + 1))};
  version.size = std::strtoull(std::string(line.substr(a + 1, b - a - 1)).c_str(), nullptr, 10);
  std::string modified(line.substr(b + 1, c - b - 1));
  if (modified != "-") version.last_modified = std::strtoll(modified.c_str(), nullptr, 10);
  return version;
}

class Entry {
 public:
  Entry(std::string directory, const std::string& url)
      : directory_(std::move(directory)), url_(url) {}

  Result<void> open(const std::stop_token& stop);
  const std::vector<Version>& versions() const { return versions_; }
  HttpSource source(const Version& version) const {
    return {body(version), version.digest, version.size, http_source_name(url_),
            version.last_modified};
  }
  std::string incoming() const { return directory_ + "/incoming"; }
  // Makes incoming() the newest version.
  Result<void> add(Version version);

 private:
  std::string body(const Version& version) const {
    return directory_ + "/body." + version.digest.hex();
  }
  std::string directory_;
  const std::string& url_;
  UniqueFd lock_;
  std::vector<Version> versions_;
};

Result<void> Entry::open(const std::stop_token& stop) {
  TRY(make_directories(directory_, 0700));
  lock_ = TRY(lock_entry(directory_ + "/lock", stop));
  ::unlink(incoming().c_str());  // of a process that was killed
  Result<std::string> meta = read_file(directory_ + "/meta", 1u << 20);
  if (!meta && meta.error().kind() != ErrorKind::kNotFound) return meta.error();
  if (!meta) return {};
  std::string_view rest = *meta;
  while (!rest.empty()) {
    size_t end = std::min(rest.size(), rest.find('\n'));
    std::optional<Version> version = parse_meta_line(rest.substr(0, end));
    rest.remove_prefix(std::min(rest.size(), end + 1));
    struct stat st;
    if (version && ::stat(body(*version).c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
        static_cast<uint64_t>(st.st_size) == version->size)
      versions_.push_back(std::move(*version));
  }
  return {};
}

Result<void> Entry::add(Version version) {
  std::string path = body(version);
  if (::rename(incoming().c_str(), path.c_str()) != 0)
    return Error::from_errno(errno, "rename to " + path);
  TRY(sync_directory(directory_));
  // The same bytes under another ETag replace the old line.
  std::erase_if(versions_, [&](const Version& old) { return old.digest == version.digest; });
  versions_.insert(versions_.begin(), std::move(version));
  std::vector<Version> kept(versions_.begin(),
                            versions_.begin() + std::min(versions_.size(), kMaxVersions));
  TRY(replace_file(directory_ + "/meta", format_meta(kept), 0600));
  for (size_t i = kept.size(); i < versions_.size(); ++i) ::unlink(body(versions_[i]).c_str());
  versions_ = std::move(kept);
  return {};
}

// BuildKit compares without the mark of a weak tag.
std::string etag_of(const HttpResponse& response) {
  auto found = response.headers.find("etag");
  if (found == response.headers.end()) return "";
  std::string_view etag = found->second;
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  bool plain = etag.size() <= kMaxEtag && etag.starts_with('"');
  for (char c : etag) plain = plain && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  return plain ? std::string(etag) : "";
}

const Version* by_etag(const std::vector<Version>& versions, const std::string& etag) {
  for (const Version& version : versions)
    if (!etag.empty() && version.etag == etag) return &version;
  return nullptr;
}

std::vector<std::string> conditions(const std::vector<Version>& versions) {
  std::string etags;
  for (const Version& version : versions)
    if (!version.etag.empty()) etags += (etags.empty() ? "" : ", ") + version.etag;
  if (!etags.empty()) return {"If-None-Match: " + etags};
  if (!versions.empty() && versions[0].last_modified)
    return {"If-Modified-Since: " + format_http_date(*versions[0].last_modified)};
  return {};
}

// Which stored version a 304 (or a 200 with a known ETag) means.
const Version* known_version(const std::vector<Version>& versions, const HttpResponse& response) {
  if (const Version* version = by_etag(versions, etag_of(response))) return version;
  if (response.status != 304) return nullptr;
  // Servers may leave the ETag out of a 304; then only one question can have been meant.
  size_t asked = 0;
  const Version* only = nullptr;
  for (const Version& version : versions)
    if (!version.etag.empty() && ++asked) only = &version;
  if (asked == 1) return only;
  return asked == 0 && !versions.empty() ? &versions[0] : nullptr;
}

Error status_error(int status, const std::string& url) {
  std::string text = "the server answered with status " + std::to_string(status);
  if (status == 404 || status == 410)
    return Error(ErrorKind::kNotFound, text + ": not found").hint("check the URL");
  if (status == 401 || status == 403) {
    std::string host = url_host(url);
    return Error(ErrorKind::kPermission, text + ": access denied")
        .hint("give credentials with --secret id=HTTP_AUTH_TOKEN_" + host +
              " or --secret id=HTTP_AUTH_HEADER_" + host);
  }
  if (status == 408 || status == 429 || status >= 500)
    return Error(ErrorKind::kNetwork, text).hint("try again later; the trouble is the server's");
  return Error(ErrorKind::kInvalid, text + ", which brings no file").hint("check the URL");
}

Result<std::optional<Sha256Digest>> parse_checksum(const std::string& text) {
  if (text.empty()) return std::optional<Sha256Digest>();
  std::optional<Sha256Digest> digest = Sha256Digest::parse(text);
  if (digest) return digest;
  if (!text.starts_with("sha256:") && text.find(':') != std::string::npos)
    return Error(ErrorKind::kInvalid, "checksum \"" + text + "\": only sha256 is known for HTTP sources");
  return Error(ErrorKind::kInvalid, "checksum \"" + text + "\" is not sha256:<64 lower-case hex digits>");
}

Result<void> check(const Sha256Digest& got, const std::optional<Sha256Digest>& wanted) {
  if (!wanted || got == *wanted) return {};
  return Error(ErrorKind::kCorrupt, "digest mismatch: the body has " + got.str() + ", expected " + wanted->str())
      .hint("if the new content is trusted, write its digest into --checksum");
}

// A GET whose 2xx body ends in entry.incoming(), unless the response names a known version.
struct Fetched {
  HttpResponse response;
  Sha256Digest digest;
  uint64_t size = 0;
};

Result<Fetched> fetch(const Entry& entry, HttpRequest request, const std::stop_token& stop,
                      const HttpProgress& progress) {
  std::string path = entry.incoming();
  UniqueFd fd = TRY(open_file(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  FdSink file(fd.get(), path);
  HashingSink sink(&file);
  request.want_body = [&entry](const HttpResponse& response) {
    return response.status >= 200 && response.status < 300 &&
           !by_etag(entry.versions(), etag_of(response));
  };
  Fetched fetched{TRY(http_fetch(request, sink, stop, progress)), {}, 0};
  fetched.size = sink.size();
  fetched.digest = sink.finish();
  TRY(sync_fd(fd.get(), path));
  return fetched;
}

Result<HttpSource> update(Entry& entry, const std::string& url, const HttpSourceOptions& options,
                          const std::optional<Sha256Digest>& wanted, const std::stop_token& stop,
                          const HttpProgress& progress) {
  HttpRequest request{.url = url, .headers = options.headers, .body = {}, .want_body = {}};
  request.max_body_bytes = options.max_bytes;
  HttpRequest asking = request;
  for (std::string& line : conditions(entry.versions())) asking.headers.push_back(std::move(line));
  Fetched fetched = TRY(fetch(entry, asking, stop, progress));
  int status = fetched.response.status;
  if (status == 304 || (status >= 200 && status < 300)) {
    if (const Version* known = known_version(entry.versions(), fetched.response)) {
      TRY(check(known->digest, wanted));
      return entry.source(*known);
    }
    // A 304 that says of nothing that it is unchanged: ask for the whole.
    if (status == 304) fetched = TRY(fetch(entry, request, stop, progress));
  }
  status = fetched.response.status;
  if (status < 200 || status >= 300) return status_error(status, url);
  TRY(check(fetched.digest, wanted));
  Version version{fetched.digest, fetched.size, std::nullopt, etag_of(fetched.response)};
  auto modified = fetched.response.headers.find("last-modified");
  if (modified != fetched.response.headers.end())
    version.last_modified = parse_http_date(modified->second);
  HttpSource source = entry.source(version);
  TRY(entry.add(std::move(version)));
  return source;
}

}  // namespace

std::string http_source_name(std::string_view url) {
  std::optional<UrlParts> parts = split_url(url);
  std::string path = parts ? percent_decode(parts->path).value_or("") : "";
  while (path.ends_with('/')) path.pop_back();
  std::string name = path.substr(path.rfind('/') + 1);
  bool usable = !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
                name.find('\0') == std::string::npos;
  return usable ? name : "__unnamed__";
}

Result<HttpSource> SourceCache::http(const std::string& url, const HttpSourceOptions& options,
                                     std::stop_token stop, const HttpProgress& progress) {
  std::string frame = "download " + redact_url(url);
  std::optional<Sha256Digest> wanted = TRY_CONTEXT(parse_checksum(options.checksum), frame);
  Entry entry(directory_ + "/http/" + entry_key(url, options.headers), url);
  TRY_CONTEXT(entry.open(stop), frame);
  for (const Version& version : entry.versions())
    if (wanted && version.digest == *wanted) return entry.source(version);
  Result<HttpSource> source = update(entry, url, options, wanted, stop, progress);
  ::unlink(entry.incoming().c_str());
  if (!source) return std::move(source.error()).context(frame);
  return source;
}

}  // namespace kasane::net
