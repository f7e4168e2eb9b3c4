#include "cli/completion.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace millrace {
namespace {

std::string Texts(const std::vector<CommandWords::Word>& words) {
  return absl::StrJoin(
      words, " ", [](std::string* out, const CommandWords::Word& word) { out->append(word.text); });
}

// Within single quotes.
std::string Quoted(const std::string& text, const char* quote) {
  return absl::StrReplaceAll(text, {{"'", quote}});
}

// zsh runs it, too.
std::string Bash(const std::vector<CommandWords>& all) {
  std::string cases;
  for (const CommandWords& words : all) {
    absl::StrAppend(&cases, "    '", words.command, "') words='", Texts(words.subcommands), " ",
                    Texts(words.flags), "'; jobs=", words.wants_job ? 1 : 0,
                    "; files=", words.wants_file ? 1 : 0, " ;;\n");
  }
  std::string known;
  for (const CommandWords& words : all) {
    if (!words.command.empty())
      absl::StrAppend(&known, known.empty() ? "" : "|", "'", words.command, "'");
  }
  return absl::StrCat(R"sh(# Completion of millrace.
_millrace() {
  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"
  local command= word words= jobs=0 files=0 i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "${command:+$command }$word" in
      )sh",
                      known, R"sh() command="${command:+$command }$word" ;;
    esac
  done
  case "$previous" in
    -o|--output) COMPREPLY=($(compgen -W 'table wide json yaml name' -- "$current")); return ;;
    --savepoint|--path|--*-dir|--tls-*|--token-file)
      COMPREPLY=($(compgen -f -- "$current")); return ;;
  esac
  case "$command" in
)sh",
                      cases, R"sh(  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  case "$current" in -*) return ;; esac
  if ((jobs)); then
    COMPREPLY+=($(compgen -W "$("${COMP_WORDS[0]}" get jobs -o name 2>/dev/null)" -- "$current"))
  fi
  if ((files)); then COMPREPLY+=($(compgen -f -- "$current")); fi
}
)sh");
}

std::string Fish(const std::vector<CommandWords>& all) {
  std::string script = R"sh(# Completion of millrace.
function __millrace_command
    set -l command
    for word in (commandline -opc)[2..-1]
        switch (string join ' ' -- $command $word)
            case )sh";
  for (const CommandWords& words : all) {
    if (!words.command.empty()) absl::StrAppend(&script, "'", words.command, "' ");
  }
  absl::StrAppend(&script, R"sh(
                set command $command $word
        end
    end
    string join ' ' -- $command
end
function __millrace_at
    test (__millrace_command) = "$argv"
end
complete -c millrace -f
)sh");
  for (const CommandWords& words : all) {
    const std::string begin =
        absl::StrCat("complete -c millrace -n '__millrace_at ", words.command, "' ");
    const auto add = [&](const std::string& what, const std::string& help) {
      absl::StrAppend(&script, begin, what, " -d '", Quoted(help, "\\'"), "'\n");
    };
    for (const CommandWords::Word& word : words.subcommands) add("-a " + word.text, word.help);
    for (const CommandWords::Word& word : words.flags) {
      const bool is_long = word.text.starts_with("--");
      add(absl::StrCat(is_long ? "-l " : "-s ", word.text.substr(is_long ? 2 : 1)), word.help);
    }
    if (words.wants_job) add("-a '(millrace get jobs -o name 2>/dev/null)'", "job");
    if (words.wants_file) absl::StrAppend(&script, begin, "-F\n");
  }
  return script;
}

}  // namespace

const char* ShellName(Shell shell) {
  return shell == Shell::kBash ? "bash" : shell == Shell::kZsh ? "zsh" : "fish";
}

const char* HowToComplete(Shell shell) {
  switch (shell) {
    case Shell::kBash:
      return "source <(millrace completion bash)";
    case Shell::kZsh:
      return "source <(millrace completion zsh), behind compinit";
    case Shell::kFish:
      return "millrace completion fish | source";
  }
  return "";
}

std::string CompletionScript(const std::vector<CommandWords>& all, Shell shell) {
  switch (shell) {
    case Shell::kBash:
      return Bash(all) + "complete -F _millrace millrace\n";
    case Shell::kZsh:
      return "autoload -U +X bashcompinit && bashcompinit\n" + Bash(all) +
             "complete -F _millrace millrace\n";
    case Shell::kFish:
      return Fish(all);
  }
  return "";
}

}  // namespace millrace
