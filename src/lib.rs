//! apim-proxy: an HTTP/1.1 proxy for the DMZ of a MyData operator, one poll loop per core.
//!
//! The layers are the blocks of `mod` lines below, lowest first; a file imports its own layer or a lower one
//! (`tests/layers.rs` enforces it). A newcomer reads [`exchange`] (every state) and [`pump`] (the hot path) first.
//!
//! ```text
//! 0 ground    no I/O, no clock, no HTTP
//! 1 protocol  bytes in, verdicts out; no sockets
//! 2 policy    pure decisions
//! 3 proxy     the worker, generic over the `Io` seam: runs on sockets or in the simulator
//! 4 shell     files, threads, sockets, signals
//! ```
#![forbid(unsafe_code)]

pub mod buf;
pub mod fault;
pub mod key;
pub mod setting;
pub mod stats;
pub mod time;
pub mod timer;
pub mod value;

pub mod http;
pub mod preface;
pub mod tls;

pub mod policy;

pub mod access;
pub mod admission;
pub mod answer;
pub mod attempt;
pub mod balance;
pub mod crowd;
pub mod deadline;
pub mod decisions;
pub mod dial;
pub mod engine;
pub mod exchange;
pub mod failover;
pub mod intake;
pub mod io;
pub mod leg;
pub mod login;
pub mod pair;
pub mod passes;
pub mod permits;
pub mod pipe;
pub mod pool;
pub mod pump;
pub mod reload;
pub mod request_log;
pub mod reverse;
pub mod secure;
pub mod settle;
pub mod shake;
pub mod splice;
pub mod told;
pub mod tunnel;
pub mod turn;
pub mod wait;
pub mod worker;

pub mod cli;
pub mod config;
pub mod credentials;
pub mod demo;
pub mod import;
pub mod keystore;
pub mod learn;
pub mod listener;
pub mod logging;
pub mod net;
pub mod renewal;
pub mod resolve;
pub mod run;
pub mod server;
pub mod systemd;
