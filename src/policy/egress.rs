//! Where requests may go: `proxy.target.*`, and `proxy.groups[N].allow`, `.deny`, `.default` for clients of a group.
//!
//! ```text
//! a rule of deny names it   -> denied
//! a rule of allow names it  -> passes (a metadata service only if the rule is its very address)
//! what its address is       -> denied: loopback, link-local, multicast, reserved, metadata; private if so set
//! nothing of these          -> passes, or denied with default=deny
//! ```
//! The rules of a client's group count beside those for everyone. Judged is the name first, so that a denied one is
//! never asked for, then each address about to be dialled, so that a name gains nothing by what it resolves to. A rule of
//! deny also counts for the IPv4 address inside an IPv6 one (NAT64, 6to4); a rule of allow does not. Our own listeners are
//! denied elsewhere, where they are known. In the mode `report` everything passes that is denied here, but for metadata
//! services.

use super::groups::{GroupNumber, Groups};
use super::standing::{Standing, embedded};
use super::target_rule::{TargetRule, rules};
use crate::fault::What;
use crate::setting::{AnySetting, Setting, Source};
use crate::value;
use serde::Deserialize;
use std::borrow::Cow;
use std::net::IpAddr;

/// The settings of this file.
pub static ALL: &[&dyn AnySetting] =
    &[&TARGET_ALLOW, &TARGET_DENY, &TARGET_DEFAULT, &TARGET_PRIVATE, &TARGET_MODE];

/// Its settings for groups.
pub static OF_GROUPS: &[&dyn AnySetting] = &[&GROUP_ALLOW, &GROUP_DENY, &GROUP_DEFAULT];

/// Which targets are allowed.
pub static TARGET_ALLOW: Setting<Vec<TargetRule>> = Setting::new(
    "proxy.target.allow",
    "",
    rules,
    "Targets allowed although they are loopback, link-local, multicast, reserved or private addresses, or although \
     proxy.target.default is deny: a comma list of host names, *.suffix, addresses and networks, each with an optional :port (IPv6 \
     then as [::1]:8080). A host name counts whatever it resolves to; cloud metadata addresses only if named literally.",
);
/// Which targets are denied.
pub static TARGET_DENY: Setting<Vec<TargetRule>> = Setting::new(
    "proxy.target.deny",
    "",
    rules,
    "Targets nobody may reach, written as in proxy.target.allow, which they overrule. Host names are denied before they are \
     resolved, addresses and networks for every name that leads to them.",
);
/// What becomes of targets that no rule names.
pub static TARGET_DEFAULT: Setting<Verdict> = Setting::new(
    "proxy.target.default",
    "allow",
    verdict,
    "What becomes of a target that no rule names: `allow`, or `deny`, which makes proxy.target.allow the list of all targets.",
);
/// What becomes of private addresses.
pub static TARGET_PRIVATE: Setting<Verdict> = Setting::new(
    "proxy.target.private",
    "allow",
    verdict,
    "What becomes of targets with private addresses (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7) that no rule names: \
     `allow` (they are counted) or `deny`.",
);
/// Whether anything is denied at all.
pub static TARGET_MODE: Setting<Mode> = Setting::new(
    "proxy.target.mode",
    "enforce",
    |text| value::choice(text).map_err(|_| "is not one of enforce, report".to_owned()),
    "`enforce`, or `report`: what would be denied passes, is counted and logged (`apim-proxy learn` makes a list of it); metadata \
     services and the proxy's own ports stay denied.",
);
/// What a group may reach beside what everyone may.
pub static GROUP_ALLOW: Setting<Vec<TargetRule>> = Setting::new(
    "proxy.groups[N].allow",
    "",
    rules,
    "Targets that this group may reach beside those of proxy.target.allow.",
);
/// What a group may not reach.
pub static GROUP_DENY: Setting<Vec<TargetRule>> = Setting::new(
    "proxy.groups[N].deny",
    "",
    rules,
    "Targets that this group may not reach beside those of proxy.target.deny.",
);
/// Whether a group's list is exclusive.
pub static GROUP_DEFAULT: Setting<Option<Verdict>> = Setting::new(
    "proxy.groups[N].default",
    "",
    |text| if text.trim().is_empty() { Ok(None) } else { verdict(text).map(Some) },
    "What becomes of a target of this group that no rule names; unset: as proxy.target.default says.",
);

fn verdict(text: &str) -> Result<Verdict, String> {
    value::choice(text).map_err(|_| "is not one of allow, deny".to_owned())
}

/// What becomes of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    #[default]
    Allow,
    /// It does not.
    Deny,
}

/// What a denial does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is one.
    #[default]
    Enforce,
    /// It is only told.
    Report,
}

impl Mode {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

/// Why a target is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// The rule of `proxy.target.deny` at this place.
    Deny(usize),
    /// The rule of the group's `deny` at this place.
    GroupDeny(usize),
    /// What its address is.
    Standing(Standing),
    /// No rule allows it.
    Default,
    /// It is one of our listeners.
    Own,
}

/// Rules for everyone or for a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rules {
    allow: Vec<TargetRule>,
    deny: Vec<TargetRule>,
    /// `None`: as for everyone.
    otherwise: Option<Verdict>,
}

/// The egress policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// The groups of clients.
    pub groups: Groups,
    everyone: Rules,
    /// Those of each group.
    of_groups: Vec<Rules>,
    private: Verdict,
    mode: Mode,
}

impl Egress {
    /// Reads the policy.
    ///
    /// # Errors
    /// A key and what is wrong with it.
    pub fn from(source: &impl Source) -> Result<Self, (String, String)> {
        let groups = Groups::from(source)?;
        let everyone = Rules {
            allow: one(source, &TARGET_ALLOW)?,
            deny: one(source, &TARGET_DENY)?,
            otherwise: Some(one(source, &TARGET_DEFAULT)?),
        };
        let mut of_groups = Vec::new();
        for index in groups.indexes() {
            of_groups.push(Rules {
                allow: of_group(source, &GROUP_ALLOW, index)?,
                deny: of_group(source, &GROUP_DENY, index)?,
                otherwise: of_group(source, &GROUP_DEFAULT, index)?,
            });
        }
        for setting in OF_GROUPS {
            let known: Vec<usize> = groups.indexes().collect();
            if let Some((index, _)) =
                source.indexed(setting.key()).iter().find(|(index, _)| !known.contains(index))
            {
                let what = format!("is for nobody; set proxy.groups[{index}].addresses or .subjects");
                return Err((setting.key().replace("[N]", &format!("[{index}]")), what));
            }
        }
        let (private, mode) = (one(source, &TARGET_PRIVATE)?, one(source, &TARGET_MODE)?);
        Ok(Self { groups, everyone, of_groups, private, mode })
    }

    /// Judges the target `host` (a name, or a literal without brackets) at `port` before it is resolved. What passes here
    /// is not allowed yet: [`Egress::judge_address`] has the last word on each address.
    ///
    /// # Errors
    /// Why it is denied whatever it resolves to.
    pub fn judge_name(&self, group: GroupNumber, host: &str, port: u16) -> Result<(), Ground> {
        if let Ok(address) = host.parse() {
            return self.judge_address(group, host, port, address);
        }
        let host = bare(host);
        self.denies(group, |rule| rule.names_host(host, port))?;
        let may_allow = |rule: &TargetRule| rule.names_host(host, port) || rule.names_addresses(port);
        if self.otherwise(group) == Verdict::Deny && !self.allows(group, may_allow) {
            return Err(Ground::Default);
        }
        Ok(())
    }

    /// Judges the dialling of `address` for a target written as `host` and `port`. To be called for every address of a
    /// name, right before the connection. Allocates nothing.
    ///
    /// # Errors
    /// Why it is denied.
    pub fn judge_address(
        &self,
        group: GroupNumber,
        host: &str,
        port: u16,
        address: IpAddr,
    ) -> Result<(), Ground> {
        let (host, address) = (bare(host), address.to_canonical());
        let inside = embedded(address).map(IpAddr::V4);
        self.denies(group, |rule| {
            rule.names_host(host, port)
                || rule.names_address(port, address)
                || inside.is_some_and(|inside| rule.names_address(port, inside))
        })?;
        let standing = Standing::of(address);
        let allowed = self.allows(group, |rule| {
            let counts = standing != Standing::Metadata || rule.is_literal();
            counts && (rule.names_host(host, port) || rule.names_address(port, address))
        });
        match standing {
            _ if allowed => Ok(()),
            Standing::Denied | Standing::Metadata => Err(Ground::Standing(standing)),
            Standing::Private if self.private == Verdict::Deny => Err(Ground::Standing(standing)),
            Standing::Private | Standing::Public => match self.otherwise(group) {
                Verdict::Allow => Ok(()),
                Verdict::Deny => Err(Ground::Default),
            },
        }
    }

    fn group(&self, group: GroupNumber) -> Option<&Rules> {
        self.of_groups.get(usize::from(group).checked_sub(1)?)
    }

    fn denies(&self, group: GroupNumber, names: impl Fn(&TargetRule) -> bool) -> Result<(), Ground> {
        if let Some(at) = self.everyone.deny.iter().position(&names) {
            return Err(Ground::Deny(at));
        }
        match self.group(group).and_then(|rules| rules.deny.iter().position(&names)) {
            Some(at) => Err(Ground::GroupDeny(at)),
            None => Ok(()),
        }
    }

    fn allows(&self, group: GroupNumber, names: impl Fn(&TargetRule) -> bool) -> bool {
        self.everyone.allow.iter().any(&names)
            || self.group(group).is_some_and(|rules| rules.allow.iter().any(&names))
    }

    fn otherwise(&self, group: GroupNumber) -> Verdict {
        let own = self.group(group).and_then(|rules| rules.otherwise);
        own.or(self.everyone.otherwise).unwrap_or_default()
    }

    /// Whether a denial on this ground is one, or only told.
    pub fn mode_of(&self, ground: Ground) -> Mode {
        match ground {
            Ground::Own | Ground::Standing(Standing::Metadata) => Mode::Enforce,
            _ => self.mode,
        }
    }

    /// What a denial on this ground is told the client as; the rest is for the log.
    pub const fn what(ground: Ground) -> What {
        match ground {
            Ground::Deny(_) | Ground::GroupDeny(_) => What::TargetBarred,
            Ground::Standing(_) | Ground::Default | Ground::Own => What::TargetDenied,
        }
    }

    /// The rule that denies clients of `group` on this ground, for the log.
    pub fn rule(&self, group: GroupNumber, ground: Ground) -> Cow<'static, str> {
        let index = self.groups.indexes().nth(usize::from(group).wrapping_sub(1)).unwrap_or_default();
        let rule = |rules: Option<&Rules>, at| {
            rules.and_then(|rules| rules.deny.get(at)).map(ToString::to_string).unwrap_or_default()
        };
        match ground {
            Ground::Deny(at) => format!("proxy.target.deny={}", rule(Some(&self.everyone), at)).into(),
            Ground::GroupDeny(at) => {
                format!("proxy.groups[{index}].deny={}", rule(self.group(group), at)).into()
            }
            Ground::Standing(Standing::Private) => "proxy.target.private=deny".into(),
            Ground::Standing(standing) => format!("built-in: {}", standing.name()).into(),
            Ground::Default if self.group(group).is_some_and(|rules| rules.otherwise.is_some()) => {
                format!("proxy.groups[{index}].default=deny").into()
            }
            Ground::Default => "proxy.target.default=deny".into(),
            Ground::Own => "built-in: our own listener".into(),
        }
    }
}

/// A name without the dot that ends it.
fn bare(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn one<T>(source: &impl Source, setting: &Setting<T>) -> Result<T, (String, String)> {
    source.value(setting).map_err(|what| (setting.key.to_owned(), what))
}

/// What the group at `index` sets, or the default.
fn of_group<T>(source: &impl Source, setting: &Setting<T>, index: usize) -> Result<T, (String, String)> {
    let texts = source.indexed(setting.key);
    let text = texts.iter().find(|(at, _)| *at == index).map_or(setting.default, |(_, text)| *text);
    (setting.parse)(text).map_err(|what| (setting.key.replace("[N]", &format!("[{index}]")), what))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings, `key=value` each, indexes included.
    struct Texts<'a>(&'a [&'a str]);

    impl<'a> Texts<'a> {
        fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
            self.0.iter().map(|line| line.split_once('=').expect("key=value"))
        }
    }

    impl Source for Texts<'_> {
        fn text(&self, key: &'static str) -> Option<&str> {
            self.pairs().find(|(name, _)| *name == key).map(|(_, text)| text)
        }

        fn indexed(&self, key: &'static str) -> Vec<(usize, &str)> {
            let index = |name: &str| -> Option<usize> {
                let (before, after) = key.split_once("[N]")?;
                name.strip_prefix(before)?
                    .strip_prefix('[')?
                    .strip_suffix(after)?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            };
            self.pairs().filter_map(|(name, text)| Some((index(name)?, text))).collect()
        }
    }

    fn policy(lines: &[&str]) -> Egress {
        Egress::from(&Texts(lines)).expect("a policy")
    }

    /// What the policy says of `host` at `port`, first of the name, then of the address.
    fn judged(
        egress: &Egress,
        group: GroupNumber,
        host: &str,
        port: u16,
        address: &str,
    ) -> Result<(), String> {
        egress
            .judge_name(group, host, port)
            .map_err(|ground| format!("name: {}", egress.rule(group, ground)))?;
        egress
            .judge_address(group, host, port, address.parse().expect("an address"))
            .map_err(|ground| egress.rule(group, ground).into_owned())
    }

    /// Host, port, address, verdict: `ok` passes, `name: rule` is denied before it is resolved.
    type Row = (&'static str, u16, &'static str, &'static str);

    /// Each policy with what it says.
    const TABLE: &[(&[&str], &[Row])] = &[
        (
            &[],
            &[
                ("a.test", 80, "1.1.1.1", "ok"),
                ("a.test", 80, "10.0.0.1", "ok"),
                ("a.test", 80, "127.0.0.1", "built-in: loopback, link-local, multicast or reserved"),
                ("127.0.0.1", 80, "127.0.0.1", "name: built-in: loopback, link-local, multicast or reserved"),
                ("169.254.169.254", 80, "169.254.169.254", "name: built-in: metadata service"),
                ("a.test", 80, "64:ff9b::7f00:1", "built-in: loopback, link-local, multicast or reserved"),
            ],
        ),
        (
            &[
                "proxy.target.deny=bad.test, *.evil.test:443, 10.0.0.0/8, [2600::/16]:80, *:25",
                "proxy.target.allow=*",
            ],
            &[
                ("bad.test", 80, "1.1.1.1", "name: proxy.target.deny=bad.test"),
                ("BAD.test.", 80, "1.1.1.1", "name: proxy.target.deny=bad.test"),
                ("a.evil.test", 443, "1.1.1.1", "name: proxy.target.deny=*.evil.test:443"),
                ("a.evil.test", 80, "1.1.1.1", "ok"),
                ("evil.test", 443, "1.1.1.1", "ok"),
                ("a.test", 80, "10.9.9.9", "proxy.target.deny=10.0.0.0/8"),
                ("a.test", 80, "::ffff:10.9.9.9", "proxy.target.deny=10.0.0.0/8"),
                ("a.test", 80, "64:ff9b::10.9.9.9", "proxy.target.deny=10.0.0.0/8"),
                ("a.test", 80, "2002:a09:909::1", "proxy.target.deny=10.0.0.0/8"),
                ("a.test", 80, "::10.9.9.9", "proxy.target.deny=10.0.0.0/8"),
                ("10.9.9.9", 80, "10.9.9.9", "name: proxy.target.deny=10.0.0.0/8"),
                ("a.test", 80, "2600::1", "proxy.target.deny=[2600::/16]:80"),
                ("a.test", 443, "2600::1", "ok"),
                ("a.test", 25, "1.1.1.1", "name: proxy.target.deny=*:25"),
                ("a.test", 80, "127.0.0.1", "ok"),
                ("a.test", 80, "169.254.169.254", "built-in: metadata service"),
            ],
        ),
        (
            &[
                "proxy.target.default=deny",
                "proxy.target.allow=a.test:443,*.b.test,1.1.1.0/24:80,127.0.0.1:81",
            ],
            &[
                ("a.test", 443, "8.8.8.8", "ok"),
                ("a.test", 443, "10.0.0.1", "ok"),
                ("a.test", 444, "8.8.8.8", "name: proxy.target.default=deny"),
                ("x.b.test", 444, "8.8.8.8", "ok"),
                ("b.test", 444, "8.8.8.8", "name: proxy.target.default=deny"),
                ("c.test", 80, "1.1.1.9", "ok"),
                ("c.test", 80, "1.1.2.9", "proxy.target.default=deny"),
                ("c.test", 80, "10.0.0.1", "proxy.target.default=deny"),
                ("c.test", 81, "127.0.0.1", "ok"),
                ("c.test", 81, "127.0.0.2", "built-in: loopback, link-local, multicast or reserved"),
                ("c.test", 82, "1.1.1.9", "name: proxy.target.default=deny"),
                ("1.1.2.9", 80, "1.1.2.9", "name: proxy.target.default=deny"),
            ],
        ),
        (
            &["proxy.target.private=deny", "proxy.target.allow=10.1.0.0/16, intern.test"],
            &[
                ("a.test", 80, "1.1.1.1", "ok"),
                ("a.test", 80, "10.1.0.1", "ok"),
                ("a.test", 80, "10.2.0.1", "proxy.target.private=deny"),
                ("a.test", 80, "64:ff9b::10.2.0.1", "proxy.target.private=deny"),
                ("a.test", 80, "fd00::1", "proxy.target.private=deny"),
                ("intern.test", 80, "fd00::1", "ok"),
                ("fd00::1", 80, "fd00::1", "name: proxy.target.private=deny"),
            ],
        ),
    ];

    #[test]
    fn deny_then_allow_then_what_the_address_is_then_the_default() {
        for (lines, rows) in TABLE {
            let egress = policy(lines);
            for (host, port, address, verdict) in *rows {
                let expected = if *verdict == "ok" { Ok(()) } else { Err((*verdict).to_owned()) };
                assert_eq!(
                    judged(&egress, 0, host, *port, address),
                    expected,
                    "{lines:?} {host}:{port} {address}"
                );
            }
        }
    }

    #[test]
    fn the_rules_of_a_group_count_beside_those_for_everyone() {
        let egress = policy(&[
            "proxy.target.default=deny",
            "proxy.target.allow=all.test",
            "proxy.target.deny=never.test",
            "proxy.groups[3].addresses=10.0.0.0/8",
            "proxy.groups[3].allow=own.test,never.test,127.0.0.1",
            "proxy.groups[3].deny=all.test:81",
            "proxy.groups[5].addresses=11.0.0.0/8",
            "proxy.groups[5].default=allow",
            "proxy.groups[6].addresses=12.0.0.0/8",
            "proxy.groups[6].default=deny",
        ]);
        for (group, host, port, address, verdict) in [
            (0, "all.test", 81, "1.1.1.1", "ok"),
            (0, "own.test", 80, "1.1.1.1", "name: proxy.target.default=deny"),
            (1, "own.test", 80, "1.1.1.1", "ok"),
            (1, "all.test", 80, "1.1.1.1", "ok"),
            (1, "all.test", 81, "1.1.1.1", "name: proxy.groups[3].deny=all.test:81"),
            (1, "never.test", 80, "1.1.1.1", "name: proxy.target.deny=never.test"),
            (1, "x.test", 80, "127.0.0.1", "ok"),
            (1, "x.test", 80, "1.1.1.1", "proxy.target.default=deny"),
            (2, "own.test", 80, "1.1.1.1", "ok"),
            (2, "own.test", 80, "127.0.0.1", "built-in: loopback, link-local, multicast or reserved"),
            (3, "own.test", 80, "1.1.1.1", "name: proxy.groups[6].default=deny"),
        ] {
            let expected = if verdict == "ok" { Ok(()) } else { Err(verdict.to_owned()) };
            assert_eq!(
                judged(&egress, group, host, port, address),
                expected,
                "{group} {host}:{port} {address}"
            );
        }
    }

    #[test]
    fn metadata_needs_its_literal_address() {
        for address in super::super::standing::METADATA {
            let text = address.to_string();
            for rule in ["*", "metadata.test", "169.254.0.0/16", "fd00::/8", "100.64.0.0/10", "*.test"] {
                let egress = policy(&[&format!("proxy.target.allow={rule}")]);
                assert!(egress.judge_address(0, "metadata.test", 80, address).is_err(), "{rule} {text}");
            }
            let rule = if address.is_ipv6() { format!("[{text}]:80") } else { format!("{text}:80") };
            let egress = policy(&[&format!("proxy.target.allow={rule}")]);
            assert_eq!(egress.judge_address(0, "metadata.test", 80, address), Ok(()), "{rule}");
            assert!(egress.judge_address(0, "metadata.test", 81, address).is_err(), "{rule}");
        }
        let egress = policy(&["proxy.target.allow=*"]);
        for text in ["64:ff9b::169.254.169.254", "::ffff:169.254.169.254", "2002:a9fe:a9fe::"] {
            assert!(egress.judge_address(0, "x", 80, text.parse().expect("an address")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_report_denies_metadata_services_and_our_own_listeners_only() {
        let egress = policy(&["proxy.target.mode=Report"]);
        for (ground, mode) in [
            (Ground::Deny(0), Mode::Report),
            (Ground::GroupDeny(0), Mode::Report),
            (Ground::Default, Mode::Report),
            (Ground::Standing(Standing::Denied), Mode::Report),
            (Ground::Standing(Standing::Private), Mode::Report),
            (Ground::Standing(Standing::Metadata), Mode::Enforce),
            (Ground::Own, Mode::Enforce),
        ] {
            assert_eq!(egress.mode_of(ground), mode, "{ground:?}");
            assert_eq!(policy(&[]).mode_of(ground), Mode::Enforce, "{ground:?}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        for (line, key) in [
            ("proxy.target.allow=a:0", "proxy.target.allow"),
            ("proxy.target.deny=http://a", "proxy.target.deny"),
            ("proxy.target.default=maybe", "proxy.target.default"),
            ("proxy.target.private=no", "proxy.target.private"),
            ("proxy.target.mode=off", "proxy.target.mode"),
            ("proxy.groups[4].allow=a.test", "proxy.groups[4].allow"),
            ("proxy.groups[4].default=deny", "proxy.groups[4].default"),
        ] {
            assert_eq!(Egress::from(&Texts(&[line])).map_err(|(key, _)| key), Err(key.to_owned()), "{line}");
        }
    }
}
