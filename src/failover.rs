//! A target of a route that cannot be reached makes way for the next, as long as nothing of the request was sent; and
//! what becomes of an exchange tells for or against its target.

use crate::balance::Lead;
use crate::buf::{BufPool, SMALL};
use crate::exchange::UpstreamEvent;
use crate::fault::What;
use crate::http::reverse;
use crate::http::target::Scheme;
use crate::io::Io;
use crate::key::Key;
use crate::pair::Client;
use crate::policy::routes::Route;
use crate::pool::{Asker, Destination};
use crate::stats::Counter;
use crate::worker::Worker;
use std::sync::Arc;

impl<I: Io> Worker<I> {
    /// A target could not be reached: the next of its route is asked, if there is one. The caller drives the pair.
    pub(crate) fn fail_over(&mut self, key: Key, what: What) -> bool {
        let Some(client) = self.clients.at_mut(key) else { return false };
        let Some(lead) = client.exchange.lead.filter(|_| what.unreached() && !client.exchange.answered())
        else {
            return false;
        };
        let config = Arc::clone(&self.config);
        let route = config.routes.at(lead.route);
        let Some(next) = self.balance.choose(lead.route, Some(lead), self.now) else { return false };
        let Ok(destination) =
            self.pool.destination(route.target(next.member), Scheme::Http, Asker::Route, &config)
        else {
            self.balance.leave(next);
            return false;
        };
        if !readdress(&mut self.bufs, client, route, &destination) {
            self.balance.leave(next);
            return false;
        }
        self.pool.enter(destination.origin);
        let exchange = &mut client.exchange;
        exchange.lead = Some(next);
        exchange.permit = None;
        exchange.dial = None;
        exchange.upstream_on(UpstreamEvent::Reroute);
        client.since = self.now;
        if let Some(old) = exchange.destination.replace(destination) {
            log::warn!(
                target: "apim_proxy::exchange",
                "{}: {}; the next target of the route is asked; client {}; target {}",
                what.code(), what.sentence(), client.address, old.route
            );
            self.pool.leave(old.origin);
        }
        self.stats.count(Counter::Failovers);
        self.part_with(lead, Some(what));
        true
    }

    /// The exchange with the target of `lead` is over, `fault` being what was wrong with it.
    pub(crate) fn part_with(&mut self, lead: Lead, fault: Option<What>) {
        self.balance.leave(lead);
        let route = self.config.routes.at(lead.route);
        match fault {
            None => self.balance.succeeded(lead),
            Some(what) if what.discredits() => {
                if self.balance.failed(lead, route, self.now) {
                    let target = String::from_utf8_lossy(route.target(lead.member));
                    log::warn!(
                        "target {target} is left alone for {} s: {}",
                        route.retry.0 / 1000,
                        what.code()
                    );
                }
            }
            Some(_) => {}
        }
    }
}

/// The head that was written for another target names this one. Says whether there was room.
fn readdress<S>(
    bufs: &mut BufPool,
    client: &mut Client<S>,
    route: &Route,
    destination: &Destination,
) -> bool {
    if route.preserve_host && !client.host.is_empty() {
        return true;
    }
    let Some(old) = client.exchange.forward.take() else { return false };
    let host = destination.target.authority.as_bytes();
    let mut out = bufs.lease_sized(old.passed().len() > SMALL - 1024);
    let written = reverse::readdressed(old.passed(), host, out.free_mut());
    out.written(written.unwrap_or(0));
    let (kept, spare) = if written.is_some() { (out, old) } else { (old, out) };
    client.exchange.forward = Some(kept);
    bufs.give_back(spare);
    written.is_some()
}
