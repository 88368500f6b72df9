//! The manifests, the reference page and the rules, as users meet them.

#[cfg(test)]
mod admission;
#[cfg(test)]
mod baseline;
#[cfg(test)]
mod generated;
