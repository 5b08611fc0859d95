//! Reads what our programs keep in UDP sockets, of all network namespaces at once.
//!
//! An iterator of the kernel runs a program of ours over the storage, which writes into a ring
//! buffer. It needs the kernel's own type information to be loaded.

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
};

use aya::{
    Btf, BtfError, Ebpf,
    maps::{MapData, MapError, RingBuf},
    programs::{Program, ProgramError},
};
use sluice_node_abi::{
    maps::{SOCKETS, SURVEY},
    survey::Surveyed,
};
use zerocopy::FromBytes;

use crate::{bpf, program::Pins};

/// The program's name in the object.
const PROGRAM: &str = "survey";
/// The kind of iterator, as the kernel's type information calls it.
const OVER: &str = "bpf_sk_storage_map";

#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error("the kernel's type information cannot be read")]
    Types(#[from] BtfError),
    #[error("the object lacks {0}")]
    Absent(&'static str),
    #[error("the kernel does not take the program")]
    Verifier(#[source] Box<ProgramError>),
    #[error("the ring buffer cannot be opened")]
    Ring(#[from] MapError),
    #[error("cannot {doing}")]
    Kernel {
        doing: &'static str,
        source: io::Error,
    },
}

/// A loaded iterator over the storage in sockets.
pub struct Survey {
    link: OwnedFd,
    ring: RingBuf<MapData>,
}

impl Survey {
    pub(super) fn load(ebpf: &mut Ebpf, pins: &Pins) -> Result<Self, SurveyError> {
        let types = Btf::from_sys_fs()?;
        let Some(Program::Iter(program)) = ebpf.program_mut(PROGRAM) else {
            return Err(SurveyError::Absent(PROGRAM));
        };
        let loaded = program.load(OVER, &types);
        loaded.map_err(|source| SurveyError::Verifier(source.into()))?;
        let failed = |doing| move |source| SurveyError::Kernel { doing, source };
        let map = bpf::open_pinned(&pins.map(SOCKETS));
        let map = map.map_err(failed("open the storage in sockets"))?;
        let program = program.fd();
        let program = program.map_err(|source| SurveyError::Verifier(source.into()))?;
        let link = bpf::create_iterator_link(program, &map);
        let link = link.map_err(failed("make an iterator"))?;
        let ring = ebpf.take_map(SURVEY).ok_or(SurveyError::Absent(SURVEY))?;
        Ok(Self {
            link,
            ring: RingBuf::try_from(ring)?,
        })
    }

    /// Every UDP socket that carries something of ours.
    pub fn read(&mut self) -> io::Result<Vec<Surveyed>> {
        self.drain(&mut Vec::new());
        let mut iterator = File::from(bpf::create_iterator(&self.link)?);
        let mut found = Vec::new();
        let mut nothing = [0; 64];
        loop {
            match iterator.read(&mut nothing) {
                Ok(0) => {
                    self.drain(&mut found);
                    return Ok(found);
                }
                Ok(_) => {}
                // The ring buffer is full: without an entry in it there would be nothing to wait for.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.drain(&mut found) == 0 {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn drain(&mut self, found: &mut Vec<Surveyed>) -> usize {
        let before = found.len();
        while let Some(record) = self.ring.next() {
            found.extend(Surveyed::read_from_bytes(&record));
        }
        found.len() - before
    }
}
