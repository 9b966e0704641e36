//! A worker between clients and targets in memory, with names that resolve to whatever a test says: who is let in, who
//! is let out, and which connection serves whom.

mod policy {
    pub mod admission;
    pub mod egress;
    pub mod stage;
}
