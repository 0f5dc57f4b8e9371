//! How fast an archive is written and read: at once for a command, at half speed for a backup that the server makes by
//! itself.
//!
//! Owns the pauses. Invariant: with pauses, at most [`STEP`] bytes wait for the disk, so that a sync of the database
//! waits for no more.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Bytes between two pauses.
const STEP: u64 = 4_194_304;
/// The longest pause: a disk that hangs must not make the next step wait as long again.
const PAUSE_MAX: Duration = Duration::from_secs(2);

pub struct Pace {
    /// `None`: without pauses. Else when the step began.
    began: Option<Instant>,
    bytes: u64,
}

impl Pace {
    pub fn full() -> Pace {
        Pace { began: None, bytes: 0 }
    }

    /// Each step is followed by a pause as long as it took.
    pub fn half() -> Pace {
        Pace { began: Some(Instant::now()), bytes: 0 }
    }

    /// A writer at this pace. `file` is synced before each pause.
    pub fn writer<'a>(&'a mut self, out: &'a mut dyn Write, file: Option<&'a File>) -> Paced<'a> {
        Paced { pace: self, out, file, bytes: 0 }
    }

    fn moved(&mut self, bytes: u64, file: Option<&File>) -> io::Result<()> {
        let Some(began) = self.began else { return Ok(()) };
        self.bytes += bytes;
        if self.bytes >= STEP {
            if let Some(file) = file {
                file.sync_data()?;
            }
            std::thread::sleep(began.elapsed().min(PAUSE_MAX));
            (self.began, self.bytes) = (Some(Instant::now()), 0);
        }
        Ok(())
    }
}

pub struct Paced<'a> {
    pace: &'a mut Pace,
    out: &'a mut dyn Write,
    file: Option<&'a File>,
    /// Bytes that were written.
    pub bytes: u64,
}

impl Write for Paced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.bytes += count as u64;
        self.pace.moved(count as u64, self.file)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_at_half_speed_is_followed_by_a_pause() {
        /// Takes a millisecond for each write.
        struct Slow;

        impl Write for Slow {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(1) {
                    std::thread::yield_now();
                }
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        for (mut pace, least) in [(Pace::full(), 8), (Pace::half(), 16)] {
            let (mut slow, began) = (Slow, Instant::now());
            let mut out = pace.writer(&mut slow, None);
            let step = vec![0; STEP as usize / 4];
            (0..8).for_each(|_| out.write_all(&step).expect("written"));
            assert_eq!(out.bytes, 2 * STEP);
            assert!(began.elapsed() >= Duration::from_millis(least), "{:?}", began.elapsed());
        }
    }
}
