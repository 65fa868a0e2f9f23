// The scripts ask the program (`kasane completion words ...`) for every word, so that they never
// know less than it. Its answer: "CANDIDATE<tab>DESCRIPTION" lines, then ":nothing", ":files" or
// ":folders".
#include "cli/completion.h"

namespace kasane::cli {
namespace {

// readline splits words at ':' and '=', too, and replaces only the last piece: the words are
// joined again first, and what stands before the piece is cut from the candidates.
constexpr const char* kBash = R"script(# bash completion of kasane: source <(kasane completion bash)
_kasane() {
    local words=() rest=$COMP_LINE word i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i == 0)) || [[ $rest == [[:space:]]* ]]; then
            rest=${rest#"${rest%%[![:space:]]*}"}
            words+=("$word")
        else
            words[${#words[@]}-1]+=$word
        fi
        rest=${rest#"$word"}
    done
    local cur=${words[${#words[@]}-1]} piece=${COMP_WORDS[COMP_CWORD]} line with= text
    [[ $piece == [:=] ]] && piece=
    local before=${cur%"$piece"}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :*) with=$line ;;
            *) text=${line%%$'\t'*}; COMPREPLY+=("${text#"$before"}") ;;
        esac
    done < <("${words[0]}" completion words "${words[@]:1}" 2>/dev/null)
    case $with in
        :files) compopt -o filenames 2>/dev/null; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- "$piece") ;;
        :folders) compopt -o filenames 2>/dev/null; mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -d -- "$piece") ;;
    esac
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _kasane kasane
)script";

constexpr const char* kZsh = R"script(#compdef kasane
# zsh completion of kasane: source <(kasane completion zsh), or a file _kasane in $fpath
_kasane() {
    local -a candidates
    local line with text
    while IFS= read -r line; do
        case $line in
            :*) with=$line ;;
            *$'\t'?*) text=${line%%$'\t'*}; candidates+=("${text//:/\\:}:${line#*$'\t'}") ;;
            *) text=${line%%$'\t'*}; candidates+=("${text//:/\\:}") ;;
        esac
    done < <("${words[1]}" completion words "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#candidates )) && _describe kasane candidates
    case $with in
        :files) _files ;;
        :folders) _files -/ ;;
    esac
}
if [[ $funcstack[1] == _kasane ]]; then
    _kasane "$@"
else
    compdef _kasane kasane
fi
)script";

constexpr const char* kFish = R"script(# fish completion of kasane: kasane completion fish | source
function __kasane_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l lines ($words[1] completion words $words[2..-1] 2>/dev/null)
    switch "$lines[-1]"
        case :files
            __fish_complete_path (commandline -ct)
        case :folders
            __fish_complete_directories (commandline -ct)
    end
    test (count $lines) -gt 1; and printf '%s\n' $lines[1..-2]
end
complete -c kasane -f -a '(__kasane_complete)'
)script";

}  // namespace

const char* completion_script(std::string_view shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return nullptr;
}

}  // namespace kasane::cli
