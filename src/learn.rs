//! `apim-proxy learn LOG`: from what `proxy.target.mode=report` has logged, a proposal for `proxy.target.allow`.
//!
//! It reads the lines that the egress policy writes, whatever stands before them, and skips all others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, Read as _};

/// What begins a decision in a line.
const MARK: &str = "egress decision=deny mode=report ";
/// The longest line.
const LINE_BYTES_MAX: u64 = 64 * 1024;
/// The longest target: a name, brackets and a port.
const TARGET_BYTES_MAX: usize = 300;
/// Targets that are remembered; a log that names more is no basis for a list.
const TARGETS_MAX: usize = 100_000;

/// What the log says of targets that only passed because the policy was just reporting.
#[derive(Debug, Default)]
pub struct Lesson {
    /// How often each was asked for.
    wanted: BTreeMap<String, u64>,
    /// Those that a rule of `deny` names: no rule of `allow` helps them.
    barred: BTreeMap<String, u64>,
    /// Decisions that could not be read.
    unread: u64,
}

impl Lesson {
    /// Takes note of every decision in a log.
    ///
    /// # Errors
    /// When it cannot be read to its end.
    pub fn read(&mut self, mut log: impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            // What is longer is read in pieces, and its pieces are no decisions.
            if log.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            self.line(String::from_utf8_lossy(&line).trim_end());
        }
    }

    /// Takes note of a line, if it is a decision.
    pub fn line(&mut self, line: &str) {
        let Some((_, decision)) = line.split_once(MARK) else { return };
        let (fields, rule) = decision.split_once(" rule=").unwrap_or((decision, ""));
        let field =
            |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let times = field("times").and_then(|times| times.parse::<u64>().ok());
        let (Some(target), Some(times)) = (field("target").filter(|target| is_target(target)), times) else {
            self.unread += 1;
            return;
        };
        let barred = rule.starts_with("proxy.target.deny=") || rule.contains("].deny=");
        let targets = if barred { &mut self.barred } else { &mut self.wanted };
        let target = target.to_ascii_lowercase();
        if targets.len() == TARGETS_MAX && !targets.contains_key(&target) {
            self.unread += 1;
            return;
        }
        let sum = targets.entry(target).or_default();
        *sum = sum.saturating_add(times);
    }

    /// The proposal, as lines of a properties file.
    pub fn proposal(&self) -> String {
        let mut out = String::new();
        if self.wanted.is_empty() {
            out.push_str(
                "# no line of the log says that a target would have been denied and could be allowed\n",
            );
        } else {
            out.push_str(
                "# targets that would have been denied, and how often at least they were asked for\n",
            );
            let width = self.wanted.values().max().map_or(0, |most| most.to_string().len());
            for (target, times) in &self.wanted {
                let _ = writeln!(out, "# {times:>width$}  {target}");
            }
            let list: Vec<&str> = self.wanted.keys().map(String::as_str).collect();
            let _ = writeln!(out, "proxy.target.allow={}", list.join(",\\\n    "));
        }
        if !self.barred.is_empty() {
            out.push_str("# denied by rules, which overrule any rule of allow\n");
        }
        for (target, times) in &self.barred {
            let _ = writeln!(out, "# {times}  {target}");
        }
        if self.unread > 0 {
            let _ = writeln!(out, "# {} decisions were cut off, or too many, and are left out", self.unread);
        }
        out
    }
}

/// Whether `text` is what a decision names: `host:port`.
fn is_target(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let (host, port) = text.rsplit_once(':').unwrap_or_default();
    text.len() <= TARGET_BYTES_MAX
        && text.bytes().all(plain)
        && !host.is_empty()
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::target_rule;

    #[test]
    fn a_log_becomes_a_list() {
        let line = |target: &str, times: &str, rule: &str| {
            format!(
                "2026-11-25 10:00:00.000 WARN 7 --- egress decision=deny mode=report client=10.0.0.1 group=- \
                 target={target} address=- times={times} rule={rule}"
            )
        };
        let default = "proxy.target.default=deny";
        let mut lesson = Lesson::default();
        for text in [
            line("b.test:443", "1", default),
            line("a.test:8443", "1", default),
            line("B.test:443", "1233", default),
            line("[2001:db8::1]:443", "2", "built-in: loopback, link-local, multicast or reserved"),
            line("c.test:443", "9", "proxy.target.deny=c.test"),
            line("d.test:443", "9", "proxy.groups[0].deny=*"),
            line("e.test:443", "9", default).replace("mode=report", "mode=enforce"),
            line("f.test", "9", default),
            line("f.test:0", "9", default),
            line("f.test:1", "many", default),
            line("f\u{e9}.test:1", "1", default),
            "egress decision=deny mode=report client=1".to_owned(),
            "something else target=g.test:443 times=1".to_owned(),
            String::new(),
        ] {
            lesson.read(format!("{text}\r\n").as_bytes()).expect("bytes can be read");
        }
        lesson.read("x".repeat(100_000).as_bytes()).expect("bytes can be read");
        let proposal = lesson.proposal();
        assert_eq!(
            proposal,
            "# targets that would have been denied, and how often at least they were asked for\n\
             #    2  [2001:db8::1]:443\n\
             #    1  a.test:8443\n\
             # 1234  b.test:443\n\
             proxy.target.allow=[2001:db8::1]:443,\\\n    a.test:8443,\\\n    b.test:443\n\
             # denied by rules, which overrule any rule of allow\n\
             # 9  c.test:443\n\
             # 9  d.test:443\n\
             # 5 decisions were cut off, or too many, and are left out\n"
        );
        let list: String = proposal.lines().filter(|line| !line.starts_with('#')).collect();
        let list = list.trim_start_matches("proxy.target.allow=").replace('\\', "");
        assert_eq!(target_rule::rules(&list).map(|rules| rules.len()), Ok(3));
    }

    #[test]
    fn nothing_to_learn_is_said() {
        let proposal = Lesson::default().proposal();
        assert_eq!(
            proposal,
            "# no line of the log says that a target would have been denied and could be allowed\n"
        );
    }
}
