//! Where a part of the configuration is on its way to the servers.

use crds::conditions::{ConditionType, Finding, Reason};
use snapshot::{Answers, Head, ResourceId, Shard, Step};

/// Where an object's part of the configuration is on its way to the servers.
pub(super) struct Delivery<'a> {
    pub(super) step: &'a Step,
    pub(super) answers: &'a Answers<'a>,
}

/// Where a resource is on its way, which lies in `shard`. One that was live everywhere stays so until a replica is known
/// to serve less: that the operator cannot see a replica is no fact about it.
pub(super) fn programmed(id: &ResourceId, shard: Option<&Shard>, delivery: &Delivery<'_>, was_live: bool) -> Finding {
    let not = |reason, message: String| Finding::new(ConditionType::Programmed, false, reason, message);
    let Delivery {
        step: Step { artefact, excluded },
        answers,
    } = delivery;
    let entry = shard.and_then(|shard| shard.entries.get(id));
    // A realm whose keys are refused is not live either.
    let keys = match id {
        ResourceId::Realm(realm) => Some(ResourceId::Keys(*realm)),
        ResourceId::Keys(_) | ResourceId::Client(..) => None,
    };
    let keys = keys.as_ref().map(|keys| (keys, artefact.shard_of(keys)));
    let parts = || {
        let parts = [Some((id, shard)), keys].into_iter().flatten();
        parts.filter_map(|(id, shard)| Some((id, shard?)))
    };
    let kept = if entry.is_some() {
        "; the former version stays live"
    } else {
        ""
    };
    if let Some(exclusion) = excluded.get(id) {
        let reason = match exclusion {
            snapshot::Exclusion::FleetFull => Reason::FleetFull,
            snapshot::Exclusion::Invalid(_) => Reason::Invalid,
        };
        return not(reason, format!("{exclusion}{kept}"));
    }
    if let Some(refusal) = parts().find_map(|(id, shard)| shard.refused.get(id)) {
        return not(
            Reason::RejectedByServer,
            format!("servers refused it: {}{kept}", refusal.message),
        );
    }
    let Some(entry) = entry else {
        return not(Reason::Progressing, "waits for the keys of its realm".to_owned());
    };
    if let Some(refusal) = parts().find_map(|(id, shard)| refused_now(id, shard, answers)) {
        return not(Reason::RejectedByServer, format!("servers refused it: {refusal}"));
    }
    let since = Head {
        generation: entry.since_generation,
        ..artefact.head()
    };
    let (serving, ready) = (answers.serving(since), answers.ready());
    if ready == 0 {
        return not(Reason::NoReadyReplicas, "no replica is ready yet".to_owned());
    }
    if serving < ready && !(was_live && answers.behind(since) == 0) {
        let text = format!(
            "{serving} of {ready} ready replicas serve generation {}",
            entry.since_generation
        );
        return not(Reason::RollingOut, text);
    }
    let text = format!(
        "live on every ready replica since generation {}",
        entry.since_generation
    );
    Finding::new(ConditionType::Programmed, true, Reason::Live, text)
}

/// A refusal that the next configuration will answer.
fn refused_now(id: &ResourceId, shard: &Shard, answers: &Answers<'_>) -> Option<String> {
    let version = shard.entries.get(id)?.current.version();
    answers.refusal(id, version).map(|refusal| refusal.message.clone())
}
