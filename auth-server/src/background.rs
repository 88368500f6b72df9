//! Threads that take only the cores that nothing else wants.

use std::{io, thread};

/// Runs `work` on a thread of its own at the lowest scheduling priority. Fails when there is no thread to be had.
pub(crate) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name);
    thread.spawn(move || {
        // On Linux the nice value belongs to the thread. Without the right to change it the work merely competes.
        let _ = rustix::process::nice(19);
        work();
    })?;
    Ok(())
}
