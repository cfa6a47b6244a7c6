//! `photon.iam.v1.Credentials`.

use photon_core::Error;
use photon_proto::photon::iam::v1::{
    self as pb, CreateCredentialRequest, CreateCredentialResponse, DeleteCredentialRequest,
    DeleteCredentialResponse, GetCredentialRequest, ListCredentialsRequest,
    ListCredentialsResponse, UpdateCredentialRequest, credentials_server::Credentials,
};
use tonic::{Request, Response, Status};

use super::{
    Doors,
    fields::{
        IntoMessage, ask, generated_id, given, maybe_label, maybe_principal, new_end, page,
        shown_time, time,
    },
};
use crate::{
    credential::{CredentialChange, NewCredential, NewMaterial, Secret, Shown, service},
    versioned::Versioned,
};

impl IntoMessage for Versioned<Shown> {
    type Message = pb::Credential;

    fn into_message(self) -> pb::Credential {
        let Versioned { value, revision } = self;
        let Shown {
            credential,
            last_used_at,
        } = value;
        let material = &credential.material;
        pb::Credential {
            id: credential.id.to_string(),
            kind: material.kind().to_owned(),
            fingerprint: material.fingerprint().unwrap_or_default().to_owned(),
            public_key: material.public_key().unwrap_or_default().to_owned(),
            principal: credential.principal.into(),
            label: credential.label,
            disabled: credential.disabled,
            created_at: Some(shown_time(credential.created_at)),
            created_by: credential.created_by,
            expires_at: credential.expires_at.map(shown_time),
            last_used_at: last_used_at.map(shown_time),
            revision,
        }
    }
}

/// A credential to be made.
fn parsed(asked: CreateCredentialRequest) -> Result<NewCredential, Error> {
    if asked.kind.is_empty() {
        return Err(Error::required("kind"));
    }
    let filled = |text: String| (!text.is_empty()).then_some(text);
    let secret = |text: String| filled(text).map(Secret::from);
    Ok(NewCredential {
        principal: maybe_principal("principal", &asked.principal)?,
        material: NewMaterial::of(
            &asked.kind,
            secret(asked.password),
            filled(asked.certificate),
            filled(asked.public_key),
        )?,
        label: maybe_label("label", given(&asked.label).map(str::to_owned))?,
        expires_at: time("expires_at", asked.expires_at)?,
        current_password: secret(asked.current_password),
    })
}

#[tonic::async_trait]
impl Credentials for Doors {
    async fn create(
        &self,
        request: Request<CreateCredentialRequest>,
    ) -> Result<Response<CreateCredentialResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let made = service::create(&app, &ctx, parsed(asked)?).await?;
            let secret = made.secret.as_ref().map(Secret::expose);
            Ok(CreateCredentialResponse {
                secret: secret.unwrap_or_default().to_owned(),
                credential: Some(made.shown.into_message()),
            })
        })
        .await
    }

    async fn get(
        &self,
        request: Request<GetCredentialRequest>,
    ) -> Result<Response<pb::Credential>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("credential", &asked.id)?;
            Ok(service::get(&app, &ctx, id).await?.into_message())
        })
        .await
    }

    async fn list(
        &self,
        request: Request<ListCredentialsRequest>,
    ) -> Result<Response<ListCredentialsResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let whose = maybe_principal("principal", &asked.principal)?;
            let ask = ask(asked.limit, &asked.page_token)?;
            let (credentials, next_page_token) =
                page(service::list(&app, &ctx, whose.as_ref(), &ask).await?);
            Ok(ListCredentialsResponse {
                credentials,
                next_page_token,
            })
        })
        .await
    }

    async fn update(
        &self,
        request: Request<UpdateCredentialRequest>,
    ) -> Result<Response<pb::Credential>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("credential", &asked.id)?;
            let change = CredentialChange {
                label: maybe_label("label", asked.label)?,
                disabled: asked.disabled,
                expires_at: new_end(asked.expires_at, asked.never_expires)?,
            };
            let done = service::update(&app, &ctx, id, &change, asked.revision).await?;
            Ok(done.into_message())
        })
        .await
    }

    async fn delete(
        &self,
        request: Request<DeleteCredentialRequest>,
    ) -> Result<Response<DeleteCredentialResponse>, Status> {
        self.serve(request, |app, ctx, asked| async move {
            let id = generated_id("credential", &asked.id)?;
            let revision = service::delete(&app, &ctx, id, asked.revision).await?;
            Ok(DeleteCredentialResponse { revision })
        })
        .await
    }
}
