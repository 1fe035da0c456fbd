//! The proxy at its worst, through what a program calls and over real sockets: hostile clients, broken instances, and
//! very many of both. Looked at from outside: what clients got, what instances saw, sockets, memory.

mod alone;
mod bench;
mod clients;
mod connections;
mod endless;
mod idle;
mod lengths;
mod message;
mod reload;
mod servers;
mod smuggling;
