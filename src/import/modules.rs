//! What `IfModule` and `IfVersion` ask.

use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Modules that distributions compile in.
const BUILT_IN: [&str; 8] =
    ["core", "http_core", "so", "log_config", "logio", "version", "unixd", "watchdog"];

/// The version `IfVersion` is judged by: that of current distributions.
const VERSION: [u32; 3] = [2, 4, 62];

/// The modules that are loaded, by their bare names: `ssl` for `ssl_module` and `mod_ssl.c`.
#[derive(Clone, Debug)]
pub struct Modules(BTreeSet<String>);

impl Modules {
    /// Those that need no `LoadModule`.
    pub fn built_in() -> Self {
        Self(BUILT_IN.iter().map(|&name| name.to_owned()).collect())
    }

    /// `LoadModule name file`.
    pub fn load(&mut self, name: &str, file: &str) {
        self.0.insert(bare(name).to_owned());
        let file = file.rsplit('/').next().unwrap_or(file);
        self.0.insert(bare(file.trim_end_matches(".so")).to_owned());
    }

    /// Whether `IfModule name` holds.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(bare(name))
    }
}

/// `ssl_module`, `mod_ssl.c` and `mod_ssl` are `ssl`; `event.c` and `mpm_event_module` are `event`.
fn bare(name: &str) -> &str {
    let name = name.strip_suffix(".c").unwrap_or(name);
    let name = name.strip_suffix("_module").unwrap_or(name);
    let name = name.strip_prefix("mod_").unwrap_or(name);
    name.strip_prefix("mpm_").unwrap_or(name)
}

/// Whether `IfVersion` holds: `[=|==|>|>=|<|<=] major[.minor[.patch]]`; parts that are not written do not count. A
/// regular expression never holds.
pub fn version_is(text: &str) -> bool {
    let split = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let (operator, version) = text.split_at(split);
    let asked: Vec<u32> = version.trim().split('.').map_while(|part| part.parse().ok()).collect();
    if asked.is_empty() {
        return false;
    }
    let order = VERSION.iter().zip(&asked).map(|(is, asked)| is.cmp(asked)).find(|order| order.is_ne());
    let order = order.unwrap_or(Ordering::Equal);
    match operator.trim() {
        "" | "=" | "==" => order.is_eq(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_two_names() {
        let mut modules = Modules::built_in();
        modules.load("ssl_module", "modules/mod_ssl.so");
        modules.load("mpm_event_module", "/usr/lib/apache2/modules/mod_mpm_event.so");
        modules.load("php7_module", "modules/libphp7.so");
        for name in
            ["ssl_module", "mod_ssl.c", "mpm_event_module", "event.c", "core.c", "php7_module", "libphp7"]
        {
            assert!(modules.has(name), "{name}");
        }
        for name in ["mod_rewrite.c", "worker.c", "", "sl"] {
            assert!(!modules.has(name), "{name}");
        }
    }

    #[test]
    fn versions_are_compared_as_far_as_they_are_written() {
        for text in ["2.4", "= 2.4", ">= 2.4", ">=2.4.17", "> 2.2", "< 2.5", "<= 2.4", "== 2.4.62"] {
            assert!(version_is(text), "{text}");
        }
        for text in ["2.2", "> 2.4", "< 2.4", "< 2.4.62", "> 2.4.62", "~ ^2", "", ">="] {
            assert!(!version_is(text), "{text}");
        }
    }
}
