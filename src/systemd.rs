//! What systemd is told where it started us: `READY=1` once the listeners are open, `STOPPING=1` when the shutdown
//! begins (sd_notify(3), `Type=notify`). Started by anything else, nothing is told.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable that names systemd's socket; the name of an abstract one begins with `@`.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Tells systemd `state`.
pub fn tell(state: &str) {
    let Some(socket) = env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, state) {
        log::warn!("systemd could not be told {state}: {error}");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_are_told() {
        let name = format!("apim-systemd-{}", std::process::id());
        let path = env::temp_dir().join(&name);
        let at_path = UnixDatagram::bind(&path).expect("a socket in the temporary folder");
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let abstract_one = UnixDatagram::bind_addr(&address).expect("an abstract socket");
        send(path.as_os_str(), "READY=1").expect("told");
        send(OsStr::new(&format!("@{name}")), "STOPPING=1").expect("told");
        std::fs::remove_file(&path).expect("the test made it");
        for (socket, state) in [(at_path, "READY=1"), (abstract_one, "STOPPING=1")] {
            let mut told = [0; 32];
            let length = socket.recv(&mut told).expect("a message");
            assert_eq!(&told[..length], state.as_bytes());
        }
        assert!(send(path.as_os_str(), "READY=1").is_err());
    }
}
