mod machine;
mod properties;
mod spec;
mod watcher;
