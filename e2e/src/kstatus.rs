//! What Helm, Flux and Argo CD make of an object while they wait for it: the verdict of the library `kstatus`, which a
//! small Go program around it prints.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::parts::program;

/// What to tell somebody who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Status {
    /// Not there yet; wait.
    InProgress,
    /// As its spec says.
    Current,
    /// Will not get there without a change by somebody.
    Failed,
    /// Being deleted.
    Terminating,
    /// Gone.
    NotFound,
    /// Cannot be said.
    Unknown,
}

/// The status of an object, and why.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// What to tell somebody who waits.
    pub status: Status,
    /// Why, in the words of the object's conditions where it has them.
    pub message: String,
}

/// Judges objects as the API server shows them, in their order.
pub fn judge(objects: &[Value]) -> Result<Vec<Verdict>> {
    let mut child = Command::new(program("NAUTHERA_KSTATUS")?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("kstatus")?;
    let input: Vec<String> = objects.iter().map(Value::to_string).collect();
    // It reads and writes in turns; a thread keeps either pipe from filling up.
    let mut pipe = child.stdin.take().context("kstatus has no input")?;
    let writer = std::thread::spawn(move || pipe.write_all(input.join("\n").as_bytes()));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "kstatus ended with {}", output.status);
    writer.join().ok().context("the writer to kstatus panicked")??;
    let verdicts = serde_json::Deserializer::from_slice(&output.stdout)
        .into_iter::<Verdict>()
        .collect::<Result<Vec<_>, _>>()?;
    ensure!(
        verdicts.len() == objects.len(),
        "{} verdicts on {} objects",
        verdicts.len(),
        objects.len()
    );
    Ok(verdicts)
}

/// Judges one object.
pub fn judge_one(object: &Value) -> Result<Verdict> {
    judge(std::slice::from_ref(object))?
        .pop()
        .context("kstatus said nothing")
}
