//! Bytes on the configuration streams, as the kernel counts them: TLS, HTTP/2 and heartbeats included.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::growth::number;

/// What the listener at `port` has sent on the connections that are open now.
pub(super) fn bytes_sent(port: u16) -> Result<f64> {
    let output = Command::new("ss")
        .args(["--tcp", "--info", "--numeric", "--no-header", "state", "established"])
        .args(["sport", "=", &format!(":{port}")])
        .output()
        .context("ss (of iproute2)")?;
    ensure!(
        output.status.success(),
        "ss: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(number(sent(&String::from_utf8_lossy(&output.stdout))))
}

/// The sum of `bytes_sent:N` in what `ss --info` prints.
fn sent(text: &str) -> u64 {
    let counts = text
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("bytes_sent:"));
    counts.filter_map(|count| count.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_connection_sent_is_added_up() {
        let text = "0 0 127.0.0.1:1 127.0.0.1:2\n\t cubic rto:204 bytes_sent:40 bytes_acked:41\n\t bytes_sent:2 x\n";
        assert_eq!(sent(text), 42);
    }
}
