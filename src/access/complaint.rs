//! A line of an error log of Apache's: an exchange of a reverse listener that failed.
//!
//! ```text
//! [Wed Nov 25 14:00:00.123456 2026] [proxy:error] [pid 77:tid 1] [client 10.0.0.1:40000] connect_refused: …
//! ```
//! What httpd tells only from `LogLevel info` on, a client that left for one, has no line.

use crate::access::escape;
use crate::access::pen::Pen;
use crate::time::Now;
use log::Level;
use std::fmt::Arguments;
use std::net::SocketAddr;

/// What such a line says.
#[derive(Clone, Copy, Debug)]
pub struct Complaint<'a> {
    /// How grave it is here.
    pub level: Level,
    /// The worker.
    pub worker: usize,
    /// The client.
    pub client: SocketAddr,
    /// What went wrong, perhaps in the words of a peer.
    pub text: Arguments<'a>,
}

impl Complaint<'_> {
    /// Whether it has a line.
    pub fn counts(&self) -> bool {
        self.level <= Level::Warn
    }

    /// Writes the line, its end included.
    pub fn write(&self, process: u32, now: Now, pen: &mut Pen<'_>) {
        pen.out.push(b'[');
        pen.stamp.error(now, pen.out);
        pen.out.extend_from_slice(b"] [proxy:error] [pid ");
        pen.number(process.into());
        pen.out.extend_from_slice(b":tid ");
        pen.number(self.worker as u64);
        pen.out.extend_from_slice(b"] [client ");
        pen.socket(self.client);
        pen.out.extend_from_slice(b"] ");
        escape::log(self.text.to_string().as_bytes(), pen.out);
        pen.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::stamp::{Stamp, Wall};

    #[test]
    fn a_line_is_apaches_and_stays_one() {
        let mut stamp = Stamp::default();
        stamp.sync(Now(0), || Wall { origin: 1_764_046_800_123_456, zone: 9 * 3600 });
        let mut written = |client: &str, text: &str| {
            let client = client.parse().expect("an address");
            let (mut out, mut scratch) = (Vec::new(), Vec::new());
            let mut pen = Pen { out: &mut out, json: false, stamp: &mut stamp, scratch: &mut scratch };
            let complaint = Complaint { level: Level::Warn, worker: 1, client, text: format_args!("{text}") };
            complaint.write(77, Now(5), &mut pen);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(
            written("10.0.0.1:40000", "bad_request: \"x\"\n[forged]"),
            "[Tue Nov 25 14:00:00.123461 2025] [proxy:error] [pid 77:tid 1] [client 10.0.0.1:40000] \
             bad_request: \\\"x\\\"\\n[forged]\n"
        );
        assert_eq!(
            written("[2001:db8::1]:5", "x"),
            "[Tue Nov 25 14:00:00.123461 2025] [proxy:error] [pid 77:tid 1] [client [2001:db8::1]:5] x\n"
        );
    }
}
