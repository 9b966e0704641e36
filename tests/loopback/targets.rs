//! Limits of single targets (`proxy.targets[N]`): those of an entry count for its target and for no other.

use crate::origin::Origin;
use crate::process::{Proxy, until};
use crate::raw::Client;

#[test]
fn an_entry_has_its_own_limit_of_connections() {
    let (narrow, wide) = (Origin::start(), Origin::start());
    let proxy = Proxy::start(&[
        "server.workers=1",
        &format!("proxy.targets[0].match={}", narrow.address),
        "proxy.targets[0].max-connections=1",
    ]);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(proxy.address)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        let origin = if at < 2 { &narrow } else { &wide };
        client.request("GET", origin.address, &format!("/held/{at}"), "\r\n");
    }
    until("both of the wide origin are asked", || (wide.seen().len() == 2).then_some(()));
    proxy.counts("requests_queued", 1);
    assert_eq!(narrow.seen().len(), 1, "the other waits");
    wide.release();
    narrow.release();
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.answer().text(), format!("/held/{at}"));
    }
    assert_eq!(narrow.seen().len(), 2, "it had its turn");
}

#[test]
fn an_entry_has_its_own_patience() {
    let (hasty, patient) = (Origin::start(), Origin::start());
    let proxy = Proxy::start(&[
        &format!("proxy.targets[0].match={}", hasty.address),
        "proxy.targets[0].socket-timeout=1",
    ]);
    let mut waits = Client::connect(proxy.address);
    waits.request("GET", patient.address, "/held/long", "\r\n");
    let mut gives_up = Client::connect(proxy.address);
    gives_up.request("GET", hasty.address, "/held/short", "\r\n");
    assert_eq!(gives_up.answer().refusal(), (504, Some("read_timeout")));
    proxy.counts("timeouts_read", 1);
    patient.release();
    assert_eq!(waits.answer().text(), "/held/long");
}
