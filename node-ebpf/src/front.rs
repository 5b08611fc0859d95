//! Which frontend answers at an address: its own, or a port of every node.
//!
//! Pure over [`Fronts`], so that the host runs and tests the same code. An address that is nobody's costs
//! two look-ups; what makes it a node's is asked only when a port of every node has its number.

use sluice_node_abi::{
    keys::{Address, FrontendKey, SCOPE_NODES},
    values::{Frontend, NodeAddress, frontend, node},
};

/// Read access to the rows, and who asks.
pub trait Fronts {
    fn frontend(&self, key: &FrontendKey) -> Option<Frontend>;
    fn node(&self, address: &Address) -> Option<NodeAddress>;
    /// Whether the caller is in the host's network namespace, whose loopback is the node's.
    fn is_in_host_network(&self) -> bool;
}

/// The frontend that answers at an address of scope [`SCOPE_ANY`](sluice_node_abi::keys::SCOPE_ANY).
#[inline(always)]
pub fn find<F: Fronts>(fronts: &F, key: &FrontendKey) -> Option<Frontend> {
    if let Some(own) = fronts.frontend(key) {
        return Some(own);
    }
    let on_nodes = fronts.frontend(&FrontendKey {
        address: unspecified(&key.address),
        port: key.port,
        protocol: key.protocol,
        scope: SCOPE_NODES,
    })?;
    let is_own = if is_local(&key.address) {
        // Else it is the pod's own loopback, and what listens there is nobody's business.
        fronts.is_in_host_network().then_some(true)?
    } else {
        fronts.node(&key.address)?.flags & node::OWN != 0
    };
    (is_own || on_nodes.flags & frontend::OWN_NODE == 0).then_some(on_nodes)
}

/// The unspecified address of the same family.
#[inline(always)]
fn unspecified(address: &Address) -> Address {
    let mut unspecified = [0; 16];
    if is_mapped(address) {
        unspecified[10] = 0xff;
        unspecified[11] = 0xff;
    }
    unspecified
}

#[inline(always)]
pub fn is_mapped(address: &Address) -> bool {
    matches!(address, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
}

/// Loopback, and the unspecified address, by which sockets mean loopback.
#[inline(always)]
fn is_local(address: &Address) -> bool {
    matches!(
        address,
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, ..]
            | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]
            | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 | 1]
    )
}
