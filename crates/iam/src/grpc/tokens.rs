//! `photon.iam.v1.Tokens`.

use photon_authz::{PrincipalKind, PrincipalRef, Scope};
use photon_core::Error;
use photon_proto::photon::iam::v1::{
    IssueTokenRequest, IssueTokenResponse, RevokeTokenRequest, RevokeTokenResponse,
    VerifyTokenRequest, VerifyTokenResponse, issue_token_request, revoke_token_request,
    tokens_server::Tokens,
};
use photon_server::grpc::status;
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{invalid, maybe_text, name, principal, shown_second},
};
use crate::{
    credential::Secret,
    login::Presented,
    token::{Ask, Issued, Proof, What, service},
};

/// A token that is asked for.
fn parsed(asked: IssueTokenRequest) -> Result<Ask, Error> {
    let kind = match asked.principal_type.as_str() {
        "" => PrincipalKind::User,
        kind => kind
            .parse()
            .map_err(|error| invalid("principal_type", error))?,
    };
    Ok(Ask {
        principal: PrincipalRef::new(kind, name("principal_id", &asked.principal_id)?),
        scope: name("scope_id", &asked.scope_id)?,
        ttl_seconds: (asked.ttl_seconds != 0).then_some(asked.ttl_seconds),
        proof: asked.proof.map(|proof| match proof {
            issue_token_request::Proof::Password(password) => {
                Proof::Password(Secret::from(password))
            }
            issue_token_request::Proof::ApiKey(key) => Proof::ApiKey(Secret::from(key)),
        }),
    })
}

/// What is to be revoked.
fn meant(asked: RevokeTokenRequest) -> Result<What, Error> {
    match asked.what {
        Some(revoke_token_request::What::Token(token)) if !token.is_empty() => {
            Ok(What::Token(Secret::from(token)))
        }
        Some(revoke_token_request::What::Principal(text)) => {
            let principal = principal("principal", &text)?;
            if principal.kind == PrincipalKind::Group {
                let message = "principal must not be a group: groups have no tokens";
                return Err(Error::validation("principal", "enum", message));
            }
            Ok(What::Principal(principal))
        }
        Some(revoke_token_request::What::ProjectId(id)) => {
            Ok(What::Project(name("project_id", &id)?))
        }
        None | Some(revoke_token_request::What::Token(_)) => Err(Error::required("token")),
    }
}

#[tonic::async_trait]
impl Tokens for Doors {
    /// For everybody: what is presented is the proof, and no caller is needed.
    async fn issue(
        &self,
        request: Request<IssueTokenRequest>,
    ) -> Result<Response<IssueTokenResponse>, Status> {
        let (metadata, extensions, asked) = request.into_parts();
        let presented = Presented::of(&metadata.into_headers(), &extensions);
        let issued = async { service::issue(&self.app, &presented, parsed(asked)?).await };
        let Issued { token, claims } = issued.await.map_err(|error| status(&error))?;
        Ok(Response::new(IssueTokenResponse {
            token: token.expose().to_owned(),
            expires_at: Some(shown_second(claims.exp)),
            token_type: "Bearer".to_owned(),
        }))
    }

    async fn verify(
        &self,
        request: Request<VerifyTokenRequest>,
    ) -> Result<Response<VerifyTokenResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            if asked.token.is_empty() {
                return Err(Error::required("token"));
            }
            let Some(claims) = service::verify(&app, &ctx, &asked.token).await? else {
                return Ok(VerifyTokenResponse::default());
            };
            let scope = claims.limit().unwrap_or(Scope::System);
            Ok(VerifyTokenResponse {
                valid: true,
                principal_id: claims.sub.to_string(),
                principal_type: claims.ptype.to_string(),
                scope_id: claims.scope_id.clone(),
                scope_type: scope.kind().to_owned(),
                org_id: maybe_text(claims.org_id.as_ref()),
                issued_at: Some(shown_second(claims.iat)),
                expires_at: Some(shown_second(claims.exp)),
                token_id: claims.jti.clone(),
            })
        })
        .await
    }

    async fn revoke(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let done = service::revoke(&app, &ctx, meant(asked)?).await?;
            Ok(RevokeTokenResponse {
                revoked: done.revoked,
                revision: done.revision.unwrap_or_default(),
            })
        })
        .await
    }
}
