//! The same request over and over, as of many clients who want the same.

use anyhow::{Result, ensure};

use crate::load::{Answer, Progress, Source, Sources};

/// One of so many answers is looked into; the status of every one is.
const SAMPLE: u64 = 64;

/// A fixed request, and what its answer has to hold.
pub struct Repeat {
    request: Vec<u8>,
    holds: String,
    answers: u64,
}

impl Repeat {
    /// `request` has to be answered 200, with `holds` somewhere in the body.
    pub fn new(request: Vec<u8>, holds: &str) -> Self {
        Self {
            request,
            holds: holds.to_owned(),
            answers: 0,
        }
    }

    /// So many connections of the same.
    pub fn many(connections: usize, request: &[u8], holds: &str) -> Sources {
        let one = |_| Box::new(Self::new(request.to_vec(), holds)) as Box<dyn Source>;
        (0..connections).map(one).collect()
    }
}

impl Source for Repeat {
    fn write(&mut self, request: &mut Vec<u8>) {
        request.extend_from_slice(&self.request);
    }

    fn read(&mut self, answer: &Answer<'_>) -> Result<Progress> {
        answer.expect(200)?;
        if self.answers.is_multiple_of(SAMPLE) {
            let body = String::from_utf8_lossy(answer.body);
            ensure!(body.contains(&self.holds), "no {} in {body}", self.holds);
        }
        self.answers += 1;
        Ok(Progress::Complete)
    }
}
