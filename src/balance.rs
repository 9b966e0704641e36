//! Which of a route's targets gets a request: the one with fewest exchanges in progress on this worker, of those that
//! have not failed lately.
//!
//! A target that fails so many times in a row is left alone for a while; then one more failure is enough. When all are
//! out, all are tried: a proxy that refuses without asking helps nobody.

use crate::policy::routes::{Route, Routes};
use crate::time::{Millis, Now};

/// The target an exchange is with, and those it tried before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The route's number.
    pub route: u16,
    /// The target's place in the route.
    pub member: u8,
    /// A bit for each target that was tried, this one included.
    tried: u32,
}

/// What a worker knows of one target.
#[derive(Clone, Copy, Debug)]
struct Member {
    active: u32,
    failures: u32,
    out_until: Now,
}

/// What a worker knows of the targets of one route.
#[derive(Clone, Debug)]
struct Members {
    members: Box<[Member]>,
    /// Where to begin, so that targets that are alike take turns.
    next: usize,
}

/// What a worker knows of every route's targets.
#[derive(Clone, Debug, Default)]
pub struct Balance {
    routes: Vec<Members>,
}

impl Balance {
    /// Nothing is known of any target yet.
    pub fn new(routes: &Routes) -> Self {
        let member = Member { active: 0, failures: 0, out_until: Now(0) };
        let members = |size| Members { members: vec![member; size].into(), next: 0 };
        Self { routes: routes.sizes().map(members).collect() }
    }

    /// The target for an exchange on `route`, which then counts as one of its exchanges; `None` when there is none that
    /// `failed` has not tried.
    pub fn choose(&mut self, route: u16, failed: Option<Lead>, now: Now) -> Option<Lead> {
        let tried = failed.map_or(0, |lead| lead.tried);
        let Members { members, next } = &mut self.routes[usize::from(route)];
        let count = members.len();
        let untried = (0..count).map(|at| (*next + at) % count).filter(|at| tried & (1 << at) == 0);
        let rank = |at: &usize| (members[*at].out_until > now, members[*at].active);
        let at = untried.min_by_key(rank)?;
        *next = (at + 1) % count;
        members[at].active += 1;
        Some(Lead { route, member: at as u8, tried: tried | 1 << at })
    }

    fn member(&mut self, lead: Lead) -> &mut Member {
        &mut self.routes[usize::from(lead.route)].members[usize::from(lead.member)]
    }

    /// An exchange with the target is over.
    pub fn leave(&mut self, lead: Lead) {
        let member = self.member(lead);
        member.active = member.active.checked_sub(1).expect("who leaves has been chosen");
    }

    /// The target has answered.
    pub fn succeeded(&mut self, lead: Lead) {
        let member = self.member(lead);
        member.failures = 0;
        member.out_until = Now(0);
    }

    /// The target has failed; says whether that puts it out.
    pub fn failed(&mut self, lead: Lead, route: &Route, now: Now) -> bool {
        let several = self.routes[usize::from(lead.route)].members.len() > 1;
        let member = self.member(lead);
        member.failures = member.failures.saturating_add(1);
        let goes = several && member.failures >= route.fails_max && member.out_until <= now;
        if goes {
            member.out_until = now + route.retry.min(RETRY_MAX);
        }
        goes
    }

    /// Exchanges in progress: 0 when nobody is served.
    pub fn active(&self) -> u32 {
        self.routes.iter().flat_map(|route| &route.members).map(|member| member.active).sum()
    }
}

/// A time that is none would leave a target out for ever.
const RETRY_MAX: Millis = Millis::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Source;

    struct Three;

    impl Source for Three {
        fn text(&self, _key: &'static str) -> Option<&str> {
            None
        }
        fn indexed(&self, key: &'static str) -> Vec<(usize, &str)> {
            let text = match key.rsplit_once('.').map(|(_, name)| name) {
                Some("path") => "/",
                Some("target") => "http://a,http://b,http://c",
                Some("max-fails") => "2",
                Some("retry") => "10",
                _ => return Vec::new(),
            };
            vec![(0, text)]
        }
    }

    #[test]
    fn the_least_busy_one_is_chosen_and_failed_ones_rest() {
        let routes = Routes::read(&Three, "m").expect("a route");
        let route = routes.at(0);
        let mut balance = Balance::new(&routes);
        let seconds = |seconds: u64| Now(seconds * 1_000_000);
        let leads: Vec<Lead> = (0..6).filter_map(|_| balance.choose(0, None, seconds(0))).collect();
        assert_eq!(leads.iter().map(|lead| lead.member).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        balance.leave(leads[1]);
        assert_eq!(balance.choose(0, None, seconds(0)).map(|lead| lead.member), Some(1));

        assert!(!balance.failed(leads[0], route, seconds(0)));
        assert!(balance.failed(leads[0], route, seconds(0)), "the second failure puts it out");
        balance.leave(leads[0]);
        balance.leave(leads[3]);
        let chosen = |balance: &mut Balance, at: Now| {
            let lead = balance.choose(0, None, at).expect("a target");
            balance.leave(lead);
            lead.member
        };
        assert_ne!(chosen(&mut balance, seconds(9)), 0, "it rests, though nothing is in progress there");
        assert_eq!(chosen(&mut balance, seconds(10)), 0, "its time is over");
        assert!(balance.failed(leads[0], route, seconds(10)), "one more failure is enough");
        assert_ne!(chosen(&mut balance, seconds(11)), 0);
        balance.succeeded(leads[0]);
        assert_eq!(chosen(&mut balance, seconds(11)), 0);

        for lead in &leads[..3] {
            balance.failed(*lead, route, seconds(20));
            balance.failed(*lead, route, seconds(20));
        }
        let first = balance.choose(0, None, seconds(21)).expect("all are out, so all are tried");
        let second = balance.choose(0, Some(first), seconds(21)).expect("another");
        let third = balance.choose(0, Some(second), seconds(21)).expect("the last");
        let mut members = [first.member, second.member, third.member];
        members.sort_unstable();
        assert_eq!(members, [0, 1, 2]);
        assert_eq!(balance.choose(0, Some(third), seconds(21)), None);
    }
}
