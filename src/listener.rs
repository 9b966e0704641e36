//! Listeners: the addresses clients connect to, opened once for every worker, and the reserve against running out of
//! descriptors.
//!
//! `SO_REUSEPORT` would let a second process join the group unnoticed, so each address is first bound plainly: a port
//! in use is an error that names it.

pub mod owner;

use crate::access::record::Door;
use crate::engine::Kind;
use crate::setting::{Setting, Source};
use crate::value;
use mio::net::{TcpListener, TcpStream};
use owner::Owner;
use serde::Deserialize;
use socket2::{Domain, Protocol, Socket, Type};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The forward listener's port.
pub const PORT: Setting<u16> = Setting::new(
    "server.port",
    "8080",
    value::port,
    "Port of the forward listener; 0 lets the system choose.",
);

/// The forward listener's address.
pub const ADDRESS: Setting<Option<IpAddr>> = Setting::new(
    "server.address",
    "",
    address,
    "Address of the forward listener; unset: every address of the machine, IPv4 and IPv6.",
);

/// The kernel's accept queue.
pub const BACKLOG: Setting<i32> = Setting::new(
    "server.tomcat.accept-count",
    "1024",
    |text| value::whole(text, 1..=65_535).map(|n| n as i32),
    "Connections the kernel queues for each worker before they are accepted (at most net.core.somaxconn).",
);

/// The reverse listener's port.
pub static REVERSE_PORT: Setting<Option<u16>> = Setting::new(
    "proxy.reverse.port",
    "",
    optional_port,
    "Port of the reverse listener, httpd's 80; unset: there is none, 0 lets the system choose.",
);

/// The reverse TLS listener's port.
pub static REVERSE_SSL_PORT: Setting<Option<u16>> = Setting::new(
    "proxy.reverse.ssl.port",
    "",
    optional_port,
    "Port of the reverse TLS listener, httpd's 443; unset: there is none, 0 lets the system choose.",
);

/// The reverse listeners' address.
pub static REVERSE_ADDRESS: Setting<Option<IpAddr>> = Setting::new(
    "proxy.reverse.address",
    "",
    address,
    "Address of the reverse listeners; unset: that of server.address.",
);

/// Which listeners a process opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// All that are configured.
    All,
    /// The forward one.
    Forward,
    /// The reverse ones.
    Reverse,
}

/// Which listeners this process opens.
pub static SHARE: Setting<Share> = Setting::new(
    "proxy.listeners",
    "all",
    |text| value::choice(text).map_err(|_| "is not one of all, forward, reverse".to_owned()),
    "Which of the configured listeners this process opens: all, forward or reverse; where httpd is replaced, its unit runs \
     the reverse ones in a process of their own.",
);

fn optional_port(text: &str) -> Result<Option<u16>, String> {
    if text.trim().is_empty() { Ok(None) } else { value::port(text).map(Some) }
}

/// Where a listener is to be opened, and the keys that say so.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What clients reach there.
    pub kind: Kind,
    /// Whether it speaks TLS; the forward listener's keys say it elsewhere.
    pub tls: bool,
    address: Option<IpAddr>,
    port: u16,
    address_key: &'static str,
    port_key: &'static str,
}

impl Place {
    /// What is written of the exchanges of its clients depends on this.
    pub const fn door(&self) -> Door {
        match (self.kind, self.tls) {
            (Kind::Forward, _) => Door::Forward,
            (Kind::Reverse, false) => Door::Reverse,
            (Kind::Reverse, true) => Door::ReverseTls,
        }
    }
}

/// Every listener there is to be in this process, the forward one first.
///
/// # Errors
/// What is wrong with a text; no listener at all.
pub fn places(source: &impl Source) -> Result<Vec<Place>, String> {
    let share = source.value(&SHARE)?;
    let forward = Place {
        kind: Kind::Forward,
        tls: false,
        address: source.value(&ADDRESS)?,
        port: source.value(&PORT)?,
        address_key: ADDRESS.key,
        port_key: PORT.key,
    };
    let own_address = source.value(&REVERSE_ADDRESS)?;
    let address_key = if own_address.is_some() { REVERSE_ADDRESS.key } else { ADDRESS.key };
    let mut places = vec![forward];
    for (setting, tls) in [(&REVERSE_PORT, false), (&REVERSE_SSL_PORT, true)] {
        let address = own_address.or(forward.address);
        places.extend(source.value(setting)?.map(|port| Place {
            kind: Kind::Reverse,
            tls,
            address,
            port,
            address_key,
            port_key: setting.key,
        }));
    }
    places.retain(|place| match share {
        Share::All => true,
        Share::Forward => place.kind == Kind::Forward,
        Share::Reverse => place.kind == Kind::Reverse,
    });
    if places.is_empty() {
        return Err(format!(
            "{}=reverse leaves no listener; set {} or {}",
            SHARE.key, REVERSE_PORT.key, REVERSE_SSL_PORT.key
        ));
    }
    Ok(places)
}

fn address(text: &str) -> Result<Option<IpAddr>, String> {
    match text.trim() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| "is not an IP address; leave it out for every address".to_owned()),
    }
}

/// Opens one listening socket for each of `count` workers on the same address.
///
/// # Errors
/// A sentence that names the address and what stands in the way.
pub fn open(place: &Place, backlog: i32, count: usize) -> Result<Vec<TcpListener>, String> {
    let wanted = SocketAddr::new(place.address.unwrap_or(Ipv6Addr::UNSPECIFIED.into()), place.port);
    match open_at(wanted, backlog, count) {
        Err(error) if place.address.is_none() && lacks_ipv6(&error) => {
            let wanted = SocketAddr::from((Ipv4Addr::UNSPECIFIED, place.port));
            open_at(wanted, backlog, count).map_err(|error| sentence(place, wanted, &error))
        }
        opened => opened.map_err(|error| sentence(place, wanted, &error)),
    }
}

/// A machine without IPv6 is served on IPv4 alone; any other failure is one.
fn lacks_ipv6(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn sentence(place: &Place, address: SocketAddr, error: &io::Error) -> String {
    let port = place.port_key;
    match error.kind() {
        ErrorKind::AddrInUse => match owner::of(address.port()) {
            Owner::Ourselves => format!("{address} is in use by another listener of ours; change {port}"),
            Owner::Process(process) => {
                format!("{address} is in use by {process}; stop it or change {port}")
            }
            Owner::Unknown => format!(
                "{address} is in use by another process, which only root may name (ss -ltnp 'sport = :{}'); stop it or \
                 change {port}",
                address.port()
            ),
        },
        ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this machine; correct {}", place.address_key)
        }
        ErrorKind::PermissionDenied => format!(
            "{address} needs the right to bind ports below 1024; run as root, grant CAP_NET_BIND_SERVICE or change \
             {port}"
        ),
        _ => format!("{address} cannot be opened: {error}"),
    }
}

fn open_at(address: SocketAddr, backlog: i32, count: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // The probe listens, so that it fails beside any listener, whatever that one's options are.
        let probe = socket(address)?;
        probe.set_reuse_address(true)?;
        probe.bind(&address.into())?;
        probe.listen(1)?;
    }
    // The system chooses a port that nobody has, for the first; the others join it.
    let first = group_member(address, backlog)?;
    let address = first.local_addr()?;
    let others = (1..count).map(|_| group_member(address, backlog));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

fn group_member(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// What one accept gave.
#[derive(Debug)]
pub enum Accepted {
    /// A client.
    Client(TcpStream, SocketAddr),
    /// Nobody is waiting.
    Nobody,
    /// A client went away, or had to be turned away for want of a descriptor.
    Lost,
}

/// A descriptor kept free, so that clients can be turned away instead of waiting for ever when there is no other.
#[derive(Debug)]
pub struct Reserve(Option<File>);

impl Reserve {
    /// Takes the descriptor.
    pub fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    /// Accepts one client.
    pub fn accept(&mut self, listener: &TcpListener) -> Accepted {
        match listener.accept() {
            Ok((stream, peer)) => Accepted::Client(stream, peer),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Accepted::Nobody,
            Err(error) if is_exhausted(&error) => self.turn_away(listener),
            Err(_) => Accepted::Lost,
        }
    }

    /// No descriptor is left: the reserve lets the next client in for as long as it takes to close it.
    fn turn_away(&mut self, listener: &TcpListener) -> Accepted {
        self.0 = None;
        let turned = listener.accept();
        let gone =
            matches!(&turned, Err(error) if error.kind() == ErrorKind::WouldBlock || is_exhausted(error));
        drop(turned);
        *self = Self::new();
        if gone { Accepted::Nobody } else { Accepted::Lost }
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self::new()
    }
}

/// No descriptor or no memory for another socket.
fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::Defaults;

    fn at(address: Option<IpAddr>, port: u16) -> Place {
        let (address_key, port_key) = (REVERSE_ADDRESS.key, REVERSE_PORT.key);
        Place { kind: Kind::Reverse, tls: false, address, port, address_key, port_key }
    }

    #[test]
    fn only_the_forward_listener_is_there_unasked() {
        let places = places(&Defaults).expect("defaults are in order");
        assert_eq!(places.iter().map(|place| place.kind).collect::<Vec<_>>(), [Kind::Forward]);
    }

    /// A port without TLS, and what `proxy.listeners` says.
    struct Texts(&'static str, &'static str);

    impl Source for Texts {
        fn text(&self, key: &'static str) -> Option<&str> {
            [(SHARE.key, self.0), (REVERSE_PORT.key, self.1)]
                .into_iter()
                .find_map(|(known, text)| (known == key).then_some(text))
        }
    }

    #[test]
    fn two_processes_can_share_the_listeners() {
        let kinds = |share, port| {
            places(&Texts(share, port))
                .map(|places| places.iter().map(|place| place.kind).collect::<Vec<_>>())
        };
        assert_eq!(kinds("all", "80"), Ok(vec![Kind::Forward, Kind::Reverse]));
        assert_eq!(kinds("forward", "80"), Ok(vec![Kind::Forward]));
        assert_eq!(kinds("Reverse", "80"), Ok(vec![Kind::Reverse]));
        assert!(
            kinds("reverse", "")
                .is_err_and(|what| what.starts_with("proxy.listeners=reverse leaves no listener"))
        );
        assert!(kinds("both", "80").is_err());
    }

    #[test]
    fn a_port_in_use_is_named_even_when_it_could_be_shared() {
        let first = open(&at(Some(IpAddr::from([127, 0, 0, 1])), 0), 8, 2).expect("a free port");
        let address = first[0].local_addr().expect("bound");
        assert_eq!(first[1].local_addr().expect("bound"), address);
        let again = open(&at(Some(address.ip()), address.port()), 8, 1).expect_err("taken");
        let expected = format!("{address} is in use by another listener of ours; change proxy.reverse.port");
        assert_eq!(again, expected);
    }

    #[test]
    fn every_address_takes_both_families() {
        let both = open(&at(None, 0), 8, 1).expect("a free port");
        let port = both[0].local_addr().expect("bound").port();
        std::net::TcpStream::connect(("127.0.0.1", port)).expect("IPv4 enters");
    }
}
