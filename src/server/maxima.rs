//! What the machine allows: every maximum is computed at start and printed, so that refusal happens at the door and
//! not in the middle of an exchange.

use crate::buf::{LARGE, PER_EXCHANGE, SMALL};
use crate::engine::Limits;
use crate::permits::{PER_ROUTE_MAX, TOTAL_MAX};
use crate::pipe::PIPES_MAX;
use crate::setting::{Setting, Source};
use crate::value;
use crate::worker::REJECTS_MAX;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;

/// Worker threads.
pub const WORKERS: Setting<usize> = Setting::new(
    "server.workers",
    "0",
    |text| value::whole(text, 0..=1024).map(|n| n as usize),
    "Worker threads, each with its own poll loop; 0: one for each core.",
);

/// Client connections.
pub const CLIENTS_MAX: Setting<usize> = Setting::new(
    "server.tomcat.max-connections",
    "8192",
    |text| value::whole(text, 1..=10_000_000).map(|n| n as usize),
    "Most client connections at once, all workers together, as far as the limit of open files allows; further ones \
     are answered 503.",
);

/// Memory for buffers.
pub const BUFFER_BYTES_MAX: Setting<Option<u64>> = Setting::new(
    "proxy.buffers.max",
    "",
    |text| if text.trim().is_empty() { Ok(None) } else { value::size(text).map(Some) },
    "Most memory for buffers (Spring data size); unset: a quarter of the machine's or container's memory. Only what \
     is in use is allocated.",
);

/// Descriptors that are neither clients' nor upstreams': standard streams, log, resolver, pipes.
const FILES_RESERVED: usize = 64;
/// Descriptors of one worker: poll, listeners, mailbox, reserve, and clients that are turned away.
const FILES_PER_WORKER: usize = 8 + REJECTS_MAX;

/// One in so many files may be an end of a pipe.
const PIPES_SHARE: usize = 16;

/// Every maximum of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maxima {
    /// Worker threads.
    pub workers: usize,
    /// Client connections of all workers.
    pub clients: usize,
    /// Upstream connections to one target.
    pub per_route: usize,
    /// Upstream connections in all.
    pub upstreams: usize,
    /// Open files.
    pub files: usize,
    /// What one worker may hold.
    pub limits: Limits,
}

impl Maxima {
    /// Computes every maximum from the settings and the machine.
    ///
    /// # Errors
    /// A sentence when a setting and the machine cannot be brought together.
    pub fn compute(source: &impl Source, machine: &Machine) -> Result<Self, String> {
        let workers = match source.value(&WORKERS)? {
            0 => machine.cores,
            n => n,
        };
        let fixed = FILES_RESERVED + workers * FILES_PER_WORKER;
        let mut free = machine.files.saturating_sub(fixed);
        if free < 4 * workers {
            return Err(format!(
                "the limit of {} open files is too low for {workers} workers; raise it (ulimit -n) to at least {}",
                machine.files,
                fixed + 4 * workers
            ));
        }
        let pipes_max = (free / PIPES_SHARE / 2 / workers).min(PIPES_MAX);
        free -= 2 * pipes_max * workers;
        let clients = source.value(&CLIENTS_MAX)?.clamp(workers, free / 2);
        let clients_each = clients.div_ceil(workers);
        let upstreams = source.value(&TOTAL_MAX)?.unwrap_or(usize::MAX).min(free - clients).max(1);
        let bytes = source.value(&BUFFER_BYTES_MAX)?.unwrap_or(machine.memory / 4);
        let limits = Limits { pipes_max, ..limits(bytes as usize / workers, clients_each)? };
        let per_route = source.value(&PER_ROUTE_MAX)?.min(upstreams);
        Ok(Self {
            workers,
            clients: clients_each * workers,
            per_route,
            upstreams,
            files: machine.files,
            limits,
        })
    }
}

/// Shares `bytes` of one worker: three quarters for what exchanges are promised, the rest for large buffers.
fn limits(bytes: usize, clients_max: usize) -> Result<Limits, String> {
    let promised = bytes / 4 * 3 / (PER_EXCHANGE * SMALL);
    let exchanges_max = promised.min(clients_max + REJECTS_MAX);
    let large_max =
        (bytes.saturating_sub(exchanges_max * PER_EXCHANGE * SMALL) / LARGE).min(2 * exchanges_max);
    if exchanges_max == 0 || large_max < 2 {
        return Err(format!(
            "proxy.buffers.max leaves a worker {bytes} bytes, too few for one exchange; give it at least 1MB for each \
             worker"
        ));
    }
    Ok(Limits { clients_max, exchanges_max, large_max, pipes_max: 0 })
}

/// What the machine gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: usize,
    /// Files it may open.
    pub files: usize,
    /// Bytes of memory it may use.
    pub memory: u64,
}

impl Machine {
    /// Looks at the machine, and raises the limit of open files as far as it goes.
    pub fn look() -> Self {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        // Where raising is not allowed the present limit counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20).min(1 << 24) as usize;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cores, files, memory: memory() }
    }
}

/// The machine's memory, or the container's where that is less.
fn memory() -> u64 {
    let installed = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let container = limits.iter().filter_map(|path| fs::read_to_string(path).ok()?.trim().parse().ok()).min();
    installed.unwrap_or(1 << 30).min(container.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Defaults;

    #[test]
    fn files_are_shared_between_clients_and_upstreams() {
        let machine = Machine { cores: 2, files: 20_000, memory: 8 << 30 };
        let maxima = Maxima::compute(&Defaults, &machine).expect("computes");
        assert_eq!((maxima.workers, maxima.clients, maxima.per_route), (2, 8192, 200));
        assert_eq!(maxima.limits.pipes_max, PIPES_MAX);
        let files = FILES_RESERVED + 2 * (FILES_PER_WORKER + 2 * PIPES_MAX);
        assert_eq!(maxima.upstreams, 20_000 - files - 8192);
        assert_eq!(maxima.limits.exchanges_max, 4096 + REJECTS_MAX);
        assert!(maxima.limits.buffer_bytes_max() <= 1 << 30);
    }

    #[test]
    fn a_small_machine_serves_fewer() {
        let machine = Machine { cores: 1, files: 1024, memory: 64 << 20 };
        let maxima = Maxima::compute(&Defaults, &machine).expect("computes");
        assert_eq!(maxima.limits.pipes_max, 27);
        assert_eq!(maxima.clients, (1024 - FILES_RESERVED - FILES_PER_WORKER - 2 * 27) / 2);
        assert!(maxima.limits.buffer_bytes_max() <= 16 << 20);
    }

    #[test]
    fn too_few_files_or_bytes_are_named() {
        let files = Machine { cores: 1, files: 64, memory: 1 << 30 };
        assert_eq!(
            Maxima::compute(&Defaults, &files).expect_err("too few"),
            "the limit of 64 open files is too low for 1 workers; raise it (ulimit -n) to at least 140"
        );
        let memory = Machine { cores: 1, files: 1024, memory: 4096 };
        assert!(
            Maxima::compute(&Defaults, &memory).expect_err("too few").starts_with("proxy.buffers.max leaves")
        );
    }
}
