//! What keeps a pod from running, in the words of the kubelet and the scheduler.

use oidc::Timestamp;
use serde_json::Value;

use crate::build::{field, text};
use crate::world::Trouble;

/// Longest message that is kept, in characters.
const MESSAGE_CHARS: usize = 300;

/// States that every pod passes through.
const PASSING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What is wrong with the pod of this name and `status`; `None` when it runs, or is only beginning to.
pub fn of_pod(name: &str, status: &Value) -> Option<Trouble> {
    let lists = ["initContainerStatuses", "containerStatuses"];
    lists
        .iter()
        .filter_map(|list| status.get(*list)?.as_array())
        .flatten()
        .find_map(|container| of_container(name, container))
        .or_else(|| unscheduled(name, status))
}

fn of_container(pod: &str, status: &Value) -> Option<Trouble> {
    let container = text(status, &["name"])?;
    let ended = |state: &str| {
        let ended = field(status, &[state, "terminated"])?;
        let code = ended.get("exitCode").and_then(Value::as_i64)?;
        (code != 0).then_some(ended)
    };
    let last = ended("state").or_else(|| ended("lastState"));
    let waiting = field(status, &["state", "waiting"]);
    let reason = waiting
        .and_then(|waiting| text(waiting, &["reason"]))
        .filter(|reason| !PASSING.contains(reason));
    let is_ready = status.get("ready").and_then(Value::as_bool) == Some(true);
    if is_ready || (reason.is_none() && last.is_none()) {
        return None;
    }
    let told = last.and_then(|last| text(last, &["message"]));
    let message = told.or_else(|| text(waiting?, &["message"])).unwrap_or_default();
    let ended_at = last.and_then(|last| text(last, &["finishedAt"])).and_then(timestamp);
    Some(Trouble {
        pod: pod.to_owned(),
        container: container.to_owned(),
        reason: reason
            .or_else(|| text(last?, &["reason"]))
            .unwrap_or("Error")
            .to_owned(),
        message: shortened(message),
        exit_code: last
            .and_then(|last| last.get("exitCode")?.as_i64())
            .and_then(|code| i32::try_from(code).ok()),
        ended_at,
    })
}

fn unscheduled(pod: &str, status: &Value) -> Option<Trouble> {
    let conditions = status.get("conditions")?.as_array()?;
    let scheduled = conditions
        .iter()
        .find(|condition| text(condition, &["type"]) == Some("PodScheduled"))?;
    if text(scheduled, &["status"]) != Some("False") {
        return None;
    }
    Some(Trouble {
        pod: pod.to_owned(),
        container: String::new(),
        reason: text(scheduled, &["reason"]).unwrap_or("Unschedulable").to_owned(),
        message: shortened(text(scheduled, &["message"]).unwrap_or_default()),
        exit_code: None,
        ended_at: None,
    })
}

/// The last lines of a log tell most at their end.
fn shortened(message: &str) -> String {
    let line = message.trim().replace('\n', "; ");
    let skipped = line.chars().count().saturating_sub(MESSAGE_CHARS);
    line.chars().skip(skipped).collect()
}

fn timestamp(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_unix_millis(parsed.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(status: &Value, expected: Option<(&str, &str, Option<i32>)>) {
        let found = of_pod("main-1", status);
        let found = found
            .as_ref()
            .map(|t| (t.reason.as_str(), t.message.as_str(), t.exit_code));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pod_that_runs_or_begins_has_no_trouble() {
        check(&json!({}), None);
        check(
            &json!({"containerStatuses": [{"name": "auth-server", "state": {"waiting": {"reason": "ContainerCreating"}}}]}),
            None,
        );
        let once = json!({"containerStatuses": [
            {"name": "auth-server", "ready": true, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1}}},
        ]});
        check(&once, None);
    }

    #[test]
    fn what_the_container_said_last_is_told() {
        let status = json!({"containerStatuses": [{
            "name": "auth-server", "ready": false,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
            "lastState": {"terminated": {
                "exitCode": 3, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z", "message": "error: schema\n",
            }},
        }]});
        check(&status, Some(("CrashLoopBackOff", "error: schema", Some(3))));
    }

    #[test]
    fn a_pod_without_a_place_says_why() {
        let status = json!({"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"},
        ]});
        check(&status, Some(("Unschedulable", "0/1 nodes are available", None)));
    }
}
