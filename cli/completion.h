// Completion of the command line: a script for a shell, made of the commands and flags that there
// are. Names of jobs are asked of the coordinator while completing.
//
// Threading: pure.
#pragma once

#include <string>
#include <vector>

namespace millrace {

enum class Shell { kBash, kZsh, kFish };

// "bash".
const char* ShellName(Shell shell);
// A line of help.
const char* HowToComplete(Shell shell);

// What may follow a command.
struct CommandWords {
  std::string command;  // "get jobs"; empty: `millrace` itself.
  struct Word {
    std::string text;
    std::string help;  // One line.
  };
  std::vector<Word> subcommands;
  std::vector<Word> flags;  // "--output", "-o".
  bool wants_job = false;   // The name of a job.
  bool wants_file = false;  // A job file.
};

// `commands`: all of them, `millrace` itself first.
std::string CompletionScript(const std::vector<CommandWords>& commands, Shell shell);

}  // namespace millrace
