//! The address policy, block by block: the first and last address of each registry row, what is carved out of it, and its neighbours.

use super::*;
use proptest::prelude::*;

const PUBLIC: Option<&str> = None;

/// Address, and the block that refuses it.
const VERDICTS: [(&str, Option<&str>); 177] = [
    ("0.0.0.0", Some("This network")),
    ("0.255.255.255", Some("This network")),
    ("1.0.0.0", PUBLIC),
    ("9.255.255.255", PUBLIC),
    ("10.0.0.0", Some("Private-Use")),
    ("10.255.255.255", Some("Private-Use")),
    ("11.0.0.0", PUBLIC),
    ("100.63.255.255", PUBLIC),
    ("100.64.0.0", Some("Shared Address Space")),
    ("100.100.100.200", Some("Shared Address Space")),
    ("100.127.255.255", Some("Shared Address Space")),
    ("100.128.0.0", PUBLIC),
    ("126.255.255.255", PUBLIC),
    ("127.0.0.0", Some("Loopback")),
    ("127.0.0.1", Some("Loopback")),
    ("127.255.255.255", Some("Loopback")),
    ("128.0.0.0", PUBLIC),
    ("168.63.129.15", PUBLIC),
    ("168.63.129.16", Some("Azure platform")),
    ("168.63.129.17", PUBLIC),
    ("169.253.255.255", PUBLIC),
    ("169.254.0.0", Some("Link Local")),
    ("169.254.169.254", Some("Link Local")),
    ("169.254.255.255", Some("Link Local")),
    ("169.255.0.0", PUBLIC),
    ("172.15.255.255", PUBLIC),
    ("172.16.0.0", Some("Private-Use")),
    ("172.31.255.255", Some("Private-Use")),
    ("172.32.0.0", PUBLIC),
    ("191.255.255.255", PUBLIC),
    ("192.0.0.0", Some("IPv4 Service Continuity Prefix")),
    ("192.0.0.7", Some("IPv4 Service Continuity Prefix")),
    ("192.0.0.8", Some("IPv4 dummy address")),
    ("192.0.0.9", PUBLIC),
    ("192.0.0.10", PUBLIC),
    ("192.0.0.11", Some("IETF Protocol Assignments")),
    ("192.0.0.169", Some("IETF Protocol Assignments")),
    ("192.0.0.170", Some("NAT64/DNS64 Discovery")),
    ("192.0.0.171", Some("NAT64/DNS64 Discovery")),
    ("192.0.0.172", Some("IETF Protocol Assignments")),
    ("192.0.0.192", Some("IETF Protocol Assignments")),
    ("192.0.0.255", Some("IETF Protocol Assignments")),
    ("192.0.1.0", PUBLIC),
    ("192.0.1.255", PUBLIC),
    ("192.0.2.0", Some("Documentation (TEST-NET-1)")),
    ("192.0.2.255", Some("Documentation (TEST-NET-1)")),
    ("192.0.3.0", PUBLIC),
    ("192.31.196.1", PUBLIC),
    ("192.52.193.1", PUBLIC),
    ("192.175.48.1", PUBLIC),
    ("192.88.98.255", PUBLIC),
    ("192.88.99.0", Some("6to4 Relay Anycast (deprecated)")),
    ("192.88.99.1", Some("6to4 Relay Anycast (deprecated)")),
    ("192.88.99.2", Some("6a44-relay anycast address")),
    ("192.88.99.255", Some("6to4 Relay Anycast (deprecated)")),
    ("192.88.100.0", PUBLIC),
    ("192.167.255.255", PUBLIC),
    ("192.168.0.0", Some("Private-Use")),
    ("192.168.255.255", Some("Private-Use")),
    ("192.169.0.0", PUBLIC),
    ("198.17.255.255", PUBLIC),
    ("198.18.0.0", Some("Benchmarking")),
    ("198.19.255.255", Some("Benchmarking")),
    ("198.20.0.0", PUBLIC),
    ("198.51.99.255", PUBLIC),
    ("198.51.100.0", Some("Documentation (TEST-NET-2)")),
    ("198.51.100.255", Some("Documentation (TEST-NET-2)")),
    ("198.51.101.0", PUBLIC),
    ("203.0.112.255", PUBLIC),
    ("203.0.113.0", Some("Documentation (TEST-NET-3)")),
    ("203.0.113.255", Some("Documentation (TEST-NET-3)")),
    ("203.0.114.0", PUBLIC),
    ("223.255.255.255", PUBLIC),
    ("224.0.0.0", Some("Multicast")),
    ("224.0.0.251", Some("Multicast")),
    ("239.255.255.255", Some("Multicast")),
    ("240.0.0.0", Some("Reserved")),
    ("255.255.255.254", Some("Reserved")),
    ("255.255.255.255", Some("Limited Broadcast")),
    ("8.8.8.8", PUBLIC),
    ("93.184.216.34", PUBLIC),
    ("1.1.1.1", PUBLIC),
    ("::", Some("Unspecified Address")),
    ("::1", Some("Loopback Address")),
    ("::2", Some("IPv4-compatible (deprecated)")),
    ("::127.0.0.1", Some("IPv4-compatible (deprecated)")),
    ("::8.8.8.8", Some("IPv4-compatible (deprecated)")),
    ("::1:0:0:0", Some("Reserved by IETF")),
    ("::ffff:127.0.0.1", Some("IPv4-mapped Address")),
    ("::ffff:8.8.8.8", Some("IPv4-mapped Address")),
    ("::ffff:0.0.0.0", Some("IPv4-mapped Address")),
    ("::ffff:0:127.0.0.1", Some("Reserved by IETF")),
    ("64:ff9a:ffff::", Some("Reserved by IETF")),
    ("64:ff9b::8.8.8.8", PUBLIC),
    ("64:ff9b::93.184.216.34", PUBLIC),
    ("64:ff9b::127.0.0.1", Some("Loopback")),
    ("64:ff9b::10.0.0.1", Some("Private-Use")),
    ("64:ff9b::169.254.169.254", Some("Link Local")),
    ("64:ff9b::192.0.0.170", Some("NAT64/DNS64 Discovery")),
    ("64:ff9b::192.0.0.9", PUBLIC),
    ("64:ff9b::255.255.255.255", Some("Limited Broadcast")),
    ("64:ff9b:0:0:0:1::", Some("Reserved by IETF")),
    ("64:ff9b:1::", Some("IPv4-IPv6 Translat. (local use)")),
    ("64:ff9b:1:ffff:ffff:ffff:8.8.8.8", Some("IPv4-IPv6 Translat. (local use)")),
    ("64:ff9b:2::", Some("Reserved by IETF")),
    ("100::", Some("Discard-Only Address Block")),
    ("100::ffff:ffff:ffff:ffff", Some("Discard-Only Address Block")),
    ("100:0:0:1::", Some("Dummy IPv6 Prefix")),
    ("100:0:0:1:ffff:ffff:ffff:ffff", Some("Dummy IPv6 Prefix")),
    ("100:0:0:2::", Some("Reserved by IETF")),
    ("200::", Some("Reserved by IETF")),
    ("1fff:ffff::", Some("Reserved by IETF")),
    ("2000::", PUBLIC),
    ("2000:ffff:ffff::1", PUBLIC),
    ("2001::", Some("TEREDO")),
    ("2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Some("TEREDO")),
    ("2001:1::", Some("IETF Protocol Assignments")),
    ("2001:1::1", PUBLIC),
    ("2001:1::2", PUBLIC),
    ("2001:1::3", PUBLIC),
    ("2001:1::4", Some("IETF Protocol Assignments")),
    ("2001:2::", Some("Benchmarking")),
    ("2001:2:0:ffff::1", Some("Benchmarking")),
    ("2001:2:1::", Some("IETF Protocol Assignments")),
    ("2001:3::1", PUBLIC),
    ("2001:3:ffff::1", PUBLIC),
    ("2001:4::", Some("IETF Protocol Assignments")),
    ("2001:4:112::1", PUBLIC),
    ("2001:4:113::", Some("IETF Protocol Assignments")),
    ("2001:5::1", Some("IETF Protocol Assignments")),
    ("2001:10::", Some("ORCHID (deprecated)")),
    ("2001:1f:ffff::1", Some("ORCHID (deprecated)")),
    ("2001:20::1", PUBLIC),
    ("2001:2f:ffff::1", PUBLIC),
    ("2001:30::1", PUBLIC),
    ("2001:3f:ffff::1", PUBLIC),
    ("2001:40::1", Some("IETF Protocol Assignments")),
    ("2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Some("IETF Protocol Assignments")),
    ("2001:200::", PUBLIC),
    ("2001:4860:4860::8888", PUBLIC),
    ("2001:db7:ffff::1", PUBLIC),
    ("2001:db8::", Some("Documentation")),
    ("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("Documentation")),
    ("2001:db9::", PUBLIC),
    ("2001:ffff:ffff::1", PUBLIC),
    ("2002::", Some("6to4")),
    ("2002:7f00:1::1", Some("6to4")),
    ("2002:808:808::1", Some("6to4")),
    ("2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("6to4")),
    ("2003::", PUBLIC),
    ("2606:4700::1111", PUBLIC),
    ("2620:4f:8000::1", PUBLIC),
    ("2a00:1450:4001:80b::200e", PUBLIC),
    ("3ffe:ffff::1", PUBLIC),
    ("3fff::", Some("Documentation")),
    ("3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Some("Documentation")),
    ("3fff:1000::", PUBLIC),
    ("4000::", Some("Reserved by IETF")),
    ("5eff:ffff::1", Some("Reserved by IETF")),
    ("5f00::", Some("Segment Routing (SRv6) SIDs")),
    ("5f00:ffff::1", Some("Segment Routing (SRv6) SIDs")),
    ("5f01::", Some("Reserved by IETF")),
    ("8000::1", Some("Reserved by IETF")),
    ("fbff:ffff::1", Some("Reserved by IETF")),
    ("fc00::", Some("Unique-Local")),
    ("fd00:ec2::254", Some("Unique-Local")),
    ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("Unique-Local")),
    ("fe00::", Some("Reserved by IETF")),
    ("fe7f::1", Some("Reserved by IETF")),
    ("fe80::1", Some("Link-Local Unicast")),
    ("febf:ffff::1", Some("Link-Local Unicast")),
    ("fec0::1", Some("Site-Local (deprecated)")),
    ("feff:ffff::1", Some("Site-Local (deprecated)")),
    ("ff00::", Some("Multicast")),
    ("ff02::1", Some("Multicast")),
    ("ff0e::1", Some("Multicast")),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("Multicast")),
];

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn each_address_has_the_verdict_of_the_registries() {
    for (text, block) in VERDICTS {
        let address = address(text);
        let expected = block.map_or(Ok(()), |block| Err(Refusal::Special { address, block }));
        assert_eq!(AddressPolicy::default().check(address), expected, "{text}");
    }
}

#[test]
fn what_the_standard_library_calls_special_is_refused() {
    for (text, _) in VERDICTS {
        let known = match address(text) {
            IpAddr::V4(v4) => {
                v4.is_private()
                    || v4.is_loopback()
                    || v4.is_link_local()
                    || v4.is_broadcast()
                    || v4.is_documentation()
                    || v4.is_multicast()
            }
            IpAddr::V6(v6) => {
                v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified()
            }
        };
        assert!(!known || AddressPolicy::default().check(address(text)).is_err(), "{text}");
    }
}

#[test]
fn the_configuration_adjusts_the_policy_and_deny_wins() {
    let policy =
        AddressPolicy { allow: nets(&["127.0.0.0/8", "10.1.0.0/16", "::1/128"]), deny: nets(&["10.1.2.0/24", "8.8.8.0/24"]) };
    for allowed in ["127.0.0.1", "127.9.9.9", "10.1.0.1", "::1", "1.1.1.1", "64:ff9b::10.1.0.1"] {
        assert_eq!(policy.check(address(allowed)), Ok(()), "{allowed}");
    }
    for (refused, network) in [
        ("10.1.2.3", "10.1.2.0/24"),
        ("8.8.8.8", "8.8.8.0/24"),
        ("64:ff9b::8.8.8.8", "8.8.8.0/24"),
        ("::ffff:8.8.8.8", "8.8.8.0/24"),
    ] {
        let (address, network) = (address(refused), network.parse().unwrap());
        assert_eq!(policy.check(address), Err(Refusal::Denied { address, network }), "{refused}");
    }
    for refused in ["10.2.0.1", "169.254.169.254", "::2", "::ffff:127.0.0.1", "fe80::1"] {
        assert!(matches!(policy.check(address(refused)), Err(Refusal::Special { .. })), "{refused}");
    }
}

#[test]
fn allowing_everything_still_obeys_deny() {
    let policy = AddressPolicy { allow: nets(&["0.0.0.0/0", "::/0"]), deny: nets(&["169.254.0.0/16"]) };
    assert!(policy.check(address("127.0.0.1")).is_ok());
    for carried in ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::169.254.169.254"] {
        assert!(matches!(policy.check(address(carried)), Err(Refusal::Denied { .. })), "{carried}");
    }
}

proptest! {
    #[test]
    fn a_translated_address_is_judged_as_what_it_carries(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from_bits(bits);
        let [a, b, c, d] = v4.octets().map(u16::from);
        let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d);
        let policy = AddressPolicy::default();
        prop_assert_eq!(policy.check(nat64.into()).is_ok(), policy.check(v4.into()).is_ok());
        prop_assert!(policy.check(v4.to_ipv6_mapped().into()).is_err());
    }

    #[test]
    fn nothing_outside_global_unicast_is_public_but_nat64(bits in any::<u128>()) {
        let v6 = Ipv6Addr::from_bits(bits);
        let public = AddressPolicy::default().check(v6.into()).is_ok();
        prop_assert!(!public || v6.segments()[0] & 0xe000 == 0x2000 || v6.segments()[..2] == [0x64, 0xff9b]);
    }
}
