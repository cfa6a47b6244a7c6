//! The space quota: a member that finds it used up raises an alarm, and with it every member refuses writes.

use chainfire_engine::EtcdError;
use photon_proto::{
    etcdserverpb::{AlarmRequest, AlarmType, alarm_request::AlarmAction},
    photon::chainfire::command::v1::command::Op,
};

use super::{App, Caller};

impl App {
    /// Whether the space alarm is raised.
    pub fn out_of_space(&self) -> bool {
        let alarms = self.engine.alarms();
        alarms
            .iter()
            .any(|raised| raised.alarm() == AlarmType::Nospace)
    }

    /// Refuses a write when there is no space.
    ///
    /// # Errors
    /// `mvcc: database space exceeded`.
    pub(super) async fn require_space(&self) -> Result<(), EtcdError> {
        if self.out_of_space() {
            return Err(EtcdError::NO_SPACE);
        }
        if !self.engine.over_quota() {
            return Ok(());
        }
        let raise = Op::Alarm(AlarmRequest {
            action: AlarmAction::Activate as i32,
            member_id: self.config.node_id,
            alarm: AlarmType::Nospace as i32,
        });
        match self.propose(&Caller::SYSTEM, raise).await {
            Ok(_) => tracing::warn!(
                quota_bytes = self.engine.quota_bytes(),
                "the space quota is used up: delete, compact, then `etcdctl alarm disarm`"
            ),
            Err(error) => tracing::warn!(%error, "could not raise the space alarm"),
        }
        Err(EtcdError::NO_SPACE)
    }
}
