//! The look of each realm, computed when its first page is asked for and kept until the realm changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use oidc::config::{Logo, Realm};
use oidc::id::RealmId;

use crate::pages::{Links, Locale, RealmLook};

/// A realm's look, its languages, and where its logo is.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) realm: RealmLook,
    pub(crate) locales: Vec<Locale>,
    /// Hash in the logo's address.
    pub(crate) logo_hash: Option<String>,
}

/// A look with the realm it was computed from.
type Known = (Arc<Realm>, Arc<Look>);

/// The looks that were computed so far.
#[derive(Debug, Default)]
pub(crate) struct LookBook {
    looks: RwLock<HashMap<RealmId, Known>>,
}

impl LookBook {
    /// The look of `realm`; computed anew when the realm is another value than the last time.
    pub(crate) fn of(&self, realm: &Arc<Realm>) -> Arc<Look> {
        let known = self
            .looks
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&realm.id)
            .cloned();
        if let Some((of, look)) = known
            && Arc::ptr_eq(&of, realm)
        {
            return look;
        }
        let look = Arc::new(Look::of(realm));
        let mut looks = self.looks.write().unwrap_or_else(PoisonError::into_inner);
        // A realm that only this book still knows is served no more.
        looks.retain(|_, (of, _)| Arc::strong_count(of) > 1);
        looks.insert(realm.id, (Arc::clone(realm), Arc::clone(&look)));
        look
    }
}

impl Look {
    fn of(realm: &Realm) -> Self {
        let branding = &realm.branding;
        let logo_hash = branding.logo.as_deref().map(hash);
        let logo = logo_hash
            .as_ref()
            .map(|hash| format!("{}/logo/{hash}", realm.issuer.path()));
        let links = Links {
            help: branding.support_uri.clone(),
            privacy: branding.privacy_uri.clone(),
            terms: branding.terms_uri.clone(),
        };
        Self {
            realm: RealmLook::new(branding.display_name.clone(), branding.primary, logo, links),
            locales: realm.locales.iter().filter_map(|tag| tag.parse().ok()).collect(),
            logo_hash,
        }
    }
}

fn hash(logo: &Logo) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &logo.bytes);
    digest
        .as_ref()
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use oidc::testing;

    use super::*;

    #[test]
    fn a_look_is_kept_while_its_realm_is_served_and_forgotten_with_it() {
        let book = LookBook::default();
        let gone = Arc::new(testing::realm_of("https://gone.example"));
        let first = book.of(&gone);
        assert!(Arc::ptr_eq(&first, &book.of(&gone)));
        drop(gone);
        book.of(&Arc::new(testing::realm()));
        assert_eq!(book.looks.read().unwrap().len(), 1);
    }
}
