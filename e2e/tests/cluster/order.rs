//! The order in which manifests arrive does not matter: tried here in those that leave pods waiting the longest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use e2e::scenario;
use serde_json::{Value, json};

use crate::fleet::{Exposure, Fleet};
use crate::login::Logins;
use crate::stage::{READY, Stage};

/// Time for the operator to act on what is there before the next one arrives.
const BETWEEN: Duration = Duration::from_secs(2);

/// Kinds in the order of their arrival.
const ORDERS: [[&str; 4]; 3] = [
    ["Client", "Realm", "AuthServer", "Secret"],
    ["AuthServer", "Client", "Secret", "Realm"],
    ["Secret", "Client", "Realm", "AuthServer"],
];

pub(crate) async fn manifests_in_any_order_end_ready(stage: &mut Stage) -> Result<()> {
    let mut slowest = Duration::ZERO;
    for (number, order) in ORDERS.iter().enumerate() {
        let fleet = Fleet::prepare(stage, &format!("order-{number}")).await?;
        let database = format!("/api/v1/namespaces/{}/secrets/database", fleet.namespace);
        let secret = json!({"apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "database", "namespace": fleet.namespace}, "stringData": {"uri": fleet.database}});
        stage.delete(&database).await?;
        let mut objects = fleet.objects(stage, 1, Exposure::Ingress);
        // The secret of the client is not the database's, and always there.
        let own = objects.iter().position(|object| object["kind"] == "Secret");
        let own = objects.remove(own.context("no Secret of the client")?);
        stage.cluster.apply(&own.to_string()).await?;
        objects.push(secret);
        for kind in order {
            tokio::time::sleep(BETWEEN).await;
            let is_next = |object: &&Value| object["kind"] == *kind;
            let next = objects.iter().find(is_next).context("an unknown kind")?;
            stage.cluster.apply(&next.to_string()).await?;
        }
        let complete = Instant::now();
        fleet
            .ready(stage, READY)
            .await
            .with_context(|| format!("applied as {order:?}"))?;
        slowest = slowest.max(complete.elapsed());
        fleet.add_person()?;
        let count = Logins::start(stage, &fleet, json!({})).await?.none_lost()?;
        ensure!(count > 0, "nobody signed in");
        stage.delete(&format!("/api/v1/namespaces/{}", fleet.namespace)).await?;
    }
    scenario("AuthServer, Realm, Client and database Secret in other orders")
        .observed(format!("{} orders end Ready and people sign in", ORDERS.len()))
        .recovered_in(slowest)
}
