//! Many clients that do nothing, while others work.

use crate::origin::Origin;
use crate::process::{Nginx, Proxy, output};
use crate::raw::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::process::Command;

const IDLE: usize = 5000;

#[test]
fn five_thousand_idle_clients_cost_the_others_nothing() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Their sockets are open here; the proxy has as many and room for as many targets again.
    let needed = 2 * IDLE as u64 + 1000;
    assert!(
        maximum.is_none_or(|maximum| maximum >= needed),
        "this test needs {needed} open files and may have {maximum:?}: raise the hard limit (ulimit -Hn)"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the soft limit can be raised");
    let (proxy, origin, nginx) = (Proxy::start(&[]), Origin::start(), Nginx::start());
    let mut idle: Vec<Client> = (0..IDLE).map(|_| Client::connect(proxy.address)).collect();
    // Half of them have been served once; the others have said nothing yet.
    for client in idle.iter_mut().step_by(2) {
        assert_eq!(client.get(origin.address, "/first").text(), "/first");
    }
    proxy.counts("clients_now", IDLE as u64);

    let said = output(
        Command::new("wrk")
            .args(["-t1", "-c32", "-d1s", "-H", &format!("x-target-host: http://{}", nginx.address)])
            .arg(proxy.url("/1k")),
    );
    assert!(
        said.contains(" requests in ") && !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "{said}"
    );

    for client in &mut idle {
        assert_eq!(client.get(origin.address, "/second").text(), "/second");
    }
    proxy.counts("clients_now", IDLE as u64);
    drop(idle);
    proxy.counts("clients_now", 0);
}
