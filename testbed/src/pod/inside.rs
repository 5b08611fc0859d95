//! The process of a pod: serves, and carries out the orders that come on its standard input, each in a thread.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, Write as _};
use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};

use super::order::{HELLO, Order, Reply, Task, Told};
use crate::errno::Code;
use crate::load::worker::{self, Course};
use crate::program::interpreter::{self, Sockets};
use crate::serve::{Server, Service};

/// Serves and obeys until the input ends, then exits.
pub(crate) fn become_pod(service: &OsStr) -> ! {
    let result = service
        .to_str()
        .context("the description of the pod is no text")
        .and_then(|text| Ok(serde_json::from_str(text)?))
        .and_then(obey);
    if let Err(error) = &result {
        eprintln!("{error:#}");
    }
    exit(i32::from(result.is_err()))
}

fn obey(service: Service) -> Result<()> {
    let mut pod = Inside {
        server: Server::start(service)?,
        loads: HashMap::new(),
        programs: HashMap::new(),
    };
    reply(HELLO, Ok(Told::Done))?;
    for line in io::stdin().lock().lines() {
        let Order { id, task } = serde_json::from_str(&line?)?;
        pod.carry_out(id, task)?;
    }
    Ok(())
}

struct Inside {
    server: Server,
    /// By the number of the order; those that have ended stay, they are few.
    loads: HashMap<u64, Arc<Course>>,
    /// Programs that go on, by number.
    programs: HashMap<u64, Arc<Mutex<Sockets>>>,
}

impl Inside {
    fn carry_out(&mut self, id: u64, task: Task) -> Result<()> {
        match task {
            Task::Ask(target) => {
                apart(id, move || {
                    Told::Answer(worker::ask_once(target).map_err(Code::from))
                });
                Ok(())
            }
            Task::Run(steps) => {
                apart(id, move || Told::Steps(interpreter::run(&steps)));
                Ok(())
            }
            Task::Continue(program, steps) => {
                let sockets = Arc::clone(self.programs.entry(program).or_default());
                apart(id, move || {
                    let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
                    Told::Steps(sockets.run(&steps))
                });
                Ok(())
            }
            Task::End(program) => {
                self.programs.remove(&program);
                reply(id, Ok(Told::Done))
            }
            Task::Load(load) => {
                let course = Course::new(load);
                self.loads.insert(id, Arc::clone(&course));
                apart(id, move || Told::Report(course.run()));
                Ok(())
            }
            Task::PeekLoad(load) => reply(
                id,
                self.load(load).map(|course| Told::Report(course.so_far())),
            ),
            Task::StopLoad(load) => reply(
                id,
                self.load(load).map(|course| {
                    course.stop();
                    Told::Done
                }),
            ),
            Task::Behave(behaviour) => {
                reply(id, self.server.behave(behaviour).map(|()| Told::Done))
            }
            Task::Ready(ready) => reply(id, self.server.set_ready(ready).map(|()| Told::Done)),
        }
    }

    fn load(&self, id: u64) -> Result<&Course> {
        self.loads
            .get(&id)
            .map(|course| &**course)
            .context("there is no such load")
    }
}

fn apart(id: u64, work: impl FnOnce() -> Told + Send + 'static) {
    thread::spawn(move || {
        // That nobody reads any more is seen by the thread that reads the orders.
        let _ = reply(id, Ok(work()));
    });
}

fn reply(id: u64, told: Result<Told>) -> Result<()> {
    let mut line = serde_json::to_vec(&Reply {
        id,
        told: told.map_err(|error| format!("{error:#}")),
    })?;
    line.push(b'\n');
    let mut output = io::stdout().lock();
    output.write_all(&line)?;
    Ok(output.flush()?)
}
