//! One number out of a server's `/metrics`: how often it has called fsync.

use super::http;

/// The sum of all counters whose name says fsync, from `http://ADDRESS/metrics`; `None` when there are none.
///
/// etcd: `etcd_disk_wal_fsync_duration_seconds_count` and the commits of its backend, which sync too.
///
/// # Errors
/// When the server does not answer.
pub(crate) async fn fsyncs(address: &str) -> anyhow::Result<Option<f64>> {
    Ok(sum(&http::get(address, "/metrics").await?.body))
}

fn sum(page: &str) -> Option<f64> {
    page.lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?;
            let counts = name.contains("fsync")
                && (name.ends_with("_count") || name.ends_with("_total"))
                || name == "etcd_disk_backend_commit_duration_seconds_count";
            counts.then(|| value.parse::<f64>().ok())?
        })
        .reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn counters_named_fsync_are_added() {
        let page = "# HELP x\netcd_disk_wal_fsync_duration_seconds_sum 3\n\
                    etcd_disk_wal_fsync_duration_seconds_count 5\n\
                    etcd_disk_backend_commit_duration_seconds_count 2\n\
                    photon_raft_log_fsync_seconds_count{group=\"a\"} 1\nother_count 9\n";
        assert_eq!(sum(page), Some(8.0));
        assert_eq!(sum("other_total 1\n"), None);
    }
}
