//! `proxy.forward.forms` and `proxy.connect.ports`: how a request may name its target, and where CONNECT may go.
//!
//! The header form is the legacy's; the others make of us what browsers and tools know as a proxy, so they are on only
//! when they are named.

use serde::Deserialize;
use std::ops::RangeInclusive;

use crate::setting::Setting;
use crate::value;

/// Which forms are on.
pub static FORMS: Setting<Forms> = Setting::new(
    "proxy.forward.forms",
    "header",
    forms,
    "How requests may name their target: `header` (`x-target-host`, which counts before the others), `absolute` (`GET \
     http://host/path`), `connect` (tunnels by CONNECT), as a comma list.",
);

/// Where CONNECT may go.
pub static CONNECT_PORTS: Setting<Ports> = Setting::new(
    "proxy.connect.ports",
    "443,8443",
    ports,
    "Ports that CONNECT may reach, as a comma list with ranges (`443,8000-8999`); other ports get 403.",
);

/// The forms that are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// `x-target-host`.
    pub header: bool,
    /// Absolute-form (RFC 9112 §3.2.2).
    pub absolute: bool,
    /// CONNECT (RFC 9110 §9.3.6).
    pub connect: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Form {
    Header,
    Absolute,
    Connect,
}

fn forms(text: &str) -> Result<Forms, String> {
    let mut forms = Forms::default();
    for item in text.split(',') {
        match value::choice(item) {
            Ok(Form::Header) => forms.header = true,
            Ok(Form::Absolute) => forms.absolute = true,
            Ok(Form::Connect) => forms.connect = true,
            Err(_) => return Err("is not a list of header, absolute, connect".to_owned()),
        }
    }
    Ok(forms)
}

/// Ports, as ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// Whether `port` is among them.
    pub fn name(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }
}

fn ports(text: &str) -> Result<Ports, String> {
    let port = |text: &str| value::whole(text, 1..=65_535).map(|port| port as u16);
    let range = |item: &str| {
        let (low, high) = item.split_once('-').unwrap_or((item, item));
        let range = port(low).and_then(|low| Ok(low..=port(high)?)).ok().filter(|range| !range.is_empty());
        range.ok_or_else(|| {
            format!(
                "has the item \"{}\", which is not a port from 1 to 65535 or a range of them",
                item.trim()
            )
        })
    };
    text.split(',').map(range).collect::<Result<_, _>>().map(Ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_named_in_any_order_and_case() {
        let all = Forms { header: true, absolute: true, connect: true };
        assert_eq!(forms("header"), Ok(Forms { header: true, ..Forms::default() }));
        assert_eq!(forms(" Connect , ABSOLUTE,header"), Ok(all));
        assert_eq!(forms("connect,connect"), Ok(Forms { connect: true, ..Forms::default() }));
        for bad in ["", "header,", "headers", "header absolute", "none"] {
            assert!(forms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        let some = ports("443, 8000-8999 ,1-1,65535").expect("well formed");
        for (port, named) in
            [(443, true), (444, false), (8000, true), (8999, true), (9000, false), (1, true), (65_535, true)]
        {
            assert_eq!(some.name(port), named, "{port}");
        }
        for bad in ["", "0", "65536", "443,", "9-8", "1-", "-1", "1-2-3", "https", "0-10"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
    }
}
