"""What every gRPC tool expects of a server: reflection and health."""

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc


@pytest.fixture
def channel(cluster):
    with grpc.insecure_channel(cluster.address) as channel:
        yield channel


def test_reflection_lists_the_job_service(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (response,) = stub.ServerReflectionInfo(iter([request]), timeout=20)
    names = [service.name for service in response.list_services_response.service]
    assert "millrace.v1.JobService" in names


def test_reflection_describes_the_messages(channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="millrace.v1.JobGraph")
    (response,) = stub.ServerReflectionInfo(iter([request]), timeout=20)
    assert response.file_descriptor_response.file_descriptor_proto


def test_health_is_serving(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=""), timeout=20)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
