//! Which image the servers run.
//!
//! An operator upgrade must never restart servers unasked: what was chosen is recorded on the Deployment, and holds until
//! the spec says otherwise.

use crds::auth_server::Upgrade;

use super::BuildInputs;
use crate::build::text;

/// Annotation of the Deployment: the version of its servers.
pub(super) const VERSION_ANNOTATION: &str = "auth.nauthera.io/version";
/// Annotation of the Deployment: the image that was chosen for that version.
pub(super) const IMAGE_ANNOTATION: &str = "auth.nauthera.io/image";

/// What the servers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The image.
    pub(super) image: String,
    /// Its version, unless the spec names an image of its own.
    pub(super) version: Option<String>,
}

/// `spec.image`, else the image of `spec.version`, else that of the recorded version or, with `WithOperator`, the
/// operator's.
pub(super) fn choose(inputs: &BuildInputs<'_>) -> Choice {
    let (spec, operator) = (&inputs.server.spec, inputs.operator);
    if let Some(image) = &spec.image {
        return Choice {
            image: image.clone(),
            version: spec.version.clone(),
        };
    }
    let recorded = recorded(inputs);
    let follows = spec.version.is_none() && spec.upgrade == Upgrade::WithOperator;
    let version = match (&spec.version, &recorded) {
        (Some(version), _) => version.clone(),
        (None, Some((version, _))) if !follows => version.clone(),
        (None, _) => operator.version.clone(),
    };
    let image = match recorded {
        Some((of, Some(image))) if of == version && !follows => image,
        _ if version == operator.version => operator.server_image.clone(),
        _ => image_of(&operator.server_image, &version),
    };
    Choice {
        image,
        version: Some(version),
    }
}

/// The newer version that the operator offers.
pub(super) fn offered<'a>(inputs: &BuildInputs<'a>, choice: &Choice) -> Option<&'a str> {
    let offered = inputs.operator.version.as_str();
    let runs = choice.version.as_deref()?;
    let is_asked_for = inputs.server.spec.image.is_none();
    (is_asked_for && numbers(offered) > numbers(runs)).then_some(offered)
}

/// Version and image that were chosen before; the status keeps the version when the Deployment is gone.
fn recorded(inputs: &BuildInputs<'_>) -> Option<(String, Option<String>)> {
    let annotation = |name| {
        let live = inputs.deployment()?;
        text(live, &["metadata", "annotations", name]).map(str::to_owned)
    };
    if let Some(version) = annotation(VERSION_ANNOTATION) {
        return Some((version, annotation(IMAGE_ANNOTATION)));
    }
    let status = inputs.server.status.as_ref()?;
    Some((status.version.clone()?, None))
}

/// The same repository with another tag.
fn image_of(default: &str, version: &str) -> String {
    let named = default.split('@').next().unwrap_or(default);
    let repository = match named.rsplit_once(':') {
        // What follows the last colon is a tag unless it is a port of the registry.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => named,
    };
    // A `+` cannot stand in a tag.
    format!("{repository}:{}", version.replace('+', "_"))
}

/// Numbers of a version, for comparing; a pre-release sorts before its release.
fn numbers(version: &str) -> (Vec<u64>, bool) {
    let core = version.split(['-', '+']).next().unwrap_or(version);
    let is_release = !version.split('+').next().unwrap_or(version).contains('-');
    (
        core.split('.').map(|number| number.parse().unwrap_or(0)).collect(),
        is_release,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_replaced_and_nothing_else() {
        for (default, expected) in [
            ("localhost/nauthera-auth:dev", "localhost/nauthera-auth:0.2.0"),
            ("registry:5000/a/b", "registry:5000/a/b:0.2.0"),
            ("registry:5000/a/b:1@sha256:00", "registry:5000/a/b:0.2.0"),
        ] {
            assert_eq!(image_of(default, "0.2.0"), expected);
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("0.10.0") > numbers("0.9.9"));
        assert!(numbers("1.0.0") > numbers("1.0.0-rc.1"));
        assert!(numbers("1.0.0+b") == numbers("1.0.0"));
    }
}
