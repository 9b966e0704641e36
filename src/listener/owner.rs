//! Who holds a port: an operator who reads that it is taken should not have to go looking.

use std::fs;
use std::path::Path;

/// Who listens at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This process.
    Ourselves,
    /// Another one, as `httpd (pid 812: /usr/sbin/httpd -DFOREGROUND)`.
    Process(String),
    /// Somebody this process may not look at.
    Unknown,
}

/// The most bytes of a command line that are shown.
const COMMAND_MAX: usize = 120;
/// Listening, as the kernel's tables write it.
const LISTEN: &str = "0A";

/// Who listens at the local TCP port `port`.
pub fn of(port: u16) -> Owner {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    let mut holders = processes().filter(|pid| holds(*pid, &inodes)).peekable();
    match holders.peek() {
        None => Owner::Unknown,
        Some(pid) if *pid == std::process::id() => Owner::Ourselves,
        Some(pid) => Owner::Process(describe(*pid)),
    }
}

/// The inodes of the sockets that listen at `port`, from a table of the kernel.
fn listening(table: &str, port: u16) -> Vec<String> {
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, hex) = fields.get(1)?.rsplit_once(':')?;
        let listens = u16::from_str_radix(hex, 16) == Ok(port) && fields.get(3) == Some(&LISTEN);
        listens.then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The parent of a family of servers is the one to stop, and it came first.
    pids.sort_unstable();
    pids.into_iter()
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.any(|target| is_socket(&target, inodes))
}

fn is_socket(target: &Path, inodes: &[String]) -> bool {
    let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
    inode.is_some_and(|inode| inodes.iter().any(|known| known == inode))
}

fn describe(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command: Vec<_> = command.split(|&byte| byte == 0).map(String::from_utf8_lossy).collect();
    let mut command = command.join(" ").trim().to_owned();
    // It is another process's text: nothing in it may look like a line of ours.
    command.retain(|letter| !letter.is_control());
    if let Some((end, _)) = command.char_indices().nth(COMMAND_MAX) {
        command.truncate(end);
        command.push('…');
    }
    format!("{} (pid {pid}: {command})", name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n\
            \x20  1: 0100007F:0050 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n\
            \x20  2: 0100007F:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0\n\
            \x20  3: short\n";
        assert_eq!(listening(table, 80), ["4711"]);
        assert!(listening(table, 82).is_empty());
        assert!(is_socket(Path::new("socket:[4711]"), &["4711".to_owned()]));
        assert!(!is_socket(Path::new("socket:[47]"), &["4711".to_owned()]));
        assert!(!is_socket(Path::new("/4711"), &["4711".to_owned()]));
    }

    #[test]
    fn a_port_of_ours_is_ours() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        assert_eq!(of(port), Owner::Ourselves);
    }
}
