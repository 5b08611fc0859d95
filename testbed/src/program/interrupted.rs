//! A connect that a signal breaks off.
//!
//! The signal comes again and again until the connect has ended: one that came before it waited would do nothing.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::socket;

const PAUSE: Duration = Duration::from_millis(1);

extern "C" fn wake(_: libc::c_int) {}

pub(super) fn connect(socket: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
    // Without SA_RESTART, so that the call ends instead of going on.
    let action = SigAction::new(SigHandler::Handler(wake), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }?;
    let caller = pthread_self();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Acquire) {
                // The scope keeps the thread alive for as long as this one runs.
                let _ = pthread_kill(caller, Signal::SIGUSR1);
                thread::park_timeout(PAUSE);
            }
        });
        let outcome = socket::connect(socket, address);
        ended.store(true, Ordering::Release);
        outcome
    })
}
