//! Look-ups of a name over UDP, as resolvers make them: a question that is not answered within a second is asked again, three
//! times in all. A client keeps its socket from one look-up to the next, which is the hard case: what was right when the
//! socket was opened need not stay so.

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::worker::{Asked, by_patience};
use super::{Answer, Stage, Target};
use crate::program::{Family, Transport, socket};

/// What resolvers do unless they are told otherwise.
const ATTEMPTS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);

const HEADER: usize = 12;
const LARGEST: usize = 4096;
/// A question that wishes for recursion.
const ASKS: [u8; 2] = [1, 0];
const ADDRESS: [u8; 2] = [0, 1];
const INTERNET: [u8; 2] = [0, 1];

/// What to look up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LookUp {
    /// With all its labels; its IPv4 address is the name of who answered.
    pub name: String,
    pub manner: Manner,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Manner {
    /// On a socket that is connected to the server; it is opened anew after an attempt that failed.
    Connected,
    /// On one that names the server with each question, and is never opened anew.
    Unconnected,
}

/// One client.
pub(super) struct Resolver<'a> {
    look_up: &'a LookUp,
    /// Whom it asks, and how.
    socket: Option<(SocketAddr, OwnedFd)>,
    question: u16,
    retries: u64,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(look_up: &'a LookUp) -> Self {
        Self {
            look_up,
            socket: None,
            question: fastrand::u16(..),
            retries: 0,
        }
    }

    pub(super) fn take_retries(&mut self) -> u64 {
        mem::take(&mut self.retries)
    }

    pub(super) fn look_up(&mut self, target: Target) -> Result<Asked, (Stage, Errno)> {
        if target.transport != Transport::Udp {
            return Err((Stage::Open, Errno::EPROTONOSUPPORT));
        }
        let started = Instant::now();
        let mut attempt = 1;
        let address = loop {
            match self.attempt(target.address) {
                Ok(address) => break address,
                Err((stage, errno)) if attempt == ATTEMPTS => {
                    return Err((stage, by_patience(errno)));
                }
                Err(_) => {
                    attempt += 1;
                    self.retries += 1;
                }
            }
        };
        Ok(Asked {
            answer: Answer {
                name: address.to_string(),
                version: format!("{:?}", self.look_up.manner),
            },
            storage: None,
            connect: None,
            whole: started.elapsed(),
        })
    }

    fn attempt(&mut self, server: SocketAddr) -> Result<Ipv4Addr, (Stage, Errno)> {
        let held = self.socket.take().filter(|(peer, _)| *peer == server);
        let socket = match held {
            Some((_, socket)) => socket,
            None => self.open(server)?,
        };
        let answer = self.ask(&socket, server);
        if answer.is_ok() || self.look_up.manner == Manner::Unconnected {
            self.socket = Some((server, socket));
        }
        answer.map_err(|errno| (Stage::Answer, errno))
    }

    fn open(&self, server: SocketAddr) -> Result<OwnedFd, (Stage, Errno)> {
        let opened = socket::open(Family::of(server), Transport::Udp, false);
        let socket = opened.map_err(|errno| (Stage::Open, errno))?;
        if self.look_up.manner == Manner::Connected {
            socket::connect(&socket, server).map_err(|errno| (Stage::Connect, errno))?;
        }
        Ok(socket)
    }

    /// Asks, and waits for the answer to this question: those to earlier ones may still come.
    fn ask(&mut self, socket: &OwnedFd, server: SocketAddr) -> Result<Ipv4Addr, Errno> {
        let deadline = Instant::now() + PATIENCE;
        self.question = self.question.wrapping_add(1);
        let question = question(self.question, &self.look_up.name);
        match self.look_up.manner {
            Manner::Connected => socket::send(socket, &question)?,
            Manner::Unconnected => socket::send_to(socket, &question, server)?,
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT);
            }
            // No time at all would mean for ever.
            socket::set_patience(socket, left.max(Duration::from_millis(1)))?;
            let (message, from) = match self.look_up.manner {
                Manner::Connected => (socket::receive(socket, LARGEST)?, server),
                Manner::Unconnected => socket::receive_from(socket, LARGEST)?,
            };
            // An answer from elsewhere might be anybody's.
            if from == server && message.starts_with(&self.question.to_be_bytes()) {
                return answer(&message).ok_or(Errno::EPROTO);
            }
        }
    }
}

/// A message that asks for the IPv4 addresses of a name.
fn question(number: u16, name: &str) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    message.extend(ASKS);
    // One question, and no records.
    message.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        // A label has at most 63 letters.
        message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(ADDRESS);
    message.extend(INTERNET);
    message
}

/// The first address in an answer to one question; none also where the server says that something is wrong.
fn answer(message: &[u8]) -> Option<Ipv4Addr> {
    let (header, records) = message.split_at_checked(HEADER)?;
    let is_good = header[2] & 0x80 != 0 && header[3] & 0x0f == 0;
    let asked_once = header[4..6] == [0, 1];
    if !is_good || !asked_once {
        return None;
    }
    let answers = u16::from_be_bytes([header[6], header[7]]);
    let mut rest = past_name(records)?.get(4..)?;
    for _ in 0..answers {
        rest = past_name(rest)?;
        let (fixed, after) = rest.split_at_checked(10)?;
        let length = u16::from_be_bytes([fixed[8], fixed[9]]);
        let (data, after) = after.split_at_checked(length.into())?;
        if fixed[..2] == ADDRESS && fixed[2..4] == INTERNET {
            return <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
        }
        rest = after;
    }
    None
}

/// What follows a name: labels up to an empty one, or up to a pointer to the rest of them.
fn past_name(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, after) = rest.split_first()?;
        match length {
            0 => return Some(after),
            0xc0.. => return after.get(1..),
            _ => rest = after.get(usize::from(*length)..)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::thread;

    use super::*;
    use crate::load::Load;

    const NAME: &str = "a.bc.example";
    const FOUND: [u8; 4] = [192, 0, 2, 7];

    /// An answer as servers write it, whose record points to the name in the question.
    fn answered(question: &[u8]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2] |= 0x80;
        message[7] = 1;
        message.extend([0xc0, 12]);
        message.extend([ADDRESS, INTERNET].concat());
        message.extend([0, 0, 0, 5, 0, 4]);
        message.extend(FOUND);
        message
    }

    #[test]
    fn the_address_in_an_answer_is_found() {
        let good = answered(&question(7, NAME));
        assert_eq!(answer(&good), Some(FOUND.into()));
        for length in 0..good.len() {
            assert_eq!(answer(&good[..length]), None, "{length} bytes");
        }
        let mut unknown = good.clone();
        unknown[3] |= 3;
        assert_eq!(answer(&unknown), None);
        assert_eq!(answer(&question(7, NAME)), None);
    }

    /// The server leaves the first question unanswered, and sends the answer to another one before each answer.
    fn serve(server: &UdpSocket) {
        let mut buffer = [0; LARGEST];
        for number in 0.. {
            let (length, peer) = server.recv_from(&mut buffer).unwrap();
            if length < HEADER {
                return;
            }
            if number > 0 {
                let good = answered(&buffer[..length]);
                let mut late = good.clone();
                late[1] = late[1].wrapping_sub(1);
                server.send_to(&late, peer).unwrap();
                server.send_to(&good, peer).unwrap();
            }
        }
    }

    #[test]
    fn a_question_without_an_answer_is_asked_again() {
        for manner in [Manner::Connected, Manner::Unconnected] {
            let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let address = server.local_addr().unwrap();
            let serving = thread::spawn(move || serve(&server));
            let load = Load::on([Target::udp(address)]).times(2);
            let report = load.looking_up(NAME, manner).run();
            let end = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            end.send_to(b"", address).unwrap();
            serving.join().unwrap();
            assert!(report.failures.is_empty(), "{report}");
            assert_eq!(report.of("192.0.2.7"), 2);
            assert!(report.retries > 0 && report.answers.from(PATIENCE) > 0);
        }
    }
}
