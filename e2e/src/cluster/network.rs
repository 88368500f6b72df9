//! The network of a whole cluster: a namespace with a bridge that is the node's interface, and one
//! cable to the machine, so that `kubectl` and a browser outside reach the node, and pods a database
//! on the machine. There is no way from inside to anywhere else: the default route ends at the bridge.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::site::{namespace, run};

/// How many whole clusters one machine can hold at a time.
const NETWORKS: std::ops::Range<u8> = 1..200;

#[derive(Deserialize)]
struct Link {
    ifname: String,
    #[serde(default)]
    ifalias: Option<String>,
}

/// Makes the namespace and the network in it; returns the node's address.
pub(super) fn up(name: &str) -> Result<String> {
    let namespace = namespace(name);
    run("ip", &["netns", "add", &namespace])?;
    let number = cable(&namespace)?;
    let outside = format!("nau{number}");
    let address = format!("10.250.{number}.1");
    run("ip", &["link", "set", &outside, "alias", &namespace])?;
    run(
        "ip",
        &["address", "add", &format!("10.250.{number}.254/24"), "dev", &outside],
    )?;
    run("ip", &["link", "set", &outside, "up"])?;
    let inside = |arguments: &[&str]| {
        let all = [&["-n", namespace.as_str()], arguments].concat();
        run("ip", &all)
    };
    // The machine knows no way back to a pod's address, so pods reach it under the node's.
    let rules = format!(
        "table ip machine {{
            chain out {{
                type nat hook postrouting priority srcnat
                ip saddr 10.244.0.0/16 ip daddr 10.250.{number}.254 masquerade
            }}
        }}"
    );
    inside(&["link", "set", "lo", "up"])?;
    inside(&["link", "add", "node", "type", "bridge"])?;
    inside(&["address", "add", &format!("{address}/24"), "dev", "node"])?;
    // A bridge is up only while one of its ports is.
    inside(&["link", "set", "cable", "master", "node", "up"])?;
    inside(&["link", "set", "node", "up"])?;
    // Service addresses need a route before they are rewritten, although nothing answers there.
    inside(&["route", "add", "default", "dev", "node"])?;
    run(
        "nsenter",
        &[
            &format!("--net=/var/run/netns/{namespace}"),
            "sh",
            "-c",
            "echo 1 >/proc/sys/net/ipv4/ip_forward; nft \"$0\"",
            &rules,
        ],
    )?;
    Ok(address)
}

/// Lays the cable with the first free number. Its name is what makes the number taken.
fn cable(namespace: &str) -> Result<u8> {
    for number in NETWORKS {
        let outside = format!("nau{number}");
        let peer = ["type", "veth", "peer", "name", "cable", "netns", namespace];
        match run("ip", &[&["link", "add", &outside], &peer[..]].concat()) {
            Ok(_) => return Ok(number),
            Err(error) if error.to_string().contains("File exists") => {}
            Err(error) => return Err(error),
        }
    }
    bail!("no network is free for another cluster")
}

/// Removes what `up` made, as far as it is there.
pub(super) fn down(name: &str) -> Result<()> {
    let namespace = namespace(name);
    for link in links().unwrap_or_default() {
        if link.ifalias.as_ref() == Some(&namespace) {
            run("ip", &["link", "delete", &link.ifname])?;
        }
    }
    if exists(name) {
        run("ip", &["netns", "delete", &namespace])?;
    }
    Ok(())
}

/// Whether the namespace is there.
pub(super) fn exists(name: &str) -> bool {
    std::path::Path::new("/var/run/netns").join(namespace(name)).exists()
}

/// The processes that are in the namespace.
pub(super) fn processes(name: &str) -> Result<Vec<u32>> {
    if !exists(name) {
        return Ok(Vec::new());
    }
    let listed = run("ip", &["netns", "pids", &namespace(name)])?;
    Ok(listed.split_whitespace().filter_map(|id| id.parse().ok()).collect())
}

fn links() -> Result<Vec<Link>> {
    let listed = run("ip", &["-json", "link", "show", "type", "veth"])?;
    serde_json::from_str(&listed).context("links of this machine")
}
