mod command;
mod net;
