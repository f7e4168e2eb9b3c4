// JobService and WorkerService over a real gRPC server on loopback.
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "coordinator/coordinator.h"
#include "coordinator/grpc_server_rpc.h"
#include "coordinator/metadata/memory_metadata_store.h"
#include "gmock/gmock.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "millrace/v1/job_service.grpc.pb.h"
#include "millrace/v1/worker_service.grpc.pb.h"
#include "runtime/base/real_env.h"
#include "tests/unit/checkpoint/memory_disk.h"
#include "tests/unit/coordinator/fake_cluster.h"

namespace millrace {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

// The memory disk is for one thread; blocking work comes from several.
class RpcLoopbackTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    coordinator_ = std::make_unique<Coordinator>(
        CoordinatorOptions{.coordinator_id = "test", .checkpoint_uri = "file://" + folder_},
        env_.env(), store_,
        [](const v1::JobSource& source) {
          CompiledJob compiled{.graph = source.graph(), .diagnostics = {}, .explanation = ""};
          for (const v1::Node& node : source.graph().nodes()) {
            if (!node.has_filter()) continue;
            v1::Diagnostic& diagnostic = compiled.diagnostics.emplace_back();
            diagnostic.set_severity(v1::Diagnostic::SEVERITY_ERROR);
            diagnostic.set_code("MR1203");
            diagnostic.set_uid(node.uid());
            diagnostic.set_message("unknown column");
          }
          return compiled;
        },
        [waker = waker_] { waker->Wake(); });
    ASSERT_TRUE(coordinator_->Start().ok());
    auto server = GrpcServer::Start("127.0.0.1:0", *coordinator_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    loop_ = std::thread([this] {
      while (!stop_.load()) {
        coordinator_->RunPosted();
        waker_->Wait(absl::Milliseconds(100));
      }
    });
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    jobs_ = v1::JobService::NewStub(channel_);
    workers_ = v1::WorkerService::NewStub(channel_);
  }
  void TearDown() override {
    stop_ = true;
    waker_->Wake();
    loop_.join();
    server_->Stop();
    std::filesystem::remove_all(folder_);
  }

  static void SetDeadline(grpc::ClientContext& context) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  }

  RealEnv env_{{.io_threads = 2}};
  std::string folder_;
  MemoryMetadataStore store_;
  std::shared_ptr<Waker> waker_ = std::make_shared<Waker>();
  std::atomic<bool> stop_{false};
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<GrpcServer> server_;
  std::thread loop_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
};

// Answers a coordinator on its own thread until the stream ends.
class StreamWorker {
 public:
  StreamWorker(v1::WorkerService::Stub& stub, std::string id) : id_(std::move(id)) {
    stream_ = stub.Connect(&context_);
    thread_ = std::thread([this] { Run(); });
  }
  ~StreamWorker() {
    context_.TryCancel();
    thread_.join();
  }

 private:
  void Run() {
    v1::ConnectRequest hello;
    hello.mutable_register_()->set_worker_id(id_);
    hello.mutable_register_()->set_data_address("127.0.0.1:1");
    hello.mutable_register_()->set_cores(1);
    stream_->Write(hello);
    v1::DeployAttempt deploy;
    v1::ConnectResponse message;
    while (stream_->Read(&message)) {
      if (message.has_deploy()) {
        deploy = message.deploy();
        Report(deploy, v1::TaskStateChanged::STATE_READY);
      } else if (message.has_start()) {
        Report(deploy, v1::TaskStateChanged::STATE_RUNNING);
      } else if (message.has_trigger_epoch()) {
        for (const v1::Task& task : deploy.tasks()) {
          v1::ConnectRequest ack;
          *ack.mutable_epoch_ack()->mutable_attempt() = deploy.attempt();
          ack.mutable_epoch_ack()->set_epoch(message.trigger_epoch().epoch());
          ack.mutable_epoch_ack()->mutable_snapshot()->set_chain(task.key().chain());
          ack.mutable_epoch_ack()->mutable_snapshot()->set_index(task.key().index());
          stream_->Write(ack);
        }
      } else if (message.has_epoch_completed()) {
        for (const v1::Task& task : deploy.tasks()) {
          v1::ConnectRequest ack;
          *ack.mutable_commit_ack()->mutable_attempt() = deploy.attempt();
          ack.mutable_commit_ack()->set_epoch(message.epoch_completed().epoch());
          *ack.mutable_commit_ack()->mutable_task() = task.key();
          stream_->Write(ack);
        }
      }
    }
    stream_->Finish();
  }
  void Report(const v1::DeployAttempt& deploy, v1::TaskStateChanged::State state) {
    for (const v1::Task& task : deploy.tasks()) {
      v1::ConnectRequest changed;
      *changed.mutable_task_state_changed()->mutable_attempt() = deploy.attempt();
      *changed.mutable_task_state_changed()->mutable_task() = task.key();
      changed.mutable_task_state_changed()->set_state(state);
      stream_->Write(changed);
    }
  }

  const std::string id_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::ConnectRequest, v1::ConnectResponse>> stream_;
  std::thread thread_;
};

TEST_F(RpcLoopbackTest, AJobIsSubmittedWatchedAndStopped) {
  v1::SubmitJobRequest submit;
  *submit.mutable_job()->mutable_graph() = FakeCluster::Graph();
  v1::SubmitJobResponse submitted;
  {
    grpc::ClientContext context;
    SetDeadline(context);
    const grpc::Status status = jobs_->SubmitJob(&context, submit, &submitted);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  StreamWorker worker(*workers_, "w");
  grpc::ClientContext watch_context;
  SetDeadline(watch_context);
  v1::WatchJobRequest watch;
  watch.set_job(submitted.job_id());
  auto stream = jobs_->WatchJob(&watch_context, watch);
  v1::WatchJobResponse seen;
  while (stream->Read(&seen)) {
    if (seen.job().state() == v1::JOB_STATE_RUNNING && seen.job().last_epoch() > 0) break;
  }
  ASSERT_EQ(seen.job().state(), v1::JOB_STATE_RUNNING);
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ListWorkersResponse workers;
    ASSERT_TRUE(jobs_->ListWorkers(&context, {}, &workers).ok());
    ASSERT_THAT(workers.workers(), SizeIs(1));
    EXPECT_EQ(workers.workers(0).tasks(), 4u);
  }
  {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::StopJobRequest stop;
    stop.set_job(submitted.job_id());
    v1::StopJobResponse stopped;
    const grpc::Status status = jobs_->StopJob(&context, stop, &stopped);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_GT(stopped.epoch(), 1u);
  }
  while (stream->Read(&seen)) {
  }
  EXPECT_EQ(seen.job().state(), v1::JOB_STATE_STOPPED);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(RpcLoopbackTest, ALostStreamIsALostWorker) {
  v1::SubmitJobRequest submit;
  *submit.mutable_job()->mutable_graph() = FakeCluster::Graph();
  v1::SubmitJobResponse submitted;
  grpc::ClientContext context;
  SetDeadline(context);
  ASSERT_TRUE(jobs_->SubmitJob(&context, submit, &submitted).ok());
  grpc::ClientContext watch_context;
  SetDeadline(watch_context);
  v1::WatchJobRequest watch;
  watch.set_job(submitted.job_id());
  auto stream = jobs_->WatchJob(&watch_context, watch);
  v1::WatchJobResponse seen;
  {
    StreamWorker worker(*workers_, "w");
    while (stream->Read(&seen) && seen.job().state() != v1::JOB_STATE_RUNNING) {
    }
  }
  while (stream->Read(&seen) && seen.job().state() != v1::JOB_STATE_RESTARTING) {
  }
  EXPECT_EQ(seen.job().state(), v1::JOB_STATE_RESTARTING);
  EXPECT_THAT(seen.job().last_error(), HasSubstr("lost worker w"));
  watch_context.TryCancel();
}

TEST_F(RpcLoopbackTest, ErrorsCarryDiagnosticsAsDetails) {
  v1::SubmitJobRequest submit;
  *submit.mutable_job()->mutable_graph() = FakeCluster::Graph();
  submit.mutable_job()->mutable_graph()->mutable_nodes(0)->mutable_filter();
  grpc::ClientContext context;
  SetDeadline(context);
  v1::SubmitJobResponse response;
  const grpc::Status status = jobs_->SubmitJob(&context, submit, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  ASSERT_THAT(details.details(), SizeIs(1));
  v1::Diagnostic diagnostic;
  ASSERT_TRUE(details.details(0).UnpackTo(&diagnostic));
  EXPECT_EQ(diagnostic.code(), "MR1203");
  EXPECT_EQ(diagnostic.uid(), "in");
}

TEST_F(RpcLoopbackTest, AnUnknownJobIsNotFound) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetJobRequest request;
  request.set_job("nothing");
  v1::GetJobResponse response;
  EXPECT_EQ(jobs_->GetJob(&context, request, &response).error_code(), grpc::StatusCode::NOT_FOUND);
  grpc::ClientContext watch_context;
  SetDeadline(watch_context);
  v1::WatchJobRequest watch;
  watch.set_job("nothing");
  auto stream = jobs_->WatchJob(&watch_context, watch);
  v1::WatchJobResponse seen;
  EXPECT_FALSE(stream->Read(&seen));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(RpcLoopbackTest, ACallThatWaitsIsEndedWhenTheServerStops) {
  v1::SubmitJobRequest submit;
  *submit.mutable_job()->mutable_graph() = FakeCluster::Graph();
  v1::SubmitJobResponse submitted;
  {
    grpc::ClientContext context;
    SetDeadline(context);
    ASSERT_TRUE(jobs_->SubmitJob(&context, submit, &submitted).ok());
  }
  // Without a worker a savepoint waits.
  v1::CreateSavepointRequest request;
  request.set_job(submitted.job_id());
  request.set_directory("/savepoints");
  v1::CreateSavepointResponse response;
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::Status status;
  absl::Notification done;
  jobs_->async()->CreateSavepoint(&context, &request, &response, [&](grpc::Status s) {
    status = s;
    done.Notify();
  });
  // Answered behind the savepoint on the loop.
  grpc::ClientContext list_context;
  SetDeadline(list_context);
  v1::ListJobsResponse list;
  ASSERT_TRUE(jobs_->ListJobs(&list_context, {}, &list).ok());
  server_->Stop();
  done.WaitForNotification();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE) << status.error_message();
}

TEST_F(RpcLoopbackTest, ATakenAddressIsRefused) {
  const auto second = GrpcServer::Start(server_->address(), *coordinator_);
  EXPECT_TRUE(absl::IsUnavailable(second.status()));
}

TEST_F(RpcLoopbackTest, ReflectionAndHealthAreServed) {
  // By name only, as a client without the stubs would: an empty request to the health service.
  grpc::ClientContext context;
  SetDeadline(context);
  grpc::internal::RpcMethod method("/grpc.health.v1.Health/Check",
                                   grpc::internal::RpcMethod::NORMAL_RPC, channel_);
  v1::ListJobsRequest empty;
  v1::ListJobsResponse answer;
  EXPECT_TRUE(
      grpc::internal::BlockingUnaryCall(channel_.get(), method, &context, empty, &answer).ok());
  grpc::ClientContext reflection_context;
  SetDeadline(reflection_context);
  grpc::internal::RpcMethod reflection(
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      grpc::internal::RpcMethod::BIDI_STREAMING, channel_);
  std::unique_ptr<grpc::ClientReaderWriter<v1::ListJobsRequest, v1::ListJobsResponse>> stream(
      grpc::internal::ClientReaderWriterFactory<v1::ListJobsRequest, v1::ListJobsResponse>::Create(
          channel_.get(), reflection, &reflection_context));
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace millrace
