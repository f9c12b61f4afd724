//! Which IP addresses may be dialled: the public ones, unless the configuration says otherwise.
//!
//! Asked by [`super::Egress`] for literals before each request and by the connector for every address of a lookup before it dials. The
//! tables are IANA's registries and name each block, so that an operator's log says why. What a tenant sees of a refusal is its class
//! alone: which address was refused would map the network for them.
//!
//! Source: IANA IPv4 and IPv6 Special-Purpose Address Registries as of 2025-10-09 (RFC 6890, RFC 8190); IANA IPv6 Address Space; RFC 6052.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which addresses may be dialled. The default refuses everything special and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Allowed although special, such as `127.0.0.0/8` and `::1/128` in `dev`.
    pub allow: Vec<IpNet>,
    /// Refused although public. Wins over `allow`.
    pub deny: Vec<IpNet>,
}

/// Why an address or a URL may not be dialled. For the operator's log, never for a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// In the configuration's list of refused networks.
    #[error("{address} is refused by the configuration ({network})")]
    Denied {
        /// The address.
        address: IpAddr,
        /// The network that refuses it.
        network: IpNet,
    },
    /// Not a public unicast address.
    #[error("{address} is special: {block}")]
    Special {
        /// The address.
        address: IpAddr,
        /// The registry's name of its block.
        block: &'static str,
    },
    /// `http` where only `https` is allowed, or another scheme.
    #[error("the scheme is not allowed")]
    Scheme,
    /// A URL without a host.
    #[error("there is no host")]
    NoHost,
}

impl AddressPolicy {
    /// Whether this address may be dialled.
    ///
    /// An IPv6 address that carries an IPv4 address (mapped, NAT64) is refused whenever the IPv4 address is.
    ///
    /// # Errors
    /// [`Refusal::Denied`] or [`Refusal::Special`].
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        let embedded = embedded(address);
        let judged = [Some(address), embedded.map(|(inner, _)| IpAddr::V4(inner))];
        for each in judged.into_iter().flatten() {
            if let Some(network) = self.deny.iter().find(|network| network.contains(&each)) {
                return Err(Refusal::Denied { address, network: *network });
            }
        }
        if self.allow.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        match embedded {
            // A translator takes the packet where the IPv4 address says, so that one is judged.
            Some((inner, Carrier::Nat64)) => match self.check(IpAddr::V4(inner)) {
                Err(Refusal::Special { block, .. }) => Err(Refusal::Special { address, block }),
                verdict => verdict,
            },
            // The registry knows the mapped form as not global: no packet ever carries it, and no receiver has one.
            Some((_, Carrier::Mapped)) | None => match special(address) {
                Some(block) => Err(Refusal::Special { address, block }),
                None => Ok(()),
            },
        }
    }
}

/// How an IPv6 address carries an IPv4 address.
#[derive(Clone, Copy)]
enum Carrier {
    Mapped,
    Nat64,
}

fn embedded(address: IpAddr) -> Option<(Ipv4Addr, Carrier)> {
    let IpAddr::V6(v6) = address else { return None };
    let [.., a, b, c, d] = v6.octets();
    let inner = Ipv4Addr::new(a, b, c, d);
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, _, _] => Some((inner, Carrier::Mapped)),
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some((inner, Carrier::Nat64)),
        _ => None,
    }
}

/// The name of the block that makes an address special; `None` for a public one. The smallest block decides.
fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => {
            let block = V4.iter().filter(|block| block.net.contains(&v4)).max_by_key(|block| block.net.prefix_len());
            block.filter(|block| !block.reachable).map(|block| block.name)
        }
        IpAddr::V6(v6) => {
            let block = V6.iter().filter(|block| block.net.contains(&v6)).max_by_key(|block| block.net.prefix_len());
            match block {
                Some(block) => (!block.reachable).then_some(block.name),
                // IANA gives out global unicast addresses from 2000::/3 alone; the rest is reserved.
                None => (v6.segments()[0] >> 13 != 1).then_some("Reserved by IETF"),
            }
        }
    }
}

struct Block<N> {
    net: N,
    name: &'static str,
    reachable: bool,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8, name: &'static str, reachable: bool) -> Block<Ipv4Net> {
    Block { net: Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix), name, reachable }
}

const fn v6(start: [u16; 4], prefix: u8, name: &'static str, reachable: bool) -> Block<Ipv6Net> {
    let [a, b, c, d] = start;
    Block { net: Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix), name, reachable }
}

/// As [`v6`], with all eight groups.
const fn low(start: [u16; 8], prefix: u8, name: &'static str, reachable: bool) -> Block<Ipv6Net> {
    let [a, b, c, d, e, f, g, h] = start;
    Block { net: Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), prefix), name, reachable }
}

/// The registry's rows, multicast, and one address that is public by number and internal by use.
static V4: [Block<Ipv4Net>; 27] = [
    v4(0, 0, 0, 0, 8, "This network", false),
    v4(10, 0, 0, 0, 8, "Private-Use", false),
    v4(100, 64, 0, 0, 10, "Shared Address Space", false),
    v4(127, 0, 0, 0, 8, "Loopback", false),
    // Every virtual machine of Azure reaches its host's agent here.
    v4(168, 63, 129, 16, 32, "Azure platform", false),
    v4(169, 254, 0, 0, 16, "Link Local", false),
    v4(172, 16, 0, 0, 12, "Private-Use", false),
    v4(192, 0, 0, 0, 24, "IETF Protocol Assignments", false),
    v4(192, 0, 0, 0, 29, "IPv4 Service Continuity Prefix", false),
    v4(192, 0, 0, 8, 32, "IPv4 dummy address", false),
    v4(192, 0, 0, 9, 32, "Port Control Protocol Anycast", true),
    v4(192, 0, 0, 10, 32, "Traversal Using Relays around NAT Anycast", true),
    v4(192, 0, 0, 170, 32, "NAT64/DNS64 Discovery", false),
    v4(192, 0, 0, 171, 32, "NAT64/DNS64 Discovery", false),
    v4(192, 0, 2, 0, 24, "Documentation (TEST-NET-1)", false),
    v4(192, 31, 196, 0, 24, "AS112-v4", true),
    v4(192, 52, 193, 0, 24, "AMT", true),
    v4(192, 88, 99, 0, 24, "6to4 Relay Anycast (deprecated)", false),
    v4(192, 88, 99, 2, 32, "6a44-relay anycast address", false),
    v4(192, 168, 0, 0, 16, "Private-Use", false),
    v4(192, 175, 48, 0, 24, "Direct Delegation AS112 Service", true),
    v4(198, 18, 0, 0, 15, "Benchmarking", false),
    v4(198, 51, 100, 0, 24, "Documentation (TEST-NET-2)", false),
    v4(203, 0, 113, 0, 24, "Documentation (TEST-NET-3)", false),
    v4(224, 0, 0, 0, 4, "Multicast", false),
    v4(240, 0, 0, 0, 4, "Reserved", false),
    v4(255, 255, 255, 255, 32, "Limited Broadcast", false),
];

/// The registry's rows, and the blocks of the address space that are no unicast or no longer in use. The NAT64 prefix 64:ff9b::/96 is
/// judged by what it carries and is not here.
static V6: [Block<Ipv6Net>; 27] = [
    low([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible (deprecated)", false),
    low([0, 0, 0, 0, 0, 0, 0, 0], 128, "Unspecified Address", false),
    low([0, 0, 0, 0, 0, 0, 0, 1], 128, "Loopback Address", false),
    low([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, "IPv4-mapped Address", false),
    v6([0x64, 0xff9b, 1, 0], 48, "IPv4-IPv6 Translat. (local use)", false),
    v6([0x100, 0, 0, 0], 64, "Discard-Only Address Block", false),
    v6([0x100, 0, 0, 1], 64, "Dummy IPv6 Prefix", false),
    v6([0x2001, 0, 0, 0], 23, "IETF Protocol Assignments", false),
    v6([0x2001, 0, 0, 0], 32, "TEREDO", false),
    low([0x2001, 1, 0, 0, 0, 0, 0, 1], 128, "Port Control Protocol Anycast", true),
    low([0x2001, 1, 0, 0, 0, 0, 0, 2], 128, "Traversal Using Relays around NAT Anycast", true),
    low([0x2001, 1, 0, 0, 0, 0, 0, 3], 128, "DNS-SD Service Registration Protocol Anycast", true),
    v6([0x2001, 2, 0, 0], 48, "Benchmarking", false),
    v6([0x2001, 3, 0, 0], 32, "AMT", true),
    v6([0x2001, 4, 0x112, 0], 48, "AS112-v6", true),
    v6([0x2001, 0x10, 0, 0], 28, "ORCHID (deprecated)", false),
    v6([0x2001, 0x20, 0, 0], 28, "ORCHIDv2", true),
    v6([0x2001, 0x30, 0, 0], 28, "Drone Remote ID Protocol Entity Tags", true),
    v6([0x2001, 0xdb8, 0, 0], 32, "Documentation", false),
    v6([0x2002, 0, 0, 0], 16, "6to4", false),
    v6([0x2620, 0x4f, 0x8000, 0], 48, "Direct Delegation AS112 Service", true),
    v6([0x3fff, 0, 0, 0], 20, "Documentation", false),
    v6([0x5f00, 0, 0, 0], 16, "Segment Routing (SRv6) SIDs", false),
    v6([0xfc00, 0, 0, 0], 7, "Unique-Local", false),
    v6([0xfe80, 0, 0, 0], 10, "Link-Local Unicast", false),
    v6([0xfec0, 0, 0, 0], 10, "Site-Local (deprecated)", false),
    v6([0xff00, 0, 0, 0], 8, "Multicast", false),
];

#[cfg(test)]
#[path = "address_tests.rs"]
mod tests;
