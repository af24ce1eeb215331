//! The SSRF guard: which IP addresses an app may make the hub dial. Public
//! unicast, nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What the app's developer reads.
pub const REFUSED: &str = "the address is not public";

/// IANA's special-purpose IPv4 ranges, and multicast.
/// <https://www.iana.org/assignments/iana-ipv4-special-registry>
const FORBIDDEN_V4: [Ipv4Net; 18] = [
    v4(0, 0, 0, 0, 8),        // this network
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT
    v4(127, 0, 0, 0, 8),      // loopback
    v4(169, 254, 0, 0, 16),   // link-local, cloud metadata
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 31, 196, 0, 24),  // AS112
    v4(192, 52, 193, 0, 24),  // AMT
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(168, 63, 129, 16, 32), // Azure's host agent: metadata in public clothes
    v4(192, 168, 0, 0, 16),   // private
    v4(192, 175, 48, 0, 24),  // AS112
    v4(198, 18, 0, 0, 15),    // benchmarking
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 3),      // multicast, reserved, broadcast
];

/// Global unicast; everything outside is refused: loopback, mapped and NAT64
/// forms, unique local, link-local, multicast.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// Special ranges within global unicast.
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>
const FORBIDDEN_V6: [Ipv6Net; 5] = [
    v6(0x2001, 0, 0, 23),         // protocol assignments, Teredo, ORCHID
    v6(0x2001, 0xdb8, 0, 32),     // documentation
    v6(0x2002, 0, 0, 16),         // 6to4: carries any IPv4 address
    v6(0x2620, 0x4f, 0x8000, 48), // AS112
    v6(0x3fff, 0, 0, 20),         // documentation
];

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(a: u16, b: u16, c: u16, length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

/// The rule, and the networks exempted by the operator.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
}

impl Guard {
    /// A guard that also permits these networks.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether this address may be dialled.
    #[must_use]
    pub fn permits(&self, ip: IpAddr) -> bool {
        self.allowed.iter().any(|net| net.contains(&ip)) || is_public(ip)
    }
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !FORBIDDEN_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip) && !FORBIDDEN_V6.iter().any(|net| net.contains(&ip))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is refused, from its first to its last address, and the public
    /// neighbours on both sides where there are any.
    #[rustfmt::skip]
    const REFUSED_RANGES: [(&str, &str, &str, &str, &str); 39] = [
        ("this network",         "",                "0.0.0.0",        "0.255.255.255",   "1.0.0.0"),
        ("private",              "9.255.255.255",   "10.0.0.0",       "10.255.255.255",  "11.0.0.0"),
        ("carrier-grade NAT",    "100.63.255.255",  "100.64.0.0",     "100.127.255.255", "100.128.0.0"),
        ("loopback",             "126.255.255.255", "127.0.0.0",      "127.255.255.255", "128.0.0.0"),
        ("Azure's host agent",   "168.63.129.15",   "168.63.129.16",  "168.63.129.16",   "168.63.129.17"),
        ("link-local",           "169.253.255.255", "169.254.0.0",    "169.254.255.255", "169.255.0.0"),
        ("private",              "172.15.255.255",  "172.16.0.0",     "172.31.255.255",  "172.32.0.0"),
        ("protocol assignments", "191.255.255.255", "192.0.0.0",      "192.0.0.255",     "192.0.1.0"),
        ("documentation",        "192.0.1.255",     "192.0.2.0",      "192.0.2.255",     "192.0.3.0"),
        ("AS112",                "192.31.195.255",  "192.31.196.0",   "192.31.196.255",  "192.31.197.0"),
        ("AMT",                  "192.52.192.255",  "192.52.193.0",   "192.52.193.255",  "192.52.194.0"),
        ("6to4 relays",          "192.88.98.255",   "192.88.99.0",    "192.88.99.255",   "192.88.100.0"),
        ("private",              "192.167.255.255", "192.168.0.0",    "192.168.255.255", "192.169.0.0"),
        ("AS112",                "192.175.47.255",  "192.175.48.0",   "192.175.48.255",  "192.175.49.0"),
        ("benchmarking",         "198.17.255.255",  "198.18.0.0",     "198.19.255.255",  "198.20.0.0"),
        ("documentation",        "198.51.99.255",   "198.51.100.0",   "198.51.100.255",  "198.51.101.0"),
        ("documentation",        "203.0.112.255",   "203.0.113.0",    "203.0.113.255",   "203.0.114.0"),
        ("multicast",            "223.255.255.255", "224.0.0.0",      "239.255.255.255", ""),
        ("reserved, broadcast",  "",                "240.0.0.0",      "255.255.255.255", ""),
        ("unspecified",          "",                "::",             "::",              ""),
        ("loopback",             "",                "::1",            "::1",             ""),
        ("IPv4-compatible",      "",                "::0.0.0.2",      "::255.255.255.255", ""),
        ("IPv4-mapped",          "",                "::ffff:0:0",     "::ffff:255.255.255.255", ""),
        ("IPv4-translated",      "",                "::ffff:0:0:0",   "::ffff:0:ffff:ffff", ""),
        ("NAT64",                "",                "64:ff9b::",      "64:ff9b::ffff:ffff", ""),
        ("local NAT64",          "",                "64:ff9b:1::",    "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", ""),
        ("discard-only",         "",                "100::",          "100::ffff:ffff:ffff:ffff", ""),
        ("below global unicast", "",                "200::",          "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
        ("assignments, Teredo",  "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"),
        ("documentation",        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",  "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"),
        ("6to4",                 "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"),
        ("AS112",                "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",   "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"),
        ("documentation",        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"),
        ("above global unicast", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
        ("segment routing",      "",                "5f00::",         "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
        ("unique local",         "",                "fc00::",         "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
        ("link-local",           "",                "fe80::",         "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
        ("site-local",           "",                "fec0::",         "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
        ("multicast",            "",                "ff00::",         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""),
    ];

    /// Where clouds keep what nobody outside may read.
    #[rustfmt::skip]
    const METADATA: [(&str, &str); 9] = [
        ("AWS, Azure, Google",      "169.254.169.254"),
        ("AWS, IPv6",               "fd00:ec2::254"),
        ("ECS credentials",         "169.254.170.2"),
        ("EKS credentials",         "169.254.170.23"),
        ("EKS credentials, IPv6",   "fd00:ec2::23"),
        ("AWS resolver and time",   "169.254.169.253"),
        ("Alibaba Cloud",           "100.100.100.200"),
        ("Oracle Cloud, old",       "192.0.0.192"),
        ("Google Cloud, IPv6",      "fd20:ce::254"),
    ];

    #[test]
    fn every_special_range_is_refused_from_end_to_end_and_its_neighbours_are_not() {
        let guard = Guard::default();
        for (name, before, first, last, after) in REFUSED_RANGES {
            for ip in [first, last] {
                assert!(!guard.permits(ip.parse().unwrap()), "{name}: {ip}");
            }
            for ip in [before, after].into_iter().filter(|ip| !ip.is_empty()) {
                assert!(guard.permits(ip.parse().unwrap()), "beside {name}: {ip}");
            }
        }
    }

    #[test]
    fn metadata_is_refused_and_public_addresses_are_permitted() {
        let guard = Guard::default();
        for (name, ip) in METADATA {
            assert!(!guard.permits(ip.parse().unwrap()), "{name}: {ip}");
        }
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "119.29.29.29",
            "2606:4700::1111",
            "2400:3200::1",
        ] {
            assert!(guard.permits(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn the_operator_may_exempt_networks() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap()]);
        assert!(guard.permits("127.0.0.1".parse().unwrap()));
        assert!(!guard.permits("10.0.0.1".parse().unwrap()));
        assert!(!guard.permits("::ffff:127.0.0.1".parse().unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn no_permitted_ipv4_address_is_special_to_the_standard_library(bits in any::<u32>()) {
            let ip = Ipv4Addr::from(bits);
            prop_assert!(!is_public(ip.into()) || !(ip.is_private() || ip.is_loopback() || ip.is_link_local()
                || ip.is_unspecified() || ip.is_documentation() || ip.is_multicast()
                || ip.is_broadcast()));
        }

        #[test]
        fn no_permitted_ipv6_address_is_special_to_the_standard_library(bits in any::<u128>()) {
            let ip = Ipv6Addr::from(bits);
            prop_assert!(!is_public(ip.into()) || !(ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local()
                || ip.is_unspecified() || ip.is_multicast()));
        }

        #[test]
        fn no_ipv6_form_that_carries_an_ipv4_address_is_permitted(bits in any::<u32>()) {
            let low = u128::from(bits);
            for (form, ip) in [
                ("compatible", low),
                ("mapped", 0xffff << 32 | low),
                ("translated", 0xffff << 48 | low),
                ("NAT64", 0x64_ff9b << 96 | low),
                ("local NAT64", 0x64_ff9b_0001 << 80 | low),
                ("6to4", 0x2002 << 112 | low << 80),
                ("Teredo", 0x2001 << 112 | low << 64 | (!low & 0xffff_ffff)),
            ] {
                prop_assert!(!is_public(Ipv6Addr::from(ip).into()), "{}: {:x}", form, ip);
            }
        }
    }
}
