//! Proof over the texts of all statements: each one is scoped to a realm, but those that serve all realms by design.

const MIGRATION: &str = include_str!("migrations/0001_initial.sql");

const TEXTS: [(&str, &str); 3] = [
    ("shared", include_str!("sql.rs")),
    ("postgres", include_str!("postgres/sql.rs")),
    ("sqlite", include_str!("sqlite/sql.rs")),
];

/// Where no statement may be written.
const OTHER_SOURCES: [&str; 14] = [
    include_str!("feed.rs"),
    include_str!("housekeeping.rs"),
    include_str!("people.rs"),
    include_str!("rows.rs"),
    include_str!("schema.rs"),
    include_str!("postgres.rs"),
    include_str!("postgres/operate.rs"),
    include_str!("postgres/pool.rs"),
    include_str!("postgres/row.rs"),
    include_str!("postgres/target.rs"),
    include_str!("sqlite.rs"),
    include_str!("sqlite/lanes.rs"),
    include_str!("sqlite/operate.rs"),
    include_str!("sqlite/row.rs"),
];

fn tables() -> Vec<&'static str> {
    MIGRATION
        .lines()
        .filter_map(|line| line.strip_prefix("create table "))
        .filter_map(|rest| rest.strip_suffix(" ("))
        .collect()
}

/// Words, and `(` as a word of its own.
fn words(text: &str) -> Vec<String> {
    text.replace('(', " ( ")
        .replace(|c: char| !(c.is_alphanumeric() || "_.(!".contains(c)), " ")
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

/// Whether some table of the statement is used without its realm.
fn crosses_realms(statement: &str, tables: &[&str]) -> bool {
    if statement.contains("delete_expired!") {
        return true;
    }
    let words = words(statement);
    words.windows(3).any(|three| {
        let [verb, table, next] = three else {
            return false;
        };
        if !["from", "join", "into", "update"].contains(&verb.as_str()) || !tables.contains(&table.as_str()) {
            return false;
        }
        match (verb.as_str(), next.as_str()) {
            ("into", _) => !statement.contains("(realm, "),
            (_, "where" | "set" | "left" | "order") => !words.iter().any(|word| word == "realm"),
            (_, "as") => !statement.contains(".realm = $1"),
            (_, alias) => !words.contains(&format!("{alias}.realm")),
        }
    })
}

#[test]
fn every_statement_is_scoped_to_a_realm() {
    let tables = tables();
    assert_eq!(tables.len(), 12);
    let mut unscoped = Vec::new();
    let mut statements = 0;
    for (name, text) in TEXTS {
        for constant in text.split("pub(super) const ").skip(1) {
            statements += 1;
            let code: Vec<&str> = constant
                .lines()
                .filter(|line| !line.trim_start().starts_with("///"))
                .collect();
            let (title, statement) = constant.split_once(':').unwrap();
            if crosses_realms(&code.join("\n"), &tables) {
                assert!(!statement.is_empty());
                unscoped.push(format!("{name} {title}"));
            }
        }
    }
    assert!(statements > 50, "{statements}");
    assert_eq!(
        unscoped,
        [
            "postgres READ_LAST",
            "postgres READ_EVERYTHING",
            "postgres DELETE_EXPIRED",
            "postgres DELETE_REVOCATIONS",
            "sqlite READ_LAST",
            "sqlite READ_EVERYTHING",
            "sqlite DELETE_EXPIRED",
            "sqlite DELETE_REVOCATIONS",
        ]
    );
}

#[test]
fn a_realm_is_erased_from_every_table_and_no_other_realm_with_it() {
    let [(_, shared), drivers @ ..] = TEXTS;
    for table in tables() {
        assert!(shared.contains(&format!("$statement!(\"{table}\")")), "{table}");
    }
    assert_eq!(shared.matches("$statement!(").count(), tables().len());
    for (name, text) in drivers {
        let erase = text.split("macro_rules! erase {").nth(1).unwrap();
        let erase = erase.split("\n}").next().unwrap();
        assert_eq!(erase.matches("realm = $1").count(), 2, "{name}");
    }
}

#[test]
fn a_statement_without_its_realm_is_noticed() {
    let tables = tables();
    assert!(crosses_realms("select 1 from person p where p.id = $2", &tables));
    assert!(crosses_realms("delete from consent where person = $2", &tables));
    assert!(crosses_realms(
        "insert into consent (person, scope) values ($1, $2)",
        &tables
    ));
    assert!(crosses_realms(
        "select 1 from person p join session s on s.person = p.id where p.realm = $1",
        &tables
    ));
    assert!(!crosses_realms(
        "select 1 from person p where p.realm = $1 and p.id = $2",
        &tables
    ));
}

#[test]
fn every_table_begins_its_key_with_the_realm() {
    for table in MIGRATION.split("create table ").skip(1) {
        let table = table.split("\n);").next().unwrap();
        assert!(table.contains("\n    realm uuid not null,"), "{table}");
        assert!(table.contains("\n    primary key (realm, "), "{table}");
    }
}

#[test]
fn statements_are_written_in_the_files_for_statements() {
    for text in OTHER_SOURCES {
        for verb in ["\"select ", "\"insert into ", "\"update ", "\"delete from ", "\"with "] {
            assert!(
                !text.contains(verb),
                "{verb} in {}",
                text.lines().next().unwrap_or_default()
            );
        }
    }
}
