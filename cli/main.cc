// The `millrace` command.
#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/completion.h"
#include "cli/dlq_command.h"
#include "cli/exit_codes.h"
#include "cli/generate_command.h"
#include "cli/job_client_rpc.h"
#include "cli/output.h"
#include "cli/remote_commands.h"
#include "cli/run_command.h"
#include "cli/test_driver.h"
#include "coordinator/compile_job.h"
#include "operators/all_operators.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/real_env.h"

namespace millrace {
namespace {

constexpr char kVersion[] = "0.1.0";
volatile std::sig_atomic_t interrupted = 0;

// Flags of all commands.
struct Flags {
  std::string coordinator = "127.0.0.1:7070";
  OutputFormat format = OutputFormat::kTable;
  bool format_given = false;
  uint64_t rows_max = 1000;
  bool from_checkpoint = false;
  std::string start = "2026-01-01 00:00:00";
  TailOptions tail;
  std::string file;
  std::vector<std::string> settings;
  std::string job;
  uint32_t parallelism = 0;
  std::string checkpoint_interval;
  std::string savepoint;
  std::string request_id;
  std::string directory;
  std::string model, model_version, model_path, model_sha256;
  std::string work_dir;
  std::string secrets_dir;
  std::string checkpoint_storage;
  std::string python_path, python_interpreter = "python3";
  int metrics_port = -1;
  uint64_t memory_mb = 1024;
  bool drain = false;
  bool dry_run = false;
  bool upgrade = false;
  std::vector<std::string> drop_state, fill_null;
  bool verbose = false;
  uint32_t timeout_seconds = 0;
  uint32_t lines = 200;
  GenerateOptions generate;
  DlqOptions dlq;
  ClientSecurity security;
};

bool ReadJob(const std::string& file, std::string& text) {
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
    return true;
  }
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    std::fprintf(stderr, "error: cannot read job file %s\n", file.c_str());
    return false;
  }
  text.assign(std::istreambuf_iterator<char>(in), {});
  return true;
}

bool ParseSettings(const std::vector<std::string>& settings,
                   std::map<std::string, std::string>& variables) {
  for (const std::string& setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      std::fprintf(stderr, "error: --set wants name=value, not '%s'\n", setting.c_str());
      return false;
    }
    variables[setting.substr(0, equals)] = setting.substr(equals + 1);
  }
  return true;
}

// "500ms", "10s", "1m"; 0 when empty.
bool ParseInterval(const std::string& text, uint32_t& ms) {
  if (text.empty()) return true;
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::Milliseconds(1) ||
      duration > absl::Hours(24)) {
    std::fprintf(stderr, "error: not an interval: '%s' (write 500ms, 10s, 1m)\n", text.c_str());
    return false;
  }
  ms = static_cast<uint32_t>(absl::ToInt64Milliseconds(duration));
  return true;
}

std::string FileStem(const std::string& file) {
  std::string name = file.substr(file.rfind('/') == std::string::npos ? 0 : file.rfind('/') + 1);
  return name == "-" ? "stdin" : name.substr(0, name.rfind('.'));
}

// A folder as the coordinator must name it, which has another working folder.
std::string Absolute(const std::string& folder) {
  if (folder.empty() || folder.find("://") != std::string::npos) return folder;
  return std::filesystem::absolute(folder).lexically_normal().string();
}

bool IsValid(const CompiledJob& job) {
  for (const v1::Diagnostic& problem : job.diagnostics) {
    if (problem.severity() == v1::Diagnostic::SEVERITY_ERROR) return false;
  }
  return true;
}

class Command {
 public:
  explicit Command(const Flags& flags) : flags_(flags) {}

  int Validate(bool explain) {
    v1::JobSource source;
    if (!ReadSource(source)) return kExitUsage;
    RealEnv env({.io_threads = 1});
    const CompiledJob compiled = CompileJob(source, env.env().disk);
    google::protobuf::RepeatedPtrField<v1::Diagnostic> diagnostics(compiled.diagnostics.begin(),
                                                                   compiled.diagnostics.end());
    PrintDiagnostics(diagnostics, flags_.file);
    const bool valid = IsValid(compiled);
    if (!explain && IsDocument(flags_.format)) {
      v1::ValidateJobResponse response;
      response.set_valid(valid);
      *response.mutable_diagnostics() = std::move(diagnostics);
      PrintDocument(response, flags_.format);
      return valid ? kExitOk : kExitFailed;
    }
    if (!valid) return kExitFailed;
    if (explain) {
      if (IsDocument(flags_.format)) {
        PrintDocument(compiled.graph, flags_.format);
      } else {
        std::printf("%s", compiled.explanation.c_str());
      }
    } else {
      std::printf("%s: valid\n", flags_.file.c_str());
    }
    return kExitOk;
  }

  int Run() {
    RunOptions options;
    uint32_t interval_ms = 0;
    if (!ReadJob(flags_.file, options.job_text) ||
        !ParseSettings(flags_.settings, options.variables) ||
        !ParseInterval(flags_.checkpoint_interval, interval_ms)) {
      return kExitUsage;
    }
    options.file = flags_.file;
    options.job_name = FileStem(flags_.file);
    options.work_dir = flags_.work_dir;
    options.secrets_dir = flags_.secrets_dir;
    options.checkpoint_storage = flags_.checkpoint_storage;
    options.parallelism = flags_.parallelism;
    options.checkpoint_interval_ms = interval_ms;
    options.http_port = flags_.metrics_port;
    options.memory_mb = flags_.memory_mb;
    options.upgrade = flags_.upgrade;
    options.view = ResultViewOptionsFor(flags_.format);
    if (!flags_.format_given && !options.view.terminal) options.view.format = OutputFormat::kJson;
    options.view.rows_max = flags_.rows_max;
    options.consent = Consent();
    // Whoever runs a job here may run the modules beside it, too.
    const std::string beside = std::filesystem::path(flags_.file).parent_path().string();
    options.python = {.folders = SplitFolders(!flags_.python_path.empty() ? flags_.python_path
                                              : beside.empty()            ? "."
                                                                          : beside),
                      .interpreter = flags_.python_interpreter};
    return RunEmbedded(options, &interrupted);
  }

  int TestDriver() {
    TestDriverOptions options;
    std::string error;
    if (flags_.file == "-") {
      std::fprintf(stderr, "error: requests come from standard input; the job is a file\n");
      return kExitUsage;
    }
    if (!ReadJob(flags_.file, options.job_text) ||
        !ParseSettings(flags_.settings, options.variables)) {
      return kExitUsage;
    }
    if (!absl::ParseTime("%Y-%m-%d %H:%M:%E*S", flags_.start, &options.start, &error)) {
      std::fprintf(stderr, "error: not a time: '%s' (write 2026-01-31 12:00:00)\n",
                   flags_.start.c_str());
      return kExitUsage;
    }
    options.file = flags_.file;
    options.parallelism = std::max(1u, flags_.parallelism);
    options.secrets_dir = flags_.secrets_dir;
    return RunTestDriver(options, stdin, stdout);
  }

  // What is wrong with one source does not keep the others from being cleaned.
  int Clean() {
    v1::JobSource source;
    if (!ReadSource(source)) return kExitUsage;
    RealEnv env({.io_threads = 1});
    const CompiledJob compiled = CompileJob(source, env.env().disk);
    if (!IsValid(compiled)) {
      PrintDiagnostics({compiled.diagnostics.begin(), compiled.diagnostics.end()}, flags_.file);
      return kExitFailed;
    }
    int code = kExitOk;
    const auto secrets = OpenSecretFolder(flags_.secrets_dir, env.env().disk);
    for (const v1::Node& node : compiled.graph.nodes()) {
      if (!node.has_source()) continue;
      const auto removed = CleanSource(node, *secrets);
      if (!removed.ok()) {
        PrintError(removed.status(), flags_.file);
        code = ExitCodeFor(removed.status());
        continue;
      }
      for (const std::string& what : *removed) {
        std::printf("%s: removed %s\n", node.uid().c_str(), what.c_str());
      }
    }
    return code;
  }

  int Submit() {
    SubmitOptions options;
    if (!ReadSource(options.source) ||
        !ParseInterval(flags_.checkpoint_interval, options.checkpoint_interval_ms)) {
      return kExitUsage;
    }
    options.file = flags_.file;
    options.parallelism = flags_.parallelism;
    options.savepoint = Absolute(flags_.savepoint);
    options.consent = Consent();
    options.request_id = RequestId();
    return SubmitCommand(Client(), options, flags_.format);
  }

  int Generate() {
    RealEnv env({});
    const absl::Status status = GenerateNexmark(flags_.generate, env.env());
    if (!status.ok()) PrintError(status, "");
    return absl::IsInvalidArgument(status) ? kExitUsage : ExitCodeFor(status);
  }

  int Dlq(bool replay) {
    RealEnv env({.io_threads = 1});
    const auto ended = [] { return interrupted != 0; };
    return replay ? DlqReplay(flags_.dlq, flags_.format, env.env(), ended)
                  : DlqList(flags_.dlq, flags_.format, env.env(), ended);
  }

  int Get(GetKind kind) { return GetCommand(Client(), kind, flags_.job, flags_.format); }
  int Describe() { return DescribeCommand(Client(), flags_.job, flags_.format); }
  int Why() { return WhyCommand(Client(), flags_.job, flags_.format); }
  int Wait() { return WaitCommand(Client(), flags_.job, flags_.timeout_seconds, flags_.format); }
  int Stop() {
    return StopCommand(Client(), flags_.job, flags_.drain, Absolute(flags_.savepoint), RequestId(),
                       flags_.format);
  }
  int Cancel() { return CancelCommand(Client(), flags_.job, RequestId()); }
  int Savepoint() {
    return SavepointCommand(Client(), flags_.job, Absolute(flags_.directory), RequestId(),
                            flags_.format);
  }
  int UpdateModel() {
    v1::Model model;
    model.set_name(flags_.model);
    model.set_version(flags_.model_version);
    model.mutable_local()->set_path(Absolute(flags_.model_path));
    model.mutable_local()->set_sha256(flags_.model_sha256);
    return UpdateModelCommand(Client(), flags_.job, model, RequestId(), flags_.format);
  }
  int Rescale() {
    return RescaleCommand(Client(), flags_.job, flags_.parallelism, RequestId(), flags_.format);
  }
  int Upgrade() {
    UpgradeOptions options{.job = flags_.job,
                           .source = {},
                           .file = flags_.file,
                           .consent = Consent(),
                           .dry_run = flags_.dry_run,
                           .request_id = RequestId()};
    if (!ReadSource(options.source)) return kExitUsage;
    return UpgradeCommand(Client(), options, flags_.format);
  }
  int Restart() {
    return RestartCommand(Client(), flags_.job, flags_.from_checkpoint, RequestId(), flags_.format);
  }
  int Tail() {
    TailOptions options = flags_.tail;
    options.job = flags_.job;
    options.timeout_seconds = flags_.timeout_seconds;
    return TailCommand(Client(), options, flags_.format, [] { return interrupted != 0; });
  }
  int Logs() { return LogsCommand(Client(), flags_.job, flags_.lines, flags_.format); }

 private:
  bool ReadSource(v1::JobSource& source) {
    std::map<std::string, std::string> variables;
    std::string text;
    if (!ReadJob(flags_.file, text) || !ParseSettings(flags_.settings, variables)) return false;
    source = MakeJobSource(text, variables);
    return true;
  }

  v1::StateConsent Consent() const {
    v1::StateConsent consent;
    *consent.mutable_drop_state() = {flags_.drop_state.begin(), flags_.drop_state.end()};
    *consent.mutable_fill_null() = {flags_.fill_null.begin(), flags_.fill_null.end()};
    return consent;
  }

  // A new id per call unless one was given: the same id again repeats nothing.
  std::string RequestId() {
    if (!flags_.request_id.empty()) return flags_.request_id;
    RealEnv env({.io_threads = 1});
    return absl::StrCat("cli-", absl::Hex(env.env().random.Next()),
                        absl::Hex(env.env().random.Next()));
  }

  // Made by the first call, when the flags are known.
  JobClient& Client() {
    if (!client_) client_.emplace(flags_.coordinator, flags_.security);
    return *client_;
  }

  const Flags& flags_;
  std::optional<JobClient> client_;
};

void AddJobFile(CLI::App* command, Flags& flags) {
  command->add_option("JOB", flags.file, "job file (.sql or .yaml), or - for standard input")
      ->required();
  command->add_option("--set", flags.settings, "name=value for ${name} in the job file");
}

void AddSecretsDir(CLI::App* command, Flags& flags) {
  command
      ->add_option("--secrets-dir", flags.secrets_dir,
                   "folder with a file per secret, for ${secret:NAME} in the job")
      ->envname("MILLRACE_SECRETS_DIR");
}

void AddParallelism(CLI::App* command, Flags& flags) {
  command->add_option("--parallelism", flags.parallelism, "tasks per node; 0 = what the job says");
  command->add_option("--checkpoint-interval", flags.checkpoint_interval, "e.g. 1s");
}

void AddJobName(CLI::App* command, Flags& flags) {
  command->add_option("JOB", flags.job, "job id, or the name of the only live job with it")
      ->required();
}

void AddLetters(CLI::App* command, DlqOptions& dlq) {
  command->add_option("--from", dlq.from, "topic of letters, kafka:BROKERS/TOPIC")->required();
  command->add_option("--code", dlq.codes,
                      "only letters with this code, e.g. MR3101; may be repeated");
  command->add_option("--job", dlq.job_id, "only letters of the job with this id");
  command->add_option("--uid", dlq.uid, "only letters of this node");
  command->add_option("--since", dlq.since,
                      "only letters written since: 15m, 2h, or \"2026-01-31 12:00:00\" (UTC)");
  command->add_option("--offsets", dlq.offsets,
                      "only letters at these places of the topic, as `list` shows them: 0:12,3:7");
  command->add_option(
      "--property", dlq.properties,
      "name=value of the Kafka client, e.g. security.protocol=SASL_SSL; value @FILE "
      "is read from a file; may be repeated");
}

void AddConsent(CLI::App* command, Flags& flags) {
  command->add_option("--drop-state", flags.drop_state,
                      "give up the state of this node (uid); may be repeated");
  command->add_option("--fill-null", flags.fill_null,
                      "rows that this node (uid) has kept get NULL in columns that are new; may be "
                      "repeated");
}

std::string FirstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

// All commands, for completion.
void CollectWords(const CLI::App& app, const std::string& command, std::vector<CommandWords>& all) {
  CommandWords words{.command = command, .subcommands = {}, .flags = {}};
  for (const CLI::Option* option : app.get_options()) {
    const std::string help = FirstLine(option->get_description());
    for (const std::string& name : option->get_lnames()) words.flags.push_back({"--" + name, help});
    for (const std::string& name : option->get_snames()) words.flags.push_back({"-" + name, help});
    if (!option->get_positional()) continue;
    words.wants_file |= help.find(".yaml") != std::string::npos;
    words.wants_job |= help.find("job id") != std::string::npos;
  }
  const auto subcommands = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* sub : subcommands) {
    words.subcommands.push_back({sub->get_name(), FirstLine(sub->get_description())});
  }
  all.push_back(std::move(words));
  for (const CLI::App* sub : subcommands) {
    CollectWords(*sub, absl::StrCat(command, command.empty() ? "" : " ", sub->get_name()), all);
  }
}

int Main(int argc, char** argv) {
  Flags flags;
  int exit_code = kExitOk;
  CLI::App app("Millrace: stream processing, exactly once.", "millrace");
  app.require_subcommand(1);
  app.fallthrough();
  app.add_option("--coordinator", flags.coordinator,
                 "HOST:PORT of the coordinator; of several, separated by commas")
      ->envname("MILLRACE_COORDINATOR")
      ->capture_default_str();
  ClientSecurity& security = flags.security;
  app.add_flag("--tls", security.tls,
               "use TLS, with the CAs of the system unless --tls-ca is given")
      ->envname("MILLRACE_TLS");
  app.add_option("--tls-ca", security.files.ca, "PEM file with the CA of the coordinator")
      ->envname("MILLRACE_TLS_CA");
  app.add_option("--tls-cert", security.files.certificate,
                 "PEM file with a certificate for coordinators that ask for one")
      ->envname("MILLRACE_TLS_CERT");
  app.add_option("--tls-key", security.files.key, "PEM file with its key")
      ->envname("MILLRACE_TLS_KEY");
  app.add_option("--tls-server-name", security.server_name,
                 "name in the coordinator's certificate, e.g. through a forwarded port")
      ->envname("MILLRACE_TLS_SERVER_NAME");
  app.add_option("--token-file", security.token_file,
                 "file with the token that says who you are; or the variable MILLRACE_TOKEN")
      ->envname("MILLRACE_TOKEN_FILE");
  const char* const token = std::getenv("MILLRACE_TOKEN");
  if (token != nullptr) security.token = token;
  const std::map<std::string, OutputFormat> formats = {{"table", OutputFormat::kTable},
                                                       {"wide", OutputFormat::kWide},
                                                       {"json", OutputFormat::kJson},
                                                       {"yaml", OutputFormat::kYaml},
                                                       {"name", OutputFormat::kName}};
  const CLI::Option* const format =
      app.add_option(
             "-o,--output", flags.format,
             "table, wide, json, yaml, name; rows of `run`: a table on a terminal, otherwise "
             "json, an object per line")
          ->transform(CLI::CheckedTransformer(formats));
  app.add_flag("-v,--verbose", flags.verbose, "log what happens, to standard error");
  app.add_option("--request-id", flags.request_id, "makes a change idempotent");

  Command command(flags);
  const auto on = [&](CLI::App* sub, auto run) {
    sub->callback([&exit_code, run] { exit_code = run(); });
    return sub;
  };
  CLI::App* sub =
      on(app.add_subcommand("run", "run a job in this process"), [&] { return command.Run(); });
  AddJobFile(sub, flags);
  AddParallelism(sub, flags);
  sub->add_option("--work-dir", flags.work_dir, "state and checkpoints; default ./.millrace/<job>");
  sub->add_option("--checkpoint-storage", flags.checkpoint_storage,
                  "file:///FOLDER or s3://BUCKET/PREFIX?OPTIONS; default: in --work-dir");
  sub->add_flag("--upgrade", flags.upgrade,
                "go on with the state of the folder though the job was changed");
  AddConsent(sub, flags);
  AddSecretsDir(sub, flags);
  sub->add_option("--rows", flags.rows_max,
                  "rows of a SELECT alone that its table keeps; the oldest are left out")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  sub->add_option("--python-path", flags.python_path,
                  "folders, separated by colons, with the modules of functions in Python; default: "
                  "the folder of the job file")
      ->envname("MILLRACE_PYTHON_PATH");
  sub->add_option("--python-interpreter", flags.python_interpreter,
                  "the Python that runs them: a name in PATH, or a path")
      ->envname("MILLRACE_PYTHON_INTERPRETER")
      ->capture_default_str();
  sub->add_option("--metrics-port", flags.metrics_port, "serve /metrics there; 0 = any port");
  sub->add_option("--memory-mb", flags.memory_mb, "memory that state may use")
      ->check(CLI::Range(16, 1 << 20));

  sub = on(app.add_subcommand("test-driver",
                              "run a job for tests: its rows come from standard input, by requests "
                              "(docs/testing.md)"),
           [&] { return command.TestDriver(); });
  AddJobFile(sub, flags);
  sub->add_option("--parallelism", flags.parallelism, "tasks per node; default: 1")
      ->check(CLI::Range(1, 64));
  sub->add_option("--start", flags.start, "what the clock of the job shows first (UTC)")
      ->capture_default_str();
  AddSecretsDir(sub, flags);
  AddJobFile(on(app.add_subcommand("validate", "report all problems of a job"),
                [&] { return command.Validate(false); }),
             flags);
  AddJobFile(on(app.add_subcommand("explain", "show the plan of a job"),
                [&] { return command.Validate(true); }),
             flags);
  sub = on(app.add_subcommand("clean",
                              "remove what the sources of a job that is not to come back have left "
                              "outside: replication slots, publications"),
           [&] { return command.Clean(); });
  AddJobFile(sub, flags);
  AddSecretsDir(sub, flags);
  sub = on(app.add_subcommand("submit", "submit a job to a coordinator"),
           [&] { return command.Submit(); });
  AddJobFile(sub, flags);
  AddParallelism(sub, flags);
  sub->add_option("--savepoint", flags.savepoint, "start from this savepoint");
  AddConsent(sub, flags);

  CLI::App* get = app.add_subcommand("get", "list jobs, workers or checkpoints");
  get->require_subcommand(1);
  on(get->add_subcommand("jobs", "jobs"), [&] { return command.Get(GetKind::kJobs); });
  on(get->add_subcommand("workers", "workers"), [&] { return command.Get(GetKind::kWorkers); });
  AddJobName(on(get->add_subcommand("checkpoints", "checkpoints of a job"),
                [&] { return command.Get(GetKind::kCheckpoints); }),
             flags);
  AddJobName(
      on(app.add_subcommand("describe", "one job in detail"), [&] { return command.Describe(); }),
      flags);
  AddJobName(on(app.add_subcommand("why", "what holds a job up: checkpoints, rows, watermarks"),
                [&] { return command.Why(); }),
             flags);
  sub =
      on(app.add_subcommand("wait", "wait until a job has ended"), [&] { return command.Wait(); });
  AddJobName(sub, flags);
  sub->add_option("--timeout", flags.timeout_seconds, "seconds; 0 = for ever");
  sub = on(app.add_subcommand("stop", "stop a job after a last checkpoint"),
           [&] { return command.Stop(); });
  AddJobName(sub, flags);
  sub->add_flag("--drain", flags.drain, "end the input first: all windows close");
  sub->add_option("--savepoint", flags.savepoint, "folder for a savepoint");
  AddJobName(on(app.add_subcommand("cancel", "end a job at once, without a checkpoint"),
                [&] { return command.Cancel(); }),
             flags);
  sub =
      on(app.add_subcommand("savepoint", "write a savepoint"), [&] { return command.Savepoint(); });
  AddJobName(sub, flags);
  sub->add_option("DIR", flags.directory, "folder for the savepoint")->required();
  sub = on(app.add_subcommand("update-model", "put a new version of a model into a running job"),
           [&] { return command.UpdateModel(); });
  AddJobName(sub, flags);
  sub->add_option("MODEL", flags.model, "name of the model in the job")->required();
  sub->add_option("--version", flags.model_version, "the new version")->required();
  sub->add_option("--path", flags.model_path, "its file, at the same path on every worker")
      ->required();
  sub->add_option("--sha256", flags.model_sha256, "of the file; computed when it is left out");
  sub = on(app.add_subcommand("rescale", "go on with another parallelism, from a last checkpoint"),
           [&] { return command.Rescale(); });
  AddJobName(sub, flags);
  sub->add_option("--parallelism", flags.parallelism, "tasks per node that has none of its own")
      ->required();
  sub = on(app.add_subcommand("restart", "go on with new tasks, from a last checkpoint"),
           [&] { return command.Restart(); });
  AddJobName(sub, flags);
  sub->add_flag(
      "--from-checkpoint", flags.from_checkpoint,
      "from the newest complete checkpoint, without a last one: what was read since then is "
      "read again");
  sub =
      on(app.add_subcommand("upgrade", "go on with a new version of a job, from a last checkpoint"),
         [&] { return command.Upgrade(); });
  AddJobName(sub, flags);
  sub->add_option("FILE", flags.file, "the new version (.sql or .yaml), or - for standard input")
      ->required();
  sub->add_option("--set", flags.settings, "name=value for ${name} in the job file");
  sub->add_flag("--dry-run", flags.dry_run, "only tell what would become of the state");
  AddConsent(sub, flags);
  sub = on(app.add_subcommand("logs", "last log lines of a job"), [&] { return command.Logs(); });
  AddJobName(sub, flags);
  sub->add_option("--lines", flags.lines, "at most so many")->capture_default_str();

  sub =
      on(app.add_subcommand("tail", "rows that a node of a job emits, as it emits them: a sample"),
         [&] { return command.Tail(); });
  AddJobName(sub, flags);
  sub->add_option("NODE", flags.tail.uid, "uid of the node, as `describe` shows it")->required();
  sub->add_option("--lines", flags.tail.lines, "end after so many rows")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  sub->add_flag("-f,--follow", flags.tail.follow, "go on until the job ends, or Ctrl-C");
  sub->add_option("--rows-per-second", flags.tail.rows_per_second,
                  "at most so many, up to 1000; the others are counted and left out; default: 100")
      ->check(CLI::Range(1, 1000));
  sub->add_option("--timeout", flags.timeout_seconds, "seconds; 0 = for ever");

  CLI::App* dlq = app.add_subcommand(
      "dlq", "dead letters in a topic that was written with 'format' = 'dead-letter'");
  dlq->require_subcommand(1);
  sub = on(dlq->add_subcommand("list", "show letters, the oldest first"),
           [&] { return command.Dlq(false); });
  AddLetters(sub, flags.dlq);
  sub->add_option("--limit", flags.dlq.limit, "at most so many; 0 = all")->capture_default_str();
  sub->add_flag("--summary", flags.dlq.summary,
                "only how many there are, by code, node and source");
  sub = on(dlq->add_subcommand("replay",
                               "produce the records of letters again, each once, also when the "
                               "command is killed and given again"),
           [&] { return command.Dlq(true); });
  AddLetters(sub, flags.dlq);
  sub->add_option("--to", flags.dlq.to, "topic for the records, kafka:BROKERS/TOPIC")->required();
  sub->add_option("--name", flags.dlq.name,
                  "of the replay: one of the same name goes on where the former stood; default: by "
                  "topics and selection");
  sub->add_flag("--dry-run", flags.dlq.dry_run, "only count what would be replayed");

  CLI::App* generate = app.add_subcommand("generate", "generate test data");
  generate->require_subcommand(1);
  sub = on(generate->add_subcommand("nexmark", "events of the Nexmark benchmark"),
           [&] { return command.Generate(); });
  sub->add_option("--events", flags.generate.events, "how many")
      ->required()
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--seed", flags.generate.seed)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--rate", flags.generate.rate, "events per second of event time")
      ->capture_default_str();
  sub->add_option("--first", flags.generate.first, "number of the first event")
      ->check(CLI::NonNegativeNumber);
  sub->add_option("--to", flags.generate.to, "file:PATH, kafka:BROKERS/TOPIC, or -")->required();
  sub->add_option("--partitions", flags.generate.partitions, "of a topic that is made")
      ->capture_default_str();
  sub->add_flag("--progress", flags.generate.progress, "a line per million events");

  on(app.add_subcommand("version", "show the version"), [] {
    std::printf("millrace %s\n", kVersion);
    return static_cast<int>(kExitOk);
  });

  CLI::App* completion = app.add_subcommand("completion", "completion script for a shell");
  completion->require_subcommand(1);
  for (const Shell shell : {Shell::kBash, Shell::kZsh, Shell::kFish}) {
    on(completion->add_subcommand(ShellName(shell), HowToComplete(shell)), [&app, shell] {
      std::vector<CommandWords> words;
      CollectWords(app, "", words);
      std::fputs(CompletionScript(words, shell).c_str(), stdout);
      return static_cast<int>(kExitOk);
    });
  }

  app.parse_complete_callback([&] {
    flags.format_given = format->count() > 0;
    InitLogging(flags.verbose ? LogLevel::kInfo : LogLevel::kWarning, false);
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  // What was printed may still be in the buffer: a script must learn that it never arrived.
  if (exit_code == kExitOk && (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)) {
    std::fprintf(stderr, "error: cannot write to standard output: %s\n", std::strerror(errno));
    return kExitFailed;
  }
  return exit_code;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  std::signal(SIGINT, [](int) { millrace::interrupted = millrace::interrupted + 1; });
  std::signal(SIGTERM, [](int) { millrace::interrupted = millrace::interrupted + 1; });
  if (const char* failpoints = std::getenv("MILLRACE_FAILPOINTS")) {
    if (absl::Status status = millrace::Failpoints::Arm(failpoints); !status.ok()) {
      std::fprintf(stderr, "error: MILLRACE_FAILPOINTS: %s\n", status.ToString().c_str());
      return millrace::kExitUsage;
    }
  }
  return millrace::Main(argc, argv);
}
