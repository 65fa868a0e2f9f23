// Completion of command lines, for every shell from the table of commands and flags.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/context.h"

namespace kasane::cli {

struct Candidate {
  std::string text;         // takes the place of the word
  std::string description;  // "" = none
};

// What a shell offers beside the candidates.
enum class CompleteWith { kNothing, kFiles, kFolders };

struct Completion {
  std::vector<Candidate> candidates;  // all begin with the word, in the order of a list
  CompleteWith with = CompleteWith::kNothing;
};

// `words` stand behind "kasane"; the last is the one that is completed, maybe empty. Never fails:
// a store that cannot be read has no images to offer.
Completion complete(Context& context, std::span<const std::string> words);

// The script that a shell sources; nullptr for a shell that is not known.
const char* completion_script(std::string_view shell);

}  // namespace kasane::cli
