//! The store: one conformance suite on both databases, and what is particular to PostgreSQL.

mod budget;
mod code;
mod erase;
mod faults;
mod feed;
mod login;
mod moved;
mod people;
mod realms;
mod refresh;
mod remembered;
mod revoke;
mod schema;
mod world;

/// Runs each function of the suite on a new database of each kind.
macro_rules! on_both {
    ($($module:ident: $($test:ident)*;)*) => {
        mod on_postgres {
            $(mod $module {
                $(#[tokio::test]
                async fn $test() {
                    let made = crate::database::postgres().await;
                    super::super::$module::$test(super::super::world::World::new(&made)).await;
                })*
            })*
        }
        mod on_sqlite {
            $(mod $module {
                $(#[tokio::test]
                async fn $test() {
                    let made = crate::database::sqlite().await;
                    super::super::$module::$test(super::super::world::World::new(&made)).await;
                })*
            })*
        }
    };
}

on_both! {
    login:
        a_person_is_found_by_every_allowed_identifier_without_case
        an_identifier_of_another_kind_finds_nobody
        an_unknown_name_is_counted_like_a_known_one
        attempts_beyond_the_limit_are_refused_until_the_window_ends
        sources_are_counted_apart
        concurrent_attempts_are_counted_exactly
        a_right_password_refunds_its_attempt
        a_login_records_its_session_once
        a_concurrent_double_submit_records_one_session
        a_login_under_an_old_epoch_or_of_a_disabled_person_is_refused
        a_login_upgrades_the_password_hash
        an_ended_session_is_not_revived
        a_session_of_another_person_is_not_taken_over;
    code:
        a_code_is_redeemed_and_gives_the_person
        a_lost_reply_is_not_taken_for_reuse
        a_replayed_code_names_the_first_grant
        concurrent_redemptions_of_a_code_have_one_winner
        a_code_of_an_ended_or_expired_session_is_refused
        a_code_of_a_changed_person_is_refused
        a_replay_is_noticed_after_the_session_ended;
    refresh:
        every_rotation_moves_forward
        looking_at_a_family_changes_nothing
        concurrent_refreshes_of_one_token_leave_one_lineage
        without_leeway_a_second_use_revokes_the_family
        within_the_leeway_the_same_successor_comes_again
        a_replayed_refresh_token_revokes_the_family_everywhere
        a_sequence_ahead_of_the_row_moves_it_forward
        without_rotation_the_token_stays
        another_clients_or_unknown_token_is_refused
        an_expired_or_idle_family_is_refused
        a_family_ends_with_its_session_unless_offline
        a_family_ends_with_the_persons_epoch_and_state;
    revoke:
        a_revoked_grant_ends_its_families
        a_revoked_family_is_refused
        a_revoked_session_cannot_be_used_for_codes
        a_revoked_person_moves_to_the_new_epoch
        revoking_again_is_harmless_and_keeps_the_later_end
        nothing_to_revoke_is_no_error;
    remembered:
        consent_adds_up
        a_proof_is_used_once
        concurrent_uses_of_a_proof_have_one_winner
        a_kept_request_ends
        housekeeping_deletes_what_has_expired_and_nothing_else;
    erase:
        a_realm_is_erased_to_its_last_row_and_its_neighbour_keeps_everything
        an_erased_realm_begins_empty
        a_realm_is_erased_in_batches_of_which_people_are_the_last
        use_of_a_realm_is_noticed_and_its_neighbours_is_not;
    realms:
        no_method_crosses_realms;
    people:
        a_taken_name_is_named
        concurrent_creations_of_one_name_have_one_winner
        people_are_listed_in_pages
        a_new_password_ends_everything_the_person_holds
        a_disabled_person_is_returned_as_such
        a_deleted_person_leaves_nothing_behind;
    feed:
        a_revocation_reaches_another_replica_in_time
        a_change_of_a_person_reaches_another_replica
        a_replica_that_starts_later_knows_everything
        the_feed_reports_completeness;
    schema:
        migrating_again_changes_nothing
        a_schema_that_is_too_new_is_refused;
}
