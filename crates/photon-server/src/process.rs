//! What the kernel says about this process, read at each scrape.

use std::{fs, time::SystemTime};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

#[derive(Debug)]
pub(crate) struct ProcessCollector {
    started: f64,
}

impl ProcessCollector {
    pub(crate) fn new() -> Self {
        let started = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        Self { started }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, value: f64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)
        };
        gauge(
            "process_start_time_seconds",
            "Start of the process, Unix time",
            self.started,
        )?;
        if let Some(bytes) = status_bytes("VmRSS:") {
            gauge("process_resident_memory_bytes", "Resident memory", bytes)?;
        }
        if let Some(bytes) = status_bytes("VmSize:") {
            gauge("process_virtual_memory_bytes", "Virtual memory", bytes)?;
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            gauge(
                "process_open_fds",
                "Open file descriptors",
                entries.count() as f64,
            )?;
        }
        if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
            gauge(
                "process_max_fds",
                "Limit of open file descriptors",
                soft as f64,
            )?;
        }
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let seconds =
                |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
            let used = seconds(usage.user_time()) + seconds(usage.system_time());
            let descriptor = encoder.encode_descriptor(
                "process_cpu_seconds",
                "CPU time, user and system",
                None,
                MetricType::Counter,
            )?;
            ConstCounter::new(used).encode(descriptor)?;
        }
        Ok(())
    }
}

/// A `kB` line of `/proc/self/status`, in bytes.
fn status_bytes(key: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kilobytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024.0)
}
