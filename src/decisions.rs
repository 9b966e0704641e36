//! What the egress policy denied, or would have denied: counted each time, told the log once and then once a minute for
//! each group, target and reason.
//!
//! ```text
//! egress decision=deny mode=report client=10.1.2.3 group=- target=api.bank.example:443 address=- times=1 rule=proxy.target.default=deny
//! ```
//! `apim-proxy learn` reads these lines: names and values have no blanks, but for the rule, which is last.

use crate::http::target::Target;
use crate::policy::egress::{Egress, Ground, Mode};
use crate::policy::groups::GroupNumber;
use crate::stats::{Counter, Stats};
use crate::time::Now;
use crate::told::Told;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::IpAddr;

/// How long after a line the same decision is only counted, in microseconds.
const SILENCE: u64 = 60_000_000;
/// Decisions remembered; what exceeds that is forgotten at once, and told anew within the lines a second there may be.
const DECISIONS_MAX: usize = 4096;

/// What was decided about whom.
#[derive(Clone, Copy, Debug)]
pub struct Decision<'a> {
    /// Who asked.
    pub client: IpAddr,
    /// Its group.
    pub group: GroupNumber,
    /// For what.
    pub target: &'a Target,
    /// The address about to be dialled; `None` when the name said enough.
    pub address: Option<IpAddr>,
    /// Why.
    pub ground: Ground,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    told: Now,
    /// How often since.
    untold: u64,
}

/// What the log was told of a worker's decisions.
#[derive(Debug)]
pub struct Decisions {
    /// By a hash of what a line is about: two that share one share their lines, which is all that can happen.
    seen: HashMap<u64, Seen>,
    hasher: RandomState,
    told: Told,
}

impl Default for Decisions {
    fn default() -> Self {
        let told = Told::of("decisions of the egress policy");
        Self { seen: HashMap::new(), hasher: RandomState::new(), told }
    }
}

impl Decisions {
    /// Counts and tells a decision; says whether the target is really denied.
    pub fn denies(&mut self, egress: &Egress, decision: &Decision<'_>, now: Now, stats: &Stats) -> bool {
        let mode = egress.mode_of(decision.ground);
        stats.count(match mode {
            Mode::Enforce => Counter::TargetsDenied,
            Mode::Report => Counter::TargetsReported,
        });
        if let Some(times) = self.times_to_tell(decision, now) {
            tell(egress, mode, decision, times);
        }
        mode == Mode::Enforce
    }

    /// How often this was decided since it was told last; `None` while it is not to be told.
    fn times_to_tell(&mut self, decision: &Decision<'_>, now: Now) -> Option<u64> {
        let Decision { group, target, ground, .. } = decision;
        let about = self.hasher.hash_one((group, &target.host, target.port, ground));
        if let Some(seen) = self.seen.get_mut(&about) {
            seen.untold += 1;
            if now.micros_since(seen.told) < SILENCE || !self.told.may_tell(now) {
                return None;
            }
            let times = seen.untold;
            *seen = Seen { told: now, untold: 0 };
            return Some(times);
        }
        if !self.told.may_tell(now) {
            return None;
        }
        if self.seen.len() == DECISIONS_MAX {
            self.seen.clear();
        }
        self.seen.insert(about, Seen { told: now, untold: 0 });
        Some(1)
    }
}

fn tell(egress: &Egress, mode: Mode, decision: &Decision<'_>, times: u64) {
    let Decision { client, group, target, address, ground } = *decision;
    let host = target.authority.strip_suffix(&format!(":{}", target.port)).unwrap_or(&target.authority);
    let address = address.map_or_else(|| "-".to_owned(), |address| address.to_string());
    log::warn!(
        target: "apim_proxy::egress",
        "egress decision=deny mode={} client={client} group={} target={host}:{} address={address} times={times} rule={}",
        mode.name(), egress.groups.name(group), target.port, egress.rule(group, ground)
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::target::Scheme;

    #[test]
    fn the_same_decision_is_told_once_a_minute_with_its_number() {
        let mut decisions = Decisions::default();
        let target = Target::parse(b"a.test:81", Scheme::Http).expect("a target");
        let mut times = |ground, now| {
            let client = IpAddr::from([10, 0, 0, 1]);
            let decision = Decision { client, group: 0, target: &target, address: None, ground };
            decisions.times_to_tell(&decision, Now(now))
        };
        assert_eq!(times(Ground::Default, 1_000_000), Some(1));
        assert_eq!(times(Ground::Default, 2_000_000), None);
        assert_eq!(times(Ground::Deny(0), 2_000_000), Some(1));
        assert_eq!(times(Ground::Default, 60_999_999), None);
        assert_eq!(times(Ground::Default, 61_000_000), Some(3));
        assert_eq!(times(Ground::Default, 61_000_001), None);
    }

    #[test]
    fn a_flood_of_names_is_no_flood_of_lines_and_none_is_forgotten() {
        let mut decisions = Decisions::default();
        let mut told = |second: u64| {
            let asked = (0..100).filter(|n| {
                let target = Target::parse(format!("h{n}").as_bytes(), Scheme::Http).expect("a target");
                let decision = Decision {
                    client: IpAddr::from([10, 0, 0, 1]),
                    group: 0,
                    target: &target,
                    address: None,
                    ground: Ground::Default,
                };
                decisions.times_to_tell(&decision, Now(second * 1_000_000)).is_some()
            });
            asked.count()
        };
        let lines: Vec<usize> = (1..=12).map(&mut told).collect();
        assert_eq!(lines, [10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 0, 0]);
        assert!(decisions.seen.len() <= DECISIONS_MAX);
    }
}
