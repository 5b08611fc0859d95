//! The owner's end of the lines to a pod: orders out, answers matched by number, several at once.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use anyhow::{Context as _, Result, anyhow};

use super::order::{HELLO, Order, Reply, Task, Told};

type Waiting = Mutex<Option<HashMap<u64, mpsc::Sender<Result<Told, String>>>>>;

#[derive(Debug)]
pub(super) struct Channel {
    orders: Mutex<ChildStdin>,
    /// None once the process has ended.
    waiting: Arc<Waiting>,
    next: AtomicU64,
}

/// An answer that is to come.
#[derive(Debug)]
pub(super) struct Pending {
    id: u64,
    answer: mpsc::Receiver<Result<Told, String>>,
}

impl Channel {
    /// Opens the channel, and waits until the process says that it serves.
    pub(super) fn open((orders, answers): (ChildStdin, ChildStdout)) -> Result<Self> {
        let waiting: Arc<Waiting> = Arc::new(Mutex::new(Some(HashMap::new())));
        let hello = wait_for(&waiting, HELLO)?;
        let channel = Self {
            orders: Mutex::new(orders),
            waiting: Arc::clone(&waiting),
            next: AtomicU64::new(HELLO + 1),
        };
        thread::Builder::new()
            .name("pod".to_owned())
            .spawn(move || dispatch(answers, &waiting))?;
        hello.wait().context("the pod did not come up")?;
        Ok(channel)
    }

    /// Gives an order.
    pub(super) fn begin(&self, task: Task) -> Result<Pending> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let pending = wait_for(&self.waiting, id)?;
        let mut line = serde_json::to_vec(&Order { id, task })?;
        line.push(b'\n');
        lock(&self.orders)
            .write_all(&line)
            .context("the pod's process has ended")?;
        Ok(pending)
    }

    /// Gives an order, and waits for the answer.
    pub(super) fn ask(&self, task: Task) -> Result<Told> {
        self.begin(task)?.wait()
    }
}

impl Pending {
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn wait(self) -> Result<Told> {
        self.answer
            .recv()
            .context("the pod's process has ended")?
            .map_err(|error| anyhow!(error))
    }
}

fn wait_for(waiting: &Waiting, id: u64) -> Result<Pending> {
    let (sender, answer) = mpsc::channel();
    lock(waiting)
        .as_mut()
        .context("the pod's process has ended")?
        .insert(id, sender);
    Ok(Pending { id, answer })
}

/// Hands each answer to who waits for it; at the end of the process everyone hears of it.
fn dispatch(answers: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(answers).split(b'\n').map_while(Result::ok) {
        let Ok(Reply { id, told }) = serde_json::from_slice(&line) else {
            break;
        };
        let waiter = lock(waiting)
            .as_mut()
            .and_then(|waiting| waiting.remove(&id));
        if let Some(waiter) = waiter {
            let _ = waiter.send(told);
        }
    }
    lock(waiting).take();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
