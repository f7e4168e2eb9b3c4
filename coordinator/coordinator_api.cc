// The coordinator as users see it.
#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/chain_planner.h"
#include "coordinator/coordinator.h"
#include "coordinator/job_state.h"
#include "coordinator/rescale.h"
#include "coordinator/upgrade_plan.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "runtime/base/failpoint.h"
#include "runtime/base/log.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"
#include "sql/diagnostics.h"
#include "sql/models.h"

namespace millrace {
namespace {

constexpr uint32_t kFormat = 1;
constexpr size_t kRequestIdBytesMax = 128;
constexpr uint32_t kLogLinesDefault = 200;
constexpr size_t kSlugBytesMax = 32;

// The first problem in the message, all of them attached.
absl::Status InvalidJob(const std::vector<v1::Diagnostic>& diagnostics) {
  std::string message = "the job is not valid";
  for (const v1::Diagnostic& diagnostic : diagnostics) {
    if (diagnostic.severity() == v1::Diagnostic::SEVERITY_WARNING) continue;
    absl::StrAppend(&message, ": ", diagnostic.code(), diagnostic.code().empty() ? "" : " ",
                    diagnostic.message());
    break;
  }
  return StatusWithDiagnostics(absl::InvalidArgumentError(message), diagnostics);
}

CompiledJob Compile(const CompileFunction& compile, const v1::JobSource& source) {
  CompiledJob compiled = compile(source);
  if (HasErrors(compiled.diagnostics)) return compiled;
  // What only the plan can find.
  const absl::StatusOr<ChainPlan> plan = PlanChains(compiled.graph, 1);
  if (!plan.ok()) {
    v1::Diagnostic& diagnostic = compiled.diagnostics.emplace_back();
    diagnostic.set_severity(v1::Diagnostic::SEVERITY_ERROR);
    diagnostic.set_code("MR1901");
    diagnostic.set_message(std::string(plan.status().message()));
  }
  return compiled;
}

// "Hot Items!" -> "hot-items".
std::string Slug(const std::string& name) {
  std::string slug;
  for (const char c : name) {
    if (slug.size() >= kSlugBytesMax) break;
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) {
      slug += absl::ascii_tolower(static_cast<unsigned char>(c));
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  return slug.empty() ? "job" : slug;
}

// FNV-1a over the deterministic encoding: the same on every machine and in every run.
template <typename Request>
uint64_t Fingerprint(const Request& request) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream output(&stream);
    output.SetSerializationDeterministic(true);
    request.SerializeWithCachedSizes(&output);
  }
  return Fnv1a(bytes);
}

template <typename Request>
uint64_t FingerprintOf(const Request& request) {
  (void)request.ByteSizeLong();  // Fills the cached sizes.
  return Fingerprint(request);
}

std::string RequestKey(const std::string& request_id) {
  return absl::StrCat("request/", request_id);
}

absl::Status CheckRequestId(const std::string& request_id) {
  if (request_id.size() <= kRequestIdBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("request_id is longer than ", kRequestIdBytesMax, " bytes"));
}

// Kept if the id is free, and then returned; else what was kept before, if it was the same request.
absl::StatusOr<v1::RequestRecord> KeepRequest(MetadataStore& store, const std::string& request_id,
                                              const v1::RequestRecord& record) {
  if (request_id.empty()) return record;
  const absl::Status created =
      CreateOrConfirm(store, RequestKey(request_id), record.SerializeAsString(), {}).status();
  if (created.ok()) return record;
  if (!absl::IsAlreadyExists(created)) return created;
  MILLRACE_ASSIGN_OR_RETURN(const MetadataEntry entry, store.Get(RequestKey(request_id)));
  v1::RequestRecord before;
  if (!before.ParseFromString(entry.value)) {
    return absl::DataLossError(absl::StrCat("metadata cannot be read: key=", entry.key));
  }
  if (before.method() != record.method() || before.fingerprint() != record.fingerprint()) {
    return absl::AlreadyExistsError(
        absl::StrCat("request_id ", request_id, " was used for another request"));
  }
  return before;
}

// Every step may have happened already, by an earlier try of the same request.
absl::StatusOr<StoredJob> StoreJob(MetadataStore& store, const StoragePlaces& places,
                                   const std::string& request_id, const v1::RequestRecord& record,
                                   const std::string& storage_base, const std::string& writer,
                                   v1::JobSpec spec, const v1::StateConsent& consent) {
  MILLRACE_ASSIGN_OR_RETURN(const v1::RequestRecord kept, KeepRequest(store, request_id, record));
  const std::string job_id = kept.job_id();
  spec.set_job_id(job_id);
  uint64_t generation = 1;
  v1::JobStatus status;
  if (!spec.savepoint().empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const v1::Manifest manifest, ReadSavepoint(spec.savepoint(), places));
    generation = manifest.generation() + 1;
    const UpgradePlan plan = PlanUpgrade(manifest, spec.graph(), consent);
    if (!plan.possible()) return plan.status();
    *status.mutable_version()->mutable_consent() = consent;
    status.mutable_version()->set_foreign_epoch(manifest.epoch());
    spec.mutable_graph()->set_max_parallelism(manifest.max_parallelism());
  }
  StoredJob stored;
  MILLRACE_FAILPOINT("job.before_spec");
  absl::Status created =
      store.CreateIfAbsent(JobKey(job_id, "spec"), spec.SerializeAsString(), {}).status();
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  MILLRACE_FAILPOINT("job.after_spec");
  MILLRACE_ASSIGN_OR_RETURN(const MetadataEntry spec_entry, store.Get(JobKey(job_id, "spec")));
  if (!stored.spec.ParseFromString(spec_entry.value)) {
    return absl::DataLossError(absl::StrCat("metadata cannot be read: key=", spec_entry.key));
  }
  MILLRACE_FAILPOINT("job.before_generation");
  created = store
                .CreateIfAbsent(JobKey(job_id, "generation"),
                                absl::StrCat(generation, " ", writer, " 0"), {})
                .status();
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  MILLRACE_FAILPOINT("job.after_generation");
  if (!stored.spec.savepoint().empty()) {
    MILLRACE_ASSIGN_OR_RETURN(
        const v1::EpochRecord epoch,
        ImportSavepoint(stored.spec.savepoint(), places, StorageUriBelow(storage_base, job_id),
                        job_id, generation, stored.spec.created_unix_us()));
    created = store.CreateIfAbsent(EpochKey(job_id, epoch.epoch()), epoch.SerializeAsString(), {})
                  .status();
    if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
    stored.epochs.push_back(epoch);
  }
  status.set_format(kFormat);
  status.set_state(v1::JOB_STATE_CREATED);
  status.set_since_unix_us(stored.spec.created_unix_us());
  MILLRACE_FAILPOINT("job.before_state");
  created = store.CreateIfAbsent(JobKey(job_id, "state"), status.SerializeAsString(), {}).status();
  if (!created.ok() && !absl::IsAlreadyExists(created)) return created;
  MILLRACE_FAILPOINT("job.after_state");
  MILLRACE_ASSIGN_OR_RETURN(const MetadataEntry status_entry, store.Get(JobKey(job_id, "state")));
  MILLRACE_ASSIGN_OR_RETURN(const MetadataEntry generation_entry,
                            store.Get(JobKey(job_id, "generation")));
  stored.status = status;
  stored.generation = generation;
  stored.versions = {.generation = generation_entry.version, .status = status_entry.version};
  return stored;
}

}  // namespace

// ---- Compiling.

void Coordinator::ValidateJob(v1::ValidateJobRequest request,
                              Reply<v1::ValidateJobResponse> reply) {
  loop_.Post([this, request = std::move(request), reply = std::move(reply)]() mutable {
    loop_.RunBlocking([compile = compile_, job = request.job()] { return Compile(*compile, job); },
                      [reply = std::move(reply)](CompiledJob compiled) mutable {
                        v1::ValidateJobResponse response;
                        response.set_valid(!HasErrors(compiled.diagnostics));
                        *response.mutable_diagnostics() = {compiled.diagnostics.begin(),
                                                           compiled.diagnostics.end()};
                        std::move(reply)(std::move(response));
                      });
  });
}

void Coordinator::ExplainJob(v1::ExplainJobRequest request, Reply<v1::ExplainJobResponse> reply) {
  loop_.Post([this, request = std::move(request), reply = std::move(reply)]() mutable {
    loop_.RunBlocking([compile = compile_, job = request.job()] { return Compile(*compile, job); },
                      [this, reply = std::move(reply)](CompiledJob compiled) mutable {
                        v1::ExplainJobResponse response;
                        *response.mutable_diagnostics() = {compiled.diagnostics.begin(),
                                                           compiled.diagnostics.end()};
                        if (!HasErrors(compiled.diagnostics)) {
                          const std::vector<PlacementWorker> workers = WorkersFor("");
                          uint32_t cores = 0;
                          for (const PlacementWorker& worker : workers) cores += worker.cores;
                          const absl::StatusOr<ChainPlan> plan =
                              PlanChains(compiled.graph, std::max(cores, 1u));
                          std::string text = compiled.explanation;
                          if (plan.ok()) absl::StrAppend(&text, ExplainChains(*plan));
                          response.set_text(text);
                          *response.mutable_compiled() = std::move(compiled.graph);
                        }
                        std::move(reply)(std::move(response));
                      });
  });
}

void Coordinator::SubmitJob(v1::SubmitJobRequest request, Reply<v1::SubmitJobResponse> reply) {
  loop_.Post([this, request = std::move(request), reply = std::move(reply)]() mutable {
    if (absl::Status status = CheckRequestId(request.request_id()); !status.ok()) {
      return std::move(reply)(status);
    }
    loop_.RunBlocking([compile = compile_, job = request.job()] { return Compile(*compile, job); },
                      [this, request, reply = std::move(reply)](CompiledJob compiled) mutable {
                        OnCompiled(std::move(request), std::move(compiled), std::move(reply));
                      });
  });
}

void Coordinator::OnCompiled(v1::SubmitJobRequest request, CompiledJob compiled,
                             Reply<v1::SubmitJobResponse> reply) {
  if (HasErrors(compiled.diagnostics)) return std::move(reply)(InvalidJob(compiled.diagnostics));
  v1::JobSpec spec;
  spec.set_format(kFormat);
  *spec.mutable_graph() = std::move(compiled.graph);
  if (request.parallelism() > 0) spec.mutable_graph()->set_parallelism(request.parallelism());
  if (request.checkpoint_interval_ms() > 0) {
    spec.mutable_graph()->mutable_settings()->set_checkpoint_interval_ms(
        request.checkpoint_interval_ms());
  }
  spec.set_created_unix_us(loop_.UnixMicros());
  spec.set_savepoint(request.savepoint());
  v1::RequestRecord record;
  record.set_format(kFormat);
  record.set_method("SubmitJob");
  record.set_fingerprint(FingerprintOf(request));
  record.set_job_id(absl::StrFormat("%s-%08x", Slug(spec.graph().name()),
                                    static_cast<uint32_t>(loop_.env().random.Next())));
  loop_.RunBlocking(
      [store = &store_, places = StoragePlaces{&loop_.env().disk, options_.s3},
       request_id = request.request_id(), record, base = options_.checkpoint_uri,
       writer = options_.coordinator_id, spec, consent = request.consent()] {
        return StoreJob(*store, places, request_id, record, base, writer, spec, consent);
      },
      [this, warnings = std::move(compiled.diagnostics),
       reply = std::move(reply)](absl::StatusOr<StoredJob> stored) mutable {
        if (!stored.ok()) return std::move(reply)(stored.status());
        OnJobStored(*std::move(stored), std::move(warnings), std::move(reply));
      });
}

void Coordinator::OnJobStored(StoredJob stored, std::vector<v1::Diagnostic> warnings,
                              Reply<v1::SubmitJobResponse> reply) {
  v1::SubmitJobResponse response;
  response.set_job_id(stored.spec.job_id());
  *response.mutable_diagnostics() = {warnings.begin(), warnings.end()};
  if (!jobs_.contains(stored.spec.job_id())) {
    LogInfo("job submitted", {{"job", stored.spec.job_id()}, {"name", stored.spec.graph().name()}});
    JobController& job = AddJob(std::move(stored));
    std::move(reply)(std::move(response));
    return job.Start(/*loaded=*/false);
  }
  std::move(reply)(std::move(response));
}

// ---- Looking.

absl::StatusOr<JobController*> Coordinator::FindJob(const std::string& job) {
  if (const auto it = jobs_.find(job); it != jobs_.end()) return it->second.get();
  JobController* live = nullptr;
  JobController* newest_ended = nullptr;
  for (const auto& [id, candidate] : jobs_) {
    if (candidate->spec().graph().name() != job) continue;
    if (candidate->live()) {
      if (live != nullptr) {
        return absl::FailedPreconditionError(
            absl::StrCat("more than one live job has the name ", job, "; use its id"));
      }
      live = candidate.get();
    } else if (newest_ended == nullptr ||
               candidate->spec().created_unix_us() > newest_ended->spec().created_unix_us()) {
      newest_ended = candidate.get();
    }
  }
  if (live != nullptr) return live;
  if (newest_ended != nullptr) return newest_ended;
  return absl::NotFoundError(absl::StrCat("no such job: ", job));
}

void Coordinator::GetJob(v1::GetJobRequest request, Reply<v1::GetJobResponse> reply) {
  loop_.Post([this, request = std::move(request), reply = std::move(reply)]() mutable {
    const absl::StatusOr<JobController*> job = FindJob(request.job());
    if (!job.ok()) return std::move(reply)(job.status());
    v1::GetJobResponse response;
    *response.mutable_job() = (*job)->Describe();
    *response.mutable_graph() = (*job)->GraphInUse();
    for (v1::Cause& cause : (*job)->Why()) *response.add_why() = std::move(cause);
    std::move(reply)(std::move(response));
  });
}

void Coordinator::ListJobs(v1::ListJobsRequest, Reply<v1::ListJobsResponse> reply) {
  loop_.Post([this, reply = std::move(reply)]() mutable {
    v1::ListJobsResponse response;
    for (const auto& [id, job] : jobs_) *response.add_jobs() = job->Describe();
    std::stable_sort(response.mutable_jobs()->begin(), response.mutable_jobs()->end(),
                     [](const v1::Job& a, const v1::Job& b) {
                       return a.created_unix_us() < b.created_unix_us();
                     });
    std::move(reply)(std::move(response));
  });
}

void Coordinator::WatchJob(v1::WatchJobRequest request, std::shared_ptr<JobWatcher> watcher) {
  loop_.Post([this, request = std::move(request), watcher = std::move(watcher)] {
    const absl::StatusOr<JobController*> job = FindJob(request.job());
    if (!job.ok()) return watcher->OnEnd(job.status());
    (*job)->Watch(watcher);
  });
}

void Coordinator::ListCheckpoints(v1::ListCheckpointsRequest request,
                                  Reply<v1::ListCheckpointsResponse> reply) {
  loop_.Post([this, request = std::move(request), reply = std::move(reply)]() mutable {
    const absl::StatusOr<JobController*> job = FindJob(request.job());
    if (!job.ok()) return std::move(reply)(job.status());
    v1::ListCheckpointsResponse response;
    for (v1::EpochRecord& record : (*job)->Checkpoints()) {
      *response.add_checkpoints() = std::move(record);
    }
    std::move(reply)(std::move(response));
  });
}

void Coordinator::ListWorkers(v1::ListWorkersRequest, Reply<v1::ListWorkersResponse> reply) {
  loop_.Post([this, reply = std::move(reply)]() mutable {
    v1::ListWorkersResponse response;
    for (v1::Worker& worker : Workers()) *response.add_workers() = std::move(worker);
    std::move(reply)(std::move(response));
  });
}

void Coordinator::GetLogs(v1::GetLogsRequest request, Reply<v1::GetLogsResponse> reply) {
  loop_.Post([this, request = std::move(request), reply = std::move(reply)]() mutable {
    const absl::StatusOr<JobController*> job = FindJob(request.job());
    if (!job.ok()) return std::move(reply)(job.status());
    v1::GetLogsResponse response;
    const uint32_t lines = request.lines_max() == 0 ? kLogLinesDefault : request.lines_max();
    for (v1::JobLogLine& line : (*job)->LastLogLines(lines)) {
      *response.add_lines() = std::move(line);
    }
    std::move(reply)(std::move(response));
  });
}

void Coordinator::TailNode(v1::TailNodeRequest request, std::shared_ptr<TailWatcher> watcher) {
  loop_.Post([this, request = std::move(request), watcher = std::move(watcher)] {
    const absl::StatusOr<JobController*> job = FindJob(request.job());
    const absl::Status status = job.ok() ? (*job)->Tail(request, watcher) : job.status();
    if (!status.ok()) watcher->OnEnd(status);
  });
}

// ---- Changing. The answer to a request id is kept, and given again.

template <typename Request, typename Response>
void Coordinator::RunOnce(const char* method, Request request, Reply<Response> reply,
                          void (Coordinator::*run)(const Request&, Reply<Response>)) {
  loop_.Post([this, method, run, request = std::move(request), reply = std::move(reply)]() mutable {
    if (absl::Status status = CheckRequestId(request.request_id()); !status.ok()) {
      return std::move(reply)(status);
    }
    if (request.request_id().empty()) return (this->*run)(request, std::move(reply));
    v1::RequestRecord record;
    record.set_format(kFormat);
    record.set_method(method);
    record.set_fingerprint(FingerprintOf(request));
    const std::string key = RequestKey(request.request_id());
    loop_.RunBlocking(
        [store = &store_, key] { return store->Get(key); },
        [this, run, record, key, request = std::move(request),
         reply = std::move(reply)](absl::StatusOr<MetadataEntry> entry) mutable {
          v1::RequestRecord before;
          if (entry.ok() && before.ParseFromString(entry->value)) {
            Response response;
            if (before.method() != record.method() ||
                before.fingerprint() != record.fingerprint() ||
                !response.ParseFromString(before.response())) {
              return std::move(reply)(absl::AlreadyExistsError(absl::StrCat(
                  "request_id ", request.request_id(), " was used for another request")));
            }
            return std::move(reply)(std::move(response));
          }
          if (!absl::IsNotFound(entry.status())) return std::move(reply)(entry.status());
          // The operations themselves may be repeated, so that keeping the answer may come last.
          (this->*run)(request, [this, record, key, reply = std::move(reply)](
                                    absl::StatusOr<Response> response) mutable {
            if (!response.ok()) return std::move(reply)(std::move(response));
            record.set_response(response->SerializeAsString());
            record.set_done(true);
            loop_.RunBlocking(
                [store = &store_, key, value = record.SerializeAsString()] {
                  return CreateOrConfirm(*store, key, value, {}).status();
                },
                [reply = std::move(reply),
                 response = std::move(response)](absl::Status kept) mutable {
                  if (!kept.ok()) {
                    LogWarning("cannot keep the answer to a request", {{"error", kept.ToString()}});
                  }
                  std::move(reply)(std::move(response));
                });
          });
        });
  });
}

void Coordinator::StopJob(v1::StopJobRequest request, Reply<v1::StopJobResponse> reply) {
  RunOnce("StopJob", std::move(request), std::move(reply), &Coordinator::RunStop);
}

void Coordinator::CancelJob(v1::CancelJobRequest request, Reply<v1::CancelJobResponse> reply) {
  RunOnce("CancelJob", std::move(request), std::move(reply), &Coordinator::RunCancel);
}

void Coordinator::CreateSavepoint(v1::CreateSavepointRequest request,
                                  Reply<v1::CreateSavepointResponse> reply) {
  RunOnce("CreateSavepoint", std::move(request), std::move(reply), &Coordinator::RunSavepoint);
}

void Coordinator::RunStop(const v1::StopJobRequest& request, Reply<v1::StopJobResponse> reply) {
  const absl::StatusOr<JobController*> job = FindJob(request.job());
  if (!job.ok()) return std::move(reply)(job.status());
  (*job)->Stop(request.drain(), request.savepoint_directory(), std::move(reply));
}

void Coordinator::RunCancel(const v1::CancelJobRequest& request,
                            Reply<v1::CancelJobResponse> reply) {
  const absl::StatusOr<JobController*> job = FindJob(request.job());
  if (!job.ok()) return std::move(reply)(job.status());
  (*job)->Cancel(std::move(reply));
}

void Coordinator::RunSavepoint(const v1::CreateSavepointRequest& request,
                               Reply<v1::CreateSavepointResponse> reply) {
  const absl::StatusOr<JobController*> job = FindJob(request.job());
  if (!job.ok()) return std::move(reply)(job.status());
  if (request.directory().empty()) {
    return std::move(reply)(absl::InvalidArgumentError("a savepoint needs a directory"));
  }
  (*job)->CreateSavepoint(request.directory(), std::move(reply));
}

void Coordinator::UpdateModel(v1::UpdateModelRequest request,
                              Reply<v1::UpdateModelResponse> reply) {
  RunOnce("UpdateModel", std::move(request), std::move(reply), &Coordinator::RunUpdateModel);
}

void Coordinator::RescaleJob(v1::RescaleJobRequest request, Reply<v1::RescaleJobResponse> reply) {
  RunOnce("RescaleJob", std::move(request), std::move(reply), &Coordinator::RunRescale);
}

void Coordinator::RunRescale(const v1::RescaleJobRequest& request,
                             Reply<v1::RescaleJobResponse> reply) {
  const absl::StatusOr<JobController*> job = FindJob(request.job());
  if (!job.ok()) return std::move(reply)(job.status());
  absl::StatusOr<v1::JobGraph> graph =
      WithParallelism((*job)->submitted_graph(), request.parallelism());
  if (!graph.ok()) return std::move(reply)(graph.status());
  *graph->mutable_models() = (*job)->GraphInUse().models();
  v1::JobSource source;
  *source.mutable_graph() = *std::move(graph);
  loop_.RunBlocking([compile = compile_, source] { return Compile(*compile, source); },
                    [job = *job, reply = std::move(reply)](CompiledJob compiled) mutable {
                      if (HasErrors(compiled.diagnostics)) {
                        return std::move(reply)(InvalidJob(compiled.diagnostics));
                      }
                      job->Rescale(std::move(compiled.graph), std::move(reply));
                    });
}

void Coordinator::RestartJob(v1::RestartJobRequest request, Reply<v1::RestartJobResponse> reply) {
  RunOnce("RestartJob", std::move(request), std::move(reply), &Coordinator::RunRestart);
}

void Coordinator::RunRestart(const v1::RestartJobRequest& request,
                             Reply<v1::RestartJobResponse> reply) {
  const absl::StatusOr<JobController*> job = FindJob(request.job());
  if (!job.ok()) return std::move(reply)(job.status());
  (*job)->Restart(request.from_checkpoint(), std::move(reply));
}

void Coordinator::UpgradeJob(v1::UpgradeJobRequest request, Reply<v1::UpgradeJobResponse> reply) {
  RunOnce("UpgradeJob", std::move(request), std::move(reply), &Coordinator::RunUpgrade);
}

void Coordinator::RunUpgrade(const v1::UpgradeJobRequest& request,
                             Reply<v1::UpgradeJobResponse> reply) {
  const absl::StatusOr<JobController*> job = FindJob(request.job());
  if (!job.ok()) return std::move(reply)(job.status());
  loop_.RunBlocking(
      [compile = compile_, source = request.source()] { return Compile(*compile, source); },
      [job = *job, consent = request.consent(), dry_run = request.dry_run(),
       reply = std::move(reply)](CompiledJob compiled) mutable {
        if (HasErrors(compiled.diagnostics)) {
          return std::move(reply)(InvalidJob(compiled.diagnostics));
        }
        // How many tasks there are is not the matter of the new version.
        if (compiled.graph.parallelism() == 0) {
          compiled.graph.set_parallelism(job->submitted_graph().parallelism());
        }
        auto with_warnings = [warnings = std::move(compiled.diagnostics), reply = std::move(reply)](
                                 absl::StatusOr<v1::UpgradeJobResponse> response) mutable {
          if (response.ok()) {
            *response->mutable_diagnostics() = {warnings.begin(), warnings.end()};
          }
          std::move(reply)(std::move(response));
        };
        if (dry_run) {
          return job->PlanUpgradeTo(std::move(compiled.graph), consent, std::move(with_warnings));
        }
        job->Upgrade(std::move(compiled.graph), consent, std::move(with_warnings));
      });
}

// The file is read here when it can be, as at submit.
void Coordinator::RunUpdateModel(const v1::UpdateModelRequest& request,
                                 Reply<v1::UpdateModelResponse> reply) {
  const absl::StatusOr<JobController*> job = FindJob(request.job());
  if (!job.ok()) return std::move(reply)(job.status());
  absl::StatusOr<v1::Model> model = (*job)->CompleteModel(request.model());
  if (!model.ok()) return std::move(reply)(model.status());
  loop_.RunBlocking(
      [model = *std::move(model), disk = &loop_.env().disk]() -> absl::StatusOr<v1::Model> {
        v1::JobGraph graph;
        *graph.add_models() = model;
        Diagnostics diagnostics(nullptr);
        CompileModels(*graph.mutable_models(), diagnostics);
        if (!diagnostics.has_errors()) PinModelFiles(graph, *disk, diagnostics);
        const bool failed = diagnostics.has_errors();
        const std::vector<v1::Diagnostic> list = diagnostics.Take();
        if (failed) return InvalidJob(list);
        return graph.models(0);
      },
      [job = *job, reply = std::move(reply)](absl::StatusOr<v1::Model> pinned) mutable {
        if (!pinned.ok()) return std::move(reply)(pinned.status());
        job->UpdateModel(*pinned, std::move(reply));
      });
}

}  // namespace millrace
