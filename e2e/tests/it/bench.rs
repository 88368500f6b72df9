//! The benchmark in its shortest form: every flow and its ceiling run, and the report has the shape that others read.
//! Nothing here looks at how fast anything was.

use std::process::Command;

use e2e::parts::product;
use serde_json::Value;

const FLOWS: &[&str] = &[
    "client_credentials_es256",
    "client_credentials_eddsa",
    "client_credentials_rs256",
    "client_credentials_opaque",
    "jwks",
    "discovery",
    "userinfo",
    "introspection_jwt",
    "code_pkce_session",
    "refresh_postgres",
    "password_login",
];

#[test]
fn every_flow_is_measured_beside_its_ceiling() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(product("nauthera-bench").unwrap())
        .args(["flows", "--seconds=0.1", "--rounds=1", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{progress}");
    assert!(progress.contains(" s left)"), "{progress}");
    let report: Value = serde_json::from_slice(&std::fs::read(folder.path().join("bench.json")).unwrap()).unwrap();
    for fact in ["cpu", "cores", "kernel", "postgres", "server_core", "database_core"] {
        assert!(report["machine"][fact].is_string(), "{fact} in {report}");
    }
    for name in FLOWS {
        let flow = &report["flows"][name];
        for number in ["ours", "ceiling", "ratio", "p50_ms", "p99_ms", "open_rate"] {
            assert!(
                flow[number].as_f64().is_some_and(|value| value > 0.0),
                "{name} {number}: {flow}"
            );
        }
        assert!(
            flow["ratio_spread"][1].is_number() && flow["statements"].is_number(),
            "{name}: {flow}"
        );
    }
    for size in ["idle_rss", "load_rss", "load_hashing_rss"] {
        assert!(
            report["memory"][size].as_u64().is_some_and(|bytes| bytes > 0),
            "{size} in {report}"
        );
    }
    assert!(
        report["start_ms"].is_number() && report["server"]["others_p99_rise"].is_number(),
        "{report}"
    );
    let table = std::fs::read_to_string(folder.path().join("bench.md")).unwrap();
    assert!(
        FLOWS.iter().all(|name| table.contains(&format!("| {name} |"))),
        "{table}"
    );
}
