//! `apim-proxy keystore list`: what a store holds, for people.
