#include "transfer/add_to_index.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>

#include "base/random.h"
#include "oci/image_config.h"
#include "oci/platform_match.h"

namespace kasane::transfer {
namespace {

constexpr int kMaxRounds = 200;
constexpr int64_t kMarkerSeconds = 3600;  // then its joiner is dead or done long ago
constexpr int64_t kMaxClockSkew = 600;
constexpr std::string_view kTime = "kasane.join.time", kReplaced = "kasane.join.replaced", kState = "kasane.join.state",
                           kNonce = "kasane.join.nonce";

int64_t now_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

bool has_digest(const IndexEdit& index, const std::string& digest) {
  return std::any_of(index.entries.begin(), index.entries.end(),
                     [&](const oci::Json& entry) { return oci::member_text(entry, "digest") == digest; });
}

bool is_image(const oci::Json& entry) {
  const std::optional<oci::Platform> platform = platform_of(entry);
  return platform && platform->os != "unknown";
}

std::string annotation(const std::map<std::string, std::string>& all, std::string_view key) {
  const auto found = all.find(std::string(key));
  return found == all.end() ? std::string() : found->second;
}

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

class Join {
 public:
  Join(registry::Repository& repository, registry::Pusher& pusher, std::string tag, const std::vector<oci::Json>& entries,
       const std::stop_token& stop)
      : repository_(repository), pusher_(pusher), tag_(std::move(tag)), entries_(entries), stop_(stop) {}

  Result<Pushed> run(const registry::Document& probe) {
    Result<void> tried = pusher_.put_manifest(probe.digest.str(), probe.media_type, probe.bytes, stop_,
                                              {"If-Match: \"never\""});
    if (!tried && tried.error().kind() != ErrorKind::kConflict) return std::move(tried.error());
    return tried ? with_markers() : conditional();
  }

 private:
  struct Current {
    std::optional<registry::Document> document;
    IndexEdit index;
  };

  // What the tag is now; an image becomes an index of itself.
  Result<Current> read() {
    Current out;
    Result<registry::Document> found = repository_.document(tag_, stop_);
    if (!found && found.error().kind() == ErrorKind::kNotFound) return out;
    if (!found) return std::move(found.error());
    std::optional<oci::Platform> platform;
    if (!found->is_index) {
      const oci::Manifest manifest = TRY(oci::Manifest::parse(found->bytes));
      const oci::ImageConfig config =
          TRY(oci::ImageConfig::parse(TRY(repository_.blob_text(manifest.config, stop_))));
      platform = oci::Platform{config.os, config.architecture, config.variant, config.os_version}.normalized();
    }
    out.index = TRY(IndexEdit::of(*found, platform ? &*platform : nullptr));
    out.document = std::move(*found);
    return out;
  }

  // Nothing to do: the tag is an index that has it all.
  static bool same(const Current& current, const IndexEdit& wanted) {
    return current.document && current.document->is_index && current.index.serialize(0) == wanted.serialize(0);
  }

  void join_own(IndexEdit& index) const {
    for (const oci::Json& entry : entries_)
      if (!has_digest(index, oci::member_text(entry, "digest"))) index.join(entry);
  }

  Pushed result(const registry::Document& document) const {
    Pushed out;
    out.digest = document.digest;
    out.size = document.bytes.size();
    out.media_type = document.media_type;
    return out;
  }

  Result<void> pause(int round) {
    const int64_t most = std::min<int64_t>(2000, int64_t{20} << std::min(round, 7));
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, stop_, std::chrono::milliseconds(static_cast<int64_t>(random_()) % most), [] { return false; });
    if (stop_.stop_requested()) return Error(ErrorKind::kCancelled, "cancelled");
    return {};
  }

  Result<Pushed> conditional() {
    for (int round = 0; round < kMaxRounds; ++round) {
      const Current current = TRY(read());
      IndexEdit wanted = current.index;
      join_own(wanted);
      if (same(current, wanted)) return result(*current.document);
      const registry::Document made = TRY(registry::classify(wanted.serialize(2), ""));
      const std::string condition =
          current.document ? "If-Match: \"" + current.document->digest.str() + "\"" : "If-None-Match: *";
      Result<void> put = pusher_.put_manifest(tag_, made.media_type, made.bytes, stop_, {condition});
      if (put) return result(made);
      if (put.error().kind() != ErrorKind::kConflict) return std::move(put.error());
      TRY(pause(round));
    }
    return exhausted();
  }

  // ---- registries without conditions

  static constexpr std::string_view kMarkerTag = ".join-";

  std::string marker_tag() const {
    std::string name;
    for (const oci::Json& entry : entries_)
      if (is_image(entry)) name += (name.empty() ? "" : "_") + platform_of(entry)->str();
    for (char& c : name)
      if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.')) c = '-';
    std::string out = tag_ + std::string(kMarkerTag) + name;
    return out.size() <= 128 ? out : tag_.substr(0, 100) + std::string(kMarkerTag) + sha256(name).hex().substr(0, 16);
  }

  Result<JoinMarker> parse_marker(const registry::Document& document) const {
    const IndexEdit index = TRY(IndexEdit::of(document, nullptr));
    JoinMarker out;
    out.entries = index.entries;
    out.replaced = words(annotation(index.annotations, kReplaced));
    out.settled = annotation(index.annotations, kState) == "settled";
    out.seconds = std::strtoll(annotation(index.annotations, kTime).c_str(), nullptr, 10);
    out.digest = document.digest.str();
    if (!index.annotations.contains(std::string(kNonce)))
      return Error(ErrorKind::kInvalid, "not a marker");
    return out;
  }

  // All that are in the repository for this tag. One that goes meanwhile is done.
  Result<std::vector<JoinMarker>> read_markers() {
    std::vector<JoinMarker> out;
    const std::string prefix = tag_.substr(0, 100) + std::string(kMarkerTag), whole = tag_ + std::string(kMarkerTag);
    Result<std::vector<std::string>> tags = repository_.tags(stop_);
    if (!tags && tags.error().kind() == ErrorKind::kNotFound) return out;
    if (!tags) return std::move(tags.error());
    for (const std::string& tag : *tags) {
      if (!tag.starts_with(whole) && !(tag_.size() > 100 && tag.starts_with(prefix))) continue;
      Result<registry::Document> document = repository_.document(tag, stop_);
      if (!document && document.error().kind() == ErrorKind::kNotFound) continue;
      if (!document) return std::move(document.error());
      if (Result<JoinMarker> marker = parse_marker(*document)) {
        marker->tag = tag;
        out.push_back(std::move(*marker));
      }
    }
    return out;
  }

  static bool is_alive(const JoinMarker& marker) {
    const int64_t age = now_seconds() - marker.seconds;
    return age < kMarkerSeconds && age > -kMaxClockSkew;
  }

  Result<void> put_marker(bool settled) {
    IndexEdit marker;
    marker.media_type = oci::kMediaTypeIndex;
    marker.entries = entries_;
    std::string replaced;
    for (const std::string& digest : replaced_) replaced += (replaced.empty() ? "" : " ") + digest;
    marker.annotations = {{std::string(kTime), std::to_string(now_seconds())},
                          {std::string(kReplaced), replaced},
                          {std::string(kState), settled ? "settled" : "open"},
                          {std::string(kNonce), random_hex(8)}};
    const std::string bytes = marker.serialize(0);
    own_marker_ = sha256(bytes).str();
    return pusher_.put_manifest(marker_tag(), marker.media_type, bytes, stop_);
  }

  // What my platforms have now gives way to me, and what gave way to an earlier join of them.
  Result<void> remember_replaced() {
    const Current before = TRY(read());
    const auto note = [&](const std::string& digest) {
      if (!digest.empty() && std::find(replaced_.begin(), replaced_.end(), digest) == replaced_.end())
        replaced_.push_back(digest);
    };
    for (const oci::Json& entry : entries_)
      if (is_image(entry)) note(before.index.digest_for(*platform_of(entry)));
    const Result<registry::Document> old = repository_.document(marker_tag(), stop_);
    if (!old) return {};
    const Result<JoinMarker> marker = parse_marker(*old);
    if (!marker || !is_alive(*marker)) return {};
    for (const std::string& digest : marker->replaced) note(digest);
    for (const oci::Json& entry : marker->entries)
      if (is_image(entry)) note(oci::member_text(entry, "digest"));
    return {};
  }

  Result<Pushed> with_markers() {
    TRY(remember_replaced());
    TRY(put_marker(false));
    for (int round = 0; round < kMaxRounds; ++round) {
      const std::vector<JoinMarker> markers = TRY(read_markers());  // before the index: see the header
      const Current current = TRY(read());
      IndexEdit wanted = current.index;
      // Somebody joins another image of the same platform after me: the last one counts.
      const std::string mine = marker_tag();
      const bool superseded = std::any_of(markers.begin(), markers.end(), [&](const JoinMarker& marker) {
        return marker.tag == mine && marker.digest != own_marker_ && is_alive(marker);
      });
      if (!superseded) join_own(wanted);
      for (const JoinMarker& marker : markers)
        if (is_alive(marker)) apply_marker(wanted, marker);
      if (same(current, wanted)) {
        if (!superseded) TRY(put_marker(true));
        TRY(clean());
        return result(*current.document);
      }
      if (round > 0) TRY(pause(round));
      const registry::Document made = TRY(registry::classify(wanted.serialize(2), ""));
      TRY(pusher_.put_manifest(tag_, made.media_type, made.bytes, stop_));
    }
    return exhausted();
  }

  // The last to be done takes all markers away, where the registry deletes.
  Result<void> clean() {
    const std::vector<JoinMarker> markers = TRY(read_markers());
    if (std::any_of(markers.begin(), markers.end(), [](const auto& one) { return is_alive(one) && !one.settled; }))
      return {};
    for (const JoinMarker& marker : markers) {
      const Result<void> removed = repository_.remove(marker.digest, stop_);
      if (!removed && removed.error().kind() == ErrorKind::kCancelled) return removed;
    }
    return {};
  }

  Error exhausted() const {
    return Error(ErrorKind::kConflict, tag_ + ": too many others change the index at the same time")
        .hint("the images are in the registry; run the same command again");
  }

  registry::Repository& repository_;
  registry::Pusher& pusher_;
  std::string tag_;
  const std::vector<oci::Json>& entries_;
  const std::stop_token& stop_;
  std::vector<std::string> replaced_;
  std::string own_marker_;  // its digest
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace

void apply_marker(IndexEdit& index, const JoinMarker& marker) {
  bool fits = true;
  for (const oci::Json& entry : marker.entries) {
    if (!is_image(entry)) continue;
    const std::string now = index.digest_for(*platform_of(entry));
    fits = fits && (now.empty() || now == oci::member_text(entry, "digest") ||
                    std::find(marker.replaced.begin(), marker.replaced.end(), now) != marker.replaced.end());
  }
  if (!fits) return;
  for (const oci::Json& entry : marker.entries)
    if (!has_digest(index, oci::member_text(entry, "digest"))) index.join(entry);
}

Result<Pushed> add_to_index(registry::Repository& repository, registry::Pusher& pusher, const std::string& tag,
                            const std::vector<oci::Json>& entries, const registry::Document& probe,
                            const std::stop_token& stop) {
  return Join(repository, pusher, tag, entries, stop).run(probe);
}

}  // namespace kasane::transfer
