//! Waiting for the end.

use tokio::signal::unix::{SignalKind, signal};

/// Returns on SIGTERM or SIGINT. Fails when this process cannot listen for them.
pub async fn stop_requested() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
