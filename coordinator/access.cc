#include "coordinator/access.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/base/digests.h"
#include "runtime/base/env.h"
#include "runtime/base/log.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr uint64_t kFileBytesMax = 1 << 20;
constexpr int64_t kReadAgainNs = 1'000'000'000;
constexpr size_t kDigestDigits = 64;

constexpr std::array<std::pair<std::string_view, Role>, 5> kRoles = {{
    {"viewer", Role::kViewer},
    {"operator", Role::kOperator},
    {"submitter", Role::kSubmitter},
    {"admin", Role::kAdmin},
    {"worker", Role::kWorker},
}};

struct MethodRule {
  std::string_view method;
  Role needed;
};

// A test compares it with the descriptors of the services.
constexpr MethodRule kRules[] = {
    {"/millrace.v1.JobService/CancelJob", Role::kOperator},
    {"/millrace.v1.JobService/CreateSavepoint", Role::kOperator},
    {"/millrace.v1.JobService/ExplainJob", Role::kViewer},
    {"/millrace.v1.JobService/GetJob", Role::kViewer},
    {"/millrace.v1.JobService/GetLogs", Role::kViewer},
    {"/millrace.v1.JobService/ListCheckpoints", Role::kViewer},
    {"/millrace.v1.JobService/ListJobs", Role::kViewer},
    {"/millrace.v1.JobService/ListWorkers", Role::kViewer},
    {"/millrace.v1.JobService/RestartJob", Role::kOperator},
    {"/millrace.v1.JobService/StopJob", Role::kOperator},
    {"/millrace.v1.JobService/SubmitJob", Role::kSubmitter},
    // Who may submit can read any row already.
    {"/millrace.v1.JobService/TailNode", Role::kSubmitter},
    {"/millrace.v1.JobService/UpdateModel", Role::kSubmitter},
    {"/millrace.v1.JobService/UpgradeJob", Role::kSubmitter},
    {"/millrace.v1.JobService/RescaleJob", Role::kOperator},
    {"/millrace.v1.JobService/ValidateJob", Role::kViewer},
    {"/millrace.v1.JobService/WatchJob", Role::kViewer},
    {"/millrace.v1.WorkerService/Connect", Role::kWorker},
    // Probes have no credentials.
    {"/grpc.health.v1.Health/Check", Role::kAnyone},
    {"/grpc.health.v1.Health/Watch", Role::kAnyone},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Role::kViewer},
};

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  line = line.substr(0, line.find('#'));
  while (!(line = StripSpaces(line)).empty()) {
    const size_t end = std::min(line.find_first_of(" \t"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
  return words;
}

// Nothing: it is one.
std::string_view ProblemOfProof(std::string_view proof) {
  if (proof.starts_with("cert:"))
    return proof.size() > 5 ? "" : "the name of the certificate is missing";
  if (!proof.starts_with("sha256:")) return "expected sha256:… or cert:…";
  const std::string_view digits = proof.substr(7);
  const bool is_digest =
      digits.size() == kDigestDigits && digits.find_first_not_of("0123456789abcdef") == digits.npos;
  return is_digest ? "" : "a SHA-256 digest has 64 digits, 0-9 and a-f";
}

}  // namespace

std::string_view RoleName(Role role) {
  for (const auto& [name, one] : kRoles) {
    if (one == role) return name;
  }
  return "";
}

std::optional<Role> RoleNeeded(std::string_view method) {
  for (const MethodRule& rule : kRules) {
    if (rule.method == method) return rule.needed;
  }
  return std::nullopt;
}

bool Allows(Role role, Role needed) {
  if (needed == Role::kAnyone || role == Role::kAdmin || role == needed) return true;
  return role != Role::kWorker && needed != Role::kWorker && role >= needed;
}

absl::StatusOr<std::unique_ptr<AccessControl>> AccessControl::Open(std::string path, Disk& disk) {
  std::unique_ptr<AccessControl> control(new AccessControl(std::move(path), disk));
  absl::MutexLock lock(&control->mutex_);
  MILLRACE_ASSIGN_OR_RETURN(control->text_, control->ReadFile());
  MILLRACE_ASSIGN_OR_RETURN(control->callers_, Parse(control->text_));
  if (control->callers_.empty()) {
    return absl::InvalidArgumentError(
        Concat("the access file ", control->path_, " lets nobody in"));
  }
  return control;
}

absl::StatusOr<std::string> AccessControl::ReadFile() const {
  MILLRACE_ASSIGN_OR_RETURN(const auto file, disk_.Open(path_));
  if (file->size() > kFileBytesMax) {
    return absl::InvalidArgumentError(Concat("the access file ", path_, " is larger than 1 MiB"));
  }
  std::string text(file->size(), '\0');
  MILLRACE_RETURN_IF_ERROR(file->Read(0, text.size(), text.data()));
  return text;
}

absl::StatusOr<AccessControl::Callers> AccessControl::Parse(std::string_view text) {
  Callers callers;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::vector<std::string_view> words = Words(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (words.empty()) continue;
    const auto error = [number](std::string_view what) {
      return absl::InvalidArgumentError(Concat("line ", number, " of the access file: ", what));
    };
    if (words.size() != 3) return error("expected a role, a name, and sha256:… or cert:…");
    const auto* const role = std::find_if(kRoles.begin(), kRoles.end(),
                                          [&](const auto& one) { return one.first == words[0]; });
    if (role == kRoles.end()) {
      return error(
          Concat("'", words[0], "' is no role; roles: viewer, operator, submitter, admin, worker"));
    }
    if (const std::string_view problem = ProblemOfProof(words[2]); !problem.empty()) {
      return error(problem);
    }
    const Caller caller{.name = std::string(words[1]), .role = role->second};
    if (!callers.emplace(words[2], caller).second) return error("this proof is given twice");
  }
  return callers;
}

void AccessControl::ReadAgain(int64_t now_ns) {
  if (now_ns - read_ns_ < kReadAgainNs) return;
  read_ns_ = now_ns;
  absl::StatusOr<std::string> text = ReadFile();
  if (text.ok() && *text == text_) return;
  absl::StatusOr<Callers> callers = text.ok() ? Parse(*text) : text.status();
  if (!callers.ok()) {
    LogWarning("keeps its former list of callers",
               {{"file", path_}, {"error", callers.status().ToString()}});
    if (text.ok()) text_ = *std::move(text);  // Told once.
    return;
  }
  LogInfo("read the list of callers again", {{"file", path_}, {"callers", callers->size()}});
  text_ = *std::move(text);
  callers_ = *std::move(callers);
}

absl::StatusOr<Caller> AccessControl::Check(std::string_view method, const CallerProof& proof,
                                            int64_t now_ns) {
  const std::optional<Role> needed = RoleNeeded(method);
  if (needed == Role::kAnyone) return Caller{.name = "anyone"};
  std::optional<Caller> caller;
  {
    absl::MutexLock lock(&mutex_);
    ReadAgain(now_ns);
    const auto look_up = [&](std::string_view key) ABSL_NO_THREAD_SAFETY_ANALYSIS {
      const auto found = callers_.find(key);
      if (found != callers_.end()) caller = found->second;
    };
    for (const std::string& name : proof.certificate_names) look_up(Concat("cert:", name));
    // What the caller says of itself counts before what its connection says.
    if (!proof.token.empty()) {
      std::string digest;
      Sha256Hex(proof.token, digest);
      look_up(Concat("sha256:", digest));
    }
  }
  if (!caller) {
    return absl::UnauthenticatedError(
        proof.token.empty()
            ? "this coordinator wants to know who calls: give a token (--token-file, "
              "MILLRACE_TOKEN) or a client certificate that it knows"
            : "the token is not known to the coordinator");
  }
  if (!needed || !Allows(caller->role, *needed)) {
    return absl::PermissionDeniedError(needed ? Concat("'", caller->name, "' has the role ",
                                                       RoleName(caller->role), "; ", method,
                                                       " needs ", RoleName(*needed))
                                              : Concat("nobody may call ", method));
  }
  return *caller;
}

}  // namespace millrace
