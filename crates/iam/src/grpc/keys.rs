//! `photon.iam.v1.Keys`.

use jiff::Timestamp;
use photon_authz::PublicKey;
use photon_core::Name;
use photon_proto::photon::iam::v1::{
    EndKeyRequest, ListKeysRequest, ListKeysResponse, RotateKeyRequest, SigningKey,
    keys_server::Keys,
};
use tonic::{Request, Response, Status};

use super::{Doors, fields::shown_time};
use crate::signing::{KeyState, service};

fn shown((key, state): (PublicKey, KeyState)) -> SigningKey {
    SigningKey {
        kid: key.kid,
        jwk: key.jwk.to_string(),
        not_before: Some(shown_time(key.not_before)),
        not_after: (key.not_after < Timestamp::MAX).then(|| shown_time(key.not_after)),
        issuer: key.issuer,
        dev: key.dev,
        state: state.as_str().to_owned(),
    }
}

#[tonic::async_trait]
impl Keys for Doors {
    async fn list(
        &self,
        request: Request<ListKeysRequest>,
    ) -> Result<Response<ListKeysResponse>, Status> {
        self.serve(request, |app, ctx, _asked| async move {
            let keys = service::list(&app, &ctx).await?;
            Ok(ListKeysResponse {
                keys: keys.into_iter().map(shown).collect(),
            })
        })
        .await
    }

    async fn rotate(
        &self,
        request: Request<RotateKeyRequest>,
    ) -> Result<Response<SigningKey>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            Ok(shown(
                service::rotate(&app, &ctx, asked.signs_after_seconds).await?,
            ))
        })
        .await
    }

    async fn end(&self, request: Request<EndKeyRequest>) -> Result<Response<SigningKey>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let kid = Name::parse_field("kid", &asked.kid)?;
            Ok(shown(service::end(&app, &ctx, &kid).await?))
        })
        .await
    }
}
