//! A frontend without a backend: ECONNREFUSED, at once, and nothing else.

use anyhow::{Result, ensure};
use sluice_node_abi::{keys, values::mode, verdict::Verdict};
use sluice_node_agent::program::Refusal;
use sluice_testbed::{
    Errno,
    errno::Code,
    program::{Family, Seen, Step},
};

use crate::bed::{Bed, SERVICE_V4, SERVICE_V6, at};

pub(crate) fn no_backend_is_connection_refused_at_once() -> Result<()> {
    let mut bed = Bed::start(Refusal::SetRetval)?;
    let client = bed.node.pod("client").start()?;
    for ip in [SERVICE_V4, SERVICE_V6] {
        for protocol in [keys::TCP, keys::UDP] {
            let service = at(ip, 80)?;
            let table = bed.table(mode::SEQUENCE, &[0])?;
            bed.frontend(service, protocol, table)?;
            let family = Family::of(service);
            let open = if protocol == keys::TCP {
                Step::tcp(family)
            } else {
                Step::udp(family)
            };
            let results = client.run(&[open, Step::connect(0, service)])?;
            let expected = Err(Code::from(Errno::ECONNREFUSED));
            ensure!(results[1] == expected, "{service} {protocol}: {results:?}");
        }
    }
    let refused = bed
        .maps
        .verdicts()?
        .into_iter()
        .find(|(verdict, _)| *verdict == Verdict::Refused);
    ensure!(refused == Some((Verdict::Refused, 4)), "{refused:?}");
    Ok(())
}

/// A UDP connect by this way succeeds, and the first answer to what is sent is the refusal: what
/// a connect to a closed port of another host looks like.
pub(crate) fn no_backend_is_connection_refused_by_way_of_loopback() -> Result<()> {
    let mut bed = Bed::start(Refusal::Loopback)?;
    let client = bed.node.pod("client").start()?;
    for ip in [SERVICE_V4, SERVICE_V6] {
        let service = at(ip, 80)?;
        let table = bed.table(mode::SEQUENCE, &[0])?;
        bed.frontend(service, keys::TCP, table)?;
        bed.frontend(service, keys::UDP, table)?;
        let family = Family::of(service);
        let refused = Err(Code::from(Errno::ECONNREFUSED));

        let tcp = client.run(&[Step::tcp(family), Step::connect(0, service)])?;
        ensure!(tcp[1] == refused, "{service}: {tcp:?}");

        let udp = client.run(&[
            Step::udp(family),
            Step::connect(0, service),
            Step::send(0, "anyone?"),
            Step::receive(0),
        ])?;
        ensure!(
            udp[1] == Ok(Seen::Done) && udp[3] == refused,
            "{service}: {udp:?}"
        );
    }
    Ok(())
}
