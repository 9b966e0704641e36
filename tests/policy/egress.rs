//! Where requests may go (`proxy.target.*`, `proxy.groups[N]`).

use super::stage::{Stage, code};
use apim_proxy::stats::Counter;

#[test]
fn a_denied_name_is_never_asked_for() {
    let mut stage = Stage::new(&["proxy.target.deny=*.evil.test", "proxy.target.allow=*.evil.test"]);
    stage.name("a.evil.test", &["1.1.1.1"]);
    let client = stage.connect("10.0.0.1");
    let answer = stage.ask(client, "a.evil.test");
    assert_eq!(code(&answer), "target_denied");
    assert!(answer.ends_with("the egress policy denies this target (proxy.target.deny)"), "{answer}");
    assert_eq!(code(&stage.ask(client, "A.EVIL.test.:8080")), "target_denied");
    assert!(stage.worker.io.asked.is_empty() && stage.worker.io.dialled().is_empty());
    assert_eq!(stage.count(Counter::TargetsDenied), 2);
}

#[test]
fn an_exclusive_list_asks_for_nothing_that_cannot_be_on_it() {
    let mut stage = Stage::new(&["proxy.target.default=deny", "proxy.target.allow=a.test,1.1.1.0/24:81"]);
    stage.name("a.test", &["2.2.2.2"]);
    stage.name("b.test", &["1.1.1.1"]);
    stage.name("c.test", &["3.3.3.3"]);
    let client = stage.connect("10.0.0.1");
    assert_eq!(stage.served(client, "a.test"), "2.2.2.2:80");
    assert_eq!(code(&stage.ask(client, "b.test")), "target_denied");
    assert_eq!(stage.worker.io.asked, ["a.test"]);
    // Its address may be on the list.
    assert_eq!(stage.served(client, "b.test:81"), "1.1.1.1:81");
    assert_eq!(code(&stage.ask(client, "c.test:81")), "target_denied");
    // What cannot be resolved is not said to be denied.
    assert_eq!(code(&stage.ask(client, "d.test:81")), "dns_failed");
}

#[test]
fn denied_addresses_are_skipped_and_403_is_told_when_none_is_left() {
    let mut stage = Stage::new(&["proxy.target.deny=1.0.0.0/8"]);
    let client = stage.connect("10.0.0.1");
    stage.name("some.test", &["127.0.0.1", "1.1.1.1", "2.2.2.2", "169.254.169.254"]);
    stage.name("none.test", &["127.0.0.1", "1.1.1.1", "::1"]);
    stage.name("shut.test", &["127.0.0.1", "3.3.3.3"]);
    stage.worker.io.refusing.push([3, 3, 3, 3].into());
    assert_eq!(stage.served(client, "some.test"), "2.2.2.2:80");
    assert_eq!(code(&stage.ask(client, "none.test")), "target_denied");
    // One was allowed and failed: that is the reason.
    assert_eq!(code(&stage.ask(client, "shut.test")), "connect_refused");
    assert_eq!(stage.worker.io.dialled(), ["2.2.2.2:80"]);
}

/// A name that passes once gains nothing by resolving to something else later.
#[test]
fn a_name_that_is_bound_anew_is_judged_anew() {
    let mut stage = Stage::new(&[]);
    let client = stage.connect("10.0.0.1");
    stage.name("re.test", &["1.1.1.1"]);
    assert_eq!(stage.served(client, "re.test"), "1.1.1.1:80");
    for address in ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
        stage.name("re.test", &[address]);
        // The warm connection still leads to where it was let.
        assert_eq!(stage.served(client, "re.test"), "1.1.1.1:80");
    }
    stage.close(1);
    for address in ["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"] {
        stage.name("re.test", &[address]);
        assert_eq!(code(&stage.ask(client, "re.test")), "target_denied", "{address}");
    }
    assert_eq!(stage.worker.io.dialled(), ["1.1.1.1:80"]);
}

const GROUPS: [&str; 6] = [
    "proxy.target.default=deny",
    "proxy.groups[0].name=one",
    "proxy.groups[0].addresses=10.1.0.0/16",
    "proxy.groups[0].allow=1.1.1.0/24",
    "proxy.groups[1].addresses=10.2.0.0/16",
    "proxy.groups[1].allow=a.test",
];

#[test]
fn a_warm_connection_is_not_for_clients_of_another_group() {
    let mut stage = Stage::new(&GROUPS);
    stage.name("a.test", &["1.1.1.1"]);
    let [one, again, two, none] =
        ["10.1.0.1", "10.1.0.2", "10.2.0.1", "10.3.0.1"].map(|address| stage.connect(address));
    assert_eq!(stage.served(one, "a.test"), "1.1.1.1:80");
    assert_eq!(stage.served(again, "a.test"), "1.1.1.1:80");
    assert_eq!((stage.count(Counter::Dialled), stage.count(Counter::Reused)), (1, 1), "within a group it is");
    assert_eq!(code(&stage.ask(none, "a.test")), "target_denied");
    assert_eq!(stage.worker.io.asked.len(), 1, "and it is not asked for");
    assert_eq!(stage.served(two, "a.test"), "1.1.1.1:80");
    assert_eq!((stage.count(Counter::Dialled), stage.count(Counter::Reused)), (2, 1));
    // What one group is let by its address, the other is not.
    stage.name("b.test", &["1.1.1.2"]);
    assert_eq!(stage.served(one, "b.test"), "1.1.1.2:80");
    assert_eq!(code(&stage.ask(two, "b.test")), "target_denied");
    assert_eq!(code(&stage.ask(none, "b.test")), "target_denied");
}

/// The limit of a target counts for all groups together.
#[test]
fn who_waits_for_a_permit_gets_it_and_not_another_groups_connection() {
    let mut stage = Stage::narrow(&GROUPS, 1);
    stage.name("a.test", &["1.1.1.1"]);
    let (one, two) = (stage.connect("10.1.0.1"), stage.connect("10.2.0.1"));
    assert_eq!(stage.ask(one, "a.test"), "");
    assert_eq!(stage.ask(two, "a.test"), "");
    assert_eq!(stage.worker.io.dialled().len(), 1, "there is one permit");
    let first = stage.worker.io.wires.len() - 1;
    stage.say(first, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(stage.heard(one), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert!(stage.is_dropped(first), "it is of no use to who waits");
    assert_eq!(stage.worker.io.dialled().len(), 2);
    let second = stage.worker.io.wires.len() - 1;
    assert!(stage.heard(second).starts_with("GET /p "));
    stage.say(second, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(stage.heard(two), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(stage.count(Counter::Reused), 0);
}

#[test]
fn a_report_lets_pass_and_counts_each_request() {
    let mut stage = Stage::new(&["proxy.target.mode=report", "proxy.target.deny=a.test,1.1.1.0/24"]);
    let client = stage.connect("10.0.0.1");
    stage.name("a.test", &["2.2.2.2"]);
    stage.name("b.test", &["1.1.1.1"]);
    stage.name("c.test", &["127.0.0.1"]);
    for (target, address, times) in
        [("a.test", "2.2.2.2:80", 3), ("b.test", "1.1.1.1:80", 6), ("c.test", "127.0.0.1:80", 9)]
    {
        for _ in 0..3 {
            assert_eq!(stage.served(client, target), address);
        }
        assert_eq!(stage.count(Counter::TargetsReported), times, "{target}: once a request");
    }
    assert_eq!(stage.count(Counter::Dialled), 3, "warm connections are used");
    stage.name("m.test", &["169.254.169.254"]);
    for target in ["169.254.169.254", "m.test", "2.2.2.2:9000"] {
        assert_eq!(code(&stage.ask(client, target)), "target_denied", "{target}");
    }
    assert_eq!(stage.count(Counter::TargetsDenied), 3);
}

#[test]
fn private_addresses_are_counted_or_denied() {
    let mut stage = Stage::new(&[]);
    let client = stage.connect("10.0.0.1");
    assert_eq!(stage.served(client, "10.0.0.9"), "10.0.0.9:80");
    assert_eq!(stage.served(client, "1.1.1.1"), "1.1.1.1:80");
    assert_eq!(stage.count(Counter::DialledPrivate), 1);
    let mut stage = Stage::new(&["proxy.target.private=deny", "proxy.target.allow=10.0.0.8/29"]);
    let client = stage.connect("10.0.0.1");
    assert_eq!(stage.served(client, "10.0.0.9"), "10.0.0.9:80");
    assert_eq!(code(&stage.ask(client, "10.0.0.1")), "target_denied");
}

/// Ways to write an address that some reader somewhere takes for one: refused as targets, or judged as what they mean.
#[test]
fn no_notation_of_an_address_gets_past() {
    let mut stage = Stage::new(&[]);
    let mut client = stage.connect("10.0.0.1");
    for target in NOTATIONS.iter().flat_map(|line| line.split_whitespace()).chain(ODD) {
        let answer = stage.ask(client, &format!("http://{target}"));
        assert!(
            ["bad_target", "target_denied", "bad_request"].contains(&code(&answer)),
            "{target}: {answer}"
        );
        let answer = stage.ask(client, &format!("http://{target}:8080/latest/meta-data/"));
        assert!(
            ["bad_target", "target_denied", "bad_request"].contains(&code(&answer)),
            "{target}: {answer}"
        );
        if stage.is_dropped(client) || answer.contains("Connection: close") {
            client = stage.connect("10.0.0.1");
        }
    }
    assert_eq!((&stage.worker.io.asked, stage.worker.io.dialled()), (&vec![], vec![]));
}

const NOTATIONS: [&str; 6] = [
    // Plain.
    "127.0.0.1 127.1.2.3 0.0.0.0 169.254.169.254 100.100.100.200 224.0.0.1 255.255.255.255",
    // inet_aton's: decimal, hexadecimal, octal, fewer parts, mixed, with leading zeros, too large.
    "2130706433 017700000001 0x7f000001 0X7F000001 0x7f.1 0x7f.0.0.1 0177.0.0.1 0177.0.0.01 127.1 127.0.1 \
     127.0.0.0x1 127.0.0.01 127.0x0.0.1 0x7f.0x0.0x0.0x1 0177.0x0.0.1 00000177.0.0.1 127.000.000.001 \
     2852039166 0xa9fea9fe 0xa9.0xfe.0xa9.0xfe 0251.0376.0251.0376 169.16689662 169.254.43518 \
     425.510.425.510 127.0.0.257 4294967297 6425673729 0x17f000001 0 0x0 0x 00 1 127.0.0.1. 2130706433. \
     0x7f.1. 127.0.0.1.. .127.0.0.1 127..1 127.0.0. 127.0.0 127.0.0.1.1",
    // IPv6, and IPv4 inside it.
    "[::1] [::] [0:0:0:0:0:0:0:1] [0000:0000:0000:0000:0000:0000:0000:0001] [::ffff:127.0.0.1] \
     [::ffff:7f00:1] [0:0:0:0:0:ffff:127.0.0.1] [0:0:0:0:0:FFFF:7F00:0001] [::127.0.0.1] [::7f00:1] \
     [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::7f00:1] [64:ff9b:1::127.0.0.1] [2002:7f00:1::] \
     [2002:a9fe:a9fe::1] [2001:0:7f00:1::] [::ffff:169.254.169.254] [::ffff:a9fe:a9fe] \
     [64:ff9b::a9fe:a9fe] [fd00:ec2::254] [FD00:0EC2:0:0:0:0:0:254] [fe80::1] [fec0::1] [ff02::1] \
     [::ffff:0x7f.1] [::ffff:2130706433]",
    // Zones, brackets and other packaging.
    "[fe80::1%eth0] [fe80::1%25eth0] [::1%lo] [::1%25lo] ::1 [127.0.0.1] [2130706433] [::1 ::1] [[::1]] \
     [v1.::1] (127.0.0.1) <127.0.0.1>",
    // Percent signs, other digits, other dots, other spaces.
    "%31%32%37.0.0.1 127%2e0%2e0%2e1 127.0.0.1%00 127.0.0.1%20 127.0.0.1%2f %5B::1%5D １２７.0.0.1 ①②⑦.⓪.⓪.① \
     127。0。0。1 127．0．0．1 127｡0｡0｡1 ١٢٧.0.0.1 𝟏𝟐𝟕.0.0.1",
    // Two readers, two hosts.
    "1.1.1.1@127.0.0.1 1.1.1.1#@127.0.0.1 127.0.0.1,1.1.1.1 127.0.0.1;1.1.1.1 1.1.1.1:80@127.0.0.1 \
     127.0.0.1?@1.1.1.1 -127.0.0.1 +127.0.0.1 1e0.1 0b1111111.0.0.1 0o177.0.0.1",
];

/// Those with blanks and the like.
const ODD: [&str; 6] = [
    "127.0.0.1\u{200b}",
    "127\u{ad}.0.0.1",
    "127.0.0.1\\@1.1.1.1",
    "127.0.0.1 1.1.1.1",
    "127.0.0.1\t",
    "1.1.1.1 @127.0.0.1",
];
