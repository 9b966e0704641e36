//! What an address is, before any rule: which ones no target has a reason to name.
//!
//! ```text
//! denied    IPv4  0/8  127/8  169.254/16  192.0.0/24  192.0.2/24  192.88.99/24  198.18/15  198.51.100/24
//!                 203.0.113/24  224/4  240/4 (with 255.255.255.255)
//!           IPv6  all but global unicast (2000::/3) and unique local (fc00::/7): so ::, ::1, IPv4-compatible, local
//!                 NAT64 64:ff9b:1::/48, fe80::/10, fec0::/10, ff00::/8; and of global unicast 2001::/23 (Teredo and
//!                 other protocols), 2001:db8::/32, 3fff::/20
//! metadata  the services below
//! private   10/8  172.16/12  192.168/16  100.64/10  fc00::/7
//! public    the rest
//! ```
//! IPv4 addresses inside IPv6 ones (mapped, NAT64 64:ff9b::/96, 6to4 2002::/16) are judged as the IPv4 address. Sources:
//! the IANA special-purpose address registries (RFC 6890), RFC 6052, RFC 8215, RFC 3056.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Services that hand out credentials of the machine: lifted only by a rule naming the very address.
pub const METADATA: [IpAddr; 7] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// What an address is before any rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Anywhere on the Internet.
    Public,
    /// Within the operator's own networks, as far as the address tells.
    Private,
    /// Loopback, link-local, multicast, reserved.
    Denied,
    /// A service that hands out credentials of the machine.
    Metadata,
}

impl Standing {
    /// What `address` is; an IPv4-mapped one is the IPv4 address.
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        if METADATA.contains(&address) {
            return Self::Metadata;
        }
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0 | 127 | 224..=255, ..]
            | [169, 254, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Denied,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x2002, ..] => {
                embedded(address.into()).map_or(Self::Denied, |inside| Self::of(inside.into()))
            }
            [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] => Self::Denied,
            [0x2000..=0x3fff, ..] => Self::Public,
            [0xfc00..=0xfdff, ..] => Self::Private,
            _ => Self::Denied,
        }
    }

    /// What it is called in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Denied => "loopback, link-local, multicast or reserved",
            Self::Metadata => "metadata service",
        }
    }
}

/// The IPv4 address that an IPv6 one carries towards a translator or a tunnel: NAT64, 6to4, IPv4-compatible and
/// IPv4-translated.
pub fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [0, 0, 0, 0, 0 | 0xffff, 0, high, low] => {
            Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Standing {
        Standing::of(address.parse().expect(address))
    }

    #[test]
    fn what_no_target_has_a_reason_to_name_is_denied() {
        for address in "0.0.0.0 0.1.2.3 127.0.0.1 127.255.255.255 169.254.0.1 192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 \
                        198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 \
                        ::127.0.0.1 ::10.1.2.3 ::ffff:127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::127.0.0.1 64:ff9b:1::1 \
                        2002:7f00:1:: fe80::1 febf::1 fec0::1 ff02::1 2001::1 2001:1ff::1 2001:db8::1 3fff:fff::1 100::1 \
                        4000::1"
            .split_whitespace()
        {
            assert_eq!(of(address), Standing::Denied, "{address}");
        }
    }

    #[test]
    fn metadata_services_are_known_in_every_notation() {
        let v4 = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200"];
        for address in v4.into_iter().chain(["fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"]) {
            assert_eq!(of(address), Standing::Metadata, "{address}");
        }
        for address in ["::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1"] {
            assert_eq!(of(address), Standing::Metadata, "{address}");
        }
    }

    #[test]
    fn public_and_private_addresses_are_told_apart() {
        for address in "1.1.1.1 8.8.8.8 126.255.255.255 128.0.0.1 169.253.255.255 172.15.0.1 172.32.0.1 192.167.0.1 \
                        198.17.0.1 198.20.0.1 223.255.255.255 100.63.0.1 100.128.0.1 64:ff9b::8.8.8.8 2002:808:808::1 \
                        2001:200::1 2600::1 3fff:1000::1"
            .split_whitespace()
        {
            assert_eq!(of(address), Standing::Public, "{address}");
        }
        for address in
            "10.1.2.3 172.16.0.1 172.31.0.1 192.168.1.1 100.64.0.1 100.127.0.1 ::ffff:10.1.2.3 fc00::1 \
                        fd12:3456::1 64:ff9b::10.1.2.3 2002:a01:203::"
                .split_whitespace()
        {
            assert_eq!(of(address), Standing::Private, "{address}");
        }
    }

    #[test]
    fn addresses_inside_others_are_found() {
        for (outside, inside) in [
            ("64:ff9b::10.1.2.3", Some("10.1.2.3")),
            ("2002:a01:203:1::1", Some("10.1.2.3")),
            ("::10.1.2.3", Some("10.1.2.3")),
            ("::ffff:0:10.1.2.3", Some("10.1.2.3")),
            ("2600::a01:203", None),
            ("10.1.2.3", None),
        ] {
            let inside = inside.map(|address| address.parse().expect("an address"));
            assert_eq!(embedded(outside.parse().expect("an address")), inside, "{outside}");
        }
    }
}
