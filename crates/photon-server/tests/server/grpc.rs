//! gRPC and HTTP on one port.

use photon_server::Daemon;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::harness::{PATIENCE, Setup, error_of, json_of, service, until};

#[tokio::test]
async fn health_and_http_share_the_port() {
    let service = service().await;
    let url = format!("http://{}", service.grpc);
    let channel = tonic::transport::Endpoint::from_shared(url.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = HealthClient::new(channel);
    until("serving", async || {
        let answer = health.check(HealthCheckRequest::default()).await.unwrap();
        answer.into_inner().status() == ServingStatus::Serving
    })
    .await;
    let error = health
        .check(HealthCheckRequest {
            service: "none".into(),
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::NotFound);

    let body = json_of(
        service
            .client
            .get(format!("{url}/version"))
            .send()
            .await
            .unwrap(),
    )
    .await;
    assert_eq!(body["data"]["etcdserver"], "3.6.0");
    error_of(
        service
            .client
            .get(format!("{url}/none"))
            .send()
            .await
            .unwrap(),
        404,
        "NOT_FOUND",
    )
    .await;
}

#[tokio::test]
async fn unknown_grpc_methods_are_unimplemented() {
    let service = service().await;
    let response = service
        .client
        .post(format!("http://{}/no.such.Service/Method", service.grpc))
        .header("content-type", "application/grpc")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["grpc-status"], "12");
    let text = &response.headers()["grpc-message"];
    assert_eq!(text, "unknown%20service%20no.such.Service");
}

#[tokio::test]
async fn health_turns_when_the_drain_begins() {
    let mut service = service().await;
    let url = format!("http://{}", service.grpc);
    let channel = tonic::transport::Endpoint::from_shared(url)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = HealthClient::new(channel);
    let mut watch = health
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut seen = Vec::new();
    while let Some(next) = watch.message().await.unwrap() {
        seen.push(next.status());
        if next.status() == ServingStatus::Serving {
            break;
        }
    }
    assert_eq!(seen.last(), Some(&ServingStatus::Serving));
    service.stop.cancel();
    let next = watch.message().await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    // The stream ends, so that it does not hold the drain up.
    assert!(watch.message().await.unwrap().is_none());
    tokio::time::timeout(PATIENCE, service.running.take().unwrap().wait())
        .await
        .unwrap();
}

/// Under the name of either version: grpcurl asks for one, older clients know only the other.
#[tokio::test]
async fn reflection_lists_the_services() {
    let change = |daemon: Daemon| daemon.reflect(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET);
    let service = Setup {
        change,
        ..Setup::default()
    }
    .start()
    .await;
    let url = format!("http://{}", service.grpc);
    let channel = tonic::transport::Endpoint::from_shared(url)
        .unwrap()
        .connect()
        .await
        .unwrap();
    macro_rules! listed {
        ($version:ident) => {{
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest,
                server_reflection_response::MessageResponse,
            };
            let request = ServerReflectionRequest {
                host: String::new(),
                message_request: Some(MessageRequest::ListServices(String::new())),
            };
            let mut answers = ServerReflectionClient::new(channel.clone())
                .server_reflection_info(futures::stream::once(async { request }))
                .await
                .unwrap()
                .into_inner();
            let answer = answers.message().await.unwrap().unwrap();
            let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
                panic!("{answer:?}");
            };
            let services = list.service.into_iter();
            services.map(|service| service.name).collect::<Vec<_>>()
        }};
    }
    for names in [listed!(v1), listed!(v1alpha)] {
        for expected in [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ] {
            assert!(names.iter().any(|name| name == expected), "{names:?}");
        }
    }
}
