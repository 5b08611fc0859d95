//! Links, addresses and routes of one network namespace, over rtnetlink (no `ip` binary needed).

use std::future::Future;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage, State};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    new_connection,
};
use tokio::runtime::{Builder, Runtime};

use crate::netns::Inside;

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);

/// A netlink connection to the namespace in which the thread was that made it.
pub struct Links {
    runtime: Runtime,
    handle: Handle,
}

impl Links {
    /// Opens a connection to the namespace of the calling thread; see [`Inside::links`].
    pub fn of_this_thread() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let guard = runtime.enter();
        let (connection, handle, _) = new_connection().context("opening a netlink socket")?;
        runtime.spawn(connection);
        drop(guard);
        Ok(Self { runtime, handle })
    }

    /// Makes a pair of joined links: `name` here, `peer` in the namespace `there`. Both are down.
    pub fn veth(&self, name: &str, peer: &str, there: &Inside) -> Result<()> {
        let mut far = LinkMessage::default();
        far.attributes.push(LinkAttribute::IfName(peer.to_owned()));
        far.attributes
            .push(LinkAttribute::NetNsFd(there.as_fd().as_raw_fd()));
        let message = LinkVeth::new(name, peer)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
            .build();
        self.wait(self.handle.link().add(message).execute(), || {
            format!("making the veth pair {name} and {peer}")
        })
    }

    /// Makes a bridge, which is down.
    pub fn bridge(&self, name: &str) -> Result<()> {
        let message = LinkBridge::new(name).build();
        self.wait(self.handle.link().add(message).execute(), || {
            format!("making the bridge {name}")
        })
    }

    pub fn up(&self, name: &str) -> Result<()> {
        let change = LinkUnspec::new_with_index(self.index(name)?).up();
        self.set(change, || format!("setting {name} up"))
    }

    /// Waits until a link that is up carries packets.
    ///
    /// The kernel tells a link of its peer's coming later, by a worker; what is sent before that is dropped, and a
    /// first connect would wait a second for its next try.
    pub fn await_carrier(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let carries =
            |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::OperState(State::Up));
        while !self.find(name)?.attributes.iter().any(carries) {
            ensure!(
                Instant::now() < deadline,
                "{name} has no carrier after {PATIENCE:?}"
            );
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    pub fn down(&self, name: &str) -> Result<()> {
        let change = LinkUnspec::new_with_index(self.index(name)?).down();
        self.set(change, || format!("setting {name} down"))
    }

    /// Makes `name` a port of `bridge`.
    pub fn attach(&self, name: &str, bridge: &str) -> Result<()> {
        let change = LinkUnspec::new_with_index(self.index(name)?).controller(self.index(bridge)?);
        self.set(change, || format!("attaching {name} to {bridge}"))
    }

    /// Removes a link (and the other end of a pair).
    pub fn delete(&self, name: &str) -> Result<()> {
        let index = self.index(name)?;
        self.wait(self.handle.link().del(index).execute(), || {
            format!("removing the link {name}")
        })
    }

    /// Adds an address, usable at once: without duplicate address detection.
    pub fn address(&self, name: &str, address: impl Into<IpAddr>, prefix: u8) -> Result<()> {
        let address = address.into();
        let mut request = self
            .handle
            .address()
            .add(self.index(name)?, address, prefix);
        if address.is_ipv6() {
            request
                .message_mut()
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        self.wait(request.execute(), || {
            format!("adding {address}/{prefix} to {name}")
        })
    }

    /// Adds a route to `destination` over the link `name`, to the neighbour `via` if given, else directly.
    pub fn route(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        name: &str,
        via: Option<IpAddr>,
    ) -> Result<()> {
        let destination = destination.into();
        let message = route(destination, prefix, self.index(name)?, via)?;
        self.wait(self.handle.route().add(message).replace().execute(), || {
            format!("adding the route to {destination}/{prefix} over {name}")
        })
    }

    /// Removes the route to `destination` over the link `name`.
    pub fn delete_route(
        &self,
        destination: impl Into<IpAddr>,
        prefix: u8,
        name: &str,
    ) -> Result<()> {
        let destination = destination.into();
        let message = route(destination, prefix, self.index(name)?, None)?;
        self.wait(self.handle.route().del(message).execute(), || {
            format!("removing the route to {destination}/{prefix} over {name}")
        })
    }

    /// The names of all links.
    pub fn names(&self) -> Result<Vec<String>> {
        let links: Vec<LinkMessage> = self
            .wait(self.handle.link().get().execute().try_collect(), || {
                "listing the links".to_owned()
            })?;
        Ok(links
            .iter()
            .filter_map(name_of)
            .map(str::to_owned)
            .collect())
    }

    fn index(&self, name: &str) -> Result<u32> {
        Ok(self.find(name)?.header.index)
    }

    fn find(&self, name: &str) -> Result<LinkMessage> {
        let request = self.handle.link().get().match_name(name.to_owned());
        let link = self.wait(request.execute().try_next(), || {
            format!("looking for the link {name}")
        })?;
        link.with_context(|| format!("there is no link {name}"))
    }

    fn set(
        &self,
        change: LinkMessageBuilder<LinkUnspec>,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        self.wait(self.handle.link().set(change.build()).execute(), what)
    }

    fn wait<T>(
        &self,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
        what: impl FnOnce() -> String,
    ) -> Result<T> {
        self.runtime.block_on(request).with_context(what)
    }
}

fn route(
    destination: IpAddr,
    prefix: u8,
    link: u32,
    via: Option<IpAddr>,
) -> Result<rtnetlink::packet_route::route::RouteMessage> {
    let mut builder = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(destination, prefix)
        .with_context(|| format!("{destination}/{prefix} is no destination"))?
        .output_interface(link);
    match via {
        Some(via) => {
            builder = builder
                .gateway(via)
                .with_context(|| format!("{via} is no gateway to {destination}"))?;
        }
        None => builder = builder.scope(RouteScope::Link),
    }
    Ok(builder.build())
}

fn name_of(link: &LinkMessage) -> Option<&str> {
    link.attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name.as_str()),
            _ => None,
        })
}
