#include "transfer/copy.h"

#include <algorithm>
#include <set>

#include "oci/image_config.h"
#include "oci/platform_match.h"

namespace kasane::transfer {
namespace {

constexpr int kMaxIndexDepth = 8;  // R1
constexpr size_t kMaxDocuments = 10'000;
constexpr uint64_t kMaxDocumentBytesInAll = 256u << 20;
constexpr uint64_t kMaxConfigBytes = 4u << 20;

class Planner {
 public:
  Planner(ImageSource& source, CopyPlan& plan, const std::stop_token& stop) : source_(source), plan_(plan), stop_(stop) {
    for (const PlannedDocument& planned : plan.documents) seen_.insert(planned.document.digest);
  }

  // Children first.
  Result<void> add(registry::Document document, int depth = 0) {
    if (!seen_.insert(document.digest).second) return {};
    bytes_ += document.bytes.size();
    if (seen_.size() > kMaxDocuments || bytes_ > kMaxDocumentBytesInAll)
      return Error(ErrorKind::kLimit, "the image has too many manifests");
    if (depth > kMaxIndexDepth) return Error(ErrorKind::kLimit, "image indexes are nested too deeply");
    PlannedDocument planned;
    if (document.is_index) {
      const oci::Index index = TRY(oci::Index::parse(document.bytes));
      for (const oci::Descriptor& entry : index.manifests) TRY(add_entry(entry, planned, depth));
    } else {
      const oci::Manifest manifest = TRY(oci::Manifest::parse(document.bytes));
      planned.blobs.push_back(manifest.config);
      for (const oci::Descriptor& layer : manifest.layers)
        if (!oci::is_foreign_layer(layer) || layer.urls.empty()) planned.blobs.push_back(layer);
    }
    planned.document = std::move(document);
    plan_.documents.push_back(std::move(planned));
    return {};
  }

 private:
  Result<void> add_entry(const oci::Descriptor& entry, PlannedDocument& parent, int depth) {
    const std::string& type = entry.media_type;
    if (!type.empty() && !oci::is_manifest_type(type) && !oci::is_index_type(type)) {
      parent.blobs.push_back(entry);  // whatever it is: it goes along
      return {};
    }
    if (const auto digest = Sha256Digest::parse(entry.digest); digest && seen_.contains(*digest)) return {};
    registry::Document child = TRY_CONTEXT(source_.document(entry, stop_), "manifest " + entry.digest);
    TRY(check_entry(entry, child));
    return add(std::move(child), depth + 1);
  }

  ImageSource& source_;
  CopyPlan& plan_;
  const std::stop_token& stop_;
  std::set<Sha256Digest> seen_;
  uint64_t bytes_ = 0;

 public:
  static Result<void> check_entry(const oci::Descriptor& entry, const registry::Document& child) {
    if (entry.size >= 0 && static_cast<int64_t>(child.bytes.size()) != entry.size)
      return Error(ErrorKind::kCorrupt, "manifest verification failed for digest " + entry.digest +
                                            ": it has another size than the index says");
    if (!entry.media_type.empty() && entry.media_type != child.media_type)
      return Error(ErrorKind::kInvalid, "ambiguous manifest: the index calls it " + entry.media_type +
                                            ", itself says " + child.media_type);
    return {};
  }
};

class SmallTarget final : public registry::BlobTarget {
 public:
  explicit SmallTarget(std::string digest) : digest_(std::move(digest)) {}
  uint64_t have() const override { return text.size(); }
  Result<void> append(std::span<const uint8_t> bytes) override {
    if (text.size() + bytes.size() > kMaxConfigBytes) return Error(ErrorKind::kLimit, "the blob has more than 4 MiB");
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  Result<void> restart() override {
    text.clear();
    return {};
  }
  Result<void> verify() override {
    if (sha256(text).str() == digest_) return {};
    text.clear();
    return Error(ErrorKind::kCorrupt, "digest mismatch: the bytes that came are not those of " + digest_);
  }
  std::string text;

 private:
  std::string digest_;
};

std::string platforms_in(const oci::Index& index) {
  std::string out;
  for (const oci::Descriptor& entry : index.manifests)
    if (entry.platform && !oci::is_attestation(entry)) out += (out.empty() ? "" : ", ") + entry.platform->str();
  return out.empty() ? "no platforms" : out.substr(0, 500);
}

std::string with_tag(const Location& location, const std::string& tag) {
  if (tag.empty() || location.is_named()) return location.text;
  return location.text + ":" + tag;
}

class Copy {
 public:
  Copy(const CopyJob& job, std::stop_token stop) : job_(job), stop_(std::move(stop)), log_(job.events) {}

  Result<CopyResult> run() {
    TRY(check_names());
    source_ = TRY(open_source(job_.source, {job_.around, job_.store, stop_}));
    destination_ = TRY(open_destination(job_.destination, {job_.around, job_.store}));
    std::vector<std::string> names = {""};
    if (job_.options.all_tags) {
      names = TRY_CONTEXT(source_->names(stop_), job_.source.text);
      if (names.empty()) return Error(ErrorKind::kNotFound, job_.source.text + " has no tags");
    }
    CopyPlan together;
    for (const std::string& name : names) {
      CopyPlan own;
      CopyPlan& plan = destination_->one_go() ? together : own;
      TRY(one(name, plan));
      if (!destination_->one_go() && !plan.names.empty()) TRY(write(plan));
    }
    if (destination_->one_go()) TRY(write(together));
    result_.counts = log_.counts();
    return std::move(result_);
  }

 private:
  Result<void> check_names() const {
    if (job_.destination.transport == Transport::kDockerArchive && !job_.destination.name.empty())
      TRY_CONTEXT(oci::Reference::parse(job_.destination.name), job_.destination.text);
    if (!job_.options.all_tags) {
      const bool in_store = job_.destination.transport == Transport::kStore;
      if ((in_store || job_.destination.transport == Transport::kRegistry) && !job_.destination.reference.digest.empty())
        return Error(ErrorKind::kInvalid, "a destination is named by a tag, not by a digest: " + job_.destination.text);
      return {};
    }
    for (const Location* location : {&job_.source, &job_.destination})
      if (location->is_named())
        return Error(ErrorKind::kInvalid, "tag can't be used with --all-tags/-a: " + location->text);
    return {};
  }

  // What the destination calls it.
  PlannedName name_of(const std::string& name) const {
    const Location& to = job_.destination;
    PlannedName out;
    out.given = job_.options.all_tags || to.is_named();
    const bool named_by_reference = to.transport == Transport::kRegistry || to.transport == Transport::kStore;
    if (!job_.options.all_tags) {
      out.tag = named_by_reference ? to.reference.with_default_tag().tag : to.name;
    } else {
      out.tag = name;
    }
    if (named_by_reference) {
      if (out.tag.find_first_of(":/") != std::string::npos)
        if (const Result<oci::Reference> full = oci::Reference::parse(out.tag)) out.tag = full->with_default_tag().tag;
      out.full = to.reference.name() + ":" + out.tag;
      return out;
    }
    if (to.transport != Transport::kDockerArchive) return out;
    const bool from_repository =
        job_.source.transport == Transport::kRegistry || job_.source.transport == Transport::kStore;
    std::string full = out.tag;  // docker-archive:FILE:app is app:latest
    if (job_.options.all_tags && from_repository) full = job_.source.reference.name() + ":" + name;
    if (job_.options.all_tags && full.find_first_of(":/") == std::string::npos) return out;  // the tag of nothing
    if (const Result<oci::Reference> parsed = oci::Reference::parse(full); parsed && !full.empty()) {
      out.full = parsed->with_default_tag().canonical();
      out.tag = parsed->with_default_tag().tag;
    }
    return out;
  }

  Result<void> one(const std::string& name, CopyPlan& plan) {
    const std::string shown = with_tag(job_.source, name);
    registry::Document top = TRY_CONTEXT(source_->top(name, stop_), shown);
    if (job_.options.platform)
      top = TRY_CONTEXT(choose_image(*source_, std::move(top), *job_.options.platform, stop_), shown);
    PlannedName target = name_of(name);
    CopiedImage image;
    image.source = shown;
    image.destination = with_tag(job_.destination, target.given || job_.destination.transport == Transport::kRegistry ||
                                                           job_.destination.transport == Transport::kStore
                                                       ? target.tag
                                                       : "");
    image.digest = top.digest;
    image.media_type = top.media_type;
    image.size = top.bytes.size();
    image.up_to_date = TRY(destination_->has(target, top, stop_));
    result_.images.push_back(image);
    if (image.up_to_date) return {};
    const Sha256Digest digest = top.digest;
    TRY_CONTEXT(Planner(*source_, plan, stop_).add(std::move(top)), shown);
    for (size_t i = 0; i < plan.documents.size(); ++i)
      if (plan.documents[i].document.digest == digest) target.document = i;
    plan.names.push_back(std::move(target));
    return {};
  }

  Result<void> write(const CopyPlan& plan) {
    return destination_->write(plan, *source_, log_, stop_);
  }

  const CopyJob& job_;
  std::stop_token stop_;
  CopyLog log_;
  std::unique_ptr<ImageSource> source_;
  std::unique_ptr<ImageDestination> destination_;
  CopyResult result_;
};

}  // namespace

Result<std::string> read_small_blob(ImageSource& source, const oci::Descriptor& descriptor, const std::stop_token& stop) {
  if (descriptor.size < 0 || static_cast<uint64_t>(descriptor.size) > kMaxConfigBytes)
    return Error(ErrorKind::kLimit, "blob " + descriptor.digest + " has more than 4 MiB");
  SmallTarget target(descriptor.digest);
  TRY_CONTEXT(source.fetch(descriptor, target, stop), "blob " + descriptor.digest);
  return std::move(target.text);
}

Result<registry::Document> choose_image(ImageSource& source, registry::Document document, const oci::Platform& wanted,
                                        const std::stop_token& stop) {
  const oci::Platform platform = wanted.normalized();
  const bool single = !document.is_index;
  for (int depth = 0; document.is_index; ++depth) {
    if (depth >= kMaxIndexDepth) return Error(ErrorKind::kLimit, "image indexes are nested too deeply");
    const oci::Index index = TRY(oci::Index::parse(document.bytes));
    const oci::Descriptor* entry = oci::choose_platform(index.manifests, platform, true);
    if (!entry)
      return Error(ErrorKind::kNotFound, "no matching manifest for " + platform.str() + " in the manifest list entries")
          .hint("the index has: " + platforms_in(index));
    registry::Document next = TRY(source.document(*entry, stop));
    TRY(Planner::check_entry(*entry, next));
    document = std::move(next);
  }
  if (!single) return document;
  const oci::Manifest manifest = TRY(oci::Manifest::parse(document.bytes));
  const oci::ImageConfig config = TRY(oci::ImageConfig::parse(TRY(read_small_blob(source, manifest.config, stop))));
  const oci::Platform own = oci::Platform{config.os, config.architecture, config.variant, ""}.normalized();
  if (own != platform)
    return Error(ErrorKind::kNotFound, "the image is for " + own.str() + ", not for " + platform.str());
  return document;
}

Result<CopyPlan> plan_copy(ImageSource& source, registry::Document top, const std::stop_token& stop) {
  CopyPlan plan;
  TRY(Planner(source, plan, stop).add(std::move(top)));
  return plan;
}

Result<CopyResult> copy_images(const CopyJob& job, const std::stop_token& stop) { return Copy(job, stop).run(); }

}  // namespace kasane::transfer
