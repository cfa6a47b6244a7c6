//! `photon.credit.v1.Statements`.

use photon_proto::photon::credit::v1::{self as pb, statements_server::Statements};
use tonic::{Request, Response, Status};

use super::{Statement, service};
use crate::{
    grpc::{
        Doors,
        fields::{given, name, shown_time, timestamp},
    },
    refusal::shown,
    transaction::Transaction,
};

impl From<Statement> for pb::Statement {
    fn from(statement: Statement) -> Self {
        let transactions = statement
            .entries
            .iter()
            .filter_map(|entry| Transaction::of(entry, statement.shard));
        Self {
            transactions: transactions.map(Into::into).collect(),
            project_id: statement.wallet.project.into(),
            org_id: statement.wallet.org.into(),
            currency: statement.wallet.figures.currency.code().to_owned(),
            from: Some(shown_time(shown(statement.period.from))),
            to: Some(shown_time(shown(statement.period.to))),
            opening: statement.opening,
            closing: statement.closing,
        }
    }
}

#[tonic::async_trait]
impl Statements for Doors {
    async fn get(
        &self,
        request: Request<pb::GetStatementRequest>,
    ) -> Result<Response<pb::Statement>, Status> {
        self.read(request, |app, ctx, asked| async move {
            let project = name("project_id", &asked.project_id)?;
            let (from, to) = (timestamp("from", asked.from)?, timestamp("to", asked.to)?);
            let period = service::period(given(&asked.month), from, to)?;
            Ok(service::get(&app, &ctx, &project, period).await?.into())
        })
        .await
    }
}
