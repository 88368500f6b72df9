//! Scenarios on one real cluster, one after another: the operator installed by its chart, its pods, a browser through
//! the ingress, and what may go wrong around them. Each file of this folder holds the scenarios of one subject; the
//! oracles at the end look back at everything that happened.
//!
//! `cargo test -p e2e --test cluster -- WORD…` runs those whose name contains a word. With the `KUBECONFIG` of
//! `make cluster` that cluster is used and kept; otherwise a new one is started, and ends with the tests.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value answers null where nothing is, and clippy knows only the usual harness of tests"
)]

mod absence;
mod certificates;
mod definitions;
mod delivery;
mod faults;
mod fleet;
mod login;
mod numbers;
mod oracles;
mod order;
mod path;
mod refusal;
mod restore;
mod stage;
mod status;
mod upgrades;
mod variations;

use std::fmt::Display;
use std::io::Write as _;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use stage::Stage;

/// Longer takes none; one that hangs must not take the others with it.
const PATIENCE: Duration = Duration::from_mins(6);

type Outcome<'s> = Pin<Box<dyn Future<Output = Result<()>> + 's>>;

struct Scenario {
    name: &'static str,
    run: for<'s> fn(&'s mut Stage) -> Outcome<'s>,
}

macro_rules! scenarios {
    ($($module:ident::$name:ident,)*) => {
        &[$(Scenario {
            name: concat!(stringify!($module), "::", stringify!($name)),
            run: |stage| Box::pin($module::$name(stage)),
        },)*]
    };
}

/// In this order, because each leaves the stage as the next one needs it.
const SCENARIOS: &[Scenario] = scenarios![
    path::a_fleet_becomes_ready_from_its_manifests,
    path::openid_client_gets_everything_it_asks_for_through_the_ingress,
    path::a_person_in_chromium_signs_in_through_an_ingress,
    path::a_person_in_chromium_signs_in_through_an_httproute,
    path::kubernetes_itself_accepts_our_id_token,
    status::whoever_waits_is_told_the_truth_in_every_state,
    status::an_event_tells_of_each_transition_once,
    delivery::an_edit_is_live_on_every_replica_and_reported_in_less_than_a_second,
    numbers::twenty_edits_of_a_client_are_timed_until_they_are_live_and_reported,
    numbers::an_operator_that_died_streams_again_soon,
    delivery::a_realm_added_to_a_running_fleet_restarts_nothing,
    delivery::a_scale_up_changes_the_counts_of_the_fleet_and_no_other_status,
    delivery::a_rotated_client_secret_loses_no_login,
    refusal::what_servers_refuse_keeps_its_former_version_also_in_pods_started_afterwards,
    absence::a_pod_started_without_an_operator_becomes_ready_and_serves,
    absence::servers_scaled_without_an_operator_serve_and_are_counted_when_it_is_back,
    upgrades::a_helm_upgrade_of_the_operator_restarts_no_server,
    upgrades::a_rolling_upgrade_of_the_servers_loses_no_login,
    faults::an_api_server_that_is_killed_is_not_missed,
    faults::a_watch_gap_with_compaction_loses_nothing,
    faults::a_frozen_leader_is_replaced_and_does_no_harm_afterwards,
    faults::a_client_secret_that_is_deleted_or_edited_comes_right,
    faults::one_undecodable_object_blocks_no_other,
    faults::a_restarted_database_is_found_again,
    faults::a_realm_that_is_applied_again_finds_its_keys_and_people,
    faults::a_namespace_deleted_first_takes_its_objects_along,
    order::manifests_in_any_order_end_ready,
    restore::what_a_backup_holds_comes_back_with_the_same_keys_secrets_and_people,
    definitions::a_definition_that_is_deleted_by_mistake_costs_no_login,
    variations::what_is_switched_off_is_removed,
    certificates::cert_manager_issues_what_people_and_operators_are_shown,
    variations::a_volume_outlives_the_fleet_that_asked_for_it,
    oracles::at_rest_nothing_is_written_but_the_lease,
    faults::a_restarted_node_loses_nothing,
    upgrades::an_uninstalled_operator_leaves_objects_and_data,
    oracles::the_rights_of_the_chart_are_exactly_those_that_were_used,
    oracles::no_secret_is_in_any_log_event_status_or_audit_entry,
];

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_meant = |scenario: &&Scenario| words.is_empty() || words.iter().any(|word| scenario.name.contains(word));
    let meant: Vec<&Scenario> = SCENARIOS.iter().filter(is_meant).collect();
    if std::env::args().any(|word| word == "--list") {
        for scenario in meant {
            say(format_args!("{}: test", scenario.name));
        }
        return ExitCode::SUCCESS;
    }
    if meant.is_empty() {
        report(0, &[], Instant::now());
        return ExitCode::SUCCESS;
    }
    say(format_args!("\nrunning {} tests", meant.len()));
    let started = Instant::now();
    let failures = run(&meant).await;
    report(meant.len(), &failures, started);
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs them; returns the names of those that failed, and why.
async fn run(meant: &[&Scenario]) -> Vec<(&'static str, anyhow::Error)> {
    let mut stage = match Stage::start().await {
        Ok(stage) => stage,
        Err(error) => {
            for scenario in meant {
                say(format_args!("test {} ... FAILED", scenario.name));
            }
            let error = error.context("the stage did not come up");
            return meant
                .iter()
                .map(|scenario| (scenario.name, anyhow::anyhow!("{error:#}")))
                .collect();
        }
    };
    let mut failures = Vec::new();
    for scenario in meant {
        let started = Instant::now();
        let outcome = tokio::time::timeout(PATIENCE, (scenario.run)(&mut stage)).await;
        let outcome = outcome.context("it took too long").flatten();
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        say(format_args!("test {} ... {word}", scenario.name));
        say(format_args!("    after {:.1} s", started.elapsed().as_secs_f32()));
        if let Err(error) = outcome {
            say(format_args!("    {error:#}"));
            stage.keep_evidence(scenario.name).await;
            failures.push((scenario.name, error));
        }
        if let Err(error) = stage.collect().await {
            say(format_args!("    nothing could be collected afterwards: {error:#}"));
        }
    }
    failures
}

fn report(count: usize, failures: &[(&str, anyhow::Error)], started: Instant) {
    if !failures.is_empty() {
        say("\nfailures:\n");
        for (name, error) in failures {
            say(format_args!("---- {name} ----\n{error:#}\n"));
        }
    }
    let word = if failures.is_empty() { "ok" } else { "FAILED" };
    say(format_args!(
        "\ntest result: {word}. {} passed; {} failed; 0 ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        count - failures.len(),
        failures.len(),
        SCENARIOS.len() - count,
        started.elapsed().as_secs_f32()
    ));
}

/// Prints a line as the test harness of Rust would, for whoever reads its lines.
fn say(line: impl Display) {
    // A closed output is no failure of a scenario.
    let _ = writeln!(std::io::stdout(), "{line}");
}
