//! Tests of the whole: structure of the workspace, custom resources on a real API server, and the
//! path from a folder of YAML to a person logged in. `make test` provides the real parts they need.

mod admission;
mod bench;
mod charts;
mod children;
mod cluster;
mod dev_processes;
mod docs;
mod generated;
mod images;
mod layering;
mod numbers;
mod operator_run;
mod pages;
mod samples;
mod summary;
mod whole_path;
