//! How long to wait before the next try: longer each time, and never as long as the neighbours,
//! so that thousands of nodes do not come back to an API server in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub struct Pause {
    tries: u32,
}

impl Pause {
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// The next pause: between half of a step and the whole of it.
    pub fn longer(&mut self) -> Duration {
        let step = FIRST.saturating_mul(1 << self.tries.min(16)).min(LAST);
        self.tries = self.tries.saturating_add(1);
        jittered(step)
    }
}

/// Between half of this and the whole of it.
pub fn jittered(step: Duration) -> Duration {
    step.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over() {
        let mut pause = Pause::default();
        let mut step = FIRST;
        for _ in 0..40 {
            let next = pause.longer();
            assert!(step / 2 <= next && next <= step, "{next:?} of {step:?}");
            step = (step * 2).min(LAST);
        }
        assert_eq!(step, LAST);
        pause.reset();
        assert!(pause.longer() <= FIRST);
    }
}
