// kasane save (reference 1.9).
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/diagnostic.h"
#include "cli/command.h"
#include "cli/images.h"
#include "cli/output_file.h"
#include "oci/reference.h"
#include "transfer/transfer.h"

namespace kasane::cli {
namespace {

// Every tag of a repository that was named without tag, else the one tag, else just the image.
class Selection {
 public:
  explicit Selection(store::Store& store) : store_(store) {}

  Result<void> add(const std::string& argument) {
    auto parsed = oci::Reference::parse(argument);
    if (parsed && parsed->tag.empty() && parsed->digest.empty() && !oci::looks_like_id(argument))
      if (TRY(add_repository(parsed->name()))) return {};
    Sha256Digest image = TRY(transfer::find_image(store_, argument));
    std::vector<std::string> references;
    if (parsed && !parsed->tag.empty() && parsed->digest.empty() && !is_id_form(image, argument))
      references.push_back(parsed->canonical());
    merge(image, references);
    return {};
  }

  const std::vector<transfer::SaveItem>& items() const { return items_; }

 private:
  Result<bool> add_repository(const std::string& name) {
    bool any = false;
    for (const store::ImageRow& row : TRY(store_.list_images())) {
      std::vector<std::string> tags;
      for (const std::string& tag : row.tags)
        if (tag.starts_with(name + ":")) tags.push_back(tag);
      if (tags.empty()) continue;
      merge(row.id, tags);
      any = true;
    }
    return any;
  }

  void merge(const Sha256Digest& image, const std::vector<std::string>& references) {
    auto item = std::find_if(items_.begin(), items_.end(),
                             [&](const transfer::SaveItem& i) { return i.image == image; });
    if (item == items_.end()) item = items_.insert(items_.end(), {image, {}});
    for (const std::string& reference : references)
      if (std::find(item->references.begin(), item->references.end(), reference) ==
          item->references.end())
        item->references.push_back(reference);
  }

  store::Store& store_;
  std::vector<transfer::SaveItem> items_;
};

// What docker's client says about an output that cannot be: looked at before any work.
std::string refuse_output(const std::string& path) {
  if (path.empty()) return {};
  struct stat st;
  if (::stat(path.c_str(), &st) == 0)
    return S_ISDIR(st.st_mode) ? "cannot write to a directory" : std::string();
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return {};
  const std::string folder = path.substr(0, slash);
  if (::stat(folder.c_str(), &st) == 0) return {};
  return fmt::format("invalid output path: stat {}: no such file or directory", folder);
}

Result<int> run_save(Context& context, const Arguments& arguments) {
  const std::string output = arguments.value("output");
  if (output.empty() && context.streams.out_is_terminal) {
    context.err("cowardly refusing to save to a terminal. Use the -o flag or redirect\n");
    return 1;
  }
  if (const std::string why = refuse_output(output); !why.empty()) {
    context.err("failed to save image: " + sanitize(why) + "\n");
    return 1;
  }
  store::Store* store = TRY(context.store(true));
  TRY(store->hold());
  Selection selection(*store);
  for (const std::string& name : arguments.positional()) TRY(selection.add(name));
  if (output.empty()) {
    TRY(transfer::save(*store, selection.items(), *context.streams.out));
    return 0;
  }
  OutputFile file = TRY_CONTEXT(OutputFile::open(output), "failed to save image");
  BufferedFdSink sink(file.fd(), "write " + output);
  TRY(transfer::save(*store, selection.items(), sink));
  TRY(sink.flush());
  TRY_CONTEXT(file.commit(), "failed to save image");
  return 0;
}

constexpr FlagSpec kFlags[] = {
    {.name = "output",
     .shorthand = 'o',
     .kind = FlagKind::kString,
     .value_name = "string",
     .help = "Write to a file, instead of STDOUT"},
};
constexpr std::string_view kAliases[] = {"image save"};

}  // namespace

extern const Command kCommand_save;
const Command kCommand_save = {
    .path = "save",
    .aliases = kAliases,
    .summary = "Save one or more images to a tar archive (streamed to STDOUT by default)",
    .usage = "[OPTIONS] IMAGE [IMAGE...]",
    .help =
        "The archive is an OCI layout and a docker archive at once. The same images give the\n"
        "same bytes. A name without tag saves every tag of that repository.\n\n"
        "Examples:\n"
        "  kasane save app:1.2 | ssh host docker load\n"
        "  kasane save -o images.tar app:1.2 debian:bookworm",
    .flags = kFlags,
    .min_arguments = 1,
    .run = run_save,
};

}  // namespace kasane::cli
