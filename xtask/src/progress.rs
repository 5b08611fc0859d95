//! What a long step is doing, how far it is, and how long it has taken.
//!
//! A terminal gets a bar that moves; anything else gets plain lines: one at the start, one every 15
//! seconds, one at the end.

use std::io::{IsTerminal, stderr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const PLAIN_INTERVAL: Duration = Duration::from_secs(15);

/// One step under way. Dropping it without [`Progress::done`] leaves the line as it is, for the
/// error that follows.
pub(crate) struct Progress {
    title: String,
    started: Instant,
    state: Arc<Mutex<State>>,
    display: Display,
}

#[derive(Default)]
struct State {
    doing: String,
    done: usize,
    total: Option<usize>,
}

enum Display {
    Bar(ProgressBar),
    Plain {
        stop: Option<mpsc::Sender<()>>,
        ticker: Option<JoinHandle<()>>,
    },
}

impl Progress {
    pub(crate) fn start(title: &str) -> Progress {
        let state = Arc::new(Mutex::new(State::default()));
        let display = if stderr().is_terminal() {
            bar(title)
        } else {
            plain(title, &state)
        };
        Progress {
            title: title.to_owned(),
            started: Instant::now(),
            state,
            display,
        }
    }

    /// Says what is being done right now.
    pub(crate) fn doing(&self, what: &str) {
        let mut state = locked(&self.state);
        what.trim().clone_into(&mut state.doing);
        if let Display::Bar(bar) = &self.display {
            bar.set_message(what.trim().to_owned());
        }
    }

    /// Starts counting towards `total` pieces of work.
    pub(crate) fn out_of(&self, total: usize) {
        let mut state = locked(&self.state);
        state.done = 0;
        state.total = Some(total);
        if let Display::Bar(bar) = &self.display {
            bar.set_length(total as u64);
            bar.set_position(0);
            bar.set_style(style(" {bar:20} {pos}/{len}"));
        }
    }

    /// Counts one piece; never past the total, which may be an estimate.
    pub(crate) fn one_more(&self) {
        let mut state = locked(&self.state);
        let total = state.total.unwrap_or(usize::MAX);
        state.done = (state.done + 1).min(total);
        if let Display::Bar(bar) = &self.display {
            bar.set_position(state.done as u64);
        }
    }

    pub(crate) fn done(self, outcome: &str) {
        let took = elapsed(self.started.elapsed());
        match &self.display {
            Display::Bar(bar) => {
                bar.finish_and_clear();
                eprintln!("  {}: {outcome} in {took}", self.title);
            }
            Display::Plain { .. } => eprintln!("  {}: {outcome} in {took}", self.title),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        match &mut self.display {
            Display::Bar(bar) => bar.abandon(),
            Display::Plain { stop, ticker } => {
                drop(stop.take());
                if let Some(ticker) = ticker.take() {
                    // The ticker only prints; that it panicked would change nothing here.
                    let _ = ticker.join();
                }
            }
        }
    }
}

/// `7 s`, or `2 min 5 s` from a minute on.
pub(crate) fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{:.1} s", time.as_secs_f32()),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

fn bar(title: &str) -> Display {
    let bar = ProgressBar::new_spinner().with_prefix(title.to_owned());
    bar.set_style(style(""));
    bar.enable_steady_tick(Duration::from_millis(200));
    Display::Bar(bar)
}

fn style(how_far: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!(
        "  {{spinner}} {{prefix}} {{elapsed}}{how_far} {{wide_msg}}"
    ))
    .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn plain(title: &str, state: &Arc<Mutex<State>>) -> Display {
    eprintln!("  {title}: started");
    let (stop, stopped) = mpsc::channel::<()>();
    let (title, state, started) = (title.to_owned(), Arc::clone(state), Instant::now());
    let ticker = thread::spawn(move || {
        while stopped.recv_timeout(PLAIN_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
            let state = locked(&state);
            let how_far = state
                .total
                .map(|total| format!(" {}/{total}", state.done))
                .unwrap_or_default();
            eprintln!(
                "  {title}: {}{how_far} {}",
                elapsed(started.elapsed()),
                state.doing
            );
        }
    });
    Display::Plain {
        stop: Some(stop),
        ticker: Some(ticker),
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_people_say_it() {
        assert_eq!(elapsed(Duration::from_millis(340)), "0.3 s");
        assert_eq!(elapsed(Duration::from_secs(59)), "59 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 5 s");
    }

    #[test]
    fn counting_past_an_estimate_stays_at_the_total() {
        let progress = Progress::start("a step");
        progress.out_of(2);
        for _ in 0..5 {
            progress.one_more();
        }
        assert_eq!(locked(&progress.state).done, 2);
    }
}
