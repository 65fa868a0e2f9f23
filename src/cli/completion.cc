#include "cli/completion.h"

#include <algorithm>
#include <set>

#include "cli/command.h"
#include "cli/help.h"
#include "oci/reference.h"
#include "store/store.h"

namespace kasane::cli {
namespace {

// What a flag takes, beside what its own check says: fixed words, or one of the marks below.
struct FlagValues {
  std::string_view command;  // "" = every command
  std::string_view flag;
  std::string_view values;  // separated by spaces
};
constexpr std::string_view kFiles = "@files", kFolders = "@folders", kImages = "@images";
constexpr std::string_view kPlatforms =
    "linux/amd64 linux/arm64 linux/arm/v7 linux/arm/v6 linux/386 linux/ppc64le linux/s390x linux/riscv64";

// The first that fits counts.
constexpr FlagValues kFlagValues[] = {
    {"images", "filter", "dangling=true dangling=false label= before= since= until= reference="},
    {"image prune", "filter", "label= label!= until="},
    {"system prune", "filter", "label= label!= until="},
    {"builder prune", "filter", "until= unused-for="},
    {"registry explain", "format", "json"},
    {"store check", "format", "json"},
    {"image inspect", "format", "json"},
    {"inspect", "format", "json"},
    {"info", "format", "json"},
    {"version", "format", "json"},
    {"why-rebuilt", "format", "json"},
    {"", "format", "table json"},
    {"", "platform", kPlatforms},
    {"", "type", "image"},
    {"", "progress", "auto plain tty quiet rawjson"},
    {"", "pull", "true false"},
    {"", "log-level", "debug info warn error fatal"},
    {"", "context", "default"},
    {"", "cache-from", kImages},
    {"", "file", kFiles},
    {"", "input", kFiles},
    {"", "output", kFiles},
    {"", "iidfile", kFiles},
    {"", "metadata-file", kFiles},
    {"", "tlscacert", kFiles},
    {"", "tlscert", kFiles},
    {"", "tlskey", kFiles},
    {"", "root", kFolders},
    {"", "config", kFolders},
};

bool begins(std::string_view text, std::string_view with) { return text.starts_with(with); }

class Completer {
 public:
  Completer(Context& context, std::span<const std::string> words)
      : context_(context), words_(words), word_(words.empty() ? "" : words.back()) {}

  Completion run() {
    size_t next = global_flags();
    if (done_) return std::move(out_);
    find_command(next);
    if (done_) return std::move(out_);
    arguments(next);
    return std::move(out_);
  }

 private:
  bool is_last(size_t i) const { return i + 1 >= words_.size(); }

  // The index of the first word that is no global flag; done_ when the last word belongs to one.
  size_t global_flags() {
    size_t i = 0;
    while (!is_last(i) && begins(words_[i], "-")) {
      const FlagSpec* flag = flag_of(words_[i], kGlobalFlags);
      if (flag && takes_next(words_[i], *flag)) {
        remember_store(*flag, words_[i + 1]);
        if (is_last(++i)) return flag_value(*flag, "", word_), i;
      }
      ++i;
    }
    if (is_last(i) && begins(word_, "-")) flags(kGlobalFlags);
    return i;
  }

  void find_command(size_t& next) {
    if (is_last(next)) return names("");
    if (is_group(words_[next])) {
      if (is_last(next + 1)) return names(words_[next]);
      command_ = cli::find_command(words_[next] + " " + words_[next + 1]);
      if (command_) {
        next += 2;
        return;
      }
    }
    command_ = cli::find_command(words_[next]);
    done_ = !command_;
    ++next;
  }

  void arguments(size_t next) {
    size_t positional = 0;
    for (size_t i = next; !is_last(i); ++i) {
      if (words_[i] == "--") {
        only_arguments_ = true;
      } else if (!only_arguments_ && begins(words_[i], "-") && words_[i].size() > 1) {
        const FlagSpec* flag = flag_of(words_[i], command_->flags);
        if (!flag) flag = flag_of(words_[i], kGlobalFlags.first(2));
        if (!flag || !takes_next(words_[i], *flag)) continue;
        remember_store(*flag, words_[i + 1]);
        if (is_last(++i)) return flag_value(*flag, "", word_);
      } else {
        ++positional;
        if (command_->runs_program) only_arguments_ = true;
      }
    }
    if (!only_arguments_ && begins(word_, "-")) return flags(command_->flags);
    argument(positional);
  }

  // ---- flags
  static const FlagSpec* flag_of(std::string_view word, std::span<const FlagSpec> specs) {
    const bool is_long = begins(word, "--");
    const std::string_view name = is_long ? word.substr(2, word.find('=') - 2) : "";
    for (const FlagSpec& spec : specs)
      if (is_long ? spec.name == name : spec.shorthand != 0 && spec.shorthand == word.back())
        return &spec;
    return nullptr;
  }

  static bool takes_next(std::string_view word, const FlagSpec& flag) {
    return flag.kind != FlagKind::kBool && word.find('=') == std::string_view::npos;
  }

  void remember_store(const FlagSpec& flag, const std::string& value) {
    if (flag.name == "root") context_.globals.root = value;
  }

  void flags(std::span<const FlagSpec> specs) {
    done_ = true;
    if (const size_t equals = word_.find('='); begins(word_, "--") && equals != std::string::npos) {
      const FlagSpec* flag = flag_of(word_, specs);
      if (flag && flag->kind != FlagKind::kBool)
        flag_value(*flag, word_.substr(0, equals + 1), word_.substr(equals + 1));
      return;
    }
    for (const FlagSpec& spec : specs) {
      if (spec.hidden) continue;
      const std::string help(spec.help.substr(0, spec.help.find('\n')));
      add("--" + std::string(spec.name), help);
      if (spec.shorthand && word_.size() < 3) add(std::string("-") + spec.shorthand, help);
    }
    add("--help", "Show how it is used");
  }

  void flag_value(const FlagSpec& flag, const std::string& before, const std::string& value) {
    done_ = true;
    const std::string_view path = command_ ? command_->path : "";
    for (const FlagValues& known : kFlagValues) {
      if (known.flag != flag.name || (!known.command.empty() && known.command != path)) continue;
      return values(known.values, before, value);
    }
  }

  void values(std::string_view list, const std::string& before, const std::string& value) {
    if (list == kFiles || list == kFolders) {
      out_.with = list == kFiles ? CompleteWith::kFiles : CompleteWith::kFolders;
      return;
    }
    if (list == kImages) return images();
    while (!list.empty()) {
      const size_t space = std::min(list.find(' '), list.size());
      const std::string_view word = list.substr(0, space);
      if (begins(word, value)) out_.candidates.push_back({before + std::string(word), ""});
      list.remove_prefix(std::min(space + 1, list.size()));
    }
  }

  // ---- words
  void names(std::string_view group) {
    done_ = true;
    std::vector<Candidate> found;
    for (const Command* command : all_commands()) {
      std::vector<std::string_view> paths{command->path};
      paths.insert(paths.end(), command->aliases.begin(), command->aliases.end());
      for (std::string_view path : paths) {
        const size_t space = path.find(' ');
        const bool inside = space != std::string_view::npos;
        if ((inside ? path.substr(0, space) : "") != group) continue;
        found.push_back({std::string(inside ? path.substr(space + 1) : path), std::string(command->summary)});
      }
    }
    if (group.empty())
      for (const CommandGroup& each : all_groups())
        found.push_back({std::string(each.name), std::string(each.summary)});
    std::sort(found.begin(), found.end(),
              [](const Candidate& a, const Candidate& b) { return a.text < b.text; });
    for (Candidate& each : found) add(std::move(each.text), std::move(each.description));
  }

  // What stands in the usage line says what an argument is.
  void argument(size_t positional) {
    const std::string_view usage = command_->usage;
    auto has = [&](std::string_view word) { return usage.find(word) != std::string_view::npos; };
    if (command_->path == "help") return names(positional == 0 ? "" : words_[words_.size() - 2]);
    if (command_->path == "completion") return values("bash zsh fish", "", word_);
    if (only_arguments_ && command_->runs_program && positional > 0) {
      out_.with = CompleteWith::kFiles;
    } else if (has("file|")) {
      out_.with = positional == 0 ? CompleteWith::kFiles : CompleteWith::kNothing;
    } else if (has("PATH")) {
      out_.with = CompleteWith::kFolders;
    } else if (has("IMAGE") || has("NAME") || has("REPOSITORY")) {
      if (command_->max_arguments < 0 || positional < static_cast<size_t>(command_->max_arguments))
        images();
    }
  }

  void images() {
    Result<store::Store*> store = context_.store(true);
    if (!store) return;
    Result<std::vector<store::ImageRow>> rows = (*store)->list_images();
    if (!rows) return;
    std::set<std::string> known;
    for (const store::ImageRow& row : *rows) {
      for (const std::string& tag : row.tags) known.insert(oci::familiar(tag));
      // Ids only for who began one, or has nothing else to name the image.
      const std::string id = row.id.hex().substr(0, 12);
      if (row.tags.empty() || !word_.empty()) known.insert(id);
    }
    for (const std::string& name : known) add(name, "");
  }

  void add(std::string text, std::string description) {
    if (begins(text, word_)) out_.candidates.push_back({std::move(text), std::move(description)});
  }

  Context& context_;
  std::span<const std::string> words_;
  std::string word_;
  const Command* command_ = nullptr;
  bool only_arguments_ = false;
  bool done_ = false;
  Completion out_;
};

}  // namespace

Completion complete(Context& context, std::span<const std::string> words) {
  return Completer(context, words).run();
}

}  // namespace kasane::cli
