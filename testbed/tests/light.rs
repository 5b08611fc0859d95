//! The testbed proves itself: runs, nodes and pods are what they claim to be, and leave nothing.

use std::net::{TcpListener, TcpStream};
use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::mpsc;

use anyhow::{Result, ensure};
use sluice_testbed::fabric::Fabric;
use sluice_testbed::run::leftovers;
use sluice_testbed::tier::{self, Tier, test};
use sluice_testbed::{Errno, Run};

fn main() -> ExitCode {
    tier::main(
        Tier::Kernel,
        vec![
            test!(nodes_reach_each_other_over_both_families),
            test!(a_panic_tears_down),
        ],
    )
}

fn nodes_reach_each_other_over_both_families() -> Result<()> {
    let run = Run::start()?;
    let fabric = Fabric::create(&run)?;
    let (one, two) = (run.netns("one")?, run.netns("two")?);
    let (first, second) = (fabric.join(&one)?, fabric.join(&two)?);
    let _listener = two.run(|| {
        Ok((
            TcpListener::bind((second.address4(), 7))?,
            TcpListener::bind((second.address6(), 7))?,
        ))
    })?;
    one.run(|| {
        let stream = TcpStream::connect((second.address4(), 7))?;
        ensure!(stream.local_addr()?.ip() == first.address4());
        let stream = TcpStream::connect((second.address6(), 7))?;
        ensure!(stream.local_addr()?.ip() == first.address6());
        let refused = TcpStream::connect((second.address6(), 8))
            .map(drop)
            .map_err(|error| error.raw_os_error());
        ensure!(
            refused == Err(Some(Errno::ECONNREFUSED as i32)),
            "{refused:?}"
        );
        Ok(())
    })
}

fn a_panic_tears_down() -> Result<()> {
    let (sender, id) = mpsc::channel();
    let panic = catch_unwind(move || -> Result<()> {
        let run = Run::start()?;
        sender.send(run.id())?;
        let _fabric = Fabric::create(&run)?;
        let _process = run.command("cat", "/bin/cat").piped().spawn()?;
        resume_unwind(Box::new("on purpose"));
    });
    ensure!(panic.is_err());
    let id = id.recv()?;
    let left = leftovers()?;
    ensure!(!left.contains_key(&id), "{left:?}");
    Ok(())
}
