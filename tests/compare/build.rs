//! The client and the server of the only gRPC service.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let method = |name: &str, route: &str| {
        Method::builder()
            .name(name)
            .route_name(route)
            .input_type("crate::grpc::Payload")
            .output_type("crate::grpc::Payload")
            .codec_path("tonic_prost::ProstCodec")
    };
    let service = Service::builder()
        .package("fs9")
        .name("Compare")
        .method(method("echo", "Echo").build())
        .method(method("take", "Take").client_streaming().build())
        .build();
    Builder::new().compile(&[service]);
}
