//! What the shell does for the workers: their mail and their configuration.

use super::keys::Contexts;
use super::ledger;
use super::script::Script;
use apim_proxy::engine::{Config, Limits};
use apim_proxy::permits::{Grant, Herald, WorkerId};
use apim_proxy::setting::Source;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What the permits tell a worker.
pub enum Mail {
    Granted(Grant),
    YieldIdle,
}

#[derive(Clone)]
pub struct Mailboxes(Arc<Vec<Mutex<VecDeque<Mail>>>>);

impl Mailboxes {
    pub fn new(workers: usize) -> Self {
        Self(Arc::new((0..workers).map(|_| Mutex::default()).collect()))
    }

    pub fn put(&self, worker: WorkerId, mail: Mail) {
        self.0[worker].lock().expect("no panic under the lock").push_back(mail);
    }

    pub fn take(&self, worker: WorkerId) -> Option<Mail> {
        self.0[worker].lock().expect("no panic under the lock").pop_front()
    }

    pub fn is_empty(&self, worker: WorkerId) -> bool {
        self.0[worker].lock().expect("no panic under the lock").is_empty()
    }
}

impl Herald for Mailboxes {
    fn granted(&self, worker: WorkerId, grant: Grant) {
        self.put(worker, Mail::Granted(grant));
    }

    fn wanted(&self, asking: WorkerId) {
        for worker in (0..self.0.len()).filter(|worker| *worker != asking) {
            self.put(worker, Mail::YieldIdle);
        }
    }
}

/// Settings that differ from the defaults.
struct Settings(Vec<(&'static str, String)>);

impl Source for Settings {
    fn text(&self, key: &'static str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, text)| text.as_str())
    }
}

/// The configuration of a script, before and after its reload.
pub fn config(script: &Script, contexts: &Contexts, reloaded: bool) -> Arc<Config> {
    // Absolute-form is off, so that bait reaches nobody.
    let mut settings = vec![
        ("proxy.forward.forms", "header,connect".to_owned()),
        ("proxy.connect.ports", "8000-8999".to_owned()),
    ];
    if let Some(max) = script.requests_max {
        settings.push(("server.tomcat.max-keep-alive-requests", max.to_string()));
    }
    if reloaded {
        settings.push(("proxy.header.filter", "host,x-target-host,X-SECRET".into()));
    }
    let splice_min = script.pipes.map_or(0, |pipes| pipes.body_bytes_min);
    settings.push(("proxy.splice.min", format!("{splice_min}B")));
    let limits = Limits {
        clients_max: script.clients_max,
        exchanges_max: script.exchanges_max,
        large_max: script.large_max,
        pipes_max: script.pipes.map_or(0, |pipes| pipes.max),
    };
    let mut config = Config::from(&Settings(settings), limits).expect("the settings are in order");
    config.listeners[0].inbound.clone_from(&contexts.inbound);
    config.targets = contexts.targets[usize::from(reloaded)].clone();
    config.handshakes_max = script.handshakes_max;
    config.recording = Arc::new(ledger::recording());
    Arc::new(config)
}
