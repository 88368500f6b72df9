//! `nauthera-auth user …`: people of one realm, named by its issuer.

use std::io::{BufRead as _, Write as _};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use oidc::Secret;
use oidc::config::Issuer;
use oidc::id::{PersonId, RealmId};
use oidc::person::{PersonState, Profile};

use crate::clock;
use crate::password;
use crate::settings::DatabaseFlags;
use crate::store::people::{NewPerson, PersonChange};
use crate::store::{self, Database, DatabaseSettings};

/// People are read in pages of so many.
const PAGE: u32 = 500;

/// What to do with people.
#[derive(Subcommand)]
pub enum User {
    /// Add a person; the id (`sub`) is printed.
    Create(Box<Create>),
    /// Give a person a new password; everything the person is signed in to ends.
    SetPassword {
        /// Whom.
        #[command(flatten)]
        who: Who,
        /// The new password.
        #[command(flatten)]
        password: PasswordFlags,
    },
    /// List people by user name.
    List {
        /// Of which realm.
        #[command(flatten)]
        realm: RealmFlags,
        /// Shape of the list.
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Erase a person with sessions, grants and consents.
    Delete {
        /// Whom.
        #[command(flatten)]
        who: Who,
    },
}

/// Which realm of which database.
#[derive(Args)]
pub struct RealmFlags {
    #[command(flatten)]
    database: DatabaseFlags,
    /// The realm's issuer, as in its custom resource.
    #[arg(long, env = "NAUTHERA_ISSUER", value_name = "URL")]
    issuer: String,
}

/// Which person.
#[derive(Args)]
pub struct Who {
    #[command(flatten)]
    realm: RealmFlags,
    /// User name.
    #[arg(long, value_name = "NAME")]
    username: String,
}

/// Where the password comes from. It is never an argument: those can be seen by every user of the machine.
#[derive(Args)]
pub struct PasswordFlags {
    /// Read the password from the first line of standard input.
    #[arg(long)]
    password_stdin: bool,
}

/// A person to add.
#[derive(Args)]
pub struct Create {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    password: PasswordFlags,
    /// E-mail address; taken as verified.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Full name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// First name.
    #[arg(long, value_name = "NAME")]
    given_name: Option<String>,
    /// Last name.
    #[arg(long, value_name = "NAME")]
    family_name: Option<String>,
    /// A group; may be repeated.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// Standard claims as a JSON object (OpenID Connect Core 1.0 §5.1); the flags above win.
    #[arg(long, value_name = "JSON")]
    profile: Option<String>,
}

/// Shape of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned columns.
    #[default]
    Text,
    /// A JSON array.
    Json,
}

/// Does it.
pub async fn run(user: User) -> anyhow::Result<()> {
    match user {
        User::Create(create) => run_create(*create).await,
        User::SetPassword { who, password } => {
            let (database, realm) = open(&who.realm).await?;
            let hash = hash_of(&password)?;
            database
                .change_person(realm, &who.username, PersonChange::Password(&hash), clock::now())
                .await?;
            say(&format!(
                "password of {} changed; every session of {} ended",
                who.username, who.username
            ))
        }
        User::List { realm, output } => list(&realm, output).await,
        User::Delete { who } => {
            let (database, realm) = open(&who.realm).await?;
            database
                .change_person(realm, &who.username, PersonChange::Delete, clock::now())
                .await?;
            say(&format!("{} deleted", who.username))
        }
    }
}

async fn run_create(create: Create) -> anyhow::Result<()> {
    let Create {
        who,
        password,
        email,
        name,
        given_name,
        family_name,
        groups,
        profile,
    } = create;
    let (database, realm) = open(&who.realm).await?;
    let mut claims: Profile = match profile {
        Some(json) => serde_json::from_str(&json).context("--profile is not a JSON object of standard claims")?,
        None => Profile::default(),
    };
    claims.email_verified |= email.is_some();
    claims.email = email.or(claims.email);
    claims.name = name.or(claims.name);
    claims.given_name = given_name.or(claims.given_name);
    claims.family_name = family_name.or(claims.family_name);
    let hash = hash_of(&password)?;
    let now = clock::now();
    let person = NewPerson {
        id: PersonId::generate(now, &mut rand::rng()),
        username: &who.username,
        groups: &groups,
        profile: &claims,
        password_hash: Some(&hash),
        now,
    };
    let id = database.create_person(realm, person).await?;
    say(&id.to_string())
}

async fn list(flags: &RealmFlags, output: Output) -> anyhow::Result<()> {
    let (database, realm) = open(flags).await?;
    let mut people = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = database.people(realm, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.username.clone());
        people.extend(page);
    }
    let state = |state| match state {
        PersonState::Active => "active",
        PersonState::Disabled => "disabled",
    };
    match output {
        Output::Text => {
            say(&format!("{:<24} {:<8} {:<32} {}", "USERNAME", "STATE", "EMAIL", "ID"))?;
            for person in people {
                let email = person.profile.email.as_deref().unwrap_or("-");
                say(&format!(
                    "{:<24} {:<8} {email:<32} {}",
                    person.username,
                    state(person.state),
                    person.id
                ))?;
            }
            Ok(())
        }
        Output::Json => {
            let rows: Vec<serde_json::Value> = people
                .iter()
                .map(|person| {
                    serde_json::json!({
                        "id": person.id, "username": person.username, "state": state(person.state),
                        "groups": person.groups, "profile": person.profile,
                    })
                })
                .collect();
            say(&serde_json::to_string_pretty(&rows)?)
        }
    }
}

async fn open(flags: &RealmFlags) -> anyhow::Result<(std::sync::Arc<dyn Database>, RealmId)> {
    let url = flags.database.url().map_err(anyhow::Error::msg)?;
    let issuer = Issuer::parse(&flags.issuer).with_context(|| format!("--issuer \"{}\"", flags.issuer))?;
    let database = store::open(&DatabaseSettings::new(url.expose().clone()))?;
    store::check_schema(&*database).await?;
    Ok((database, RealmId::of_issuer(issuer.as_str())))
}

fn hash_of(flags: &PasswordFlags) -> anyhow::Result<Secret<String>> {
    if !flags.password_stdin {
        bail!("a password is needed: pass --password-stdin and write it to standard input");
    }
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .context("the password could not be read from standard input")?;
    let password = Secret::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if password.expose().chars().count() < 8 {
        bail!("the password has fewer than 8 characters");
    }
    password::hash_now(&password).context("the password could not be hashed")
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").map_err(Into::into)
}
