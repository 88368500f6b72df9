//! The operator from outside: folders in, reports and configurations out.

#[cfg(test)]
mod dev_core;
#[cfg(test)]
mod validate;
