// kasane images (reference 1.1).
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "cli/command.h"
#include "cli/docker_config.h"
#include "cli/filters.h"
#include "cli/formatter.h"
#include "cli/image_row.h"
#include "cli/images.h"
#include "cli/units.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

constexpr std::string_view kNone = "<none>";

struct Row {
  const store::ImageRow* image;
  std::string repository, tag, digest;
};

struct ListOptions {
  bool digests = false;      // --digests
  bool want_digest = false;  // --digests or a template that shows digests
  bool no_trunc = false;
};

// Filters that look at one image. Those with references are resolved to times first.
class ImageFilter {
 public:
  static Result<ImageFilter> make(store::Store& store, Filters filters, int64_t now_ns) {
    ImageFilter out;
    out.dangling_given_ = filters.has("dangling");
    out.dangling_ = TRY(filters.boolean("dangling", false));
    for (const std::string& reference : filters.values("before"))
      out.before_ns_ = std::min(out.before_ns_, TRY(created_of(store, reference)));
    for (const std::string& reference : filters.values("since"))
      out.since_ns_ = std::max(out.since_ns_, TRY(created_of(store, reference)));
    for (const std::string& text : filters.values("until")) {
      auto until = parse_timestamp(text, now_ns);
      if (!until) return Error(ErrorKind::kInvalid, fmt::format("invalid filter 'until={}'", text));
      out.before_ns_ = std::min(out.before_ns_, *until);
    }
    out.filters_ = std::move(filters);
    return out;
  }

  // Drops references that the patterns exclude; false when the image is not listed.
  Result<bool> apply(store::ImageRow& image) const {
    if (image.created_ns >= before_ns_ || image.created_ns <= since_ns_) return false;
    if (!labels_match(image.labels, filters_)) return false;
    if (filters_.has("reference")) {
      TRY(keep_matching(image.tags));
      TRY(keep_matching(image.digests));
      if (image.tags.empty() && image.digests.empty()) return false;
    }
    if (!dangling_given_) return true;
    return dangling_ ? image.tags.empty() : !(image.tags.empty() && image.digests.empty());
  }

 private:
  static Result<int64_t> created_of(store::Store& store, const std::string& reference) {
    Sha256Digest id = TRY(transfer::find_image(store, reference));
    return TRY(store.image_row(id)).created_ns;
  }

  Result<void> keep_matching(std::vector<std::string>& references) const {
    std::vector<std::string> kept;
    for (const std::string& reference : references) {
      bool match = false;
      for (const std::string& pattern : filters_.values("reference"))
        match = match || TRY(reference_matches(pattern, reference));
      if (match) kept.push_back(reference);
    }
    references = std::move(kept);
    return {};
  }

  Filters filters_;
  bool dangling_given_ = false;
  bool dangling_ = false;
  int64_t before_ns_ = std::numeric_limits<int64_t>::max();
  int64_t since_ns_ = std::numeric_limits<int64_t>::min();
};

// One row per repository and tag (and digest, when wanted).
void expand(const store::ImageRow& image, const ListOptions& options, std::vector<Row>& rows) {
  struct Names {
    std::vector<std::string> tags, digests;
  };
  std::map<std::string, Names> repositories;
  for (const std::string& tag : image.tags) {
    NameParts parts = name_parts(tag);
    repositories[parts.repository].tags.push_back(parts.tag);
  }
  for (const std::string& digest : image.digests) {
    NameParts parts = name_parts(digest);
    repositories[parts.repository].digests.push_back(parts.digest);
  }
  if (repositories.empty())
    rows.push_back({&image, std::string(kNone), std::string(kNone), std::string(kNone)});
  for (auto& [repository, names] : repositories) {
    if (names.tags.empty() && !options.digests) names.digests.resize(1);
    if (names.tags.empty())
      names.tags.emplace_back(kNone);
    else if (!options.want_digest)
      names.digests.clear();
    if (names.digests.empty()) names.digests.emplace_back(kNone);
    for (const std::string& tag : names.tags)
      for (const std::string& digest : names.digests)
        rows.push_back({&image, repository, tag, digest});
  }
}

std::string list_template(const ListOptions& options, bool quiet) {
  if (quiet) return "{{.ID}}";
  return fmt::format(
      "table {{{{.Repository}}}}\t{{{{.Tag}}}}\t{}{{{{.ID}}}}\t"
      "{{{{if .CreatedSince }}}}{{{{.CreatedSince}}}}{{{{else}}}}N/A{{{{end}}}}\t{{{{.Size}}}}",
      options.digests ? "{{.Digest}}\t" : "");
}

std::string raw_template(const ListOptions& options, bool quiet) {
  if (quiet) return "image_id: {{.ID}}";
  return fmt::format(
      "repository: {{{{.Repository}}}}\ntag: {{{{.Tag}}}}\n{}image_id: {{{{.ID}}}}\n"
      "created_at: {{{{.CreatedAt}}}}\nvirtual_size: {{{{.Size}}}}\n",
      options.digests ? "digest: {{.Digest}}\n" : "");
}

// `images ls` is a slip for `image ls`.
void hint_at_subcommand(Context& context, const std::vector<std::string>& words) {
  if (words.empty()) return;
  if (find_command("image " + words[0]))
    context.err(fmt::format(
        "\nNo images found matching \"{0}\": did you mean \"kasane image {0}\"?\n", words[0]));
}

Result<int> run_images(Context& context, const Arguments& arguments) {
  Filters filters =
      TRY(Filters::parse(arguments.list("filter"),
                         {"dangling", "label", "label!", "before", "since", "until", "reference"}));
  if (!arguments.positional().empty()) filters.add("reference", arguments.positional()[0]);
  ListFormat list{&kImageRowType, kImageColumns, {}, {}};
  ListOptions options;
  std::string format = arguments.value("format");
  if (format.empty() && !arguments.on("quiet")) format = docker_config(context).images_format;
  options.digests = arguments.on("digests");
  options.no_trunc = arguments.on("no-trunc");
  options.want_digest = options.digests || format.find("{{.Digest}}") != std::string::npos;
  list.table = list_template(options, arguments.on("quiet"));
  list.raw = raw_template(options, arguments.on("quiet"));
  if (options.digests && format.starts_with("table ") &&
      format.find(".Digest") == std::string::npos)
    format += "\t{{.Digest}}";

  store::Store* store = TRY(context.store(true));
  const int64_t now_ns = context.now_ns();
  ImageFilter filter = TRY(ImageFilter::make(*store, std::move(filters), now_ns));
  std::vector<store::ImageRow> images = TRY(store->list_images());
  std::vector<store::ImageRow> shown;
  for (store::ImageRow& image : images)
    if (TRY(filter.apply(image))) shown.push_back(std::move(image));
  std::stable_sort(shown.begin(), shown.end(),
                   [](const auto& a, const auto& b) { return a.created_ns > b.created_ns; });
  std::vector<Row> rows;
  std::map<const store::ImageRow*, std::optional<int64_t>> created;
  for (const store::ImageRow& image : shown) {
    expand(image, options, rows);
    created[&image] = TRY(created_seconds(*store, image));
  }
  TRY(print_list(context, format, list, rows.size(), [&](size_t i) {
    const Row& row = rows[i];
    return image_row_value({row.image, row.repository, row.tag, row.digest, created[row.image],
                            options.no_trunc, std::nullopt},
                           now_ns);
  }));
  if (rows.empty()) hint_at_subcommand(context, arguments.positional());
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "all",
     .shorthand = 'a',
     .help = "Show all images (kasane keeps no hidden intermediate ones)"},
    {.name = "digests", .help = "Show digests"},
    {.name = "filter",
     .shorthand = 'f',
     .kind = FlagKind::kList,
     .value_name = "filter",
     .help = "Show only images that match: dangling=BOOL, label=KEY[=VALUE],\n"
             "before=IMAGE, since=IMAGE, until=TIME, reference=PATTERN",
     .check = check_filter},
    kListFormatFlag,
    {.name = "no-trunc", .help = "Don't truncate output"},
    {.name = "quiet", .shorthand = 'q', .help = "Only show image IDs"},
};
constexpr std::string_view kAliases[] = {"image ls", "image list"};

}  // namespace

extern const Command kCommand_images;
const Command kCommand_images = {
    .path = "images",
    .aliases = kAliases,
    .summary = "List images",
    .usage = "[OPTIONS] [REPOSITORY[:TAG]]",
    .help =
        "Lists the images of the store, newest first, one row per tag. A name may be a\n"
        "pattern: * and ? do not match a slash.\n\n"
        "Examples:\n"
        "  kasane images\n"
        "  kasane images 'node*'\n"
        "  kasane images --filter dangling=true -q\n"
        "  kasane images --format 'table {{.Repository}}:{{.Tag}}\\t{{.Size}}'",
    .flags = kFlags,
    .max_arguments = 1,
    .run = run_images,
};

}  // namespace kasane::cli
