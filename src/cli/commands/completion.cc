// kasane completion: scripts for shells, and the answers that they ask for.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/completion.h"

namespace kasane::cli {
namespace {

// For the scripts only: `completion words WORD...`.
int answer(Context& context, std::span<const std::string> words) {
  const Completion completion = complete(context, words);
  for (const Candidate& candidate : completion.candidates)
    context.out(fmt::format("{}\t{}\n", candidate.text, candidate.description));
  switch (completion.with) {
    case CompleteWith::kNothing:
      context.out(":nothing\n");
      break;
    case CompleteWith::kFiles:
      context.out(":files\n");
      break;
    case CompleteWith::kFolders:
      context.out(":folders\n");
      break;
  }
  return 0;
}

Result<int> run_completion(Context& context, const Arguments& arguments) {
  const std::vector<std::string>& words = arguments.positional();
  if (words[0] == "words") return answer(context, std::span(words).subspan(1));
  const char* script = completion_script(words[0]);
  if (!script)
    return Error(ErrorKind::kInvalid, fmt::format("no completion for the shell {}", quote(words[0])))
        .hint("use bash, zsh or fish");
  context.out(script);
  return 0;
}

}  // namespace

extern const Command kCommand_completion;
const Command kCommand_completion = {
    .path = "completion",
    .aliases = {},
    .summary = "Print the completion script of a shell",
    .usage = "bash|zsh|fish",
    .help =
        "The script asks kasane itself, so that commands, flags, their values and the images of the\n"
        "store are always those of the program that runs.\n\n"
        "Examples:\n"
        "  source <(kasane completion bash)\n"
        "  kasane completion zsh > \"${fpath[1]}/_kasane\"\n"
        "  kasane completion fish > ~/.config/fish/completions/kasane.fish",
    .flags = {},
    .min_arguments = 1,
    .runs_program = true,
    .run = run_completion,
};

}  // namespace kasane::cli
